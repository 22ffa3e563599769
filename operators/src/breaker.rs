//! A circuit breaker: a service that fails most of its calls is left alone for a while.
//!
//! ```text
//!             too many failures                  time is up
//!     closed ------------------> open (refuses) ------------> half open (a few probes)
//!        ^                         ^                             |        |
//!        |                         +------ a probe failed -------+        |
//!        +----------------------- all probes succeeded -------------------+
//! ```
//!
//! While closed it counts calls and failures of the last window, in ten slices, so that what is old goes in small
//! steps. Calls that began before the state last changed say nothing about the state that it is in, and don't count.

use crate::guard::{Admission, Call, Ending, Guard};
use crate::metrics::{Circuit, Metrics};
use crate::retry::{Always, Condition};
use std::time::{Duration, Instant};

/// Forgetting a tenth at a time is smooth enough, and a few words.
const SLICES: usize = 10;

/// Fewer calls say little: one failure of two is no outage.
const DEFAULT_MINIMUM: u32 = 20;

/// As long as services need at least for a restart or a failover.
const DEFAULT_OPEN: Duration = Duration::from_secs(5);

/// A single success may be chance.
const DEFAULT_PROBES: u32 = 3;

/// Stops calling a service while too large a share of its calls fails.
///
/// Errors, panics and timeouts are failures; [`when`](CircuitBreaker::when) chooses among the errors. While the circuit
/// is open, a record fails at once with [`Cause::CircuitOpen`](crate::Cause::CircuitOpen), a retry too, and the error
/// policy decides; or, with [`wait`](CircuitBreaker::wait), the stage waits and takes no input.
///
/// The idea is Michael Nygard's ("Release It!", 2007).
///
/// # Examples
///
/// Open for 10 seconds when half of the calls in 30 seconds failed:
///
/// ```
/// use peu_operators::{AsyncOptions, CircuitBreaker, OnError};
/// use std::time::Duration;
///
/// let breaker = CircuitBreaker::new(0.5, Duration::from_secs(30))
///     .minimum(50)
///     .open_for(Duration::from_secs(10));
/// let options = AsyncOptions::unordered().guard(breaker).on_error(OnError::Skip);
/// ```
#[derive(Clone, Debug)]
pub struct CircuitBreaker<OnError = Always> {
    rate: f64,
    minimum: u32,
    open_for: Duration,
    probes: u32,
    waits: bool,
    is_failure: OnError,
    state: State,
    /// When the state became what it is; none before the first call.
    since: Option<Instant>,
    window: Window,
    opened: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Option<Instant>,
    },
    /// Probes that were made, and those that succeeded.
    HalfOpen {
        begun: u32,
        succeeded: u32,
    },
}

impl CircuitBreaker {
    /// Opens when `rate` of the calls that ended within the last `window` have failed, 0.5 being half of them.
    ///
    /// # Panics
    ///
    /// If `rate` is not above 0 and at most 1, or `window` is zero.
    #[track_caller]
    pub fn new(rate: f64, window: Duration) -> Self {
        assert!(
            rate > 0.0 && rate <= 1.0,
            "a circuit breaker opens at a share of failures above 0 and at most 1, and not at {rate}"
        );
        assert!(
            window > Duration::ZERO,
            "a circuit breaker needs a window longer than zero to count failures in"
        );
        Self {
            rate,
            minimum: DEFAULT_MINIMUM,
            open_for: DEFAULT_OPEN,
            probes: DEFAULT_PROBES,
            waits: false,
            is_failure: Always,
            state: State::Closed,
            since: None,
            window: Window::new(window),
            opened: 0,
        }
    }
}

impl<OnError> CircuitBreaker<OnError> {
    /// Stays closed while fewer than `calls` have ended within the window; 20 by default.
    pub fn minimum(mut self, calls: u32) -> Self {
        self.minimum = calls;
        self
    }

    /// How long it is open before it lets probes pass; 5 seconds by default.
    pub fn open_for(mut self, pause: Duration) -> Self {
        self.open_for = pause;
        self
    }

    /// How many calls are let pass after that, and must all succeed, before it closes; 3 by default.
    ///
    /// # Panics
    ///
    /// If `probes` is 0: nothing would ever tell that the service is back.
    #[track_caller]
    pub fn probes(mut self, probes: u32) -> Self {
        assert!(
            probes > 0,
            "a circuit breaker needs at least 1 probe to close again"
        );
        self.probes = probes;
        self
    }

    /// While it is open the stage waits, takes no input and makes no retry, instead of failing records. Their time
    /// runs on.
    pub fn wait(mut self) -> Self {
        self.waits = true;
        self
    }

    /// Only errors that `condition` holds for are failures of the service: not, for example, that a record is unknown
    /// to it.
    pub fn when<E, F>(self, condition: F) -> CircuitBreaker<F>
    where
        F: FnMut(&E) -> bool + Send + 'static,
    {
        CircuitBreaker {
            rate: self.rate,
            minimum: self.minimum,
            open_for: self.open_for,
            probes: self.probes,
            waits: self.waits,
            is_failure: condition,
            state: self.state,
            since: self.since,
            window: self.window,
            opened: self.opened,
        }
    }

    fn become_state(&mut self, state: State, now: Instant) {
        self.state = state;
        self.since = Some(now);
        self.window.clear();
    }

    fn open(&mut self, now: Instant) {
        self.opened += 1;
        let until = now.checked_add(self.open_for);
        self.become_state(State::Open { until }, now);
    }

