//! A file line by line.

use super::File;
use super::work::failed;
use futures_core::Stream;
use futures_io::AsyncRead;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What is copied at once out of the file's own buffer of 64 KiB: some hundred lines, so that the lock of that buffer is taken for
/// many of them, and little enough to be in the processor's nearest cache when it is searched for their ends.
const CHUNK: usize = 16 * 1024;

/// Opens a file, and yields its lines: see [`File::lines`].
///
/// # Errors
///
/// The system's, with the path.
///
/// # Example
///
/// ```
/// use futures_lite::StreamExt;
///
/// let runtime = peu::Runtime::new()?;
/// runtime.block_on(async {
///     let mut lines = peu::fs::lines("Cargo.toml").await?;
///     let mut packages = 0;
///     while let Some(line) = lines.next().await {
///         packages += usize::from(line? == "[package]");
///     }
///     assert_eq!(packages, 1);
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn lines(path: impl AsRef<Path>) -> io::Result<Lines> {
    Ok(File::open(path).await?.lines())
}

impl File {
    /// The lines from where the file's position is, a stream, each without the `\n` or `\r\n` that ends it. A last line
    /// need not have one.
    pub fn lines(self) -> Lines {
        Lines {
            file: self,
            buffer: Vec::new(),
            begin: 0,
            searched: 0,
            state: State::Reading,
        }
    }
}

/// The lines of a file; from [`File::lines`].
///
/// An item is an error when the file can't be read on, or a line is not UTF-8, of kind `InvalidData`; it is the last one. A
/// line is held in memory as a whole, however long it is. Dropping a future that waits for the next line loses none.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct Lines {
    file: File,
    buffer: Vec<u8>,
    /// Where the next line begins in it.
    begin: usize,
    /// Up to here there is no end of that line.
    searched: usize,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Reading,
    /// The file has ended; what is in the buffer are lines still.
    AtEnd,
    Done,
}

impl Lines {
    /// The next line in the buffer.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        let Some(end) = end.map(|end| self.searched + end) else {
            self.searched = self.buffer.len();
            let is_last = self.state == State::AtEnd && self.begin < self.buffer.len();
            return is_last.then(|| {
                let line = self.buffer[self.begin..].to_vec();
                self.begin = self.buffer.len();
                line
            });
        };
        let line = &self.buffer[self.begin..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.begin = end + 1;
        self.searched = self.begin;
        Some(line)
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.buffer.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        let length = self.buffer.len();
        self.buffer.resize(length + CHUNK, 0);
        let read = Pin::new(&mut self.file).poll_read(cx, &mut self.buffer[length..]);
        let count = match &read {
            Poll::Ready(Ok(count)) => *count,
            _ => 0,
        };
        self.buffer.truncate(length + count);
        if ready!(read)? == 0 {
            self.state = State::AtEnd;
        }
        Poll::Ready(Ok(()))
    }

    fn text(&mut self, line: Vec<u8>) -> io::Result<String> {
        String::from_utf8(line).map_err(|_| {
            self.state = State::Done;
            let cause = io::Error::new(io::ErrorKind::InvalidData, "a line is not UTF-8");
            failed("read the lines of", self.file.path(), cause)
        })
    }
}

impl Stream for Lines {
    type Item = io::Result<String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.state == State::Done {
                return Poll::Ready(None);
            }
            if let Some(line) = this.take_line() {
                return Poll::Ready(Some(this.text(line)));
            }
            if this.state == State::AtEnd {
                this.state = State::Done;
                continue;
            }
            if let Err(error) = ready!(this.poll_more(cx)) {
                this.state = State::Done;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}
