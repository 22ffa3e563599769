//! Batches: records that come, wait for their batch to be full or old enough, and leave.
//!
//! Whatever the order: each record that stays gets its own answer, from the one call that had it; none comes into a batch whose
//! call was made; and no batch is left in memory.
//!
//! twin: batch-full-unrung
//! twin: batch-flight-late
//! twin: batch-forgotten-late

#![cfg(loom)]

use peu_loom_tests::model;
use peu_loom_tests::stages::Stages;
use peu_operators::{BatchOptions, Batcher};
use peu_scheduler::block_on;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

/// Batches are full with two records. They are old enough when the time of the stages is up, and never before that.
struct Batches {
    stages: Stages,
    batcher: Batcher<usize, usize, Infallible>,
    /// The records of all calls. Not under a lock of loom's, which would only add interleavings.
    called: Arc<Mutex<Vec<usize>>>,
}

impl Batches {
    fn new() -> Batches {
        let stages = Stages::default();
        let called = Arc::new(Mutex::new(Vec::new()));
        let sees = called.clone();
        let call = move |records: Vec<usize>| {
            sees.lock().unwrap().extend(&records);
            async move { Ok(records.into_iter().map(Ok).collect()) }
        };
        let options = BatchOptions::new(2, Duration::ZERO);
        let batcher = Batcher::new(&stages, options, call);
        Batches {
            stages,
            batcher,
            called,
        }
    }

    /// A record that stays, on a thread of its own.
    fn ask_beside(&self, record: usize) {
        let batcher = self.batcher.clone();
        self.stages.beside(move || ask(&batcher, record));
    }

    fn time_is_up_beside(&self) {
        let clock = self.stages.clone();
        self.stages.beside(move || clock.time_is_up());
    }

    /// Waits for everybody; gives the records of all calls.
    fn end(self) -> Vec<usize> {
        let Batches {
            stages,
            batcher,
            called,
        } = self;
        stages.join();
        drop(batcher);
        assert_eq!(Arc::strong_count(&called), 1, "a batch is left");
        let mut called = called.lock().unwrap().clone();
        called.sort_unstable();
        called
    }
}

fn ask(batcher: &Batcher<usize, usize, Infallible>, record: usize) {
    let answer = block_on(batcher.call(record));
    assert_eq!(answer.expect("no failure"), record);
}

/// Time never comes: the second has to wake the first.
#[test]
fn two_fill_a_batch() {
    model(|| {
        let batches = Batches::new();
        batches.ask_beside(1);
        ask(&batches.batcher, 0);
        assert_eq!(batches.end(), [0, 1]);
    });
}

/// The second comes into the batch before its time is up, or begins another.
#[test]
fn time_against_a_second_record() {
    model(|| {
        let batches = Batches::new();
        batches.stages.time_is_up();
        batches.ask_beside(1);
        ask(&batches.batcher, 0);
        assert_eq!(batches.end(), [0, 1]);
    });
}

/// Only time wakes it, perhaps before it sleeps.
#[test]
fn time_alone() {
    model(|| {
        let batches = Batches::new();
        batches.time_is_up_beside();
        ask(&batches.batcher, 0);
        assert_eq!(batches.end(), [0]);
    });
}

/// The one that leaves may have begun the batch, drive it, or fill it. Its record is asked for or not.
#[test]
fn one_leaves_while_another_waits() {
    model(|| {
        let batches = Batches::new();
        batches.stages.time_is_up();
        batches.ask_beside(1);
        let mut leaves = Box::pin(batches.batcher.call(0));
        block_on(poll_fn(|cx| {
            let _ = pin!(&mut leaves).poll(cx);
            Poll::Ready(())
        }));
        drop(leaves);
        assert!(matches!(batches.end()[..], [0, 1] | [1]));
    });
}
