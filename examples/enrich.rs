//! The main job: enrich flights with look-ups over TCP, and write them as lines of JSON.
//!
//! What it teaches: a job whose time is spent waiting for answers can wait for thousands at once, and still read like
//! one that waits for each. `--mode blocking` is that other one, for comparison: same rows, same server, same output.
//!
//! ```text
//! cargo run --release --example enrich
//! cargo run --release --example enrich -- --limit 2000 --delay 1ms
//! cargo run --release --example enrich -- --limit 2000 --delay 1ms --mode blocking
//! cargo run --release --example enrich -- --redis 127.0.0.1:6379
//! cargo run --release --example enrich -- --state target/enrich/state --delay 1ms --capacity 16
//! cargo run --release --example enrich -- --help
//! ```
//!
//! Kill the last one at any moment, with `kill -9`, and start it again: it says from where it goes on, and its output has each
//! row once.
//!
//! Where to read on, in the order in which a row passes:
//!
//! | file | what it does |
//! |---|---|
//! | `enrich/flights.rs` | reads rows |
//! | `enrich/clean.rs`, `date.rs` | makes flights of rows, or says why not |
//! | `enrich/event_loop.rs` | a pipeline that looks up four rows of tables for each flight, many flights at a time, on peu |
//! | `enrich/blocking.rs` | the same, one look-up at a time, without peu |
//! | `enrich/lookups.rs`, `client.rs` | a cache, and a pipelined client, for the event loop |
//! | `enrich/join.rs` | makes a record of a flight and its answers |
//! | `enrich/sink.rs`, `output.rs`, `temporary.rs` | writes files that are never half there |
//! | `enrich/report.rs`, `progress.rs` | counts, and shows how far it is |
//! | `enrich/server.rs`, `tables.rs`, `resp.rs` | the server that answers, its data, its protocol |

#[path = "enrich/blocking.rs"]
mod blocking;
#[path = "enrich/clean.rs"]
mod clean;
#[path = "enrich/cli.rs"]
mod cli;
#[path = "enrich/client.rs"]
mod client;
#[path = "enrich/date.rs"]
mod date;
#[path = "enrich/event_loop.rs"]
mod event_loop;
#[path = "enrich/failure.rs"]
mod failure;
#[path = "enrich/flights.rs"]
mod flights;
#[path = "enrich/join.rs"]
mod join;
#[path = "enrich/lookups.rs"]
mod lookups;
#[path = "enrich/output.rs"]
mod output;
#[path = "enrich/progress.rs"]
mod progress;
#[path = "enrich/report.rs"]
mod report;
#[path = "enrich/resp.rs"]
mod resp;
#[path = "enrich/server.rs"]
mod server;
#[path = "enrich/sink.rs"]
mod sink;
#[path = "enrich/tables.rs"]
mod tables;
#[path = "enrich/temporary.rs"]
mod temporary;

use std::io::{self, Write};
use std::process::ExitCode;

use indicatif::ProgressBar;

use crate::cli::{Args, Mode};
use crate::event_loop::Ends;
use crate::failure::{Context, Failure};
use crate::flights::Flights;
use crate::progress::Gauge;
use crate::report::{Effort, Report, Run, Totals};
use crate::server::Server;
use crate::sink::Files;

fn main() -> ExitCode {
    let args = Args::read();
    match run(&args).and_then(|report| print(&args, &report)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("enrich: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<Report, Failure> {
    refuse_stream(args)?;
    let flights = Flights::open(&args.input(), args.limit)?;
    let (_server, address) = server(args)?;
    let in_flight = Gauge::default();
    let totals = Totals::new(bar(args, &in_flight)?)?;
    let patience = args.patience + args.delay;
    let effort = match args.mode {
        Mode::EventLoop => {
            let ends = Ends::create(args, &totals)?;
            event_loop::run(flights, &address, patience, args, &in_flight, ends, &totals)?
        }
        Mode::Blocking => {
            let files = Files::create(&args.output, &args.dead_letters, &args.inputs())?;
            let threads = args.threads();
            blocking::run(
                flights, &address, patience, threads, &in_flight, files, &totals,
            )?;
            Effort::default()
        }
    };
    Ok(totals.report(Run {
        mode: args.mode,
        order: args.order(),
        server: address,
        delay_us: args.delay.as_micros(),
        peak_in_flight: in_flight.peak(),
        effort,
        output: args.output.clone(),
        dead_letters_output: args.dead_letters.clone(),
    }))
}

/// What can be read only once has nowhere to go on from.
fn refuse_stream(args: &Args) -> Result<(), Failure> {
    let input = args.input();
    match args.state.is_some() && input.exists() && !input.is_file() {
        false => Ok(()),
        true => Err(Failure::new(format!(
            "--state needs an input that can be read once more: {} is no file",
            input.display()
        ))),
    }
}

/// A server that has the tables, and its address: the one inside this program, or a real Redis.
fn server(args: &Args) -> Result<(Option<Server>, String), Failure> {
    let entries = tables::load(&args.data())?;
    match &args.redis {
        Some(address) => {
            blocking::Connection::open(address, args.patience)?.store(&entries)?;
            Ok((None, address.clone()))
        }
        None => {
            let server = Server::start(entries, args.delay)?;
            let address = server.address().to_string();
            Ok((Some(server), address))
        }
    }
}

fn bar(args: &Args, in_flight: &Gauge) -> Result<ProgressBar, Failure> {
    if args.quiet {
        return Ok(ProgressBar::hidden());
    }
    let input = args.input();
    let rows = flights::count(&input).context(|| format!("cannot read {}", input.display()))?;
    let limited = rows.map(|rows| args.limit.map_or(rows, |limit| limit.min(rows)));
    progress::bar(limited, in_flight.clone())
}

fn print(args: &Args, report: &Report) -> Result<(), Failure> {
    let text = match (args.json, args.quiet) {
        (true, _) => serde_json::to_string_pretty(report)
            .context(|| "cannot write the report as JSON".to_owned())?,
        (false, false) => report.to_string(),
        (false, true) => return Ok(()),
    };
    writeln!(io::stdout(), "{text}").context(|| "cannot print the report".to_owned())
}
