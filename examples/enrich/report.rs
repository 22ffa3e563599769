//! What a run came to: counted while it goes, told at its end, in words or as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use crate::clean::Rule;
use crate::cli::{Mode, Order};
use crate::failure::{Context, Failure};
use crate::join::{Kind, Lookup, Outcome};
use crate::tables::Table;

/// Latencies are kept to three digits, from a nanosecond to an hour: nobody waits longer, and who did counts as that.
const DIGITS: u8 = 3;
const LONGEST: Duration = Duration::from_secs(3600);

/// Where the rows of a run are counted, and shown on its bar. Clones are the same.
#[derive(Clone)]
pub(crate) struct Totals {
    tally: Arc<Mutex<Tally>>,
    bar: ProgressBar,
    started: Instant,
}

/// The counters of a run under way.
struct Tally {
    counts: Counts,
    /// Rows that were done when the run began: by an earlier one.
    before: u64,
    /// In nanoseconds, one value a look-up of this run.
    latency: Histogram<u64>,
}

/// How many rows became what. A checkpoint holds it.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Counts {
    records: u64,
    cancelled: u64,
    dead_letters: BTreeMap<Rule, u64>,
    lookups: BTreeMap<Table, Lookups>,
}

/// How often a table was asked, and how often it had no such row.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
struct Lookups {
    asked: u64,
    missed: u64,
}

impl Totals {
    /// The run begins.
    pub(crate) fn new(bar: ProgressBar) -> Result<Totals, Failure> {
        let latency = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, DIGITS);
        let lookups = Table::ALL.map(|table| (table, Lookups::default()));
        let tally = Tally {
            counts: Counts {
                lookups: lookups.into(),
                ..Counts::default()
            },
            before: 0,
            latency: latency.context(|| "cannot make a histogram".to_owned())?,
        };
        Ok(Totals {
            tally: Arc::new(Mutex::new(tally)),
            bar,
            started: Instant::now(),
        })
    }

    /// The run goes on where an earlier one had come to this.
    pub(crate) fn go_on_from(&self, counts: Counts) {
        let mut tally = self.lock();
        tally.before = counts.rows();
        tally.counts = counts;
        self.bar.set_position(tally.before);
        // The rate on the bar is that of this run.
        self.bar.reset_eta();
    }

    /// Counts what became of a row.
    pub(crate) fn count(&self, outcome: &Outcome) {
        self.bar.inc(1);
        self.lock().count(&outcome.kind);
    }

    /// What the rows have come to so far.
    pub(crate) fn counts(&self) -> Counts {
        self.lock().counts.clone()
    }

    /// Tells the user something while the bar is there.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("enrich: {line}"));
    }

    /// The end of the run.
    pub(crate) fn report(&self, run: Run) -> Report {
        self.bar.finish_and_clear();
        self.lock().report(run, self.started.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        // Nothing panics under this lock; if something did, numbers would be whole all the same.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Those that are done.
    pub(crate) fn rows(&self) -> u64 {
        self.records + self.dead_letters.values().sum::<u64>()
    }
}

impl Tally {
    fn count(&mut self, kind: &Kind) {
        match kind {
            Kind::Record {
                is_cancelled,
                lookups,
            } => {
                self.counts.records += 1;
                self.counts.cancelled += u64::from(*is_cancelled);
                lookups.iter().for_each(|lookup| self.count_lookup(lookup));
            }
            Kind::DeadLetter(rule) => *self.counts.dead_letters.entry(*rule).or_default() += 1,
        }
    }

    fn count_lookup(&mut self, lookup: &Lookup) {
        let table = self.counts.lookups.entry(lookup.table).or_default();
        table.asked += 1;
        table.missed += u64::from(!lookup.found);
        self.latency
            .saturating_record(lookup.took.as_nanos() as u64);
    }

    fn report(&self, run: Run, wall: Duration) -> Report {
        let counts = self.counts.clone();
        let rows = counts.rows();
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        let seconds = wall.as_secs_f64();
        Report {
            run,
            rows,
            rows_before: self.before,
            records: counts.records,
            cancelled: counts.cancelled,
            dead_letters: rows - counts.records,
            dead_letters_by_rule: counts.dead_letters,
            lookups: counts.lookups,
            wall_seconds: seconds,
            records_per_second: (rows - self.before) as f64 / seconds.max(f64::MIN_POSITIVE),
            lookup_latency_us: Latency {
                p50: microseconds(self.latency.value_at_quantile(0.5)),
                p99: microseconds(self.latency.value_at_quantile(0.99)),
                p99_9: microseconds(self.latency.value_at_quantile(0.999)),
                max: microseconds(self.latency.max()),
            },
        }
    }
}

/// How the job was run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) mode: Mode,
    pub(crate) order: Order,
    pub(crate) server: String,
    pub(crate) delay_us: u128,
    /// The most look-ups at once.
    pub(crate) peak_in_flight: usize,
    /// What the event loop's stage and cache have counted.
    #[serde(flatten)]
    pub(crate) effort: Effort,
    pub(crate) output: PathBuf,
    pub(crate) dead_letters_output: PathBuf,
}

