//! The handles of a task: one that waits for its result, and any number that can only stop it.

use super::cell::{self, Header, Outcome, discard};
use super::error::JoinError;
use super::id::Id;
use super::runnable::TaskRef;
use super::state::{JoinSlot, Leave};
use crate::budget;
use crate::sync::twin;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};

/// Waits for a task's result, as a thread's handle does: a future of `Result<T, JoinError>`.
///
/// Dropping it detaches the task, which runs on; its result is dropped when it comes. To stop the task instead, call
/// [`abort`](JoinHandle::abort).
///
/// # Cancel safety
///
/// A handle keeps the result until it has returned it: awaiting `&mut handle` in a race and losing loses nothing.
///
/// # Panics
///
/// When polled again after it has returned the result.
///
/// # Cost
///
/// One word and a flag. Waiting for a task that is not complete is one atomic read-modify-write, taking the result of one
/// that is needs a load, and so does dropping the handle after it, if it was the last that knew the task; else that is another
/// read-modify-write.
pub struct JoinHandle<T> {
    task: NonNull<Header>,
    /// The result was returned: nothing is left to drop in the task.
    taken: bool,
    /// It hands out a `T`, and holds none.
    output: PhantomData<fn() -> T>,
}

// SAFETY: what moves with a handle is a counted reference, which may go anywhere, and the right to take (or drop) the
// result, which needs T: Send.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: a shared handle allows nothing but reading the state word and aborting.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

// A panic can't leave a handle half-changed: its own fields change after everything that can panic.
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    ///
    /// The task's result is a `T`, it has `JOIN_HANDLE` set, and the caller provides a reference.
    pub(super) unsafe fn new(task: NonNull<Header>) -> JoinHandle<T> {
        JoinHandle {
            task,
            taken: false,
            output: PhantomData,
        }
    }

    /// The task's number.
    pub fn id(&self) -> Id {
        self.header().id
    }

    /// The task is complete, and awaiting the handle returns at once. A panic or an abort completes a task too.
    pub fn is_finished(&self) -> bool {
        self.header().state.load().is_complete()
    }

    /// Asks the task to end: a worker drops its future when no poll of it is under way, and awaiting the handle returns
    /// an error that [is cancelled](JoinError::is_cancelled). A task that finishes first has won, and its result stands.
    ///
    /// A task is not interrupted in the middle of a poll: one that never awaits never sees this.
    pub fn abort(&self) {
        self.abort_handle().abort();
    }

    /// A handle that can abort the task and no more. It can be cloned, and doesn't know the type of the result.
    pub fn abort_handle(&self) -> AbortHandle {
        // SAFETY: the handle's reference keeps the task alive.
        let task = unsafe { TaskRef::to(self.task) };
        AbortHandle { task }
    }

    /// Has `waker` woken when the task completes, instead of the one before; false if it is complete already.
    pub(super) fn set_waker(&mut self, waker: &Waker) -> bool {
        let header = self.header();
        let now = header.state.load();
        if now.is_complete() {
            return false;
        }
        if now.has_join_waker() {
            // SAFETY: the slot is full; only this handle writes it; and the completing side, which may take a bitwise
            // copy out meanwhile, only reads it. Comparing looks at the waker's two pointers and not behind them, and what
            // they point to was alive when `now` was loaded, as `waker` is: equal pointers are the same waker.
            let same = header
                .join_waker
                .with(|slot| unsafe { (*slot).assume_init_ref().will_wake(waker) });
            if same {
                return true;
            }
        }
        self.replace_waker(waker.clone(), now.has_join_waker())
    }

    /// `full`: the slot has a waker already. False if the task is complete.
    fn replace_waker(&self, waker: Waker, full: bool) -> bool {
        let slot = &self.header().join_waker;
        let mut old = None;
        if full && !twin("join-swap-in-place") {
            if self.header().state.take_back_waker() == JoinSlot::Complete {
                return false;
            }
            // SAFETY: the slot was full and is ours again; what is read out is never read again.
            old = Some(slot.with(|slot| unsafe { (*slot).assume_init_read() }));
        }
        // SAFETY: JOIN_WAKER is clear, so the slot is ours, and empty.
        slot.with_mut(|slot| unsafe { (*slot).write(waker) });
        let published = self.header().state.publish_waker() == JoinSlot::Done;
        if !published {
            // SAFETY: the task completed without seeing the waker, so the slot is ours for good, and full.
            drop(slot.with(|slot| unsafe { (*slot).assume_init_read() }));
        }
        drop(old);
        published
    }

    /// The result, if the task is complete and it was not returned yet.
    pub(super) fn take_if_finished(&mut self) -> Option<Result<T, JoinError>> {
        (!self.taken && self.is_finished()).then(|| self.take_outcome())
    }

    /// The task is complete.
    fn take_outcome(&mut self) -> Result<T, JoinError> {
        let mut outcome = MaybeUninit::<Outcome<T>>::uninit();
        self.taken = true;
        // SAFETY: the task is complete and its result, of type T (`new`'s contract), is there: it was kept for this
        // handle, which takes it once (`taken`).
        let outcome = unsafe {
            (self.header().vtable.take_outcome)(self.task, outcome.as_mut_ptr().cast());
            outcome.assume_init()
        };
        outcome.map_err(|failure| JoinError::new(self.id(), failure))
    }

    fn header(&self) -> &Header {
        // SAFETY: the handle's reference keeps the task alive.
        unsafe { self.task.as_ref() }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        assert!(
            !self.taken,
            "a JoinHandle was polled after it had returned the task's result"
        );
        if self.set_waker(cx.waker()) {
            return Poll::Pending;
        }
        if !budget::spend() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.take_outcome())
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        // SAFETY: the handle's reference is given back once, in the same step or after what is owed; the result is there
        // (it wasn't taken), and the slot is full and ours, as the transition says.
        unsafe {
            if self.taken {
                return cell::release(self.task, 1);
            }
            let header = self.task.as_ref();
            match header.state.leave() {
                Leave::Nothing => return,
                Leave::DropWaker => {
                    discard(header.join_waker.with(|slot| (*slot).assume_init_read()));
                }
                Leave::DropOutput => (header.vtable.drop_outcome)(self.task),
            }
            cell::release(self.task, 1);
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// Can stop a task, and doesn't keep its result. From [`JoinHandle::abort_handle`]; cheap to clone.
///
/// It keeps the task's memory, though not its future, for as long as it lives.
#[derive(Clone)]
pub struct AbortHandle {
    task: TaskRef,
}

// Nothing but a state word is behind it.
impl UnwindSafe for AbortHandle {}
impl RefUnwindSafe for AbortHandle {}

impl AbortHandle {
    /// Asks the task to end: see [`JoinHandle::abort`].
    pub fn abort(&self) {
        self.task.abort();
    }

    /// The task is complete.
    pub fn is_finished(&self) -> bool {
        self.task.is_complete()
    }

    /// The task's number.
    pub fn id(&self) -> Id {
        self.task.id()
    }

    /// Drops the task's future here and now, if that can be: see [`TaskRef::cancel_now`].
    pub(super) fn cancel_now(self) {
        self.task.cancel_now();
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
