//! Cargo, as the chores call it.

use crate::Result;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The cargo that runs this chore, in the root of the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or(OsString::from("cargo")));
    command.current_dir(root());
    command
}

/// Builds a measuring program of `benches/src/bin` and runs it in the root of the repository.
pub(crate) fn measure(program: &str, arguments: &[&str]) -> Result<()> {
    ran(measuring(program, &[]).args(arguments))
}

/// The command that does so: what is added to it are the program's arguments.
pub(crate) fn measuring(program: &str, features: &[&str]) -> Command {
    let mut command = cargo();
    command
        .args(["run", "--release", "--package", "peu-benches"])
        .args(["--features", &features.join(",")])
        .args(["--bin", program, "--"]);
    command
}

/// Runs a measurement to its end.
pub(crate) fn ran(measurement: &mut Command) -> Result<()> {
    let status = measurement.status();
    let status = status.map_err(|error| format!("cannot run cargo: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("the measurement ended with {status}")),
    }
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the repository")
}

/// A target folder for builds with flags of their own, which in the usual one would rebuild everything.
pub(crate) fn target(name: &str) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or(root().join("target"), PathBuf::from)
        .join(name)
}
