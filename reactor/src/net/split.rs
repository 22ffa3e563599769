//! A stream in two halves, one to read and one to write.
//!
//! A half is nothing but a reference, borrowed or counted: everything takes `&self`, so there is no lock between them. They
//! exist to say by their types who reads and who writes, and so that each direction's shared place has one task.

use super::stream::ByteStream;
use futures_io::{AsyncRead, AsyncWrite};
use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The half of a stream that reads, from [`ByteStream::split`] or [`ByteStream::into_split`]. `P` refers to the stream.
#[derive(Debug)]
pub struct ReadHalf<P>(P);

/// The half of a stream that writes, from [`ByteStream::split`] or [`ByteStream::into_split`]. `P` refers to the stream.
///
/// Closing it ends the direction to the peer. Dropping it does so too if it owns its part of the stream, and not if it
/// borrows.
#[derive(Debug)]
pub struct WriteHalf<P>(P);

/// How a half that writes owns its part of a stream.
#[derive(Debug)]
pub struct Writer<T: AsFd> {
    stream: Arc<ByteStream<T>>,
    ends_when_dropped: bool,
}

impl<T: AsFd> ByteStream<T> {
    /// Two halves that borrow the stream, one to read and one to write, for use side by side in one task.
    ///
    /// # Examples
    /// ```
    /// # use peu_reactor::{Reactor, net::UnixStream};
    /// # use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
    /// # let reactor = Reactor::new()?;
    /// # let _entered = reactor.enter();
    /// let (mut here, mut there) = UnixStream::pair()?;
    /// let (mut reader, mut writer) = there.split();
    /// # future::block_on(async {
    /// here.write_all(b"to and fro").await?;
    /// futures_lite::io::copy((&mut reader).take(10), &mut writer).await?;
    /// let mut answer = [0; 10];
    /// here.read_exact(&mut answer).await?;
    /// assert_eq!(&answer, b"to and fro");
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn split(&mut self) -> (ReadHalf<&ByteStream<T>>, WriteHalf<&ByteStream<T>>) {
        (ReadHalf(self), WriteHalf(self))
    }

    /// Two halves that own the stream together, so that one task can read and another one write.
    ///
    /// Dropping the half that writes ends that direction: the peer reads an end. The stream is closed when both are
    /// dropped, and whole again by [`reunite`](ReadHalf::reunite).
    ///
    /// # Cost
    /// One allocation.
    pub fn into_split(self) -> (ReadHalf<Arc<ByteStream<T>>>, WriteHalf<Writer<T>>) {
        let stream = Arc::new(self);
        let writer = Writer {
            stream: Arc::clone(&stream),
            ends_when_dropped: true,
        };
        (ReadHalf(stream), WriteHalf(writer))
    }
}

impl<P: Deref> ReadHalf<P> {
    /// The whole stream, to ask it things.
    pub fn stream(&self) -> &P::Target {
        &self.0
    }
}

impl<P: Deref> WriteHalf<P> {
    /// The whole stream, to ask it things.
    pub fn stream(&self) -> &P::Target {
        &self.0
    }
}

impl<T: AsFd> ReadHalf<Arc<ByteStream<T>>> {
    /// Makes the stream whole again, with both directions as they are.
    ///
    /// # Errors
    /// When the halves are not of the same stream; the error gives them back.
    pub fn reunite(self, writer: WriteHalf<Writer<T>>) -> Result<ByteStream<T>, ReuniteError<T>> {
        if !Arc::ptr_eq(&self.0, &writer.0.stream) {
            return Err(ReuniteError(self, writer));
        }
        let mut writer = writer.0;
        writer.ends_when_dropped = false;
        drop(writer);
        Ok(Arc::into_inner(self.0).expect("a stream has two halves, and one is dropped"))
    }
}

impl<P> AsyncRead for ReadHalf<P>
where
    P: Deref + Unpin,
    for<'a> &'a P::Target: AsyncRead,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream()).poll_read(context, buffer)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream()).poll_read_vectored(context, buffers)
    }
}

impl<P> AsyncWrite for WriteHalf<P>
where
    P: Deref + Unpin,
    for<'a> &'a P::Target: AsyncWrite,
{
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream()).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream()).poll_write_vectored(context, buffers)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream()).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream()).poll_close(context)
    }
}

impl<T: AsFd> Deref for Writer<T> {
    type Target = ByteStream<T>;

    fn deref(&self) -> &ByteStream<T> {
        &self.stream
    }
}

impl<T: AsFd> Drop for Writer<T> {
    fn drop(&mut self) {
        // With no reader left, the whole stream closes now, and that says more.
        if self.ends_when_dropped && Arc::strong_count(&self.stream) > 1 {
            // It fails if the peer has ended the connection before, and then there is nobody to tell.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }
}

/// Two halves that are not of the same stream, given back by [`ReadHalf::reunite`].
pub struct ReuniteError<T: AsFd>(pub ReadHalf<Arc<ByteStream<T>>>, pub WriteHalf<Writer<T>>);

impl<T: AsFd> fmt::Debug for ReuniteError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReuniteError").finish_non_exhaustive()
    }
}

impl<T: AsFd> fmt::Display for ReuniteError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot reunite halves of two different streams: give the two that into_split made together")
    }
}

impl<T: AsFd> Error for ReuniteError<T> {}
