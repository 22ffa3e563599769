//! What TCP and Unix streams have in common: bytes that arrive in order, in two directions that end separately.
//!
//! Reading and writing go by the short-transfer rule of [`Source::transfer`](crate::Source::transfer), so an echo is one
//! read and one write, and no read that finds nothing. The descriptor is all that the syscalls need, which is why one
//! implementation serves both kinds.

use crate::{Async, Direction, Reactor};
use futures_io::{AsyncRead, AsyncWrite};
use socket2::SockRef;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::Shutdown;
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A write to a connection that the peer has closed returns an error and sends no signal. A program whose `main` is not
/// Rust's would be killed by that signal.
#[cfg(not(target_vendor = "apple"))]
const FLAGS: libc::c_int = libc::MSG_NOSIGNAL;
/// There, the socket has an option for it, which is set when it is made.
#[cfg(target_vendor = "apple")]
const FLAGS: libc::c_int = 0;

/// The most buffers that one call takes: what Linux, the BSDs and macOS allow. With more it fails.
const MOST_BUFFERS: usize = 1024;

/// A connected stream of bytes: a [`TcpStream`](super::TcpStream) or a [`UnixStream`](super::UnixStream).
///
/// It is read and written through [`AsyncRead`] and [`AsyncWrite`], also by shared reference. Dropping it closes the
/// connection; what was written is still sent. [Closing](futures_io::AsyncWrite::poll_close) it ends the direction to the
/// peer, who then reads an end, and leaves the other one open.
///
/// # Cancel safety
/// A single read or write that is dropped before it is ready has transferred nothing. What is made of several, such as
/// `read_exact` or `write_all`, has transferred an unknown part.
///
/// # Cost
/// One syscall per read or write that can proceed at once, also where it transfers less than asked. One that has to
/// wait costs its share of a turn, and no registration.
#[derive(Debug)]
pub struct ByteStream<T> {
    pub(super) io: Async<T>,
}

impl<T: AsFd> ByteStream<T> {
    /// Registers a socket that is non-blocking already.
    pub(super) fn register(io: T, reactor: &Reactor) -> io::Result<ByteStream<T>> {
        Async::from_nonblocking(io, reactor).map(ByteStream::from)
    }

    /// Waits until reading is worth trying, with [`try_read`](Self::try_read), in a loop. Also an end or an error counts.
    ///
    /// # Errors
    /// When the reactor is closed.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// Waits until writing is worth trying, with [`try_write`](Self::try_write), in a loop. Also an error counts.
    ///
    /// # Errors
    /// When the reactor is closed.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn writable(&self) -> io::Result<()> {
        self.io.writable().await
    }

    /// Reads what is there, without waiting. 0 is the end.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when nothing is there, which is mostly known without a syscall; those of
    /// the system; and when the reactor is closed.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let asked = buffer.len();
        self.io
            .source()
            .try_transfer(Direction::Read, asked, || self.recv(buffer))
    }

    /// Writes what there is room for, without waiting.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room, which is mostly known without a syscall; those of
    /// the system; and when the reactor is closed.
    pub fn try_write(&self, buffer: &[u8]) -> io::Result<usize> {
        self.io
            .source()
            .try_transfer(Direction::Write, buffer.len(), || self.send(buffer))
    }

    /// Ends one direction or both, at once.
    ///
    /// The peer reads an end after what was written; reads of one's own find one after what has arrived.
    ///
    /// # Errors
    /// Those of the system: [`NotConnected`](io::ErrorKind::NotConnected) when the peer has ended the connection.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket().shutdown(how)
    }

    /// The error that is pending on the socket, if any, which is thereby taken off it.
    ///
    /// # Errors
    /// Those of asking.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket().take_error()
    }

    /// Deregisters, and returns the stream of the standard library, which stays non-blocking.
    pub fn into_std(self) -> T {
        self.io.into_inner()
    }

    pub(super) fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.io)
    }

    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self.socket(), buffer)
    }

    fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.socket().send_with_flags(buffer, FLAGS)
    }
}

/// Nothing in it is ever pinned.
impl<T> Unpin for ByteStream<T> {}

impl<T> From<Async<T>> for ByteStream<T> {
    fn from(io: Async<T>) -> ByteStream<T> {
        ByteStream { io }
    }
}

impl<T: AsFd> AsyncRead for &ByteStream<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let (source, asked) = (self.io.source(), buffer.len());
        source.poll_transfer(Direction::Read, context, asked, || self.recv(buffer))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let source = self.io.source();
        let (now, asked) = at_once(buffers);
        let buffers = &mut buffers[now];
        source.poll_transfer(Direction::Read, context, asked, || {
            Read::read_vectored(&mut &*self.socket(), buffers)
        })
    }
}

/// Flushing does nothing: what is written is with the system. Closing ends the direction to the peer.
impl<T: AsFd> AsyncWrite for &ByteStream<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (source, asked) = (self.io.source(), buffer.len());
        source.poll_transfer(Direction::Write, context, asked, || self.send(buffer))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let source = self.io.source();
        let (now, asked) = at_once(buffers);
        let buffers = &buffers[now];
        source.poll_transfer(Direction::Write, context, asked, || {
            self.socket().send_vectored_with_flags(buffers, FLAGS)
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.shutdown(Shutdown::Write) {
            // The peer has ended the connection before: it is as closed as was asked for.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        })
    }
}

/// As by shared reference.
impl<T: AsFd> AsyncRead for ByteStream<T> {
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

/// As by shared reference.
impl<T: AsFd> AsyncWrite for ByteStream<T> {
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

impl<T: AsFd> AsFd for ByteStream<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl<T: AsFd> AsRawFd for ByteStream<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Which of these one call is given, and their bytes. A transfer is short only beside what the call was asked for. Empty ones
/// at the beginning are left out: a call that is given nothing else moves nothing, which would be taken for an end.
fn at_once<B: Deref<Target = [u8]>>(buffers: &[B]) -> (Range<usize>, usize) {
    let first = buffers
        .iter()
        .take_while(|buffer| buffer.is_empty())
        .count();
    let end = buffers.len().min(first + MOST_BUFFERS);
    let asked = buffers[first..end].iter().map(|buffer| buffer.len()).sum();
    (first..end, asked)
}
