//! References to a task: one that may be run, and plain ones.

use super::cell::{self, Header};
use super::id::Id;
use super::state::{Cancel, Start, Wake};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// A task whose turn is to come: it was spawned or woken, and is polled once by [`run`](Runnable::run).
///
/// There is at most one per task at a time. Dropping it without running it cancels the task (a queue that is thrown away
/// does that), unless its future may not be dropped on this thread; then the list of owned tasks still has it.
pub(crate) struct Runnable(NonNull<Header>);

// SAFETY: a reference to a task may be given to any thread: the header's fields are used as the state word allows, and
// the future of a task that must not leave its thread is only run and dropped there (`spawn_local`'s contract).
unsafe impl Send for Runnable {}

impl Runnable {
    /// Polls the future once, or drops it if the task was cancelled.
    ///
    /// Costs one read-modify-write of the state word before and one after the poll. Panics of the user's code end up in
    /// the task's result.
    pub(crate) fn run(self) {
        let task = self.into_raw();
        // SAFETY: the reference goes with it.
        unsafe { (task.as_ref().vtable.run)(task) }
    }

    /// The pointer, which now stands for the reference: for queues that hold a word per task.
    pub(crate) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    /// # Safety
    ///
    /// `task` came from [`into_raw`](Runnable::into_raw), and is used once; or, inside this module, the caller has just
    /// set `SCHEDULED` and provides a reference.
    pub(crate) unsafe fn from_raw(task: NonNull<Header>) -> Runnable {
        Runnable(task)
    }
}

impl Drop for Runnable {
    fn drop(&mut self) {
        let task = self.0;
        // SAFETY: the reference keeps the task alive until one of the branches gives it back; `start` answering Poll or
        // Cancel gives us the future, which `cancel` wants, and `may_drop_here` lets us drop it.
        unsafe {
            let vtable = task.as_ref().vtable;
            if !(vtable.may_drop_here)(task) {
                return cell::release(task, 1);
            }
            match task.as_ref().state.start(0) {
                Start::Poll | Start::Cancel => (vtable.cancel)(task),
                Start::Nothing => {}
                Start::Deallocate => (vtable.deallocate)(task),
            }
        }
    }
}

/// A counted reference to a task that gives no right to its future: what an abort handle and the list have.
pub(crate) struct TaskRef(NonNull<Header>);

// SAFETY: as for `Runnable`; and everything that `&TaskRef` allows is done through the state word.
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

impl TaskRef {
    /// # Safety
    ///
    /// The caller provides a reference.
    pub(super) unsafe fn from_raw(task: NonNull<Header>) -> TaskRef {
        TaskRef(task)
    }

    /// Another reference to a task that is alive.
    ///
    /// # Safety
    ///
    /// The task is alive.
    pub(super) unsafe fn to(task: NonNull<Header>) -> TaskRef {
        // SAFETY: as the caller promises.
        unsafe { task.as_ref().state.acquire(1) };
        TaskRef(task)
    }

    fn header(&self) -> &Header {
        // SAFETY: the reference keeps the task alive.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn id(&self) -> Id {
        self.header().id
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.header().state.load().is_complete()
    }

    /// Flags the task as cancelled and schedules it, so that a worker drops its future.
    pub(crate) fn abort(&self) {
        if self.header().state.abort() == Wake::Schedule {
            // SAFETY: the transition counted the `Runnable`'s reference, and ours lives until `schedule` has returned.
            unsafe { (self.header().vtable.schedule)(self.0) }
        }
    }

    /// Drops the task's future before it returns, unless somebody is polling or dropping it just now (who then drops it
    /// on leaving the poll), or it may not be dropped on this thread (then this is an abort).
    pub(crate) fn cancel_now(self) {
        // SAFETY: our reference keeps the task alive; `cancel` takes one, so ours is handed over.
        unsafe {
            let vtable = self.header().vtable;
            if !(vtable.may_drop_here)(self.0) {
                return self.abort();
            }
            if self.header().state.cancel() == Cancel::Claimed {
                (vtable.cancel)(ManuallyDrop::new(self).0);
            }
        }
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> TaskRef {
        // SAFETY: our reference keeps the task alive.
        unsafe { TaskRef::to(self.0) }
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and gone with us.
        unsafe { cell::release(self.0, 1) }
    }
}
