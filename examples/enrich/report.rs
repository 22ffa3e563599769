//! What a run came to: counted while it goes, told at its end, in words or as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clean::{Rule, Status};
use crate::cli::{Mode, Order};
use crate::failure::{Context, Failure};
use crate::join::{Lookup, Outcome};
use crate::tables::Table;

/// Latencies are kept to three digits, from a nanosecond to an hour: nobody waits longer, and who did counts as that.
const DIGITS: u8 = 3;
const LONGEST: Duration = Duration::from_secs(3600);

/// The counters of a run under way.
pub(crate) struct Tally {
    records: u64,
    cancelled: u64,
    dead_letters: BTreeMap<Rule, u64>,
    lookups: BTreeMap<Table, Lookups>,
    /// In nanoseconds, one value a look-up.
    latency: Histogram<u64>,
}

/// How often a table was asked, and how often it had no such row.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct Lookups {
    pub(crate) asked: u64,
    pub(crate) missed: u64,
}

impl Tally {
    pub(crate) fn new() -> Result<Tally, Failure> {
        Ok(Tally {
            records: 0,
            cancelled: 0,
            dead_letters: BTreeMap::new(),
            lookups: Table::ALL.map(|table| (table, Lookups::default())).into(),
            latency: Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, DIGITS)
                .context(|| "cannot make a histogram".to_owned())?,
        })
    }

    /// Counts what became of a row.
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Record { record, lookups } => {
                self.records += 1;
                self.cancelled += u64::from(matches!(record.flight.status, Status::Cancelled));
                lookups.iter().for_each(|lookup| self.count_lookup(lookup));
            }
            Outcome::DeadLetter(letter) => {
                *self.dead_letters.entry(letter.reason.rule).or_default() += 1
            }
        }
    }

    fn count_lookup(&mut self, lookup: &Lookup) {
        let table = self.lookups.entry(lookup.table).or_default();
        table.asked += 1;
        table.missed += u64::from(!lookup.found);
        self.latency
            .saturating_record(lookup.took.as_nanos() as u64);
    }

    /// The end of the run.
    pub(crate) fn report(self, run: Run, wall: Duration) -> Report {
        let dead_letters = self.dead_letters.values().sum();
        let rows = self.records + dead_letters;
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        Report {
            run,
            rows,
            records: self.records,
            cancelled: self.cancelled,
            dead_letters,
            dead_letters_by_rule: self.dead_letters,
            lookups: self.lookups,
            wall_seconds: wall.as_secs_f64(),
            records_per_second: rows as f64 / wall.as_secs_f64().max(f64::MIN_POSITIVE),
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
    pub(crate) output: PathBuf,
    pub(crate) dead_letters_output: PathBuf,
}

/// What a run came to.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    run: Run,
    rows: u64,
    records: u64,
    /// Of the records, those of flights that never departed.
    cancelled: u64,
    dead_letters: u64,
    dead_letters_by_rule: BTreeMap<Rule, u64>,
    lookups: BTreeMap<Table, Lookups>,
    /// From the first row read to the output under its name.
    wall_seconds: f64,
    /// Rows, whether they became records or dead letters, by wall time.
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
