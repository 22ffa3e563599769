//! Counts what things cost, and keeps the tables.

use crate::Result;
use crate::cargo::{cargo, root};
use std::fs;
use std::process::Stdio;

const TABLES: &str = "benches/COSTS.md";

/// Runs the counting program and writes its tables, which it prints.
pub(crate) fn run() -> Result<()> {
    let output = cargo()
        .args(["run", "--release", "--quiet", "-p", "peu-benches"])
        .args(["--bin", "costs"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("the counting ended with {}", output.status));
    }
    fs::write(root().join(TABLES), &output.stdout).map_err(|error| format!("{TABLES}: {error}"))?;
    println!("{}", String::from_utf8_lossy(&output.stdout));
    println!("written to {TABLES}");
    Ok(())
}
