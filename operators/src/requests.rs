//! The requests in flight: one slab for the whole stage, and a line through it from the oldest to the youngest.
//!
//! A slot is made once and reused: its future lives in a box of its own, which is emptied and filled in place
//! (`Pin::set`), so a stage that has warmed up allocates nothing. The slot that was freed last is used first; a
//! request that is ready at once thus meets warm memory.
//!
//! All requests of a stage have the same timeout, so the line is sorted by deadline too: its head is the next to time
//! out. A request that finishes leaves the line in constant time, and leaves nothing behind. Those that wait for their
//! next attempt are known to `waits.rs` as well.
//!
//! A request lives as long as its record has no outcome. Its future is that of the attempt under way; in a back-off
//! there is none.

use crate::keys::Entered;
use crate::order::Place;
use crate::panics::caught;
use crate::sync::twin;
use crate::timeout::FallbackFuture;
use crate::waits::Waits;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// No request, and so the end of the line, in either direction; or no line of a key.
const NONE: usize = usize::MAX;

/// All requests in flight. A request is named by the index of its slot.
pub(crate) struct Requests<T, Time, Fut, Out> {
    slots: Vec<Slot<T, Time, Fut, Out>>,
    free: Vec<usize>,
    oldest: usize,
    youngest: usize,
    back_offs: Waits,
    /// Those that have a second call if their first takes longer.
    hedges: Waits,
    /// Fallbacks, until their bounds.
    fallbacks: Waits,
    /// How many have a future.
    running: usize,
}

struct Slot<T, Time, Fut, Out> {
    future: Pin<Box<Option<Fut>>>,
    /// The call that was made because the first took long. Seldom there, so it is boxed to keep slots small.
    second: Option<Box<Second<Fut>>>,
    /// Its time is up, and this is what becomes of it, and has so long.
    fallback: Option<Box<(FallbackFuture<Out>, Duration)>>,
    /// The record, for whoever has to name it or to decide about it, its time, and its place in the order of the stage.
    /// None: the slot is free.
    entered: Option<Entered<T, Time>>,
    number: u64,
    /// The line of its key, or `NONE`: an `Option` has no room for that in the number, and each request 8 bytes more.
    line: usize,
    /// How many attempts were begun.
    attempts: u32,
    /// How many of them had a second call.
    hedges: u32,
    /// The attempt under way is to be the last, whatever comes of it.
    is_last: bool,
    /// It gave its place in the stage back.
    without_place: bool,
    deadline: Option<Instant>,
    /// When the call under way was made, if a guard wants to know.
    began: Option<Instant>,
    /// When it was accepted, by the stage's time; none as long as it was never waited for.
    accepted: Option<Instant>,
    older: usize,
    younger: usize,
}

struct Second<Fut> {
    future: Pin<Box<Fut>>,
    began: Option<Instant>,
}

/// One of the two calls that may be under way for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    First,
    Second,
}

