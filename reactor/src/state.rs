//! What the reactor and the owner of a source share about it: its readiness, and who waits for it.
//!
//! # Register, then look again
//!
//! A waiter finds the source not ready, takes the lock, **looks again**, and only then leaves its waker. A turn that has an
//! event for the source first changes the readiness and *then* takes the lock to collect who waits. Of the two critical
//! sections one comes first:
//!
//! - the waiter's: then the turn finds the waker;
//! - the turn's: then its change of the readiness came before the waiter's second look, which sees it.
//!
//! Either way nobody sleeps through an event. The same holds for an operation that enters the queue, and for one that
//! is put back: see [`State::enqueue`] and [`State::put_back`].
//!
//! # Everybody is woken
//!
//! An event wakes all waiters of its direction. One that is dropped after it was woken therefore owes nobody anything:
//! there is no other whom it should have woken in its place.
//!
//! # No foreign code under the lock
//!
//! Wakers and operations are moved out, and are woken, called or dropped after the lock is released. (A waker is *cloned*
//! under it, and only if the one that is there would not do: cloning is counting a reference.)

use crate::Direction;
use crate::events::Key;
use crate::readiness::{AtomicReadiness, Edge, Readiness};
use crate::slab::Slab;
use crate::submit::Job;
use crate::sync::{Mutex, twin};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

/// The shared state of a source.
pub(crate) struct State {
    readiness: AtomicReadiness,
    /// One lock for both directions: the OS reports them together.
    queues: Mutex<Queues>,
}

#[derive(Default)]
struct Queues {
    read: Queue,
    write: Queue,
}

/// Who waits for one direction of a source. Mostly that is one task, through a `poll_*` function: then the state of a source
/// is two cache lines, both directions included, and that is what an event touches.
#[derive(Default)]
struct Queue {
    /// The task that came last through a `poll_*` function. These have no identity beyond their waker, so there is one
    /// place for all.
    polled: Option<Waker>,
    /// Everybody else, from the moment on when the first of them comes.
    others: Option<Box<Others>>,
}

#[derive(Default)]
struct Others {
    /// One entry per waiting future, from its first wait until it is dropped; emptied when it is woken.
    futures: Slab<Option<Waker>>,
    /// Submitted operations, first come first served.
    operations: VecDeque<(Key, Box<dyn Job>)>,
    /// The operation that a turn is performing just now. At most one, so that two turns never change their order.
    executing: Option<Executing>,
}

struct Executing {
    key: Key,
    /// It was cancelled meanwhile: it must not be put back.
    cancelled: bool,
}

/// What a turn gathers while it delivers events.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) wakers: Vec<Waker>,
    /// Directions of sources that have become ready and have operations to perform.
    pub(crate) runnable: Vec<Runnable>,
}

/// A direction of a source that may have an operation to perform.
pub(crate) type Runnable = (Arc<State>, Direction);

/// What became of an operation that was to wait in the queue of its source.
#[must_use = "a runnable operation has to be announced to the reactor, a refused one to its callback"]
pub(crate) enum Enqueued {
    /// It waits for an event.
    Waiting,
    /// The source is ready: no event will come, so a turn has to be told.
    Runnable,
    /// The reactor is closed.
    Refused(Box<dyn Job>),
}

/// What cancelling found.
#[must_use = "a cancelled operation is given back to its callback"]
pub(crate) enum Cancelled {
    /// It was waiting and is out of the queue.
    Taken(Box<dyn Job>),
    /// A turn is performing it; that turn gives it back if it does not succeed.
    Executing,
    /// It has finished.
    Finished,
}

impl State {
    pub(crate) fn new() -> State {
        State {
            readiness: AtomicReadiness::new(),
            queues: Mutex::default(),
        }
    }

    pub(crate) fn readiness(&self) -> &AtomicReadiness {
        &self.readiness
    }

    /// Called by a turn for each event, while it holds the lock of the set of events.
    pub(crate) fn deliver(self: &Arc<State>, edge: Edge, gathered: &mut Gathered) {
        if !twin("state-event-last") {
            self.readiness.event(edge);
        }
        let mut queues = self.queues.lock();
        for direction in [Direction::Read, Direction::Write] {
            if edge.concerns(direction) {
                let queue = queues.of(direction);
                queue.take_wakers(&mut gathered.wakers);
                if queue.is_runnable() {
                    gathered.runnable.push((Arc::clone(self), direction));
                }
            }
        }
        if twin("state-event-last") {
            drop(queues);
            self.readiness.event(edge);
        }
    }

    /// Waits in the place of the `poll_*` functions, unless the direction is ready.
    ///
    /// `Err` holds the waker of another task that waited there and has lost its place: wake it, it will come back.
    pub(crate) fn poll(
        &self,
        direction: Direction,
        waker: &Waker,
    ) -> Result<Option<Readiness>, Waker> {
        let seen = self.readiness.load();
        if seen.is_ready(direction) {
            return Ok(Some(seen));
        }
        let mut queues = self.queues.lock();
        let seen = self.readiness.load();
        if seen.is_ready(direction) {
            return Ok(Some(seen));
        }
        match replace(&mut queues.of(direction).polled, waker) {
            Some(other) => Err(other),
            None => Ok(None),
        }
    }

