//! TCP: a stream to a peer that is found by address, and the listener that accepts such streams.

use super::addr::{self, ToSocketAddrs};
use super::listener::{Accept, Listener};
use super::socket::{self, Failures};
use super::split;
use super::stream::ByteStream;
use crate::{Async, Reactor};
use socket2::{Domain, Protocol, SockAddr, TcpKeepalive, Type};
use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A TCP connection. Reading, writing, splitting and closing are those of every [`ByteStream`].
///
/// # Examples
/// ```
/// # use peu_reactor::{Reactor, net::{TcpListener, TcpStream}};
/// # use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
/// # let reactor = Reactor::new()?;
/// # let _entered = reactor.enter();
/// # std::thread::spawn({ let reactor = reactor.clone(); move || while reactor.turn(None).is_ok() {} });
/// # future::block_on(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let mut client = TcpStream::connect(listener.local_addr()?).await?;
/// let (mut server, _) = listener.accept().await?;
///
/// client.write_all(b"hello").await?;
/// client.close().await?;
/// let mut text = String::new();
/// server.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello");
/// # std::io::Result::Ok(())
/// # })?;
/// # std::io::Result::Ok(())
/// ```
pub type TcpStream = ByteStream<net::TcpStream>;

/// A socket that accepts TCP connections. Accepting is that of every [`Listener`].
///
/// # Examples
/// ```
/// # use peu_reactor::{Reactor, net::TcpListener};
/// # use futures_lite::{AsyncWriteExt, future};
/// # let reactor = Reactor::new()?;
/// # let _entered = reactor.enter();
/// async fn greet(listener: TcpListener) {
///     loop {
///         match listener.accept().await {
///             Ok((mut stream, _peer)) => drop(stream.write_all(b"hello\n").await),
///             // The next accept waits before it tries again, so this does not spin.
///             Err(error) => eprintln!("cannot accept: {error}"),
///         }
///     }
/// }
/// let listener = future::block_on(TcpListener::bind("127.0.0.1:0"))?;
/// # drop(greet(listener));
/// # std::io::Result::Ok(())
/// ```
pub type TcpListener = Listener<net::TcpListener>;

/// Borrowed half of a [`TcpStream`].
pub type ReadHalf<'a> = split::ReadHalf<&'a TcpStream>;
/// Borrowed half of a [`TcpStream`].
pub type WriteHalf<'a> = split::WriteHalf<&'a TcpStream>;
/// Half of a [`TcpStream`] that can go to another task.
pub type OwnedReadHalf = split::ReadHalf<Arc<TcpStream>>;
/// Half of a [`TcpStream`] that can go to another task.
pub type OwnedWriteHalf = split::WriteHalf<split::Writer<net::TcpStream>>;

impl TcpStream {
    /// Connects to the first of the addresses that lets it.
    ///
    /// They are tried one after the other, each for as long as the system tries (minutes, if nobody answers): put a
    /// [`timeout`](crate::time::timeout) around it.
    ///
    /// # Errors
    /// When none of the addresses can be connected to: the error names each and its reason, and is of the kind of
    /// the last. When the name can't be looked up; when this thread is in no runtime.
    ///
    /// # Cancel safety
    /// Dropping it gives the attempt up.
    ///
    /// # Cost
    /// Four syscalls per address that answers at once: to make the socket, to connect, to register it, and to ask whether
    /// it is connected. One or two more if that takes time.
    pub async fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let reactor = Reactor::current_or_err()?;
        let mut failures = Failures::new("cannot connect to");
        for address in addr::resolve(address).await? {
            match connect_to(address, &reactor).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failures.add(address, error),
            }
        }
        Err(failures.into_error())
    }

    /// Takes over a connected stream of the standard library, and makes it non-blocking.
    ///
    /// # Errors
    /// When it can't be registered, or this thread is in no runtime.
    pub fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        Async::new(stream).map(ByteStream::from)
    }

    /// Reads without taking: the next read gets the same bytes again. Waits until there is something. 0 is the end.
    ///
    /// # Errors
    /// Those of the system, and when the reactor is closed.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // Not by the rule for short transfers: what was seen is still there.
        self.io.read_with(|io| io.peek(buffer)).await
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the connection is over.
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

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    /// Those of the system.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.io.get_ref().nodelay()
    }

    /// Sends small writes at once, instead of waiting whether more comes until the peer has confirmed what it has
    /// (Nagle's algorithm, which is the default). Good for requests and answers that are written whole.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.io.get_ref().set_nodelay(nodelay)
    }

    /// How long the connection is idle before the system asks the peer whether it is still there. `None`: it never asks,
    /// which is the default.
    ///
    /// # Errors
    /// Those of the system.
    pub fn keepalive(&self) -> io::Result<Option<Duration>> {
        let socket = self.socket();
        let asks = socket.keepalive()?;
        asks.then(|| socket.tcp_keepalive_time()).transpose()
    }

    /// Changes after how long an idle connection is checked, in whole seconds. If the peer does not answer, reads fail with
    /// [`TimedOut`](io::ErrorKind::TimedOut), after as many tries as the system makes (on Linux nine, 75 s apart).
    ///
    /// For those two, use [`socket2::SockRef::from(&stream)`](https://docs.rs/socket2).
    ///
    /// # Errors
    /// Those of the system: less than a second is no valid time.
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        let socket = self.socket();
        match idle {
            Some(idle) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle)),
            None => socket.set_keepalive(false),
        }
    }

    /// What dropping does with bytes that the peer has not confirmed: see [`set_linger`](Self::set_linger).
    ///
    /// # Errors
    /// Those of the system.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.socket().linger()
    }

    /// What dropping does with bytes that the peer has not confirmed. `None`, the default: they are sent in the
    /// background. Zero: they are thrown away, and the peer is told of a broken connection. More: dropping **blocks the
    /// thread** until they are confirmed, or for that long (in whole seconds), so keep that to programs without a loop.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.socket().set_linger(linger)
    }

    /// How many routers a packet may pass (IPv4).
    ///
    /// # Errors
    /// Those of the system.
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.get_ref().ttl()
    }

    /// Changes how many routers a packet may pass (IPv4).
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.get_ref().set_ttl(ttl)
    }
}

