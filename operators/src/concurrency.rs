//! How many calls may run at the same time: a number, or one that is found out.
//!
//! The capacity bounds records, finished ones included; these bound calls. A service has a number of calls beyond
//! which it gets slower and no more is done, and it is seldom known. Two ways to find it, both from congestion control
//! in networks:
//!
//! - [`Aimd`] listens to failures: it grows by steps until the service refuses calls, then backs off by a factor.
//! - [`Gradient`] listens to latency: it stays where calls begin to take longer than they do when there are few.

use crate::guard::{Admission, Call, Ending, Guard};
use crate::metrics::Metrics;
use crate::retry::{Always, Condition};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// So many calls at a time, and no more.
///
/// # Examples
///
/// A thousand records in flight, those that wait for their order or for another attempt included, but ten calls:
///
/// ```
/// use peu_operators::{AsyncOptions, FixedLimit};
///
/// let options = AsyncOptions::ordered().capacity(1_000).guard(FixedLimit::new(10));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FixedLimit(usize);

impl FixedLimit {
    /// At most `calls` run at the same time.
    ///
    /// # Panics
    ///
    /// If `calls` is 0.
    #[track_caller]
    pub fn new(calls: usize) -> Self {
        assert!(
            calls > 0,
            "a limit of concurrency must let at least 1 call run"
        );
        Self(calls)
    }
}

impl<Out, E> Guard<Out, E> for FixedLimit {
    fn admit(&mut self, _now: Instant, running: usize) -> Admission {
        below(self.0, running)
    }

    fn begin(&mut self, _now: Instant) {}

    fn end(&mut self, _call: &Call<'_, Out, E>) {}

    fn report(&self, metrics: &mut Metrics) {
        metrics.limit_to(self.0);
    }
}

fn below(limit: usize, running: usize) -> Admission {
    match running < limit {
        true => Admission::Go,
        false => Admission::Wait(None),
    }
}

/// The floor and the ceiling of a limit.
#[track_caller]
fn bounds(limits: RangeInclusive<usize>) -> (f64, f64) {
    let (floor, ceiling) = (*limits.start(), *limits.end());
    assert!(
        1 <= floor && floor <= ceiling,
        "a limit of concurrency must lie between a floor of at least 1 and a ceiling that is not lower, \
         and not in {floor}..={ceiling}"
    );
    (floor as f64, ceiling as f64)
}

/// Additive increase, multiplicative decrease: grows while nothing fails, and backs off when something does.
///
/// It begins at its floor. After as many calls as may run together have succeeded, and so many did run, one more may,
/// or a [`step`](Aimd::step) more. An error, a panic or a timeout multiplies the limit by a [`factor`](Aimd::factor);
/// what else fails of the calls that were running then is the same news, and does not count again. With a service that
/// refuses calls beyond its own limit, it so swings between half of that limit and the limit.
///
/// # Examples
///
/// ```
/// use peu_operators::{Aimd, AsyncOptions};
///
/// let options = AsyncOptions::unordered().capacity(200).guard(Aimd::between(1..=200));
/// ```
#[derive(Clone, Debug)]
pub struct Aimd<OnError = Always> {
    floor: f64,
    ceiling: f64,
    step: f64,
    factor: f64,
    is_failure: OnError,
    limit: f64,
    /// Successes since the limit last changed.
    succeeded: usize,
    /// Whether as many calls ran since then as might.
    was_reached: bool,
    /// When the limit was last lowered.
    lowered: Option<Instant>,
}

impl Aimd {
    /// Stays within `limits`.
    ///
    /// # Panics
    ///
    /// If the floor is 0, or above the ceiling.
    #[track_caller]
    pub fn between(limits: RangeInclusive<usize>) -> Self {
        let (floor, ceiling) = bounds(limits);
        Self {
            floor,
            ceiling,
            step: 1.0,
            factor: 0.5,
            is_failure: Always,
            limit: floor,
            succeeded: 0,
            was_reached: false,
            lowered: None,
        }
    }
}

impl<OnError> Aimd<OnError> {
    /// How many more calls may run after a full round without failure; 1 by default.
    pub fn step(mut self, step: usize) -> Self {
        self.step = step as f64;
        self
    }

