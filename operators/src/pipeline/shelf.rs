//! The shelf of a side output: operators put records on it, each on a part of its own, and a sink takes them off.
//!
//! # Where a barrier is
//!
//! An operator that lets a barrier pass marks the place on its part. Nothing behind the mark is taken before the sink, which the barrier
//! reaches by way of the pipeline, prepares; that takes all in front of it, and takes the marks off. At most one barrier is on its way
//! at a time, so there is at most one mark.
//!
//! # How much there is
//!
//! A record is *unwritten* from when an operator gives it until the sink says that it has written it, on the shelf and off it. An
//! operator has room while fewer are unwritten than there are places. So what the sink takes makes no room, whether it can write it or has to take it for a barrier's
//! sake; only what it writes does.
//!
//! And so there are never more unwritten than places and operators together. An operator learns with each record that it gives whether there is room for another. If not, it
//! asks for none until it has seen room. So since fewer were unwritten than there are places, each operator has given one record at
//! most: the one for which it had seen room before the others took it. Barriers don't come into it, however many there are. What does come on top
//! are records that an async stage already works on when it learns that there is no room, for they may all fail; and records that stand in front of a barrier in the queue of a lane that has no room: they keep their places in that queue
//! (`lane_queue.rs`), so in a run of the job there are never more of them than it has.
//!
//! # Why nobody sleeps on
//!
//! All of it is under one mutex, and whoever is about to sleep leaves its waker under the lock under which it saw nothing to do.
//! So whatever ends the wait comes before that look, which then sees it, or finds the waker:
//!
//! - The sink finds nothing that it may take. Each record that is given takes its waker. What stands behind a mark is taken when the sink has prepared; then it looks again
//!   by itself.
//! - An operator finds no room. The sink, when it has written so much that there is some, takes the wakers of all who wait, and so it does when it leaves.

use crate::sync::{Mutex, twin};
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The sink's end.
pub(super) struct Shelf<T>(Mutex<State<T>>);

struct State<T> {
    /// One for each operator.
    parts: Vec<Part<T>>,
    places: usize,
    /// Records in all parts.
    waiting: usize,
    /// Records that the sink has taken, and not written.
    held: usize,
    /// The sink, while it waits for records.
    reader: Option<Waker>,
    /// The sink takes no more.
    has_left: bool,
}

/// The records of one operator.
struct Part<T> {
    records: VecDeque<T>,
    /// A barrier passed behind so many of them.
    before_barrier: Option<usize>,
    /// The operator, while it waits for room.
    writer: Option<Waker>,
}

impl<T> Shelf<T> {
    pub(super) fn new(places: usize) -> Self {
        Self(Mutex::new(State {
            parts: Vec::new(),
            places,
            waiting: 0,
            held: 0,
            reader: None,
            has_left: false,
        }))
    }

    /// Whether any operator has a part of it.
    pub(super) fn has_parts(&self) -> bool {
        !self.0.lock().parts.is_empty()
    }

    /// Takes what waits in front of a barrier, or all of it if none has passed. If that is nothing, the task is woken when there is something.
    pub(super) fn take(&self, cx: &Context<'_>) -> VecDeque<T> {
        let mut state = self.0.lock();
        let taken = state.take();
        if taken.is_empty() && twin("shelf-reader-late") {
            drop(state);
            state = self.0.lock();
        }
        let waits = |waker: &Waker| waker.will_wake(cx.waker());
        let replaced = match taken.is_empty() && !state.reader.as_ref().is_some_and(waits) {
            true => state.reader.replace(cx.waker().clone()),
            false => None,
        };
        drop(state);
        drop(replaced);
        taken
    }

    /// The barrier has come: takes what is in front of it, and what is behind it may be taken from now on.
    pub(super) fn take_to_barrier(&self) -> VecDeque<T> {
        let mut state = self.0.lock();
        let taken = state.take();
        let parts = state.parts.iter_mut();
        parts.for_each(|part| part.before_barrier = None);
        taken
    }

    /// Of all that the sink has taken, so many are not written.
    pub(super) fn hold(&self, count: usize) {
        let mut state = self.0.lock();
        state.held = count;
        let writers = match state.has_room() {
            true => state.writers(),
            false => Vec::new(),
        };
        drop(state);
        if !twin("shelf-room-unrung") {
            writers.into_iter().for_each(Waker::wake);
        }
    }

    /// The job has ended: what its operators do until they are told is of no use.
    pub(super) fn leave(&self) {
        let mut state = self.0.lock();
        state.has_left = true;
        let left = state.take_all();
        let (writers, reader) = (state.writers(), state.reader.take());
        drop(state);
        drop((left, reader));
        if !twin("shelf-leave-unrung") {
            writers.into_iter().for_each(Waker::wake);
        }
    }
}

impl<T> State<T> {
    fn has_room(&self) -> bool {
        let held = match twin("shelf-taken-is-room") {
            true => 0,
            false => self.held,
        };
        self.waiting + held < self.places || self.has_left
    }

    /// Whatever may be taken.
    fn take(&mut self) -> VecDeque<T> {
        let mut taken = VecDeque::new();
        for part in &mut self.parts {
            let count = match part.before_barrier {
                Some(count) if !twin("shelf-behind-mark") => count,
                _ => part.records.len(),
            };
            part.before_barrier = part.before_barrier.map(|_| 0);
            taken.extend(part.records.drain(..count));
        }
        self.waiting -= taken.len();
        self.held += taken.len();
        taken
    }

    fn take_all(&mut self) -> Vec<VecDeque<T>> {
        self.waiting = 0;
        let parts = self.parts.iter_mut();
        parts.map(|part| mem::take(&mut part.records)).collect()
    }