    /// Waits in an entry of the future's own, which `entry` remembers, unless the direction is ready.
    pub(crate) fn wait(
        &self,
        direction: Direction,
        entry: &mut Option<usize>,
        waker: &Waker,
    ) -> Option<Readiness> {
        let seen = self.readiness.load();
        if seen.is_ready(direction) {
            return Some(seen);
        }
        // Declared before the guard, so that the old waker is dropped after it.
        let _replaced;
        let mut queues = self.queues.lock();
        let seen = self.readiness.load();
        if seen.is_ready(direction) && !twin("state-no-second-look") {
            return Some(seen);
        }
        let futures = &mut queues.of(direction).others().futures;
        let index = *entry.get_or_insert_with(|| futures.insert(None));
        _replaced = futures
            .get_mut(index)
            .and_then(|place| replace(place, waker));
        None
    }

    /// The future is dropped or done: its entry goes.
    pub(crate) fn forget(&self, direction: Direction, entry: usize) {
        let mut queues = self.queues.lock();
        let waker = queues.of(direction).others().futures.remove(entry);
        drop(queues);
        drop(waker);
    }

    /// Puts a new operation at the end of the queue.
    ///
    /// If the direction is ready, the event that made it so may have been delivered long ago, and an edge is reported
    /// once: somebody has to tell a turn. If it is not, the next event finds the operation in the queue, because that
    /// event's change of the readiness comes after this look and before its own look at the queue.
    pub(crate) fn enqueue(&self, direction: Direction, key: Key, job: Box<dyn Job>) -> Enqueued {
        let mut queues = self.queues.lock();
        let now = self.readiness.load();
        if now.is_gone() {
            return Enqueued::Refused(job);
        }
        let others = queues.of(direction).others();
        others.operations.push_back((key, job));
        if now.is_ready(direction) {
            Enqueued::Runnable
        } else {
            Enqueued::Waiting
        }
    }

    /// Takes the first operation out to perform it, if the direction is ready and no other turn is performing one.
    ///
    /// A turn that is sent away because another is at it can go: the other calls this again after it has
    /// [ended](Self::put_back) its operation, and finds whatever made this one come.
    pub(crate) fn begin(&self, direction: Direction) -> Option<(Key, Box<dyn Job>, Readiness)> {
        let mut queues = self.queues.lock();
        let seen = self.readiness.load();
        let others = queues.of(direction).others();
        let busy = others.executing.is_some() && !twin("operation-two-at-once");
        if !seen.is_ready(direction) || busy {
            return None;
        }
        let (key, job) = others.operations.pop_front()?;
        others.executing = Some(Executing {
            key,
            cancelled: false,
        });
        Some((key, job, seen))
    }

    /// The operation that was begun is finished.
    pub(crate) fn finish(&self, direction: Direction) {
        self.queues.lock().of(direction).others().executing = None;
    }

    /// The operation that was begun when the readiness was `seen` would have blocked. It returns to the head of its
    /// queue; if it was cancelled meanwhile, or the reactor was closed, it is given back instead.
    ///
    /// An event during the attempt has found the queue busy and left the readiness set, with a tick that keeps it from
    /// being cleared here: the caller's next [`begin`](Self::begin) sees it.
    pub(crate) fn put_back(
        &self,
        direction: Direction,
        seen: Readiness,
        job: Box<dyn Job>,
    ) -> Option<Box<dyn Job>> {
        self.readiness.blocked(seen, direction);
        let mut queues = self.queues.lock();
        let others = queues.of(direction).others();
        match others.executing.take() {
            Some(Executing {
                key,
                cancelled: false,
            }) if !self.readiness.load().is_gone() => {
                others.operations.push_front((key, job));
                None
            }
            _ => Some(job),
        }
    }

    /// Takes an operation out of the queue, or marks the one that is being performed.
    pub(crate) fn cancel(&self, direction: Direction, key: Key) -> Cancelled {
        let mut queues = self.queues.lock();
        let others = queues.of(direction).others();
        if let Some(at) = others
            .operations
            .iter()
            .position(|(other, _)| *other == key)
        {
            return match others.operations.remove(at) {
                Some((_, job)) => Cancelled::Taken(job),
                None => Cancelled::Finished,
            };
        }
        match &mut others.executing {
            Some(executing) if executing.key == key => {
                executing.cancelled = !twin("operation-cancel-unmarked");
                Cancelled::Executing
            }
            _ => Cancelled::Finished,
        }
    }

    /// The reactor is closed: all who wait are handed out, and whoever comes later is told.
    pub(crate) fn close(&self, wakers: &mut Vec<Waker>, jobs: &mut Vec<Box<dyn Job>>) {
        self.readiness.close();
        let mut queues = self.queues.lock();
        for direction in [Direction::Read, Direction::Write] {
            let queue = queues.of(direction);
            queue.take_wakers(wakers);
            if let Some(others) = &mut queue.others {
                jobs.extend(others.operations.drain(..).map(|(_, job)| job));
            }
        }
    }
}

impl Queues {
    fn of(&mut self, direction: Direction) -> &mut Queue {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

impl Queue {
    fn others(&mut self) -> &mut Others {
        self.others.get_or_insert_default()
    }

    fn take_wakers(&mut self, into: &mut Vec<Waker>) {
        into.extend(self.polled.take());
        if let Some(others) = &mut self.others {
            let places = others.futures.iter_mut();
            into.extend(places.filter_map(|(_, waker)| waker.take()));
        }
    }

    fn is_runnable(&self) -> bool {
        let others = self.others.as_ref();
        others.is_some_and(|others| !others.operations.is_empty() && others.executing.is_none())
    }
}

/// Stores a clone of `waker` unless what is there wakes the same task. Returns what it replaced, to be dropped or woken
/// after the lock is released.
fn replace(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match place {
        Some(current) if current.will_wake(waker) || twin("state-waker-kept") => None,
        _ => place.replace(waker.clone()),
    }
}

#[cfg(test)]
mod tests;
