//! The LIFO slot: its owner puts items in and takes them out, and a thief takes one.
//!
//! Whatever the order: each item comes out once, on one side, and who takes it sees what it was made of.
//!
//! twin: lifo-relaxed-replace
//! twin: lifo-take-by-load

#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::thread;
use peu_loom_tests::model;
use peu_scheduler::internals::Lifo;
use std::ptr::NonNull;
use std::sync::Arc;

/// What is put in. loom fails the model if its taking is not ordered after its making.
struct Item(UnsafeCell<Option<usize>>);

struct Slot {
    lifo: Lifo<Item>,
    items: [Item; 3],
}

// SAFETY: the cells are loom's, which checks every access; the slot holds pointers to them.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

impl Slot {
    fn new() -> Arc<Slot> {
        Arc::new(Slot {
            lifo: Lifo::new(),
            items: [0, 1, 2].map(|_| Item(UnsafeCell::new(None))),
        })
    }

    /// Puts item `n` in; gives the number of the one that it displaced.
    fn put(&self, n: usize) -> Option<usize> {
        // SAFETY: checked by loom.
        self.items[n]
            .0
            .with_mut(|value| unsafe { *value = Some(n) });
        self.lifo.replace(NonNull::from(&self.items[n])).map(value)
    }

    fn take(&self) -> Option<usize> {
        self.lifo.take().map(value)
    }
}

fn value(item: NonNull<Item>) -> usize {
    // SAFETY: the slot with its items outlives the threads that use it.
    let cell = unsafe { &item.as_ref().0 };
    // SAFETY: checked by loom.
    cell.with_mut(|value| unsafe { (*value).take() })
        .expect("an item was taken twice")
}

#[test]
fn an_owner_against_two_thieves() {
    model(|| {
        let slot = Slot::new();
        let thieves = [0, 1].map(|_| {
            let slot = slot.clone();
            thread::spawn(move || slot.take())
        });
        let mut taken = Vec::new();
        for n in 0..3 {
            taken.extend(slot.put(n));
        }
        taken.extend(slot.take());
        for thief in thieves {
            taken.extend(thief.join().unwrap());
        }
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2]);
        assert!(slot.lifo.is_empty(), "the owner's own look can't be wrong");
    });
}
