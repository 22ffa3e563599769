//! From one stream to another.
//!
//! Both functions move the bytes through a buffer in this process, also from socket to socket. A kernel's `splice` would need a pipe for
//! each direction, and pays only with pipes of a mebibyte, of which a user may have 64: the figures are in `ARCHITECTURE.md`.

use futures_io::{AsyncRead, AsyncWrite};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What is read at once: what a socket mostly has.
const BUFFER: usize = 64 * 1024;

/// And of who has more, again and again. Measured: a stream of 1 MiB pieces over TCP took two thirds of the CPU time, one of 16 KiB pieces as
/// much.
const LARGE_BUFFER: usize = 256 * 1024;

/// So many full buffers, one after the other, tell of such a one: a mebibyte, beside which the new buffer costs little.
const FULL_READS: u32 = 16;

/// Copies until the reader ends, and flushes. Returns how many bytes it was.
///
/// It has a buffer of 64 KiB; one of 256 KiB when the reader keeps filling that.
///
/// # Errors
///
/// Those of reading and writing. A part may then be written.
///
/// # Cancel safety
///
/// Dropping it loses what was read and not yet written.
///
/// # Example
///
/// ```
/// let runtime = peu::Runtime::new()?;
/// let copied = runtime.block_on(async {
///     let mut to = Vec::new();
///     let count = peu::io::copy(&mut &b"bonjour"[..], &mut to).await?;
///     Ok::<_, std::io::Error>((count, to))
/// })?;
/// assert_eq!(copied, (7, b"bonjour".to_vec()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: AsyncRead + Unpin + ?Sized,
    W: AsyncWrite + Unpin + ?Sized,
{
    let mut way = Way::new();
    poll_fn(|cx| {
        ready!(way.poll_bytes(cx, reader, writer))?;
        ready!(Pin::new(&mut *writer).poll_flush(cx))?;
        Poll::Ready(Ok(way.moved))
    })
    .await
}

/// Copies in both directions until both have ended, as a proxy does. When one side ends, the other is closed for
/// writing, and the other direction goes on. Returns how many bytes went from `a` to `b`, and from `b` to `a`.
///
/// # Errors
///
/// Those of reading and writing; both directions stop at the first.
///
/// # Cancel safety
///
/// As of [`copy`].
///
/// # Example
///
/// ```
/// use peu::net::{TcpListener, TcpStream};
///
/// async fn forward(listener: TcpListener, to: &str) -> std::io::Result<(u64, u64)> {
///     let (mut client, _) = listener.accept().await?;
///     let mut server = TcpStream::connect(to).await?;
///     peu::io::copy_bidirectional(&mut client, &mut server).await
/// }
/// # let _ = forward;
/// ```
pub async fn copy_bidirectional<A, B>(a: &mut A, b: &mut B) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let (mut there, mut back) = (Way::new(), Way::new());
    poll_fn(|cx| {
        let to_b = there.poll_to_end(cx, a, b)?;
        let to_a = back.poll_to_end(cx, b, a)?;
        match (to_b, to_a) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok((there.moved, back.moved))),
            _ => Poll::Pending,
        }
    })
    .await
}

/// One direction.
struct Way {
    buffer: Vec<u8>,
    /// What was read and not written is between these two.
    written: usize,
    read: usize,
    /// There is something that was written and not flushed.
    unflushed: bool,
    moved: u64,
    /// How many reads have filled the buffer since the last that did not.
    full: u32,
    ended: bool,
    closed: bool,
}

impl Way {
    fn new() -> Way {
        Way {
            buffer: vec![0; BUFFER],
            written: 0,
            read: 0,
            unflushed: false,
            moved: 0,
            full: 0,
            ended: false,
            closed: false,
        }
    }

    /// Until the reader has ended and all is written.
    fn poll_bytes<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        loop {
            while self.written < self.read {
                let rest = &self.buffer[self.written..self.read];
                match ready!(Pin::new(&mut *writer).poll_write(cx, rest))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => self.written += count,
                }
                self.unflushed = true;
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            if self.full == FULL_READS && self.buffer.len() < LARGE_BUFFER {
                self.buffer = vec![0; LARGE_BUFFER];
            }
            match Pin::new(&mut *reader).poll_read(cx, &mut self.buffer)? {
                Poll::Ready(0) => self.ended = true,
                Poll::Ready(count) => {
                    (self.written, self.read) = (0, count);
                    self.moved += count as u64;
                    self.full = if count < self.buffer.len() {
                        0
                    } else {
                        self.full + 1
                    };
                }
                Poll::Pending => {
                    // Whoever is on the other side may wait for what lies in the writer's buffer.
                    if self.unflushed {
                        ready!(Pin::new(&mut *writer).poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// And until the writer is closed.
    fn poll_to_end<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> io::Result<Poll<()>>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        if self.closed {
            return Ok(Poll::Ready(()));
        }
        if self.poll_bytes(cx, reader, writer)?.is_pending()
            || Pin::new(&mut *writer).poll_close(cx)?.is_pending()
        {
            return Ok(Poll::Pending);
        }
        self.closed = true;
        Ok(Poll::Ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    /// Fills buffers, but for every so many, and notes how long they were.
    struct Source {
        left: usize,
        short: usize,
        asked: Vec<usize>,
    }

    impl AsyncRead for Source {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            self.asked.push(buffer.len());
            let is_short = self.asked.len().is_multiple_of(self.short);
            let count = self.left.min(buffer.len() - usize::from(is_short));
            self.left -= count;
            buffer[..count].fill(self.asked.len() as u8);
            Poll::Ready(Ok(count))
        }
    }

    fn copied(short: usize) -> Vec<usize> {
        let (mut source, mut all) = (
            Source {
                left: 4 << 20,
                short,
                asked: Vec::new(),
            },
            Vec::new(),
        );
        assert_eq!(block_on(copy(&mut source, &mut all)).unwrap(), 4 << 20);
        let reads = source
            .asked
            .iter()
            .enumerate()
            .map(|(number, length)| (number + 1, *length));
        let mut rest = &all[..];
        for (number, length) in reads {
            let count = rest.len().min(length - usize::from(number % short == 0));
            assert!(rest[..count].iter().all(|byte| *byte == number as u8));
            rest = &rest[count..];
        }
        assert!(rest.is_empty());
        source.asked
    }

    #[test]
    fn who_keeps_filling_the_buffer_gets_a_larger_one() {
        let asked = copied(usize::MAX);
        assert!(asked[..16].iter().all(|length| *length == BUFFER));
        assert!(asked[16..].iter().all(|length| *length == LARGE_BUFFER));
        assert!(copied(16).iter().all(|length| *length == BUFFER));
    }
}
