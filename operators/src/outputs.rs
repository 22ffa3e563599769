//! The consumer's end of a stage: the batch that it has taken over, and the way to the next.
//!
//! Who takes a record touches nothing that the stage touches, but for one number that it writes and the stage seldom reads. Only
//! once for each batch, for each mark, and for each quarter of the capacity, does it take the lock of the outlet. Why nobody sleeps on,
//! and where a barrier stands, is told in `outlet.rs`.

use crate::element::{Element, MarkOf};
use crate::error::StageError;
use crate::outlet::{End, Outlet, State, records};
use crate::sync::{Ordering, twin};
use std::collections::VecDeque;
use std::mem;
use std::ops::DerefMut;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What the consumer's poll finds.
type Polled<Out, Time, M> = Poll<Option<Result<Element<Out, Time, M>, StageError>>>;

/// The outputs of a stage, for its one consumer.
pub(crate) struct Outputs<Out, Time, M> {
    outlet: Arc<Outlet<Out, Time, M>>,
    batch: Batch<Out, Time, M>,
}

/// What was taken over, and is not yet taken.
struct Batch<Out, Time, M> {
    elements: VecDeque<Element<Out, Time, M>>,
    /// How many places of records were given back, ever.
    given_back: usize,
    /// With so many it may be worth waking the stage.
    tell_at: usize,
}

impl<Out, Time, M> Outputs<Out, Time, M> {
    pub(crate) fn new(outlet: Arc<Outlet<Out, Time, M>>) -> Self {
        let batch = Batch {
            elements: VecDeque::new(),
            given_back: 0,
            tell_at: 1,
        };
        Self { outlet, batch }
    }

    pub(crate) fn outlet(&self) -> &Arc<Outlet<Out, Time, M>> {
        &self.outlet
    }

    /// What a barrier takes along that is taken in front of it.
    #[cfg(feature = "pipeline")]
    pub(crate) fn untaken(&self) -> impl Iterator<Item = &Element<Out, Time, M>> {
        self.batch.elements.iter()
    }

    /// To be done once the lock is released. The twin counts only here what the stage was to see under the lock.
    fn ring_stage(&self, wakes: bool) {
        if twin("outlet-count-late") {
            self.batch.publish(&self.outlet);
        }
        if wakes {
            self.outlet.room.wake_by_ref();
        }
    }
}

impl<Out, Time, M: MarkOf> Outputs<Out, Time, M> {
    /// Gives back the place of a borrowed record.
    pub(crate) fn release(&mut self) {
        self.give_back(1, 0);
    }

    #[inline]
    fn give_back(&mut self, records: usize, marks: isize) {
        self.batch.count(records, &self.outlet);
        let batch = &self.batch;
        if marks > 0 || batch.elements.is_empty() || batch.given_back == batch.tell_at {
            self.tell(marks);
        }
    }

    /// Takes the lock: the stage may have room enough, places of marks are given back, or the batch is used up and another
    /// may be there.
    #[cold]
    fn tell(&mut self, marks: isize) {
        let mut state = self.outlet.state.lock();
        if self.batch.elements.is_empty() {
            self.batch.refill(&mut state);
        }
        let wakes = self.batch.settle(&mut state, marks);
        drop(state);
        self.ring_stage(wakes);
    }

    /// The next element, whose place is given back at once.
    #[inline]
    pub(crate) fn poll_take(&mut self, cx: &Context<'_>) -> Polled<Out, Time, M> {
        self.poll(cx, 1)
    }

    /// As `poll_take`, but the place of a record stays taken until `release`.
    pub(crate) fn poll_borrow(&mut self, cx: &Context<'_>) -> Polled<Out, Time, M> {
        self.poll(cx, 0)
    }

    /// The barrier, if there is one, or the end. Else pending, whatever else there is: a barrier stands in front of all that was
    /// not taken.
    #[cfg(feature = "pipeline")]
    pub(crate) fn poll_barrier(&mut self, cx: &Context<'_>) -> Polled<Out, Time, M> {
        let mut state = self.outlet.state.lock();
        let barrier = pop_barrier(&mut state);
        if barrier.is_none() {
            return match self.batch.elements.is_empty() && state.outputs.is_empty() {
                true => end(state, &self.outlet, cx),
                false => wait(state, cx),
            };
        }
        let wakes = self.batch.settle(&mut state, 1);
        drop(state);
        self.ring_stage(wakes);
        Poll::Ready(barrier.map(Ok))
    }

