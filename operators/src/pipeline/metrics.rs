//! What the operators of a pipeline count. Async stages count more, and elsewhere: [`Metrics`](crate::Metrics).
//!
//! An operator's counters are written by the operator alone, which is in one task, and read by anyone. So to count is to load and to store,
//! without a locked instruction: 4 instructions of a record's 206 from source to sink (callgrind around the program `records` of `benches/`).
//! And what is read is each number as it was a moment ago, not all of them at one moment.

use crate::element::EventTime;
use crate::sync::{AtomicU64, Ordering};
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

/// The counters of an operator that is no async stage: a source, event times, windows, sessions, an interval join, a reduce, or a sink.
///
/// Records are counted from the beginning of the run. What is held, and the watermarks of operators that keep them, are those of the checkpoint in
/// a job that goes on from one. In brackets are the names that Flink has for the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperatorMetrics {
    /// Records that it was given (`numRecordsIn`); none of a source. Those of `event_time` are counted 64 at a time, or when none is there.
    pub records_in: u64,
    /// Records that it gave to the operator behind it (`numRecordsOut`): of windows and sessions those that were complete, of a join pairs. None
    /// of a sink.
    pub records_out: u64,
    /// Records that came too late for all that they could have been part of (`numLateRecordsDropped`), and were given to a function
    /// or a side output.
    pub late_records: u64,
    /// What it keeps for records to come: one for each key of each open window, each open session, each record that may still join, each
    /// key of a reduce.
    pub held: usize,
    /// The last watermark that came (`currentInputWatermark`), or, of `event_time`, that it sent (`currentOutputWatermark`).
    /// None: none so far. Sources have none.
    pub watermark: Option<EventTime>,
}

/// Reads the [`OperatorMetrics`] of one operator from anywhere, while the job runs and after it. Cheap to clone.
///
/// # Examples
///
/// What came too late for windows of an hour:
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::EventTime;
/// use peu_operators::pipeline::{Pipeline, Watermarks, Windows, collect, iterate};
/// use std::time::Duration;
///
/// let (sink, _counts) = collect();
/// let hour = Windows::tumbling(Duration::from_secs(3_600));
/// let job = Pipeline::source(iterate((0..200).chain([10])))
///     .event_time(|minute| EventTime::from_millis(minute * 60_000), Watermarks::ascending().every(Duration::ZERO))
///     .key_by(|minute| minute % 2)
///     .aggregate(hour, |count: &mut u32, _: i64| *count += 1, |_late| {})
///     .sink(sink);
/// let running = block_on(job.start(&Threads))?;
/// let (name, windows) = running.operators()[2].clone();
/// assert_eq!(&*name, "windows");
/// block_on(running)?;
///
/// let metrics = windows.metrics();
/// assert_eq!((metrics.records_in, metrics.records_out, metrics.late_records), (201, 8, 1));
/// assert_eq!((metrics.held, metrics.watermark), (0, Some(EventTime::MAX)));
/// # Ok::<(), peu_operators::pipeline::PipelineError>(())
/// ```
#[derive(Clone)]
pub struct OperatorMonitor(Arc<Counters>);

impl OperatorMonitor {
    /// The counters now. Costs five loads.
    #[must_use]
    pub fn metrics(&self) -> OperatorMetrics {
        let Counters {
            records_in,
            records_out,
            late_records,
            held,
            watermark,
        } = &*self.0;
        let watermark = EventTime::from_millis(read(watermark).cast_signed());
        OperatorMetrics {
            records_in: read(records_in),
            records_out: read(records_out),
            late_records: read(late_records),
            // It was one before.
            held: read(held) as usize,
            watermark: (watermark != EventTime::MIN).then_some(watermark),
        }
    }
}

impl Debug for OperatorMonitor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OperatorMonitor")
            .field(&self.metrics())
            .finish()
    }
}

/// Relaxed, all of them: counters, each written by one.
struct Counters {
    records_in: AtomicU64,
    records_out: AtomicU64,
    late_records: AtomicU64,
    held: AtomicU64,
    /// In milliseconds. `EventTime::MIN`: none.
    watermark: AtomicU64,
}

/// An operator's end of its counters. There is one of each.
pub(super) struct Tally(Arc<Counters>);

impl Tally {
    pub(super) fn new() -> Self {
        Self(Arc::new(Counters {
            records_in: AtomicU64::new(0),
            records_out: AtomicU64::new(0),
            late_records: AtomicU64::new(0),
            held: AtomicU64::new(0),
            watermark: AtomicU64::new(EventTime::MIN.as_millis().cast_unsigned()),
        }))
    }

    pub(super) fn monitor(&self) -> OperatorMonitor {
        OperatorMonitor(Arc::clone(&self.0))
    }

    #[inline]
    pub(super) fn records_in(&mut self, count: u64) {
        add(&self.0.records_in, count);
    }

    #[inline]
    pub(super) fn record_out(&mut self) {
        add(&self.0.records_out, 1);
    }

    /// Records go through.
    #[inline]
    pub(super) fn through(&mut self, count: u64) {
        self.records_in(count);
        add(&self.0.records_out, count);
    }

    pub(super) fn late_record(&mut self) {
        add(&self.0.late_records, 1);
    }

    #[inline]
    pub(super) fn holds(&mut self, held: usize) {
        write(&self.0.held, held as u64);
    }

    #[inline]
    pub(super) fn watermark(&mut self, watermark: EventTime) {
        write(&self.0.watermark, watermark.as_millis().cast_unsigned());
    }
}

/// Counts, for the only one who does.
#[inline]
fn add(counter: &AtomicU64, by: u64) {
    write(counter, read(counter) + by);
}

#[inline]
fn write(counter: &AtomicU64, value: u64) {
    // ORDERING: Relaxed, as at the struct.
    counter.store(value, Ordering::Relaxed);
}

#[inline]
fn read(counter: &AtomicU64) -> u64 {
    // ORDERING: Relaxed, as at the struct.
    counter.load(Ordering::Relaxed)
}
