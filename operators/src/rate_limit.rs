//! So many calls in a second, and no more.
//!
//! The generic cell rate algorithm, as networks of the nineties had it: one instant stands for a bucket of tokens. It
//! is the time at which a bucket that is emptied by each call would be full again. Nothing ticks, and nothing is counted.

use crate::guard::{Admission, Call, Guard};
use std::time::{Duration, Instant};

/// Sleeps of a millisecond or more are common. What accrues meanwhile may be used in one go, or a fast stage would
/// never come near its rate.
const DEFAULT_BURST_SECONDS: f64 = 0.01;

/// Bounds the calls of the function in each second, retries and hedges included.
///
/// A record that must wait is not accepted yet, so its time does not run; nor does it take a place of the capacity. A
/// retry that must wait is made late, ahead of new records.
///
/// # Examples
///
/// ```
/// use peu_operators::{AsyncOptions, RateLimit};
///
/// let options = AsyncOptions::unordered().guard(RateLimit::per_second(50.0).burst(10));
/// ```
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Between two calls, on average.
    interval: Duration,
    /// How much earlier than their turn calls may be made.
    slack: Duration,
    /// When the next call would have its turn, had all so far been made at their turns.
    next: Option<Instant>,
}

impl RateLimit {
    /// At most `calls` in each second on average, fractions allowed: 0.5 is one call in two seconds.
    ///
    /// # Panics
    ///
    /// If `calls` is not positive, or so small that a single call would have to wait for ages.
    #[track_caller]
    pub fn per_second(calls: f64) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / calls);
        let Some(interval) = interval.ok().filter(|_| calls > 0.0) else {
            panic!("a rate must be a positive number of calls in a second, and not {calls}");
        };
        let limit = Self {
            interval,
            slack: Duration::ZERO,
            next: None,
        };
        limit.burst((calls * DEFAULT_BURST_SECONDS).max(1.0) as u32)
    }

    /// At most `calls` may be made at once, if there were fewer before; by default a hundredth of a second's worth, and
    /// at least 1.
    ///
    /// # Panics
    ///
    /// If `calls` is 0: no call could ever be made.
    #[track_caller]
    pub fn burst(mut self, calls: u32) -> Self {
        assert!(calls > 0, "a burst is at least 1 call");
        self.slack = self.interval.saturating_mul(calls - 1);
        self
    }
}

impl<Out, E> Guard<Out, E> for RateLimit {
    fn admit(&mut self, now: Instant, _running: usize) -> Admission {
        let earliest = self.next.and_then(|next| next.checked_sub(self.slack));
        match earliest {
            Some(earliest) if now < earliest => Admission::Wait(Some(earliest)),
            _ => Admission::Go,
        }
    }

    fn begin(&mut self, now: Instant) {
        let turn = self.next.map_or(now, |next| next.max(now));
        self.next = turn.checked_add(self.interval);
    }

    fn end(&mut self, _call: &Call<'_, Out, E>) {}
}

#[cfg(test)]
mod tests {
    use super::RateLimit;
    use crate::guard::{Admission, Guard};
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    const MS: Duration = Duration::from_millis(1);

    fn admit(limit: &mut RateLimit, now: Instant) -> Admission {
        <RateLimit as Guard<(), ()>>::admit(limit, now, 0)
    }

    fn begin(limit: &mut RateLimit, now: Instant) {
        <RateLimit as Guard<(), ()>>::begin(limit, now);
    }

    #[test]
    fn a_burst_then_one_at_a_time_then_a_burst_again() {
        let start = Instant::now();
        let mut limit = RateLimit::per_second(100.0).burst(3);
        for _ in 0..3 {
            assert_eq!(admit(&mut limit, start), Admission::Go);
            begin(&mut limit, start);
        }
        let next = Admission::Wait(Some(start + 10 * MS));
        assert_eq!(admit(&mut limit, start), next);
        assert_eq!(admit(&mut limit, start + 9 * MS), next);
        assert_eq!(admit(&mut limit, start + 10 * MS), Admission::Go);
        begin(&mut limit, start + 10 * MS);
        let later = start + 1_000 * MS;
        for _ in 0..3 {
            assert_eq!(admit(&mut limit, later), Admission::Go);
            begin(&mut limit, later);
        }
        let next = Admission::Wait(Some(later + 10 * MS));
        assert_eq!(admit(&mut limit, later), next);
    }

    #[test]
    #[should_panic(expected = "must be a positive number")]
    fn a_rate_of_none_is_refused() {
        let _ = RateLimit::per_second(0.0);
    }

    #[test]
    #[should_panic(expected = "must be a positive number")]
    fn a_rate_of_no_number_is_refused() {
        let _ = RateLimit::per_second(f64::NAN);
    }

    #[test]
    #[should_panic(expected = "at least 1 call")]
    fn a_burst_of_none_is_refused() {
        let _ = RateLimit::per_second(1.0).burst(0);
    }

    proptest! {
        /// In any stretch of time there are at most its share of calls, and the burst.
        #[test]
        fn no_stretch_has_more_than_its_share_and_the_burst(
            burst in 1_u32..6,
            pauses in prop::collection::vec(0_u32..40, 1..80),
        ) {
            let mut limit = RateLimit::per_second(100.0).burst(burst);
            let (mut now, mut calls) = (Instant::now(), Vec::new());
            for pause in pauses {
                now += pause * MS;
                while admit(&mut limit, now) == Admission::Go {
                    begin(&mut limit, now);
                    calls.push(now);
                }
            }
            for (first, from) in calls.iter().enumerate() {
                for (last, to) in calls.iter().enumerate().skip(first) {
                    let share = (*to - *from).as_millis() as usize / 10;
                    prop_assert!(last - first < share + burst as usize);
                }
            }
        }
    }
}
