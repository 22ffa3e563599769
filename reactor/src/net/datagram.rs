//! What UDP and Unix datagram sockets have in common: messages that are sent and received whole, one a syscall.
//!
//! Each operation is there in three forms, which differ only in what they do when it can't proceed: the `async` function
//! waits, the `poll_*` function has a waker called, the `try_*` function says `WouldBlock`. The rule for short transfers of
//! streams does not hold here: a datagram says nothing about whether another one follows.

use crate::{Async, Reactor};
use socket2::SockRef;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll};

/// A socket for datagrams: a [`UdpSocket`](super::UdpSocket) or a [`UnixDatagram`](super::UnixDatagram).
///
/// Sending and receiving takes `&self`, so any number of tasks may do so at once, each for whole datagrams. Of the tasks
/// that use the `poll_*` functions in one direction, the last one is woken.
///
/// # Examples
/// What is received is answered if that is possible at once, and never waits for room:
/// ```
/// # use peu_reactor::{Reactor, net::UdpSocket};
/// # use futures_lite::future;
/// # use std::io;
/// # let reactor = Reactor::new()?;
/// # let _entered = reactor.enter();
/// # std::thread::spawn({ let reactor = reactor.clone(); move || while reactor.turn(None).is_ok() {} });
/// # future::block_on(async {
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.connect(server.local_addr()?).await?;
/// client.send(b"ping").await?;
///
/// let mut buffer = [0; 1500];
/// let (length, peer) = server.recv_from(&mut buffer).await?;
/// match server.try_send_to(&buffer[..length], peer) {
///     Err(error) if error.kind() == io::ErrorKind::WouldBlock => println!("no answer to {peer}"),
///     sent => assert_eq!(sent?, 4),
/// }
/// # io::Result::Ok(())
/// # })?;
/// # io::Result::Ok(())
/// ```
///
/// # Errors
/// Sending and receiving fail as the system says, and when the reactor is closed. A *connected* UDP socket also learns,
/// from either, that an earlier datagram was [refused](io::ErrorKind::ConnectionRefused); go on after it.
///
/// # Cancel safety
/// Dropping a send before it is ready has sent nothing, dropping a receive has taken nothing.
///
/// # Cost
/// One syscall per datagram; one more that finds nothing before each wait.
#[derive(Debug)]
pub struct DatagramSocket<T> {
    pub(super) io: Async<T>,
}

/// A socket of the standard library. Outside of this crate there is no more to it than the name of its addresses.
pub trait Datagrams: AsFd {
    /// An address of the standard library.
    type Address;

    #[doc(hidden)]
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Self::Address)>;
}

impl<T: Datagrams> DatagramSocket<T> {
    /// Registers a socket that is non-blocking already.
    pub(super) fn register(io: T, reactor: &Reactor) -> io::Result<DatagramSocket<T>> {
        Async::from_nonblocking(io, reactor).map(|io| DatagramSocket { io })
    }

    /// Takes over a socket of the standard library, and makes it non-blocking.
    ///
    /// # Errors
    /// When it can't be registered, or this thread is in no runtime.
    pub fn from_std(socket: T) -> io::Result<DatagramSocket<T>> {
        Async::new(socket).map(|io| DatagramSocket { io })
    }

    /// Deregisters, and returns the socket of the standard library, which stays non-blocking.
    pub fn into_std(self) -> T {
        self.io.into_inner()
    }

    /// Waits until receiving is worth trying, with [`try_recv`](Self::try_recv) or
    /// [`try_recv_from`](Self::try_recv_from), in a loop. Also an error counts.
    ///
    /// # Errors
    /// When the reactor is closed.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// Waits until sending is worth trying, with [`try_send`](Self::try_send), in a loop. Also an error counts.
    ///
    /// # Errors
    /// When the reactor is closed.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn writable(&self) -> io::Result<()> {
        self.io.writable().await
    }

    /// Sends a datagram to the peer that was connected to. Returns its length, all of it.
    ///
    /// # Errors
    /// Those of [the type](Self#errors); without a peer, or when it is gone; when the datagram is too long (over UDP about
    /// 64 KiB).
    pub async fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        self.io.write_with(|io| send(io, datagram)).await
    }

    /// The `poll` form of [`send`](Self::send).
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub fn poll_send(&self, context: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<usize>> {
        self.io.poll_write_with(context, |io| send(io, datagram))
    }

    /// [Sends](Self::send) without waiting.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room; those of [`send`](Self::send).
    pub fn try_send(&self, datagram: &[u8]) -> io::Result<usize> {
        self.io.try_write_with(|io| send(io, datagram))
    }

    /// Receives a datagram. Returns its length; what does not fit into `buffer` is lost.
    ///
    /// # Errors
    /// Those of [the type](Self#errors).
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io.read_with(|io| recv(io, buffer)).await
    }

    /// The `poll` form of [`recv`](Self::recv).
    ///
    /// # Errors
    /// Those of [the type](Self#errors).
    pub fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_read_with(context, |io| recv(io, buffer))
    }

    /// [Receives](Self::recv) without waiting.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when nothing is there, which is often known without a syscall; those of
    /// [the type](Self#errors).
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io.try_read_with(|io| recv(io, buffer))
    }

    /// Receives a datagram. Returns its length and its sender; what does not fit into `buffer` is lost.
    ///
    /// # Errors
    /// Those of [the type](Self#errors).
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, T::Address)> {
        self.io.read_with(|io| io.recv_from(buffer)).await
    }

    /// The `poll` form of [`recv_from`](Self::recv_from).
    ///
    /// # Errors
    /// Those of [the type](Self#errors).
    pub fn poll_recv_from(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, T::Address)>> {
        self.io.poll_read_with(context, |io| io.recv_from(buffer))
    }

    /// [Receives](Self::recv_from) without waiting.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when nothing is there, which is often known without a syscall; those of
    /// [the type](Self#errors).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, T::Address)> {
        self.io.try_read_with(|io| io.recv_from(buffer))
    }

    /// The error that is pending on the socket, if any, which is thereby taken off it.
    ///
    /// # Errors
    /// Those of asking.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket().take_error()
    }

    pub(super) fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.io)
    }
}

fn send(io: &impl AsFd, datagram: &[u8]) -> io::Result<usize> {
    SockRef::from(io).send(datagram)
}

fn recv(io: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Read::read(&mut &*SockRef::from(io), buffer)
}

impl<T: AsFd> AsFd for DatagramSocket<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl<T: AsFd> AsRawFd for DatagramSocket<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
