//! The slot of the join waker: registering, replacing and leaving, against the task's completion.
//!
//! Whatever the order: who waits is woken or sees the result at once; the result is returned or dropped exactly once; a waker
//! is dropped exactly once.
//!
//! twin: join-publish-no-recheck
//! twin: join-swap-in-place

#![cfg(loom)]

use loom::future::block_on;
use loom::thread;
use peu_loom_tests::model;
use peu_scheduler::internals::TestScheduler;
use peu_scheduler::task::JoinHandle;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts its wakes. Not an atomic of loom's, which would only add interleavings.
#[derive(Default)]
struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl CountWakes {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A result whose count of holders shows whether it is alive.
type Output = Arc<()>;

/// A scheduler with one scheduled task that is ready at its first poll.
fn one_task() -> (TestScheduler, JoinHandle<Output>, Output) {
    let scheduler = TestScheduler::new();
    let output = Output::default();
    let result = output.clone();
    let handle = scheduler.spawn(async move { result });
    (scheduler, handle, output)
}

fn poll_with(handle: &mut JoinHandle<Output>, waker: &Waker) -> Poll<Output> {
    Pin::new(handle)
        .poll(&mut Context::from_waker(waker))
        .map(|result| result.expect("no panic"))
}

fn assert_freed(scheduler: &TestScheduler, output: &Output) {
    assert_eq!(Arc::strong_count(output), 1, "the result was dropped");
    assert_eq!(scheduler.holders(), 1, "the task was freed");
}

#[test]
fn who_waits_gets_the_result() {
    model(|| {
        let (scheduler, handle, output) = one_task();
        let worker = thread::spawn({
            let scheduler = scheduler.clone();
            move || scheduler.run_all()
        });
        drop(block_on(handle).expect("no panic"));
        worker.join().unwrap();
        assert_freed(&scheduler, &output);
    });
}

#[test]
fn the_waker_of_the_last_poll_is_woken() {
    model(|| {
        let (scheduler, mut handle, output) = one_task();
        let wakes = [
            Arc::new(CountWakes::default()),
            Arc::new(CountWakes::default()),
        ];
        let [first, second] = wakes.each_ref().map(|wakes| Waker::from(wakes.clone()));
        let mut ready = poll_with(&mut handle, &first).is_ready();
        let worker = thread::spawn({
            let scheduler = scheduler.clone();
            move || scheduler.run_all()
        });
        ready |= poll_with(&mut handle, &second).is_ready();
        worker.join().unwrap();
        if !ready {
            assert_eq!((wakes[0].get(), wakes[1].get()), (0, 1));
            assert!(poll_with(&mut handle, &first).is_ready());
        }
        drop((handle, first, second));
        assert!(
            wakes.iter().all(|wakes| Arc::strong_count(wakes) == 1),
            "each waker is dropped"
        );
        assert_freed(&scheduler, &output);
    });
}

#[test]
fn the_same_waker_again_is_woken_once() {
    model(|| {
        let (scheduler, mut handle, output) = one_task();
        let wakes = Arc::new(CountWakes::default());
        let waker = Waker::from(wakes.clone());
        assert!(poll_with(&mut handle, &waker).is_pending());
        let worker = thread::spawn({
            let scheduler = scheduler.clone();
            move || scheduler.run_all()
        });
        let ready = poll_with(&mut handle, &waker).is_ready();
        worker.join().unwrap();
        assert_eq!(wakes.get(), 1);
        assert!(ready || poll_with(&mut handle, &waker).is_ready());
        drop((handle, waker));
        assert_eq!(Arc::strong_count(&wakes), 1);
        assert_freed(&scheduler, &output);
    });
}

#[test]
fn leaving_with_a_waker_in_the_slot() {
    model(|| {
        let (scheduler, mut handle, output) = one_task();
        let wakes = Arc::new(CountWakes::default());
        assert!(poll_with(&mut handle, &Waker::from(wakes.clone())).is_pending());
        let worker = thread::spawn({
            let scheduler = scheduler.clone();
            move || scheduler.run_all()
        });
        drop(handle);
        worker.join().unwrap();
        assert_eq!(Arc::strong_count(&wakes), 1, "the waker is dropped");
        assert_freed(&scheduler, &output);
    });
}

#[test]
fn leaving_after_a_first_poll_on_the_way() {
    model(|| {
        let (scheduler, mut handle, output) = one_task();
        let wakes = Arc::new(CountWakes::default());
        let worker = thread::spawn({
            let scheduler = scheduler.clone();
            move || scheduler.run_all()
        });
        drop(poll_with(&mut handle, &Waker::from(wakes.clone())));
        drop(handle);
        worker.join().unwrap();
        assert_eq!(Arc::strong_count(&wakes), 1, "the waker is dropped");
        assert_freed(&scheduler, &output);
    });
}
