//! Pipes.

use peu_reactor::Async;
use peu_reactor::cannot;
use std::io;

/// The end of a pipe that is read. `AsyncRead`, also of a reference.
pub type PipeReader = Async<io::PipeReader>;

/// The end of a pipe that is written to. `AsyncWrite`, also of a reference. Dropping it is the end for who reads.
pub type PipeWriter = Async<io::PipeWriter>;

/// Makes a pipe in the kernel: for another process, or for a thread that blocks. Between tasks a channel does more for less.
///
/// Neither end blocks, and most programs take that for an error. What is to be another's is made to block again
/// by [`into_blocking`](Async::into_blocking):
///
/// ```
/// use futures_lite::AsyncReadExt;
/// use peu::process::Command;
///
/// let runtime = peu::Runtime::new()?;
/// runtime.block_on(async {
///     let (mut reader, writer) = peu::io::pipe()?;
///     let status = Command::new("echo").arg("bonjour").stdout(writer.into_blocking()?).status().await?;
///     assert!(status.success());
///     let mut text = String::new();
///     reader.read_to_string(&mut text).await?;
///     assert_eq!(text, "bonjour\n");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// When this thread is in no runtime, or has too many descriptors.
///
/// # Example
///
/// ```
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
///
/// let runtime = peu::Runtime::new()?;
/// runtime.block_on(async {
///     let (mut reader, mut writer) = peu::io::pipe()?;
///     writer.write_all(b"bonjour").await?;
///     drop(writer);
///     let mut text = String::new();
///     reader.read_to_string(&mut text).await?;
///     assert_eq!(text, "bonjour");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let made = || {
        let (reader, writer) = io::pipe()?;
        Ok((Async::new(reader)?, Async::new(writer)?))
    };
    made().map_err(|error| cannot("make a pipe", error))
}
