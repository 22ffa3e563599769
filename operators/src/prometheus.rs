//! Metrics as Prometheus reads them.

use crate::batch::{BatchMetrics, Batcher};
#[cfg(feature = "cache")]
use crate::cache::{Cache, CacheMetrics};
#[cfg(feature = "pipeline")]
use crate::element::EventTime;
use crate::metrics::{Circuit, Metrics, Monitor};
#[cfg(feature = "pipeline")]
use crate::pipeline::{OperatorMetrics, OperatorMonitor};
use crate::table::{Table, TableMetrics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt::{self, Debug, Formatter};
use std::hash::Hash;
use std::time::Duration;

/// Collects the metrics of stages, other operators of pipelines, caches, batchers and tables for a registry of `prometheus-client`,
/// each with its name as a label: `peu_stage_…{stage="…"}`, `peu_operator_…{operator="…"}`, `peu_cache_…{cache="…"}`,
/// `peu_batcher_…{batcher="…"}`, `peu_table_…{table="…"}`.
///
/// It keeps what it collects from alive. Each scrape takes a short lock for each batcher and table, and two for each stage. The histogram of
/// latencies has a bucket for each doubling of time from 64 µs to 67 s.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::{StreamExt as _, future::block_on, stream};
/// use peu_operators::{AsyncOptions, MetricsCollector, StreamExt as _};
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
/// // Of a job: `.stages(running.monitors()).operators(running.operators())`.
/// let metrics = MetricsCollector::new().stages(&[("double", doubled.monitor())]);
/// registry.register_collector(Box::new(metrics));
///
/// assert_eq!(block_on(doubled.count()), 100);
/// let mut text = String::new();
/// encode(&mut text, &registry).unwrap();
/// assert!(text.contains(r#"peu_stage_completed_total{stage="double"} 100"#));
/// ```
#[derive(Default)]
pub struct MetricsCollector {
    stages: Vec<(String, Monitor)>,
    #[cfg(feature = "pipeline")]
    operators: Vec<(String, OperatorMonitor)>,
    #[cfg(feature = "cache")]
    caches: Read<CacheMetrics>,
    batchers: Read<BatchMetrics>,
    tables: Read<TableMetrics>,
}

/// Name, and the metrics now.
type Read<M> = Vec<(String, Box<dyn Fn() -> M + Send + Sync>)>;

impl MetricsCollector {
    /// One that collects from nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Collects from these stages, by name.
    #[must_use]
    pub fn stages<N: AsRef<str>>(mut self, stages: &[(N, Monitor)]) -> Self {
        let named = |(name, stage): &(N, Monitor)| (name.as_ref().to_owned(), stage.clone());
        self.stages.extend(stages.iter().map(named));
        self
    }

    /// Collects from these operators of a pipeline, by name. Which counters mean what of which operator is told at [`OperatorMetrics`]; a
    /// watermark is in seconds, and not there before the first has come.
    #[cfg(feature = "pipeline")]
    #[must_use]
    pub fn operators<N: AsRef<str>>(mut self, operators: &[(N, OperatorMonitor)]) -> Self {
        let named = |(name, one): &(N, OperatorMonitor)| (name.as_ref().to_owned(), one.clone());
        self.operators.extend(operators.iter().map(named));
        self
    }

    /// Collects from this cache.
    #[cfg(feature = "cache")]
    #[must_use]
    pub fn cache<K, V, E>(mut self, name: impl Into<String>, cache: &Cache<K, V, E>) -> Self
    where
        K: Hash + Eq + Clone + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let cache = cache.clone();
        let read = move || cache.metrics();
        self.caches.push((name.into(), Box::new(read)));
        self
    }

    /// Collects from this batcher.
    #[must_use]
    pub fn batcher<T, Out, E>(
        mut self,
        name: impl Into<String>,
        batcher: &Batcher<T, Out, E>,
    ) -> Self
    where
        T: Send + 'static,
        Out: Clone + Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let batcher = batcher.clone();
        let read = move || batcher.metrics();
        self.batchers.push((name.into(), Box::new(read)));
        self
    }

    /// Collects from this table.
    #[must_use]
    pub fn table<K, V>(mut self, name: impl Into<String>, table: &Table<K, V>) -> Self
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Send + Sync + 'static,
    {
        let table = table.clone();
        let read = move || table.metrics();
        self.tables.push((name.into(), Box::new(read)));
        self
    }
}

impl Debug for MetricsCollector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsCollector")
            .field("stages", &self.stages)
            .finish_non_exhaustive()
    }
}

/// Name, help, value.
type Entry<M, N = u64> = (&'static str, &'static str, fn(&M) -> N);

