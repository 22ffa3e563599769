//! The queue that every worker looks at and every thread may push to: a deque under a lock, and its length beside it.
//!
//! What comes here mostly comes in numbers: a worker whose ring is full hands over half of it, and one that comes for a task
//! takes its share of the others along. So what counts is the price of a batch, which is one lock. A queue without locks
//! (crossbeam's `SegQueue`) was here before: four locked instructions for each task, and a block of memory for every 31, which
//! made a quarter of all instructions of a program that spawns a thousand tasks at once.
//!
//! The length is read without the lock. To find the queue empty, by a look or by a pop, is ordered by nothing but the fences of
//! the protocols around it.

use crate::sync::{AtomicUsize, Mutex, Ordering};
use crossbeam_utils::CachePadded;
use std::collections::VecDeque;

/// An empty queue gives memory back for more than so many items (8 KiB): a flood is over one day.
const KEPT: usize = 1024;

/// An unbounded queue of what came from outside, or did not fit into a ring.
pub(crate) struct Injector<T>(CachePadded<Inner<T>>);

struct Inner<T> {
    queue: Mutex<VecDeque<T>>,
    /// Beside the lock, because both change hands together.
    len: AtomicUsize,
}

impl<T> Injector<T> {
    pub(crate) fn new() -> Self {
        Injector(CachePadded::new(Inner {
            queue: Mutex::new(VecDeque::new()),
            len: AtomicUsize::new(0),
        }))
    }

    /// Appends.
    pub(crate) fn push(&self, item: T) {
        self.change(|queue| queue.push_back(item));
    }

    /// Appends them all, one behind the other.
    pub(crate) fn push_all(&self, items: impl ExactSizeIterator<Item = T>) {
        self.change(|queue| queue.extend(items));
    }

    /// Takes the oldest.
    pub(crate) fn pop(&self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        self.change(VecDeque::pop_front)
    }

    /// Takes the oldest, so many as `share` makes of the number that is there, if any is. Appends them to `into`.
    pub(crate) fn pop_share(&self, share: impl FnOnce(usize) -> usize, into: &mut impl Extend<T>) {
        if self.is_empty() {
            return;
        }
        self.change(|queue| match queue.len() {
            0 => {}
            number => into.extend(queue.drain(..share(number).min(number))),
        });
    }

    /// Whether it seems empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there seem to be.
    pub(crate) fn len(&self) -> usize {
        // ORDERING: Relaxed: who must not miss a push has fenced before (see the module's text).
        self.0.len.load(Ordering::Relaxed)
    }

    fn change<R>(&self, change: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
        // Dropped, and its memory freed, when the lock is released.
        let _surplus;
        let mut queue = self.0.queue.lock();
        let result = change(&mut queue);
        // ORDERING: Relaxed: written under the lock; the reader is told in `len`.
        self.0.len.store(queue.len(), Ordering::Relaxed);
        if queue.is_empty() && queue.capacity() > KEPT {
            _surplus = std::mem::take(&mut *queue);
        }
        result
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_alone_and_in_batches() {
        let injector = Injector::new();
        injector.push(0);
        injector.push_all(1..6);
        assert_eq!((injector.pop(), injector.len()), (Some(0), 5));
        let mut taken = Vec::new();
        injector.pop_share(|number| number / 2, &mut taken);
        assert_eq!((&taken[..], injector.len()), (&[1, 2][..], 3));
        injector.pop_share(|number| number + 1, &mut taken);
        assert_eq!((&taken[2..], injector.is_empty()), (&[3, 4, 5][..], true));
        injector.pop_share(|_| unreachable!("it is empty"), &mut taken);
        assert_eq!(injector.pop(), None);
    }

    #[test]
    fn a_flood_leaves_little_memory_behind() {
        let injector = Injector::new();
        injector.push_all(0..100 * KEPT);
        injector.pop_share(|number| number, &mut Vec::new());
        assert!(injector.0.queue.lock().capacity() <= KEPT);
        injector.push_all(0..KEPT / 2);
        injector.pop_share(|number| number, &mut Vec::new());
        assert!(injector.0.queue.lock().capacity() > 0, "kept for the next");
    }
}
