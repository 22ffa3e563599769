//! The table of work on files: a front for the program in `benches/src/bin/files`.

use crate::Result;
use std::process::Command;

/// Builds the program and runs it, with its folder where cargo builds, on the disk that the sources are on.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let program = [
        "run",
        "--release",
        "--package",
        "peu-benches",
        "--bin",
        "files",
        "--",
    ];
    let status = Command::new(cargo).args(program).args(arguments).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the measurement ended with {status}")),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}
