//! What it was measured on, and with.

use serde::Serialize;
use std::fs;
use std::io;
use std::process::Command;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) compiler: String,
    pub(crate) commit: String,
    pub(crate) date: String,
    /// What is compared, and its version.
    pub(crate) versions: Vec<(String, String)>,
}

/// The versions that this program was built with.
const LOCK: &str = include_str!("../../../../Cargo.lock");

impl Machine {
    pub(crate) fn here() -> io::Result<Machine> {
        let memory = field("/proc/meminfo", "MemTotal")
            .and_then(|kibibytes| kibibytes.split(' ').next()?.parse::<u64>().ok());
        Ok(Machine {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: memory.unwrap_or(0).div_ceil(1 << 20),
            kernel: output("uname", &["-sr"]),
            compiler: output("rustc", &["--version"]),
            commit: output("git", &["describe", "--always", "--dirty"]),
            date: output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            versions: ["peu", "mio", "tokio", "smol", "plotters"]
                .map(|name| (name.to_owned(), version(LOCK, name)))
                .into(),
        })
    }
}

/// The value of a line `name : value`.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start().strip_prefix(':')?.trim().to_owned())
}

/// The first line that a program prints, or a word that says that it can't be told.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(unknown)
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn version(lock: &str, name: &str) -> String {
    let head = format!("name = \"{name}\"\nversion = \"");
    let rest = lock.split_once(&head).map(|(_, rest)| rest);
    let version = rest.and_then(|rest| rest.split('"').next());
    version.map_or_else(unknown, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_off_the_lock() {
        let lock = "[[package]]\nname = \"a-b\"\nversion = \"1\"\n\n[[package]]\nname = \"b\"\nversion = \"2.3\"\n";
        assert_eq!(version(lock, "b"), "2.3");
        assert_eq!(version(lock, "c"), "unknown");
        assert_ne!(version(LOCK, "tokio"), "unknown");
    }
}
