//! What an async sink counts, and tells whoever watches it.

use crate::failure::Recovery;
use crate::latency::{Latencies, Recent};
use crate::metrics::{Measured, Metrics, Monitor};
use crate::sync::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// The sink's own counts. They are told now and then, so that a record costs no lock.
pub(super) struct Counts {
    pub(super) metrics: Metrics,
    latencies: Recent,
    told: Arc<Told>,
}

/// What the sink told last.
struct Told(Mutex<(Metrics, Latencies)>);

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            metrics: Metrics::default(),
            latencies: Recent::default(),
            told: Arc::new(Told(Mutex::new((Metrics::default(), Latencies::new())))),
        }
    }

    pub(super) fn monitor(&self) -> Monitor {
        Monitor::new(Arc::<Told>::clone(&self.told))
    }

    /// A request is made, again for some of its records or not.
    pub(super) fn attempt(&mut self, is_retry: bool) {
        self.metrics.attempts += 1;
        self.metrics.retries += u64::from(is_retry);
    }

    /// A record is written, or has failed for good, so long after the sink took it.
    pub(super) fn outcome(&mut self, took: Duration) {
        self.latencies.add(took);
    }

    /// What became of a record that failed for good.
    pub(super) fn failure<T>(&mut self, recovery: &Recovery<T, ()>) {
        self.metrics.failed += 1;
        match recovery {
            Recovery::Fail(_) => {}
            Recovery::Output(()) => self.metrics.completed += 1,
            Recovery::Skip => self.metrics.skipped += 1,
            Recovery::DeadLetter => {
                self.metrics.skipped += 1;
                self.metrics.dead_letters += 1;
            }
        }
    }

    /// Tells all, and that so many records have no outcome, and so many requests no answer.
    pub(super) fn tell(&mut self, in_flight: usize, running: usize) {
        self.metrics.in_flight = in_flight;
        self.metrics.running = running;
        let mut told = self.told.0.lock();
        told.0 = self.metrics;
        self.latencies.move_to(&mut told.1);
    }
}

impl Measured for Told {
    fn metrics(&self) -> Metrics {
        self.0.lock().0
    }

    fn latencies(&self) -> Latencies {
        self.0.lock().1.clone()
    }
}
