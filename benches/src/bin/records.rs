//! One run of what the bench `operators` times, for counters of instructions and for profilers.
//!
//! `cargo run --release -p peu-benches --bin records -- --help`. The method is in benches/README.md.

#![forbid(unsafe_code)]

use clap::{Parser, ValueEnum};
use peu_benches::operators::{Load, Work, ours};
use std::io;

/// Let numbers flow through a pipeline once, after a tenth of them to warm up, and print how many it took a second.
#[derive(Debug, Parser)]
struct Args {
    /// Who doubles them
    requests: Requests,

    /// How many numbers
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    numbers: u64,

    /// How many requests may be in flight
    #[arg(long, default_value_t = 100)]
    capacity: usize,

    /// Threads of the runtime
    #[arg(long, default_value_t = 1)]
    workers: usize,

    /// The stage without the pipeline
    #[arg(long)]
    alone: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Requests {
    HandedOver,
    AtOnce,
    Waits,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let load = Load {
        work: match args.requests {
            Requests::HandedOver => Work::HandedOver,
            Requests::AtOnce => Work::AtOnce,
            Requests::Waits => Work::Waits,
        },
        numbers: args.numbers,
        capacity: args.capacity,
        workers: args.workers,
    };
    let took = match args.alone {
        true => ours::combinator(load)?,
        false => ours::pipeline(load)?,
    };
    println!("{:.3} million a second", load.rate(took) / 1e6);
    Ok(())
}