/// What was done again, and what was spared.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Effort {
    /// Rows that were looked up once more, for a connection was lost, or the server was not ready.
    pub(crate) retries: u64,
    /// Look-ups that the cache answered, or that shared the request of another.
    pub(crate) spared: u64,
}

/// What a run came to. If it went on where an earlier one had been killed, what both came to together.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    run: Run,
    rows: u64,
    /// Of the rows, those that an earlier run had done.
    rows_before: u64,
    records: u64,
    /// Of the records, those of flights that never departed.
    cancelled: u64,
    dead_letters: u64,
    dead_letters_by_rule: BTreeMap<Rule, u64>,
    lookups: BTreeMap<Table, Lookups>,
    /// From the first row read to the output under its name.
    wall_seconds: f64,
    /// Rows of this run, whether they became records or dead letters, by wall time.
    records_per_second: f64,
    lookup_latency_us: Latency,
}

/// From a request to its answer, in microseconds.
#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, number: &dyn Display, what: &dyn Display| {
            writeln!(f, "{name:<13}{number:>10} {what}")
        };
        line("rows", &self.rows, &"read")?;
        if self.rows_before > 0 {
            line("  before", &self.rows_before, &"done by an earlier run")?;
        }
        line("records", &self.records, &self.run.output.display())?;
        line(
            "  cancelled",
            &self.cancelled,
            &"flights that never departed",
        )?;
        line(
            "dead letters",
            &self.dead_letters,
            &self.run.dead_letters_output.display(),
        )?;
        for (rule, rows) in &self.dead_letters_by_rule {
            line(&format!("  {}", rule.name()), rows, &"broke this rule")?;
        }
        for (table, lookups) in &self.lookups {
            let missed = format!("look-ups, {} missed", lookups.missed);
            line(table.name(), &lookups.asked, &missed)?;
        }
        let Effort { retries, spared } = self.run.effort;
        if spared > 0 {
            line("spared", &spared, &"look-ups, by the cache")?;
        }
        if retries > 0 {
            line("again", &retries, &"rows looked up once more")?;
        }
        let at_once = &"look-ups in flight, at most";
        line("at once", &self.run.peak_in_flight, at_once)?;
        let Latency {
            p50,
            p99,
            p99_9,
            max,
        } = self.lookup_latency_us;
        let rest = format!("us at p50, {p99:.0} at p99, {p99_9:.0} at p99.9, {max:.0} at most");
        line("latency", &format_args!("{p50:.0}"), &rest)?;
        line("wall time", &format_args!("{:.3}", self.wall_seconds), &"s")?;
        write!(
            f,
            "{:<13}{:>10.0}  records/s",
            "rate", self.records_per_second
        )
    }
}
