//! The errors that the reactor makes itself. Those of the system pass through, with what was tried put before them.

use std::error::Error;
use std::fmt::{self, Display};
use std::io;

/// Whoever waits or registers after [`Reactor::close`](crate::Reactor::close) gets this.
pub(crate) fn gone() -> io::Error {
    io::Error::other(
        "the reactor is closed because its runtime is gone: nothing can wait on it any more; \
         finish I/O before the runtime is shut down",
    )
}

/// Whoever needs a thread that may block, of a reactor that has none, gets this.
pub(crate) fn no_threads() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "this reactor has no threads for work that blocks, such as looking up a host by name or work on files: \
         give it some with Reactor::builder().offload(..), or do without, as with addresses in digits",
    )
}

/// Whoever needs a thread, and the pool takes no work any more or can't start one, gets this.
pub(crate) fn not_run() -> io::Error {
    io::Error::other(
        "no thread took the work: the pool is closed because its runtime is gone, or the system refuses it a thread",
    )
}

/// The outcome of an operation that was cancelled.
pub(crate) fn cancelled() -> io::Error {
    io::Error::new(
        io::ErrorKind::Interrupted,
        "the operation was cancelled before it was performed",
    )
}

/// The outcome of an operation whose `execute` panicked.
pub(crate) fn panicked() -> io::Error {
    io::Error::other("the operation panicked while the reactor performed it")
}

/// An error of the system, with what was tried put before it: "cannot make a pipe: Too many open files". The kind stays, and the
/// system's own error, with its number, is the source.
///
/// # Examples
/// ```
/// use std::error::Error;
/// use std::io;
///
/// let error = peu_reactor::cannot("make a pipe", io::Error::from_raw_os_error(24));
/// assert!(error.to_string().starts_with("cannot make a pipe: "));
/// let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
/// assert_eq!(source.and_then(io::Error::raw_os_error), Some(24));
/// ```
pub fn cannot(try_to: impl Display, cause: io::Error) -> io::Error {
    let tried = format!("cannot {try_to}");
    io::Error::new(cause.kind(), Failed { tried, cause })
}

/// What was tried, and why it failed.
#[derive(Debug)]
struct Failed {
    tried: String,
    cause: io::Error,
}

impl Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tried, self.cause)
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_kind_and_its_source() {
        let error = cannot("open a/b", io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let text = error.to_string();
        assert!(text.starts_with("cannot open a/b: "), "{text}");
        let source = error.source().and_then(|source| source.downcast_ref());
        assert_eq!(source.and_then(io::Error::raw_os_error), Some(libc::ENOENT));
    }
}
