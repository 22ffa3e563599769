//! Unix datagram sockets: whole messages between processes of one machine, which are neither lost nor reordered.

use super::backoff::{self, Backoff};
use super::datagram::{DatagramSocket, Datagrams};
use super::unix::cannot_bind;
use crate::error;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

/// A Unix datagram socket. Receiving, and sending to a fixed peer, are those of every [`DatagramSocket`]; a sender waits
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
pub type UnixDatagram = DatagramSocket<net::UnixDatagram>;

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
            .map_err(|error| error::cannot("make a Unix datagram socket", error))
    }

    /// Two connected sockets without a name.
    ///
    /// # Errors
    /// When there are too many descriptors; when this thread is in no runtime.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = net::UnixDatagram::pair()
            .map_err(|error| error::cannot("make a pair of Unix datagram sockets", error))?;
        Ok((UnixDatagram::from_std(one)?, UnixDatagram::from_std(other)?))
    }

    /// Fixes the peer: [`send`](Self::send) sends to it, and datagrams of others are not received.
    ///
    /// # Errors
    /// When there is no such socket, or access is denied.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        self.io
            .get_ref()
            .connect(path)
            .map_err(|error| error::cannot(format_args!("connect to {}", path.display()), error))
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
            match self.try_send_to(datagram, path) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    backoff::wait_until(backoff.fail(), self.io.source().reactor()).await?;
                }
                result => return result,
            }
        }
    }

    /// [Sends](Self::send_to) to the socket at a path, without waiting.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when that socket's queue is full, whose end [`writable`](Self::writable)
    /// does not tell; when there is no such socket, or access is denied; when the datagram is too long.
    pub fn try_send_to(&self, datagram: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let path = path.as_ref();
        // Not through the source: that another socket's queue is full says nothing about this one.
        match self.io.get_ref().send_to(datagram, path) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error::cannot(
                format_args!("send to {}", path.display()),
                error,
            )),
            result => result,
        }
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
}

impl Datagrams for net::UnixDatagram {
    type Address = SocketAddr;

    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        net::UnixDatagram::recv_from(self, buffer)
    }
}
