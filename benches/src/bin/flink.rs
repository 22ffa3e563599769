//! How much async work a stage gets done, on peu and on Flink, in the same run.
//!
//! `benches/flink/run.sh` gets what Flink needs and starts this. The method is in benches/flink/README.md.

#![forbid(unsafe_code)]

use clap::Parser;
use peu_benches::operators::{Load, Work, ours};
use peu_benches::ratio::{Rounds, seconds};
use peu_benches::stats::table;
use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Measure async work on peu and on Flink.
#[derive(Debug, Parser)]
struct Args {
    /// Where Java finds Flink's jars and the compiled AsyncWait
    #[arg(long)]
    classpath: String,

    /// Rounds; in each of them both sides have their turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,

    /// Threads of peu's runtime. Flink uses a thread for its operators, and another for the work that is handed over
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

/// Work, its name in an order to Flink, how much of it, and the capacity. Flink's start of a job takes some 100 ms, which a few
/// millions make small.
const CASES: [(Work, &str, u64, usize); 4] = [
    (Work::HandedOver, "handed-over", 3_000_000, 100),
    (Work::AtOnce, "at-once", 10_000_000, 100),
    (Work::Waits, "waits", 100_000, 100),
    (Work::Waits, "waits", 500_000, 1_000),
];

fn main() -> io::Result<()> {
    let args = Args::parse();
    let flink = RefCell::new(Flink::start(&args.classpath)?);
    let mut rows = Vec::new();
    for (work, name, numbers, capacity) in CASES {
        let workers = args.workers;
        let load = Load {
            work,
            numbers,
            capacity,
            workers,
        };
        let flink = || seconds(flink.borrow_mut().run(name, load));
        // Java's compiler is done with what it makes faster after a run or two.
        flink()?;
        flink()?;
        let rounds = Rounds::default();
        rounds.run(args.rounds, || seconds(ours::pipeline(load)), flink)?;
        rows.extend(rounds.summary().map(|summary| {
            let [ours, flink] = [summary.ours, summary.peer].map(Duration::from_secs_f64);
            let million = |took| format!("{:.2}", load.rate(took) / 1e6);
            vec![
                format!("{name}, {capacity}"),
                million(ours),
                million(flink),
                summary.shown_factor(),
            ]
        }));
    }
    let headline = ["requests", "peu M/s", "Flink M/s", "peu to Flink"];
    print!("{}", table(&headline, &rows, 1));
    Ok(())
}

/// A virtual machine that runs a job for each order. It ends with its standard input, and so with this program.
struct Flink {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Flink {
    fn start(classpath: &str) -> io::Result<Self> {
        let mut child = Command::new("java")
            .args(["-cp", classpath, "AsyncWait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let orders = child.stdin.take().expect("stdin is a pipe");
        let answers = child.stdout.take().expect("stdout is a pipe");
        Ok(Self {
            child,
            orders,
            answers: BufReader::new(answers).lines(),
        })
    }

    /// How long the job took, by Flink's own report.
    fn run(&mut self, work: &str, load: Load) -> io::Result<Duration> {
        let Load {
            numbers, capacity, ..
        } = load;
        writeln!(self.orders, "{work} {numbers} {capacity}")?;
        for line in &mut self.answers {
            // Flink's log is on the same stream.
            if let Some(Ok(nanos)) = line?.strip_prefix("took ").map(str::parse) {
                return Ok(Duration::from_nanos(nanos));
            }
        }
        Err(io::Error::other(
            "Java ended without an answer; start AsyncWait by hand to see why",
        ))
    }
}

impl Drop for Flink {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
