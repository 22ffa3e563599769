//! The table of work on files: a front for the program in `benches/src/bin/files`.

use crate::Result;
use crate::cargo::cargo;

/// Builds the program and runs it in the root of the repository, on the disk that the sources are on.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let status = cargo()
        .args(["run", "--release", "--package", "peu-benches"])
        .args(["--bin", "files", "--"])
        .args(arguments)
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the measurement ended with {status}")),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}
