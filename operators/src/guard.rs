//! What stands between a stage and the service that it calls: rate limits, circuit breakers, limits of concurrency.
//!
//! A guard is asked before each call of the function, first attempts, retries and hedges alike, and is told how each
//! call ended. It is a plain state machine: the time is given to it, and it never waits itself. The stage does: while
//! a guard says [`Wait`](Admission::Wait), it takes no input and makes no retry, and goes on with what is in flight.
//!
//! Guards stand one behind the other, as pairs of pairs. A call is made when all of them let it pass.

use crate::metrics::Metrics;
use std::time::{Duration, Instant};

/// Decides whether a call of the function may be made now: [`RateLimit`](crate::RateLimit),
/// [`CircuitBreaker`](crate::CircuitBreaker), [`FixedLimit`](crate::FixedLimit), [`Aimd`](crate::Aimd),
/// [`Gradient`](crate::Gradient), or one of your own; see [`AsyncOptions::guard`](crate::AsyncOptions::guard).
///
/// Its methods are called in the stage's task, and must not block. They get the stage's time, which is read once in
/// each poll of that task. If one panics, the stage ends, and the consumer gets
/// [`Cause::Panicked`](crate::Cause::Panicked).
pub trait Guard<Out, E>: Send + 'static {
    /// Whether there is anything to ask. A stage without guards does not even look at the clock.
    const STANDS: bool = true;

    /// Whether a call may be made at `now`, while `running` others have no result yet. May be asked any number of times.
    fn admit(&mut self, now: Instant, running: usize) -> Admission;

    /// A call is made at `now`, after [`Admission::Go`] from every guard.
    fn begin(&mut self, now: Instant);

    /// A call that was begun has ended, in whatever way.
    fn end(&mut self, call: &Call<'_, Out, E>);

    /// Fills in what it has to tell.
    fn report(&self, metrics: &mut Metrics) {
        let _ = metrics;
    }
}

/// A guard's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// The call may be made.
    Go,
    /// Not now: ask again at this time. None: when a call that is running has ended.
    Wait(Option<Instant>),
    /// No: its record has failed, with [`Cause::CircuitOpen`](crate::Cause::CircuitOpen).
    Refuse,
}

/// A call that has ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Call<'a, Out, E> {
    /// When it was made.
    pub began: Instant,
    /// When it ended.
    pub ended: Instant,
    /// How.
    pub ending: Ending<'a, Out, E>,
}

/// How a call ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Ending<'a, Out, E> {
    /// With this result.
    Result(&'a Result<Out, E>),
    /// It panicked.
    Panicked,
    /// Its record's time was up.
    TimedOut,
    /// It was not needed any more: another attempt of its record was faster, or the stage ends.
    Dropped,
}

impl<Out, E> Clone for Ending<'_, Out, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Out, E> Copy for Ending<'_, Out, E> {}

impl<'a, Out, E> Call<'a, Out, E> {
    pub(crate) fn new(began: Instant, ended: Instant, ending: Ending<'a, Out, E>) -> Self {
        Self {
            began,
            ended,
            ending,
        }
    }

    /// How long it took.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.ended.saturating_duration_since(self.began)
    }
}

impl Admission {
    /// What two guards say together: a refusal counts more than a wait, and a longer wait more than a shorter one.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Refuse, _) | (_, Self::Refuse) => Self::Refuse,
            (Self::Go, other) => other,
            (this, Self::Go) => this,
            // Whoever waits for a call is asked again when one ends, and then the other time still holds.
            (Self::Wait(None), _) | (_, Self::Wait(None)) => Self::Wait(None),
            (Self::Wait(one), Self::Wait(other)) => Self::Wait(one.max(other)),
        }
    }
}

/// Nobody stands guard: what a stage has unless told otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGuard;

impl<Out, E> Guard<Out, E> for NoGuard {
    const STANDS: bool = false;

    fn admit(&mut self, _now: Instant, _running: usize) -> Admission {
        Admission::Go
    }

    fn begin(&mut self, _now: Instant) {}

    fn end(&mut self, _call: &Call<'_, Out, E>) {}
}

impl<Out, E, A, B> Guard<Out, E> for (A, B)
where
    A: Guard<Out, E>,
    B: Guard<Out, E>,
{
    const STANDS: bool = A::STANDS || B::STANDS;

    fn admit(&mut self, now: Instant, running: usize) -> Admission {
        let first = self.0.admit(now, running);
        first.and(self.1.admit(now, running))
    }

    fn begin(&mut self, now: Instant) {
        self.0.begin(now);
        self.1.begin(now);
    }

    fn end(&mut self, call: &Call<'_, Out, E>) {
        self.0.end(call);
        self.1.end(call);
    }

    fn report(&self, metrics: &mut Metrics) {
        self.0.report(metrics);
        self.1.report(metrics);
    }
}

#[cfg(test)]
mod tests {
    use super::Admission::{Go, Refuse, Wait};
    use std::time::{Duration, Instant};

    #[test]
    fn the_stricter_of_two_guards_counts() {
        let soon = Some(Instant::now());
        let later = soon.map(|soon| soon + Duration::from_secs(1));
        for (one, other, both) in [
            (Go, Go, Go),
            (Go, Wait(soon), Wait(soon)),
            (Wait(soon), Wait(later), Wait(later)),
            (Wait(None), Wait(later), Wait(None)),
            (Wait(later), Refuse, Refuse),
            (Go, Refuse, Refuse),
        ] {
            assert_eq!(one.and(other), both);
            assert_eq!(other.and(one), both);
        }
    }
}
