//! Bytes in and out: the process's own streams, pipes, and copying from one stream to another.
//!
//! The traits are those of `futures-io`. What is the same for all runtimes (`read_exact`, `write_all`, [`BufReader`],
//! [`BufWriter`] and the like) is in the crate `futures-lite`; with the feature `futures-lite` it is here as well, so that a
//! program need not name it.
//!
//! [`BufReader`]: https://docs.rs/futures-lite/2/futures_lite/io/struct.BufReader.html
//! [`BufWriter`]: https://docs.rs/futures-lite/2/futures_lite/io/struct.BufWriter.html

mod copy;
mod pipe;
mod standard;

pub use copy::{copy, copy_bidirectional};
pub use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};
#[cfg(feature = "futures-lite")]
pub use futures_lite::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufReader, BufWriter,
};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use standard::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