    /// The barrier that was told of, if it has not been taken.
    #[cold]
    fn take_barrier(&mut self) -> Option<Element<Out, Time, M>> {
        let mut state = self.outlet.state.lock();
        // ORDERING: Relaxed, a hint.
        self.outlet.barrier_came.store(false, Ordering::Relaxed);
        let barrier = pop_barrier(&mut state)?;
        let wakes = self.batch.settle(&mut state, 1);
        drop(state);
        self.ring_stage(wakes);
        Some(barrier)
    }

    /// The next element; if that is a record, so many places are given back.
    #[inline]
    fn poll(&mut self, cx: &Context<'_>, places: usize) -> Polled<Out, Time, M> {
        match self.take_record(places) {
            Some((output, time)) => Poll::Ready(Some(Ok(Element::Record(output, time)))),
            None => self.poll_other(cx, places),
        }
    }

    /// The next record of the batch, if that is what comes next, and so many places are given back.
    #[inline]
    pub(crate) fn take_record(&mut self, places: usize) -> Option<(Out, Time)> {
        // ORDERING: Relaxed, a hint.
        if M::EXIST && self.outlet.barrier_came.load(Ordering::Relaxed) {
            return None;
        }
        match self.batch.elements.pop_front()? {
            Element::Record(output, time) => {
                self.give_back(places, 0);
                Some((output, time))
            }
            mark => {
                self.batch.elements.push_front(mark);
                None
            }
        }
    }

    /// A barrier was told of, a mark is next, or the batch is used up.
    pub(crate) fn poll_other(&mut self, cx: &Context<'_>, places: usize) -> Polled<Out, Time, M> {
        // ORDERING: Relaxed, a hint.
        if M::EXIST
            && self.outlet.barrier_came.load(Ordering::Relaxed)
            && let Some(barrier) = self.take_barrier()
        {
            return Poll::Ready(Some(Ok(barrier)));
        }
        let Some(element) = self.batch.elements.pop_front() else {
            return self.take_over(cx, places);
        };
        let (records, marks) = places_of(&element, places);
        self.give_back(records, marks);
        Poll::Ready(Some(Ok(element)))
    }

    /// The next batch, and its first element.
    #[cold]
    fn take_over(&mut self, cx: &Context<'_>, places: usize) -> Polled<Out, Time, M> {
        let mut state = self.outlet.state.lock();
        let barrier = match twin("outlet-barrier-in-batch") {
            true => None,
            false => pop_barrier(&mut state),
        };
        let next = barrier.or_else(|| {
            self.batch.refill(&mut state);
            self.batch.elements.pop_front()
        });
        let Some(element) = next else {
            return end(state, &self.outlet, cx);
        };
        let (records, marks) = places_of(&element, places);
        self.batch.count(records, &self.outlet);
        let wakes = self.batch.settle(&mut state, marks);
        drop(state);
        self.ring_stage(wakes);
        Poll::Ready(Some(Ok(element)))
    }
}

/// Nothing is pinned in place: elements are moved out.
impl<Out, Time, M> Unpin for Outputs<Out, Time, M> {}

impl<Out, Time, M> Drop for Outputs<Out, Time, M> {
    fn drop(&mut self) {
        self.outlet.leave();
    }
}

impl<Out, Time, M> Batch<Out, Time, M> {
    #[inline]
    fn count(&mut self, records: usize, outlet: &Outlet<Out, Time, M>) {
        self.given_back = self.given_back.wrapping_add(records);
        if !twin("outlet-count-late") {
            self.publish(outlet);
        }
    }

    fn publish(&self, outlet: &Outlet<Out, Time, M>) {
        // ORDERING: Relaxed, pairs with the load of `Outlet::fetch`. Nothing but the number is to be seen.
        outlet.given_back.store(self.given_back, Ordering::Relaxed);
    }

    /// Nothing is left: all that is there is the next batch, unless a barrier comes first. That never is in a batch: what came behind
    /// it in the outlet is in the checkpoint, and what is left of the batch then is not yet.
    fn refill(&mut self, state: &mut State<Out, Time, M>)
    where
        M: MarkOf,
    {
        let is_barrier_next = state.outputs.front().is_some_and(is_barrier);
        if !is_barrier_next || twin("outlet-barrier-in-batch") {
            mem::swap(&mut state.outputs, &mut self.elements);
            state.lent = self.given_back.wrapping_add(records(&self.elements));
        }
    }

