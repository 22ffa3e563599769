//! Any descriptor that can be waited for: pipes, sockets, terminals, timerfd, inotify, and what you bring along.

use crate::{Direction, Reactor, Source, os};
use futures_io::{AsyncRead, AsyncWrite};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Makes I/O that would block wait instead, for any `T` with a descriptor that the OS can poll.
///
/// It switches the descriptor to non-blocking and registers it once, edge-triggered, for both directions; see [`Source`]
/// for what readiness means and who may wait. I/O is done by methods of `T` itself, handed to
/// [`read_with`](Self::read_with) and its kin, or through [`AsyncRead`] and [`AsyncWrite`] where `&T` is [`Read`] and
/// [`Write`]. All of it takes `&self`.
///
/// The descriptor that `T` returns must stay the same, and open, as long as this lives.
///
/// # Examples
/// ```
/// use peu_reactor::{Async, Reactor};
/// use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
/// use std::os::unix::net::UnixStream;
///
/// let reactor = Reactor::new()?;
/// let (here, there) = UnixStream::pair()?;
/// let mut here = Async::with_reactor(here, &reactor)?;
/// let mut there = Async::with_reactor(there, &reactor)?;
///
/// future::block_on(async {
///     here.write_all(b"ping").await?;
///     let mut buffer = [0; 4];
///     there.read_exact(&mut buffer).await?;
///     assert_eq!(&buffer, b"ping");
///     std::io::Result::Ok(())
/// })?; // Both find their source ready, so nobody has to take a turn.
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Async<T> {
    /// Before `io`, because it is dropped first: the descriptor is deregistered while it is open.
    source: Source,
    io: T,
}

impl<T: AsFd> Async<T> {
    /// Registers with the [current](Reactor::current) reactor.
    ///
    /// # Errors
    /// When this thread is in no runtime, and those of [`with_reactor`](Self::with_reactor).
    pub fn new(io: T) -> io::Result<Async<T>> {
        Async::with_reactor(io, &Reactor::current_or_err()?)
    }

    /// Registers with this reactor.
    ///
    /// # Errors
    /// When the reactor is closed, or the OS refuses: the descriptor is of a kind that can't be waited for, such as a
    /// regular file, or is registered already, or there are too many.
    pub fn with_reactor(io: T, reactor: &Reactor) -> io::Result<Async<T>> {
        os::set_nonblocking(io.as_fd())?;
        Async::from_nonblocking(io, reactor)
    }

    /// Deregisters, switches the descriptor back to blocking, and returns what is inside: for who knows nothing of
    /// waiting, such as a child process or a thread of one's own.
    ///
    /// All duplicates of the descriptor are switched, for they are one open file.
    ///
    /// # Errors
    /// When the OS refuses, which it has no reason to. Then the descriptor is closed.
    ///
    /// # Examples
    /// ```
    /// use peu_reactor::{Async, Reactor};
    /// use std::io::{ErrorKind, PipeReader, Read, pipe};
    ///
    /// let reactor = Reactor::new()?;
    /// let (reader, _writer) = pipe()?;
    /// let reader = Async::with_reactor(reader, &reactor)?;
    /// let refused = reader.get_ref().read(&mut [0]).unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    /// let blocks: PipeReader = reader.into_blocking()?;
    /// # drop(blocks);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_blocking(self) -> io::Result<T> {
        let io = self.into_inner();
        os::set_blocking(io.as_fd())?;
        Ok(io)
    }

    /// Registers a descriptor that was made non-blocking, without the syscall that asks.
    pub(crate) fn from_nonblocking(io: T, reactor: &Reactor) -> io::Result<Async<T>> {
        let source = Source::register(io.as_fd(), reactor)?;
        Ok(Async { source, io })
    }
}

impl<T> Async<T> {
    /// What is inside. An attempt that is made on it directly, and is told `WouldBlock`, is not noticed: make attempts
    /// through the methods here.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// The registration.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Deregisters, and returns what is inside, which stays non-blocking; [`into_blocking`](Self::into_blocking) makes it
    /// block.
    pub fn into_inner(self) -> T {
        let Async { source, io } = self;
        drop(source);
        io
    }

