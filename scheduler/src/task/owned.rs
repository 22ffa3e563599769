//! The list of a runtime's tasks: what a shutdown goes through, so that no future is forgotten.
//!
//! A task enters it at the end of its first poll, or when it is spawned (`Schedule::LISTS_AT_REST`), and leaves it when it is complete. The list has
//! one reference to each of its tasks, so a task that is not complete is never freed, even if nobody can wake it any more.
//!
//! It is an intrusive doubly linked list (the links are in the task: nothing is allocated), in shards with a lock each.
//! **A thread puts its tasks into one shard**, chosen by the thread: a worker that spawns small tasks and runs them itself
//! takes a lock that no other worker takes. The shard also counts its tasks' numbers, and gives them to workers by many, so that spawning touches no
//! counter that all workers share: a number's remainder by the count of shards says which shard the task is in.

use super::cell::Header;
use super::id::Id;
use super::polling::thread_mark;
use super::runnable::TaskRef;
use crate::sync::{Mutex, twin};
use crossbeam_utils::CachePadded;
use std::num::NonZeroU64;
use std::ptr::NonNull;

/// Threads that spawn are about as many as cores. With 8 of them in 32 shards, one in five meets another in its shard, and
/// a meeting costs a contended lock, no more. A power of two, so that a mask picks the shard; 128 bytes each, 4 KiB in all.
const SHARDS: usize = if cfg!(any(loom, shuttle)) { 1 } else { 32 };

/// The tasks of one runtime.
pub(crate) struct Owned {
    /// A power of two of them.
    shards: Box<[CachePadded<Mutex<Shard>>]>,
}

struct Shard {
    /// The newest task.
    head: Option<NonNull<Header>>,
    len: usize,
    /// Tasks that were ever numbered here.
    numbered: u64,
    closed: bool,
}

// SAFETY: the pointers in a shard are references to tasks (counted, in the list's name), which may be given to any thread.
unsafe impl Send for Shard {}

/// A task's neighbours; both empty when it is in no list (or alone in one).
pub(crate) struct Links {
    newer: Option<NonNull<Header>>,
    older: Option<NonNull<Header>>,
}

impl Owned {
    /// A list for tasks that many threads spawn.
    pub(crate) fn new() -> Owned {
        Owned::with_shards(SHARDS)
    }

    /// A list for tasks that nearly always the same thread spawns: a single shard.
    pub(crate) fn for_one_thread() -> Owned {
        Owned::with_shards(1)
    }

    fn with_shards(shards: usize) -> Owned {
        let shard = || Shard {
            head: None,
            len: 0,
            numbered: 0,
            closed: false,
        };
        Owned {
            shards: (0..shards)
                .map(|_| CachePadded::new(Mutex::new(shard())))
                .collect(),
        }
    }

    /// How many tasks are alive: spawned and not complete. Takes each shard's lock in turn, so with spawns going on
    /// at the same time it is a figure for a display.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len).sum()
    }

    /// Whether [`close_and_cancel_all`](Owned::close_and_cancel_all) has begun: this shard is the first that it closes.
    pub(crate) fn is_closed(&self) -> bool {
        self.shards[0].lock().closed
    }

    /// Closes the list (from now on every task that is spawned is cancelled at once), then takes every task out and
    /// cancels it: its future is dropped here, if [`may_drop_here`](super::Schedule::may_drop_here) and nobody is polling
    /// it. A future that is being polled is dropped by who polls it, when that poll returns.
    ///
    /// This breaks the cycle of scheduler and tasks: the scheduler's list holds the tasks, and each of them an `Arc` of the
    /// scheduler. `Runnable`s in the scheduler's queues are such references too: clear the queues after this.
    ///
    /// The destructors of users' futures run here, and no lock is held meanwhile.
    pub(crate) fn close_and_cancel_all(&self) {
        for shard in &self.shards {
            shard.lock().closed = true;
        }
        for shard in &self.shards {
            loop {
                // In a statement of its own, so that the lock is released before the future is dropped.
                let task = shard.lock().pop();
                let Some(task) = task else { break };
                // SAFETY: it was in the list, whose reference goes with it.
                unsafe { TaskRef::from_raw(task) }.cancel_now();
            }
        }
    }

    /// A number for a new task, the thread's next, under a lock.
    pub(super) fn number(&self) -> Id {
        self.numbers(1).next(self)
    }

    /// Numbers for so many tasks of this thread.
    pub(super) fn numbers(&self, count: u64) -> Numbers {
        let shard = self.shard_of_thread();
        let mut shard_now = self.shards[shard].lock();
        let next = shard_now.numbered + 1;
        shard_now.numbered += count;
        Numbers {
            next,
            left: count,
            shard: shard as u64,
        }
    }

    /// Takes a task into the list, with one of its references; or says that the list is closed, and leaves the reference with
    /// the caller.
    ///
    /// # Safety
    ///
    /// The task is alive, was given to no list yet, and its number is from this one. The caller has its future.
    pub(super) unsafe fn list(&self, task: NonNull<Header>) -> bool {
        // SAFETY: as the caller promises.
        let mut shard = self.shards[self.shard_of(unsafe { task.as_ref() })].lock();
        if shard.closed && !twin("owned-list-unlooked") {
            return false;
        }
        // SAFETY: under the lock of the shard that the number names; the task is in no list.
        unsafe { shard.push(task) };
        true
    }

    /// Takes a task out; true if it was in the list, whose reference is then the caller's.
    ///
    /// # Safety
    ///
    /// The task is alive and was given to `list` of this list.
    pub(super) unsafe fn remove(&self, task: NonNull<Header>) -> bool {
        // SAFETY: as the caller promises, under the lock of the shard that the number names.
        unsafe {
            self.shards[self.shard_of(task.as_ref())]
                .lock()
                .unlink(task)
        }
    }

    fn shard_of(&self, task: &Header) -> usize {
        (task.id.get() % self.shards.len() as u64) as usize
    }

    /// Fibonacci hashing of where the thread has its thread-locals; the high bits are the well-mixed ones.
    fn shard_of_thread(&self) -> usize {
        let mixed = (thread_mark() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        mixed as usize & (self.shards.len() - 1)
    }
}

