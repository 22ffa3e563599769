//! The command line.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use serde::Serialize;

use crate::tables::Table;

/// No network is later than that, and a clock can count it: times near the largest one overflow.
const LONGEST_TIME: Duration = Duration::from_secs(3600);

/// Each is a file in this process, and another where the embedded server has its end: twice 256 of
/// them fit the 1,024 files that most systems allow, with room for the others.
const CONNECTIONS: RangeInclusive<u64> = 1..=256;

/// Enrich flights: each row of a CSV file is cleaned, joined with four look-ups over TCP (its aircraft, its destination,
/// its airline, the weather where it left), and written as a line of JSON.
///
/// The look-ups speak Redis's protocol. By default they go to a server inside this program, which is loaded from the
/// tables in --data and listens on loopback; with --redis they go to a real one.
#[derive(Debug, Parser)]
#[command(name = "enrich", max_term_width = 110)]
pub(crate) struct Args {
    /// The flights, as CSV [default: flights.csv in --data]. The weather in the default --data is January's: flights of
    /// other months need their own
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// The folder of planes.csv, airports.csv, airlines.csv and weather.csv [default: examples/data of this project]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Where the enriched flights go, one JSON object a line. It appears when it is complete; an earlier one stays until then
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/enrich/flights.jsonl"
    )]
    pub(crate) output: PathBuf,

    /// Where the rows go that are no possible flight, one JSON object a line, each with its row and the reason
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/enrich/dead-letters.jsonl"
    )]
    pub(crate) dead_letters: PathBuf,

    /// Stop after this many rows
    #[arg(long, value_name = "ROWS")]
    pub(crate) limit: Option<u64>,

    /// How the look-ups are made
    #[arg(long, value_enum, default_value_t = Mode::EventLoop)]
    pub(crate) mode: Mode,

    /// Look up in this Redis server; the tables are stored in it first
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "delay")]
    pub(crate) redis: Option<String>,

    /// The embedded server sends each answer this much later, as a network would (for example 1ms, 250us, 0.5s)
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "0ms")]
    pub(crate) delay: Duration,

    /// Give up a server that says nothing for this long, its --delay aside
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "30s")]
    pub(crate) patience: Duration,

    /// Connections to the server, up to 256 (event-loop mode) [default: 4]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(CONNECTIONS))]
    connections: Option<usize>,

    /// Records whose look-ups may be under way at once (event-loop mode) [default: 1024]
    #[arg(long, value_name = "N")]
    capacity: Option<NonZeroUsize>,

    /// Threads, each with a socket of its own and one look-up at a time, up to 256 (blocking mode) [default: 1]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(CONNECTIONS))]
    threads: Option<usize>,

    /// Write records in the order of the input [default]
    #[arg(long, conflicts_with = "unordered")]
    ordered: bool,

    /// Write records as their look-ups complete (event-loop mode)
    #[arg(long)]
    unordered: bool,

    /// Threads of the event loop (event-loop mode) [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,

    /// Keep checkpoints in this folder. Killed and started again with the same options, the run goes on from the last, and
    /// each row is in the outputs once; until they are complete, they have `.part` behind their names (event-loop mode)
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Between two checkpoints [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "state")]
    every: Option<Duration>,

    /// Look a row up so many times more when a connection was lost (event-loop mode) [default: 3]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,

    /// When the look-ups of a row failed for good, put the row to the dead letters and go on (event-loop mode)
    #[arg(long)]
    pub(crate) keep_going: bool,

    /// Keep so many answers, and ask once for what many ask at the same time (event-loop mode) [default: every look-up
    /// asks the server, as in blocking mode]
    #[arg(long, value_name = "ENTRIES")]
    pub(crate) cache: Option<NonZeroUsize>,

    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// No progress bar, and no report unless --json asks for it
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// How the look-ups are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Many at once, on a few connections and a few threads
    EventLoop,
    /// One at a time: one thread, or some, with one blocking socket each, one answer awaited after another
    Blocking,
}

/// In which order records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    Ordered,
    Unordered,
}

impl Args {
    /// Reads the command line. What makes no sense ends the program here.
    pub(crate) fn read() -> Args {
        let args = Args::parse();
        let of_event_loop = [
            ("--connections", args.connections.is_some()),
            ("--capacity", args.capacity.is_some()),
            ("--unordered", args.unordered),
            ("--workers", args.workers.is_some()),
            ("--state", args.state.is_some()),
            ("--retries", args.retries.is_some()),
            ("--keep-going", args.keep_going),
            ("--cache", args.cache.is_some()),
        ];
        let refused = of_event_loop.iter().find(|(_, is_given)| *is_given);
        if let (Mode::Blocking, Some((option, _))) = (args.mode, refused) {
            let text = format!("{option} is of the event loop: --mode blocking has no use for it");
            Args::command()
                .error(ErrorKind::ArgumentConflict, text)
                .exit();
        }
        if let (Mode::EventLoop, Some(_)) = (args.mode, args.threads) {
            let text =
                "--threads is of --mode blocking: the event loop has --workers and --capacity";
            Args::command()
                .error(ErrorKind::ArgumentConflict, text)
                .exit();
        }
        args
    }

    /// Connections to the server. A few keep a server busy.
    pub(crate) fn connections(&self) -> usize {
        self.connections.unwrap_or(4)
    }

    /// Threads of the blocking mode.
    pub(crate) fn threads(&self) -> usize {
        self.threads.unwrap_or(1)
    }

    /// Records whose look-ups may be under way at once: four thousand look-ups, a second's worth at a rate that a small
    /// server has.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity.map_or(1024, NonZeroUsize::get)
    }

    /// Between two checkpoints.
    pub(crate) fn every(&self) -> Duration {
        self.every.unwrap_or(Duration::from_secs(1))
    }

    /// How often a row is looked up again.
    pub(crate) fn retries(&self) -> u32 {
        self.retries.unwrap_or(3)
    }

    /// The folder of the tables. The default is found from any folder when the program runs where it was built, and
    /// from the project's root elsewhere.
    pub(crate) fn data(&self) -> PathBuf {
        let built_from = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data"));
        self.data
            .clone()
            .unwrap_or_else(|| match built_from.is_dir() {
                true => built_from,
                false => PathBuf::from("examples/data"),
            })
    }

    /// The file of flights.
    pub(crate) fn input(&self) -> PathBuf {
        self.input
            .clone()
            .unwrap_or_else(|| self.data().join("flights.csv"))
    }

    /// All files that are read: the flights and the tables.
    pub(crate) fn inputs(&self) -> Vec<PathBuf> {
        let tables = Table::ALL.map(|table| self.data().join(table.file()));
        tables.into_iter().chain([self.input()]).collect()
    }

    /// In which order records are written.
    pub(crate) fn order(&self) -> Order {
        match self.unordered {
            true => Order::Unordered,
            false => Order::Ordered,
        }
    }
}

/// Parses `1ms`, `250us`, `0.5s`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds_per_unit = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return Err("a time is a number and a unit: us, ms or s".to_owned()),
    };
    let number: f64 = digits
        .parse()
        .map_err(|_| format!("`{digits}` is no number"))?;
    match Duration::try_from_secs_f64(number * seconds_per_unit) {
        Ok(time) if time <= LONGEST_TIME => Ok(time),
        _ => Err("a time is from 0s to 3600s, an hour".to_owned()),
    }
}
