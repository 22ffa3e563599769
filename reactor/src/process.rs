//! How to learn that a child process has ended.
//!
//! Nobody installs a handler for SIGCHLD here: a process has one, and a library that takes it takes it from everybody else.
//! Linux has a descriptor for each process, which becomes readable at its end; other systems, and Linux before 5.3, have a
//! call that waits and leaves the child's status to its owner, for a thread that may block.
//!
//! Neither collects the status. That is for the owner, by [`std::process::Child::try_wait`]; until then the system gives the
//! number of the process to no other.

use crate::{Async, Reactor, os};
use std::io;
use std::os::fd::OwnedFd;

/// A descriptor that becomes readable when a process has ended, registered with `reactor`.
///
/// # Errors
/// When the system has none (`Unsupported`, or its error for an unknown call), or the process is gone.
///
/// # Examples
/// ```
/// use peu_reactor::{Reactor, process};
///
/// let reactor = Reactor::new()?;
/// let mut child = std::process::Command::new("true").spawn()?;
/// match process::end_of(child.id(), &reactor) {
///     Ok(end) => drop(end), // end.readable().await
///     Err(error) => eprintln!("this system has no such descriptors: {error}"),
/// }
/// process::block_until_end_of(child.id())?;
/// assert!(child.try_wait()?.is_some());
/// # std::io::Result::Ok(())
/// ```
pub fn end_of(process: u32, reactor: &Reactor) -> io::Result<Async<OwnedFd>> {
    Async::from_nonblocking(os::pidfd(process)?, reactor)
}

/// Blocks this thread until a child of this process has ended, and leaves its status to be collected.
///
/// # Errors
/// When it is no child of this process, or was collected before.
pub fn block_until_end_of(process: u32) -> io::Result<()> {
    os::wait_for_process(process)
}