    /// What a failure leaves of the limit; half of it by default.
    ///
    /// # Panics
    ///
    /// If `factor` is not between 0 and 1.
    #[track_caller]
    pub fn factor(mut self, factor: f64) -> Self {
        assert!(
            (0.0..=1.0).contains(&factor),
            "a failure leaves a share of the limit, such as 0.5, and not {factor}"
        );
        self.factor = factor;
        self
    }

    /// Only errors that `condition` holds for are failures: those that say that there were too many calls.
    pub fn when<E, F>(self, condition: F) -> Aimd<F>
    where
        F: FnMut(&E) -> bool + Send + 'static,
    {
        Aimd {
            floor: self.floor,
            ceiling: self.ceiling,
            step: self.step,
            factor: self.factor,
            is_failure: condition,
            limit: self.limit,
            succeeded: self.succeeded,
            was_reached: self.was_reached,
            lowered: self.lowered,
        }
    }

    fn set(&mut self, limit: f64) {
        self.limit = limit.clamp(self.floor, self.ceiling);
        self.succeeded = 0;
        self.was_reached = false;
    }

    fn raise(&mut self) {
        self.succeeded += 1;
        if self.was_reached && self.succeeded >= self.limit as usize {
            self.set(self.limit + self.step);
        }
    }

    fn lower(&mut self, began: Instant, now: Instant) {
        if self.lowered.is_none_or(|lowered| began >= lowered) {
            self.lowered = Some(now);
            self.set(self.limit * self.factor);
        }
    }
}

impl<Out, E, OnError> Guard<Out, E> for Aimd<OnError>
where
    OnError: Condition<E>,
{
    fn admit(&mut self, _now: Instant, running: usize) -> Admission {
        let admission = below(self.limit as usize, running);
        self.was_reached |= admission != Admission::Go;
        admission
    }

    fn begin(&mut self, _now: Instant) {}

    fn end(&mut self, call: &Call<'_, Out, E>) {
        let has_failed = match call.ending {
            Ending::Result(Ok(_)) => false,
            Ending::Result(Err(error)) => self.is_failure.holds(error),
            Ending::Panicked | Ending::TimedOut => true,
            Ending::Dropped => return,
        };
        match has_failed {
            true => self.lower(call.began, call.ended),
            false => self.raise(),
        }
    }

    fn report(&self, metrics: &mut Metrics) {
        metrics.limit_to(self.limit as usize);
    }
}

/// How many calls are averaged, at least, before the limit changes: fewer are mostly chance.
const SAMPLES: usize = 20;

/// Calls may take this much longer than alone before that counts as a queue in the service.
const TOLERANCE: f64 = 1.25;

/// How much of what is found counts at once. Less is slower, more swings.
const WEIGHT: f64 = 0.5;

/// After so many rounds the latency of few calls is measured anew, for the service may have become another.
const ROUNDS_PER_PROBE: u32 = 200;

/// Finds the number of calls at which a service is fully used and not yet slower, from latency alone.
///
/// It begins at its floor, and notes how long calls take then. From there it grows, as long as they don't take much
/// longer. When they do, it shrinks in proportion: twice the latency is half the limit. What it adds in each round is
/// half of the root of the limit, so that there is always something to learn, and little of a queue. Every 200
/// rounds, it drops to its floor for one, to learn anew how long calls take: a floor of about 3 makes that cheap.
///
/// A call that timed out counts with the time it took; errors and panics say nothing about latency, and don't count, nor do calls
/// that were ready at once, as those that a cache answers.
///
/// The idea is that of Netflix's concurrency limits and of Envoy's adaptive concurrency, which come from TCP Vegas.
///
/// # Examples
///
/// ```
/// use peu_operators::{AsyncOptions, Gradient};
///
/// let options = AsyncOptions::unordered().capacity(500).guard(Gradient::between(3..=500));
/// ```
#[derive(Clone, Debug)]
pub struct Gradient {
    floor: f64,
    ceiling: f64,
    limit: f64,
    /// How long calls take when there are few. None: it is being measured.
    unloaded: Option<Duration>,
    /// When this round began: calls that began earlier ran under another limit.
    round: Option<Instant>,
    rounds: u32,
    samples: usize,
    total: Duration,
    /// Whether as many calls ran in this round as might.
    was_reached: bool,
    /// What the limit was before it was dropped to measure.
    resume: f64,
}

impl Gradient {
    /// Stays within `limits`.
    ///
    /// # Panics
    ///
    /// If the floor is 0, or above the ceiling.
    #[track_caller]
    pub fn between(limits: RangeInclusive<usize>) -> Self {
        let (floor, ceiling) = bounds(limits);
        Self {
            floor,
            ceiling,
            limit: floor,
            unloaded: None,
            round: None,
            rounds: 0,
            samples: 0,
            total: Duration::ZERO,
            was_reached: false,
            resume: floor,
        }
    }

