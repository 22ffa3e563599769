//! The table of work on files: a front for the program in `benches/src/bin/files`.

use crate::Result;
use crate::cargo::{measuring, ran, root};
use std::fs;
use std::process::{Command, Stdio};

const PAGE: &str = "benches/FILES.md";

/// Builds the program, with all peers, and runs it. Without arguments it writes the page.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let mut program = measuring("files", &["ring-peers"]);
    match arguments {
        [] => write(program.arg("--markdown")),
        arguments => ran(program.args(arguments)),
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
