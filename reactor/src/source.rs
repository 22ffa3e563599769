//! A registered descriptor, and the ways to wait for it.
//!
//! Everything here follows one rule: **try first, and wait only when told `WouldBlock`**. An attempt that succeeds at once
//! costs what the syscall costs and one atomic load.

use crate::events::{Event, Key};
use crate::readiness::Readiness;
use crate::state::State;
use crate::{Direction, Reactor, error};
use mio::Interest;
use mio::unix::SourceFd;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A descriptor's registration with a reactor; every [`Async`](crate::Async) has one.
///
/// It is registered once, edge-triggered, for both directions: one `epoll_ctl` when it is made and one when it is dropped,
/// none per operation. What it offers is generic over the attempt, so that any kind of I/O can be built on it.
///
/// # Readiness
/// The OS reports *that* something has changed, and the source remembers it in each direction until an attempt finds nothing
/// more. It begins as ready, so the first attempt is made at once. Readiness may be spurious, never missing.
///
/// # Any number of waiters
/// Each future that waits has a place of its own, and an event wakes all that wait for its direction. The `poll_*`
/// functions share one place per direction: two *tasks* that use them on the same source and direction wake each other,
/// again and again, which is correct but busy. Use the `async` ones for that, or split the work.
pub struct Source {
    reactor: Reactor,
    state: Arc<State>,
    key: Key,
    descriptor: RawFd,
}

impl Source {
    /// Registers a descriptor. The caller keeps it open until the source is dropped.
    pub(crate) fn register(descriptor: BorrowedFd<'_>, reactor: &Reactor) -> io::Result<Source> {
        let inner = reactor.inner();
        let descriptor = descriptor.as_raw_fd();
        let state = Arc::new(State::new());
        let key = inner
            .events
            .lock()
            .insert(Event::Source(Arc::clone(&state)))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = inner
            .registry
            .register(&mut SourceFd(&descriptor), key.into(), interest);
        if let Err(error) = registered {
            let event = inner.events.lock().remove(key);
            drop(event);
            return Err(refused(descriptor, error));
        }
        inner.metrics.registrations.add(1);
        Ok(Source {
            reactor: reactor.clone(),
            state,
            key,
            descriptor,
        })
    }

    /// The reactor that it is registered with.
    pub fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    pub(crate) fn belongs_to(&self, reactor: &Reactor) -> bool {
        self.reactor.is(reactor)
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Waits until an attempt in this direction is worth making, which it may be already. It stays so until an attempt
    /// through one of the functions below finds nothing more.
    ///
    /// # Errors
    /// When the reactor is closed.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn ready(&self, direction: Direction) -> io::Result<()> {
        self.wait(direction).await.map(drop)
    }

    /// The `poll` form of [`ready`](Self::ready). Its place is shared: see [the type](Self#any-number-of-waiters).
    ///
    /// # Errors
    /// When the reactor is closed.
    pub fn poll_ready(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_seen(direction, context)
            .map(|seen| seen.map(drop))
    }

