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
//! knows it yet: who spawns several at once means them to run side by side. A worker that spawns and spawns gets to know
//! them: while it does not sleep, what it expects of the next is a mean of theirs, taken in the same way. Without that, a stream of tasks
//! of 100 ns, a hundred at a time, wakes the sibling for each hundred, and takes more than twice as long as without a sibling.

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
    /// The same of tasks that were just spawned.
    fresh: u64,
    /// How many were spawned and not yet polled, as far as is known.
    unpolled: u32,
    since: Instant,
    polls: u32,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Meter {
            mean: FIRST_GUESS,
            fresh: FIRST_GUESS,
            unpolled: 0,
            since: now,
            polls: 0,
        }
    }

    /// Work begins; what came before was not polling. What is spawned from now on may be of any kind.
    pub(crate) fn start(&mut self, now: Instant) {
        self.fresh = FIRST_GUESS;
        self.unpolled = 0;
        self.begin_lap(now);
    }

    fn begin_lap(&mut self, now: Instant) {
        self.since = now;
        self.polls = 0;
    }

    /// One more poll was made, which spawned so many tasks. Returns how many polls since the last [`lap`](Meter::lap).
    pub(crate) fn count(&mut self, spawned: usize) -> u32 {
        let spawned = u32::try_from(spawned).unwrap_or(u32::MAX);
        self.unpolled = self.unpolled.saturating_add(spawned);
        self.polls += 1;
        self.polls
    }

    /// Takes the polls since the last lap into the mean.
    pub(crate) fn lap(&mut self, now: Instant) {
        if self.polls > 0 {
            let elapsed = now.saturating_duration_since(self.since).as_nanos() as u64;
            let sample = elapsed / u64::from(self.polls);
            self.mean = moved(self.mean, sample);
            // Which of them were first polls is not known. Tasks are polled in their turn, so most were, if so many were to be.
            let first = self.unpolled.min(self.polls);
            self.unpolled -= first;
            if 2 * first >= self.polls {
                self.fresh = moved(self.fresh, sample);
            }
        }
        self.begin_lap(now);
    }

    /// Whether so many queued tasks, and so many more that were never polled, are worth waking a sibling for.
    pub(crate) fn is_worth_help(&self, queued: usize, fresh: usize) -> bool {
        let known = self.mean.saturating_mul(queued as u64);
        let unknown = self.fresh.saturating_mul(fresh as u64);
        known.saturating_add(unknown) > WORTH_HELP.as_nanos() as u64
    }
}

/// Up by half of the difference, down by an eighth of it.
fn moved(mean: u64, sample: u64) -> u64 {
    match sample > mean {
        true => mean.midpoint(sample),
        false => mean - (mean - sample) / 8,
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
            (0..10).for_each(|_| _ = meter.count(0));
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
            (0..10).for_each(|_| _ = meter.count(0));
            now += Duration::from_micros(50);
            meter.lap(now);
        }
        assert!(!meter.is_worth_help(64, 0), "64 of about 5 µs");
        assert!(meter.is_worth_help(256, 0));
        assert!(!meter.is_worth_help(1, 2));
        assert!(meter.is_worth_help(0, 3));
    }

    #[test]
    fn a_stream_of_new_tasks_is_known_after_a_while_until_the_worker_sleeps() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let mut now = start;
        assert!(meter.is_worth_help(0, 100));
        for _ in 0..100 {
            (0..16).for_each(|_| _ = meter.count(1));
            now += Duration::from_nanos(16 * 100);
            meter.lap(now);
        }
        assert!(!meter.is_worth_help(100, 100), "100 of 100 ns");
        (0..16).for_each(|_| _ = meter.count(1));
        now += Duration::from_millis(16);
        meter.lap(now);
        assert!(meter.is_worth_help(0, 2), "they take longer now");
        meter.start(now);
        assert!(meter.is_worth_help(0, 3) && !meter.is_worth_help(0, 2));
    }

    #[test]
    fn polls_of_tasks_that_are_known_say_nothing_of_new_ones() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let mut now = start;
        for _ in 0..100 {
            (0..16).for_each(|poll| _ = meter.count(usize::from(poll == 0)));
            now += Duration::from_nanos(16 * 100);
            meter.lap(now);
        }
        assert!(meter.is_worth_help(0, 3));
    }
}
