//! How to learn that a child process has ended.
//!
//! Nobody installs a handler for SIGCHLD here: a process has one, and a library that takes it takes it from everybody else.
//! Linux has a descriptor for each process, which becomes readable at its end; on other systems, and on Linux before 5.3, one
//! looks now and then. (A thread that waits in the kernel would notice at once, but nothing ends its waiting: a dropped wait, or a
//! runtime that ends, would have to leave it behind.)
//!
//! The descriptor does not collect the status. That is for the owner, by [`std::process::Child::try_wait`]; until then the
//! system gives the number of the process to no other.

use crate::time::Sleep;
use crate::{Async, Reactor, os};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// As long as the shortest programs run.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Ten looks a second cost nothing, and nobody notices a tenth of a second after some.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

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
/// assert!(child.wait()?.success());
/// # std::io::Result::Ok(())
/// ```
pub fn end_of(process: u32, reactor: &Reactor) -> io::Result<Async<OwnedFd>> {
    Async::from_nonblocking(os::pidfd(process)?, reactor)
}

/// Waits until `look` finds that a child has ended, where there is no descriptor to wait for. It looks again after pauses of 1
/// to 100 ms, each twice as long as the one before.
///
/// # Errors
/// Those of `look`, and when the reactor is closed.
///
/// # Cancel safety
/// Dropping it loses nothing.
///
/// # Examples
/// ```
/// use peu_reactor::{Reactor, process};
///
/// # let reactor = Reactor::new()?;
/// let mut child = std::process::Command::new("sleep").arg("1000").spawn()?;
/// child.kill()?;
/// let mut end = Box::pin(process::look_for_end(|| child.try_wait(), &reactor));
/// # use std::{future::Future, task::{Context, Poll, Waker}};
/// # while let Poll::Pending = end.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
/// #     reactor.turn(None)?;
/// # }
/// // end.await?
/// # std::io::Result::Ok(())
/// ```
pub async fn look_for_end<T>(
    mut look: impl FnMut() -> io::Result<Option<T>>,
    reactor: &Reactor,
) -> io::Result<T> {
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(status) = look()? {
            return Ok(status);
        }
        let mut sleep = Sleep::with_reactor(Instant::now() + pause, reactor);
        poll_fn(|context| sleep.poll_or_gone(context)).await?;
        pause = LONGEST_PAUSE.min(2 * pause);
    }
}
