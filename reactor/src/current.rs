//! The reactor that a thread is inside of, so that a socket can be made without naming one.
//!
//! There is no global reactor. A runtime enters its reactor on each of its threads, a host around the code that needs it.

use crate::Reactor;
use crate::handle::{Handle, Stay};
use std::fmt;
use std::io;
use std::marker::PhantomData;

impl Reactor {
    /// Makes this the current reactor of this thread until the guard is dropped, which restores the previous one.
    ///
    /// Guards are dropped in the reverse order of their making, as scopes do by themselves.
    ///
    /// # Examples
    /// ```
    /// use peu_reactor::{Async, Reactor};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (stream, _peer) = UnixStream::pair()?;
    /// assert!(Reactor::current().is_none());
    ///
    /// let reactor = Reactor::new()?;
    /// let entered = reactor.enter();
    /// let stream = Async::new(stream)?;
    /// drop(entered);
    /// assert!(Reactor::current().is_none());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn enter(&self) -> Entered<'_> {
        Entered {
            previous: self.handle().enter(),
            of: PhantomData,
        }
    }

    /// The reactor that was entered last on this thread and not left.
    pub fn current() -> Option<Reactor> {
        Handle::current().map(Reactor::from_handle)
    }

    /// The current reactor, for whoever can't do without.
    pub(crate) fn current_or_err() -> io::Result<Reactor> {
        Reactor::current().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "there is no current runtime on this thread: call this inside `block_on` or a task of a runtime, or while a guard of \
                 `Runtime::enter` (or `Reactor::enter`) lives",
            )
        })
    }
}

/// Keeps a reactor the current one of its thread: see [`Reactor::enter`]. It stays on the thread where it was made.
///
/// ```compile_fail
/// let reactor = peu_reactor::Reactor::new().unwrap();
/// let entered = reactor.enter();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(entered));
/// });
/// ```
#[must_use = "the reactor is left as soon as this is dropped"]
pub struct Entered<'a> {
    previous: Stay,
    /// Borrows the reactor, and is neither `Send` nor `Sync`.
    of: PhantomData<(&'a Reactor, *const ())>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.previous.restore();
    }
}

impl fmt::Debug for Entered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered").finish_non_exhaustive()
    }
}
