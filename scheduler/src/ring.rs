//! The local run queue: a bounded ring that its owner pushes to and pops from, and that others steal half of.
//!
//! # Protocol
//!
//! `head` and `tail` only grow; the slot of position `p` is `p % CAPACITY`. Positions in `head..tail` are queued.
//! Only the owner moves `tail`. `head` moves by compare-exchange alone, by the owner (one item) or a thief (half of
//! them), and each such step is the one act that takes the items it passes.
//!
//! A thief copies the slots *before* its compare-exchange, so the copies are guesses until that succeeds. Why a
//! success proves them right: the owner writes the slot of position `p` again only for position `p + CAPACITY`, which
//! it may do only after it has seen `head > p`. As `head` never returns to an old value, a compare-exchange that finds
//! it still at `h` shows that nobody had moved it since the thief read `h`; hence no slot of `h..h + n` was rewritten
//! while the thief copied. If it fails, the copies are thrown away. The slots are atomics, so that a guess that
//! turns out wrong was at least not a data race.
//!
//! That the copies are fresh enough (and what they point to is visible): the owner stores the slot, then `tail` with
//! Release; the thief loads `tail` with Acquire, then the slot. That the owner does not overwrite what a thief still
//! copies: the thief's compare-exchange is a Release, the owner loads `head` with Acquire before it reuses a slot.
//!
//! The idea of copying first is that of Go's run queue (`runqgrab`). `usize` positions wrap on 64-bit machines
//! after centuries; on 32-bit ones a thief would have to sleep through exactly 2³² pops between two
//! instructions to be fooled.

#![allow(unreachable_pub, reason = "the models of loom-tests drive this module")]

use crate::sync::{Arc, AtomicPtr, AtomicUsize, Ordering, spin_loop, twin};
use crossbeam_utils::CachePadded;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// How many tasks a ring holds. A power of two, so that positions wrap by a mask; large enough for all events of a
/// turn of the driver, small enough that half of it is stolen in about a microsecond. Models use 4, so
/// that they wrap around within a few steps.
pub(crate) const CAPACITY: usize = if cfg!(any(loom, shuttle)) { 4 } else { 256 };

const MASK: usize = CAPACITY - 1;

struct Inner<T> {
    head: CachePadded<AtomicUsize>,
    tail: CachePadded<AtomicUsize>,
    slots: Box<[AtomicPtr<T>]>,
}

impl<T> Inner<T> {
    fn slot(&self, position: usize) -> &AtomicPtr<T> {
        &self.slots[position & MASK]
    }
}

/// Makes a ring: the end of its owner and the end of the thieves.
///
/// The ring carries pointers and owns nothing behind them; who drops an end must have taken out what is in it.
pub fn ring<T>() -> (Owner<T>, Thief<T>) {
    let inner = Arc::new(Inner {
        head: CachePadded::new(AtomicUsize::new(0)),
        tail: CachePadded::new(AtomicUsize::new(0)),
        slots: (0..CAPACITY)
            .map(|_| AtomicPtr::new(std::ptr::null_mut()))
            .collect(),
    });
    let thief = Thief {
        inner: inner.clone(),
    };
    (
        Owner {
            inner,
            not_sync: PhantomData,
        },
        thief,
    )
}

/// The owner's end: one thread at a time.
pub struct Owner<T> {
    inner: Arc<Inner<T>>,
    /// The owner's steps assume that nobody else takes the owner's part at the same time.
    not_sync: PhantomData<Cell<()>>,
}

// SAFETY: the ring moves plain pointers and never dereferences them; what they point to is the concern of the caller,
// who has to pass a T that may be handed to other threads. Moving the owner's end to another thread passes
// through a synchronisation of its own (a channel, a spawn), after which the new thread is the owner.
unsafe impl<T> Send for Owner<T> {}

/// The thieves' end: any number of threads.
pub struct Thief<T> {
    inner: Arc<Inner<T>>,
}

// SAFETY: as for `Owner`: plain pointers in atomics; every step of a thief is safe beside every other step.
unsafe impl<T> Send for Thief<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Thief<T> {}

