//! What a worker has at hand for its next tasks: cells of those that are gone, and numbers.
//!
//! A worker that spawns small tasks, and runs them itself, would ask the allocator for a cell and give it back for each, and
//! count a reference to the scheduler up and down, in a line that all workers share. So it keeps some: the memory **with the
//! reference in it**. A task that is spawned there takes one of its own size, and writes its header and its future, and nothing else.
//!
//! # Why it is right
//!
//! A cell comes here from whoever gave back the last reference to its task, who would have freed it: nobody has a
//! pointer to it, its stage and its waker's slot are empty, and all that others did to it happened before (`State::release`
//! acquires). A stock belongs to one thread, so what follows, up to the next task, is in the order of the program. The
//! references to the scheduler are real ones, of the same scheduler (`Schedule::with_stock`), and are given back with the stock, which is the worker's and not the
//! scheduler's: no cycle.

use super::cell::Header;
use super::id::Id;
use super::owned::{Numbers, Owned};
use crate::sync::Arc;
use std::alloc::{Layout, dealloc};
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

/// So many cells at most: as many tasks as a worker's ring holds may be spawned in a burst, run, and spawned again. Models and Miri
/// show with one that cells are used again, and see in all others that nobody uses what is gone.
const KEPT: usize = match cfg!(any(loom, shuttle, miri)) {
    true => 1,
    false => crate::ring::CAPACITY,
};
/// Larger cells are freed, so that a worker keeps 128 KiB at most. A larger future costs more to make than its memory does.
const LARGEST: usize = 512;
/// All cells have it but those of futures that are aligned to more, which are freed.
const ALIGN: usize = align_of::<Header>();

/// Numbers that are taken at once: so many that the lock which that takes costs little for each task.
const NUMBERS: u64 = if cfg!(any(loom, shuttle)) { 2 } else { 256 };

/// A thread's cells, by their sizes, and numbers for its tasks.
pub(crate) struct Stock<S> {
    /// The first of each size, in units of `ALIGN`.
    shelves: [Cell<Option<NonNull<Blank<S>>>>; LARGEST / ALIGN + 1],
    len: Cell<usize>,
    /// For the tasks that are spawned next.
    numbers: RefCell<Numbers>,
}

/// The front of a cell whose task is gone: that of `cell::Cell`, whose scheduler stays where it was.
#[repr(C)]
pub(super) struct Blank<S> {
    front: Front<S>,
    pub(super) scheduler: Arc<S>,
}

/// As large as a header.
union Front<S> {
    /// The next cell of the same size.
    next: Option<NonNull<Blank<S>>>,
    _header: ManuallyDrop<Header>,
}

// SAFETY: the cells are the stock's alone: memory, and references to a scheduler, which may be given up on any thread.
unsafe impl<S: Send + Sync> Send for Stock<S> {}

impl<S> Stock<S> {
    pub(crate) fn new() -> Stock<S> {
        Stock {
            shelves: [const { Cell::new(None) }; LARGEST / ALIGN + 1],
            len: Cell::new(0),
            numbers: RefCell::new(Numbers::NONE),
        }
    }

    /// A number for the thread's next task. They are from `list`, always the same one.
    pub(super) fn number(&self, list: &Owned) -> Id {
        let mut numbers = self.numbers.borrow_mut();
        if numbers.is_empty() {
            *numbers = list.numbers(NUMBERS);
        }
        numbers.next(list)
    }

    /// Whether cells of this layout are kept at all.
    pub(super) const fn keeps(layout: Layout) -> bool {
        layout.size() <= LARGEST && layout.align() == ALIGN
    }

    pub(super) fn has_room(&self) -> bool {
        self.len.get() < KEPT
    }

    /// Takes a cell of this layout, with the reference to the scheduler in it.
    pub(super) fn take(&self, layout: Layout) -> Option<NonNull<Blank<S>>> {
        let shelf = &self.shelves[layout.size() / ALIGN];
        let blank = shelf.get()?;
        // SAFETY: what is on a shelf is a blank, which is the stock's alone.
        shelf.set(unsafe { blank.as_ref().front.next });
        self.len.set(self.len.get() - 1);
        Some(blank)
    }

