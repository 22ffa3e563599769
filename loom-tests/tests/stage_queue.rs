//! An entry of a stage between its completion, its timeout, and its way out.
//!
//! Whatever the order in which the answer comes, the time is up, and the consumer asks: each record has one outcome, which is
//! its output or that of the fallback, and never both; its place is free afterwards; and no request outlives its outcome.
//!
//! twin: stage-future-kept
//! twin: stage-alarm-unlooked

#![cfg(loom)]

use peu_loom_tests::model;
use peu_loom_tests::stages::{LIMIT, Numbers, Signal, Stages, all};
use peu_operators::{AsyncMap, AsyncOptions, Fallback, StreamExt as _};
use std::convert::Infallible;

/// What the fallback adds to the number that timed out.
const TIMED_OUT: usize = 100;

/// A stage with so many places. The first requests wait for an answer each, and time is up at any moment after the first
/// began; the others wait for nothing.
fn stage(stages: &Stages, answers: &[Signal], places: usize, records: usize) -> AsyncMap<usize> {
    let (clock, answers) = (stages.clone(), answers.to_vec());
    let request = move |number| {
        let wait = answers.get(number).map(Signal::wait);
        if number == 0 {
            let there = clock.clone();
            clock.beside(move || there.time_is_up());
        }
        async move {
            if let Some(wait) = wait {
                wait.await;
            }
            Ok::<_, Infallible>(number)
        }
    };
    let options = AsyncOptions::unordered()
        .capacity(places)
        .timeout_with(LIMIT, |number: &usize| Fallback::Output(TIMED_OUT + number));
    Numbers::below(records).async_map(stages, "stage", request, options)
}

/// The stage, with its function and its requests, is gone.
fn end(outputs: &AsyncMap<usize>, stages: Stages, answers: &[Signal]) {
    stages.join();
    assert!(
        answers.iter().all(|answer| answer.holders() == 1),
        "a request is left"
    );
    let metrics = outputs.metrics();
    assert_eq!((metrics.in_flight, metrics.queued), (0, 0));
    assert_eq!(metrics.accepted, metrics.completed, "one outcome each");
}

/// Runs a stage to its end, with the answers in their order; gives what came out.
fn run(answers: usize, places: usize, records: usize) -> Vec<usize> {
    let stages = Stages::default();
    let answers: Vec<Signal> = (0..answers).map(|_| Signal::default()).collect();
    let mut outputs = stage(&stages, &answers, places, records);
    answers.iter().for_each(Signal::set);
    let came_out = all(&mut outputs);
    end(&outputs, stages, &answers);
    came_out
}

#[test]
fn an_answer_against_the_timeout() {
    model(|| {
        let outputs = run(1, 1, 1);
        assert!(matches!(outputs[..], [0 | TIMED_OUT]), "{outputs:?}");
    });
}

/// The place of the first is the second's, once, whatever came of the first.
#[test]
fn the_place_of_an_answer_or_a_timeout() {
    model(|| {
        let outputs = run(1, 1, 2);
        assert!(matches!(outputs[..], [0 | TIMED_OUT, 1]), "{outputs:?}");
    });
}

/// The second may have been accepted when time is up already, and then stays in flight when the answer comes for the first,
/// which has timed out.
#[test]
fn a_late_answer_while_another_is_in_flight() {
    model(|| {
        let mut outputs = run(2, 2, 2);
        outputs.sort_unstable_by_key(|output| output % TIMED_OUT);
        let each_once = matches!(outputs[..], [0 | TIMED_OUT, 1 | 101]);
        assert!(each_once, "{outputs:?}");
    });
}

/// No answer comes: only the clock wakes the stage, perhaps before that has begun to sleep.
#[test]
fn the_timeout_alone() {
    model(|| {
        let (stages, answers) = (Stages::default(), [Signal::default()]);
        let mut outputs = stage(&stages, &answers, 1, 1);
        assert_eq!(all(&mut outputs), [TIMED_OUT]);
        end(&outputs, stages, &answers);
    });
}