    /// A call ended while the circuit was closed.
    fn count(&mut self, now: Instant, has_failed: bool) {
        self.window.add(now, has_failed);
        let (calls, failures) = self.window.sums();
        let is_enough = calls >= u64::from(self.minimum.max(1));
        // A rate such as 0.55 is a little more than that as a sum of powers of two.
        const SLACK: f64 = 1e-9;
        if is_enough && failures as f64 + SLACK >= self.rate * calls as f64 {
            self.open(now);
        }
    }

    /// A probe ended.
    fn judge(&mut self, now: Instant, has_failed: bool, begun: u32, succeeded: u32) {
        let succeeded = succeeded + 1;
        if has_failed {
            self.open(now);
        } else if succeeded >= self.probes {
            self.become_state(State::Closed, now);
        } else {
            self.state = State::HalfOpen { begun, succeeded };
        }
    }

    fn admits_none(&self, until: Option<Instant>) -> Admission {
        match self.waits {
            true => Admission::Wait(until),
            false => Admission::Refuse,
        }
    }
}

impl<Out, E, OnError> Guard<Out, E> for CircuitBreaker<OnError>
where
    OnError: Condition<E>,
{
    fn admit(&mut self, now: Instant, _running: usize) -> Admission {
        if let State::Open { until } = self.state {
            if until.is_none_or(|until| now < until) {
                return self.admits_none(until);
            }
            let (begun, succeeded) = (0, 0);
            self.become_state(State::HalfOpen { begun, succeeded }, now);
        }
        match self.state {
            State::HalfOpen { begun, .. } if begun >= self.probes => self.admits_none(None),
            _ => Admission::Go,
        }
    }

    fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
        if let State::HalfOpen { begun, .. } = &mut self.state {
            *begun += 1;
        }
    }

    fn end(&mut self, call: &Call<'_, Out, E>) {
        if self.since.is_some_and(|since| call.began < since) {
            return;
        }
        let has_failed = match call.ending {
            Ending::Result(Ok(_)) => false,
            Ending::Result(Err(error)) => self.is_failure.holds(error),
            Ending::Panicked | Ending::TimedOut => true,
            Ending::Dropped => return self.forget(),
        };
        match self.state {
            State::Closed => self.count(call.ended, has_failed),
            State::Open { .. } => {}
            State::HalfOpen { begun, succeeded } => {
                self.judge(call.ended, has_failed, begun, succeeded);
            }
        }
    }

    fn report(&self, metrics: &mut Metrics) {
        metrics.circuit = match self.state {
            State::Closed => Circuit::Closed,
            State::Open { .. } => Circuit::Open,
            State::HalfOpen { .. } => Circuit::HalfOpen,
        };
        metrics.circuit_opened += self.opened;
    }
}

impl<OnError> CircuitBreaker<OnError> {
    /// A probe that was dropped said nothing: another takes its place.
    fn forget(&mut self) {
        if let State::HalfOpen { begun, .. } = &mut self.state {
            *begun = begun.saturating_sub(1);
        }
    }
}

/// Calls and failures of the last while.
#[derive(Clone, Debug)]
struct Window {
    slice: Duration,
    slices: [Slice; SLICES],
    /// Where the first slice began, and which one is the current, counted from there.
    start: Option<Instant>,
    current: u128,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    calls: u64,
    failures: u64,
}

impl Window {
    fn new(length: Duration) -> Self {
        Self {
            slice: (length / SLICES as u32).max(Duration::from_nanos(1)),
            slices: [Slice::default(); SLICES],
            start: None,
            current: 0,
        }
    }

    fn clear(&mut self) {
        self.slices = [Slice::default(); SLICES];
    }

    fn add(&mut self, now: Instant, has_failed: bool) {
        self.turn(now);
        let slice = &mut self.slices[(self.current % SLICES as u128) as usize];
        slice.calls += 1;
        slice.failures += u64::from(has_failed);
    }

    /// Empties the slices that have become too old.
    fn turn(&mut self, now: Instant) {
        let start = *self.start.get_or_insert(now);
        let age = now.saturating_duration_since(start);
        let current = age.as_nanos() / self.slice.as_nanos();
        let passed = current.saturating_sub(self.current);
        for slice in 1..=passed.min(SLICES as u128) {
            let index = (self.current + slice) % SLICES as u128;
            self.slices[index as usize] = Slice::default();
        }
        self.current = current.max(self.current);
    }

    fn sums(&self) -> (u64, u64) {
        let calls = self.slices.iter().map(|slice| slice.calls).sum();
        let failures = self.slices.iter().map(|slice| slice.failures).sum();
        (calls, failures)
    }
}

#[cfg(test)]
mod tests {
    use super::{CircuitBreaker, Window};
    use std::time::{Duration, Instant};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_window_forgets_a_slice_at_a_time() {
        let start = Instant::now();
        let mut window = Window::new(100 * MS);
        for ms in 0..100 {
            window.add(start + ms * MS, ms < 50);
        }
        assert_eq!(window.sums(), (100, 50));
        window.add(start + 100 * MS, false);
        assert_eq!(window.sums(), (91, 40));
        window.add(start + 145 * MS, false);
        assert_eq!(window.sums(), (52, 0));
        window.add(start + 10_000 * MS, true);
        assert_eq!(window.sums(), (1, 1));
    }

    #[test]
    #[should_panic(expected = "above 0 and at most 1")]
    fn a_rate_of_more_than_all_is_refused() {
        let _ = CircuitBreaker::new(1.1, MS);
    }

    #[test]
    #[should_panic(expected = "longer than zero")]
    fn a_window_of_no_length_is_refused() {
        let _ = CircuitBreaker::new(0.5, Duration::ZERO);
    }

    #[test]
    #[should_panic(expected = "at least 1 probe")]
    fn no_probes_are_refused() {
        let _ = CircuitBreaker::new(0.5, MS).probes(0);
    }
}
