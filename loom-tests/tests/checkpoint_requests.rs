//! Checkpoints of a pipeline: who asks, who answers with a barrier, and who waits until one is complete.
//!
//! Whatever the order: a source that waits for records, or a task that waits for room, sees each barrier that is asked for; a stage
//! that is woken for one sees it; who asks hears that the checkpoint is complete, or that the pipeline has ended; and
//! nobody waits after that.
//!
//! twin: requests-ask-unrung
//! twin: requests-wait-unlooked
//! twin: requests-complete-unrung
//! twin: requests-close-unrung

#![cfg(loom)]

use loom::thread;
use peu_loom_tests::model;
use peu_operators::internals::{ModelRequests, ModelSignals};
use peu_scheduler::block_on;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// As a source without records.
fn barrier(requests: &ModelRequests, passed: u64) -> u64 {
    block_on(poll_fn(|cx| requests.poll_barrier(passed, cx)))
}

/// As the task that asks for checkpoints: once, and until it is complete. `true`: the pipeline has ended.
fn ask(requests: &ModelRequests) -> bool {
    requests.ask();
    block_on(poll_fn(|cx| requests.poll_rest(cx)))
}

#[test]
fn one_source() {
    model(|| {
        let requests = Arc::new(ModelRequests::new());
        let asker = thread::spawn({
            let requests = requests.clone();
            move || ask(&requests)
        });
        assert_eq!(barrier(&requests, 0), 1);
        requests.complete();
        assert!(!asker.join().unwrap(), "it goes on");
    });
}

/// Two wait for the same barrier, each with a waker of its own.
#[test]
fn two_sources() {
    model(|| {
        let requests = Arc::new(ModelRequests::new());
        let other = thread::spawn({
            let requests = requests.clone();
            move || assert_eq!(barrier(&requests, 0), 1)
        });
        let asker = thread::spawn({
            let requests = requests.clone();
            move || requests.ask()
        });
        assert_eq!(barrier(&requests, 0), 1);
        other.join().unwrap();
        asker.join().unwrap();
    });
}

/// The second is asked for when the first is complete, and finds a source that waits again.
#[test]
fn one_barrier_after_the_other() {
    model(|| {
        let requests = Arc::new(ModelRequests::new());
        let asker = thread::spawn({
            let requests = requests.clone();
            move || [ask(&requests), ask(&requests)]
        });
        for passed in 0..2 {
            assert_eq!(barrier(&requests, passed), passed + 1);
            requests.complete();
        }
        assert_eq!(asker.join().unwrap(), [false, false]);
    });
}

/// A stage says nowhere that it waits: its signal alone brings the barrier.
#[test]
fn a_stage() {
    model(|| {
        let requests = Arc::new(ModelRequests::new());
        let mut signals = ModelSignals::new();
        requests.add_stage(signals.waker(0));
        let asker = thread::spawn({
            let requests = requests.clone();
            move || requests.ask()
        });
        block_on(poll_fn(|cx| {
            signals.gather();
            if signals.next().is_some() {
                assert!(requests.newer(0), "woken, and there is no barrier");
                return Poll::Ready(());
            }
            if !signals.park(cx.waker()) {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        }));
        asker.join().unwrap();
    });
}

/// The pipeline ends while a checkpoint is under way.
#[test]
fn the_end_against_one_that_asks() {
    model(|| {
        let requests = Arc::new(ModelRequests::new());
        let asker = thread::spawn({
            let requests = requests.clone();
            move || ask(&requests)
        });
        requests.close();
        assert!(asker.join().unwrap(), "there will be no other");
    });
}

/// Who waits for no checkpoint, but until there is time for one.
#[test]
fn the_end_against_one_that_sleeps() {
    model(|| {
        let requests = Arc::new(ModelRequests::new());
        let asker = thread::spawn({
            let requests = requests.clone();
            move || block_on(poll_fn(|cx| requests.poll_end(cx)))
        });
        requests.close();
        asker.join().unwrap();
    });
}

/// The last barrier is complete, and the pipeline ends: whichever the asker sees, it does not wait.
#[test]
fn complete_and_then_the_end() {
    model(|| {
        let requests = Arc::new(ModelRequests::new());
        let asker = thread::spawn({
            let requests = requests.clone();
            move || {
                if !ask(&requests) {
                    block_on(poll_fn(|cx| requests.poll_end(cx)));
                }
            }
        });
        barrier(&requests, 0);
        requests.complete();
        requests.close();
        asker.join().unwrap();
    });
}
