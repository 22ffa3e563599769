//! A test in a process of its own: it counts what only its process has, and can be ended when it hangs.

use std::process::Command;
use std::time::Duration;

/// Set in the process that runs the test itself.
const ALONE: &str = "PEU_STRESS_ALONE";

/// The longest of the tests takes five minutes, with a sanitizer perhaps six times as much.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Runs `test`, which is the body of the test called `name`, in a process where nothing else runs.
pub(crate) fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        end_what_hangs();
        stay_on_two_cores();
        return test();
    }
    let program = std::env::current_exe().expect("a test knows its program");
    let output = Command::new(program)
        .args(["--exact", name, "--include-ignored", "--nocapture"])
        .arg("--test-threads=1")
        .env(ALONE, "1")
        .output()
        .expect("a program that runs can be run again");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    println!("{out}\n{err}");
    assert!(output.status.success(), "{name}: {}", output.status);
    assert!(out.contains("1 passed"), "{name} is the name of a test");
}

/// This thread, and all that it starts.
fn stay_on_two_cores() {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let allowed = sched_getaffinity(None).expect("a thread may ask where it runs");
        let mut two = CpuSet::new();
        let cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        cores.take(2).for_each(|core| two.set(core));
        sched_setaffinity(None, &two).expect("cores that it has");
    }
}

/// A lost wake may hang a thread where no timer helps.
fn end_what_hangs() {
    std::thread::spawn(|| {
        std::thread::sleep(LIMIT);
        eprintln!("it hangs: {LIMIT:?} are over");
        std::process::abort();
    });
}
