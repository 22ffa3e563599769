//! The process's own streams.
//!
//! They are read and written by threads of the pool. To make them non-blocking instead would change them for every process
//! that shares them: the shell that started this one, and its other programs.

use crate::fs::File;
use futures_io::{AsyncRead, AsyncWrite};
use peu_reactor::cannot;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The process's standard input; from [`stdin`].
#[derive(Debug)]
pub struct Stdin(File);

/// The process's standard output; from [`stdout`].
#[derive(Debug)]
pub struct Stdout(File);

/// The process's standard error; from [`stderr`].
#[derive(Debug)]
pub struct Stderr(File);

/// The process's standard input.
///
/// It reads ahead, up to 64 KiB, and what a dropped reader had read ahead is lost: use one for the whole program. A
/// runtime that is dropped while a thread waits for input waits with it, until there is some; for an interactive program,
/// end with [`Runtime::shutdown`](crate::Runtime::shutdown), which has a limit.
///
/// # Errors
///
/// When the stream is closed, or there are too many descriptors.
///
/// # Panics
///
/// Outside of a runtime.
///
/// # Example
///
/// ```no_run
/// # use futures_lite::AsyncReadExt;
/// # peu::Runtime::new()?.block_on(async {
/// let mut text = String::new();
/// peu::io::stdin()?.read_to_string(&mut text).await?;
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn stdin() -> io::Result<Stdin> {
    shared(io::stdin().as_fd(), "standard input").map(Stdin)
}

/// The process's standard output. Unlike [`std::io::stdout`], it knows no lines: each write is on its way at once, and
/// after `flush` it is out; without one, at the end of the runtime, unless that runs out of time.
///
/// # Errors
///
/// When the stream is closed, or there are too many descriptors.
///
/// # Panics
///
/// Outside of a runtime.
///
/// # Example
///
/// ```
/// use futures_lite::AsyncWriteExt;
///
/// peu::Runtime::new()?.block_on(async {
///     let mut out = peu::io::stdout()?;
///     out.write_all(b"bonjour\n").await?;
///     out.flush().await
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn stdout() -> io::Result<Stdout> {
    shared(io::stdout().as_fd(), "standard output").map(Stdout)
}

/// The process's standard error: as [`stdout`].
///
/// # Errors
///
/// When the stream is closed, or there are too many descriptors.
///
/// # Panics
///
/// Outside of a runtime.
pub fn stderr() -> io::Result<Stderr> {
    shared(io::stderr().as_fd(), "standard error").map(Stderr)
}

fn shared(stream: BorrowedFd<'_>, name: &str) -> io::Result<File> {
    let own = stream.try_clone_to_owned();
    let own: OwnedFd = own.map_err(|error| cannot(format_args!("share {name}"), error))?;
    Ok(File::named(own.into(), name))
}

impl AsyncRead for Stdin {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

macro_rules! writes {
    ($stream:ty) => {
        impl AsyncWrite for $stream {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0).poll_write(cx, bytes)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                parts: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0).poll_write_vectored(cx, parts)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_flush(cx)
            }

            fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_close(cx)
            }
        }
    };
}

writes!(Stdout);
writes!(Stderr);
