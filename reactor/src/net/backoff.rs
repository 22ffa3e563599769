//! Waits between attempts that no event announces, each twice as long as the one before.

use crate::Reactor;
use crate::time::Sleep;
use std::future::poll_fn;
use std::io;
use std::time::{Duration, Instant};

/// The first wait. A hundred times what an attempt costs, so even a loop of these leaves the processor alone, and too short
/// to be noticed where the trouble passes quickly.
const FIRST: Duration = Duration::from_millis(1);
/// The longest wait, which comes after ten failures. A server whose descriptors have run out tries once a second until
/// one is free, and logs as much.
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

/// Waits, or fails because the reactor is closed.
pub(super) async fn wait_until(deadline: Instant, reactor: &Reactor) -> io::Result<()> {
    let mut sleep = Sleep::with_reactor(deadline, reactor);
    poll_fn(|context| sleep.poll_or_gone(context)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_second() {
        let mut backoff = Backoff::new();
        let waits: Vec<u64> = (0..12)
            .map(|_| {
                let wait = backoff.next;
                let earliest = Instant::now() + wait;
                assert!(backoff.fail() >= earliest);
                wait.as_millis() as u64
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000]);
    }
}
