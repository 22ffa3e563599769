//! The pool for blocking closures: submitting against threads that are idle, that end, and against the pool's own end.
//!
//! Whatever the order: a job that was submitted is run or, when the pool is closed, cancelled; nobody waits for it forever,
//! and it is dropped once. A mandatory one that was taken has run when the end is over.
//!
//! twin: blocking-end-unlooked
//! twin: blocking-few-unrung
//! twin: blocking-end-unrung
//! twin: blocking-end-mandatory-unrun
//! twin: blocking-end-queue-unlooked

#![cfg(loom)]

use loom::thread;
use peu_loom_tests::model;
use peu_scheduler::block_on;
use peu_scheduler::internals::{blocking_pool, close_blocking_pool};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// The only thread has a job to do before it.
#[test]
fn a_mandatory_job_in_the_queue_at_the_end_of_the_pool() {
    model(|| {
        let pool = blocking_pool(1, SHORT);
        drop(pool.spawn(|| ()));
        let done = Arc::new(AtomicBool::new(false));
        let job = done.clone();
        pool.spawn_mandatory(Box::new(move || job.store(true, Ordering::SeqCst)));
        close_blocking_pool(&pool);
        assert!(done.load(Ordering::SeqCst), "it was taken and not done");
    });
}

/// It is run before the end is over, or refused.
#[test]
fn a_mandatory_job_against_the_end_of_the_pool() {
    model(|| {
        let pool = blocking_pool(1, SHORT);
        let over = Arc::new(AtomicBool::new(false));
        let in_time = Arc::new(AtomicBool::new(false));
        let submitter = thread::spawn({
            let (pool, over, in_time) = (pool.clone(), over.clone(), in_time.clone());
            let job = move || in_time.store(!over.load(Ordering::SeqCst), Ordering::SeqCst);
            move || pool.spawn_mandatory(Box::new(job))
        });
        close_blocking_pool(&pool);
        over.store(true, Ordering::SeqCst);
        let is_taken = submitter.join().unwrap();
        assert_eq!(is_taken, in_time.load(Ordering::SeqCst), "taken, not done");
    });
}
