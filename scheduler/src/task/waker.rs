//! A task's waker: a pointer to its header, and four functions that change the state word.
//!
//! One table serves every task, so that [`Waker::will_wake`](std::task::Waker::will_wake) compares nothing but the task.

use super::cell::{self, Header};
use super::polling;
use super::state::Wake;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable};

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

/// The raw waker of a task. It stands for one reference, which the caller provides.
pub(super) fn raw(task: NonNull<Header>) -> RawWaker {
    RawWaker::new(task.as_ptr().cast_const().cast(), &VTABLE)
}

/// Schedules the task unless it is scheduled or complete. The caller keeps its reference.
///
/// # Safety
///
/// The caller has a reference to the task until this returns.
pub(super) unsafe fn wake_task(task: NonNull<Header>) {
    // SAFETY: as the caller promises; the reference of the `Runnable` was counted by the transition.
    unsafe {
        let header = task.as_ref();
        if header.state.wake_by_ref() == Wake::Schedule {
            (header.vtable.schedule)(task);
        }
    }
}

/// The task behind a waker's pointer.
///
/// # Safety
///
/// `data` is that of a waker that `raw` made.
unsafe fn task(data: *const ()) -> NonNull<Header> {
    // SAFETY: `raw` made it of a NonNull.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker that is being cloned keeps the task alive.
    unsafe {
        let task = task(data);
        if !polling::take(task) {
            task.as_ref().state.acquire(1);
        }
        raw(task)
    }
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the waker's reference is ours now. On a thread inside the scheduler it becomes the `Runnable`'s, and one
    // read-modify-write does everything; elsewhere it is kept until `schedule` has returned, because the task, which keeps
    // the scheduler alive, may be run to its end before that.
    unsafe {
        let task = task(data);
        let vtable = task.as_ref().vtable;
        if !(vtable.is_inside)(task) {
            wake_task(task);
            return cell::release(task, 1);
        }
        match task.as_ref().state.wake() {
            Wake::Schedule => (vtable.schedule)(task),
            Wake::Nothing => {}
            Wake::Deallocate => (vtable.deallocate)(task),
        }
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the borrowed waker's reference lives until this returns.
    unsafe { wake_task(task(data)) }
}

unsafe fn drop(data: *const ()) {
    // SAFETY: the waker's reference is given back, or left to the poll that will do so, and the waker is gone.
    unsafe {
        let task = task(data);
        if !polling::leave(task) {
            cell::release(task, 1);
        }
    }
}
