//! All that a stage needs from the executor it runs on: a place to run, and a clock; and a pipeline, a place to block.

use std::future::Future;
use std::time::Instant;

/// Runs a future as a task of its own.
///
/// A stage is such a task: its requests make progress whether or not its consumer polls. It ends when its input has
/// ended and its outputs are handed over, or soon after its consumer is dropped; nobody joins it.
///
/// The future does not panic, short of a [`Debug`](std::fmt::Debug), `Drop` or [`Timer`] of yours that does, or the
/// `Hash`, `Eq` or `Clone` of a key. An
/// executor that is shut down may drop the future at any time, even inside [`spawn`](Spawn::spawn): the consumer then
/// gets what was finished, followed by an error that says so.
///
/// # Examples
///
/// Any executor will do. Here is the plainest one: a thread for each task, and a thread for each sleep.
///
/// ```
#[doc = include_str!("../doc/threads.rs")]
/// # Threads.spawn(async {});
/// ```
pub trait Spawn {
    /// Starts `task` and returns at once. Dropping the task is the only permitted failure.
    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static;
}

/// Tells the time and waits for it. A stage looks at it once in each of its polls, and once more for each record if it has a
/// timeout.
///
/// A stage keeps one sleep however many requests are in flight, and none while nothing is, so a sleep need not be
/// cheap. It keeps a clone of its timer, so a timer is usually a handle. [`Spawn`] shows one for threads.
pub trait Timer: Clone + Send + 'static {
    /// What [`sleep_until`](Timer::sleep_until) returns. Dropping it cancels the sleep.
    type Sleep: Future<Output = ()> + Send + 'static;

    /// The time by the clock that `sleep_until` follows. It never goes back.
    fn now(&self) -> Instant;

    /// A future that is ready once `now()` is `deadline` or later; at once if that has passed.
    ///
    /// Timeouts are as precise as this is. A sleep that is ready too early costs a poll and ends no request.
    fn sleep_until(&self, deadline: Instant) -> Self::Sleep;
}

/// Runs what blocks where blocking harms no one: on a thread that no task waits for. Only pipelines ask, for their files.
///
/// Files have no readiness to wait for, so whoever reads one on a thread that runs tasks holds all of them up. A runtime
/// has threads for that already, and knows how many are good for it; so the work is handed to the runtime, as a
/// closure, a few hundred records at a time, and what uses the file needs to know no more of the runtime than this.
pub trait Offload {
    /// Runs `job` elsewhere, and returns at once. Dropping the job is the only permitted failure.
    fn offload<F>(&self, job: F)
    where
        F: FnOnce() + Send + 'static;
}
