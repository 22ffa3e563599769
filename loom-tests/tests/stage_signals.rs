//! The signals of a stage: wakes by requests, input and timer on any thread, against the task that looks at what was
//! woken, and at nothing else.
//!
//! Whatever the order: after a wake its token is looked at, and the look sees what the waker's thread did before; and signals
//! that outlive their stage hold no task in memory.
//!
//! twin: signals-relaxed-wake
//! twin: signals-wake-by-load
//! twin: signals-clear-by-store
//! twin: signals-park-unlooked

#![cfg(loom)]

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use peu_loom_tests::model;
use peu_operators::internals::ModelSignals;
use peu_scheduler::block_on;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// Per token, how much its wakers have left to be found. Relaxed: only the wake makes it visible.
type Left = Arc<[AtomicUsize; 2]>;

fn waker_thread(left: &Left, token: usize, waker: Waker) -> thread::JoinHandle<()> {
    let left = left.clone();
    thread::spawn(move || {
        left[token].fetch_add(1, Ordering::Relaxed);
        waker.wake();
    })
}

/// The task of a stage: looks only at what is listed, until it has found so much.
fn look_until(signals: &mut ModelSignals, left: &Left, wanted: usize) {
    let mut found = [0, 0];
    block_on(poll_fn(|context: &mut Context<'_>| {
        signals.gather();
        while let Some(token) = signals.next() {
            found[token] = left[token].load(Ordering::Relaxed);
        }
        if found.iter().sum::<usize>() == wanted {
            return Poll::Ready(());
        }
        if !signals.park(context.waker()) {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }));
}

/// Threads that wake these tokens, and a stage that finds what all of them left.
fn woken(tokens: &'static [usize]) {
    model(move || {
        let mut signals = ModelSignals::new();
        let left = Left::default();
        let threads: Vec<_> = tokens
            .iter()
            .map(|&token| waker_thread(&left, token, signals.waker(token)))
            .collect();
        look_until(&mut signals, &left, tokens.len());
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// The second wake may find the token listed by the first, at any moment on its way to the look.
#[test]
fn two_wakes_of_one_request() {
    woken(&[0, 0]);
}

#[test]
fn two_requests() {
    woken(&[0, 1]);
}

/// The stage lists a token itself, because it has more to do for it, while others do.
#[test]
fn the_stage_itself_and_two_others() {
    model(|| {
        let mut signals = ModelSignals::new();
        let left = Left::default();
        let threads = [0, 0].map(|token| waker_thread(&left, token, signals.waker(token)));
        signals.raise(0);
        look_until(&mut signals, &left, 2);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// Something to wake that is not woken.
struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_wake_against_the_end_of_the_stage() {
    model(|| {
        let task = Arc::new(Task);
        let mut signals = ModelSignals::new();
        let waker = signals.waker(0);
        assert!(signals.park(&Waker::from(task.clone())));
        let thread = thread::spawn({
            let waker = waker.clone();
            move || waker.wake()
        });
        drop(signals);
        thread.join().unwrap();
        assert_eq!(Arc::strong_count(&task), 1, "the signal keeps the task");
        drop(waker);
    });
}