    /// Something was taken, or given back. True: the stage must be woken.
    #[must_use]
    fn settle(&mut self, state: &mut State<Out, Time, M>, marks: isize) -> bool {
        state.is_lent = !self.elements.is_empty();
        state.returned_marks += marks;
        let is_all_taken = !state.is_lent && state.outputs.is_empty();
        let returned = self.given_back.wrapping_sub(state.fetched);
        let to_go = state.batch.saturating_sub(returned);
        self.tell_at = match to_go {
            0 => self.given_back.wrapping_add(state.batch),
            _ => self.given_back.wrapping_add(to_go),
        };
        let is_room = (returned > 0 || state.returned_marks > 0) && !twin("outlet-room-unrung");
        let is_worth_it = is_room && (is_all_taken || to_go == 0);
        (is_worth_it && mem::take(&mut state.starving)) || (is_all_taken && state.lingers)
    }
}

/// The places that an element gives back when it is taken: of records, and of marks.
fn places_of<Out, Time, M>(element: &Element<Out, Time, M>, places: usize) -> (usize, isize) {
    match element.is_mark() {
        true => (0, 1),
        false => (places, 0),
    }
}

fn pop_barrier<Out, Time, M: MarkOf>(
    state: &mut State<Out, Time, M>,
) -> Option<Element<Out, Time, M>> {
    let is_next = state.outputs.front().is_some_and(is_barrier);
    is_next.then(|| state.outputs.pop_front())?
}

fn is_barrier<Out, Time, M: MarkOf>(element: &Element<Out, Time, M>) -> bool {
    match element {
        Element::Mark(mark) => mark.barrier().is_some(),
        Element::Record(..) => false,
    }
}

/// Nothing is left: the end, if there is one, or a wait.
fn end<Out, Time, M>(
    mut state: impl DerefMut<Target = State<Out, Time, M>>,
    outlet: &Outlet<Out, Time, M>,
    cx: &Context<'_>,
) -> Polled<Out, Time, M> {
    if !state.owes_outputs() {
        match mem::replace(&mut state.end, End::Told) {
            End::Failed(error) => return Poll::Ready(Some(Err(error))),
            End::Told => {
                state.left = true;
                return Poll::Ready(None);
            }
            End::NotYet => state.end = End::NotYet,
        }
    }
    if twin("outlet-consumer-late") {
        drop(state);
        return wait(outlet.state.lock(), cx);
    }
    wait(state, cx)
}

/// What is returned by `State::wait` is dropped behind the lock.
fn wait<Out, Time, M>(
    mut state: impl DerefMut<Target = State<Out, Time, M>>,
    cx: &Context<'_>,
) -> Polled<Out, Time, M> {
    let replaced = state.wait(cx);
    drop(state);
    drop(replaced);
    Poll::Pending
}

#[cfg(all(test, feature = "pipeline", not(loom)))]
mod tests {
    use super::*;
    use crate::barrier::CheckpointBarrier;
    use crate::element::Mark;
    use crate::error::Cause;
    use crate::latency::Recent;
    use crate::metrics::{Measured as _, Metrics};
    use crate::outlet::{Consumer, Offer, Room};
    use std::task::Waker;

    /// The stage's side, and the consumer's.
    type Ends = (Arc<Outlet<u32, (), Mark>>, Outputs<u32, (), Mark>);

    fn ends(capacity: usize) -> Ends {
        let outlet = Arc::new(Outlet::new(capacity, Waker::noop().clone()));
        (Arc::clone(&outlet), Outputs::new(outlet))
    }

    /// What a stage does that hands over these numbers behind the barrier, if there is one. The places that it fetches.
    fn bring(
        outlet: &Outlet<u32, (), Mark>,
        barrier: bool,
        numbers: &[u32],
        end: Option<Result<(), StageError>>,
        lingers: bool,
    ) -> (Consumer, Room) {
        let barrier = barrier.then(|| {
            Element::Mark(Mark::Checkpoint(CheckpointBarrier {
                number: 1,
                states: Arc::default(),
            }))
        });
        let numbers = numbers.iter().map(|number| Element::Record(*number, ()));
        bring_all(outlet, barrier.into_iter().chain(numbers), end, lingers)
    }