impl<T> Owner<T> {
    /// Appends an item; gives it back when the ring is full.
    pub fn push(&self, item: NonNull<T>) -> Result<(), NonNull<T>> {
        // ORDERING: Relaxed: only the owner stores the tail, so this reads its own last store.
        let tail = self.inner.tail.load(Ordering::Relaxed);
        // ORDERING: Acquire pairs with the Release of the thief's compare-exchange in `steal_into`: its copies of the
        // slots come before our reuse of them.
        let head = self.inner.head.load(Ordering::Acquire);
        if tail.wrapping_sub(head) >= CAPACITY && !twin("ring-push-no-room") {
            return Err(item);
        }
        self.publish(tail, &[item.as_ptr()]);
        Ok(())
    }

    /// Takes the oldest item.
    pub fn pop(&self) -> Option<NonNull<T>> {
        // ORDERING: Relaxed: only the owner stores the tail.
        let tail = self.inner.tail.load(Ordering::Relaxed);
        // ORDERING: Relaxed: a guess, which the compare-exchange verifies.
        let mut head = self.inner.head.load(Ordering::Relaxed);
        while head != tail {
            // ORDERING: Relaxed: the owner wrote the slot itself.
            let item = self.inner.slot(head).load(Ordering::Relaxed);
            match self.take(head, 1) {
                Ok(()) => return NonNull::new(item),
                Err(actual) => head = actual,
            }
        }
        None
    }

    /// Takes the older half of a full ring, oldest first, to make room: what does not fit here belongs where
    /// everybody looks. Empty if thieves have made room meanwhile.
    pub fn pop_half(&self, into: &mut Vec<NonNull<T>>) {
        const HALF: usize = CAPACITY / 2;
        // ORDERING: Relaxed: only the owner stores the tail.
        let tail = self.inner.tail.load(Ordering::Relaxed);
        // ORDERING: Relaxed: a guess, which the compare-exchange verifies.
        let head = self.inner.head.load(Ordering::Relaxed);
        if tail.wrapping_sub(head) < HALF {
            return;
        }
        let start = into.len();
        // ORDERING: Relaxed: the owner wrote the slots itself.
        let copy = |p| NonNull::new(self.inner.slot(p).load(Ordering::Relaxed));
        into.extend((0..HALF).filter_map(|i| copy(head.wrapping_add(i))));
        if self.take(head, HALF).is_err() && !twin("ring-half-unverified") {
            into.truncate(start);
        }
    }

    /// How many items are queued. Thieves may have taken some by the time the answer is read.
    pub fn len(&self) -> usize {
        len(&self.inner)
    }

    /// How many items fit before the ring is full. Only the owner adds, so that at least so many still fit later.
    pub fn room(&self) -> usize {
        // ORDERING: Relaxed: only the owner stores the tail.
        let tail = self.inner.tail.load(Ordering::Relaxed);
        // ORDERING: Acquire pairs with the Release of the thief's compare-exchange in `try_steal`: its copies of the
        // slots come before our reuse of them.
        let head = self.inner.head.load(Ordering::Acquire);
        CAPACITY - tail.wrapping_sub(head)
    }

    /// Moves the head from `head` over `n` items, which takes them.
    fn take(&self, head: usize, n: usize) -> Result<(), usize> {
        // ORDERING: Release on success continues the release sequence that `push` acquires; Relaxed otherwise suffices,
        // for the owner reads only what it wrote itself.
        self.inner
            .head
            .compare_exchange(
                head,
                head.wrapping_add(n),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .map(drop)
    }

    /// Writes the items behind `tail`, then moves the tail over them. There must be room.
    fn publish(&self, tail: usize, items: &[*mut T]) {
        for (i, &item) in items.iter().enumerate() {
            // ORDERING: Relaxed: published by the store of the tail below.
            self.inner
                .slot(tail.wrapping_add(i))
                .store(item, Ordering::Relaxed);
        }
        let publish = if twin("ring-relaxed-publish") {
            Ordering::Relaxed
        } else {
            Ordering::Release
        };
        // ORDERING: Release pairs with the Acquire load of the tail in `steal_into`: a thief that sees the new tail sees
        // the slots and what they point to.
        self.inner
            .tail
            .store(tail.wrapping_add(items.len()), publish);
    }
}

impl<T> Thief<T> {
    /// Takes half of the items (rounded up), as far as they fit into `into`; the oldest is returned, the
    /// others are put there. `into` must be another ring.
    pub fn steal_into(&self, into: &Owner<T>) -> Option<NonNull<T>> {
        loop {
            // ORDERING: Acquire pairs with the Release of other takers' compare-exchange: a head as new as this one is
            // not followed by an older tail.
            let head = self.inner.head.load(Ordering::Acquire);
            // ORDERING: Acquire pairs with the Release store of the tail in `publish`: the slots are visible.
            let tail = self.inner.tail.load(Ordering::Acquire);
            let queued = tail.wrapping_sub(head);
            if queued == 0 {
                return None;
            }
            if queued > CAPACITY {
                spin_loop();
                continue; // the head has moved on between the two loads
            }
            let n = (queued - queued / 2).min(into.room() + 1);
            if let Some(first) = self.try_steal(head, n, into) {
                return Some(first);
            }
        }
    }

