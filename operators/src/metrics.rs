//! What a stage counts.

use crate::latency::Latencies;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

/// The counters of one stage, as they were when its task last paused.
///
/// At rest `accepted == in_flight + completed + skipped`, plus, after a failure or a cancellation, what that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Records taken from the input.
    pub accepted: u64,
    /// Requests that have no outcome yet, those that wait for another attempt included.
    pub in_flight: usize,
    /// Records that wait for their keys, and are not accepted yet: in key-ordered mode only.
    pub waiting: usize,
    /// Results that are finished and that the consumer has not taken, those waiting for their turn included. Of an `async_flat_map`, give or take
    /// the one whose elements the consumer is taking.
    pub queued: usize,
    /// Records that ended with an output, whether the function's, a timeout fallback's or the error policy's.
    pub completed: u64,
    /// Calls of the function, retries and hedges among them.
    pub attempts: u64,
    /// Calls of the function for records that it had been called for before.
    pub retries: u64,
    /// Second calls, made because the first took long.
    pub hedges: u64,
    /// Second calls whose answer came first.
    pub hedges_won: u64,
    /// Outcomes that would have been tried again, had the retry budget not been used up.
    pub over_budget: u64,
    /// Requests whose last attempt returned an error or panicked, whatever the error policy made of it.
    pub failed: u64,
    /// Records that were left out, by the error policy, dead letters among them, or by a timeout fallback.
    pub skipped: u64,
    /// Records that failed and were handed to whoever keeps them.
    pub dead_letters: u64,
    /// Requests that ran into the timeout, whatever the fallback made of it.
    pub timed_out: u64,
    /// Calls of the function that have no result yet.
    pub running: usize,
    /// How many of them a guard lets run at the same time, the strictest if there are several.
    pub limit: Option<usize>,
    /// Records that failed because a guard refused to make a call.
    pub refused: u64,
    /// The state of the circuit breaker; closed if there is none.
    pub circuit: Circuit,
    /// How often it opened.
    pub circuit_opened: u64,
}

/// The state of a [`CircuitBreaker`](crate::CircuitBreaker).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Circuit {
    /// Calls are made.
    #[default]
    Closed,
    /// No calls are made.
    Open,
    /// A few calls are made, to see whether the service is back.
    HalfOpen,
}

impl Metrics {
    /// Another guard bounds the calls that run.
    pub fn limit_to(&mut self, limit: usize) {
        self.limit = Some(self.limit.map_or(limit, |other| other.min(limit)));
    }
}

/// Reads a stage's [`Metrics`] from anywhere, while another task owns its outputs. Cheap to clone.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::{StreamExt as _, future::block_on, stream};
/// use peu_operators::{AsyncOptions, StreamExt as _};
/// use std::convert::Infallible;
///
/// let doubled = stream::iter(0..100).async_map(
///     &Threads,
///     "double",
///     |n: u64| async move { Ok::<_, Infallible>(2 * n) },
///     AsyncOptions::unordered().capacity(8),
/// );
/// let monitor = doubled.monitor();
/// assert_eq!(block_on(doubled.count()), 100);
/// assert_eq!(monitor.metrics().completed, 100);
/// assert_eq!(monitor.metrics().in_flight, 0);
/// ```
#[derive(Clone)]
pub struct Monitor(Arc<dyn Measured>);

impl Monitor {
    pub(crate) fn new(stage: Arc<dyn Measured>) -> Self {
        Self(stage)
    }

    /// The counters now. Costs one short lock.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.0.metrics()
    }

    /// How long requests took so far. Costs one short lock, and a copy of a kilobyte.
    #[must_use]
    pub fn latencies(&self) -> Latencies {
        self.0.latencies()
    }
}

impl Debug for Monitor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Monitor").field(&self.metrics()).finish()
    }
}

/// A stage as a [`Monitor`] sees it: without the type of its outputs.
pub(crate) trait Measured: Send + Sync {
    fn metrics(&self) -> Metrics;

    fn latencies(&self) -> Latencies;
}