    /// Makes attempts until one does not say `WouldBlock`, and waits in between. Returns its result.
    ///
    /// # Errors
    /// Those of the attempt, but for `WouldBlock` and `Interrupted`, which mean to try again; and when the reactor is
    /// closed.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing: an attempt either has not happened or is its result.
    pub async fn io<R>(
        &self,
        direction: Direction,
        mut attempt: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            let seen = self.wait(direction).await?;
            if let Some(result) = self.attempt(direction, seen, &mut attempt, |_| false) {
                return result;
            }
        }
    }

    /// The `poll` form of [`io`](Self::io). Its place is shared: see [the type](Self#any-number-of-waiters).
    ///
    /// # Errors
    /// Those of [`io`](Self::io).
    pub fn poll_io<R>(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            let seen = ready!(self.poll_seen(direction, context))?;
            if let Some(result) = self.attempt(direction, seen, &mut attempt, |_| false) {
                return Poll::Ready(result);
            }
        }
    }

    /// Makes one attempt if the direction is ready, and never waits.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when it is not ready, which may be known without a syscall; those of the
    /// attempt; and when the reactor is closed.
    pub fn try_io<R>(
        &self,
        direction: Direction,
        attempt: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        self.attempt_if_ready(direction, attempt, |_| false)
    }

    /// Like [`io`](Self::io), for **byte streams over sockets** only: attempts to transfer `asked` bytes and yields how many
    /// it did.
    ///
    /// A stream that transfers fewer bytes than asked has no more for now, so the next wait begins at once, without the
    /// extra syscall that would only say `WouldBlock`. That holds for TCP and Unix streams. It does not hold for
    /// datagrams, terminals or pipes in packet mode, which hand out one piece at a time: use [`io`](Self::io) for those. A
    /// peer that sends urgent data over TCP, or descriptors over a Unix stream, can make a read short although more is
    /// there; what follows is then read when the next bytes arrive.
    ///
    /// # Errors
    /// Those of [`io`](Self::io).
    ///
    /// # Cancel safety
    /// That of [`io`](Self::io).
    pub async fn transfer(
        &self,
        direction: Direction,
        asked: usize,
        mut attempt: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let seen = self.wait(direction).await?;
            if let Some(result) = self.attempt(direction, seen, &mut attempt, short_of(asked)) {
                return result;
            }
        }
    }

    /// The `poll` form of [`transfer`](Self::transfer). Its place is shared: see [the type](Self#any-number-of-waiters).
    ///
    /// # Errors
    /// Those of [`io`](Self::io).
    pub fn poll_transfer(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
        asked: usize,
        mut attempt: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let seen = ready!(self.poll_seen(direction, context))?;
            if let Some(result) = self.attempt(direction, seen, &mut attempt, short_of(asked)) {
                return Poll::Ready(result);
            }
        }
    }

    /// [`try_io`](Self::try_io) with the rule of [`transfer`](Self::transfer).
    ///
    /// # Errors
    /// Those of [`try_io`](Self::try_io).
    pub fn try_transfer(
        &self,
        direction: Direction,
        asked: usize,
        attempt: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.attempt_if_ready(direction, attempt, short_of(asked))
    }

    fn attempt_if_ready<R>(
        &self,
        direction: Direction,
        mut attempt: impl FnMut() -> io::Result<R>,
        is_short: impl Fn(&R) -> bool,
    ) -> io::Result<R> {
        let seen = self.state.readiness().load();
        if seen.is_gone() {
            return Err(error::gone());
        }
        if !seen.is_ready(direction) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.attempt(direction, seen, &mut attempt, is_short)
            .unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Makes one attempt and learns from it. `None`: it would block. `seen` is the readiness before it.
    fn attempt<R>(
        &self,
        direction: Direction,
        seen: Readiness,
        attempt: &mut impl FnMut() -> io::Result<R>,
        is_short: impl Fn(&R) -> bool,
    ) -> Option<io::Result<R>> {
        loop {
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.state.readiness().blocked(seen, direction);
                    return None;
                }
                Ok(value) if is_short(&value) => {
                    self.state.readiness().short(seen, direction);
                    return Some(Ok(value));
                }
                result => return Some(result),
            }
        }
    }

    fn poll_seen(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Readiness>> {
        match self.state.poll(direction, context.waker()) {
            Ok(Some(seen)) => self.proceed(seen, context),
            Ok(None) => Poll::Pending,
            Err(replaced) => {
                replaced.wake();
                Poll::Pending
            }
        }
    }

    fn wait(&self, direction: Direction) -> Wait<'_> {
        Wait {
            source: self,
            direction,
            entry: None,
        }
    }

    /// The direction is ready; may the task go on?
    fn proceed(&self, seen: Readiness, context: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        if seen.is_gone() {
            return Poll::Ready(Err(error::gone()));
        }
        if !(self.reactor.inner().budget)() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(seen))
    }
}

/// Deregisters. An event that is on its way already finds the key void.
impl Drop for Source {
    fn drop(&mut self) {
        let inner = self.reactor.inner();
        let event = inner.events.lock().remove(self.key);
        drop(event);
        // Fails if the descriptor was closed against the rules; then it is not registered any more, and nobody can be told.
        if inner
            .registry
            .deregister(&mut SourceFd(&self.descriptor))
            .is_ok()
        {
            inner.metrics.deregistrations.add(1);
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("descriptor", &self.descriptor)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// A future that waits for one direction, in a place of its own.
struct Wait<'a> {
    source: &'a Source,
    direction: Direction,
    /// Its place in the queue, once it has had to wait.
    entry: Option<usize>,
}

impl Future for Wait<'_> {
    type Output = io::Result<Readiness>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        let Wait {
            source,
            direction,
            ref mut entry,
        } = *self;
        match source.state.wait(direction, entry, context.waker()) {
            Some(seen) => source.proceed(seen, context),
            None => Poll::Pending,
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            self.source.state.forget(self.direction, entry);
        }
    }
}

/// Fewer than asked, but not the end, which the next attempt is to see again.
fn short_of(asked: usize) -> impl Fn(&usize) -> bool {
    move |&count| 0 < count && count < asked
}

/// Why the OS refused to register a descriptor, and what to do.
fn refused(descriptor: RawFd, error: io::Error) -> io::Error {
    let advice = match error.raw_os_error() {
        Some(libc::EPERM) => {
            " (files and directories are always ready and cannot be waited for: read them on a thread that may block)"
        }
        Some(libc::EEXIST) => {
            " (it is registered with this reactor already: duplicate the descriptor)"
        }
        Some(libc::ENOSPC) => {
            " (the user's limit in /proc/sys/fs/epoll/max_user_watches is reached)"
        }
        _ => "",
    };
    error::cannot(
        format_args!("register descriptor {descriptor} with the reactor{advice}"),
        error,
    )
}