    fn sample(&mut self, took: Duration, now: Instant) {
        self.samples += 1;
        self.total += took;
        if self.samples >= SAMPLES.max(self.limit as usize) {
            let mean = self.total / self.samples as u32;
            self.learn(mean);
            self.begin_round(now);
        }
    }

    fn learn(&mut self, mean: Duration) {
        let Some(unloaded) = self.unloaded else {
            self.unloaded = Some(mean);
            self.limit = self.resume;
            return;
        };
        self.unloaded = Some(unloaded.min(mean));
        self.rounds += 1;
        self.adapt(unloaded, mean);
        if self.rounds.is_multiple_of(ROUNDS_PER_PROBE) {
            self.resume = self.limit;
            self.limit = self.floor;
            self.unloaded = None;
        }
    }

    fn adapt(&mut self, unloaded: Duration, mean: Duration) {
        let ratio = unloaded.as_secs_f64() / mean.as_secs_f64().max(f64::MIN_POSITIVE);
        let gradient = (TOLERANCE * ratio).clamp(0.5, 1.0);
        let aim = self.limit * gradient + self.limit.sqrt() / 2.0;
        if aim > self.limit && !self.was_reached {
            return;
        }
        let limit = self.limit + WEIGHT * (aim - self.limit);
        self.limit = limit.clamp(self.floor, self.ceiling);
    }

    fn begin_round(&mut self, now: Instant) {
        self.round = Some(now);
        self.samples = 0;
        self.total = Duration::ZERO;
        self.was_reached = false;
    }
}

impl<Out, E> Guard<Out, E> for Gradient {
    fn admit(&mut self, _now: Instant, running: usize) -> Admission {
        let admission = below(self.limit as usize, running);
        self.was_reached |= admission != Admission::Go;
        admission
    }

    fn begin(&mut self, now: Instant) {
        self.round.get_or_insert(now);
    }

    fn end(&mut self, call: &Call<'_, Out, E>) {
        // A call that was ready at its first poll asked no service.
        let tells = matches!(call.ending, Ending::Result(Ok(_)) | Ending::TimedOut)
            && call.took() > Duration::ZERO;
        if tells && self.round.is_some_and(|round| call.began >= round) {
            self.sample(call.took(), call.ended);
        }
    }

    fn report(&self, metrics: &mut Metrics) {
        metrics.limit_to(self.limit as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::{Aimd, FixedLimit, Gradient};
    use crate::guard::{Admission, Call, Ending, Guard};
    use std::time::{Duration, Instant};

    #[test]
    #[should_panic(expected = "at least 1 call")]
    fn a_limit_of_none_is_refused() {
        let _ = FixedLimit::new(0);
    }

    #[test]
    #[should_panic(expected = "a floor of at least 1")]
    fn a_floor_of_none_is_refused() {
        let _ = Aimd::between(0..=10);
    }

    #[test]
    fn d03_calls_that_take_no_time_say_nothing_of_the_service() {
        let mut gradient = Gradient::between(5..=100);
        let mut now = Instant::now();
        let mut round = |took: Duration| {
            for _ in 0..200 {
                let result = Ok::<(), ()>(());
                let began = now;
                let admission = Guard::<(), ()>::admit(&mut gradient, began, 100);
                assert_ne!(admission, Admission::Go);
                Guard::<(), ()>::begin(&mut gradient, began);
                now += took;
                gradient.end(&Call::new(began, now, Ending::Result(&result)));
            }
            gradient.limit
        };
        let before = round(Duration::from_millis(10));
        assert!(before > 5.0);
        round(Duration::ZERO);
        let after = round(Duration::from_millis(10));
        assert!(after > before, "{after}");
    }

    #[test]
    #[should_panic(expected = "a ceiling that is not lower")]
    fn a_ceiling_below_the_floor_is_refused() {
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
        let _ = Gradient::between(10..=1);
    }

    #[test]
    #[should_panic(expected = "a share of the limit")]
    fn a_failure_that_leaves_more_than_there_was_is_refused() {
        let _ = Aimd::between(1..=10).factor(1.5);
    }
}
