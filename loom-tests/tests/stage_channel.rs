//! The queue between a stage and its consumer, which may be the next stage: sending, receiving, and the end of either side.
//!
//! Whatever the order: each output is received once, in its order, and then the end; whoever waits for an output, for room or for
//! the end is woken; a consumer that leaves ends all stages before it, and a stage whose task is dropped tells its
//! consumer; and nothing that was queued is left in memory.
//!
//! bound: three threads that hand over two outputs have 714,000 interleavings with three preemptions, which take more than a
//! minute and a half; that model has two.
//!
//! twin: outlet-news-unrung
//! twin: outlet-starving-late
//! twin: outlet-room-unrung
//! twin: outlet-consumer-late
//! twin: outlet-leave-unrung
//! twin: outlet-abandon-unrung
//! twin: outlet-count-late

#![cfg(loom)]

use peu_loom_tests::stages::{Numbers, Signal, Stages, all, next, same};
use peu_loom_tests::{bounded, model};
use peu_operators::{AsyncMap, AsyncOptions, Cause, Spawn, StreamExt as _, Timer};
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Instant;

/// A stage that passes numbers on, with so many places.
fn stage(stages: &Stages, numbers: usize, capacity: usize) -> AsyncMap<usize> {
    let options = AsyncOptions::ordered().capacity(capacity);
    Numbers::below(numbers).async_map(stages, "first", same, options)
}

fn received(numbers: usize, capacity: usize) {
    model(move || {
        let stages = Stages::default();
        let mut outputs = stage(&stages, numbers, capacity);
        assert_eq!(all(&mut outputs), Vec::from_iter(0..numbers));
        stages.join();
    });
}

/// After each output the stage waits for room.
#[test]
fn one_place_for_three() {
    received(3, 1);
}

#[test]
fn two_places_for_three() {
    received(3, 2);
}

#[test]
fn a_consumer_that_leaves_against_a_stage_that_waits_for_room() {
    model(|| {
        let stages = Stages::default();
        let mut outputs = stage(&stages, 3, 1);
        assert_eq!(next(&mut outputs).unwrap().unwrap(), 0);
        drop(outputs);
        stages.join();
    });
}

/// The request is never answered: nothing but the consumer's leaving ends the stage.
#[test]
fn a_consumer_that_leaves_against_a_request_in_flight() {
    model(|| {
        let (stages, answer) = (Stages::default(), Signal::default());
        let wait = answer.clone();
        let request = move |number| {
            let wait = wait.wait();
            async move {
                wait.await;
                Ok::<usize, Infallible>(number)
            }
        };
        let options = AsyncOptions::unordered().capacity(1);
        let outputs = Numbers::below(2).async_map(&stages, "first", request, options);
        drop(outputs);
        stages.join();
        assert_eq!(answer.holders(), 1, "a request is left");
    });
}

/// One stage is the consumer of the other.
#[test]
fn two_stages() {
    bounded(2, || {
        let stages = Stages::default();
        let options = AsyncOptions::unordered().capacity(1);
        let mut outputs = stage(&stages, 2, 1).try_async_map(&stages, "second", same, options);
        assert_eq!(all(&mut outputs), [0, 1]);
        stages.join();
    });
}

#[test]
fn leaving_the_second_of_two_stages() {
    model(|| {
        let stages = Stages::default();
        let options = AsyncOptions::unordered().capacity(1);
        let outputs = stage(&stages, 2, 1).try_async_map(&stages, "second", same, options);
        drop(outputs);
        stages.join();
    });
}

/// An executor on its way down: it polls a task once, then drops it.
#[derive(Clone)]
struct Dropping(Stages);

impl Spawn for Dropping {
    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.beside(move || {
            let _unfinished = pin!(task).poll(&mut Context::from_waker(Waker::noop()));
        });
    }
}

impl Timer for Dropping {
    type Sleep = <Stages as Timer>::Sleep;

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        self.0.sleep_until(deadline)
    }
}

#[test]
fn a_stage_whose_task_is_dropped() {
    model(|| {
        let executor = Dropping(Stages::default());
        let options = AsyncOptions::ordered().capacity(1);
        let mut outputs = Numbers::below(2).async_map(&executor, "first", same, options);
        assert_eq!(next(&mut outputs).unwrap().unwrap(), 0);
        let error = next(&mut outputs).unwrap().unwrap_err();
        assert!(matches!(error.cause(), Cause::Cancelled), "{error}");
        assert!(next(&mut outputs).is_none(), "told twice");
        executor.0.join();
    });
}
