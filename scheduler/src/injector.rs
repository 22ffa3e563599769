//! The queue that every worker looks at and every thread may push to: crossbeam's `SegQueue`.
//!
//! Neither loom nor shuttle can see into `SegQueue`, so models get a mutex around a `VecDeque` instead. To find it empty, by
//! a look or by a pop, says as little there as the real one's caller may assume: a relaxed load, ordered by nothing but the fences of
//! the protocols around it.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use real::Injector;

#[cfg(any(loom, shuttle))]
pub(crate) use modelled::Injector;

#[cfg(not(any(loom, shuttle)))]
mod real {
    use crossbeam_queue::SegQueue;

    /// An unbounded queue of what came from outside, or did not fit into a ring.
    pub(crate) struct Injector<T>(SegQueue<T>);

    impl<T> Injector<T> {
        pub(crate) fn new() -> Self {
            Injector(SegQueue::new())
        }

        pub(crate) fn push(&self, item: T) {
            self.0.push(item);
        }

        pub(crate) fn pop(&self) -> Option<T> {
            self.0.pop()
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }
    }
}

#[cfg(any(loom, shuttle))]
mod modelled {
    use crate::sync::{AtomicUsize, Mutex, Ordering};
    use std::collections::VecDeque;

    /// The model's stand-in.
    pub(crate) struct Injector<T> {
        queue: Mutex<VecDeque<T>>,
        len: AtomicUsize,
    }

    impl<T> Injector<T> {
        /// Empty.
        pub(crate) fn new() -> Self {
            Injector {
                queue: Mutex::new(VecDeque::new()),
                len: AtomicUsize::new(0),
            }
        }

        /// Appends.
        pub(crate) fn push(&self, item: T) {
            let mut queue = self.queue.lock();
            queue.push_back(item);
            // ORDERING: Relaxed on purpose: see the module's text.
            self.len.store(queue.len(), Ordering::Relaxed);
        }

        /// Takes the oldest.
        pub(crate) fn pop(&self) -> Option<T> {
            if self.is_empty() {
                return None;
            }
            let mut queue = self.queue.lock();
            let item = queue.pop_front();
            // ORDERING: Relaxed on purpose: see the module's text.
            self.len.store(queue.len(), Ordering::Relaxed);
            item
        }

        /// Whether it seems empty.
        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }

        /// How many it seems to hold.
        pub(crate) fn len(&self) -> usize {
            // ORDERING: Relaxed on purpose: see the module's text.
            self.len.load(Ordering::Relaxed)
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_and_counted() {
        let injector = Injector::new();
        assert!(injector.is_empty());
        (0..3).for_each(|item| injector.push(item));
        assert_eq!((injector.len(), injector.is_empty()), (3, false));
        let popped: Vec<i32> = std::iter::from_fn(|| injector.pop()).collect();
        assert_eq!((popped, injector.len()), (vec![0, 1, 2], 0));
    }
}
