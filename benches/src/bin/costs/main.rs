//! What things cost in counts: instructions, locked lines, system calls, allocations, bytes; of peu and of its peers.
//!
//! `cargo xtask cost` runs it and writes `benches/COSTS.md`. The method is in benches/README.md.

#[path = "../../../../tests/costs/counting.rs"]
mod counting;
mod deeds;
mod echo;

use clap::{Parser, Subcommand, ValueEnum};
use deeds::{Deed, Memory, TIMES, Thing};
use peu_benches::peers::{Peu, Smol, Tokio};
use peu_benches::serve::{Kind, Serve};
use peu_benches::step::{self, Counts, Instruction};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};

/// Count what things cost, and print tables in Markdown.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
}

/// What the counting starts as processes of their own.
#[derive(Debug, Subcommand)]
enum Role {
    /// Do a deed
    #[command(hide = true)]
    Do {
        deed: Deed,
        runtime: Runtime,
        #[arg(long)]
        stepped: bool,
    },
    /// Keep many of something
    #[command(hide = true)]
    Keep { thing: Thing, runtime: Runtime },
    /// Serve echo
    #[command(hide = true)]
    Serve(Serve),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Runtime {
    Peu,
    Tokio,
    Smol,
}

const RUNTIMES: [Runtime; 3] = [Runtime::Peu, Runtime::Tokio, Runtime::Smol];

fn main() -> ExitCode {
    let outcome = match Args::parse().role {
        None => count_all(),
        Some(Role::Do {
            deed,
            runtime,
            stepped,
        }) => {
            match runtime {
                Runtime::Peu => deeds::perform::<Peu>(deed, stepped),
                Runtime::Tokio => deeds::perform::<Tokio>(deed, stepped),
                Runtime::Smol => deeds::perform::<Smol>(deed, stepped),
            }
            Ok(())
        }
        Some(Role::Keep { thing, runtime }) => {
            match runtime {
                Runtime::Peu => deeds::keep::<Peu>(thing),
                Runtime::Tokio => deeds::keep::<Tokio>(thing),
                Runtime::Smol => deeds::keep::<Smol>(thing),
            }
            Ok(())
        }
        Some(Role::Serve(serve)) => serve.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("costs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn count_all() -> io::Result<()> {
    println!("{HEAD}");
    table("what", &["peu", "tokio", "smol"]);
    for thing in Thing::ALL {
        let held = |runtime| Ok(format!("{} B", kept(thing, runtime)?.bytes));
        row(thing.name(), RUNTIMES.into_iter().map(held))?;
    }
    println!("\n{DEEDS}");
    table("what", &["peu", "tokio", "smol"]);
    for deed in Deed::ALL {
        row(
            deed.name(),
            RUNTIMES.into_iter().map(|runtime| done(deed, runtime)),
        )?;
    }
    println!("\n{ECHO}");
    table(
        "server",
        &[
            "instructions",
            "locked",
            "reads",
            "writes",
            "turns",
            "others",
        ],
    );
    for kind in [Kind::Mio, Kind::Peu, Kind::Tokio, Kind::Smol, Kind::Threads] {
        row(kind.name(), echo::request(kind)?.into_iter().map(Ok))?;
    }
    Ok(())
}

const HEAD: &str = "\
# What things cost

Counts, not times: they are the same on every run of the same build. `cargo xtask cost` writes this file; how, is told in
[README.md](README.md). The figures of peu that a test holds it to are in `tests/costs.rs`.

Bytes on the heap of the process, for each of 1,024. What a buffer of a stream's user takes is not in them, and nothing
of the kernel's.
";

const DEEDS: &str = "\
Per deed, on the only worker of a runtime: instructions in user space / locked instructions and fences / allocations / calls of
`epoll_ctl`.
";

const ECHO: &str = "\
Per echo request, of 128 on 64 connections in step, one worker; smol, mio and each blocking thread have just the one.
*Turns* are calls that wait for events; *others* are all other system calls.
";

fn table(first: &str, columns: &[&str]) {
    println!("| {first} | {} |", columns.join(" | "));
    println!("|---|{}", "---:|".repeat(columns.len()));
}

fn row(name: &str, cells: impl Iterator<Item = io::Result<String>>) -> io::Result<()> {
    let cells: Vec<String> = cells.collect::<io::Result<_>>()?;
    println!("| {name} | {} |", cells.join(" | "));
    Ok(())
}

fn name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value().expect("none is skipped");
    value.get_name().to_owned()
}

fn kept(thing: Thing, runtime: Runtime) -> io::Result<Memory> {
    let mut child = Play::begin(&["keep", &name(thing), &name(runtime)])?;
    child.end()
}

/// Deeds differ a little where a list is full or a worker looks around every so many polls, so these are means.
fn done(deed: Deed, runtime: Runtime) -> io::Result<String> {
    let (counts, memory) = play(deed, runtime)?;
    let each = |count: u64| count as f64 / TIMES as f64;
    let epoll_ctl = counts.calls.get(&(libc::SYS_epoll_ctl as u64));
    Ok(format!(
        "{:.0} / {:.1} / {} / {}",
        each(counts.instructions),
        each(counts.locked),
        each(memory.allocations as u64),
        each(epoll_ctl.copied().unwrap_or(0)),
    ))
}

fn play(deed: Deed, runtime: Runtime) -> io::Result<(Counts, Memory)> {
    let mut child = Play::begin(&["do", &name(deed), &name(runtime), "--stepped"])?;
    let thread = child.line()?.trim().parse().map_err(io::Error::other)?;
    let release = || child.release();
    let counts = step::count(thread, release, Instruction::is_mark, Instruction::is_mark)?;
    Ok((counts, child.end()?))
}

/// This program, in another role.
struct Play {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Play {
    fn begin(arguments: &[&str]) -> io::Result<Play> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Ok(Play { child, output })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line)
    }

    /// The child waits for a line.
    fn release(&mut self) -> io::Result<()> {
        self.child.stdin.as_mut().expect("piped").write_all(b"\n")
    }

    /// Its last line.
    fn end(&mut self) -> io::Result<Memory> {
        let line = self.line()?;
        self.child.wait()?;
        serde_json::from_str(&line).map_err(io::Error::other)
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
