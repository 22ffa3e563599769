//! Runs one future on the calling thread, which sleeps between its wakes.

use crate::budget;
use crate::context;
use crate::local;
use crate::sync::{AtomicBool, Ordering, thread, twin};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// Runs `future` to its end on this thread and returns its output.
///
/// The thread does nothing else meanwhile: it turns no driver and runs no other task. It sleeps when the future
/// waits, and any thread may wake it. Costs one allocation, for the waker.
///
/// # Panics
///
/// When called on a worker of a scheduler or inside a local one, whose other tasks it would hold up, possibly
/// forever; and when the future panics.
///
/// # Example
///
/// ```
/// assert_eq!(peu_scheduler::block_on(async { 6 * 7 }), 42);
/// ```
///
/// # Protocol
///
/// A wake sets `woken`, then unparks the thread. The thread clears `woken` *before* it polls and sleeps only while it is
/// clear. So a wake during or after the poll is found by the check before the sleep, or, if it comes between that check
/// and the sleep, by the thread's sticky park token.
pub fn block_on<F: Future>(future: F) -> F::Output {
    refuse_inside("block_on");
    let mut future = pin!(future);
    let signal = Arc::new(Signal {
        woken: AtomicBool::new(true),
        thread: thread::current(),
    });
    let waker = Waker::from(signal.clone());
    let mut cx = Context::from_waker(&waker);
    loop {
        signal.wait();
        if let Poll::Ready(output) = budget::with_budget(|| future.as_mut().poll(&mut cx)) {
            return output;
        }
        if twin("block-on-cleared-late") {
            // ORDERING: the calibration twin: what was woken during the poll is forgotten.
            signal.woken.store(false, Ordering::Relaxed);
        }
    }
}

/// Panics if this thread is a worker, or inside a local scheduler.
pub(crate) fn refuse_inside(what: &str) {
    let place = if context::is_worker() {
        "on a worker thread of a peu runtime"
    } else if local::is_inside() {
        "inside a peu LocalRuntime"
    } else {
        return;
    };
    panic!(
        "{what} was called {place}. It would block the thread and every task that is to run on it. `.await` the future \
         instead, spawn it, or call {what} inside `spawn_blocking`."
    );
}

struct Signal {
    woken: AtomicBool,
    thread: thread::Thread,
}

impl Signal {
    fn wait(&self) {
        // ORDERING: Acquire pairs with the Release in `wake_by_ref`: what was written before the wake is visible to
        // the poll.
        while !self.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // ORDERING: Release pairs with the Acquire in `wait`. A swap, so that a second wake before the poll rings no
        // bell: the first one's `true` has not been taken yet, and its unpark is still to come or still to be found.
        let order = if twin("block-on-relaxed-wake") {
            Ordering::Relaxed
        } else {
            Ordering::Release
        };
        if !self.woken.swap(true, order) {
            self.thread.unpark();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[test]
    fn woken_from_another_thread() {
        let mut polls = 0;
        block_on(poll_fn(|cx| {
            polls += 1;
            if polls == 3 {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            std::thread::spawn(move || waker.wake());
            Poll::Pending
        }));
        assert_eq!(polls, 3);
    }

    #[test]
    fn woken_during_the_poll() {
        let mut again = true;
        block_on(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if std::mem::take(&mut again) {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        }));
    }

    #[test]
    fn nothing_is_polled_unless_it_was_woken() {
        let woken = Arc::new(AtomicBool::new(true));
        let mut polls = 0;
        block_on(poll_fn(|cx| {
            polls += 1;
            assert!(woken.swap(false, Ordering::AcqRel));
            if polls == 3 {
                return Poll::Ready(());
            }
            let (waker, woken) = (cx.waker().clone(), woken.clone());
            std::thread::spawn(move || {
                woken.store(true, Ordering::Release);
                waker.wake();
            });
            Poll::Pending
        }));
    }

    #[test]
    fn it_nests() {
        assert_eq!(block_on(async { block_on(async { 1 }) + 1 }), 2);
    }
}
