//! A second way to live with dirt: repair what can be repaired, put the rest aside, and sort it all into files.
//!
//! What it teaches: a folder of files that were written by many hands becomes clean, partitioned data by one short pipeline. Many
//! readers work at once; each row is repaired, checked by the same rules as in the main job, and goes into the file of its airport
//! and day, or, with the reason, into one beside them. Kill the program at any moment, start it again: it goes on from
//! its last checkpoint, and each row is in the output once, which becomes visible as a whole.
//!
//! ```text
//! cargo run --release --example clean -- --input in --output out --state clean.state
//! cargo run --release --example clean -- --help
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `clean/messy.rs` | reads a file, whatever its delimiter and the order and spelling of its columns |
//! | `clean/repair.rs` | repairs values |
//! | `enrich/clean.rs` | the rules of what a flight is, shared with the main job |

#[path = "enrich/clean.rs"]
#[allow(dead_code, reason = "the main job has more use for it")]
mod clean;
#[path = "enrich/date.rs"]
#[allow(dead_code, reason = "the main job has more use for it")]
mod date;
#[path = "enrich/failure.rs"]
#[allow(dead_code, reason = "the main job has more use for it")]
mod failure;
#[path = "enrich/flights.rs"]
#[allow(dead_code, reason = "the main job has more use for it")]
mod flights;
#[path = "clean/messy.rs"]
mod messy;
#[path = "clean/repair.rs"]
mod repair;

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use peu::pipeline::{Folder, PartitionedFiles, Pipeline, every};
use peu::{Handle, Runtime};
use serde::Serialize;

use crate::clean::{Flight, Reason, clean};
use crate::messy::{MessyFile, MessyRow};

/// Clean flights: each row of each CSV file in a folder is repaired, checked, and written as a line of JSON into the file of its
/// airport and day, such as EWR/2013-01-31.jsonl. What can't be repaired goes into rejected/, with the reason.
#[derive(Parser)]
#[command(name = "clean", max_term_width = 110)]
struct Args {
    /// The folder of CSV files: those whose names end with .csv
    #[arg(long, value_name = "DIR")]
    input: PathBuf,
    /// The folder of what is clean. It appears when it is complete, and must not be there before
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// The folder of the checkpoints
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Files that are read at the same time
    #[arg(long, value_name = "N", default_value = "8")]
    readers: NonZeroUsize,
    /// Milliseconds between two checkpoints
    #[arg(long, value_name = "MS", default_value_t = 1_000)]
    every: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let cleaned = Runtime::new()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(&args)));
    match cleaned {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clean: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let files = Folder::open(&args.input, MessyFile::open)
        .matching(|name| name.ends_with(".csv"))
        .readers(args.readers.get());
    let job = Pipeline::source(files)
        .map(Outcome::of)
        .sink(PartitionedFiles::json_lines(&args.output, Outcome::file))
        .checkpoint(
            every(Duration::from_millis(args.every)).restore(),
            &args.state,
        )
        .start(&Handle::current())
        .await?;
    if let Some(restored) = job.restored() {
        eprintln!("clean: goes on from {}", restored.path.display());
    }
    let report = job.await?;
    println!(
        "wrote {} rows, made {} checkpoints",
        report.written, report.checkpoints
    );
    Ok(())
}

/// What became of a row: a line of a file.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Flight(Box<Flight>),
    Rejected(Box<Rejected>),
}

/// A row that is no flight, as it was read.
#[derive(Serialize)]
struct Rejected {
    file: String,
    row: u64,
    #[serde(flatten)]
    reason: Reason,
    values: Vec<String>,
}

impl Outcome {
    fn of(row: MessyRow) -> Outcome {
        let repaired = row.repaired();
        match repaired.and_then(|repaired| clean(&repaired.columns()?)) {
            Ok(flight) => Outcome::Flight(Box::new(flight)),
            Err(reason) => Outcome::Rejected(Box::new(Rejected {
                file: row.file().to_owned(),
                row: row.number,
                reason,
                values: row.values.iter().map(ToOwned::to_owned).collect(),
            })),
        }
    }

    /// The file that it belongs into.
    fn file(&self) -> String {
        match self {
            Outcome::Flight(flight) => format!("{}/{}.jsonl", flight.origin, flight.date),
            Outcome::Rejected(rejected) => format!("rejected/{}.jsonl", rejected.file),
        }
    }
}
