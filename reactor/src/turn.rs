//! One turn of the loop: poll, execute, update.
//!
//! ```text
//!    E    = poll(Q)         ask the OS which sources are ready and the wheel which timers are due
//!    T(P) = execute(E)      mark the sources ready, perform operations, gather who is to be told
//!    Q    = update(Q, E)    what is finished leaves; wakers and callbacks are called
//! ```
//!
//! # The claim
//!
//! Any thread may take a turn, but only one at a time asks the OS and the wheel. It claims that by trying a lock, and
//! gives it back as soon as they have answered, before it does anything with the answer: while it performs operations
//! and calls callbacks, another thread may already wait for the next events. A thread that finds the claim taken goes
//! away; the one that has it will not miss anything.
//!
//! Two threads may therefore work on two batches at the same time. That is harmless: readiness only moves by ticks,
//! wakers are taken out of their queue by one of them, and the operations of a source are performed by one at a time.
//!
//! # Nothing is called from inside
//!
//! Execute gathers; update calls. No lock is held by then, so whoever is called may use the reactor in any way, and
//! another turn too.

use crate::error;
use crate::events::{Event, Key};
use crate::file::ring;
use crate::file::stage::Landed;
use crate::metrics::Counters;
use crate::reactor::{Inner, Reactor};
use crate::readiness::Edge;
use crate::state::Gathered;
use crate::submit::Job;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Events that one turn takes from the OS at most; more wait for the next. A scheduler's local queue holds as many tasks,
/// so that what one turn wakes fits into it.
const EVENTS_PER_TURN: usize = 256;

/// Events that a [glance](Turns::glance) takes at most. Fewer than the 61 tasks that a worker polls between two of them, if each event
/// wakes one task, as most do: if it took more than is worked off until the next, then under a flood the queue would overflow, and what an event has brought into the
/// caches would be gone when its task has its turn.
const EVENTS_PER_GLANCE: usize = 48;

/// How long a turn sleeps at most while the kernel does not take what it was told of. Nothing reports that it would now.
const RETRY: Duration = Duration::from_millis(1);

/// What came of a [`Reactor::turn`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turned {
    /// Another thread has the turn.
    Claimed,
    /// The turn was taken, with so many wakers called and operations attempted.
    Done(usize),
}

/// What came of a [`Turns::poll`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Polled {
    /// Another thread has the turn.
    Claimed,
    /// So many wakers and operations wait for [`Turns::update`].
    Ready(usize),
}

impl Reactor {
    /// Takes one turn: waits until something happens, for at most `timeout` (`None`: as long as it takes; zero: not at
    /// all), then tells everyone concerned.
    ///
    /// It also returns when a timer is due, or when somebody [unparks](Self::unpark) it, and may return early with
    /// nothing done. `timeout` itself has a resolution of 1 ms, and is rounded up; timers are more precise.
    ///
    /// # Errors
    /// When the reactor is closed, or the OS can't be asked, which only happens to descriptors that are closed by others.
    ///
    /// # Examples
    /// ```
    /// use peu_reactor::{Reactor, Turned};
    /// use std::time::Duration;
    ///
    /// let reactor = Reactor::new()?;
    /// let turned = reactor.turn(Some(Duration::ZERO))?;
    /// assert_eq!(turned, Turned::Done(0));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn turn(&self, timeout: Option<Duration>) -> io::Result<Turned> {
        if self.is_closed() {
            return Err(error::gone());
        }
        let inner = self.inner();
        let mut buffers = inner.spare.lock().take().unwrap_or_default();
        let turned = buffers.turn(self, timeout);
        let surplus = inner.spare.lock().replace(buffers);
        drop(surplus);
        turned
    }

    /// For who takes many turns, such as a worker of a runtime: the buffers of a turn, to be used again and again.
    pub fn turns(&self) -> Turns {
        Turns {
            reactor: self.clone(),
            buffers: Buffers::default(),
        }
    }
}

/// Takes turns in two steps, so that its owner can do something in between: see [`Reactor::turns`].
///
/// The line between them is drawn through *execute*. Marking sources ready belongs to the first, so that it can say how
/// much there is; performing operations, which runs foreign code, to the second, when a worker counts as awake again.
///
/// A closed reactor has no more events, but [`poll`](Self::poll) still sleeps and is still unparked, so that the last
/// worker of a runtime can wait here for the others.
///
/// Dropping it calls whom [`update`](Self::update) would have called.
///
/// # Examples
/// ```
/// use peu_reactor::{Polled, Reactor};
/// use std::time::Duration;
///
/// let reactor = Reactor::new()?;
/// let mut turns = reactor.turns();
/// while let Polled::Ready(1..) = turns.poll(Some(Duration::ZERO))? {
///     turns.update();
/// }
/// # std::io::Result::Ok(())
/// ```
pub struct Turns {
    reactor: Reactor,
    buffers: Buffers,
}

