//! Tasks: futures that a scheduler runs, and the handles on them.
//!
//! A task is **one allocation**: a state word, a table of functions, its place in the list of the runtime's tasks, its
//! number, who waits for it, its scheduler, and room for the future, which the result takes over. A worker keeps some of those whose tasks are gone
//! for the next (`stock.rs`). Everybody who has to
//! do with a task (a queue, a waker, the [`JoinHandle`], the list) holds one pointer to it and a reference in its count.
//!
//! # Who may touch what
//!
//! The state word (`state.rs`) is changed by anybody, one atomic read-modify-write at a time. It says who may touch the rest:
//!
//! | field | read and written by | when |
//! |---|---|---|
//! | `vtable`, `scheduler`, `id` | read by anybody | always; never written |
//! | `links` | who has the lock of the list's shard | always |
//! | `future` | who set `RUNNING` | until it sets `COMPLETE` |
//! | result | who set `RUNNING` | between dropping the future and setting `COMPLETE` |
//! | result | the handle | after `COMPLETE`, while it has not left (`JOIN_HANDLE`) |
//! | result | who set `COMPLETE` | after it, if the handle had left |
//! | `join_waker` | the handle | while `JOIN_WAKER` is clear |
//! | `join_waker` | read by the handle, taken by who set `COMPLETE` | while `JOIN_WAKER` is set and the handle has not left |
//! | memory | who gave back the last reference | once |
//!
//! # What it costs
//!
//! In atomic read-modify-writes of the task's own word: nothing to spawn; one to start a poll and one to end it, whether
//! the task is at rest after it or complete (one more if somebody waits for it); one for a wake of a task at rest, from a
//! worker or by reference (one more from a foreign thread by value); one to clone a waker and one to drop it, but none in a
//! poll of its own task (`polling.rs`).
//!
//! `README.md` beside this file says why all this is right.

mod cell;
mod error;
mod group;
mod id;
mod join;
mod join_set;
mod owned;
mod polling;
mod runnable;
mod state;
mod stock;
#[cfg(any(test, loom, shuttle))]
#[cfg_attr(
    not(any(loom, shuttle)),
    allow(
        unreachable_pub,
        reason = "models reach it from another crate, unit tests don't"
    )
)]
#[allow(missing_docs, clippy::new_without_default, reason = "for models only")]
pub(crate) mod testing;
#[cfg(all(test, not(loom)))]
mod tests;
mod waker;

pub(crate) use cell::Header;
pub use error::JoinError;
pub use group::{TaskGroup, group};
pub use id::{Id, id, try_id};
pub use join::{AbortHandle, JoinHandle};
pub use join_set::JoinSet;
pub(crate) use owned::Owned;
pub(crate) use runnable::Runnable;
pub(crate) use stock::Stock;

use crate::sync::Arc;
use std::future::Future;

/// Where a task goes when it is to be run. One per runtime; each of its tasks has an `Arc` of it.
///
/// # Safety
///
/// [`is_inside`](Schedule::is_inside) and [`may_drop_here`](Schedule::may_drop_here) must tell the truth: the one keeps
/// memory from being freed too early, the other a future from being dropped on a thread that it must not be seen by. A [stock](Schedule::with_stock)
/// is given out for one scheduler only.
pub(crate) unsafe trait Schedule: Send + Sync + Sized + 'static {
    /// Whether a task is taken into the list when it comes to rest for the first time, and not when it is spawned: who
    /// ends in his first poll costs no lock. Until then a queue has it, or who polls it; so wherever a `Runnable` of this scheduler may be dropped, its
    /// [future may be](Schedule::may_drop_here), and when the scheduler has closed its list it drops those in its queues.
    fn lists_at_rest(&self) -> bool {
        false
    }

    /// The task was woken, or is to be cancelled, and must be run once. A scheduler that is closed drops it.
    fn schedule(&self, task: Runnable);

    /// Like [`schedule`](Schedule::schedule), for a task that was woken while it ran, as one that yields is: it goes behind
    /// the others.
    fn reschedule(&self, task: Runnable);

    /// The list of this scheduler's tasks. Always the same one.
    fn owned(&self) -> &Owned;

    /// May the calling thread poll and drop this scheduler's futures? (Work-stealing: every thread. Local: its own.)
    fn may_drop_here(&self) -> bool;

    /// Is the calling thread inside this scheduler: does it hold an `Arc` of it (or a borrow) for longer than any call from
    /// here? A worker does. It saves a wake on its own worker the second read-modify-write, which keeps the scheduler
    /// alive where the answer is no.
    fn is_inside(&self) -> bool {
        false
    }

    /// Calls `f` with the cells that the calling thread keeps for this scheduler's tasks, if it does. No other thread has
    /// them meanwhile, and `f` calls nothing of a user's.
    fn with_stock<R>(&self, f: impl FnOnce(Option<&Stock<Self>>) -> R) -> R {
        f(None)
    }
}

/// Makes a task of a future. The caller hands the [`Runnable`] to the scheduler's queue.
///
/// When the list is closed the task is cancelled: the future is dropped, the handle says "cancelled". With a scheduler that
/// [lists at rest](Schedule::lists_at_rest) that is when the `Runnable` is dropped by its queue; with others before this returns, and the `Runnable` does nothing.
pub(crate) fn spawn<F, S>(future: F, scheduler: &Arc<S>) -> (Runnable, JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    // SAFETY: the future and its result may go to any thread.
    unsafe { spawn_local(future, scheduler) }
}

/// Makes a task of a future that must not leave this thread.
///
/// # Safety
///
/// The future and its result are `Send`, or the scheduler runs its tasks on the calling thread only, and
/// [`may_drop_here`](Schedule::may_drop_here) is true on that thread only.
pub(crate) unsafe fn spawn_local<F, S>(
    future: F,
    scheduler: &Arc<S>,
) -> (Runnable, JoinHandle<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule,
{
    let at_rest = scheduler.lists_at_rest();
    let task = cell::allocate(future, scheduler, !at_rest);
    // SAFETY: the task was born with three references: the list's, the Runnable's (with SCHEDULED set) and the handle's
    // (with JOIN_HANDLE set), each used once here, or the first by who has the future. Nobody else knows the task yet. If the list is closed, its
    // reference is still ours and so is the future; we are on the thread that may drop it.
    unsafe {
        if !at_rest && !scheduler.owned().list(task) {
            cancel_unborn(task);
        }
        (Runnable::from_raw(task), JoinHandle::new(task))
    }
}

/// # Safety
///
/// The caller provides a reference to a task that nobody else knows, and may drop its future.
unsafe fn cancel_unborn(task: std::ptr::NonNull<cell::Header>) {
    // SAFETY: as the caller promises.
    unsafe {
        let claimed = task.as_ref().state.cancel();
        debug_assert_eq!(claimed, state::Cancel::Claimed);
        (task.as_ref().vtable.cancel)(task);
    }
}
