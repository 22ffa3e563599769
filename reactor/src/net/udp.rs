//! UDP: datagrams, each of which arrives whole or not at all.

use super::addr::{self, ToSocketAddrs};
use super::socket::{self, Failures};
use crate::{Async, Reactor};
use socket2::{Domain, Protocol, Type};
use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// A UDP socket.
///
/// Sending and receiving takes `&self`, so any number of tasks may do so at once, each for whole datagrams.
///
/// # Examples
/// ```
/// # use peu_reactor::{Reactor, net::UdpSocket};
/// # use futures_lite::future;
/// # let reactor = Reactor::new()?;
/// # let _entered = reactor.enter();
/// # std::thread::spawn({ let reactor = reactor.clone(); move || while reactor.turn(None).is_ok() {} });
/// # future::block_on(async {
/// let here = UdpSocket::bind("127.0.0.1:0").await?;
/// let there = UdpSocket::bind("127.0.0.1:0").await?;
/// here.send_to(b"ping", there.local_addr()?).await?;
///
/// let mut buffer = [0; 1500];
/// let (length, sender) = there.recv_from(&mut buffer).await?;
/// assert_eq!((&buffer[..length], sender), (&b"ping"[..], here.local_addr()?));
/// # std::io::Result::Ok(())
/// # })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// Sending and receiving fail as the system says, and when the reactor is closed. A *connected* socket also learns, from
/// either, that an earlier datagram was [refused](io::ErrorKind::ConnectionRefused); go on after it.
///
/// # Cancel safety
/// Dropping a send before it is ready has sent nothing, dropping a receive has taken nothing.
///
/// # Cost
/// One syscall per datagram; one more that finds nothing before each wait, because a datagram does not tell whether
/// another one follows.
#[derive(Debug)]
pub struct UdpSocket {
    io: Async<net::UdpSocket>,
}

impl UdpSocket {
    /// Binds to the first of the addresses that can be had. Port 0 lets the system choose one.
    ///
    /// # Errors
    /// When none of the addresses can be had: the error names each and its reason, and is of the kind of the last. When
    /// the name can't be looked up; when this thread is in no runtime.
    ///
    /// # Cancel safety
    /// Dropping it binds nothing.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        let reactor = Reactor::current_or_err()?;
        let mut failures = Failures::new("cannot bind a UDP socket to");
        for address in addr::resolve(address).await? {
            match bind_to(address, &reactor) {
                Ok(socket) => return Ok(socket),
                Err(error) => failures.add(address, error),
            }
        }
        Err(failures.into_error())
    }

    /// Takes over a socket of the standard library, and makes it non-blocking.
    ///
    /// # Errors
    /// When it can't be registered, or this thread is in no runtime.
    pub fn from_std(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        Ok(UdpSocket {
            io: Async::new(socket)?,
        })
    }

    /// Deregisters, and returns the socket of the standard library, which stays non-blocking.
    pub fn into_std(self) -> net::UdpSocket {
        self.io.into_inner()
    }

    /// Fixes the peer: [`send`](Self::send) sends to it, and datagrams of others are not received. It may be changed.
    ///
    /// # Errors
    /// When none of the addresses can be a peer: the error names each and its reason. When the name can't be looked up.
    pub async fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        let mut failures = Failures::new("cannot connect a UDP socket to");
        for address in addr::resolve(address).await? {
            match self.io.get_ref().connect(address) {
                Ok(()) => return Ok(()),
                Err(error) => failures.add(address, error),
            }
        }
        Err(failures.into_error())
    }

    /// Sends a datagram to the peer that was [connected](Self::connect) to. Returns its length, all of it.
    ///
    /// # Errors
    /// Those of [the type](Self#errors); without a peer; when the datagram is too long (about 64 KiB).
    pub async fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        self.io.write_with(|io| io.send(datagram)).await
    }

    /// Receives a datagram of the peer. Returns its length; what does not fit into `buffer` is lost.
    ///
    /// # Errors
    /// Those of [the type](Self#errors).
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io.read_with(|io| io.recv(buffer)).await
    }

    /// Sends a datagram to the first of the addresses. Returns its length, all of it.
    ///
    /// # Errors
    /// Those of [the type](Self#errors); when the datagram is too long (about 64 KiB); when the name can't be looked up.
    pub async fn send_to(&self, datagram: &[u8], address: impl ToSocketAddrs) -> io::Result<usize> {
        let Some(address) = addr::resolve(address).await?.next() else {
            return Err(Failures::new("cannot send to").into_error());
        };
        self.io.write_with(|io| io.send_to(datagram, address)).await
    }

    /// Receives a datagram. Returns its length and its sender; what does not fit into `buffer` is lost.
    ///
    /// # Errors
    /// Those of [the type](Self#errors).
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.read_with(|io| io.recv_from(buffer)).await
    }

    /// Receives a datagram without taking it: the next receive gets it again.
    ///
    /// # Errors
    /// Those of [the type](Self#errors).
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.read_with(|io| io.peek_from(buffer)).await
    }

    /// The address of this socket, with the port that the system has chosen.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// The peer that was [connected](Self::connect) to.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) when there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr()
    }

    /// The error that is pending on the socket, if any, which is thereby taken off it.
    ///
    /// # Errors
    /// Those of asking.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.get_ref().take_error()
    }

    /// Whether datagrams may be sent to broadcast addresses.
    ///
    /// # Errors
    /// Those of the system.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.io.get_ref().broadcast()
    }

    /// Allows to send datagrams to broadcast addresses, which is forbidden at first.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.io.get_ref().set_broadcast(broadcast)
    }

    /// How many routers a datagram may pass (IPv4).
    ///
    /// # Errors
    /// Those of the system.
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.get_ref().ttl()
    }

    /// Changes how many routers a datagram may pass (IPv4).
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.get_ref().set_ttl(ttl)
    }

    /// Receives what is sent to a group, on the interface with this address; the unspecified one lets the system choose.
    ///
    /// # Errors
    /// Those of the system: `group` is no multicast address, or there is no such interface.
    pub fn join_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.io.get_ref().join_multicast_v4(group, interface)
    }

    /// Receives no more what is sent to a group that was joined with the same arguments.
    ///
    /// # Errors
    /// Those of the system: the group was not joined.
    pub fn leave_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.io.get_ref().leave_multicast_v4(group, interface)
    }

    /// Receives what is sent to a group, on the interface of this number; 0 lets the system choose.
    ///
    /// # Errors
    /// Those of the system: `group` is no multicast address, or there is no such interface.
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.io.get_ref().join_multicast_v6(group, interface)
    }

    /// Receives no more what is sent to a group that was joined with the same arguments.
    ///
    /// # Errors
    /// Those of the system: the group was not joined.
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.io.get_ref().leave_multicast_v6(group, interface)
    }
}

fn bind_to(address: SocketAddr, reactor: &Reactor) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(address);
    let socket = socket::open(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&address.into())?;
    let io = Async::from_nonblocking(socket.into(), reactor)?;
    Ok(UdpSocket { io })
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