    /// How many items are queued, as an observer sees it: a moment ago.
    pub fn len(&self) -> usize {
        len(&self.inner)
    }

    fn try_steal(&self, head: usize, n: usize, into: &Owner<T>) -> Option<NonNull<T>> {
        // ORDERING: Relaxed: the slot was published by the tail's Release store that `steal_into` acquired; the value is
        // a guess until the compare-exchange below.
        let first = self.inner.slot(head).load(Ordering::Relaxed);
        // ORDERING: Relaxed: the thief is the owner of `into`.
        let tail = into.inner.tail.load(Ordering::Relaxed);
        for i in 1..n {
            // ORDERING: Relaxed, as for `first`; the copy is published below, after it is known to be right.
            let item = self
                .inner
                .slot(head.wrapping_add(i))
                .load(Ordering::Relaxed);
            // ORDERING: Relaxed: behind the tail nobody reads it as queued until `tail` is stored below.
            into.inner
                .slot(tail.wrapping_add(i - 1))
                .store(item, Ordering::Relaxed);
        }
        if !twin("ring-steal-unverified") {
            // ORDERING: Release pairs with the Acquire load of the head in `push`: our copies come before the owner's
            // reuse of the slots. Acquire orders the next round after the step that beat us.
            self.inner
                .head
                .compare_exchange(
                    head,
                    head.wrapping_add(n),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                )
                .ok()?;
        } else {
            // ORDERING: the calibration twin: a store in place of the compare-exchange.
            self.inner
                .head
                .store(head.wrapping_add(n), Ordering::Release);
        }
        let publish = if twin("ring-relaxed-stolen") {
            Ordering::Relaxed
        } else {
            Ordering::Release
        };
        // ORDERING: Release pairs with the Acquire load of the tail by thieves of `into`.
        into.inner.tail.store(tail.wrapping_add(n - 1), publish);
        NonNull::new(first)
    }
}

impl<T> Clone for Thief<T> {
    fn clone(&self) -> Self {
        Thief {
            inner: self.inner.clone(),
        }
    }
}

fn len<T>(inner: &Inner<T>) -> usize {
    // ORDERING: Relaxed: an estimate for policy; no data is read on the strength of it. The head comes first, so that the
    // difference is not negative for the owner; an observer's may be off, hence the clamp.
    let head = inner.head.load(Ordering::Relaxed);
    // ORDERING: Relaxed, as above.
    let tail = inner.tail.load(Ordering::Relaxed);
    tail.wrapping_sub(head).min(CAPACITY)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn item(n: usize) -> NonNull<usize> {
        NonNull::from(Box::leak(Box::new(n)))
    }

    fn value(p: NonNull<usize>) -> usize {
        // SAFETY: each item is made by `item`, taken out of a ring once, and read here once.
        *unsafe { Box::from_raw(p.as_ptr()) }
    }

    #[test]
    fn first_in_first_out_and_full() {
        let (owner, _) = ring();
        for round in 0..3 {
            for i in 0..CAPACITY {
                owner.push(item(round * CAPACITY + i)).unwrap();
            }
            value(owner.push(item(0)).unwrap_err());
            for i in 0..CAPACITY {
                assert_eq!(owner.pop().map(value), Some(round * CAPACITY + i));
            }
            assert!(owner.pop().is_none());
        }
    }

    #[test]
    fn a_thief_takes_the_older_half() {
        let (a, thief) = ring();
        let (b, _) = ring();
        for i in 0..5 {
            a.push(item(i)).unwrap();
        }
        assert_eq!(thief.steal_into(&b).map(value), Some(0));
        assert_eq!((a.len(), b.len()), (2, 2));
        let rest: Vec<_> = std::iter::from_fn(|| b.pop())
            .chain(std::iter::from_fn(|| a.pop()))
            .map(value)
            .collect();
        assert_eq!(rest, [1, 2, 3, 4]);
        assert!(thief.steal_into(&b).is_none());
    }

    #[test]
    fn a_thief_takes_no_more_than_fits() {
        let (a, thief) = ring();
        let (b, _) = ring();
        for i in 0..CAPACITY {
            a.push(item(i)).unwrap();
            b.push(item(i)).unwrap();
        }
        assert_eq!(thief.steal_into(&b).map(value), Some(0));
        assert_eq!((a.len(), b.len()), (CAPACITY - 1, CAPACITY));
        std::iter::from_fn(|| a.pop())
            .chain(std::iter::from_fn(|| b.pop()))
            .for_each(|p| _ = value(p));
    }

    #[test]
    fn half_leaves_a_full_ring_oldest_first() {
        let (owner, _) = ring();
        for i in 0..CAPACITY {
            owner.push(item(i)).unwrap();
        }
        let mut half = Vec::new();
        owner.pop_half(&mut half);
        assert_eq!(
            half.into_iter().map(value).collect::<Vec<_>>(),
            (0..CAPACITY / 2).collect::<Vec<_>>()
        );
        assert_eq!(owner.len(), CAPACITY / 2);
        std::iter::from_fn(|| owner.pop()).for_each(|p| _ = value(p));
    }

    #[test]
    fn half_is_all_or_nothing() {
        let (owner, thief) = ring();
        let mut half = Vec::new();
        for i in 0..CAPACITY / 2 {
            owner.pop_half(&mut half);
            assert!(half.is_empty(), "less than half of what fits");
            owner.push(item(i)).unwrap();
            assert_eq!(thief.len(), i + 1);
        }
        owner.pop_half(&mut half);
        assert_eq!((half.len(), thief.len()), (CAPACITY / 2, 0));
        half.into_iter().for_each(|p| _ = value(p));
    }

    #[test]
    fn every_item_once_under_contention() {
        // Fewer under Miri, which did not come to the end of 20,000 in a quarter of an hour.
        const ITEMS: usize = if cfg!(miri) { 300 } else { 20_000 };
        let (owner, thief) = ring();
        let seen: Vec<_> = (0..ITEMS).map(|_| AtomicUsize::new(0)).collect();
        let done = AtomicUsize::new(0);
        let note = |p| {
            // ORDERING: Relaxed: counts, read after the threads are joined.
            seen[value(p)].fetch_add(1, Ordering::Relaxed);
            done.fetch_add(1, Ordering::Relaxed)
        };
        std::thread::scope(|s| {
            for _ in 0..2 {
                let (thief, note, done) = (thief.clone(), &note, &done);
                s.spawn(move || {
                    let (mine, _) = ring();
                    // ORDERING: Relaxed: only ends the loop.
                    while done.load(Ordering::Relaxed) < ITEMS {
                        match thief.steal_into(&mine) {
                            Some(p) => _ = note(p),
                            None => std::thread::yield_now(),
                        }
                        while let Some(p) = mine.pop() {
                            note(p);
                        }
                    }
                });
            }
            for i in 0..ITEMS {
                let mut next = item(i);
                while let Err(back) = owner.push(next) {
                    owner.pop().map(note);
                    next = back;
                }
                if i % 3 == 0 {
                    owner.pop().map(note);
                }
            }
            while let Some(p) = owner.pop() {
                note(p);
            }
        });
        // ORDERING: Relaxed: the threads are joined.
        assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 1));
    }
}
