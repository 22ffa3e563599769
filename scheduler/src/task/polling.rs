//! What a thread knows of the task that it polls: its number, and references to it that are counted in advance.
//!
//! A future that waits clones its task's waker, and drops it when it is done with it: a locked instruction each, for a count
//! that mostly ends as it began. So the transition that begins a poll counts [`IN_ADVANCE`] references more than there are, and the one that
//! ends it takes back those that are left, which costs neither of them anything. In between, a waker that is cloned on the polling
//! thread takes one of these, and one that is dropped there leaves its own. Why that is right: `README.md` beside this file.

use super::cell::Header;
use super::id::Id;
use crate::sync::{thread_local, twin};
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

/// References that a poll has to give away: more than it will, and so few that they don't matter to what the count can hold, which is
/// 2^56 of them, or 2^24 where a word has 32 bits. Who takes more has them counted one by one.
pub(super) const IN_ADVANCE: usize = 1 << (usize::BITS / 2 - 2);

/// The task that a thread polls or drops.
struct Current {
    /// Alive, because who entered it has a reference. Null when there is none.
    task: Cell<*const Header>,
    /// References to it that are counted, and that nobody has.
    spare: Cell<usize>,
}

thread_local! {
    static CURRENT: Current = const {
        Current {
            task: Cell::new(ptr::null()),
            spare: Cell::new(0),
        }
    };
}

/// Makes `task` the current one until what is returned is [settled](Entered::settle): tasks nest when one drops another, or runs a
/// local runtime. `spare` references to it are counted, and nobody's.
///
/// # Safety
///
/// The caller has a reference to the task until then.
#[inline]
pub(super) unsafe fn enter(task: NonNull<Header>, spare: usize) -> Entered {
    let entered = CURRENT.try_with(|current| Entered {
        before: current.task.replace(task.as_ptr()),
        spare_before: current.spare.replace(spare),
        refused: 0,
    });
    // Made only if it is needed: to drop one is to leave.
    entered.unwrap_or_else(|_| Entered {
        before: ptr::null(),
        spare_before: 0,
        refused: spare,
    })
}

/// Keeps a task the current one.
#[must_use = "its references have to be given back"]
pub(super) struct Entered {
    before: *const Header,
    spare_before: usize,
    /// References that found no place: the thread-local of an ending thread may be gone.
    refused: usize,
}

impl Entered {
    /// Puts back the task that was current before, and hands out the references that are nobody's. The caller gives them back.
    #[inline]
    #[must_use]
    pub(super) fn settle(self) -> usize {
        ManuallyDrop::new(self).leave()
    }

    #[inline]
    fn leave(&self) -> usize {
        let spare = CURRENT.try_with(|current| {
            if !twin("task-reference-to-no-poll") {
                current.task.set(self.before);
            }
            current.spare.replace(self.spare_before)
        });
        self.refused + spare.unwrap_or(0)
    }
}

/// Something panicked that must not. The task is never freed then.
impl Drop for Entered {
    fn drop(&mut self) {
        let _spare = self.leave();
    }
}

/// Takes a reference to `task` that is counted already. `false`: there is none, because this thread does not poll it.
#[inline]
#[must_use]
pub(super) fn take(task: NonNull<Header>) -> bool {
    with_spare_of(task, |spare| match spare.get().checked_sub(1) {
        Some(less) => {
            spare.set(less);
            true
        }
        None => false,
    })
}

/// Leaves a reference to `task`, which stays counted until the poll ends. `false`: this thread does not poll it.
#[inline]
#[must_use]
pub(super) fn leave(task: NonNull<Header>) -> bool {
    with_spare_of(task, |spare| {
        spare.set(spare.get() + 1);
        true
    })
}

#[inline]
fn with_spare_of(task: NonNull<Header>, change: impl FnOnce(&Cell<usize>) -> bool) -> bool {
    let changed = CURRENT
        .try_with(|current| ptr::eq(current.task.get(), task.as_ptr()) && change(&current.spare));
    changed.unwrap_or(false)
}

/// The number of the current task.
pub(super) fn current_id() -> Option<Id> {
    // The thread-local of an ending thread may be gone: then no task runs either.
    let task = CURRENT.try_with(|current| current.task.get()).ok()?;
    // SAFETY: it is null, or whoever entered it has a reference to it.
    unsafe { task.as_ref() }.map(|task| task.id)
}

/// A number that differs between threads (nearly always), for spreading them over shards: where the thread has its
/// `CURRENT`. 0 on a thread that is ending.
#[cfg(not(any(loom, shuttle)))]
pub(super) fn thread_mark() -> usize {
    CURRENT
        .try_with(|current| ptr::from_ref(current).addr())
        .unwrap_or(0)
}

/// A model must do the same in every run, and addresses don't.
#[cfg(any(loom, shuttle))]
pub(super) fn thread_mark() -> usize {
    0
}
