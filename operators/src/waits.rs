//! Requests that wait for a time, and who is next.
//!
//! A binary heap, ordered by when the waits end; those that end together are in the order of their records. Each
//! request knows its place in it, so one that leaves early, because its time is up or its stage ends, leaves nothing
//! behind. Adding and removing take logarithmic time, and no allocation once the heap has been as long before.

use std::time::Instant;

/// The place of a request that does not wait.
const NOWHERE: usize = usize::MAX;

/// All waits of one kind, as back-offs. A request is named by the index of its slot.
#[derive(Default)]
pub(crate) struct Waits {
    /// No one is due before the one at half their place.
    heap: Vec<Wait>,
    /// By request: where in the heap it stands. Requests beyond its length never waited.
    places: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Wait {
    /// When it ends. None: no clock ever gets there.
    at: Option<Instant>,
    number: u64,
    request: usize,
}

impl Waits {
    /// The request that is due first, and when.
    pub(crate) fn first(&self) -> Option<(usize, Option<Instant>)> {
        self.heap.first().map(|first| (first.request, first.at))
    }

    /// All that wait. Those whose waits end late tend to come late.
    pub(crate) fn requests(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.heap.iter().map(|wait| wait.request)
    }

    /// The request, which does not wait yet, waits until `at`; `number` is its record's.
    pub(crate) fn add(&mut self, request: usize, number: u64, at: Option<Instant>) {
        if self.places.len() <= request {
            self.places.resize(request + 1, NOWHERE);
        }
        let wait = Wait {
            at,
            number,
            request,
        };
        self.heap.push(wait);
        self.put(self.heap.len() - 1, wait);
        self.rise(self.heap.len() - 1);
    }

    /// The request does not wait any longer, if it did.
    #[inline]
    pub(crate) fn remove(&mut self, request: usize) {
        if !self.heap.is_empty() {
            self.take_out(request);
        }
    }

    fn take_out(&mut self, request: usize) {
        let place = self.places.get(request).copied().unwrap_or(NOWHERE);
        if place == NOWHERE {
            return;
        }
        self.places[request] = NOWHERE;
        let Some(last) = self.heap.pop() else {
            return;
        };
        if last.request != request {
            self.put(place, last);
            self.rise(place);
            self.sink(place);
        }
    }

    fn put(&mut self, place: usize, wait: Wait) {
        self.heap[place] = wait;
        self.places[wait.request] = place;
    }

    fn swap(&mut self, one: usize, other: usize) {
        let (first, second) = (self.heap[one], self.heap[other]);
        self.put(one, second);
        self.put(other, first);
    }

    fn is_before(&self, one: usize, other: usize) -> bool {
        self.heap[one].rank() < self.heap[other].rank()
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.is_before(place, (place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let mut first = place;
            for child in [2 * place + 1, 2 * place + 2] {
                if child < self.heap.len() && self.is_before(child, first) {
                    first = child;
                }
            }
            if first == place {
                return;
            }
            self.swap(place, first);
            place = first;
        }
    }
}

impl Wait {
    /// What never ends comes last.
    fn rank(&self) -> (bool, Option<Instant>, u64) {
        (self.at.is_none(), self.at, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::Waits;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    /// Adds (with some end, or none) or removes a request.
    fn steps() -> impl Strategy<Value = Vec<(usize, Option<Option<u64>>)>> {
        let at = prop::option::weighted(0.9, 0_u64..5);
        vec((0_usize..12, prop::option::weighted(0.7, at)), 1..80)
    }

    proptest! {
        #[test]
        fn whoever_comes_and_goes_the_first_is_the_one_that_a_search_finds(steps in steps()) {
            let start = Instant::now();
            let (mut waits, mut model) = (Waits::default(), Vec::new());
            for (request, at) in steps {
                let is_waiting = model.iter().any(|(_, _, _, other)| *other == request);
                match at {
                    Some(at) if !is_waiting => {
                        let at = at.map(|seconds| start + Duration::from_secs(seconds));
                        let number = 100 - request as u64;
                        waits.add(request, number, at);
                        model.push((at.is_none(), at, number, request));
                    }
                    _ => {
                        waits.remove(request);
                        model.retain(|(_, _, _, other)| *other != request);
                    }
                }
                let first = model.iter().min().map(|(_, at, _, request)| (*request, *at));
                prop_assert_eq!(waits.first(), first);
            }
        }
    }
}
