//! What work on files costs: each tier of peu alone, its policy, blocking threads, and peers.
//!
//! `cargo run --release -p peu-benches --bin files -- --help`. The method is in benches/README.md.
//!
//! | module | what is in it |
//! |---|---|
//! | `work` | the cases, and the files that they need |
//! | `candidates` | who does the work: the same calls, as users of each would make them |
//! | `per_core` | more of them, of another kind: behind the feature `ring-peers` |
//! | `report` | the tables |

#![forbid(unsafe_code)]

mod candidates;
#[cfg(feature = "ring-peers")]
mod per_core;
mod report;
mod work;

use candidates::{Candidate, candidates};
use clap::Parser;
use peu_benches::os;
use serde::Serialize;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use work::{Case, Files};

/// Measure work on files.
#[derive(Debug, Parser)]
struct Args {
    /// The folder to work in; it needs room for --size and 64 MiB. On a disk: a tmpfs has no cold files
    #[arg(long, default_value = "target/files")]
    folder: PathBuf,

    /// Rounds; in each of them every candidate has its turn, in an order that rotates
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,

    /// The cases, all unless named
    #[arg(long, value_enum, value_delimiter = ',')]
    cases: Vec<Case>,

    /// Candidates whose name contains one of these, all unless named
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,

    /// MiB of the file that is read in sequence
    #[arg(long, default_value_t = 1024)]
    size: u64,

    /// Files that are read whole; a fifth of them is written
    #[arg(long, default_value_t = 5000)]
    files: usize,

    /// Entries of the tree
    #[arg(long, default_value_t = 50_000)]
    entries: usize,

    /// Print the results as JSON
    #[arg(long)]
    json: bool,

    /// Print the results as a page, and how far it is on stderr
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

/// One candidate at one case: what an operation took, in each round.
#[derive(Clone, Debug, Serialize)]
struct Result {
    case: Case,
    candidate: String,
    /// Microseconds of wall time per operation.
    wall: Vec<f64>,
    /// Microseconds of CPU time of the process per operation.
    cpu: Vec<f64>,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let files = Files::make(&args.folder, args.size, args.files, args.entries)?;
    let cases = match &args.cases[..] {
        [] => Case::ALL.to_vec(),
        chosen => chosen.to_vec(),
    };
    let wanted =
        |name: &str| args.only.is_empty() || args.only.iter().any(|part| name.contains(part));
    let candidates: Vec<_> = candidates()?
        .into_iter()
        .filter(|one| wanted(one.name()))
        .collect();
    let mut all = Vec::new();
    for case in cases {
        let able: Vec<&dyn Candidate> = candidates
            .iter()
            .map(|candidate| &**candidate)
            .filter(|candidate| candidate.can(case))
            .collect();
        let results = measure(case, &able, &files, args.rounds)?;
        let text = report::text(&report::Results(case, &results));
        if args.markdown {
            eprintln!("{text}");
        } else if !args.json {
            println!("{text}");
        }
        all.extend(results);
    }
    if args.json {
        println!("{}", serde_json::to_string(&all)?);
    }
    if args.markdown {
        print!("{}", report::page(&all, &system()));
    }
    Ok(())
}

fn measure(
    case: Case,
    candidates: &[&dyn Candidate],
    files: &Files,
    rounds: u64,
) -> io::Result<Vec<Result>> {
    let mut results: Vec<Result> = candidates
        .iter()
        .map(|candidate| Result {
            case,
            candidate: candidate.name().to_owned(),
            wall: Vec::new(),
            cpu: Vec::new(),
        })
        .collect();
    for round in 0..rounds as usize {
        for turn in 0..candidates.len() {
            let at = (round + turn) % candidates.len();
            files.prepare(case)?;
            let (begin, cpu) = (Instant::now(), os::cpu_time(std::process::id())?);
            let operations = files.run(case, candidates[at]);
            let wall = begin.elapsed();
            let cpu = os::cpu_time(std::process::id())?.saturating_sub(cpu);
            let each = |time: Duration| time.as_secs_f64() * 1e6 / operations as f64;
            results[at].wall.push(each(wall));
            results[at].cpu.push(each(cpu));
        }
    }
    Ok(results)
}

/// The machine, in words: figures of another are not to be compared with its.
fn system() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, Linux {}", kernel.trim())
}
