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

    /// Connections
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,

    /// Bytes of a request
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    size: u64,

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
    /// Requests per second asked for; none in a closed loop.
    rate: Option<u32>,
    requests_per_second: f64,
    cpu_us_per_request: f64,
    sleeps_per_request: f64,
    to_mio: Option<Ratio>,
    to_tokio: Option<Ratio>,
    p50_us: f64,
    p99_us: f64,
    p99_9_us: f64,
}

/// CPU time per request divided by that of another server in the same round: the median over the rounds, and the quartiles.
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
        for &rate in &args.rates {
            let measured = measure_load(args, workers, rate)?;
            if !args.json {
                println!("{}", render(&measured));
            }
            rows.extend(measured);
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

/// All servers under one load. They run at the same time and wait; only the one under load uses CPU.
fn measure_load(args: &Args, workers: usize, rate: u32) -> io::Result<Vec<Row>> {
    let servers = args
        .servers
        .iter()
        .map(|&kind| Serve::start(kind, workers, args.beside))
        .collect::<io::Result<Vec<_>>>()?;
    let load = Load {
        connections: args.connections as usize,
        size: args.size as usize,
        pace: if rate == 0 {
            Pace::Closed
        } else {
            Pace::Steady(rate)
        },
        warm_up: Duration::from_secs_f64(args.seconds / 4.0),
        window: Duration::from_secs_f64(args.seconds),
    };
    let outcomes = load.rounds(&servers, args.rounds as usize)?;
    Ok(summarize(&args.servers, &outcomes, workers, rate))
}

fn summarize(servers: &[Kind], outcomes: &[Vec<Outcome>], workers: usize, rate: u32) -> Vec<Row> {
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
            workers,
            rate: (rate > 0).then_some(rate),
            requests_per_second: medians(Outcome::rate),
            cpu_us_per_request: medians(Outcome::cpu_per_request),
            sleeps_per_request: medians(|outcome| outcome.sleeps as f64 / outcome.answers as f64),
            to_mio: of(Kind::Mio).map(|other| ratio(own, other)),
            to_tokio: of(Kind::Tokio).map(|other| ratio(own, other)),
            p50_us: latency.value_at_quantile(0.5) as f64 / 1e3,
            p99_us: latency.value_at_quantile(0.99) as f64 / 1e3,
            p99_9_us: latency.value_at_quantile(0.999) as f64 / 1e3,
        }
    };
    servers.iter().zip(outcomes).map(summary).collect()
}

/// Round by round, because what disturbs the machine disturbs both of a round.
fn ratio(own: &[Outcome], other: &[Outcome]) -> Ratio {
    let ratios: Vec<f64> = own
        .iter()
        .zip(other)
        .map(|(own, other)| own.cpu_per_request() / other.cpu_per_request())
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
        "load",
        "requests/s",
        "CPU us/request",
        "sleeps/request",
        "to mio",
        "to tokio",
        "p50 us",
        "p99 us",
        "p99.9 us",
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
        ]
    };
    table(&headline, &rows.iter().map(cells).collect::<Vec<_>>(), 3)
}

fn show(ratio: &Option<Ratio>) -> String {
    ratio.as_ref().map_or("-".to_owned(), |ratio| {
        format!("{:.2} [{:.2} {:.2}]", ratio.median, ratio.low, ratio.high)
    })
}
