//! Parts of the reactor for models, which can't wait for an operating system's events.

#![allow(
    unreachable_pub,
    missing_docs,
    clippy::new_without_default,
    reason = "the models of loom-tests drive this module"
)]

use crate::Direction;
use crate::events::{Event, Events, Key};
use crate::file::ring::{Line, Pushed, Queue, Refused, before_sleep};
use crate::park::Parking;
use crate::place::Place;
use crate::readiness::{Edge, Readiness};
use crate::state::{Gathered, State};
use crate::sync::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A source without a descriptor: its state, and the two ways to wait for it.
#[derive(Clone)]
pub struct ModelSource(Arc<State>);

/// The readiness as it was before an attempt.
#[derive(Clone, Copy)]
pub struct Seen(Readiness);

impl ModelSource {
    pub fn new() -> ModelSource {
        ModelSource(Arc::new(State::new()))
    }

    /// What a turn does with an event: marks the source, gathers who waits, and tells them with no lock held.
    pub fn event(&self, direction: Direction) {
        let mut gathered = Gathered::default();
        self.0.deliver(Edge::ready(direction), &mut gathered);
        gathered.wakers.into_iter().for_each(Waker::wake);
    }

    pub fn is_ready(&self, direction: Direction) -> bool {
        self.0.readiness().load().is_ready(direction)
    }

    /// Nothing is ready, as after attempts that found nothing.
    pub fn exhaust(&self) {
        for direction in [Direction::Read, Direction::Write] {
            let seen = self.0.readiness().load();
            self.0.readiness().blocked(seen, direction);
        }
    }

    /// Waits as an `async fn` of a source does.
    pub fn wait(&self, direction: Direction) -> Wait {
        Wait {
            source: self.clone(),
            direction,
            entry: None,
        }
    }

    /// Waits as a `poll_*` function of a source does.
    pub fn poll(&self, direction: Direction, context: &mut Context<'_>) -> Poll<Seen> {
        match self.0.poll(direction, context.waker()) {
            Ok(Some(seen)) => Poll::Ready(Seen(seen)),
            Ok(None) => Poll::Pending,
            Err(replaced) => {
                replaced.wake();
                Poll::Pending
            }
        }
    }

    /// An attempt that began with `seen` transferred less than it asked for.
    pub fn short(&self, seen: Seen, direction: Direction) {
        self.0.readiness().short(seen.0, direction);
    }

    /// Who holds the source.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// An attempt that began with `seen` would have blocked.
    pub fn blocked(&self, seen: Seen, direction: Direction) {
        self.0.readiness().blocked(seen.0, direction);
    }
}

/// As the future of that name in `source.rs`.
pub struct Wait {
    source: ModelSource,
    direction: Direction,
    entry: Option<usize>,
}

impl Future for Wait {
    type Output = Seen;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Seen> {
        let Wait {
            source,
            direction,
            entry,
        } = &mut *self;
        match source.0.wait(*direction, entry, context.waker()) {
            Some(seen) => Poll::Ready(Seen(seen)),
            None => Poll::Pending,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            self.source.0.forget(self.direction, entry);
        }
    }
}

/// The set of events, under its lock.
pub struct ModelEvents(Mutex<Events>);

impl ModelEvents {
    pub fn new() -> ModelEvents {
        ModelEvents(Mutex::default())
    }

    pub fn register(&self, source: &ModelSource) -> Key {
        let event = Event::Source(source.0.clone());
        let key = self.0.lock().insert(event);
        key.expect("it is open and has room")
    }

    pub fn deregister(&self, key: Key) {
        let event = self.0.lock().remove(key);
        drop(event);
    }

    /// What a turn does with an event that the operating system has reported for a key. `false`: the key is stale.
    pub fn deliver(&self, key: Key, direction: Direction) -> bool {
        let mut gathered = Gathered::default();
        let pending = self.0.lock();
        let found = match pending.get(key) {
            Some(Event::Source(state)) => {
                state.deliver(Edge::ready(direction), &mut gathered);
                true
            }
            _ => false,
        };
        drop(pending);
        gathered.wakers.into_iter().for_each(Waker::wake);
        found
    }
}

