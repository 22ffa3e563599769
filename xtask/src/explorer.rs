//! What the chores for loom and for shuttle share. Both are *explorers*: under `cfg(loom)` or `cfg(shuttle)` peu's atomics,
//! locks and threads are theirs, and they decide who goes on.

use crate::Result;
use crate::cargo::{cargo, target};
use std::path::PathBuf;
use std::process::Stdio;

/// What the code asserts about itself is a part of each model, so assertions are on; not those of the explorer, which cost
/// time.
const ASSERTIONS: [&str; 4] = [
    "--config",
    "profile.release.debug-assertions=true",
    "--config",
    "profile.release.package.\"*\".debug-assertions=false",
];

/// Signals of a crash. SIGKILL is none: the system may have been short of memory.
const CRASHES: [i32; 4] = [4, 6, 7, 11]; // SIGILL, SIGABRT, SIGBUS, SIGSEGV

/// Builds these tests of loom-tests once for all runs, and returns the programs. A build that fails is an error, never a
/// caught twin.
pub(crate) fn build(explorer: &str, tests: &str) -> Result<Vec<PathBuf>> {
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    let output = cargo()
        .args(["test", "--release", "--no-run", "--package"])
        .args(["peu-loom-tests", tests])
        .args(ASSERTIONS)
        .arg("--message-format=json-render-diagnostics")
        .env("RUSTFLAGS", format!("{flags} --cfg {explorer}").trim())
        .env("CARGO_TARGET_DIR", target(explorer))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("what {explorer} explores does not build"));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    Ok(messages
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect())
}

/// The messages of the panics in what a run has printed: each stands on the line after the one that says where.
pub(crate) fn panics(output: &str) -> impl Iterator<Item = &str> {
    output
        .lines()
        .zip(output.lines().skip(1))
        .filter(|(place, _)| place.contains("panicked at"))
        .map(|(_, message)| message.trim())
}

/// Whether a program that this signal has ended has crashed.
pub(crate) fn is_crash(signal: i32) -> bool {
    CRASHES.contains(&signal)
}
