//! What the process has: descriptors, threads and memory. They are counted before a test and must be the same after it.

use crate::HANGS;
use crate::memory::bytes;
use std::time::{Duration, Instant};

/// What may be left of the memory, whatever a test did: tables that only grow, as `parking_lot`'s of the threads that
/// wait does with the number of threads. A long test does hundreds of rounds, or thousands of lives, so that a byte
/// forgotten in each thing that it makes is more than that.
const SLACK: usize = 16 * 1024;

/// How many descriptors, threads and bytes this process has. Where there is no `/proc`, only the bytes are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Census {
    descriptors: usize,
    threads: usize,
    bytes: usize,
}

impl Census {
    pub(crate) fn take() -> Census {
        let count = |folder| std::fs::read_dir(folder).map_or(0, Iterator::count);
        Census {
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            bytes: bytes(),
        }
    }

    /// After a little of all that the test will do, when the memory is there that is taken once: counts that anew. The
    /// rest must be what it was.
    pub(crate) fn after_a_little(self) -> Census {
        let but_memory = Census {
            bytes: usize::MAX - SLACK,
            ..self
        };
        but_memory.is_restored();
        Census {
            bytes: bytes(),
            ..self
        }
    }

    /// Waits until the process has what it had. A thread that says its last word is still counted for a moment.
    pub(crate) fn is_restored(self) {
        until(
            || self.is_no_less_than(Census::take()),
            || format!("{self:?} before, {:?} after", Census::take()),
        );
    }

    fn is_no_less_than(self, after: Census) -> bool {
        after.descriptors == self.descriptors
            && after.threads == self.threads
            && after.bytes <= self.bytes + SLACK
    }
}

/// What a census must see, lest it see nothing.
#[cfg(target_os = "linux")]
pub(crate) fn sees_what_is_left() {
    let before = Census::take();
    assert!(before.is_no_less_than(Census::take()));
    let file = std::fs::File::open("/dev/null").expect("it is there");
    assert!(!before.is_no_less_than(Census::take()), "a descriptor");
    drop(file);
    let memory = vec![0u8; 2 * SLACK];
    assert!(!before.is_no_less_than(Census::take()), "memory");
    drop(memory);
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || ended.recv());
    assert!(!before.is_no_less_than(Census::take()), "a thread");
    drop(end);
    drop(thread.join());
    before.is_restored();
}

/// Waits until `done`, and fails with `why` when it does not come.
pub(crate) fn until(done: impl Fn() -> bool, why: impl Fn() -> String) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < HANGS, "{}", why());
        std::thread::sleep(Duration::from_micros(200));
    }
}
