//! What the workers count. Each counter has one writer, the worker itself, so that counting is a plain store to a
//! line of its own.

use crate::sync::{AtomicCount, Ordering};

/// A counter that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicCount);

impl Counter {
    pub(crate) fn add(&self, n: usize) {
        // ORDERING: Relaxed: one writer, and readers want a number, not an order. No read-modify-write, for there is
        // nobody to race with.
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    pub(crate) fn set(&self, n: usize) {
        // ORDERING: Relaxed, as in `add`.
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        // ORDERING: Relaxed, as in `add`.
        self.0.load(Ordering::Relaxed)
    }
}

/// One worker's counters, on cache lines of its own.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) polls: Counter,
    pub(crate) turns: Counter,
    pub(crate) steals: Counter,
    pub(crate) sleeps: Counter,
    pub(crate) ticks: Counter,
    pub(crate) rescues: Counter,
    pub(crate) wakes: Counter,
    /// When this worker last came back from the driver, in microseconds since the scheduler was made.
    pub(crate) turned_at: Counter,
}

/// What the workers of a scheduler have done so far, added up. The counters wrap around.
///
/// # Example
///
/// ```
/// # use peu_scheduler::WorkerMetrics;
/// fn polls_between(before: WorkerMetrics, after: WorkerMetrics) -> usize {
///     after.polls.wrapping_sub(before.polls)
/// }
/// # assert_eq!(polls_between(WorkerMetrics::default(), WorkerMetrics::default()), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// Polls of tasks.
    pub polls: usize,
    /// Turns of the driver.
    pub turns: usize,
    /// Successful steals from a sibling's queue; each takes up to half of it.
    pub steals: usize,
    /// Times that a worker went to sleep, in the driver or on its parker.
    pub sleeps: usize,
    /// Looks of the watch at the others. 0 per second once a runtime without work has settled.
    pub ticks: usize,
    /// Times that the watch took over a driver or a queue that had waited too long.
    pub rescues: usize,
    /// Wakes of siblings that workers paid for.
    pub wakes: usize,
}

impl WorkerMetrics {
    pub(crate) fn sum<'a>(stats: impl Iterator<Item = &'a Stats>) -> Self {
        stats.fold(WorkerMetrics::default(), |sum, s| WorkerMetrics {
            polls: sum.polls.wrapping_add(s.polls.get()),
            turns: sum.turns.wrapping_add(s.turns.get()),
            steals: sum.steals.wrapping_add(s.steals.get()),
            sleeps: sum.sleeps.wrapping_add(s.sleeps.get()),
            ticks: sum.ticks.wrapping_add(s.ticks.get()),
            rescues: sum.rescues.wrapping_add(s.rescues.get()),
            wakes: sum.wakes.wrapping_add(s.wakes.get()),
        })
    }
}
