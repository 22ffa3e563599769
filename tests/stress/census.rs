//! What the process has: descriptors and threads. They are counted before a test and must be the same after it.

use crate::HANGS;
use std::time::{Duration, Instant};

/// How many descriptors and threads this process has. Nothing is counted where there is no `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Census {
    descriptors: usize,
    threads: usize,
}

impl Census {
    pub(crate) fn take() -> Census {
        let count = |folder| std::fs::read_dir(folder).map_or(0, Iterator::count);
        Census {
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
        }
    }

    /// Waits until the process has what it had. A thread that says its last word is still counted for a moment.
    pub(crate) fn is_restored(self) {
        until(
            || Census::take() == self,
            || format!("{self:?} before, {:?} after", Census::take()),
        );
    }
}

/// Waits until `done`, and fails with `why` when it does not come.
pub(crate) fn until(done: impl Fn() -> bool, why: impl Fn() -> String) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < HANGS, "{}", why());
        std::thread::sleep(Duration::from_micros(200));
    }
}
