//! The lives of an example that makes checkpoints: it is a process of its own, and killed.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// SIGKILL's number.
const KILL: i32 = 9;

/// Long enough for a loaded machine, short enough to tell that a job hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a job until it is killed, which it is when it has done enough: true; or to its end, which is a good one: false.
pub(crate) fn live(mut command: Command, mut is_enough: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    while !is_enough() {
        assert!(begin.elapsed() < PATIENCE, "it makes no progress");
        if let Some(status) = process.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    process.kill().unwrap();
    let status = process.wait().unwrap();
    assert!(
        status.success() || status.signal() == Some(KILL),
        "{status}"
    );
    !status.success()
}

/// The number of the newest checkpoint.
pub(crate) fn newest(state: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(state) else {
        return 0;
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| name.strip_prefix("checkpoint-")?.parse().ok())
        .max()
        .unwrap_or(0)
}
