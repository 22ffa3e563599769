//! How a local scheduler's `block_on` is told that its own future has been woken.

use crate::local::LocalShared;
use crate::sync::{Arc, AtomicBool, Ordering};
use std::task::Wake;

/// The waker of `block_on`'s own future.
pub(crate) struct MainWaker {
    woken: AtomicBool,
    shared: Arc<LocalShared>,
}

impl MainWaker {
    /// One that has been called, as the future has not been polled yet.
    pub(crate) fn new(shared: Arc<LocalShared>) -> Self {
        MainWaker {
            woken: AtomicBool::new(true),
            shared,
        }
    }

    pub(crate) fn take(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `wake_by_ref`.
        self.woken.swap(false, Ordering::Acquire)
    }

    pub(crate) fn is_woken(&self) -> bool {
        // ORDERING: Relaxed: before a sleep it is ordered by the fence in `Asleep::new`; `take` acquires.
        self.woken.load(Ordering::Relaxed)
    }
}

impl Wake for MainWaker {
    fn wake(self: std::sync::Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        // ORDERING: Release pairs with the Acquire in `take`. The first wake since the last poll rings.
        if !self.woken.swap(true, Ordering::Release) {
            self.shared.ring();
        }
    }
}
