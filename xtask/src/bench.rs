//! Reactive against blocking I/O: a front for the program in `benches/src/bin/report`.

use crate::Result;
use crate::cargo::{cargo, root};
use serde_json::Value;
use std::process::{Command, Stdio};

/// Builds the measuring programs and the main job, and runs the measurement with `arguments`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    build(&["-p", "peu-benches", "--bin", "files"])?;
    let enrich = build(&["--example", "enrich"])?;
    let report = build(&["-p", "peu-benches", "--bin", "report"])?;
    let status = Command::new(report)
        .args(["--enrich", &enrich])
        .args(arguments)
        .current_dir(root())
        .status()
        .map_err(|error| format!("cannot run the measurement: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("the measurement ended with {status}")),
    }
}

/// Builds one program, and returns where it is.
fn build(target: &[&str]) -> Result<String> {
    let output = cargo()
        .args([
            "build",
            "--release",
            "--message-format=json-render-diagnostics",
        ])
        .args(target)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let program = messages
        .filter_map(|message: Value| Some(message.get("executable")?.as_str()?.to_owned()))
        .next_back();
    match program {
        Some(program) if output.status.success() => Ok(program),
        _ => Err(format!(
            "cannot build {}: {}",
            target.join(" "),
            output.status
        )),
    }
}
