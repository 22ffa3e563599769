//! Reactive against blocking I/O: measures both, beside the peers, and writes a page of charts and numbers.
//!
//! `cargo xtask bench` builds what it needs and runs it. The method is in benches/README.md.
//!
//! | module | what is in it |
//! |---|---|
//! | `plan` | how much is measured, quick or in full |
//! | `sockets`, `files`, `job` | the three subjects: measurements, and the charts of them |
//! | `verdict` | where blocking wins, read off the numbers |
//! | `chart` | one chart as SVG, and its numbers as a table |
//! | `page` | the page around them |
//! | `machine` | what it was measured on |

#![forbid(unsafe_code)]

mod chart;
mod files;
mod job;
mod machine;
mod page;
mod plan;
mod sockets;
mod verdict;

use clap::{Parser, Subcommand};
use machine::Machine;
use peu_benches::serve::Serve;
use plan::Plan;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Measure reactive against blocking I/O, and write index.html and results.json.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,

    /// About two minutes instead of ten: fewer loads, shorter windows
    #[arg(long)]
    quick: bool,

    /// The folder to write to
    #[arg(long, default_value = "target/report")]
    folder: PathBuf,

    /// The program of the main job, `enrich`; without it the job is left out
    #[arg(long)]
    enrich: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Serve echo: what the measurement starts as processes of their own
    #[command(hide = true)]
    Serve(Serve),
}

/// All that was measured; what results.json holds.
#[derive(Debug, Serialize)]
struct Results {
    machine: Machine,
    plan: Plan,
    seconds: f64,
    sockets: sockets::Results,
    files: Vec<files::Row>,
    job: Vec<job::Row>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.role {
        Some(Role::Serve(serve)) => serve.run(),
        None => measure(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> io::Result<()> {
    let begin = Instant::now();
    let plan = if args.quick {
        Plan::quick()
    } else {
        Plan::full()
    };
    fs::create_dir_all(&args.folder)?;
    let machine = Machine::here()?;
    let sockets = sockets::measure(&plan, machine.cores)?;
    let files = files::measure(&plan)?;
    let job = match &args.enrich {
        Some(enrich) => job::measure(&plan, enrich, &args.folder, machine.cores)?,
        None => Vec::new(),
    };
    let results = Results {
        machine,
        plan,
        seconds: begin.elapsed().as_secs_f64(),
        sockets,
        files,
        job,
    };
    let json = serde_json::to_string_pretty(&results).map_err(io::Error::other)?;
    fs::write(args.folder.join("results.json"), json)?;
    let page = args.folder.join("index.html");
    fs::write(&page, page::render(&results)?)?;
    eprintln!("{:.0} s; written to {}", results.seconds, page.display());
    Ok(())
}
