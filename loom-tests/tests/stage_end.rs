//! A stage that has told its end, and lingers: a barrier comes by, and takes along what the consumer has not taken.
//!
//! Whatever the order: the consumer gets every output, in its order, and the end behind the last of them, though the stage takes back
//! what it shows to the barrier; each output is given out before the barrier, or shown to it, by the stage or by the consumer, and never
//! both; a consumer that asks for the barrier alone gets it, for the stage stays until everything is taken; a stage that is dropped with
//! outputs in its hands tells so, for else a part would pass for all; and the stage hears that everything was taken.
//!
//! twin: outlet-end-early
//! twin: outlet-barrier-in-batch
//! twin: outlet-lent-forgotten

#![cfg(loom)]

use loom::thread;
use peu_loom_tests::model;
use peu_operators::internals::{ModelOutlet, ModelOutputs, ModelSignals};
use peu_operators::{Cause, StageError};
use peu_scheduler::block_on;
use std::future::poll_fn;
use std::task::Poll;

/// The stage's signal for room.
const ROOM: usize = 0;

fn next(outputs: &mut ModelOutputs) -> Option<Result<Option<usize>, StageError>> {
    block_on(poll_fn(|cx| outputs.poll_take(cx)))
}

/// What the consumer gets to the end, and how many were given out before the barrier or shown to it by the consumer, if it came.
fn all(outputs: &mut ModelOutputs) -> (Vec<usize>, Option<usize>) {
    let (mut all, mut before) = (Vec::new(), None);
    while let Some(element) = next(outputs) {
        match element.expect("no failure") {
            Some(number) => all.push(number),
            None => before = Some(all.len() + outputs.untaken()),
        }
    }
    (all, before)
}

/// As the stage's task: to the end of its lingering.
fn linger(outlet: &ModelOutlet, signals: &mut ModelSignals) {
    block_on(poll_fn(|cx| {
        signals.gather();
        while signals.next().is_some() {}
        if !outlet.look() {
            return Poll::Ready(());
        }
        if !signals.park(cx.waker()) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }));
}

fn barrier_against_consumer(count: usize) {
    model(move || {
        let mut signals = ModelSignals::new();
        let (outlet, mut outputs) = ModelOutlet::new(signals.waker(ROOM));
        let consumer = thread::spawn(move || all(&mut outputs));
        let mut shown = None;
        if outlet.tell_end(0..count) && outlet.show_barrier(|held| shown = Some(held)) {
            linger(&outlet, &mut signals);
        }
        let (taken, before) = consumer.join().unwrap();
        assert_eq!(taken, Vec::from_iter(0..count));
        // A barrier that comes when all was taken may find that the consumer has left.
        if let (Some(shown), Some(before)) = (shown, before) {
            assert_eq!(shown + before, count, "each output is shown once");
        }
    });
}

#[test]
fn one_output() {
    barrier_against_consumer(1);
}

#[test]
fn two_outputs() {
    barrier_against_consumer(2);
}

/// The consumer has taken one of two, and takes nothing more before the barrier.
#[test]
fn a_consumer_that_asks_for_the_barrier_alone() {
    model(|| {
        let mut signals = ModelSignals::new();
        let (outlet, mut outputs) = ModelOutlet::new(signals.waker(ROOM));
        assert!(outlet.tell_end([0, 1]), "nobody takes anything yet");
        assert_eq!(next(&mut outputs).unwrap().unwrap(), Some(0));
        let consumer = thread::spawn(move || {
            let barrier = block_on(poll_fn(|cx| outputs.poll_barrier(cx)));
            assert!(matches!(barrier, Some(Ok(None))), "the end came first");
            let untaken = outputs.untaken();
            assert_eq!(all(&mut outputs).0, [1]);
            untaken
        });
        let mut shown = 0;
        if outlet.look() && outlet.show_barrier(|held| shown = held) {
            linger(&outlet, &mut signals);
        }
        let untaken = consumer.join().unwrap();
        assert_eq!(shown + untaken, 1);
    });
}

/// The stage is dropped after its end: that stands, unless it has outputs in its hands.
#[test]
fn a_stage_that_is_dropped() {
    model(|| {
        let mut signals = ModelSignals::new();
        let (outlet, mut outputs) = ModelOutlet::new(signals.waker(ROOM));
        let consumer = thread::spawn(move || all(&mut outputs).0);
        outlet.tell_end([0]);
        outlet.abandon();
        assert_eq!(consumer.join().unwrap(), [0]);
    });
}

#[test]
fn a_stage_that_is_dropped_at_a_barrier() {
    model(|| {
        let mut signals = ModelSignals::new();
        let (outlet, mut outputs) = ModelOutlet::new(signals.waker(ROOM));
        assert!(outlet.tell_end([0, 1]), "nobody takes anything yet");
        let stage = thread::spawn(move || outlet.abandon_at_barrier());
        let mut taken = 0;
        let end = std::iter::from_fn(|| next(&mut outputs))
            .inspect(|element| taken += usize::from(element.is_ok()))
            .find_map(Result::err);
        match taken {
            2 => assert!(end.is_none_or(|error| matches!(error.cause(), Cause::Cancelled))),
            _ => assert!(matches!(
                end.expect("a part is told as all").cause(),
                Cause::Cancelled
            )),
        }
        stage.join().unwrap();
    });
}
