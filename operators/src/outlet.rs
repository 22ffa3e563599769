//! The bounded queue between a stage's task and its consumer; the consumer's end is in `outputs.rs`.
//!
//! Both sides work in batches, for what two threads touch in turns travels between their caches, and a lock for each record costs
//! more than all else that is done for one. The stage hands over what a pause brings; the consumer takes over all that is
//! there, and takes its records from that one at a time. Every record taken gives its place back, which the stage fetches at its next exchange:
//! so capacity bounds what is in flight plus what is not taken, wherever that stands, and the stage alone does the sums. Marks have a
//! room of their own.
//!
//! # Why nobody sleeps on
//!
//! All of it is under one mutex, but for the count of places given back, and whoever is about to sleep says so under the lock in which
//! it saw nothing to do.
//!
//! - The consumer has nothing left, finds no output and no end, and leaves its waker. An exchange that brings either takes the waker.
//! - The stage finds no room for a record, and is `starving`. The consumer clears that, and wakes the stage through its signal
//!   for room, when it is *worth it*: a quarter of the capacity is free, or nothing is left to be taken. A stage that is woken for each
//!   place runs once per record. It is always told in the end, unless the consumer stalls: for who takes on comes to the
//!   last output. A stage that has room, or no record, is left alone.
//! - The consumer counts each place before it gives the record out, and takes the lock when its count says that it may be worth it,
//!   and when nothing is left of its batch. So the stage, which reads the count under the lock, either sees a place, or has said that
//!   it starves before the consumer looks. A place that it does not see yet is one of less than a quarter, behind which
//!   there are more to be taken.
//! - The stage has told its end, and `lingers` for the sake of barriers until everything is taken, of the consumer's batch too. Who takes the
//!   last wakes it.
//! - The consumer comes while the stage has taken its outputs back, to put them into a checkpoint: it leaves its waker, even if
//!   the end was told, for the exchange that the stage owes brings them again.
//!
//! # Where a barrier stands
//!
//! A barrier stands in front of all that was not taken, wherever that is. What is in here the stage takes back, and shows it to the
//! barrier; what is in the consumer's batch, the consumer shows, when it takes the barrier in front of it: each has what came
//! behind it in its own hands. So each output is with the stage, or in the batch, or was given out before the barrier was.
//!
//! Wakers are called, and outputs of a consumer that left are dropped, after the mutex is released.

use crate::element::Element;
use crate::error::{Cause, StageError};
use crate::latency::{Latencies, Recent};
use crate::metrics::{Measured, Metrics};
use crate::sync::{AtomicBool, AtomicUsize, Mutex, Ordering, twin};
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Waker};

/// A stage that waits for room is woken for this part of its capacity. A quarter keeps three in flight while the consumer is at
/// work, and makes the wake-up, some 100 ns where both are on one worker and more where they are not, a small part of each record.
const BATCHES: usize = 4;

/// The queue; the stage and its consumer have it in common.
pub(crate) struct Outlet<Out, Time, M> {
    pub(crate) state: Mutex<State<Out, Time, M>>,
    /// How many places of records the consumer has given back, ever; it alone writes.
    pub(crate) given_back: AtomicUsize,
    /// A barrier came, and goes in front of the consumer's batch. A hint: it is looked for under the lock.
    pub(crate) barrier_came: AtomicBool,
    /// Wakes the stage: there is room, or the consumer left.
    pub(crate) room: Waker,
}

/// How many more records and marks may come into a stage. Marks take no place of the capacity; but while the consumer takes
/// nothing, they must have a bound as well.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    pub(crate) records: usize,
    /// Less than none while a barrier passes that had no room.
    pub(crate) marks: isize,
    /// How many places are kept for records that wait for their keys, and whose turn is first: none, or one.
    pub(crate) kept: usize,
    /// Places that records have come back to while others had them: the next that are given back are none.
    overdrawn: usize,
}

impl Room {
    pub(crate) fn is_short(self) -> bool {
        self.records <= self.kept || self.marks <= 0
    }

    pub(crate) fn new(records: usize, marks: usize) -> Self {
        Self {
            records,
            marks: marks as isize,
            kept: 0,
            overdrawn: 0,
        }
    }

    /// So many records have left their places.
    pub(crate) fn give_back(&mut self, records: usize) {
        let owed = records.min(self.overdrawn);
        self.overdrawn -= owed;
        self.records += records - owed;
    }

    /// A record that gave its place back takes one.
    pub(crate) fn take_back(&mut self) {
        match self.records {
            0 => self.overdrawn += 1,
            _ => self.records -= 1,
        }
    }
}

