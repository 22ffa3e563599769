//! What a request costs an echo server: CPU time per request and latency, of a bare mio loop, tokio, peu and blocking threads.
//!
//! `cargo run --release -p peu-benches --bin echo -- --help`. The method is in benches/README.md.

#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use peu_benches::load::{Load, Outcome, Pace, all_latencies};
use peu_benches::serve::{Beside, Kind, Serve};
use peu_benches::stats::{median, quantile, table};
use serde::Serialize;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// Measure the CPU time per request and the latency of echo servers, side by side.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// The servers to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Mio, Kind::Tokio, Kind::Peu, Kind::Threads])]
    servers: Vec<Kind>,

    /// Numbers of workers of the runtimes
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    workers: Vec<usize>,

    /// Requests per second at a steady rate; 0 is the closed loop
    #[arg(long, value_delimiter = ',', default_values_t = [0, 5_000, 30_000])]
    rates: Vec<u32>,

    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_values_t = [64], value_parser = clap::value_parser!(u64).range(1..))]
    connections: Vec<u64>,

    /// Bytes of a request
    #[arg(long, value_delimiter = ',', default_values_t = [64], value_parser = clap::value_parser!(u64).range(1..))]
    sizes: Vec<u64>,

    /// What one more task of the runtimes does: it may block its worker
    #[arg(long, value_enum, default_value = "nothing")]
    beside: Beside,

    /// Rounds; in each of them every server has its turn
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,

    /// Seconds of a window
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,

    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be one of the servers: what the measurement starts as processes of their own
    Serve(Serve),
}

/// What a server did under one load, over all rounds.
#[derive(Debug, Serialize)]
struct Row {
    server: Kind,
    workers: usize,
    connections: u64,
    /// Bytes of a request.
    size: u64,
    /// Requests per second asked for; none in a closed loop.
    rate: Option<u32>,
    requests_per_second: f64,
    cpu_us_per_request: f64,
    sleeps_per_request: f64,
    /// CPU time per request.
    to_mio: Option<Ratio>,
    to_tokio: Option<Ratio>,
    p50_us: f64,
    p99_us: f64,
    p99_9_us: f64,
    p99_to_tokio: Option<Ratio>,
}

/// A figure divided by that of another server in the same round: the median over the rounds, and the quartiles.
#[derive(Debug, Serialize)]
struct Ratio {
    median: f64,
    low: f64,
    high: f64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.command {
        Some(Command::Serve(serve)) => serve.run(),
        None => measure(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> io::Result<()> {
    let mut rows = Vec::new();
    for &workers in &args.workers {
        for &connections in &args.connections {
            for &size in &args.sizes {
                for &rate in &args.rates {
                    let case = Case {
                        workers,
                        connections,
                        size,
                        rate,
                    };
                    let measured = case.measure(args)?;
                    if !args.json {
                        println!("{}", render(&measured));
                    }
                    rows.extend(measured);
                }
            }
        }
    }
    if args.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&rows).map_err(io::Error::other)?
        );
    }
    Ok(())
}

/// One load on all servers.
#[derive(Debug, Clone, Copy)]
struct Case {
    workers: usize,
    connections: u64,
    size: u64,
    /// Requests per second; 0 is the closed loop.
    rate: u32,
}

impl Case {
    /// All servers run at the same time and wait; only the one under load uses CPU.
    fn measure(self, args: &Args) -> io::Result<Vec<Row>> {
        let servers = args
            .servers
            .iter()
            .map(|&kind| Serve::start(kind, self.workers, args.beside))
            .collect::<io::Result<Vec<_>>>()?;
        let load = Load {
            connections: self.connections as usize,
            size: self.size as usize,
            pace: if self.rate == 0 {
                Pace::Closed
            } else {
                Pace::Steady(self.rate)
            },
            warm_up: Duration::from_secs_f64(args.seconds / 4.0),
            window: Duration::from_secs_f64(args.seconds),
        };
        let outcomes = load.rounds(&servers, args.rounds as usize)?;
        Ok(self.summarize(&args.servers, &outcomes))
    }

    fn summarize(self, servers: &[Kind], outcomes: &[Vec<Outcome>]) -> Vec<Row> {
        let of = |kind| {
            servers
                .iter()
                .position(|server| *server == kind)
                .map(|place| &outcomes[place])
        };
        let summary = |(&server, own): (&Kind, &Vec<Outcome>)| {
            let medians =
                |value: fn(&Outcome) -> f64| median(&own.iter().map(value).collect::<Vec<_>>());
            let latency = all_latencies(own);
            Row {
                server,
                workers: self.workers,
                connections: self.connections,
                size: self.size,
                rate: (self.rate > 0).then_some(self.rate),
                requests_per_second: medians(Outcome::rate),
                cpu_us_per_request: medians(Outcome::cpu_per_request),
                sleeps_per_request: medians(|outcome| {
                    outcome.sleeps as f64 / outcome.answers as f64
                }),
                to_mio: of(Kind::Mio).map(|other| ratio(own, other, Outcome::cpu_per_request)),
                to_tokio: of(Kind::Tokio).map(|other| ratio(own, other, Outcome::cpu_per_request)),
                p50_us: latency.value_at_quantile(0.5) as f64 / 1e3,
                p99_us: latency.value_at_quantile(0.99) as f64 / 1e3,
                p99_9_us: latency.value_at_quantile(0.999) as f64 / 1e3,
                p99_to_tokio: of(Kind::Tokio).map(|other| {
                    ratio(own, other, |outcome| {
                        outcome.latency.value_at_quantile(0.99) as f64
                    })
                }),
            }
        };
        servers.iter().zip(outcomes).map(summary).collect()
    }
}

/// Round by round, because what disturbs the machine disturbs both of a round.
fn ratio(own: &[Outcome], other: &[Outcome], value: fn(&Outcome) -> f64) -> Ratio {
    let ratios: Vec<f64> = own
        .iter()
        .zip(other)
        .map(|(own, other)| value(own) / value(other))
        .collect();
    Ratio {
        median: median(&ratios),
        low: quantile(&ratios, 0.25),
        high: quantile(&ratios, 0.75),
    }
}

fn render(rows: &[Row]) -> String {
    let headline = [
        "server",
        "workers",
        "connections",
        "bytes",
        "load",
        "requests/s",
        "CPU us/request",
        "sleeps/request",
        "to mio",
        "to tokio",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "p99 to tokio",
    ];
    let cells = |row: &Row| {
        vec![
            row.server.name().to_owned(),
            // The others have no workers to choose.
            if matches!(row.server, Kind::Tokio | Kind::Peu) {
                row.workers.to_string()
            } else {
                "-".to_owned()
            },
            row.connections.to_string(),
            row.size.to_string(),
            row.rate
                .map_or("closed loop".to_owned(), |rate| format!("{rate}/s")),
            format!("{:.0}", row.requests_per_second),
            format!("{:.2}", row.cpu_us_per_request),
            format!("{:.3}", row.sleeps_per_request),
            show(&row.to_mio),
            show(&row.to_tokio),
            format!("{:.0}", row.p50_us),
            format!("{:.0}", row.p99_us),
            format!("{:.0}", row.p99_9_us),
            show(&row.p99_to_tokio),
        ]
    };
    table(&headline, &rows.iter().map(cells).collect::<Vec<_>>(), 1)
}

fn show(ratio: &Option<Ratio>) -> String {
    ratio.as_ref().map_or("-".to_owned(), |ratio| {
        format!("{:.2} [{:.2} {:.2}]", ratio.median, ratio.low, ratio.high)
    })
}
