//! Chores of peu, run as `cargo xtask <name>`.

#![forbid(unsafe_code)]

mod bench;
mod cargo;
mod cost;
mod explorer;
mod files;
mod job;
mod loom;
mod miri;
mod nightly;
mod sanitize;
mod shuttle;

use std::process::ExitCode;

const HELP: &str = "\
usage: cargo xtask <chore>

  loom [MODEL…]
      Run every model of loom-tests/tests, or the named ones, and each model's twins, which must fail.
  shuttle [--schedules N] [SCENARIO…]
  shuttle --replay FILE SCENARIO [TWIN]
      Run the whole runtimes of loom-tests/scenarios, or the named ones, in N orders by chance and N by priorities (100000),
      and their twins, which must fail; or run one in the order that a file has, as it was written for a failure.
  bench [--quick]
      Measure reactive against blocking I/O and write target/report/index.html, a page of charts, and results.json. Takes about ten
      minutes, --quick two.
  cost
      Count what things cost, peu and its peers, in instructions, locked lines, system calls, allocations and bytes, and write
      benches/COSTS.md. Takes some minutes. Linux on x86-64.
  scale [ARGUMENTS…]
      Measure how cost grows with the number of tasks, timers, sources, connections and stages.
  files [ARGUMENTS…]
      Measure work on files: each tier alone, the policy, blocking threads and peers. See benches/README.md; --help tells
      the arguments. Without any it writes benches/FILES.md. Cold cases need root. Takes some minutes.
  miri
      Run the unit tests of the scheduler and the reactor under Miri. Needs nightly Rust with Miri, and says how to get it.
  sanitize [thread] [address]
      Run the tests with real threads under ThreadSanitizer and AddressSanitizer. Installs nightly Rust where it is missing.
  check-job INPUT REPORT OUTPUT DEAD_LETTERS
      Check what the main job wrote: every line is JSON, and the counts agree with its report and its input.";

/// A chore's result: what it found wrong is told on stderr by `main`.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["loom", ref models @ ..] => loom::run(models),
        ["shuttle", ref arguments @ ..] => shuttle::run(arguments),
        ["bench", ref arguments @ ..] => bench::run(arguments),
        ["cost"] => cost::run(),
        ["scale", ref arguments @ ..] => cargo::measure("scale", arguments),
        ["files", ref arguments @ ..] => files::run(arguments),
        ["miri"] => miri::run(),
        ["sanitize", ref sanitizers @ ..] => sanitize::run(sanitizers),
        ["check-job", input, report, output, dead_letters] => {
            job::check(input, report, output, dead_letters)
        }
        _ => Err(HELP.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
