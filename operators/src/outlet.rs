//! The bounded queue between a stage's task and its consumer.
//!
//! The stage hands its outputs over in batches, one lock for all that a pause brings; the consumer takes them one at a
//! time. Every output taken gives its place back, which the stage fetches at its next exchange: so capacity bounds
//! what is in flight plus what is not taken, and the stage alone does the sums. Marks have a room of their own.
//!
//! # Why nobody sleeps on
//!
//! All of it is under one mutex, and whoever is about to sleep says so under the lock in which it saw nothing to do.
//!
//! - The consumer finds no output and no end, and leaves its waker. An exchange that brings either takes the waker.
//! - The stage finds no room for a record, and is `starving`. A take that gives a place back clears that, and wakes
//!   the stage through its signal for room, when it is *worth it*: a quarter of the capacity is free, or nothing is left to be
//!   taken. A stage that is woken for each place runs once per record, and on another worker both wait for each other's
//!   cache lines. It is always told in the end, unless the consumer stalls: for who takes on comes to the last output. A
//!   stage that has room, or no record, is left alone.
//!
//! - The stage has told its end, and `lingers` for the sake of barriers until everything is taken. The take that leaves
//!   nothing wakes it.
//!
//! - The consumer comes while the stage has taken its outputs back, to put them into a checkpoint: it leaves its waker, even if
//!   the end was told, for the exchange that the stage owes brings them again.
//!
//! Wakers are called, and outputs of a consumer that left are dropped, after the mutex is released.

use crate::element::Element;
#[cfg(feature = "pipeline")]
use crate::element::MarkOf;
use crate::error::{Cause, StageError};
use crate::latency::{Latencies, Recent};
use crate::metrics::{Measured, Metrics};
use crate::sync::{Mutex, twin};
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A stage that waits for room is woken for this part of its capacity. A quarter keeps three in flight while the consumer is at
/// work, and makes the wake-up, some 100 ns where both are on one worker and more where they are not, a small part of each record.
const BATCHES: usize = 4;

/// The queue; the stage and its consumer have it in common.
pub(crate) struct Outlet<Out, Time, M> {
    state: Mutex<State<Out, Time, M>>,
    /// Wakes the stage: there is room, or the consumer left.
    room: Waker,
}

/// How many more records and marks may come into a stage. Marks take no place of the capacity; but while the consumer takes
/// nothing, they must have a bound as well.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    pub(crate) records: usize,
    /// Less than none while a barrier passes that had no room.
    pub(crate) marks: isize,
    /// Places that records have come back to while others had them: the next that are given back are none.
    overdrawn: usize,
}

impl Room {
    pub(crate) fn is_short(self) -> bool {
        self.records == 0 || self.marks <= 0
    }

    pub(crate) fn new(records: usize, marks: usize) -> Self {
        Self {
            records,
            marks: marks as isize,
            overdrawn: 0,
        }
    }