    fn bring_all(
        outlet: &Outlet<u32, (), Mark>,
        outputs: impl IntoIterator<Item = Element<u32, (), Mark>>,
        end: Option<Result<(), StageError>>,
        lingers: bool,
    ) -> (Consumer, Room) {
        let mut room = Room::new(0, 0);
        let consumer = outlet.exchange(Offer {
            outputs: &mut outputs.into_iter().collect(),
            room: &mut room,
            starving: false,
            end,
            lingers,
            metrics: Metrics::default(),
            latencies: &mut Recent::default(),
        });
        (consumer, room)
    }

    fn show(polled: Polled<u32, (), Mark>) -> Poll<Option<Result<Option<u32>, String>>> {
        polled.map(|taken| {
            taken.map(|taken| match taken {
                Ok(Element::Record(number, ())) => Ok(Some(number)),
                Ok(Element::Mark(_)) => Ok(None),
                Err(error) => Err(error.cause().to_string()),
            })
        })
    }

    fn take(outputs: &mut Outputs<u32, (), Mark>) -> Poll<Option<Result<Option<u32>, String>>> {
        show(outputs.poll_take(&Context::from_waker(Waker::noop())))
    }

    fn barrier(outputs: &mut Outputs<u32, (), Mark>) -> Poll<Option<Result<Option<u32>, String>>> {
        show(outputs.poll_barrier(&Context::from_waker(Waker::noop())))
    }

    fn number(number: u32) -> Poll<Option<Result<Option<u32>, String>>> {
        Poll::Ready(Some(Ok(Some(number))))
    }

    const BARRIER: Poll<Option<Result<Option<u32>, String>>> = Poll::Ready(Some(Ok(None)));

    #[test]
    fn c01_a_consumer_does_not_take_the_end_while_the_stage_has_its_outputs() {
        let (outlet, mut outputs) = ends(4);
        let (consumer, _) = bring(&outlet, false, &[1, 2], Some(Ok(())), true);
        assert_eq!(consumer, Consumer::Present);
        let mut taken_back = VecDeque::new();
        outlet.take_back(&mut taken_back);
        assert_eq!(taken_back.len(), 2);
        assert_eq!(take(&mut outputs), Poll::Pending);
        let (consumer, _) = bring(&outlet, false, &[1, 2], None, true);
        assert_eq!(consumer, Consumer::Present);
        let taken = [(); 3].map(|()| take(&mut outputs));
        assert_eq!(taken, [number(1), number(2), Poll::Ready(None)]);
    }

    #[test]
    fn c01_a_stage_that_is_dropped_with_its_outputs_has_not_ended_well() {
        let (outlet, mut outputs) = ends(4);
        let (consumer, _) = bring(&outlet, false, &[1], Some(Ok(())), true);
        assert_eq!(consumer, Consumer::Present);
        outlet.take_back(&mut VecDeque::new());
        outlet.abandon(&Arc::from("stage"));
        assert_eq!(
            take(&mut outputs),
            Poll::Ready(Some(Err(Cause::Cancelled.to_string())))
        );
    }

    #[test]
    fn a05_a_place_is_given_back_with_each_record_though_others_of_its_batch_are_there() {
        let (outlet, mut outputs) = ends(100);
        let _ = bring(&outlet, false, &[1, 2, 3], None, false);
        assert_eq!(take(&mut outputs), number(1));
        assert_eq!(outlet.metrics().queued, 2);
        assert_eq!(bring(&outlet, false, &[4], None, false).1.records, 1);
        assert_eq!(take(&mut outputs), number(2));
        assert_eq!(outlet.metrics().queued, 2);
        assert_eq!(bring(&outlet, false, &[], None, false).1.records, 1);
        let rest = [(); 3].map(|()| take(&mut outputs));
        assert_eq!(rest, [number(3), number(4), Poll::Pending]);
        assert_eq!(bring(&outlet, false, &[], None, false).1.records, 2);
        assert_eq!(outlet.metrics().queued, 0);
    }

    #[test]
    fn what_a_consumer_that_leaves_had_taken_over_is_no_longer_queued() {
        let (outlet, mut outputs) = ends(4);
        let _ = bring(&outlet, false, &[1, 2, 3], None, false);
        assert_eq!(take(&mut outputs), number(1));
        drop(outputs);
        assert_eq!(outlet.metrics().queued, 0);
    }

