//! UDP over loopback.

mod support;

use futures_lite::future;
use peu_reactor::Reactor;
use peu_reactor::net::UdpSocket;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use support::block_on;

#[test]
fn datagrams_arrive_whole_and_with_their_sender() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let here = UdpSocket::bind("127.0.0.1:0").await?;
        let there = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut buffer = [0; 64];
        let receive = there.peek_from(&mut buffer);
        let send = here.send_to(b"first", there.local_addr()?);
        assert_eq!(
            future::try_zip(receive, send).await?,
            ((5, here.local_addr()?), 5)
        );
        here.send_to(b"the second", there.local_addr()?).await?;
        assert_eq!(there.recv_from(&mut buffer).await?, (5, here.local_addr()?));
        assert_eq!(&buffer[..5], b"first");
        assert_eq!(
            there.recv_from(&mut buffer[..3]).await?.0,
            3,
            "the rest is lost"
        );

        there.connect(here.local_addr()?).await?;
        assert_eq!(there.peer_addr()?, here.local_addr()?);
        there.send(b"answer").await?;
        assert_eq!(here.recv(&mut buffer).await?, 6);
        assert_eq!(&buffer[..6], b"answer");
        Ok(())
    })
}

#[test]
fn a_connected_socket_learns_that_nobody_listens() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(nobody).await?;
        socket.send(b"anybody?").await?;
        let error = socket.recv(&mut [0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(socket.take_error()?.is_none(), "it was told once");
        Ok(())
    })
}

#[test]
fn errors_name_the_address() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let taken = socket.local_addr()?;
        let error = UdpSocket::bind(taken).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(
            error
                .to_string()
                .contains(&format!("bind a UDP socket to {taken}: ")),
            "{error}"
        );
        let error = socket.connect("[::1]:1").await.unwrap_err();
        assert!(error.to_string().contains("[::1]:1"), "{error}");
        let error = socket.send_to(b"?", []).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        Ok(())
    })
}

#[test]
fn options_are_as_they_were_set() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let socket = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
        assert!(!socket.broadcast()?);
        socket.set_broadcast(true)?;
        assert!(socket.broadcast()?);
        socket.set_ttl(9)?;
        assert_eq!(socket.ttl()?, 9);
        assert_eq!(socket.into_std().ttl()?, 9);
        Ok(())
    })
}

#[test]
fn a_group_is_received_between_joining_and_leaving_it() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let group = Ipv4Addr::new(239, 255, 40, 41);
        let here = Ipv4Addr::LOCALHOST;
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        assert!(
            socket.join_multicast_v4(&here, &here).is_err(),
            "that is no group"
        );
        socket.join_multicast_v4(&group, &here)?;
        socket2::SockRef::from(&socket).set_multicast_if_v4(&here)?;
        let port = socket.local_addr()?.port();
        socket
            .send_to(b"all", (std::net::IpAddr::V4(group), port))
            .await?;
        let mut buffer = [0; 64];
        assert_eq!(socket.recv(&mut buffer).await?, 3);
        socket.leave_multicast_v4(&group, &here)?;
        assert!(
            socket.leave_multicast_v4(&group, &here).is_err(),
            "it was left before"
        );
        Ok(())
    })
}

#[test]
fn groups_of_version_six_can_be_joined_and_left() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let Ok(socket) = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await else {
            return Ok(()); // a machine without IPv6
        };
        let group = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 0x4041);
        assert!(
            socket.leave_multicast_v6(&group, 1).is_err(),
            "it was not joined"
        );
        // Interface 1 is the loopback.
        socket.join_multicast_v6(&group, 1)?;
        socket.leave_multicast_v6(&group, 1)
    })
}