    fn add(&mut self, more: Self) {
        self.give_back(more.records);
        self.marks += more.marks;
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

struct State<Out, Time, M> {
    outputs: VecDeque<Element<Out, Time, M>>,
    /// Places given back by the consumer and not yet fetched by the stage.
    returned: Room,
    /// The stage may have an element at hand, and has no room.
    starving: bool,
    /// So many free places are worth waking it, though there are outputs left to take.
    batch: usize,
    /// The stage has told its end, and waits until everything is taken.
    lingers: bool,
    /// The consumer's task, while it waits.
    consumer: Option<Waker>,
    /// The stage has taken outputs back and not brought them again: until it does, nobody knows what comes next, were the end
    /// told already.
    #[cfg(feature = "pipeline")]
    taken_back: bool,
    /// The consumer was dropped, or has been told the end: it takes nothing more.
    left: bool,
    end: End,
    /// As the stage last told; `queued` without `outputs`.
    metrics: Metrics,
    latencies: Latencies,
}

enum End {
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
            returned: Room::default(),
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
        {
            state.taken_back = false;
        }
        state.outputs.append(offer.outputs);
        offer.room.add(mem::take(&mut state.returned));
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
        let is_present = !offer.lingers || !state.outputs.is_empty();
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

    /// The consumer's side: the next element, whose place is given back at once.
    pub(crate) fn poll_take(&self, cx: &Context<'_>) -> Polled<Out, Time, M> {
        self.take(cx, 1, |_| true)
    }

    /// As `poll_take`, but the place of a record stays taken until `release`.
    pub(crate) fn poll_borrow(&self, cx: &Context<'_>) -> Polled<Out, Time, M> {
        self.take(cx, 0, |_| true)
    }

    /// The barrier, if it is next, or the end: a barrier stands in front of all that the consumer has not taken. Else pending.
    #[cfg(feature = "pipeline")]
    pub(crate) fn poll_barrier(&self, cx: &Context<'_>) -> Polled<Out, Time, M>
    where
        M: MarkOf,
    {
        self.take(cx, 0, |output| match output {
            Element::Mark(mark) => mark.barrier().is_some(),
            Element::Record(..) => false,
        })
    }

    /// The next element, if it is wanted; the place of a record gives so many places back.
    fn take(
        &self,
        cx: &Context<'_>,
        records: usize,
        is_wanted: impl Fn(&Element<Out, Time, M>) -> bool,
    ) -> Polled<Out, Time, M> {
        let mut state = self.state.lock();
        if !state.outputs.front().is_none_or(is_wanted) {
            let replaced = state.wait(cx);
            drop(state);
            drop(replaced);
            return Poll::Pending;
        }
        if let Some(output) = state.outputs.pop_front() {
            let starving = state.give_back(match output.is_mark() {
                true => Room::new(0, 1),
                false => Room::new(records, 0),
            });
            let wakes = starving || (state.lingers && state.outputs.is_empty());
            drop(state);
            if wakes {
                self.room.wake_by_ref();
            }
            return Poll::Ready(Some(Ok(output)));
        }
        if state.owes_outputs() {
            let replaced = state.wait(cx);
            drop(state);
            drop(replaced);
            return Poll::Pending;
        }
        match mem::replace(&mut state.end, End::Told) {
            End::Failed(error) => Poll::Ready(Some(Err(error))),
            End::Told => {
                state.left = true;
                Poll::Ready(None)
            }
            End::NotYet => {
                state.end = End::NotYet;
                if twin("outlet-consumer-late") {
                    drop(state);
                    state = self.state.lock();
                }
                let replaced = state.wait(cx);
                drop(state);
                drop(replaced);
                Poll::Pending
            }
        }
    }

    /// The consumer's side: gives back the place of a borrowed record.
    pub(crate) fn release(&self) {
        let starving = self.state.lock().give_back(Room::new(1, 0));
        if starving {
            self.room.wake_by_ref();
        }
    }

    /// The consumer's side: it is dropped. What waits for it is dropped too, and the stage is told to end.
    pub(crate) fn leave(&self) {
        let mut state = self.state.lock();
        state.left = true;
        let outputs = mem::take(&mut state.outputs);
        let consumer = state.consumer.take();
        drop(state);
        if !twin("outlet-leave-unrung") {
            self.room.wake_by_ref();
        }
        drop((outputs, consumer));
    }
}

/// What the consumer's poll finds.
type Polled<Out, Time, M> = Poll<Option<Result<Element<Out, Time, M>, StageError>>>;

impl<Out, Time, M> State<Out, Time, M> {
    /// The consumer waits. What is returned is dropped behind the lock, as every waker: it may be the last reference to a task.
    #[must_use]
    fn wait(&mut self, cx: &Context<'_>) -> Option<Waker> {
        match &self.consumer {
            Some(known) if known.will_wake(cx.waker()) => None,
            _ => self.consumer.replace(cx.waker().clone()),
        }
    }

    /// The stage has taken outputs back, and brings them again.
    fn owes_outputs(&self) -> bool {
        #[cfg(feature = "pipeline")]
        return self.taken_back;
        #[cfg(not(feature = "pipeline"))]
        false
    }

    /// Whether the stage must be woken.
    #[must_use]
    fn give_back(&mut self, places: Room) -> bool {
        self.returned.add(places);
        let given = (places.records > 0 || places.marks > 0) && !twin("outlet-room-unrung");
        given && self.is_worth_it() && mem::take(&mut self.starving)
    }

    fn is_worth_it(&self) -> bool {
        self.outputs.is_empty() || self.returned.records >= self.batch
    }
}

impl<Out: Send, Time: Send, M: Send> Measured for Outlet<Out, Time, M> {
    fn metrics(&self) -> Metrics {
        let state = self.state.lock();
        let mut metrics = state.metrics;
        metrics.queued += state
            .outputs
            .iter()
            .filter(|output| !output.is_mark())
            .count();
        metrics
    }

    fn latencies(&self) -> Latencies {
        self.state.lock().latencies.clone()
    }
}

#[cfg(all(test, feature = "pipeline", not(loom)))]
mod tests {
    use super::*;

    type Numbers = Outlet<u32, (), std::convert::Infallible>;

    /// What a stage does that has told its end, or tells it now.
    fn bring(outlet: &Numbers, numbers: &[u32], end: Option<Result<(), StageError>>) -> Consumer {
        let outputs = numbers.iter().map(|number| Element::Record(*number, ()));
        outlet.exchange(Offer {
            outputs: &mut outputs.collect(),
            room: &mut Room::new(0, 0),
            starving: false,
            end,
            lingers: true,
            metrics: Metrics::default(),
            latencies: &mut Recent::default(),
        })
    }

    fn take(outlet: &Numbers) -> Poll<Option<Result<u32, String>>> {
        let polled = outlet.poll_take(&Context::from_waker(Waker::noop()));
        polled.map(|taken| {
            taken.map(|taken| match taken {
                Ok(Element::Record(number, ())) => Ok(number),
                Ok(Element::Mark(never)) => match never {},
                Err(error) => Err(error.cause().to_string()),
            })
        })
    }

    #[test]
    fn c01_a_consumer_does_not_take_the_end_while_the_stage_has_its_outputs() {
        let outlet = Numbers::new(4, Waker::noop().clone());
        assert_eq!(bring(&outlet, &[1, 2], Some(Ok(()))), Consumer::Present);
        let mut outputs = VecDeque::new();
        outlet.take_back(&mut outputs);
        assert_eq!(outputs.len(), 2);
        assert_eq!(take(&outlet), Poll::Pending);
        assert_eq!(bring(&outlet, &[1, 2], None), Consumer::Present);
        let taken = [(); 3].map(|()| take(&outlet));
        assert_eq!(taken, [Some(Ok(1)), Some(Ok(2)), None].map(Poll::Ready));
    }

    #[test]
    fn c01_a_stage_that_is_dropped_with_its_outputs_has_not_ended_well() {
        let outlet = Numbers::new(4, Waker::noop().clone());
        assert_eq!(bring(&outlet, &[1], Some(Ok(()))), Consumer::Present);
        outlet.take_back(&mut VecDeque::new());
        outlet.abandon(&Arc::from("stage"));
        assert!(matches!(take(&outlet), Poll::Ready(Some(Err(_)))));
    }
}