impl Turns {
    /// The first part of a turn: waits as [`Reactor::turn`] does, marks sources ready, and gathers who is to be told.
    ///
    /// # Errors
    /// When the OS can't be asked, which only happens to descriptors that are closed by others.
    pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<Polled> {
        self.poll_if(timeout, &|| true)
    }

    /// Like [`poll`](Self::poll), but with a last look before it sleeps: once this thread has the turn, and from a moment
    /// on from which every [`unpark`](Reactor::unpark) ends this very poll, `may_sleep` is asked, and if it says no, the
    /// poll does not wait.
    ///
    /// For a thread that shares the reactor with others. One unpark ends one turn, whoever takes it; so the turn of
    /// another can swallow the unpark that was meant for this one, unless it is after this look. What an unparker wrote
    /// before an unpark that was swallowed is visible to `may_sleep`.
    ///
    /// # Errors
    /// As for `poll`.
    pub fn poll_if(
        &mut self,
        timeout: Option<Duration>,
        may_sleep: &dyn Fn() -> bool,
    ) -> io::Result<Polled> {
        let inner = self.reactor.inner();
        if self.buffers.poll(inner, timeout, may_sleep)? {
            Ok(Polled::Ready(self.buffers.mark_ready(inner)))
        } else {
            Ok(Polled::Claimed)
        }
    }

    /// Like [`poll`](Self::poll) without waiting, for who has other work and looks here now and then: takes few events at a
    /// time (48), the others stay with the OS until the next look.
    ///
    /// # Errors
    /// As for `poll`.
    pub fn glance(&mut self) -> io::Result<Polled> {
        self.buffers.swap_events();
        let polled = self.poll(Some(Duration::ZERO));
        self.buffers.swap_events();
        polled
    }

    /// The rest: performs operations, and calls wakers and callbacks. A panic of one is counted, and the others are still
    /// called. All foreign code runs here, none of it in [`poll`](Self::poll).
    pub fn update(&mut self) {
        self.buffers.perform(self.reactor.inner());
        self.buffers.update(&self.reactor);
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.update();
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns")
            .field("reactor", &self.reactor)
            .finish_non_exhaustive()
    }
}

/// What a turn holds from one step to the next. The buffers grow to what a turn needs and are used again.
pub(crate) struct Buffers {
    /// What the OS reported.
    events: mio::Events,
    /// The same, for glances.
    few: mio::Events,
    /// Wakers to be called and operations to be performed.
    gathered: Gathered,
    /// Finished operations, whose callbacks are to be called.
    completions: Vec<Box<dyn Job>>,
    /// Their keys.
    finished: Vec<Key>,
    /// Calls on files that the kernel has reported.
    landed: Landed,
    /// What has left the set of events and is to be dropped without its lock.
    removed: Vec<Event>,
    /// Whether the OS was allowed to let the turn sleep.
    slept: bool,
}

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers {
            events: mio::Events::with_capacity(EVENTS_PER_TURN),
            few: mio::Events::with_capacity(EVENTS_PER_GLANCE),
            gathered: Gathered::default(),
            completions: Vec::new(),
            finished: Vec::new(),
            landed: Landed::default(),
            removed: Vec::new(),
            slept: false,
        }
    }
}

impl Buffers {
    /// Before a glance, and after it: what was reported is dealt with by then.
    fn swap_events(&mut self) {
        std::mem::swap(&mut self.events, &mut self.few);
    }

    fn turn(&mut self, reactor: &Reactor, timeout: Option<Duration>) -> io::Result<Turned> {
        let inner = reactor.inner();
        if !self.poll(inner, timeout, &|| !reactor.is_closed())? {
            return Ok(Turned::Claimed);
        }
        let gathered = self.execute(inner);
        self.update(reactor);
        Ok(Turned::Done(gathered))
    }

