//! A set of tasks, taken in the order in which they end: their ends against who waits for one, and against being put in.
//!
//! Whatever the order: each result is returned once; who waits is woken when a task ends, also one that has ended while it was put
//! in; and nothing is left in memory.
//!
//! twin: set-end-unrung
//! twin: set-waiter-late
//! twin: set-insert-unlooked

#![cfg(loom)]

use loom::future::block_on;
use loom::thread;
use peu_loom_tests::model;
use peu_scheduler::internals::TestScheduler;
use peu_scheduler::task::JoinSet;

/// A thread that polls what is scheduled.
fn worker(scheduler: &TestScheduler) -> thread::JoinHandle<()> {
    let scheduler = scheduler.clone();
    thread::spawn(move || scheduler.run_all())
}

fn next(set: &mut JoinSet<usize>) -> Option<usize> {
    block_on(set.join_next()).map(|result| result.expect("no panic"))
}

#[test]
fn two_that_end_while_one_waits() {
    model(|| {
        let scheduler = TestScheduler::new();
        let mut set = JoinSet::new();
        for number in 1..=2 {
            set.insert(scheduler.spawn(async move { number }));
        }
        let worker = worker(&scheduler);
        assert_eq!(next(&mut set), Some(1));
        assert_eq!(next(&mut set), Some(2));
        assert_eq!(next(&mut set), None);
        worker.join().unwrap();
        assert_eq!(scheduler.holders(), 1, "the tasks were freed");
    });
}

#[test]
fn one_that_ends_while_it_is_put_in() {
    model(|| {
        let scheduler = TestScheduler::new();
        let task = scheduler.spawn(async { 1 });
        let worker = worker(&scheduler);
        let mut set = JoinSet::new();
        set.insert(task);
        assert_eq!(next(&mut set), Some(1));
        worker.join().unwrap();
        assert_eq!(scheduler.holders(), 1, "the task was freed");
    });
}

/// The place of the first is that of the second, and a late word of the first names it no more.
#[test]
fn a_place_that_is_used_again() {
    model(|| {
        let scheduler = TestScheduler::new();
        let tasks = [1, 2].map(|number| scheduler.spawn(async move { number }));
        let worker = worker(&scheduler);
        let mut set = JoinSet::new();
        for (task, number) in tasks.into_iter().zip(1..) {
            set.insert(task);
            assert_eq!(next(&mut set), Some(number));
        }
        assert!(set.is_empty());
        worker.join().unwrap();
        assert_eq!(scheduler.holders(), 1, "the tasks were freed");
    });
}

#[test]
fn a_set_that_is_dropped_while_one_ends() {
    model(|| {
        let scheduler = TestScheduler::new();
        let mut set = JoinSet::new();
        set.insert(scheduler.spawn(async { 1 }));
        let worker = worker(&scheduler);
        drop(set);
        worker.join().unwrap();
        scheduler.run_all();
        assert_eq!(scheduler.holders(), 1, "the task was freed");
    });
}
