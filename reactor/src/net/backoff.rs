//! Waits between attempts that no event announces, each twice as long as the one before.

use std::time::{Duration, Instant};

/// The first wait: short enough that nobody notices one, long enough that a loop of them does nothing but wait.
const FIRST: Duration = Duration::from_millis(5);
/// The longest wait. A server whose descriptors have run out tries once a second until one is free, and logs as much.
const LONGEST: Duration = Duration::from_secs(1);

/// How long to wait after a failure, and the next one.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Backoff {
        Backoff { next: FIRST }
    }

    /// Until when to wait from now on.
    pub(super) fn fail(&mut self) -> Instant {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        Instant::now() + wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_second() {
        let mut backoff = Backoff::new();
        let waits: Vec<u64> = (0..10)
            .map(|_| {
                let wait = backoff.next;
                let earliest = Instant::now() + wait;
                assert!(backoff.fail() >= earliest);
                wait.as_millis() as u64
            })
            .collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }
}