pub(crate) struct State<Out, Time, M> {
    pub(crate) outputs: VecDeque<Element<Out, Time, M>>,
    /// The consumer has a batch of which it has not taken everything.
    pub(crate) is_lent: bool,
    /// What `given_back` will be once it has; or one less, if it was taken over while a record was borrowed.
    pub(crate) lent: usize,
    /// What `given_back` was when the stage last fetched places.
    pub(crate) fetched: usize,
    /// Places of marks that were given back, and not yet fetched.
    pub(crate) returned_marks: isize,
    /// The stage may have an element at hand, and has no room.
    pub(crate) starving: bool,
    /// So many free places are worth waking it, though there are outputs left to take.
    pub(crate) batch: usize,
    /// The stage has told its end, and waits until everything is taken.
    pub(crate) lingers: bool,
    /// The consumer's task, while it waits.
    pub(crate) consumer: Option<Waker>,
    /// The stage has taken outputs back and not brought them again: until it does, nobody knows what comes next, were the end
    /// told already.
    #[cfg(feature = "pipeline")]
    taken_back: bool,
    /// The consumer was dropped, or has been told the end: it takes nothing more.
    pub(crate) left: bool,
    pub(crate) end: End,
    /// As the stage last told; `queued` without what is in here or in the batch.
    metrics: Metrics,
    latencies: Latencies,
}

pub(crate) enum End {
    NotYet,
    /// To be told once, behind the last output.
    Failed(StageError),
    Told,
}

/// What the stage brings to an exchange.
pub(crate) struct Offer<'a, Out, Time, M> {
    /// Outputs to hand over; empty afterwards.
    pub(crate) outputs: &'a mut VecDeque<Element<Out, Time, M>>,
    /// Free places; grows by what the consumer has given back.
    pub(crate) room: &'a mut Room,
    /// Whether the stage waits for room, should there be none.
    pub(crate) starving: bool,
    /// The end, behind these outputs.
    pub(crate) end: Option<Result<(), StageError>>,
    /// It has told its end, and waits until everything is taken.
    pub(crate) lingers: bool,
    pub(crate) metrics: Metrics,
    /// Empty afterwards.
    pub(crate) latencies: &'a mut Recent,
}

/// Whether the consumer is there to take anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Consumer {
    Present,
    /// The stage owes its end. Or it has told that, and everything was taken.
    Left,
}

impl<Out, Time, M> Outlet<Out, Time, M> {
    /// The outlet of a stage with this capacity; `room` wakes it.
    pub(crate) fn new(capacity: usize, room: Waker) -> Self {
        let state = State {
            outputs: VecDeque::new(),
            is_lent: false,
            lent: 0,
            fetched: 0,
            returned_marks: 0,
            starving: false,
            batch: (capacity / BATCHES).max(1),
            lingers: false,
            consumer: None,
            #[cfg(feature = "pipeline")]
            taken_back: false,
            left: false,
            end: End::NotYet,
            metrics: Metrics::default(),
            latencies: Latencies::new(),
        };
        Self {
            state: Mutex::new(state),
            given_back: AtomicUsize::new(0),
            barrier_came: AtomicBool::new(false),
            room,
        }
    }

    /// The stage's side: hands outputs over and fetches room.
    pub(crate) fn exchange(&self, offer: Offer<'_, Out, Time, M>) -> Consumer {
        let mut state = self.state.lock();
        state.metrics = offer.metrics;
        offer.latencies.move_to(&mut state.latencies);
        if state.left {
            return Consumer::Left;
        }
        let news = !offer.outputs.is_empty() || offer.end.is_some();
        #[cfg(feature = "pipeline")]
        if mem::take(&mut state.taken_back) {
            // ORDERING: Relaxed, a hint.
            self.barrier_came.store(true, Ordering::Relaxed);
        }
        match state.outputs.is_empty() {
            true => mem::swap(&mut state.outputs, offer.outputs),
            false => state.outputs.append(offer.outputs),
        }
        self.fetch(&mut state, offer.room);
        if twin("outlet-starving-late") {
            state.starving = false;
            drop(state);
            state = self.state.lock();
        }
        state.starving = offer.starving && offer.room.is_short();
        match offer.end {
            Some(Ok(())) => state.end = End::Told,
            Some(Err(error)) => state.end = End::Failed(error),
            None => {}
        }
        state.lingers = offer.lingers;
        let is_lent = state.is_lent && !twin("outlet-lent-forgotten");
        let is_present = !offer.lingers || !state.outputs.is_empty() || is_lent;
        let consumer = if news && !twin("outlet-news-unrung") {
            state.consumer.take()
        } else {
            None
        };
        drop(state);
        if let Some(consumer) = consumer {
            consumer.wake();
        }
        match is_present {
            true => Consumer::Present,
            false => Consumer::Left,
        }
    }

