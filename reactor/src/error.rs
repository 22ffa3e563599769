//! The errors that the reactor makes itself. Those of the system pass through, with what was tried put before them.

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

/// Puts before an error of the system what was tried.
pub(crate) fn context(tried: impl std::fmt::Display, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{tried}: {error}"))
}
