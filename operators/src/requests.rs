//! The requests in flight: one slab for the whole stage, and a line through it from the oldest to the youngest.
//!
//! A slot is made once and reused: its future lives in a box of its own, which is emptied and filled in place
//! (`Pin::set`), so a stage that has warmed up allocates nothing. The slot that was freed last is used first; a
//! request that is ready at once thus meets warm memory.
//!
//! All requests of a stage have the same timeout, so the line is sorted by deadline too: its head is the next to time
//! out. A request that finishes leaves the line in constant time, and leaves nothing behind. Those that wait for their
//! next attempt are known to `back_offs.rs` as well.
//!
//! A request lives as long as its record has no outcome. Its future is that of the attempt under way; in a back-off
//! there is none.

use crate::back_offs::BackOffs;
use crate::keys::Entered;
use crate::order::Place;
use crate::panics::caught;
use std::pin::Pin;
use std::time::Instant;

/// The end of the line, in either direction.
const NONE: usize = usize::MAX;

/// All requests in flight. A request is named by the index of its slot.
pub(crate) struct Requests<T, Time, Fut> {
    slots: Vec<Slot<T, Time, Fut>>,
    free: Vec<usize>,
    oldest: usize,
    youngest: usize,
    back_offs: BackOffs,
    /// How many have a future.
    running: usize,
}

struct Slot<T, Time, Fut> {
    future: Pin<Box<Option<Fut>>>,
    /// The record, for whoever has to name it or to decide about it, its time, and its place in the order of the stage.
    /// None: the slot is free.
    entered: Option<Entered<T, Time>>,
    number: u64,
    /// The line of its key, if it has one.
    line: Option<usize>,
    /// How many attempts were begun.
    attempts: u32,
    /// The attempt under way is to be the last, whatever comes of it.
    is_last: bool,
    deadline: Option<Instant>,
    /// When the call under way was made, if a guard wants to know.
    began: Option<Instant>,
    /// When it was accepted, by the stage's time; none as long as it was never waited for.
    accepted: Option<Instant>,
    older: usize,
    younger: usize,
}

impl<T, Time, Fut> Requests<T, Time, Fut> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            youngest: NONE,
            back_offs: BackOffs::default(),
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
        slot.is_last = false;
        slot.deadline = deadline;
        slot.accepted = None;
        self.append(request);
        request
    }

    fn add_slot(&mut self) -> usize {
        self.slots.push(Slot {
            future: Box::pin(None),
            entered: None,
            number: 0,
            line: None,
            attempts: 0,
            is_last: false,
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

    /// A guard wants to know when the call that is being made was.
    pub(crate) fn set_began(&mut self, request: usize, began: Instant) {
        self.slots[request].began = Some(began);
    }

    /// The call under way is over: when it was made, if a guard wants to know that.
    pub(crate) fn take_began(&mut self, request: usize) -> Option<Instant> {
        self.slots[request].began.take()
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
        self.slots[request].line = Some(line);
    }

    /// How many attempts were begun.
    pub(crate) fn attempts(&self, request: usize) -> u32 {
        self.slots[request].attempts
    }

    /// Whether the attempt under way is to be the last.
    pub(crate) fn is_at_last(&self, request: usize) -> bool {
        self.slots[request].is_last
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

    /// The request that times out first, and when.
    pub(crate) fn next_deadline(&self) -> Option<(usize, Instant)> {
        let slot = self.slots.get(self.oldest)?;
        slot.deadline.map(|deadline| (self.oldest, deadline))
    }

    /// Drops a request's future, which cancels it; a panic of its `drop` ends here.
    pub(crate) fn cancel(&mut self, request: usize) {
        let future = &mut self.slots[request].future;
        self.running -= usize::from(future.is_some());
        // What a panicking drop leaves undone is the user's; the slot is empty either way.
        let _ = caught(|| future.set(None));
    }

    /// Takes a request out and frees its slot; returns the line of its key.
    pub(crate) fn remove(&mut self, request: usize) -> Option<usize> {
        self.cancel(request);
        self.back_offs.remove(request);
        self.unlink(request);
        self.free.push(request);
        self.slots[request].entered = None;
        self.slots[request].line.take()
    }

    /// The youngest request, if its number is above `number`.
    pub(crate) fn youngest_after(&self, number: u64) -> Option<usize> {
        let youngest = self.slots.get(self.youngest)?;
        (youngest.number > number).then_some(self.youngest)
    }

    pub(crate) fn clear(&mut self) {
        while let Some(request) = self.youngest_after(0) {
            self.remove(request);
        }
    }

    /// The records in flight, the oldest first.
    #[cfg(feature = "pipeline")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entered<T, Time>> {
        let slot = |request: usize| self.slots.get(request);
        let slots = std::iter::successors(slot(self.oldest), move |older| slot(older.younger));
        slots.filter_map(|slot| slot.entered.as_ref())
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

    #[test]
    fn the_line_is_kept_from_the_oldest_to_the_youngest_whoever_leaves() {
        let start = Instant::now();
        let deadline = |number| Some(start + Duration::from_secs(number));
        let entered = |record| Entered {
            record,
            time: (),
            place: 0,
        };
        let mut requests: Requests<u64, (), Ready<()>> = Requests::new();
        let [a, b, c] =
            [1, 2, 3].map(|number| requests.insert(entered(number), number, deadline(number)));
        requests.remove(b);
        assert_eq!(requests.next_deadline(), deadline(1).map(|at| (a, at)));
        let d = requests.insert(entered(4), 4, deadline(4));
        assert_eq!(d, b, "the slot is used again");
        requests.remove(a);
        assert_eq!(requests.next_deadline(), deadline(3).map(|at| (c, at)));
        assert_eq!(requests.youngest_after(3), Some(d));
        assert_eq!(requests.youngest_after(4), None);
        requests.remove(d);
        assert_eq!(requests.len(), 1);
        requests.clear();
        assert_eq!(requests.len(), 0);
        assert_eq!(requests.next_deadline(), None);
        assert!(requests.future(d).is_none());
    }
}
