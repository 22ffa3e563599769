//! UDP over loopback.

mod support;

use futures_lite::future;
use peu_reactor::Reactor;
use peu_reactor::net::UdpSocket;
use std::future::poll_fn;
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
fn peeking_leaves_the_datagram_to_the_next_receive() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let (here, there) = pair().await?;
        let mut buffer = [0; 64];
        here.send(b"first").await?;
        for _ in 0..2 {
            assert_eq!(there.peek(&mut buffer).await?, 5);
        }
        assert_eq!(there.recv(&mut buffer).await?, 5);
        assert_eq!(&buffer[..5], b"first");
        assert!(future::poll_once(there.peek(&mut buffer)).await.is_none());
        Ok(())
    })
}

#[test]
fn trying_does_not_wait() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let (here, there) = pair().await?;
        let mut buffer = [0; 64];
        assert_would_block(there.try_recv(&mut buffer));
        assert_would_block(there.try_recv_from(&mut buffer));

        here.writable().await?;
        assert_eq!(here.try_send(b"first")?, 5);
        assert_eq!(here.try_send_to(b"second", there.local_addr()?)?, 6);
        let received = when_readable(&there, || there.try_recv(&mut buffer)).await?;
        assert_eq!(received, 5);
        let received = when_readable(&there, || there.try_recv_from(&mut buffer)).await?;
        assert_eq!(received, (6, here.local_addr()?));
        assert_eq!(&buffer[..6], b"second");
        assert_would_block(there.try_recv(&mut buffer));
        Ok(())
    })
}

#[test]
fn polling_waits_in_the_task_that_polls() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let (here, there) = pair().await?;
        let mut buffer = [0; 64];
        let receive = poll_fn(|context| there.poll_recv(context, &mut buffer));
        let send = poll_fn(|context| here.poll_send(context, b"first"));
        assert_eq!(future::try_zip(receive, send).await?, (5, 5));

        let address = there.local_addr()?;
        let receive = poll_fn(|context| there.poll_recv_from(context, &mut buffer));
        let send = poll_fn(|context| here.poll_send_to(context, b"second", address));
        let received = (6, here.local_addr()?);
        assert_eq!(future::try_zip(receive, send).await?, (received, 6));
        assert_eq!(&buffer[..6], b"second");
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
        assert!(socket.multicast_loop_v4()?);
        socket.set_multicast_loop_v4(false)?;
        assert!(!socket.multicast_loop_v4()?);
        assert_eq!(socket.multicast_ttl_v4()?, 1);
        socket.set_multicast_ttl_v4(7)?;
        assert_eq!(socket.multicast_ttl_v4()?, 7);
        assert_eq!(socket.ttl()?, 9, "that is another matter");
        assert!(socket.set_multicast_ttl_v4(256).is_err());
        assert_eq!(socket.into_std().ttl()?, 9);
        Ok(())
    })
}

#[test]
fn options_of_version_six_are_as_they_were_set() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let Ok(socket) = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await else {
            return Ok(()); // a machine without IPv6
        };
        assert!(socket.multicast_loop_v6()?);
        socket.set_multicast_loop_v6(false)?;
        assert!(!socket.multicast_loop_v6()?);
        assert_eq!(socket.multicast_hops_v6()?, 1);
        socket.set_multicast_hops_v6(7)?;
        assert_eq!(socket.multicast_hops_v6()?, 7);
        assert!(socket.set_multicast_hops_v6(256).is_err());
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

/// Two sockets that are each other's peer.
async fn pair() -> io::Result<(UdpSocket, UdpSocket)> {
    let here = UdpSocket::bind("127.0.0.1:0").await?;
    let there = UdpSocket::bind("127.0.0.1:0").await?;
    here.connect(there.local_addr()?).await?;
    there.connect(here.local_addr()?).await?;
    Ok((here, there))
}

/// Tries until there is something: sockets may be taken for ready before they are.
async fn when_readable<T>(
    socket: &UdpSocket,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        socket.readable().await?;
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

#[track_caller]
fn assert_would_block<T: std::fmt::Debug>(result: io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
}
