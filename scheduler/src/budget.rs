//! The cooperative budget: a task that always finds its socket ready still lets others run.
//!
//! Every poll of a task starts with a budget of operations. A leaf future (a socket, a channel, a timer) asks
//! [`spend`] before it makes progress; when the budget is gone it wakes itself and returns `Pending`, and the task
//! goes behind the others. Code that runs in no task has no budget and is never held back. The idea, and the number,
//! are tokio's (`coop`).

use crate::sync::thread_local;
use std::cell::Cell;

/// Operations per poll. At about a microsecond each, a task then keeps its worker for little more than a tenth of a
/// millisecond, and the cost of going round once (some 100 ns) is lost in it.
const OPERATIONS: u32 = 128;

const UNLIMITED: u32 = u32::MAX;

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(UNLIMITED) };
}

/// Takes one operation from the budget of the task that runs on this thread. `false`: the budget is gone; wake
/// yourself and return `Pending`.
///
/// # Example
///
/// ```
/// use std::task::{Context, Poll};
///
/// fn poll_next(cx: &mut Context<'_>) -> Poll<u8> {
///     if !peu_scheduler::budget::spend() {
///         cx.waker().wake_by_ref();
///         return Poll::Pending;
///     }
///     Poll::Ready(7)
/// }
/// # poll_next(&mut Context::from_waker(std::task::Waker::noop()));
/// ```
#[inline]
pub fn spend() -> bool {
    LEFT.with(|left| match left.get() {
        UNLIMITED => true,
        0 => false,
        n => {
            left.set(n - 1);
            true
        }
    })
}

/// Runs one poll of a task with a full budget. The budget of an outer poll, if there is one, is put back afterwards.
pub(crate) fn with_budget<R>(poll: impl FnOnce() -> R) -> R {
    struct Restore(u32);
    impl Drop for Restore {
        fn drop(&mut self) {
            LEFT.with(|left| left.set(self.0));
        }
    }
    let _restore = Restore(LEFT.with(|left| left.replace(OPERATIONS)));
    poll()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limited_in_a_poll_and_unlimited_outside() {
        assert!((0..1000).all(|_| spend()));
        with_budget(|| {
            assert_eq!((0..1000).filter(|_| spend()).count(), OPERATIONS as usize);
            with_budget(|| assert!(spend()));
            assert!(!spend(), "the inner poll does not refill the outer one");
        });
        assert!(spend());
    }
}
