//! What a task costs that does nothing: spawn it and await its end, on peu and on tokio.
//!
//! `cargo run --release -p peu-benches --bin spawn -- --help`. The method is in benches/README.md.

#![forbid(unsafe_code)]

use clap::Parser;
use peu_benches::os;
use peu_benches::stats::{median, quantile, table};
use serde::Serialize;
use std::io;
use std::time::{Duration, Instant};

/// Measure spawn + join of an empty task.
#[derive(Debug, Parser)]
struct Args {
    /// Numbers of workers
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    workers: Vec<usize>,

    /// Tasks of a round
    #[arg(long, default_value_t = 100_000)]
    tasks: usize,

    /// Rounds; in each of them both runtimes have their turn
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,

    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// Who spawns, and when it awaits.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Pattern {
    /// A task spawns one and awaits it, then the next.
    OneByOne,
    /// A task spawns a batch and then awaits all of it.
    Batches,
    /// The thread in `block_on`, which is no worker, spawns one and awaits it: each crosses threads twice.
    Outside,
}

/// Tasks in flight at once in [`Pattern::Batches`]: more than a worker's ring holds, so overflow is part of the price.
const BATCH: usize = 500;

/// A crossing of threads costs so much more than a task that fewer of them give as good a median.
const OUTSIDE_SHARE: usize = 20;

/// What both runtimes have in common.
trait Peer: 'static {
    fn block_on(&self, future: impl Future<Output = ()>);
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> impl Future + Send + 'static;
}

impl Peer for peu::Runtime {
    fn block_on(&self, future: impl Future<Output = ()>) {
        self.block_on(future);
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> impl Future + Send + 'static {
        peu::spawn(future)
    }
}

impl Peer for tokio::runtime::Runtime {
    fn block_on(&self, future: impl Future<Output = ()>) {
        self.block_on(future);
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> impl Future + Send + 'static {
        tokio::spawn(future)
    }
}

/// Nanoseconds per task.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

#[derive(Debug, Serialize)]
struct Row {
    pattern: Pattern,
    workers: usize,
    peu_ns: f64,
    tokio_ns: f64,
    /// Of wall time, peu to tokio, in the same round: the median and the quartiles.
    ratio: [f64; 3],
    peu_cpu_ns: f64,
    tokio_cpu_ns: f64,
    cpu_ratio: [f64; 3],
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut rows = Vec::new();
    for &workers in &args.workers {
        for pattern in [Pattern::OneByOne, Pattern::Batches, Pattern::Outside] {
            rows.push(compare(&args, pattern, workers)?);
        }
    }
    match args.json {
        true => println!(
            "{}",
            serde_json::to_string_pretty(&rows).map_err(io::Error::other)?
        ),
        false => print!("{}", render(&rows)),
    }
    Ok(())
}

fn compare(args: &Args, pattern: Pattern, workers: usize) -> io::Result<Row> {
    let tasks = match pattern {
        Pattern::Outside => args.tasks.div_ceil(OUTSIDE_SHARE),
        Pattern::OneByOne | Pattern::Batches => args.tasks,
    };
    let rounds = (0..args.rounds).map(|round| {
        let (peu, tokio) = (start_peu(workers)?, start_tokio(workers)?);
        // Who begins alternates.
        if round % 2 == 0 {
            let first = cost(&peu, pattern, tasks)?;
            Ok((first, cost(&tokio, pattern, tasks)?))
        } else {
            let first = cost(&tokio, pattern, tasks)?;
            Ok((cost(&peu, pattern, tasks)?, first))
        }
    });
    Ok(summarize(
        pattern,
        workers,
        &rounds.collect::<io::Result<Vec<_>>>()?,
    ))
}

/// Each round has new runtimes, because the kernel tends to leave threads where they once are, and it matters which share a core.
fn start_peu(workers: usize) -> io::Result<peu::Runtime> {
    peu::Runtime::builder().workers(workers).build()
}

fn start_tokio(workers: usize) -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
}

/// Runs the pattern for a tenth first, which warms up threads, allocator and caches and is not counted.
fn cost<P: Peer>(runtime: &P, pattern: Pattern, tasks: usize) -> io::Result<Cost> {
    run(runtime, pattern, tasks.div_ceil(10));
    let pid = std::process::id();
    let (cpu, begin) = (os::cpu_time(pid)?, Instant::now());
    run(runtime, pattern, tasks);
    let per_task = |time: Duration| time.as_secs_f64() * 1e9 / tasks as f64;
    Ok(Cost {
        wall: per_task(begin.elapsed()),
        cpu: per_task(os::cpu_time(pid)? - cpu),
    })
}

fn run<P: Peer>(runtime: &P, pattern: Pattern, tasks: usize) {
    match pattern {
        Pattern::OneByOne => runtime.block_on(async move {
            P::spawn(one_by_one::<P>(tasks)).await;
        }),
        Pattern::Batches => runtime.block_on(async move {
            P::spawn(batches::<P>(tasks)).await;
        }),
        Pattern::Outside => runtime.block_on(one_by_one::<P>(tasks)),
    }
}

async fn one_by_one<P: Peer>(tasks: usize) {
    for _ in 0..tasks {
        P::spawn(async {}).await;
    }
}

async fn batches<P: Peer>(tasks: usize) {
    let mut left = tasks;
    while left > 0 {
        let batch = left.min(BATCH);
        let handles: Vec<_> = (0..batch).map(|_| P::spawn(async {})).collect();
        for handle in handles {
            handle.await;
        }
        left -= batch;
    }
}

fn summarize(pattern: Pattern, workers: usize, rounds: &[(Cost, Cost)]) -> Row {
    let medians =
        |value: fn(&(Cost, Cost)) -> f64| median(&rounds.iter().map(value).collect::<Vec<_>>());
    let ratios = |value: fn(&Cost) -> f64| {
        let ratios: Vec<f64> = rounds
            .iter()
            .map(|(peu, tokio)| value(peu) / value(tokio))
            .collect();
        [
            median(&ratios),
            quantile(&ratios, 0.25),
            quantile(&ratios, 0.75),
        ]
    };
    Row {
        pattern,
        workers,
        peu_ns: medians(|(peu, _)| peu.wall),
        tokio_ns: medians(|(_, tokio)| tokio.wall),
        ratio: ratios(|cost| cost.wall),
        peu_cpu_ns: medians(|(peu, _)| peu.cpu),
        tokio_cpu_ns: medians(|(_, tokio)| tokio.cpu),
        cpu_ratio: ratios(|cost| cost.cpu),
    }
}

fn render(rows: &[Row]) -> String {
    let headline = [
        "pattern",
        "workers",
        "peu ns",
        "tokio ns",
        "ratio",
        "peu CPU ns",
        "tokio CPU ns",
        "CPU ratio",
    ];
    let show = |[median, low, high]: [f64; 3]| format!("{median:.2} [{low:.2} {high:.2}]");
    let cells = |row: &Row| {
        vec![
            format!("{:?}", row.pattern),
            row.workers.to_string(),
            format!("{:.0}", row.peu_ns),
            format!("{:.0}", row.tokio_ns),
            show(row.ratio),
            format!("{:.0}", row.peu_cpu_ns),
            format!("{:.0}", row.tokio_cpu_ns),
            show(row.cpu_ratio),
        ]
    };
    table(&headline, &rows.iter().map(cells).collect::<Vec<_>>(), 1)
}
