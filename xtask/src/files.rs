//! The table of work on files: a front for the program in `benches/src/bin/files`.

use crate::Result;
use crate::cargo::{cargo, root};
use std::fs;
use std::process::{Command, Stdio};

const PAGE: &str = "benches/FILES.md";

/// Builds the program, with all peers, and runs it. Without arguments it writes the page.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let mut program = cargo();
    program
        .args(["run", "--release", "--package", "peu-benches"])
        .args(["--features", "ring-peers", "--bin", "files", "--"]);
    if arguments.is_empty() {
        return write(program.arg("--markdown"));
    }
    match program.args(arguments).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the measurement ended with {status}")),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}

fn write(program: &mut Command) -> Result<()> {
    let output = program.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("the measurement ended with {}", output.status));
    }
    fs::write(root().join(PAGE), &output.stdout).map_err(|error| format!("{PAGE}: {error}"))?;
    println!("written to {PAGE}");
    Ok(())
}
