//! Falling asleep against a push to the injector, with whole workers.
//!
//! Whatever the order: while a task is in the injector, a worker is awake or being woken. If it were not so, the task would
//! never run, and loom would find everybody blocked.
//!
//! bound: with two workers three preemptions take more than four minutes; two take one.
//! limit: 300
//!
//! twin: idle-no-fence
//! twin: idle-push-no-fence
//! twin: idle-no-last-look
//! twin: turn-notified-unheeded

#![cfg(loom)]

use peu_loom_tests::driver::ModelDriver;
use peu_loom_tests::{bounded, model};
use peu_scheduler::internals::Workers;
use peu_scheduler::{Driver, block_on};
use std::sync::Arc;

fn start(workers: usize) -> (Workers, ModelDriver) {
    let driver = ModelDriver::new();
    (Workers::start(workers, Arc::new(driver.clone())), driver)
}

/// Shutting down has a model of its own.
fn end(workers: Workers) {
    loom::stop_exploring();
    workers.shutdown();
}

#[test]
fn a_push_against_the_only_worker() {
    model(|| {
        let (workers, _) = start(1);
        let task = workers.handle().spawn(async { 1 });
        assert_eq!(block_on(task).unwrap(), 1);
        end(workers);
    });
}

/// The second finds the worker running, falling asleep again, or asleep.
#[test]
fn a_push_after_a_push() {
    model(|| {
        let (workers, _) = start(1);
        let tasks = [1, 2].map(|n| workers.handle().spawn(async move { n }));
        assert_eq!(tasks.map(|task| block_on(task).unwrap()), [1, 2]);
        end(workers);
    });
}

/// An unpark that was meant for nobody makes the worker rise by itself, while it may be woken as well.
#[test]
fn a_push_against_a_worker_that_rises_by_itself() {
    model(|| {
        let (workers, driver) = start(1);
        let stranger = loom::thread::spawn(move || driver.unpark());
        let task = workers.handle().spawn(async { 1 });
        assert_eq!(block_on(task).unwrap(), 1);
        stranger.join().unwrap();
        end(workers);
    });
}

/// One of two workers is in the driver, on its own parker, or keeps watch, when the task comes.
#[test]
fn a_push_against_two_workers() {
    bounded(2, || {
        let (workers, _) = start(2);
        let task = workers.handle().spawn(async { 1 });
        assert_eq!(block_on(task).unwrap(), 1);
        end(workers);
    });
}
