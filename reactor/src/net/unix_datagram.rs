//! Unix datagram sockets: whole messages between processes of one machine, which are neither lost nor reordered.

use super::backoff::{self, Backoff};
use super::unix::cannot_bind;
use crate::{Async, error};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

/// A Unix datagram socket.
///
/// Sending and receiving takes `&self`, so any number of tasks may do so at once, each for whole datagrams. A sender waits
/// while the receiver's queue is full.
///
/// # Examples
/// ```
/// # use peu_reactor::{Reactor, net::UnixDatagram};
/// # use futures_lite::future;
/// # let reactor = Reactor::new()?;
/// # let _entered = reactor.enter();
/// let (here, there) = UnixDatagram::pair()?;
/// # future::block_on(async {
/// here.send(b"ping").await?;
/// let mut buffer = [0; 1500];
/// assert_eq!(there.recv(&mut buffer).await?, 4);
/// # std::io::Result::Ok(())
/// # })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// Sending and receiving fail as the system says, and when the reactor is closed.
///
/// # Cancel safety
/// Dropping a send before it is ready has sent nothing, dropping a receive has taken nothing.
///
/// # Cost
/// One syscall per datagram; one more that finds nothing before each wait, because a datagram does not tell whether
/// another one follows.
#[derive(Debug)]
pub struct UnixDatagram {
    io: Async<net::UnixDatagram>,
}

impl UnixDatagram {
    /// Makes a socket at a path, for others to send to. Dropping it leaves that file: remove it.
    ///
    /// # Errors
    /// When the path can't be made, is too long (about 100 bytes), or is in use: also by the file of a program that is
    /// gone. When this thread is in no runtime.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        let path = path.as_ref();
        net::UnixDatagram::bind(path)
            .and_then(UnixDatagram::from_std)
            .map_err(|error| cannot_bind(path, error))
    }

    /// Makes a socket without a name, which can send, and receive from one that it is connected to.
    ///
    /// # Errors
    /// When there are too many descriptors; when this thread is in no runtime.
    pub fn unbound() -> io::Result<UnixDatagram> {
        net::UnixDatagram::unbound()
            .and_then(UnixDatagram::from_std)
            .map_err(|error| error::context("cannot make a Unix datagram socket", error))
    }

    /// Two connected sockets without a name.
    ///
    /// # Errors
    /// When there are too many descriptors; when this thread is in no runtime.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = net::UnixDatagram::pair().map_err(|error| {
            error::context("cannot make a pair of Unix datagram sockets", error)
        })?;
        Ok((UnixDatagram::from_std(one)?, UnixDatagram::from_std(other)?))
    }

    /// Takes over a socket of the standard library, and makes it non-blocking.
    ///
    /// # Errors
    /// When it can't be registered, or this thread is in no runtime.
    pub fn from_std(socket: net::UnixDatagram) -> io::Result<UnixDatagram> {
        Ok(UnixDatagram {
            io: Async::new(socket)?,
        })
    }

    /// Deregisters, and returns the socket of the standard library, which stays non-blocking.
    pub fn into_std(self) -> net::UnixDatagram {
        self.io.into_inner()
    }

    /// Fixes the peer: [`send`](Self::send) sends to it, and datagrams of others are not received.
    ///
    /// # Errors
    /// When there is no such socket, or access is denied.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        self.io.get_ref().connect(path).map_err(|error| {
            error::context(format_args!("cannot connect to {}", path.display()), error)
        })
    }

    /// Sends a datagram to the peer that was [connected](Self::connect) to. Returns its length, all of it.
    ///
    /// # Errors
    /// Those of [the type](Self#errors); without a peer, or when it is gone; when the datagram is too long.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        self.io.write_with(|io| io.send(datagram)).await
    }

    /// Sends a datagram to the socket at a path. Returns its length, all of it.
    ///
    /// While that socket's queue is full (of ten datagrams, by default, on Linux), no event tells a sender that is not
    /// connected to it when there is a place again: this then tries anew after 1 ms, and twice as long after each
    /// further attempt, up to a second. Whoever sends a lot [connects](Self::connect), and is told at once.
    ///
    /// # Errors
    /// Those of [the type](Self#errors); when there is no such socket, or access is denied; when the datagram is too long.
    pub async fn send_to(&self, datagram: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let path = path.as_ref();
        let mut backoff = Backoff::new();
        loop {
            self.io.writable().await?;
            match self.io.get_ref().send_to(datagram, path) {
                Ok(length) => return Ok(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    backoff::wait_until(backoff.fail(), self.io.source().reactor()).await?;
                }
                Err(error) => {
                    let tried = format!("cannot send to {}", path.display());
                    return Err(error::context(tried, error));
                }
            }
        }
    }

    /// Receives a datagram. Returns its length; what does not fit into `buffer` is lost.
    ///
    /// # Errors
    /// Those of [the type](Self#errors).
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io.read_with(|io| io.recv(buffer)).await
    }

    /// Receives a datagram. Returns its length and its sender; what does not fit into `buffer` is lost.
    ///
    /// # Errors
    /// Those of [the type](Self#errors).
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.read_with(|io| io.recv_from(buffer)).await
    }

    /// Ends receiving or sending, at once.
    ///
    /// # Errors
    /// Those of the system.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.get_ref().shutdown(how)
    }

    /// The address of this socket.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// The peer that was [connected](Self::connect) to.
    ///
    /// # Errors
    /// Those of the system: there is none.
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
}

impl AsFd for UnixDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl AsRawFd for UnixDatagram {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
