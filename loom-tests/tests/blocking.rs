//! The pool for blocking closures: submitting against threads that are idle, that end, and against the pool's own end.
//!
//! Whatever the order: a job that was submitted is run or, when the pool is closed, cancelled; nobody waits for it forever,
//! and it is dropped once.
//!
//! twin: blocking-end-unlooked
//! twin: blocking-few-unrung
//! twin: blocking-end-unrung

#![cfg(loom)]

use loom::thread;
use peu_loom_tests::model;
use peu_scheduler::block_on;
use peu_scheduler::internals::{blocking_pool, close_blocking_pool};
use std::sync::Arc;
use std::time::Duration;

/// An idle thread may end at any moment.
const SHORT: Duration = Duration::ZERO;

/// An idle thread stays.
const FOREVER: Duration = Duration::MAX;

#[test]
fn a_job_against_a_thread_that_ends() {
    model(|| {
        let pool = blocking_pool(1, SHORT);
        for n in 0..2 {
            assert_eq!(block_on(pool.spawn(move || n)).unwrap(), n);
        }
        close_blocking_pool(&pool);
    });
}

/// One thread is idle and no more are allowed. Two jobs come at once: each submitter sees two jobs for one thread.
#[test]
fn two_jobs_for_an_idle_thread() {
    model(|| {
        let pool = blocking_pool(1, FOREVER);
        block_on(pool.spawn(|| ())).unwrap();
        let other = thread::spawn({
            let pool = pool.clone();
            move || block_on(pool.spawn(|| 1)).unwrap()
        });
        assert_eq!(block_on(pool.spawn(|| 2)).unwrap(), 2);
        assert_eq!(other.join().unwrap(), 1);
        close_blocking_pool(&pool);
    });
}

#[test]
fn a_job_against_the_end_of_the_pool() {
    model(|| {
        let pool = blocking_pool(1, SHORT);
        let token = Arc::new(());
        let submitter = thread::spawn({
            let (pool, token) = (pool.clone(), token.clone());
            move || {
                let job = pool.spawn(move || drop(token));
                block_on(job).is_ok_and(|()| true)
            }
        });
        close_blocking_pool(&pool);
        submitter.join().unwrap();
        assert_eq!(Arc::strong_count(&token), 1, "the job is dropped");
    });
}