    /// Waits until reading is worth trying; with [`try_read_with`](Self::try_read_with), in a loop.
    ///
    /// # Errors
    /// When the reactor is closed.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn readable(&self) -> io::Result<()> {
        self.source.ready(Direction::Read).await
    }

    /// Waits until writing is worth trying; with [`try_write_with`](Self::try_write_with), in a loop.
    ///
    /// # Errors
    /// When the reactor is closed.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn writable(&self) -> io::Result<()> {
        self.source.ready(Direction::Write).await
    }

    /// The `poll` form of [`readable`](Self::readable), in the place that all `poll_*` functions share.
    ///
    /// # Errors
    /// When the reactor is closed.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.source.poll_ready(Direction::Read, context)
    }

    /// The `poll` form of [`writable`](Self::writable), in the place that all `poll_*` functions share.
    ///
    /// # Errors
    /// When the reactor is closed.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.source.poll_ready(Direction::Write, context)
    }

    /// Reads in any way: makes attempts until one does not say `WouldBlock`. See [`Source::io`].
    ///
    /// # Errors
    /// Those of the attempt, and when the reactor is closed.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    ///
    /// # Examples
    /// ```
    /// # use peu_reactor::{Async, Reactor};
    /// # use std::net::UdpSocket;
    /// # let reactor = Reactor::new()?;
    /// # let _entered = reactor.enter();
    /// let socket = Async::new(UdpSocket::bind("127.0.0.1:0")?)?;
    /// let mut buffer = [0; 1500];
    /// let received = socket.read_with(|socket| socket.recv_from(&mut buffer));
    /// # drop(received);
    /// # std::io::Result::Ok(())
    /// ```
    pub async fn read_with<R>(
        &self,
        mut attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.source.io(Direction::Read, || attempt(&self.io)).await
    }

    /// Writes in any way: makes attempts until one does not say `WouldBlock`. See [`Source::io`].
    ///
    /// # Errors
    /// Those of the attempt, and when the reactor is closed.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn write_with<R>(
        &self,
        mut attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.source.io(Direction::Write, || attempt(&self.io)).await
    }

    /// The `poll` form of [`read_with`](Self::read_with), in the place that all `poll_*` functions share.
    ///
    /// # Errors
    /// Those of the attempt, and when the reactor is closed.
    pub fn poll_read_with<R>(
        &self,
        context: &mut Context<'_>,
        mut attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.source
            .poll_io(Direction::Read, context, || attempt(&self.io))
    }

    /// The `poll` form of [`write_with`](Self::write_with), in the place that all `poll_*` functions share.
    ///
    /// # Errors
    /// Those of the attempt, and when the reactor is closed.
    pub fn poll_write_with<R>(
        &self,
        context: &mut Context<'_>,
        mut attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.source
            .poll_io(Direction::Write, context, || attempt(&self.io))
    }

    /// Makes one attempt to read, and never waits.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is nothing to read, as far as is known; those of the attempt;
    /// and when the reactor is closed.
    pub fn try_read_with<R>(&self, mut attempt: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.source.try_io(Direction::Read, || attempt(&self.io))
    }

    /// Makes one attempt to write, and never waits.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room, as far as is known; those of the attempt; and when
    /// the reactor is closed.
    pub fn try_write_with<R>(&self, mut attempt: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.source.try_io(Direction::Write, || attempt(&self.io))
    }
}

impl<T: AsFd> AsFd for Async<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

/// Cancel safe: a read that is dropped before it is ready has taken nothing.
impl<T> AsyncRead for Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read(context, buffer)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read_vectored(context, buffers)
    }
}

impl<T> AsyncRead for &Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_read_with(context, |mut io| io.read(buffer))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_read_with(context, |mut io| io.read_vectored(buffers))
    }
}

/// Closing flushes; dropping closes the descriptor.
impl<T> AsyncWrite for Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write_vectored(context, buffers)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_close(context)
    }
}

impl<T> AsyncWrite for &Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |mut io| io.write(buffer))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |mut io| io.write_vectored(buffers))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Not only when there is room to write: what has no buffer of its own has nothing to wait for.
        match (&self.io).flush() {
            Err(error) if should_wait(&error) => self.poll_write_with(context, |mut io| io.flush()),
            result => Poll::Ready(result),
        }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

fn should_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
