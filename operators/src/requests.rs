//! The requests in flight: one slab for the whole stage, and a line through it from the oldest to the youngest.
//!
//! A slot is made once and reused: its future lives in a box of its own, which is emptied and filled in place
//! (`Pin::set`), so a stage that has warmed up allocates nothing. The slot that was freed last is used first; a
//! request that is ready at once thus meets warm memory.
//!
//! All requests of a stage have the same timeout, so the line is sorted by deadline too: its head is the next to time
//! out. A request that finishes leaves the line in constant time, and leaves nothing behind.

use crate::panics::caught;
use std::pin::Pin;
use std::time::Instant;

/// The end of the line, in either direction.
const NONE: usize = usize::MAX;

/// All requests in flight. A request is named by the index of its slot.
pub(crate) struct Requests<T, Fut> {
    slots: Vec<Slot<T, Fut>>,
    free: Vec<usize>,
    oldest: usize,
    youngest: usize,
}

struct Slot<T, Fut> {
    future: Pin<Box<Option<Fut>>>,
    /// The record, for whoever has to name it or to decide about it. None: the slot is free.
    record: Option<T>,
    number: u64,
    deadline: Option<Instant>,
    older: usize,
    younger: usize,
}

impl<T, Fut> Requests<T, Fut> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            youngest: NONE,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds a request, the youngest; its future follows with `start`.
    pub(crate) fn insert(&mut self, record: T, number: u64, deadline: Option<Instant>) -> usize {
        let request = match self.free.pop() {
            Some(request) => request,
            None => self.add_slot(),
        };
        let slot = &mut self.slots[request];
        slot.record = Some(record);
        slot.number = number;
        slot.deadline = deadline;
        self.append(request);
        request
    }

    fn add_slot(&mut self) -> usize {
        self.slots.push(Slot {
            future: Box::pin(None),
            record: None,
            number: 0,
            deadline: None,
            older: NONE,
            younger: NONE,
        });
        self.slots.len() - 1
    }

    pub(crate) fn start(&mut self, request: usize, future: Fut) {
        self.slots[request].future.set(Some(future));
    }

    /// The future of a request; none if there is no such request, as after a stale wake-up.
    pub(crate) fn future(&mut self, request: usize) -> Option<Pin<&mut Fut>> {
        self.slots.get_mut(request)?.future.as_mut().as_pin_mut()
    }

    /// The record of a request in flight.
    pub(crate) fn record(&self, request: usize) -> &T {
        let record = self.slots[request].record.as_ref();
        record.expect("only requests in flight are asked for their record")
    }

    pub(crate) fn number(&self, request: usize) -> u64 {
        self.slots[request].number
    }

    /// The request that times out first, and when.
    pub(crate) fn next_deadline(&self) -> Option<(usize, Instant)> {
        let slot = self.slots.get(self.oldest)?;
        slot.deadline.map(|deadline| (self.oldest, deadline))
    }

    /// Drops a request's future, which cancels it; a panic of its `drop` ends here.
    pub(crate) fn cancel(&mut self, request: usize) {
        let future = &mut self.slots[request].future;
        // What a panicking drop leaves undone is the user's; the slot is empty either way.
        let _ = caught(|| future.set(None));
    }

    /// Takes a request out and frees its slot.
    pub(crate) fn remove(&mut self, request: usize) {
        self.cancel(request);
        self.unlink(request);
        self.free.push(request);
        self.slots[request].record = None;
    }

    /// Removes every request whose number is above `number`.
    pub(crate) fn remove_after(&mut self, number: u64) {
        while self.youngest != NONE && self.slots[self.youngest].number > number {
            self.remove(self.youngest);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.remove_after(0);
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
    use super::Requests;
    use std::future::Ready;
    use std::time::{Duration, Instant};

    #[test]
    fn the_line_is_kept_from_the_oldest_to_the_youngest_whoever_leaves() {
        let start = Instant::now();
        let deadline = |number| Some(start + Duration::from_secs(number));
        let mut requests: Requests<u64, Ready<()>> = Requests::new();
        let [a, b, c] = [1, 2, 3].map(|number| requests.insert(number, number, deadline(number)));
        requests.remove(b);
        assert_eq!(requests.next_deadline(), deadline(1).map(|at| (a, at)));
        let d = requests.insert(4, 4, deadline(4));
        assert_eq!(d, b, "the slot is used again");
        requests.remove(a);
        assert_eq!(requests.next_deadline(), deadline(3).map(|at| (c, at)));
        requests.remove_after(3);
        assert_eq!(requests.len(), 1);
        requests.clear();
        assert_eq!(requests.len(), 0);
        assert_eq!(requests.next_deadline(), None);
        assert!(requests.future(d).is_none());
    }
}
