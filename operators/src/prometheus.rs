//! The metrics of stages as Prometheus reads them.

use crate::metrics::{Circuit, Metrics, Monitor};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::time::Duration;

/// Collects the metrics of stages for a registry of `prometheus-client`, with a label `stage`.
///
/// Each scrape takes one short lock for each stage. The histogram has a bucket for each doubling of time from 64 µs to
/// 67 s.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::{StreamExt as _, future::block_on, stream};
/// use peu_operators::{AsyncOptions, StageCollector, StreamExt as _};
/// use prometheus_client::{encoding::text::encode, registry::Registry};
/// use std::convert::Infallible;
///
/// let doubled = stream::iter(0..100).async_map(
///     &Threads,
///     "double",
///     |n: u64| async move { Ok::<_, Infallible>(2 * n) },
///     AsyncOptions::unordered(),
/// );
/// let mut registry = Registry::default();
/// let stages = StageCollector::new([("double", doubled.monitor())]);
/// registry.register_collector(Box::new(stages));
///
/// assert_eq!(block_on(doubled.count()), 100);
/// let mut text = String::new();
/// encode(&mut text, &registry).unwrap();
/// assert!(text.contains(r#"peu_stage_completed_total{stage="double"} 100"#));
/// ```
#[derive(Debug)]
pub struct StageCollector(Vec<(String, Monitor)>);

impl StageCollector {
    /// Collects from these stages, by name.
    pub fn new<N: Into<String>>(stages: impl IntoIterator<Item = (N, Monitor)>) -> Self {
        let stages = stages.into_iter();
        Self(stages.map(|(name, stage)| (name.into(), stage)).collect())
    }
}

/// Name, help, value.
type Entry = (&'static str, &'static str, fn(&Metrics) -> u64);

/// What only grows.
const COUNTERS: &[Entry] = &[
    ("accepted", "Records taken from the input", |m| m.accepted),
    ("completed", "Records that ended with an output", |m| {
        m.completed
    }),
    ("attempts", "Calls of the function", |m| m.attempts),
    (
        "retries",
        "Calls for records that it had been called for before",
        |m| m.retries,
    ),
    ("hedges", "Second calls, because the first took long", |m| {
        m.hedges
    }),
    ("hedges_won", "Second calls whose answer came first", |m| {
        m.hedges_won
    }),
    (
        "over_budget",
        "Outcomes final because the retry budget was used up",
        |m| m.over_budget,
    ),
    ("failed", "Requests whose last attempt failed", |m| m.failed),
    ("skipped", "Records that were left out", |m| m.skipped),
    (
        "dead_letters",
        "Records handed to whoever keeps those that failed",
        |m| m.dead_letters,
    ),
    ("timed_out", "Requests that ran into the timeout", |m| {
        m.timed_out
    }),
    ("refused", "Records that a guard refused to call for", |m| {
        m.refused
    }),
    (
        "circuit_opened",
        "How often the circuit breaker opened",
        |m| m.circuit_opened,
    ),
];

/// What comes and goes.
const GAUGES: &[Entry] = &[
    ("in_flight", "Requests that have no outcome yet", |m| {
        m.in_flight as u64
    }),
    ("running", "Calls that have no result yet", |m| {
        m.running as u64
    }),
    ("waiting", "Records that wait for their keys", |m| {
        m.waiting as u64
    }),
    ("queued", "Results that the consumer has not taken", |m| {
        m.queued as u64
    }),
    (
        "limit",
        "How many calls a guard lets run, 0 for no limit",
        |m| m.limit.unwrap_or(0) as u64,
    ),
    (
        "circuit",
        "The circuit breaker: 0 closed, 1 half open, 2 open",
        |m| match m.circuit {
            Circuit::Closed => 0,
            Circuit::HalfOpen => 1,
            Circuit::Open => 2,
        },
    ),
];

/// The doublings of time that the histogram shows; what is below the first or above the last is rare or hopeless.
const SHORTEST: Duration = Duration::from_micros(64);
const LONGEST: Duration = Duration::from_secs(68);

impl Collector for StageCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stages = self.0.iter();
        let metrics: Vec<_> = stages
            .map(|(name, stage)| (name, stage.metrics()))
            .collect();
        for (name, help, value) in COUNTERS {
            let name = format!("peu_stage_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            for (stage, metrics) in &metrics {
                let labels = [("stage", stage.as_str())];
                ConstCounter::new(value(metrics)).encode(family.encode_family(&labels)?)?;
            }
        }
        for (name, help, value) in GAUGES {
            let name = format!("peu_stage_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
            for (stage, metrics) in &metrics {
                let labels = [("stage", stage.as_str())];
                ConstGauge::new(value(metrics)).encode(family.encode_family(&labels)?)?;
            }
        }
        self.encode_latencies(&mut encoder)
    }
}

impl StageCollector {
    fn encode_latencies(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let name = "peu_stage_latency_seconds";
        let help = "From the acceptance of a record to its outcome";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (stage, monitor) in &self.0 {
            let latencies = monitor.latencies();
            let (mut buckets, mut below) = (Vec::new(), 0);
            for (end, count) in latencies.doublings() {
                below += count;
                if (SHORTEST..LONGEST).contains(&end) {
                    buckets.push((end.as_secs_f64(), std::mem::take(&mut below)));
                }
            }
            buckets.push((f64::MAX, below));
            let labels = [("stage", stage.as_str())];
            let (sum, count) = (latencies.sum().as_secs_f64(), latencies.count());
            let mut family = family.encode_family(&labels)?;
            family.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}