    #[test]
    fn c01_a_barrier_stands_in_front_of_the_batch_whatever_the_consumer_asks_for() {
        for only in [false, true] {
            let (outlet, mut outputs) = ends(4);
            let _ = bring(&outlet, false, &[1, 2, 3], None, false);
            assert_eq!(take(&mut outputs), number(1));
            assert_eq!(barrier(&mut outputs), Poll::Pending);
            let mut taken_back = VecDeque::new();
            outlet.take_back(&mut taken_back);
            assert_eq!(taken_back.len(), 0, "they are in the batch");
            let _ = bring(&outlet, true, &[4], None, false);
            let polled = if only {
                barrier(&mut outputs)
            } else {
                take(&mut outputs)
            };
            assert_eq!(polled, BARRIER);
            assert_eq!(outputs.untaken().count(), 2, "they come behind it");
            let rest = [(); 4].map(|()| take(&mut outputs));
            assert_eq!(rest, [number(2), number(3), number(4), Poll::Pending]);
        }
    }

    #[test]
    fn c01_a_barrier_is_in_no_batch() {
        let (outlet, mut outputs) = ends(4);
        let _ = bring(&outlet, false, &[1], None, false);
        outlet.take_back(&mut VecDeque::new());
        let _ = bring(&outlet, true, &[1], None, false);
        assert_eq!(take(&mut outputs), BARRIER);
        assert_eq!(
            outputs.untaken().count(),
            0,
            "the stage has shown it what comes behind"
        );
        assert_eq!(barrier(&mut outputs), Poll::Pending, "there is but one");
        assert_eq!(take(&mut outputs), number(1));
    }

    #[test]
    fn c01_a_stage_stays_until_the_last_of_a_batch_is_taken() {
        let (outlet, mut outputs) = ends(4);
        let _ = bring(&outlet, false, &[1, 2], Some(Ok(())), true);
        assert_eq!(take(&mut outputs), number(1));
        assert_eq!(bring(&outlet, false, &[], None, true).0, Consumer::Present);
        assert_eq!(take(&mut outputs), number(2));
        assert_eq!(bring(&outlet, false, &[], None, true).0, Consumer::Left);
        assert_eq!(take(&mut outputs), Poll::Ready(None));
    }

    #[test]
    fn c01_who_asks_for_barriers_only_is_told_the_end_behind_the_last_output() {
        let (outlet, mut outputs) = ends(4);
        let _ = bring(&outlet, false, &[1, 2], Some(Ok(())), true);
        assert_eq!(barrier(&mut outputs), Poll::Pending, "both wait there");
        assert_eq!(take(&mut outputs), number(1));
        assert_eq!(barrier(&mut outputs), Poll::Pending, "2 is in the batch");
        assert_eq!(take(&mut outputs), number(2));
        assert_eq!(barrier(&mut outputs), Poll::Ready(None));
    }

    #[test]
    fn the_place_of_a_mark_is_given_back_from_within_a_batch() {
        let (outlet, mut outputs) = ends(100);
        let record = |number| Element::Record(number, ());
        let batch = [record(1), Element::Mark(Mark::Idle), record(2)];
        let _ = bring_all(&outlet, batch, None, false);
        assert_eq!(take(&mut outputs), number(1));
        assert_eq!(bring(&outlet, false, &[], None, false).1.marks, 0);
        assert_eq!(take(&mut outputs), Poll::Ready(Some(Ok(None))));
        assert_eq!(bring(&outlet, false, &[], None, false).1.marks, 1);
    }

    #[test]
    fn the_task_that_polled_last_is_woken() {
        struct Told(std::sync::Mutex<bool>);
        impl std::task::Wake for Told {
            fn wake(self: Arc<Self>) {
                *self.0.lock().unwrap() = true;
            }
        }
        let tasks = [(); 2].map(|()| Arc::new(Told(std::sync::Mutex::new(false))));
        let (outlet, mut outputs) = ends(4);
        for task in &tasks {
            let waker = Waker::from(Arc::clone(task));
            let polled = outputs.poll_take(&Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        let _ = bring(&outlet, false, &[1], None, false);
        assert_eq!(tasks.map(|task| *task.0.lock().unwrap()), [false, true]);
    }
}
