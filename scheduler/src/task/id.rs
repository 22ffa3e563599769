//! A task's number, and that of the task which the current thread is polling.

use super::polling;
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
    polling::current_id()
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
