//! Ticks at a fixed period.

use super::{Sleep, saturating_add, sleep_until};
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// How late a tick is delivered without counting as missed, unless the period is shorter. Being woken and polled takes a
/// loaded program a millisecond or two; if [`MissedTickBehavior::Delay`] counted from there, each tick would push all
/// later ones back. The value is tokio's.
const ON_TIME: Duration = Duration::from_millis(5);

/// Ticks every `period`, the first time at once.
///
/// # Panics
/// If `period` is zero, or if this thread is in no runtime, as [`sleep`](super::sleep()).
///
/// # Examples
/// ```
/// use peu_reactor::{Reactor, time::interval};
/// use std::time::Duration;
///
/// let reactor = Reactor::new()?;
/// let _entered = reactor.enter();
/// let mut every = interval(Duration::from_secs(1));
/// let first = futures_lite::future::block_on(every.tick());
/// assert!(first.elapsed() < Duration::from_secs(1));
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks every `period`, the first time at `start`. Otherwise as [`interval`].
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(
        !period.is_zero(),
        "an interval needs a period longer than zero"
    );
    Interval {
        sleep: sleep_until(start),
        period,
        missed: MissedTickBehavior::default(),
    }
}

/// Ticks at a fixed period, made by [`interval`] and [`interval_at`].
///
/// The ticks are on a grid that begins at the start, so their lateness does not add up. [`MissedTickBehavior`] says what
/// happens when the program is too slow for the grid.
///
/// # Panics
/// Waiting for a tick panics if it is still ahead and the runtime is gone (see the [module](super)).
#[derive(Debug)]
pub struct Interval {
    /// Until the next tick.
    sleep: Sleep,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick and returns the instant for which it was due.
    ///
    /// # Cancel safety
    /// A call that is dropped has taken no tick: the next call gets it.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// Polls for the next tick, as [`tick`](Self::tick) does.
    ///
    /// Of the tasks that poll and get [`Poll::Pending`], the last one is woken.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(self.sleep.poll_budgeted(cx));
        let due = self.sleep.deadline();
        let next = self.missed.next(due, Instant::now(), self.period);
        self.sleep.reset(next);
        Poll::Ready(due)
    }

    /// Begins a new grid: the next tick is one period from now.
    pub fn reset(&mut self) {
        self.reset_after(self.period);
    }

    /// Begins a new grid: the next tick is at once.
    pub fn reset_immediately(&mut self) {
        self.reset_at(Instant::now());
    }

    /// Begins a new grid: the next tick is at `now + after`.
    pub fn reset_after(&mut self, after: Duration) {
        self.reset_at(saturating_add(Instant::now(), after));
    }

    /// Begins a new grid: the next tick is at `deadline`.
    pub fn reset_at(&mut self, deadline: Instant) {
        self.sleep.reset(deadline);
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What happens when ticks are missed: [`MissedTickBehavior::Burst`] unless changed.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Changes what happens when ticks are missed.
    ///
    /// # Examples
    /// ```
    /// use peu_reactor::{Reactor, time::{MissedTickBehavior, interval}};
    /// use std::time::Duration;
    ///
    /// let reactor = Reactor::new()?;
    /// let _entered = reactor.enter();
    /// let mut heartbeat = interval(Duration::from_secs(1));
    /// heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }
}

/// What an [`Interval`] does about ticks that nobody took in time.
///
/// An example: the period is 50 ms, and after the tick at 0 the program is busy until 130. In all cases it then gets the
/// tick for 50, late, and:
///
/// ```text
///           0    50   100  150  200  250  300
/// Burst     |~~~ busy ~~~|||    |    |    |      the tick for 100 as well, then 150, 200: no tick is lost
/// Delay     |~~~ busy ~~~|    |    |    |        180, 230, 280: never closer together than the period
/// Skip      |~~~ busy ~~~| |    |    |    |      150, 200, 250: what was missed is lost, the grid stays
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MissedTickBehavior {
    /// Delivers the missed ticks as fast as they are taken, until it has caught up.
    #[default]
    Burst,
    /// Begins a new grid at the late tick. A tick counts as late from 5 ms on, or from a whole period if that is shorter.
    Delay,
    /// Goes on with the first tick of the grid that is still ahead.
    Skip,
}

impl MissedTickBehavior {
    /// The tick after the one that was due at `due` and is delivered `now`.
    fn next(self, due: Instant, now: Instant, period: Duration) -> Instant {
        let late = now.saturating_duration_since(due);
        match self {
            MissedTickBehavior::Delay if late >= ON_TIME.min(period) => saturating_add(now, period),
            MissedTickBehavior::Skip => saturating_add(now, period - remainder(late, period)),
            _ => saturating_add(due, period),
        }
    }
}

/// `dividend % divisor`, which [`Duration`] does not offer.
fn remainder(dividend: Duration, divisor: Duration) -> Duration {
    const NANOS: u128 = 1_000_000_000;
    let nanos = dividend.as_nanos() % divisor.as_nanos();
    Duration::new((nanos / NANOS) as u64, (nanos % NANOS) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(50);

    /// When the next tick is due if the one for 0 is delivered after `late`.
    fn next(behavior: MissedTickBehavior, late: Duration) -> Duration {
        let due = Instant::now();
        behavior.next(due, due + late, PERIOD) - due
    }

    #[test]
    fn a_tick_in_time_keeps_the_grid() {
        for behavior in [
            MissedTickBehavior::Burst,
            MissedTickBehavior::Delay,
            MissedTickBehavior::Skip,
        ] {
            assert_eq!(next(behavior, Duration::ZERO), PERIOD);
            assert_eq!(next(behavior, ON_TIME - Duration::from_nanos(1)), PERIOD);
        }
    }

    #[test]
    fn burst_catches_up() {
        assert_eq!(next(MissedTickBehavior::Burst, 10 * PERIOD), PERIOD);
    }

    #[test]
    fn delay_begins_a_new_grid() {
        assert_eq!(next(MissedTickBehavior::Delay, ON_TIME), ON_TIME + PERIOD);
        assert_eq!(
            next(MissedTickBehavior::Delay, 10 * PERIOD + ON_TIME),
            11 * PERIOD + ON_TIME
        );
    }

    #[test]
    fn delay_of_a_short_period_is_late_from_one_period_on() {
        let period = Duration::from_millis(1);
        let due = Instant::now();
        let next = MissedTickBehavior::Delay.next(due, due + period, period);
        assert_eq!(next - due, 2 * period);
    }

    #[test]
    fn skip_goes_on_with_the_grid() {
        assert_eq!(
            next(MissedTickBehavior::Skip, PERIOD - Duration::from_nanos(1)),
            PERIOD
        );
        assert_eq!(next(MissedTickBehavior::Skip, PERIOD), 2 * PERIOD);
        assert_eq!(
            next(MissedTickBehavior::Skip, 10 * PERIOD + ON_TIME),
            11 * PERIOD
        );
    }

    #[test]
    fn an_endless_period_has_no_end() {
        let due = Instant::now();
        for behavior in [
            MissedTickBehavior::Burst,
            MissedTickBehavior::Delay,
            MissedTickBehavior::Skip,
        ] {
            assert!(behavior.next(due, due + PERIOD, Duration::MAX) > due + 1_000_000 * PERIOD);
        }
    }
}
