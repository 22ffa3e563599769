//! UDP: datagrams, each of which arrives whole or not at all.

use super::addr::{self, ToSocketAddrs};
use super::datagram::{DatagramSocket, Datagrams};
use super::socket::{self, Failures};
use crate::Reactor;
use socket2::{Domain, Protocol, Type};
use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

/// A UDP socket. Receiving, and sending to a fixed peer, are those of every [`DatagramSocket`].
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
pub type UdpSocket = DatagramSocket<net::UdpSocket>;

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

    /// The `poll` form of [`send_to`](Self::send_to), for one address.
    ///
    /// # Errors
    /// Those of [the type](Self#errors); when the datagram is too long (about 64 KiB).
    pub fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        datagram: &[u8],
        address: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.io
            .poll_write_with(context, |io| io.send_to(datagram, address))
    }

    /// [Sends](Self::send_to) to one address, without waiting.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room; those of [the type](Self#errors); when the datagram
    /// is too long (about 64 KiB).
    pub fn try_send_to(&self, datagram: &[u8], address: SocketAddr) -> io::Result<usize> {
        self.io.try_write_with(|io| io.send_to(datagram, address))
    }

    /// Receives a datagram of the peer that was [connected](Self::connect) to without taking it: the next receive gets it
    /// again. Returns its length, or that of `buffer` if it is longer.
    ///
    /// # Errors
    /// Those of [the type](Self#errors).
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io.read_with(|io| io.peek(buffer)).await
    }

    /// Receives a datagram without taking it: the next receive gets it again. Returns its length, or that of `buffer` if it
    /// is longer, and its sender.
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

    /// Whether what this socket sends to IPv4 groups also reaches members on this machine.
    ///
    /// # Errors
    /// Those of the system.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.socket().multicast_loop_v4()
    }

    /// Changes whether what this socket sends to IPv4 groups also reaches members on this machine. It does at first.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_multicast_loop_v4(&self, reaches: bool) -> io::Result<()> {
        self.socket().set_multicast_loop_v4(reaches)
    }

    /// Whether what this socket sends to IPv6 groups also reaches members on this machine.
    ///
    /// # Errors
    /// Those of the system: this is no IPv6 socket.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.socket().multicast_loop_v6()
    }

    /// Changes whether what this socket sends to IPv6 groups also reaches members on this machine. It does at first.
    ///
    /// # Errors
    /// Those of the system: this is no IPv6 socket.
    pub fn set_multicast_loop_v6(&self, reaches: bool) -> io::Result<()> {
        self.socket().set_multicast_loop_v6(reaches)
    }

    /// How many networks a datagram to an IPv4 group may cross.
    ///
    /// # Errors
    /// Those of the system.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.socket().multicast_ttl_v4()
    }

    /// Changes how many networks a datagram to an IPv4 group may cross. At first it is 1: it stays in its own network.
    ///
    /// # Errors
    /// Those of the system: more than 255.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.socket().set_multicast_ttl_v4(ttl)
    }

    /// How many networks a datagram to an IPv6 group may cross.
    ///
    /// # Errors
    /// Those of the system: this is no IPv6 socket.
    pub fn multicast_hops_v6(&self) -> io::Result<u32> {
        self.socket().multicast_hops_v6()
    }

    /// Changes how many networks a datagram to an IPv6 group may cross. At first it is 1: it stays in its own network.
    ///
    /// # Errors
    /// Those of the system: more than 255, or this is no IPv6 socket.
    pub fn set_multicast_hops_v6(&self, hops: u32) -> io::Result<()> {
        self.socket().set_multicast_hops_v6(hops)
    }
}

impl Datagrams for net::UdpSocket {
    type Address = SocketAddr;

    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        net::UdpSocket::recv_from(self, buffer)
    }
}

fn bind_to(address: SocketAddr, reactor: &Reactor) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(address);
    let socket = socket::open(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&address.into())?;
    DatagramSocket::register(socket.into(), reactor)
}