    /// Chooses what can make progress. `false`: another thread has the claim.
    fn poll(
        &mut self,
        inner: &Inner,
        timeout: Option<Duration>,
        may_sleep: &dyn Fn() -> bool,
    ) -> io::Result<bool> {
        let Some(mut poll) = inner.poll.try_lock() else {
            // Whoever has it may have looked at the line of calls before this thread put one there.
            inner.submit_calls();
            return Ok(false);
        };
        let announce = || before_sleep(inner, timeout, may_sleep);
        let (mut timeout, again) = ring::before_sleep(announce, || inner.submit_calls());
        if again {
            timeout = Some(timeout.map_or(RETRY, |timeout| timeout.min(RETRY)));
        }
        // The kernel may have done some of them at once.
        if inner.collect_calls(&mut self.landed) {
            timeout = Some(Duration::ZERO);
        }
        let result = poll.poll(&mut self.events, timeout);
        // Whatever ended the wait: the kernel interrupts it when it completes a call that this thread has submitted.
        inner.collect_calls(&mut self.landed);
        // While the claim is held: they say that nobody sleeps, which the next one to claim may be about to change.
        inner.parking.wake_up();
        inner.fire_timers(&mut self.gathered.wakers);
        drop(poll);
        // Before anything can go wrong: a reactor that is closed waits for it.
        inner.land(&mut self.landed);
        self.slept = timeout != Some(Duration::ZERO);
        inner.metrics.turns.add(1);
        match result {
            // A signal ended the wait: a turn in which nothing happened.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error::cannot("wait for events", error)),
            Ok(()) => Ok(true),
        }
    }

    /// Lets it make progress. Returns how many wakers and operations have gathered.
    fn execute(&mut self, inner: &Inner) -> usize {
        let gathered = self.mark_ready(inner);
        self.perform(inner);
        gathered
    }

    /// Execute, for sources: marks them ready. Returns how many wakers and operations have gathered. No foreign code
    /// runs.
    fn mark_ready(&mut self, inner: &Inner) -> usize {
        self.deliver(inner);
        self.gathered.runnable.append(&mut inner.runnable.lock());
        let landed = self.landed.over.len() + self.landed.astray.len();
        let gathered = self.gathered.wakers.len() + self.gathered.runnable.len() + landed;
        inner
            .metrics
            .idle_turns
            .add(usize::from(self.slept && gathered == 0));
        gathered
    }

    /// Execute, for operations: performs those that can be.
    fn perform(&mut self, inner: &Inner) {
        empty(&mut self.gathered.runnable, |runnable| {
            inner.execute(&runnable, &mut self.completions, &mut self.finished);
        });
    }

    /// Marks the sources of all events ready and gathers who waits for them, under one lock.
    fn deliver(&mut self, inner: &Inner) {
        if self.events.is_empty() {
            return;
        }
        let (mut delivered, mut stale) = (0, 0);
        let pending = inner.events.lock();
        for event in &self.events {
            let key = Key::from(event.token());
            match pending.get(key) {
                Some(Event::Source(state)) => state.deliver(Edge::of(event), &mut self.gathered),
                _ if key.is_internal() => continue,
                _ => stale += 1,
            }
            delivered += 1;
        }
        drop(pending);
        inner.metrics.events.add(delivered);
        inner.metrics.stale_events.add(stale);
    }

    /// What is finished leaves, and everyone concerned is told.
    fn update(&mut self, reactor: &Reactor) {
        let inner = reactor.inner();
        self.remove_finished(inner);
        // Wakers first: they only put tasks into queues, where others can take them. A callback may take its time.
        inner.wake(&mut self.gathered.wakers);
        empty(&mut self.completions, |job| inner.complete(job));
        empty(&mut self.landed.over, |over| inner.tell(over));
        empty(&mut self.landed.astray, |key| {
            reactor.send_thread(key, false)
        });
    }

    fn remove_finished(&mut self, inner: &Inner) {
        if self.finished.is_empty() {
            return;
        }
        let mut pending = inner.events.lock();
        let removed = self
            .finished
            .drain(..)
            .filter_map(|key| pending.remove(key));
        self.removed.extend(removed);
        drop(pending);
        self.removed.clear();
    }
}

/// How long a turn may sleep: not at all if somebody has unparked it, its owner does not want to any more, or a timer
/// is due.
fn before_sleep(
    inner: &Inner,
    timeout: Option<Duration>,
    may_sleep: &dyn Fn() -> bool,
) -> Option<Duration> {
    if timeout == Some(Duration::ZERO) || !inner.parking.fall_asleep_if(may_sleep) {
        return Some(Duration::ZERO);
    }
    inner.cover_sleep(timeout)
}

/// Takes all out in their order, and keeps the memory. Most turns have nothing in most lists, and to drain an empty one is no
/// less work than to drain one.
fn empty<T>(list: &mut Vec<T>, take: impl FnMut(T)) {
    if !list.is_empty() {
        list.drain(..).for_each(take);
    }
}

/// Calls foreign code. A panic of it is counted and goes no further.
pub(crate) fn contain(metrics: &Counters, call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        metrics.panics.add(1);
    }
}
