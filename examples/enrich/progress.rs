//! The progress bar: how far, how fast, how many look-ups are in flight.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{HumanCount, ProgressBar, ProgressFinish, ProgressState, ProgressStyle};

use crate::failure::{Context, Failure};

/// How many look-ups are in flight, and how many were at most.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauge(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// ORDERING: only ever Relaxed: numbers for people to look at, nothing is read because of them.
    now: AtomicUsize,
    /// ORDERING: only ever Relaxed, as `now`; it is read when the last look-up is over, on a thread that knows of that.
    peak: AtomicUsize,
}

impl Gauge {
    /// One more, until the guard is dropped.
    pub(crate) fn enter(&self) -> InFlight<'_> {
        let before = self.0.now.fetch_add(1, Ordering::Relaxed);
        self.0.peak.fetch_max(before + 1, Ordering::Relaxed);
        InFlight(self)
    }

    fn get(&self) -> usize {
        self.0.now.load(Ordering::Relaxed)
    }

    /// The most so far.
    pub(crate) fn peak(&self) -> usize {
        self.0.peak.load(Ordering::Relaxed)
    }
}

/// A look-up in flight.
pub(crate) struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A bar for so many rows, or a counter if nobody knows how many. It draws itself on standard error if that is a
/// terminal, and nowhere else.
pub(crate) fn bar(rows: Option<u64>, in_flight: Gauge) -> Result<ProgressBar, Failure> {
    const KNOWN: &str =
        "{bar:20} {human_pos}/{human_len} rows  {rate} rows/s  {in_flight} in flight";
    const UNKNOWN: &str = "{spinner} {human_pos} rows  {rate} rows/s  {in_flight} in flight";
    let (bar, template) = match rows {
        Some(rows) => (ProgressBar::new(rows), KNOWN),
        None => (ProgressBar::no_length(), UNKNOWN),
    };
    let style = ProgressStyle::with_template(template)
        .context(|| "cannot draw a progress bar".to_owned())?
        .with_key("rate", |state: &ProgressState, text: &mut dyn Write| {
            show(text, &HumanCount(state.per_sec() as u64));
        })
        .with_key(
            "in_flight",
            move |_: &ProgressState, text: &mut dyn Write| {
                show(text, &in_flight.get());
            },
        );
    bar.set_style(style);
    // Wherever the run ends, the bar makes room for what is said then.
    Ok(bar.with_finish(ProgressFinish::AndClear))
}

fn show(text: &mut dyn Write, value: &dyn Display) {
    // A bar that can't be drawn stops no flight.
    let _ = write!(text, "{value}");
}
