//! Tasks, mostly one thread at a time: every order of dropping, panics everywhere, and counters that show that everything is
//! dropped once. The models in loom-tests do the same with threads; Miri runs these too.

mod ending;
mod orders;
mod panics;
mod running;

use super::testing::TestScheduler;
use super::*;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts its drops.
#[derive(Clone, Default)]
struct Counter(std::sync::Arc<AtomicUsize>);

impl Counter {
    fn get(&self) -> usize {
        // ORDERING: Relaxed, a counter: the tests join their threads before they look at it.
        self.0.load(Ordering::Relaxed)
    }

    fn token(&self) -> Token {
        Token(self.clone())
    }
}

struct Token(Counter);

impl Drop for Token {
    fn drop(&mut self) {
        // ORDERING: Relaxed, a counter: the tests join their threads before they look at it.
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Panics when it is dropped, after the token is counted.
struct Bomb(#[allow(dead_code, reason = "held for its drop")] Token);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the bomb");
    }
}

#[derive(Default)]
struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: std::sync::Arc<Self>) {
        // ORDERING: Relaxed, a counter: the tests join their threads before they look at it.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl CountWakes {
    fn get(&self) -> usize {
        // ORDERING: Relaxed, a counter: the tests join their threads before they look at it.
        self.0.load(Ordering::Relaxed)
    }
}

fn counting_waker() -> (std::sync::Arc<CountWakes>, Waker) {
    let wakes = std::sync::Arc::new(CountWakes::default());
    (wakes.clone(), Waker::from(wakes))
}

fn poll_once<T>(handle: &mut JoinHandle<T>) -> Poll<Result<T, JoinError>> {
    Pin::new(handle).poll(&mut Context::from_waker(Waker::noop()))
}

fn result<T>(mut handle: JoinHandle<T>) -> Result<T, JoinError> {
    match poll_once(&mut handle) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the task is not complete"),
    }
}

/// Where a test finds the waker of the task that it made.
#[derive(Clone, Default)]
struct WakerSlot(std::sync::Arc<StdMutex<Option<Waker>>>);

impl WakerSlot {
    fn put(&self, waker: &Waker) {
        let old = self.0.lock().unwrap().replace(waker.clone());
        drop(old);
    }

    fn take(&self) -> Waker {
        self.0.lock().unwrap().take().expect("the task was polled")
    }
}

/// Pending for as many polls, leaving its waker behind.
fn after_polls(mut polls: usize, slot: &WakerSlot) -> impl Future<Output = ()> + Send + use<> {
    let slot = slot.clone();
    poll_fn(move |cx| {
        slot.put(cx.waker());
        if polls == 0 {
            return Poll::Ready(());
        }
        polls -= 1;
        Poll::Pending
    })
}

fn both_schedulers(test: impl Fn(TestScheduler)) {
    test(TestScheduler::new());
    test(TestScheduler::inside());
}