    /// Keeps a cell.
    ///
    /// # Safety
    ///
    /// It was allocated with this layout, for which [`keeps`](Stock::keeps) is true; it is the caller's alone, and its scheduler is the only part of it that
    /// is to be dropped. There [is room](Stock::has_room).
    pub(super) unsafe fn put(&self, blank: NonNull<Blank<S>>, layout: Layout) {
        let shelf = &self.shelves[layout.size() / ALIGN];
        // SAFETY: the front of the cell is the caller's, and has nothing in it.
        unsafe { (*blank.as_ptr()).front.next = shelf.get() };
        shelf.set(Some(blank));
        self.len.set(self.len.get() + 1);
    }
}

impl<S> Drop for Stock<S> {
    fn drop(&mut self) {
        for (units, shelf) in self.shelves.iter().enumerate() {
            while let Some(blank) = shelf.get() {
                // SAFETY: it is the stock's alone. It was allocated by a Box with the layout that its shelf stands for, and is
                // freed once, after its reference to the scheduler is given up.
                unsafe {
                    shelf.set(blank.as_ref().front.next);
                    ptr::drop_in_place(&raw mut (*blank.as_ptr()).scheduler);
                    let layout = Layout::from_size_align_unchecked(units * ALIGN, ALIGN);
                    dealloc(blank.as_ptr().cast(), layout);
                }
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::{Arc, Blank, Front, KEPT, Layout, NonNull, Stock};

    /// A cell of which `rest` was the stage.
    #[repr(C)]
    struct Gone<const WORDS: usize> {
        blank: Blank<()>,
        rest: [usize; WORDS],
    }

    fn gone<const WORDS: usize>(scheduler: &Arc<()>) -> (NonNull<Blank<()>>, Layout) {
        let cell = Box::new(Gone {
            blank: Blank {
                front: Front { next: None },
                scheduler: Arc::clone(scheduler),
            },
            rest: [0; WORDS],
        });
        let layout = Layout::for_value(&*cell);
        assert!(Stock::<()>::keeps(layout));
        (NonNull::from(Box::leak(cell)).cast(), layout)
    }

    #[test]
    fn what_is_kept_is_taken_for_the_same_size_and_no_other() {
        let (scheduler, stock) = (Arc::new(()), Stock::new());
        let (small, small_layout) = gone::<1>(&scheduler);
        let large_layout = Layout::new::<Gone<2>>();
        // SAFETY: a cell of that layout, and nobody else's; there is room for one.
        unsafe { stock.put(small, small_layout) };
        assert!(stock.take(large_layout).is_none());
        assert_eq!(stock.take(small_layout), Some(small));
        assert!(stock.take(small_layout).is_none());
        // SAFETY: as above.
        unsafe { stock.put(small, small_layout) };
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for_and_references_go_with_them() {
        let (scheduler, stock) = (Arc::new(()), Stock::new());
        for kept in 0..KEPT {
            assert_eq!(Arc::strong_count(&scheduler), 1 + kept);
            assert!(stock.has_room());
            let (cell, layout) = match kept % 2 {
                0 => gone::<1>(&scheduler),
                _ => gone::<40>(&scheduler),
            };
            // SAFETY: a cell of that layout, and nobody else's; there is room.
            unsafe { stock.put(cell, layout) };
        }
        assert!(!stock.has_room());
        drop(stock);
        assert_eq!(Arc::strong_count(&scheduler), 1);
    }

    #[test]
    fn what_is_large_or_aligned_to_more_is_not_kept() {
        let keeps = |size, align| {
            Stock::<()>::keeps(Layout::from_size_align(size, align).expect("a layout"))
        };
        assert!(keeps(512, 8));
        assert!(!keeps(520, 8));
        assert!(!keeps(128, 16));
    }
}
