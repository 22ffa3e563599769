//! The slot for the task that was woken last.
//!
//! A task that wakes another and goes idle hands over a value that is still in this core's cache; running the other next
//! is what makes ping-pong cheap. The slot is one atomic pointer and both sides only ever swap, so that each task
//! that was put in comes out exactly once: a swap takes what it returns, and no two swaps return the same store.
//! Thieves leave the slot alone while its owner makes progress, for it is the hottest task there is; the
//! watch empties it when the owner has been stuck in one poll for a whole tick.

#![allow(unreachable_pub, reason = "the models of loom-tests drive this module")]

use crate::sync::{AtomicPtr, Ordering, twin};
use std::ptr::{NonNull, null_mut};

/// A slot for one item. It owns nothing behind the pointer; who drops it must have taken out what is in it.
pub struct Lifo<T> {
    slot: AtomicPtr<T>,
}

impl<T> Lifo<T> {
    /// An empty slot.
    pub fn new() -> Self {
        Lifo {
            slot: AtomicPtr::new(null_mut()),
        }
    }

    /// Puts an item in and returns the one that it displaces.
    pub fn replace(&self, item: NonNull<T>) -> Option<NonNull<T>> {
        // ORDERING: Release pairs with the Acquire of `take` by a thief: what the item points to is visible. The
        // displaced item needs no Acquire: only the owner fills the slot, so it put that one in itself.
        let order = if twin("lifo-relaxed-replace") {
            Ordering::Relaxed
        } else {
            Ordering::Release
        };
        NonNull::new(self.slot.swap(item.as_ptr(), order))
    }

    /// Takes the item out. Owner and thieves alike.
    pub fn take(&self) -> Option<NonNull<T>> {
        if self.is_empty() {
            return None; // spares the owner a locked instruction when there is nothing
        }
        if twin("lifo-take-by-load") {
            // ORDERING: the calibration twin: a load and a store in place of the swap.
            let item = self.slot.load(Ordering::Acquire);
            self.slot.store(null_mut(), Ordering::Relaxed);
            return NonNull::new(item);
        }
        // ORDERING: Acquire pairs with the Release of `replace`.
        NonNull::new(self.slot.swap(null_mut(), Ordering::Acquire))
    }

    /// Whether it was empty a moment ago. The owner, the only one who fills it, can rely on `true`.
    pub fn is_empty(&self) -> bool {
        // ORDERING: Relaxed: the swap that follows decides.
        self.slot.load(Ordering::Relaxed).is_null()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_in_displaces_the_one_before() {
        let (mut a, mut b) = (1, 2);
        let lifo = Lifo::new();
        assert!(lifo.take().is_none());
        assert!(lifo.replace(NonNull::from(&mut a)).is_none());
        assert_eq!(
            lifo.replace(NonNull::from(&mut b)),
            Some(NonNull::from(&mut a))
        );
        assert_eq!(lifo.take(), Some(NonNull::from(&mut b)));
        assert!(lifo.is_empty());
    }
}
