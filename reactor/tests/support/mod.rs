//! What the tests of the reactor share: an executor of one future, and a waker that counts.

#![allow(dead_code, reason = "each test program uses a part")]

use peu_reactor::Reactor;
use std::any::Any;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// No test waits longer: by then it hangs.
const HANGS: Duration = Duration::from_secs(30);

/// Runs one future to its end, turning the reactor whenever it is pending.
pub(crate) fn block_on<F: Future>(reactor: &Reactor, future: F) -> F::Output {
    let mut future = pin!(future);
    let wakes = Wakes::of(reactor);
    let waker = wakes.waker();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        wakes.turn_until_woken(reactor);
    }
}

/// One turn of the reactor, which must end by itself: an event, a timer, an unpark.
pub(crate) fn turn(reactor: &Reactor) {
    let start = Instant::now();
    reactor.turn(Some(HANGS)).expect("the reactor turns");
    assert!(
        start.elapsed() < HANGS,
        "nothing ended the turn within {HANGS:?}"
    );
}

/// Makes wakers that count how often they were called.
pub(crate) struct Wakes(Arc<Count>);

struct Count {
    wakes: AtomicUsize,
    seen: AtomicUsize,
    /// Whose turn to end, so that a wake from another thread is noticed.
    reactor: Option<Reactor>,
}

impl Wakes {
    pub(crate) fn new() -> Wakes {
        Wakes::with(None)
    }

    /// Wakes that also end the turn of this reactor.
    pub(crate) fn of(reactor: &Reactor) -> Wakes {
        Wakes::with(Some(reactor.clone()))
    }

    fn with(reactor: Option<Reactor>) -> Wakes {
        Wakes(Arc::new(Count {
            wakes: AtomicUsize::new(0),
            seen: AtomicUsize::new(0),
            reactor,
        }))
    }

    pub(crate) fn waker(&self) -> Waker {
        self.0.clone().into()
    }

    pub(crate) fn count(&self) -> usize {
        // ORDERING: SeqCst, because a test has no reason to be subtle. Pairs with `wake`.
        self.0.wakes.load(Ordering::SeqCst)
    }

    /// Turns the reactor until there was a wake since the last call.
    pub(crate) fn turn_until_woken(&self, reactor: &Reactor) {
        // ORDERING: SeqCst as in `count`; only this function touches `seen`.
        let seen = self.0.seen.load(Ordering::SeqCst);
        while self.count() == seen {
            turn(reactor);
        }
        // ORDERING: SeqCst as in `count`.
        self.0.seen.store(self.count(), Ordering::SeqCst);
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        // ORDERING: SeqCst; what happened before the wake is visible to who sees the count.
        self.wakes.fetch_add(1, Ordering::SeqCst);
        if let Some(reactor) = &self.reactor {
            reactor.unpark();
        }
    }
}

/// The text of a panic that must have happened.
pub(crate) fn panic_message<T>(result: Result<T, Box<dyn Any + Send>>) -> String {
    let panic = result.err().expect("it should have panicked");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
        .expect("a panic with a text")
}
