//! What a poll costs on this worker, on average: the ground on which it decides whether help is worth its price.
//!
//! Waking a sibling costs CPU on both sides: the wake itself, the way out of idleness and back, the steal, and the
//! cold caches for every task that moves. For echo requests of 5 µs it was measured (2 cores, 64 connections): waking
//! a sibling for a queue of 64 costs about 70 µs, a fifth of the work. So a worker wakes a sibling only when draining
//! its queue is expected to take [`WORTH_HELP`]; until then the tasks wait behind each other, for less than the steal
//! bound.
//!
//! The expectation is queue length times mean poll time. The mean is taken over runs of polls, not by a clock reading
//! per poll. It rises fast and falls slowly. A task that was just spawned is expected to take [`FRESH`], as nobody
//! knows it yet: who spawns several at once means them to run side by side.

use std::time::{Duration, Instant};

/// A queue that is expected to take this long is worth a sibling: the price is then below a fifth of the work, and
/// the wait of the last task still below the steal bound of 1 ms.
pub(crate) const WORTH_HELP: Duration = Duration::from_micros(500);

/// What a task takes that has never been polled. Three of them are worth a sibling.
pub(crate) const FRESH: Duration = Duration::from_micros(200);

/// Before anything is measured.
const FIRST_GUESS: u64 = FRESH.as_nanos() as u64;

/// A running mean of poll times.
pub(crate) struct Meter {
    mean: u64,
    since: Instant,
    polls: u32,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Meter {
            mean: FIRST_GUESS,
            since: now,
            polls: 0,
        }
    }

    /// Work begins; what came before was not polling.
    pub(crate) fn start(&mut self, now: Instant) {
        self.since = now;
        self.polls = 0;
    }

    /// One more poll was made. Returns how many since the last [`lap`](Meter::lap).
    pub(crate) fn count(&mut self) -> u32 {
        self.polls += 1;
        self.polls
    }

    /// Takes the polls since the last lap into the mean.
    pub(crate) fn lap(&mut self, now: Instant) {
        if self.polls > 0 {
            let elapsed = now.saturating_duration_since(self.since).as_nanos() as u64;
            let sample = elapsed / u64::from(self.polls);
            // Up by half of the difference, down by an eighth of it.
            self.mean = if sample > self.mean {
                self.mean.midpoint(sample)
            } else {
                self.mean - (self.mean - sample) / 8
            };
        }
        self.start(now);
    }

    /// Whether so many queued tasks, and so many more that were never polled, are worth waking a sibling for.
    pub(crate) fn is_worth_help(&self, queued: usize, fresh: usize) -> bool {
        let known = self.mean.saturating_mul(queued as u64);
        let unknown = (FRESH.as_nanos() as u64).saturating_mul(fresh as u64);
        known.saturating_add(unknown) > WORTH_HELP.as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_rises_fast_and_falls_slowly() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let mut now = start;
        let mut lap = |meter: &mut Meter, each: Duration| {
            (0..10).for_each(|_| _ = meter.count());
            now += each * 10;
            meter.lap(now);
            meter.mean
        };
        for _ in 0..100 {
            lap(&mut meter, Duration::from_micros(1));
        }
        assert!(meter.mean < 1_100, "{}", meter.mean);
        assert!(lap(&mut meter, Duration::from_millis(1)) > 500_000);
        assert!(lap(&mut meter, Duration::from_micros(1)) > 400_000);
    }

    #[test]
    fn time_without_polls_does_not_count() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        meter.lap(start + Duration::from_secs(9));
        assert_eq!(meter.mean, FIRST_GUESS);
    }

    #[test]
    fn short_tasks_are_worth_no_help_and_several_new_ones_are() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let mut now = start;
        for _ in 0..100 {
            (0..10).for_each(|_| _ = meter.count());
            now += Duration::from_micros(50);
            meter.lap(now);
        }
        assert!(!meter.is_worth_help(64, 0), "64 of about 5 µs");
        assert!(meter.is_worth_help(256, 0));
        assert!(!meter.is_worth_help(1, 2));
        assert!(meter.is_worth_help(0, 3));
    }
}
