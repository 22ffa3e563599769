//! What tasks and timers cost that do little, on peu, tokio, and smol (async-executor on its own threads).
//!
//! `cargo run --release -p peu-benches --bin tasks -- --help`. The method is in benches/README.md.

#![forbid(unsafe_code)]

mod shapes;

use clap::Parser;
use peu_benches::peers::{Peer, Peu, Smol, Tokio};
use peu_benches::stats::{median, quantile, table};
use serde::Serialize;
use shapes::{Cost, Shape};
use std::io;

/// Measure tasks and timers, side by side.
#[derive(Debug, Parser)]
struct Args {
    /// Numbers of workers
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4])]
    workers: Vec<usize>,

    /// What to measure, all unless named
    #[arg(long, value_enum, value_delimiter = ',')]
    shapes: Vec<Shape>,

    /// Rounds; in each of them every runtime has its turn
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,

    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// The runtimes; peu is the first.
const NAMES: [&str; 3] = [Peu::NAME, Tokio::NAME, Smol::NAME];

#[derive(Debug, Serialize)]
struct Row {
    shape: Shape,
    workers: usize,
    /// Nanoseconds per operation by the wall clock, of each of the runtimes.
    wall_ns: [f64; NAMES.len()],
    /// The same of the process's CPU time.
    cpu_ns: [f64; NAMES.len()],
    /// peu's divided by the better one of the others' in the same round: the median and the quartiles.
    wall_ratio: [f64; 3],
    cpu_ratio: [f64; 3],
    /// peu's divided by tokio's.
    wall_to_tokio: [f64; 3],
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let shapes = match &args.shapes[..] {
        [] => Shape::ALL.to_vec(),
        chosen => chosen.to_vec(),
    };
    let mut rows = Vec::new();
    for &workers in &args.workers {
        for &shape in &shapes {
            rows.push(compare(shape, workers, args.rounds as usize)?);
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

/// Each round has new runtimes, because the kernel tends to leave threads where they once are, and it matters which share a
/// core.
fn compare(shape: Shape, workers: usize, rounds: usize) -> io::Result<Row> {
    let peers: [fn(Shape, usize) -> io::Result<Cost>; NAMES.len()] = [
        shapes::cost::<Peu>,
        shapes::cost::<Tokio>,
        shapes::cost::<Smol>,
    ];
    let mut seen: Vec<[Cost; NAMES.len()]> = Vec::new();
    for round in 0..rounds.div_ceil(shape.weight()) {
        let mut costs = [Cost::default(); NAMES.len()];
        for turn in 0..peers.len() {
            // Each round begins with another runtime, so that none always follows the same one.
            let place = (round + turn) % peers.len();
            costs[place] = peers[place](shape, workers)?;
        }
        seen.push(costs);
    }
    Ok(summarize(shape, workers, &seen))
}

fn summarize(shape: Shape, workers: usize, rounds: &[[Cost; NAMES.len()]]) -> Row {
    let medians = |value: fn(&Cost) -> f64| {
        std::array::from_fn(|place| {
            median(
                &rounds
                    .iter()
                    .map(|costs| value(&costs[place]))
                    .collect::<Vec<_>>(),
            )
        })
    };
    let ratios = |ratio: &dyn Fn(&[Cost; NAMES.len()]) -> f64| {
        let ratios: Vec<f64> = rounds.iter().map(ratio).collect();
        [0.5, 0.25, 0.75].map(|q| quantile(&ratios, q))
    };
    Row {
        shape,
        workers,
        wall_ns: medians(|cost| cost.wall),
        cpu_ns: medians(|cost| cost.cpu),
        wall_ratio: ratios(&|[peu, tokio, smol]| peu.wall / tokio.wall.min(smol.wall)),
        cpu_ratio: ratios(&|[peu, tokio, smol]| peu.cpu / tokio.cpu.min(smol.cpu)),
        wall_to_tokio: ratios(&|[peu, tokio, _]| peu.wall / tokio.wall),
    }
}

fn render(rows: &[Row]) -> String {
    let headline = [
        "shape",
        "workers",
        "peu ns",
        "tokio ns",
        "smol ns",
        "to the best",
        "to tokio",
        "peu CPU",
        "tokio CPU",
        "smol CPU",
        "CPU to the best",
    ];
    let show = |[median, low, high]: [f64; 3]| format!("{median:.2} [{low:.2} {high:.2}]");
    let cells = |row: &Row| {
        let times = |times: [f64; NAMES.len()]| times.map(|time| format!("{time:.0}"));
        let mut cells = vec![format!("{:?}", row.shape), row.workers.to_string()];
        cells.extend(times(row.wall_ns));
        cells.extend([show(row.wall_ratio), show(row.wall_to_tokio)]);
        cells.extend(times(row.cpu_ns));
        cells.push(show(row.cpu_ratio));
        cells
    };
    table(&headline, &rows.iter().map(cells).collect::<Vec<_>>(), 1)
}
