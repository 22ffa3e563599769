//! The end of a scheduler against who still spawns, wakes and runs.
//!
//! Whatever the order: a task that was spawned runs or is cancelled; its future is dropped; and nothing keeps the scheduler's
//! memory, neither a task in a queue that nobody looks at any more nor a worker that sleeps through the end.
//!
//! twin: shutdown-push-unseen
//! twin: shutdown-worker-undrained
//! twin: shutdown-close-no-fence
//! twin: shutdown-local-push-unseen
//! twin: shutdown-local-close-no-fence

#![cfg(loom)]

use loom::thread;
use peu_loom_tests::driver::ModelDriver;
use peu_loom_tests::model;
use peu_scheduler::internals::Workers;
use peu_scheduler::{Builder, LocalScheduler, block_on};
use std::sync::Arc;

/// The driver, and a token that a future holds: whoever keeps the scheduler or the future keeps one of them.
struct Setting {
    driver: Arc<ModelDriver>,
    token: Arc<()>,
}

impl Setting {
    fn new() -> Setting {
        Setting {
            driver: Arc::new(ModelDriver::new()),
            token: Arc::new(()),
        }
    }

    fn start(&self, workers: usize) -> Workers {
        Workers::start(workers, self.driver.clone())
    }

    fn end(self) {
        assert_eq!(Arc::strong_count(&self.token), 1, "a future is left");
        let left = Arc::strong_count(&self.driver);
        assert_eq!(left, 1, "somebody keeps the scheduler");
    }
}

#[test]
fn a_spawn_against_the_end() {
    model(|| {
        let setting = Setting::new();
        let workers = setting.start(1);
        let spawner = thread::spawn({
            let (handle, token) = (workers.handle(), setting.token.clone());
            move || block_on(handle.spawn(async move { drop(token) }))
        });
        workers.shutdown();
        // Run or cancelled, but not waited for in vain.
        drop(spawner.join().unwrap());
        setting.end();
    });
}

/// A task spawns another, which then waits in the worker's own queue, at any moment of the end.
#[test]
fn a_task_in_a_worker_s_queue_against_the_end() {
    model(|| {
        let setting = Setting::new();
        let workers = setting.start(1);
        let (handle, token) = (workers.handle(), setting.token.clone());
        drop(workers.handle().spawn(async move {
            drop(handle.spawn(async move { drop(token) }));
        }));
        workers.shutdown();
        setting.end();
    });
}

/// A task that rests for good, and one that waits behind it, at any moment of the end.
#[test]
fn a_task_that_comes_to_rest_against_the_end() {
    model(|| {
        let setting = Setting::new();
        let workers = setting.start(1);
        let (handle, token) = (workers.handle(), setting.token.clone());
        drop(handle.spawn(async move {
            let _held = token;
            std::future::pending::<()>().await;
        }));
        drop(handle);
        workers.shutdown();
        setting.end();
    });
}

/// Two workers, asleep in the driver and beside it, awake, or falling asleep: the end reaches both.
#[test]
fn two_sleepers_against_the_end() {
    model(|| {
        let setting = Setting::new();
        setting.start(2).shutdown();
        setting.end();
    });
}

#[test]
fn a_spawn_against_the_end_of_a_local_scheduler() {
    model(|| {
        let setting = Setting::new();
        let pool = Builder::new().blocking_pool().unwrap();
        let local = LocalScheduler::new(setting.driver.clone(), pool);
        let spawner = thread::spawn({
            let (handle, token) = (local.handle(), setting.token.clone());
            move || handle.spawn(async move { drop(token) })
        });
        drop(local);
        let task = spawner.join().unwrap();
        assert!(block_on(task).is_err(), "nobody runs it");
        setting.end();
    });
}
