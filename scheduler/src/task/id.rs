//! A task's number, and which task the current thread is polling.

use crate::sync::thread_local;
use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;

/// A task's number: unique among the tasks of one runtime, never used again there.
///
/// Two runtimes number their tasks independently of each other. The order of two numbers says which of two tasks that
/// one thread spawned came first, and nothing more.
///
/// # Examples
///
/// ```
/// use peu_scheduler::task;
///
/// assert_eq!(task::try_id(), None, "no task is running on this thread");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(NonZeroU64);

impl Id {
    pub(super) const fn new(number: NonZeroU64) -> Id {
        Id(number)
    }

    pub(super) const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The task that the current thread is polling (or dropping), if any.
///
/// Costs a read of a thread-local.
pub fn try_id() -> Option<Id> {
    // The thread-local of an ending thread may be gone: then no task runs either.
    CURRENT.try_with(Cell::get).ok().flatten()
}

/// The task that the current thread is polling (or dropping).
///
/// # Panics
///
/// When called from outside a task: see [`try_id`].
pub fn id() -> Id {
    try_id()
        .expect("task::id() was called outside a task; use task::try_id() where that may happen")
}

thread_local! {
    static CURRENT: Cell<Option<Id>> = const { Cell::new(None) };
}

/// Makes `id` the current task until the guard is dropped, which puts back the one before: tasks nest when one drops
/// another, or runs a local runtime.
#[inline]
pub(super) fn enter(id: Id) -> Entered {
    Entered {
        before: CURRENT
            .try_with(|current| current.replace(Some(id)))
            .ok()
            .flatten(),
    }
}

pub(super) struct Entered {
    before: Option<Id>,
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        // Gone on an ending thread: see `try_id`.
        let _ = CURRENT.try_with(|current| current.set(self.before));
    }
}

/// A number that differs between threads (nearly always), for spreading them over shards: where the thread has its
/// `CURRENT`. 0 on a thread that is ending.
#[cfg(not(any(loom, shuttle)))]
pub(super) fn thread_mark() -> usize {
    CURRENT
        .try_with(|current| std::ptr::from_ref(current).addr())
        .unwrap_or(0)
}

/// A model must do the same in every run, and addresses don't.
#[cfg(any(loom, shuttle))]
pub(super) fn thread_mark() -> usize {
    0
}
