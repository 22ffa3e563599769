//! Letting the others run.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Lets other tasks of this runtime run, once, before this one goes on.
///
/// The task goes behind those that are queued on its worker. Dropping the future before it completes has no effect.
/// Costs no allocation.
///
/// # Example
///
/// ```
/// peu_scheduler::block_on(async {
///     for chunk in [[1, 2], [3, 4]] {
///         assert!(chunk.iter().sum::<i32>() > 0); // a long computation
///         peu_scheduler::yield_now().await;
///     }
/// });
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