    /// All operators that wait for room.
    fn writers(&mut self) -> Vec<Waker> {
        let parts = self.parts.iter_mut();
        parts.filter_map(|part| part.writer.take()).collect()
    }
}

/// An operator's part of a shelf.
pub(super) struct Place<T> {
    shelf: Arc<Shelf<T>>,
    index: usize,
    /// There may be no room: a sink that writes makes some in silence.
    is_full: bool,
}

impl<T> Place<T> {
    pub(super) fn on(shelf: &Arc<Shelf<T>>) -> Self {
        let mut state = shelf.0.lock();
        state.parts.push(Part {
            records: VecDeque::new(),
            before_barrier: None,
            writer: None,
        });
        Self {
            shelf: Arc::clone(shelf),
            index: state.parts.len() - 1,
            // What the sink holds from a checkpoint is not known yet.
            is_full: true,
        }
    }

    /// Puts a record on the shelf, whether or not there is room.
    pub(super) fn give(&mut self, record: T) {
        let mut state = self.shelf.0.lock();
        if state.has_left {
            return;
        }
        state.parts[self.index].records.push_back(record);
        state.waiting += 1;
        self.is_full = !state.has_room();
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader
            && !twin("shelf-record-unrung")
        {
            reader.wake();
        }
    }

    /// Ready if there is room for a record; else the task is woken when there is. Asked before each record that may be one for the shelf, so it
    /// takes no lock if there was room before.
    #[inline]
    pub(super) fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        match self.is_full {
            true => self.look_for_room(cx),
            false => Poll::Ready(()),
        }
    }

    #[cold]
    fn look_for_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.shelf.0.lock();
        if state.has_room() {
            self.is_full = false;
            return Poll::Ready(());
        }
        if twin("shelf-writer-late") {
            drop(state);
            state = self.shelf.0.lock();
        }
        let writer = cx.waker().clone();
        let replaced = state.parts[self.index].writer.replace(writer);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// What [`poll_room`](Place::poll_room) says, for who does not give the records, and so can't know that there still is room.
    pub(super) fn room_left(&self) -> impl FnMut(&Context<'_>) -> Poll<()> + use<T> {
        let mut place = Self {
            shelf: Arc::clone(&self.shelf),
            index: self.index,
            is_full: true,
        };
        move |cx| place.look_for_room(cx)
    }

    /// A barrier passes the operator.
    pub(super) fn pass_barrier(&self) {
        let mut state = self.shelf.0.lock();
        let part = &mut state.parts[self.index];
        part.before_barrier = Some(part.records.len());
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Shelf};
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    /// Counts how often its waker is called.
    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wakes {
        /// Since the last time.
        fn count(&self) -> usize {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    fn take(shelf: &Shelf<u32>) -> VecDeque<u32> {
        shelf.take(&Context::from_waker(Waker::noop()))
    }

    fn has_room(place: &mut Place<u32>) -> bool {
        let room = place.poll_room(&Context::from_waker(Waker::noop()));
        room.is_ready()
    }

    #[test]
    fn what_is_behind_a_mark_is_taken_when_the_barrier_has_come() {
        let shelf = Arc::new(Shelf::new(8));
        let (mut one, mut other) = (Place::on(&shelf), Place::on(&shelf));
        one.give(1);
        one.pass_barrier();
        one.give(2);
        other.give(3);
        assert_eq!(take(&shelf), [1, 3]);
        assert!(take(&shelf).is_empty());
        other.give(4);
        other.pass_barrier();
        other.give(5);
        assert_eq!(shelf.take_to_barrier(), [4]);
        assert_eq!(take(&shelf), [2, 5]);
    }

    #[test]
    fn only_what_is_written_makes_room() {
        let shelf = Arc::new(Shelf::new(2));
        let mut place = Place::on(&shelf);
        let writer = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&writer));
        for number in 0..2 {
            assert!(has_room(&mut place));
            place.give(number);
        }
        assert!(place.poll_room(&Context::from_waker(&waker)).is_pending());
        for _ in 0..3 {
            place.pass_barrier();
            shelf.take_to_barrier();
            shelf.hold(2);
            assert!(!has_room(&mut place), "it is held");
        }
        assert!(place.poll_room(&Context::from_waker(&waker)).is_pending());
        assert_eq!(writer.count(), 0);
        shelf.hold(1);
        assert_eq!(writer.count(), 1);
        assert!(has_room(&mut place));
    }

    #[test]
    fn each_operator_gives_one_at_most_for_which_there_is_no_room() {
        let shelf = Arc::new(Shelf::new(2));
        let mut places = [(); 3].map(|()| Place::on(&shelf));
        for _ in 0..10 {
            for place in &mut places {
                if has_room(place) {
                    place.give(0);
                }
                place.pass_barrier();
            }
            shelf.take_to_barrier();
        }
        assert!((2..=2 + 2).contains(&shelf.0.lock().held));
    }

    #[test]
    fn a_sink_that_leaves_drops_what_waits_and_lets_its_operators_go_on() {
        let shelf = Arc::new(Shelf::new(1));
        let (mut place, record) = (Place::on(&shelf), Arc::new(()));
        let writer = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&writer));
        let cx = Context::from_waker(&waker);
        place.give(Arc::clone(&record));
        assert!(place.poll_room(&cx).is_pending());
        shelf.leave();
        assert_eq!((writer.count(), Arc::strong_count(&record)), (1, 1));
        assert!(place.poll_room(&cx).is_ready());
        place.give(Arc::clone(&record));
        assert_eq!(Arc::strong_count(&record), 1);
    }
}
