//! A stage that has told its end, and lingers: a barrier comes by, and takes along what the consumer has not taken.
//!
//! Whatever the order: the consumer gets every output, in its order, and the end behind the last of them, though the stage takes back
//! what it shows to the barrier; a stage that is dropped with that in its hands tells so, for else a part would pass for all; and
//! the stage hears that everything was taken.
//!
//! twin: outlet-end-early

#![cfg(loom)]

use loom::thread;
use peu_loom_tests::model;
use peu_operators::internals::{ModelOutlet, ModelSignals};
use peu_operators::{Cause, StageError};
use peu_scheduler::block_on;
use std::future::poll_fn;
use std::task::Poll;

/// The stage's signal for room.
const ROOM: usize = 0;

fn next(outlet: &ModelOutlet) -> Option<Result<Option<usize>, StageError>> {
    block_on(poll_fn(|cx| outlet.poll_take(cx)))
}

/// What the consumer gets to the end, without marks.
fn all(outlet: &ModelOutlet) -> Vec<usize> {
    std::iter::from_fn(|| next(outlet))
        .filter_map(|element| element.expect("no failure"))
        .collect()
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

fn barrier_against_consumer(outputs: usize) {
    model(move || {
        let mut signals = ModelSignals::new();
        let outlet = ModelOutlet::new(signals.waker(ROOM));
        let consumer = thread::spawn({
            let outlet = outlet.clone();
            move || all(&outlet)
        });
        if outlet.tell_end(0..outputs) && outlet.show_barrier(|held| assert!(held <= outputs)) {
            linger(&outlet, &mut signals);
        }
        assert_eq!(consumer.join().unwrap(), Vec::from_iter(0..outputs));
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

/// The stage is dropped after its end: that stands, unless it has outputs in its hands.
#[test]
fn a_stage_that_is_dropped() {
    model(|| {
        let mut signals = ModelSignals::new();
        let outlet = ModelOutlet::new(signals.waker(ROOM));
        let consumer = thread::spawn({
            let outlet = outlet.clone();
            move || all(&outlet)
        });
        outlet.tell_end([0]);
        outlet.abandon();
        assert_eq!(consumer.join().unwrap(), [0]);
    });
}

#[test]
fn a_stage_that_is_dropped_at_a_barrier() {
    model(|| {
        let mut signals = ModelSignals::new();
        let outlet = ModelOutlet::new(signals.waker(ROOM));
        assert!(outlet.tell_end([0, 1]), "nobody takes anything yet");
        let stage = thread::spawn({
            let outlet = outlet.clone();
            move || outlet.abandon_at_barrier()
        });
        let mut taken = 0;
        let end = std::iter::from_fn(|| next(&outlet))
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