/// Calls on their way to a kernel that only counts them.
pub struct ModelLine {
    line: Line<(), ModelKernel>,
}

#[derive(Clone, Copy, Default)]
struct ModelKernel {
    queued: usize,
    taken: usize,
}

impl Queue for ModelKernel {
    fn len(&mut self) -> usize {
        self.queued
    }

    fn is_wanted(&mut self) -> bool {
        false
    }
}

impl ModelLine {
    pub fn new() -> ModelLine {
        ModelLine::with_room(usize::MAX)
    }

    pub fn with_room(room: usize) -> ModelLine {
        ModelLine {
            line: Line::new(ModelKernel::default(), room),
        }
    }

    /// As who hands a call in.
    pub fn push(&self, parking: &ModelParking) {
        let (pushed, ()) = self
            .line
            .push(&parking.0, || (Some(()), ()))
            .expect("it is open");
        if pushed == Pushed::ToSubmit {
            self.submit();
        }
    }

    /// Tells the kernel.
    pub fn submit(&self) {
        while self.load() {
            self.tell();
        }
    }

    fn load(&self) -> bool {
        self.line.load(|kernel, ()| {
            kernel.queued += 1;
            true
        })
    }

    /// The kernel takes all that is in its queue.
    fn tell(&self) {
        let taken = self.line.model(|kernel| {
            kernel.taken += kernel.queued;
            std::mem::take(&mut kernel.queued)
        });
        let _ = self.line.told(Ok(taken));
    }

    /// As `submit`, by a thread that the kernel refuses.
    pub fn submit_refused(&self) {
        if self.load() {
            let _ = self.line.told(Err(Refused));
        }
    }

    /// How many the kernel has not taken, which are handed out once.
    pub fn returned(&self) -> usize {
        self.line.returned().len()
    }

    /// As a turn does. `false`: it does not sleep.
    pub fn before_sleep(&self, parking: &ModelParking) -> bool {
        let (sleeps, ()) = before_sleep(|| parking.0.fall_asleep(), || self.submit());
        sleeps
    }

    pub fn submitted(&self) -> usize {
        self.line.model(|kernel| kernel.taken)
    }

    /// As a turn that has collected a report, and finds out what it means: `leave` takes the call out of the slab.
    pub fn land(&self, leave: impl FnOnce()) {
        if self.line.land(1, leave) {
            self.submit();
        }
    }

    /// As a turn that hands in the rest of a call. `false`: it is not handed in.
    pub fn push_rest(&self, parking: &ModelParking, is_cancelled: impl Fn() -> bool) -> bool {
        let pushed = self.line.push(&parking.0, || {
            let goes_on = !is_cancelled();
            (goes_on.then_some(()), goes_on)
        });
        pushed.is_some_and(|(_, goes_on)| goes_on)
    }

    /// As who cancels a call that is in the line.
    pub fn take(&self) -> bool {
        self.line.take(|()| true, || Some(())).is_some()
    }

    /// Returns how many the kernel has not heard of, and how many are with it.
    pub fn close(&self) -> (usize, usize) {
        let unsent = self.line.close().expect("it is closed once");
        (unsent.len(), self.line.in_flight())
    }
}

/// The word that a turn sleeps by.
pub struct ModelParking(Parking);

impl ModelParking {
    pub fn new() -> ModelParking {
        ModelParking(Parking::new())
    }

    pub fn fall_asleep(&self) -> bool {
        self.0.fall_asleep()
    }

    pub fn fall_asleep_if(&self, may_sleep: impl FnOnce() -> bool) -> bool {
        self.0.fall_asleep_if(may_sleep)
    }

    pub fn wake_up(&self) {
        self.0.wake_up();
    }

    pub fn unpark(&self) -> bool {
        self.0.unpark()
    }
}

/// Where an answer is left, a number.
#[derive(Clone)]
pub struct ModelPlace(Place<usize>);

impl ModelPlace {
    pub fn new() -> ModelPlace {
        ModelPlace(Place::new())
    }

    pub fn leave(&self, answer: usize) {
        self.0.leave(answer);
    }

    pub async fn take(&self) -> usize {
        self.0.take().await
    }
}
