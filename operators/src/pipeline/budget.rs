//! How long one task of a pipeline keeps its worker.

use std::task::{Context, Poll};

/// How many elements a task takes before other tasks of its worker have their turn: as many as a stage takes turns.
pub(super) const ELEMENTS_PER_POLL: u32 = 128;

/// Pending, with a wake-up on its way: for an operator that has taken so many elements and has none to give.
pub(super) fn rest<V>(cx: &Context<'_>) -> Poll<V> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Counts the elements of one poll of a task.
#[derive(Default)]
pub(super) struct Budget(u32);

impl Budget {
    /// As `poll`, but now and then pending, with a wake-up on its way.
    #[inline]
    pub(super) fn poll<V>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<V>,
    ) -> Poll<V> {
        if self.0 == ELEMENTS_PER_POLL {
            self.0 = 0;
            return rest(cx);
        }
        let polled = poll(cx);
        match polled.is_ready() {
            true => self.0 += 1,
            false => self.0 = 0,
        }
        polled
    }
}
