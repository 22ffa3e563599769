//! Runs the unit tests of the crates that have `unsafe` code under Miri, which sees undefined behaviour where a processor
//! goes on as if nothing had happened: a pointer used after its end or beside its borrow, a data race, memory that leaks.
//!
//! Aliasing is judged by tree borrows. Miri has epoll, eventfd, clocks and threads, but not every system call: a test
//! that it can't run is `#[cfg_attr(miri, ignore = "why")]`, so that the reason stands at the test.

use crate::Result;
use crate::nightly;
use std::time::Instant;

const PACKAGES: [&str; 2] = ["peu-scheduler", "peu-reactor"];

/// Tree borrows, and the real clock and environment, which the tests of timers and of the driver look at.
const FLAGS: &str = "-Zmiri-tree-borrows -Zmiri-disable-isolation";

/// Runs all of them to the end, and prints a row for each package. Installs nothing: where Miri is not, it says how to get it.
pub(crate) fn run() -> Result<()> {
    nightly::require(&["miri", "rust-src"])?;
    let mut wrong = 0;
    for package in PACKAGES {
        let begin = Instant::now();
        let clean = test(package)?;
        let verdict = if clean { "clean" } else { "WRONG" };
        println!(
            "{package:<16} {:>8.1}  {verdict}",
            begin.elapsed().as_secs_f64()
        );
        wrong += usize::from(!clean);
    }
    match wrong {
        0 => Ok(()),
        wrong => Err(format!("{wrong} packages are not clean: see above")),
    }
}

fn test(package: &str) -> Result<bool> {
    nightly::cargo()
        .args([
            "miri",
            "test",
            "--no-fail-fast",
            "--lib",
            "--package",
            package,
        ])
        .env("MIRIFLAGS", FLAGS)
        .status()
        .map(|status| status.success())
        .map_err(|error| format!("cannot run cargo miri: {error}"))
}