    /// The places that were given back since this was last done.
    fn fetch(&self, state: &mut State<Out, Time, M>, room: &mut Room) {
        // ORDERING: Relaxed, pairs with the consumer's store. Nothing but the number is to be seen; and a number that was stored before
        // the consumer took the lock is seen under it.
        let given_back = self.given_back.load(Ordering::Relaxed);
        room.give_back(given_back.wrapping_sub(state.fetched));
        room.marks += mem::take(&mut state.returned_marks);
        state.fetched = given_back;
    }

    /// The stage's side: takes back what the consumer has not taken, to stand in front of `outgoing`. It owes an exchange.
    #[cfg(feature = "pipeline")]
    pub(crate) fn take_back(&self, outgoing: &mut VecDeque<Element<Out, Time, M>>) {
        let mut state = self.state.lock();
        state.outputs.append(outgoing);
        mem::swap(&mut state.outputs, outgoing);
        state.taken_back = !twin("outlet-end-early");
    }

    /// The stage's side: its task is dropped. If it had not come to its end, the consumer is told.
    pub(crate) fn abandon(&self, stage: &Arc<str>) {
        let mut state = self.state.lock();
        let has_ended = !matches!(state.end, End::NotYet) && !state.owes_outputs();
        if state.left || has_ended {
            return;
        }
        #[cfg(feature = "pipeline")]
        {
            state.taken_back = false;
        }
        state.end = End::Failed(StageError::of_stage(Arc::clone(stage), Cause::Cancelled));
        let consumer = state.consumer.take();
        drop(state);
        if let Some(consumer) = consumer
            && !twin("outlet-abandon-unrung")
        {
            consumer.wake();
        }
    }

    /// The consumer's side: it is dropped. What waits for it is dropped too, and the stage is told to end.
    pub(crate) fn leave(&self) {
        let mut state = self.state.lock();
        state.left = true;
        // What is left of its batch is dropped with it.
        state.is_lent = false;
        let outputs = mem::take(&mut state.outputs);
        let consumer = state.consumer.take();
        drop(state);
        if !twin("outlet-leave-unrung") {
            self.room.wake_by_ref();
        }
        drop((outputs, consumer));
    }
}

impl<Out, Time, M> State<Out, Time, M> {
    /// The consumer waits. What is returned is dropped behind the lock, as every waker: it may be the last reference to a task.
    #[must_use]
    pub(crate) fn wait(&mut self, cx: &Context<'_>) -> Option<Waker> {
        match &self.consumer {
            Some(known) if known.will_wake(cx.waker()) => None,
            _ => self.consumer.replace(cx.waker().clone()),
        }
    }

    /// The stage has taken outputs back, and brings them again.
    pub(crate) fn owes_outputs(&self) -> bool {
        #[cfg(feature = "pipeline")]
        return self.taken_back;
        #[cfg(not(feature = "pipeline"))]
        false
    }
}

/// How many are no marks.
pub(crate) fn records<Out, Time, M>(outputs: &VecDeque<Element<Out, Time, M>>) -> usize {
    outputs.iter().filter(|output| !output.is_mark()).count()
}

impl<Out: Send, Time: Send, M: Send> Measured for Outlet<Out, Time, M> {
    fn metrics(&self) -> Metrics {
        let state = self.state.lock();
        // ORDERING: Relaxed, pairs with the consumer's store; a count for people.
        let given_back = self.given_back.load(Ordering::Relaxed);
        let lent = if state.is_lent {
            state.lent.wrapping_sub(given_back)
        } else {
            0
        };
        let mut metrics = state.metrics;
        metrics.queued += records(&state.outputs) + lent;
        metrics
    }

    fn latencies(&self) -> Latencies {
        self.state.lock().latencies.clone()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Room;

    #[test]
    fn r07_a_record_that_comes_back_takes_a_place_or_the_next_that_is_given_back() {
        let mut room = Room::new(1, 0);
        room.take_back();
        room.take_back();
        assert_eq!(room.records, 0);
        for (given_back, records) in [(3, 2), (1, 3)] {
            room.give_back(given_back);
            assert_eq!(room.records, records);
        }
    }
}
