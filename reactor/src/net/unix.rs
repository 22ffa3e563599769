//! Unix stream sockets: streams between processes of one machine, found by a path.

use super::backoff::{self, Backoff};
use super::listener::{Accept, Listener};
use super::stream::ByteStream;
use super::{socket, split};
use crate::{Async, Reactor, error};
use socket2::{Domain, SockAddr, Type};
use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// A connection over a Unix socket. Reading, writing, splitting and closing are those of every [`ByteStream`].
///
/// # Examples
/// ```
/// # use peu_reactor::{Reactor, net::UnixStream};
/// # use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
/// # let reactor = Reactor::new()?;
/// # let _entered = reactor.enter();
/// let (mut here, mut there) = UnixStream::pair()?;
/// # future::block_on(async {
/// here.write_all(b"ping").await?;
/// let mut buffer = [0; 4];
/// there.read_exact(&mut buffer).await?;
/// assert_eq!(&buffer, b"ping");
/// # std::io::Result::Ok(())
/// # })?;
/// # std::io::Result::Ok(())
/// ```
pub type UnixStream = ByteStream<net::UnixStream>;

/// A socket at a path that accepts connections. Accepting is that of every [`Listener`].
///
/// # Examples
/// ```
/// # use peu_reactor::{Reactor, net::{UnixListener, UnixStream}};
/// # use futures_lite::future;
/// # let reactor = Reactor::new()?;
/// # let _entered = reactor.enter();
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("server.sock");
/// let listener = UnixListener::bind(&path)?;
/// # future::block_on(async {
/// let client = UnixStream::connect(&path).await?;
/// let (server, _peer) = listener.accept().await?;
/// assert_eq!(server.local_addr()?.as_pathname(), client.peer_addr()?.as_pathname());
/// # std::io::Result::Ok(())
/// # })?;
/// // The file stays when the listener is dropped.
/// std::fs::remove_file(&path)?;
/// # std::io::Result::Ok(())
/// ```
pub type UnixListener = Listener<net::UnixListener>;

/// Borrowed half of a [`UnixStream`].
pub type ReadHalf<'a> = split::ReadHalf<&'a UnixStream>;
/// Borrowed half of a [`UnixStream`].
pub type WriteHalf<'a> = split::WriteHalf<&'a UnixStream>;
/// Half of a [`UnixStream`] that can go to another task.
pub type OwnedReadHalf = split::ReadHalf<Arc<UnixStream>>;
/// Half of a [`UnixStream`] that can go to another task.
pub type OwnedWriteHalf = split::WriteHalf<split::Writer<net::UnixStream>>;

impl UnixStream {
    /// Connects to the socket at a path.
    ///
    /// The system connects at once or not at all. While the listener's queue is full it says so, and no event tells when
    /// there is a place again: this then tries anew after 1 ms, and twice as long after each further attempt, up to a
    /// second.
    ///
    /// # Errors
    /// When there is no socket, nobody listens, or access is denied; when the path is too long (about 100 bytes); when this
    /// thread is in no runtime.
    ///
    /// # Cancel safety
    /// Dropping it gives the attempt up.
    ///
    /// # Cost
    /// Three syscalls: to make the socket, to connect, to register it.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let path = path.as_ref();
        let reactor = Reactor::current_or_err()?;
        connect_to(path, &reactor)
            .await
            .map_err(|error| error::cannot(format_args!("connect to {}", path.display()), error))
    }

    /// Two connected streams without a name.
    ///
    /// # Errors
    /// When there are too many descriptors; when this thread is in no runtime.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = net::UnixStream::pair()
            .map_err(|error| error::cannot("make a pair of Unix streams", error))?;
        Ok((UnixStream::from_std(one)?, UnixStream::from_std(other)?))
    }

    /// Takes over a connected stream of the standard library, and makes it non-blocking.
    ///
    /// # Errors
    /// When it can't be registered, or this thread is in no runtime.
    pub fn from_std(stream: net::UnixStream) -> io::Result<UnixStream> {
        Async::new(stream).map(ByteStream::from)
    }

    /// The address of the peer. Mostly that of one who has connected has no name.
    ///
    /// # Errors
    /// Those of the system.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }
}

async fn connect_to(path: &Path, reactor: &Reactor) -> io::Result<UnixStream> {
    let address = SockAddr::unix(path)?;
    let socket = socket::open(Domain::UNIX, Type::STREAM, None)?;
    let mut backoff = Backoff::new();
    loop {
        match socket::connect(&socket, &address) {
            Ok(()) => return ByteStream::register(socket.into(), reactor),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                backoff::wait_until(backoff.fail(), reactor).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

impl UnixListener {
    /// Listens at a path, where it makes a socket. Dropping the listener leaves that file: remove it.
    ///
    /// # Errors
    /// When the path can't be made, is too long (about 100 bytes), or is in use: also by the file of a server that is
    /// gone. When this thread is in no runtime.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        let path = path.as_ref();
        listen_at(path, &Reactor::current_or_err()?).map_err(|error| cannot_bind(path, error))
    }

    /// Takes over a listener of the standard library, and makes it non-blocking.
    ///
    /// # Errors
    /// When it can't be registered, or this thread is in no runtime.
    pub fn from_std(listener: net::UnixListener) -> io::Result<UnixListener> {
        Async::new(listener).map(Listener::from)
    }

    /// The address that it listens at.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }
}

fn listen_at(path: &Path, reactor: &Reactor) -> io::Result<UnixListener> {
    let socket = socket::open(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(socket::BACKLOG)?;
    Listener::register(socket.into(), reactor)
}

pub(super) fn cannot_bind(path: &Path, error: io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            " (something is at this path: if it is the socket of a server that is gone, remove it)"
        }
        _ => "",
    };
    error::cannot(
        format_args!("bind a socket at {}{advice}", path.display()),
        error,
    )
}

impl Accept for net::UnixListener {
    type Stream = net::UnixStream;
    type Address = SocketAddr;

    fn address(peer: &SockAddr) -> io::Result<SocketAddr> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(name) = peer.as_abstract_namespace() {
            #[cfg(target_os = "android")]
            use std::os::android::net::SocketAddrExt;
            #[cfg(target_os = "linux")]
            use std::os::linux::net::SocketAddrExt;
            return SocketAddr::from_abstract_name(name);
        }
        // The empty path makes the address that has no name.
        match peer.as_unix() {
            Some(address) => Ok(address),
            None => SocketAddr::from_pathname(""),
        }
    }
}