async fn connect_to(address: SocketAddr, reactor: &Reactor) -> io::Result<TcpStream> {
    let domain = Domain::for_address(address);
    let socket = socket::open(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket::connect(&socket, &address.into())?;
    let stream = ByteStream::register(net::TcpStream::from(socket), reactor)?;
    stream.io.write_with(is_connected).await?;
    Ok(stream)
}

/// Whether a connect that was begun has come to an end; `WouldBlock` if not.
///
/// An event alone does not tell, because it may be a spurious one. The peer's address does: there is none before, and none
/// after a failure, whose reason then waits to be asked for.
fn is_connected(stream: &net::TcpStream) -> io::Result<()> {
    match stream.peer_addr() {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => match stream.take_error()? {
            Some(error) => Err(error),
            None => Err(io::ErrorKind::WouldBlock.into()),
        },
        result => result.map(drop),
    }
}

impl TcpListener {
    /// Listens on the first of the addresses that can be had. Port 0 lets the system choose one.
    ///
    /// The address can be had although connections of an earlier listener are still being closed (`SO_REUSEADDR`).
    /// 1024 connections wait to be accepted, or fewer if the system's limit is lower.
    ///
    /// # Errors
    /// When none of the addresses can be had: the error names each and its reason, and is of the kind of the last. When
    /// the name can't be looked up; when this thread is in no runtime.
    ///
    /// # Cancel safety
    /// Dropping it binds nothing.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let reactor = Reactor::current_or_err()?;
        let mut failures = Failures::new("cannot listen on");
        for address in addr::resolve(address).await? {
            match listen_on(address, &reactor) {
                Ok(listener) => return Ok(listener),
                Err(error) => failures.add(address, error),
            }
        }
        Err(failures.into_error())
    }

    /// Takes over a listener of the standard library, and makes it non-blocking.
    ///
    /// # Errors
    /// When it can't be registered, or this thread is in no runtime.
    pub fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        Async::new(listener).map(Listener::from)
    }

    /// The address that it listens on, with the port that the system has chosen.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// How many routers a packet of an accepted connection may pass (IPv4).
    ///
    /// # Errors
    /// Those of the system.
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.get_ref().ttl()
    }

    /// Changes how many routers a packet of a connection accepted from now on may pass (IPv4).
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.get_ref().set_ttl(ttl)
    }
}

fn listen_on(address: SocketAddr, reactor: &Reactor) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = socket::open(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(socket::BACKLOG)?;
    Listener::register(socket.into(), reactor)
}

impl Accept for net::TcpListener {
    type Stream = net::TcpStream;
    type Address = SocketAddr;

    fn address(peer: &SockAddr) -> io::Result<SocketAddr> {
        peer.as_socket()
            .ok_or_else(|| io::Error::other("the peer of a TCP connection has no IP address"))
    }
}