/// What only grows.
const COUNTERS: &[Entry<Metrics>] = &[
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
const GAUGES: &[Entry<Metrics>] = &[
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

#[cfg(feature = "pipeline")]
const OPERATOR_COUNTERS: &[Entry<OperatorMetrics>] = &[
    ("records_in", "Records that it was given", |m| m.records_in),
    ("records_out", "Records that it gave", |m| m.records_out),
    ("late_records", "Records that came too late", |m| {
        m.late_records
    }),
];

#[cfg(feature = "pipeline")]
const OPERATOR_GAUGES: &[Entry<OperatorMetrics>] =
    &[("held", "What it keeps for records to come", |m| {
        m.held as u64
    })];

#[cfg(feature = "pipeline")]
const OPERATOR_WATERMARKS: &[Entry<EventTime, f64>] = &[(
    "watermark_seconds",
    "The last watermark",
    // What is lost of times that far away is less than anyone looks at.
    |watermark| watermark.as_millis() as f64 / 1_000.0,
)];

#[cfg(feature = "cache")]
const CACHE_COUNTERS: &[Entry<CacheMetrics>] = &[
    ("hits", "Look-ups that found a fresh entry", |m| m.hits),
    ("misses", "Look-ups that did not", |m| m.misses),
    ("loads", "Calls of the loader", |m| m.loads),
    ("failures", "Loads that returned an error", |m| m.failures),
    (
        "stale",
        "Loads that failed and were answered with an entry that had expired",
        |m| m.stale,
    ),
    (
        "refreshes",
        "Loads that were begun ahead of the entry's end",
        |m| m.refreshes,
    ),
];

#[cfg(feature = "cache")]
const CACHE_TIMES: &[Entry<CacheMetrics, f64>] =
    &[("load_seconds", "How long all loads took together", |m| {
        m.load_time.as_secs_f64()
    })];

#[cfg(feature = "cache")]
const CACHE_GAUGES: &[Entry<CacheMetrics>] = &[(
    "entries",
    "Entries, expired ones that are still there included",
    |m| m.entries as u64,
)];

const BATCHER_COUNTERS: &[Entry<BatchMetrics>] = &[
    ("calls", "Calls of the function", |m| m.calls),
    (
        "records",
        "Records that they were given, equal ones once",
        |m| m.records,
    ),
];

const TABLE_COUNTERS: &[Entry<TableMetrics>] = &[
    ("loads", "Tables that were loaded", |m| m.loads),
    (
        "failures",
        "Loads that failed, so that the old table is kept",
        |m| m.failures,
    ),
];

const TABLE_GAUGES: &[Entry<TableMetrics>] =
    &[("entries", "Entries of the table", |m| m.entries as u64)];

/// The doublings of time that the histogram shows; what is below the first or above the last is rare or hopeless.
const SHORTEST: Duration = Duration::from_micros(64);
const LONGEST: Duration = Duration::from_secs(68);

impl Collector for MetricsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stages = self.stages.iter();
        let metrics = stages.map(|(name, stage)| (name.as_str(), stage.metrics()));
        let stages = Family::new("stage", metrics.collect());
        stages.encode(&mut encoder, COUNTERS, ConstCounter::new)?;
        stages.encode(&mut encoder, GAUGES, ConstGauge::new)?;
        self.encode_latencies(&mut encoder)?;

        #[cfg(feature = "pipeline")]
        {
            let operators = self.operators.iter();
            let operators = operators.map(|(name, one)| (name.as_str(), one.metrics()));
            let operators = Family::new("operator", operators.collect());
            operators.encode(&mut encoder, OPERATOR_COUNTERS, ConstCounter::new)?;
            operators.encode(&mut encoder, OPERATOR_GAUGES, ConstGauge::new)?;
            let watermarks = operators.members.iter();
            let watermarks = watermarks.filter_map(|(name, m)| Some((*name, m.watermark?)));
            let watermarks = Family::new("operator", watermarks.collect());
            watermarks.encode(&mut encoder, OPERATOR_WATERMARKS, ConstGauge::new)?;
        }

        #[cfg(feature = "cache")]
        {
            let caches = Family::new("cache", read(&self.caches));
            caches.encode(&mut encoder, CACHE_COUNTERS, ConstCounter::new)?;
            caches.encode(&mut encoder, CACHE_TIMES, ConstCounter::new)?;
            caches.encode(&mut encoder, CACHE_GAUGES, ConstGauge::new)?;
        }

        let batchers = Family::new("batcher", read(&self.batchers));
        batchers.encode(&mut encoder, BATCHER_COUNTERS, ConstCounter::new)?;

        let tables = Family::new("table", read(&self.tables));
        tables.encode(&mut encoder, TABLE_COUNTERS, ConstCounter::new)?;
        tables.encode(&mut encoder, TABLE_GAUGES, ConstGauge::new)
    }
}

fn read<M>(from: &Read<M>) -> Vec<(&str, M)> {
    let from = from.iter();
    from.map(|(name, read)| (name.as_str(), read())).collect()
}

/// What there is of a kind, by name, at the time of a scrape.
struct Family<'a, M> {
    kind: &'static str,
    members: Vec<(&'a str, M)>,
}

impl<'a, M> Family<'a, M> {
    fn new(kind: &'static str, members: Vec<(&'a str, M)>) -> Self {
        Self { kind, members }
    }

    fn encode<N, C: EncodeMetric>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        entries: &[Entry<M, N>],
        metric: fn(N) -> C,
    ) -> Result<(), fmt::Error> {
        let Some((_, first)) = self.members.first() else {
            return Ok(());
        };
        for (name, help, value) in entries {
            let name = format!("peu_{}_{name}", self.kind);
            let kind = metric(value(first)).metric_type();
            let mut family = encoder.encode_descriptor(&name, help, None, kind)?;
            for (member, metrics) in &self.members {
                let labels = [(self.kind, *member)];
                metric(value(metrics)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl MetricsCollector {
    fn encode_latencies(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if self.stages.is_empty() {
            return Ok(());
        }
        let name = "peu_stage_latency_seconds";
        let help = "From the acceptance of a record to its outcome";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (stage, monitor) in &self.stages {
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