impl<T, Time, Fut, Out> Requests<T, Time, Fut, Out> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            youngest: NONE,
            back_offs: Waits::default(),
            hedges: Waits::default(),
            fallbacks: Waits::default(),
            running: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds a request, the youngest; its attempts follow.
    pub(crate) fn insert(
        &mut self,
        entered: Entered<T, Time>,
        number: u64,
        deadline: Option<Instant>,
    ) -> usize {
        let request = match self.free.pop() {
            Some(request) => request,
            None => self.add_slot(),
        };
        let slot = &mut self.slots[request];
        slot.entered = Some(entered);
        slot.number = number;
        slot.attempts = 0;
        slot.hedges = 0;
        slot.is_last = false;
        slot.without_place = false;
        slot.deadline = deadline;
        slot.accepted = None;
        self.append(request);
        request
    }

    /// The slot that the next request gets, and where its future may be made and polled, before it is known whether there is to
    /// be a request.
    pub(crate) fn next_future(&mut self) -> (usize, &mut Pin<Box<Option<Fut>>>) {
        let request = match self.free.last() {
            Some(request) => *request,
            None => {
                let request = self.add_slot();
                self.free.push(request);
                request
            }
        };
        (request, &mut self.slots[request].future)
    }

    /// Adds a request, the youngest, whose first attempt has begun in its slot.
    pub(crate) fn insert_begun(
        &mut self,
        entered: Entered<T, Time>,
        number: u64,
        deadline: Option<Instant>,
    ) -> usize {
        let request = self.insert(entered, number, deadline);
        let slot = &mut self.slots[request];
        slot.attempts = 1;
        self.running += usize::from(slot.future.is_some());
        request
    }

    /// A slot more, which is nobody's yet.
    #[cold]
    fn add_slot(&mut self) -> usize {
        self.slots.push(Slot {
            future: Box::pin(None),
            second: None,
            fallback: None,
            entered: None,
            number: 0,
            line: NONE,
            attempts: 0,
            hedges: 0,
            is_last: false,
            without_place: false,
            deadline: None,
            began: None,
            accepted: None,
            older: NONE,
            younger: NONE,
        });
        self.slots.len() - 1
    }

    /// Ends a back-off, if there is one, and counts the attempt that begins; its future follows with `start`.
    pub(crate) fn begin_attempt(&mut self, request: usize, is_last: bool) -> &T {
        self.back_offs.remove(request);
        let slot = &mut self.slots[request];
        slot.attempts = slot.attempts.saturating_add(1);
        slot.is_last = is_last;
        self.record(request)
    }

    pub(crate) fn start(&mut self, request: usize, future: Fut) {
        self.slots[request].future.set(Some(future));
        self.running += 1;
    }

    /// How many futures there are.
    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// Its first call is being made; somebody wants to know when.
    pub(crate) fn set_began(&mut self, request: usize, began: Instant) {
        self.slots[request].began = Some(began);
    }

    /// A call is over: when it was made, if somebody wants to know that.
    pub(crate) fn take_began(&mut self, request: usize, which: Which) -> Option<Instant> {
        let slot = &mut self.slots[request];
        match which {
            Which::First => slot.began.take(),
            Which::Second => slot.second.as_mut()?.began.take(),
        }
    }

    /// Unless it has an answer by `at`, the attempt under way is to have a second call.
    pub(crate) fn plan_second(&mut self, request: usize, at: Option<Instant>) {
        self.hedges.add(request, self.number(request), at);
    }

    /// The request whose second call is due first, and when.
    pub(crate) fn next_second(&self) -> Option<(usize, Option<Instant>)> {
        self.hedges.first()
    }

    /// The second call is about to be made, or not after all.
    pub(crate) fn end_plan(&mut self, request: usize) {
        self.hedges.remove(request);
    }

    pub(crate) fn start_second(&mut self, request: usize, future: Fut, began: Option<Instant>) {
        let future = Box::pin(future);
        let slot = &mut self.slots[request];
        slot.second = Some(Box::new(Second { future, began }));
        slot.hedges = slot.hedges.saturating_add(1);
        self.running += 1;
    }

    pub(crate) fn second(&mut self, request: usize) -> Option<Pin<&mut Fut>> {
        let second = self.slots.get_mut(request)?.second.as_mut()?;
        Some(second.future.as_mut())
    }

    /// Drops one of two calls. False: it was the only one.
    pub(crate) fn drop_one(&mut self, request: usize, which: Which) -> bool {
        let slot = &self.slots[request];
        let are_two = slot.future.is_some() && slot.second.is_some();
        match which {
            _ if !are_two => return false,
            Which::First => self.cancel_first(request),
            Which::Second => self.cancel_second(request),
        }
        true
    }

    /// The request is waited for; its record was accepted in this poll of the stage.
    pub(crate) fn set_accepted(&mut self, request: usize, at: Instant) {
        self.slots[request].accepted = Some(at);
    }

    /// When the record was accepted; none if its request was never waited for.
    pub(crate) fn accepted(&self, request: usize) -> Option<Instant> {
        self.slots[request].accepted
    }

    /// The future of a request; none if there is no such request, as after a stale wake-up.
    pub(crate) fn future(&mut self, request: usize) -> Option<Pin<&mut Fut>> {
        self.slots.get_mut(request)?.future.as_mut().as_pin_mut()
    }

    /// The record of a request in flight.
    pub(crate) fn record(&self, request: usize) -> &T {
        &self.entered(request).record
    }

    /// The event time of a request in flight.
    pub(crate) fn time(&self, request: usize) -> Time
    where
        Time: Copy,
    {
        self.entered(request).time
    }

    /// The place of a request in flight, in the order of the stage.
    pub(crate) fn place(&self, request: usize) -> Place {
        self.entered(request).place
    }

    fn entered(&self, request: usize) -> &Entered<T, Time> {
        let entered = self.slots[request].entered.as_ref();
        entered.expect("only requests in flight are asked for their record")
    }

    pub(crate) fn number(&self, request: usize) -> u64 {
        self.slots[request].number
    }

    /// The record was accepted out of this line of its key.
    pub(crate) fn set_line(&mut self, request: usize, line: usize) {
        self.slots[request].line = line;
    }

    /// How many attempts were begun.
    pub(crate) fn attempts(&self, request: usize) -> u32 {
        self.slots[request].attempts
    }

    /// How often the function was called.
    pub(crate) fn calls(&self, request: usize) -> u32 {
        let slot = &self.slots[request];
        slot.attempts.saturating_add(slot.hedges)
    }

    /// Whether the attempt under way is to be the last.
    pub(crate) fn is_at_last(&self, request: usize) -> bool {
        self.slots[request].is_last
    }

    pub(crate) fn is_without_place(&self, request: usize) -> bool {
        self.slots[request].without_place
    }

    pub(crate) fn set_without_place(&mut self, request: usize, is_without: bool) {
        self.slots[request].without_place = is_without;
    }

    /// An attempt is over, and the next is due at `at`; none if no clock ever gets there.
    pub(crate) fn back_off(&mut self, request: usize, at: Option<Instant>) {
        self.cancel(request);
        self.back_offs.add(request, self.number(request), at);
    }

    /// The request whose back-off ends first, and when.
    pub(crate) fn next_attempt(&self) -> Option<(usize, Option<Instant>)> {
        self.back_offs.first()
    }

    /// The request's time is up, and a fallback decides what becomes of it, by `at`: it has no deadline any more.
    pub(crate) fn start_fallback(
        &mut self,
        request: usize,
        fallback: FallbackFuture<Out>,
        bound: Duration,
        at: Option<Instant>,
    ) {
        self.unlink(request);
        let slot = &mut self.slots[request];
        slot.fallback = Some(Box::new((fallback, bound)));
        self.fallbacks.add(request, slot.number, at);
    }

    pub(crate) fn fallback(&mut self, request: usize) -> Option<&mut FallbackFuture<Out>> {
        let fallback = self.slots.get_mut(request)?.fallback.as_mut()?;
        Some(&mut fallback.0)
    }

    /// How long the fallback of a request has, if there is one.
    pub(crate) fn fallback_bound(&self, request: usize) -> Option<Duration> {
        self.slots[request]
            .fallback
            .as_ref()
            .map(|fallback| fallback.1)
    }

    /// The request whose fallback has to be done first, and by when.
    pub(crate) fn next_fallback(&self) -> Option<(usize, Option<Instant>)> {
        self.fallbacks.first()
    }

    /// The request that times out first, and when.
    pub(crate) fn next_deadline(&self) -> Option<(usize, Instant)> {
        let slot = self.slots.get(self.oldest)?;
        slot.deadline.map(|deadline| (self.oldest, deadline))
    }

    /// Drops a request's futures, which cancels them; a panic of a `drop` ends here.
    pub(crate) fn cancel(&mut self, request: usize) {
        self.back_offs.remove(request);
        self.hedges.remove(request);
        self.cancel_first(request);
        self.cancel_second(request);
    }

    fn cancel_first(&mut self, request: usize) {
        if twin("stage-future-kept") {
            return;
        }
        let future = &mut self.slots[request].future;
        if future.is_some() {
            self.running -= 1;
            // What a panicking drop leaves undone is the user's; the slot is empty either way.
            let _ = caught(|| future.set(None));
        }
    }

    fn cancel_second(&mut self, request: usize) {
        if let Some(second) = self.slots[request].second.take() {
            self.running -= 1;
            let _ = caught(|| drop(second));
        }
    }

    fn cancel_fallback(&mut self, request: usize) {
        if let Some(fallback) = self.slots[request].fallback.take() {
            self.fallbacks.remove(request);
            let _ = caught(|| drop(fallback));
        }
    }

    /// Takes a request out and frees its slot; returns the line of its key.
    pub(crate) fn remove(&mut self, request: usize) -> Option<usize> {
        self.cancel(request);
        match self.slots[request].fallback {
            None => self.unlink(request),
            Some(_) => self.cancel_fallback(request),
        }
        self.free.push(request);
        self.slots[request].entered = None;
        let line = std::mem::replace(&mut self.slots[request].line, NONE);
        (line != NONE).then_some(line)
    }

    /// Some request whose number is above `number`. In the line that is the youngest, if any; those whose fallbacks run have left it,
    /// and are looked through, the likeliest first.
    pub(crate) fn any_after(&self, number: u64) -> Option<usize> {
        let is_younger = |request: &usize| {
            let slot = self.slots.get(*request);
            slot.is_some_and(|slot| slot.number > number)
        };
        let with_fallbacks = || self.fallbacks.requests().rev().find(is_younger);
        Some(self.youngest)
            .filter(is_younger)
            .or_else(with_fallbacks)
    }

    pub(crate) fn clear(&mut self) {
        for request in 0..self.slots.len() {
            if self.slots[request].entered.is_some() {
                self.remove(request);
            }
        }
    }

    /// The records in flight, the oldest first: those, too, whose fallbacks run, and which have left the line.
    #[cfg(feature = "pipeline")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entered<T, Time>> {
        let in_flight = self.slots.iter().filter(|slot| slot.entered.is_some());
        let mut slots: Vec<_> = in_flight.collect();
        slots.sort_unstable_by_key(|slot| slot.number);
        slots.into_iter().filter_map(|slot| slot.entered.as_ref())
    }

    fn append(&mut self, request: usize) {
        let older = std::mem::replace(&mut self.youngest, request);
        self.slots[request].older = older;
        self.slots[request].younger = NONE;
        match self.slots.get_mut(older) {
            Some(slot) => slot.younger = request,
            None => self.oldest = request,
        }
    }

    fn unlink(&mut self, request: usize) {
        let (older, younger) = (self.slots[request].older, self.slots[request].younger);
        match self.slots.get_mut(older) {
            Some(slot) => slot.younger = younger,
            None => self.oldest = younger,
        }
        match self.slots.get_mut(younger) {
            Some(slot) => slot.older = older,
            None => self.youngest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Entered, Requests};
    use std::future::Ready;
    use std::time::{Duration, Instant};

    fn entered(record: u64) -> Entered<u64, ()> {
        Entered {
            record,
            time: (),
            place: 0,
        }
    }

    #[test]
    fn the_line_is_kept_from_the_oldest_to_the_youngest_whoever_leaves() {
        let start = Instant::now();
        let deadline = |number| Some(start + Duration::from_secs(number));
        let mut requests: Requests<u64, (), Ready<()>, ()> = Requests::new();
        let [a, b, c] =
            [1, 2, 3].map(|number| requests.insert(entered(number), number, deadline(number)));
        requests.remove(b);
        assert_eq!(requests.next_deadline(), deadline(1).map(|at| (a, at)));
        let d = requests.insert(entered(4), 4, deadline(4));
        assert_eq!(d, b, "the slot is used again");
        requests.remove(a);
        assert_eq!(requests.next_deadline(), deadline(3).map(|at| (c, at)));
        assert_eq!(requests.any_after(3), Some(d));
        assert_eq!(requests.any_after(4), None);
        requests.remove(d);
        assert_eq!(requests.len(), 1);
        requests.clear();
        assert_eq!(requests.len(), 0);
        assert_eq!(requests.next_deadline(), None);
        assert!(requests.future(d).is_none());
    }

    #[cfg(feature = "pipeline")]
    #[test]
    fn a_request_whose_fallback_runs_is_still_in_flight() {
        let mut requests: Requests<u64, (), Ready<()>, ()> = Requests::new();
        for number in [1, 2, 3] {
            requests.insert(entered(number), number, Some(Instant::now()));
        }
        requests.start_fallback(1, Box::pin(std::future::pending()), Duration::ZERO, None);
        let records = requests.iter().map(|entered| entered.record);
        assert_eq!(records.collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(requests.any_after(1), Some(2), "the youngest in the line");
        requests.remove(2);
        assert_eq!(requests.any_after(1), Some(1), "it has left the line");
        assert_eq!(requests.any_after(2), None);
        requests.clear();
        assert_eq!(requests.len(), 0);
    }
}
