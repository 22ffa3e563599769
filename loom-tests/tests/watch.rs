//! One sleeper keeps watch while a worker runs: against the worker that rises, and the watch that retires.
//!
//! A task that blocks its worker until another has run, which waits behind it, ends only if a sleeper comes and takes that
//! one. Whatever the order in which the two workers fall asleep, rise, take the watch and retire: the task ends.
//!
//! bound: two workers and a watch take some 500 steps. A task behind a long poll has three million interleavings with two
//! preemptions, which pass, but take more than four minutes (`LOOM_MAX_PREEMPTIONS=2`); so that model has one. So have
//! those of a watch that retires, which pass with two, in two minutes.
//! limit: 300
//!
//! twin: watch-no-fence
//! twin: watch-retire-no-fence
//! twin: watch-no-recheck
//! twin: watch-not-left

#![cfg(loom)]

use loom::thread;
use peu_loom_tests::driver::ModelDriver;
use peu_loom_tests::parts::{Bed, Gate};
use peu_loom_tests::{bounded, bounded_from_explore};
use peu_scheduler::internals::Workers;
use peu_scheduler::{Handle, block_on};
use std::sync::Arc;

/// Blocks the worker until a task has run that waits behind this one.
fn block_for_another(scheduler: &Handle) {
    let gate = Gate::new();
    let key = gate.clone();
    drop(scheduler.spawn(async move { key.open() }));
    gate.wait();
}

#[test]
fn a_task_behind_a_poll_that_does_not_end() {
    bounded(1, || {
        let workers = Workers::start(2, Arc::new(ModelDriver::new()));
        let handle = workers.handle();
        let task = workers
            .handle()
            .spawn(async move { block_for_another(&handle) });
        block_on(task).unwrap();
        loom::stop_exploring();
        workers.shutdown();
    });
}

/// Both sleep, one of them in the driver, and an event makes that one rise while the other looks, or retires, or has retired:
/// after so many steps of the others.
fn an_event_after(steps: usize, preemptions: usize) {
    bounded_from_explore(preemptions, move || {
        let driver = ModelDriver::new();
        let workers = Workers::start(2, Arc::new(driver.clone()));
        let (handle, bed) = (workers.handle(), Bed::default());
        let task = workers.handle().spawn({
            let bed = bed.clone();
            async move {
                bed.rest().await;
                block_for_another(&handle);
            }
        });
        let waker = loop {
            thread::yield_now();
            if let Some(waker) = bed.waker() {
                break waker;
            }
        };
        for _ in 0..steps {
            thread::yield_now();
        }
        loom::explore();
        driver.event(waker);
        block_on(task).unwrap();
        loom::stop_exploring();
        workers.shutdown();
    });
}

#[test]
fn an_event_while_the_watch_looks() {
    an_event_after(0, 2);
}

#[test]
fn an_event_while_the_watch_retires() {
    (1..5).for_each(|steps| an_event_after(steps, 1));
}