/// Numbers that nobody else gives to a task.
pub(super) struct Numbers {
    next: u64,
    left: u64,
    shard: u64,
}

impl Numbers {
    pub(super) const NONE: Numbers = Numbers {
        next: 0,
        left: 0,
        shard: 0,
    };

    pub(super) fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The next of these, which are from `list`.
    pub(super) fn next(&mut self, list: &Owned) -> Id {
        debug_assert!(!self.is_empty());
        let number = self.next * list.shards.len() as u64 + self.shard;
        self.next += 1;
        self.left -= 1;
        Id::new(NonZeroU64::new(number).expect("counted from 1"))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Every task holds an Arc of the scheduler that holds this list, so a list with tasks in it is not dropped.
        debug_assert!(self.shards.iter().all(|shard| shard.lock().head.is_none()));
    }
}

impl Shard {
    /// # Safety
    ///
    /// The task is alive and in no list.
    unsafe fn push(&mut self, task: NonNull<Header>) {
        // SAFETY: both are alive (the head by the list's reference), and the lock that `self` is behind guards the links.
        unsafe {
            set_links(
                task,
                Links {
                    newer: None,
                    older: self.head,
                },
            );
            if let Some(head) = self.head {
                with_links(head, |links| links.newer = Some(task));
            }
        }
        self.head = Some(task);
        self.len += 1;
    }

    fn pop(&mut self) -> Option<NonNull<Header>> {
        let task = self.head?;
        // SAFETY: it is in this shard, and so alive.
        let was_in = unsafe { self.unlink(task) };
        debug_assert!(was_in);
        Some(task)
    }

    /// # Safety
    ///
    /// The task is alive, and in this shard or in none.
    unsafe fn unlink(&mut self, task: NonNull<Header>) -> bool {
        // SAFETY: the neighbours are in this shard and so alive, and the lock that `self` is behind guards the links.
        unsafe {
            let links = with_links(task, |links| std::mem::replace(links, Links::new()));
            match links.newer {
                Some(newer) => with_links(newer, |links_of| links_of.older = links.older),
                None if self.head == Some(task) => self.head = links.older,
                None => return false,
            }
            if let Some(older) = links.older {
                with_links(older, |links_of| links_of.newer = links.newer);
            }
        }
        self.len -= 1;
        true
    }
}

impl Links {
    pub(super) const fn new() -> Links {
        Links {
            newer: None,
            older: None,
        }
    }
}

/// # Safety
///
/// The task is alive and the caller has the lock of its shard.
unsafe fn with_links<R>(task: NonNull<Header>, f: impl FnOnce(&mut Links) -> R) -> R {
    // SAFETY: the lock makes the access exclusive.
    unsafe { task.as_ref().links.with_mut(|links| f(&mut *links)) }
}

/// # Safety
///
/// As for [`with_links`].
unsafe fn set_links(task: NonNull<Header>, to: Links) {
    // SAFETY: as the caller promises.
    unsafe { with_links(task, |links| *links = to) }
}
