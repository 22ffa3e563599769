//! What a poll costs on this worker, on average: the ground on which it decides whether help is worth its price.
//!
//! Waking a sleeping worker costs several microseconds on both sides, more than many a task. So a worker wakes a sibling only
//! when draining its own queue is expected to take longer than that: queue length times mean poll time. The mean is taken over
//! runs of polls, not by a clock reading per poll. It rises fast and falls slowly: after one long poll help comes
//! easily, and a wrong guess in either direction costs little, for the watch corrects it.

use std::time::{Duration, Instant};

/// What waking a sleeper must at least save. A futex wake, the switch on the other core and the cold caches there come to 5 to 10 µs
/// of CPU on both sides together; the factor of about three is hysteresis.
pub(crate) const WAKING_COSTS: Duration = Duration::from_micros(20);

/// Before anything is measured: two queued tasks are worth waking a sibling.
const FIRST_GUESS: u64 = WAKING_COSTS.as_nanos() as u64 / 2;

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

    /// Nanoseconds that so many queued tasks are expected to take.
    pub(crate) fn expected(&self, queued: usize) -> u64 {
        self.mean.saturating_mul(queued as u64)
    }

    pub(crate) fn mean(&self) -> u64 {
        self.mean
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
            meter.mean()
        };
        for _ in 0..100 {
            lap(&mut meter, Duration::from_micros(1));
        }
        assert!(meter.mean() < 1_100, "{}", meter.mean());
        assert!(lap(&mut meter, Duration::from_millis(1)) > 500_000);
        assert!(lap(&mut meter, Duration::from_micros(1)) > 400_000);
    }

    #[test]
    fn time_without_polls_does_not_count() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        meter.lap(start + Duration::from_secs(9));
        assert_eq!(meter.mean(), FIRST_GUESS);
    }
}
