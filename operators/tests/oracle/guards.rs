//! The guards of a stage, as a schedule has them: for the stage the real ones, for the model some that are as plain as can be.

use super::service::Refused;
use crate::guard::{Admission, Call, Guard};
use crate::metrics::Metrics;
use crate::{Aimd, CircuitBreaker, FixedLimit, Gradient, RateLimit};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Milliseconds.
const INTERVAL: u64 = 4;
const BURST: u64 = 2;
pub(super) const OPEN: u64 = 12;

/// Of two calls one may fail.
const MINIMUM: u32 = 2;
const RATE: f64 = 0.6;
const PROBES: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GuardBy {
    None,
    Fixed(usize),
    Rate,
    /// Fails records while it is open, or lets them wait.
    Breaker {
        waits: bool,
    },
    /// Up to so many.
    Aimd(usize),
    Gradient(usize),
}

impl GuardBy {
    pub(super) fn learns(self) -> bool {
        matches!(self, Self::Aimd(_) | Self::Gradient(_))
    }

    /// How many calls may run, as far as this guard is concerned.
    pub(super) fn most_running(self) -> usize {
        match self {
            Self::Fixed(most) | Self::Aimd(most) | Self::Gradient(most) => most,
            _ => usize::MAX,
        }
    }

    /// Whether calls may have been made at these times, the earliest first.
    pub(super) fn allows(self, times: &[u64]) -> bool {
        self != Self::Rate
            || (0..times.len()).all(|first| {
                let later = times[first..].iter().zip(1_u64..);
                let mut within = later.map(|(at, calls)| (at - times[first], calls));
                within.all(|(passed, calls)| calls <= BURST + passed / INTERVAL)
            })
    }
}

pub(super) fn guards() -> impl Strategy<Value = GuardBy> {
    prop_oneof![
        6 => Just(GuardBy::None),
        3 => (1_usize..4).prop_map(GuardBy::Fixed),
        2 => Just(GuardBy::Rate),
        3 => prop::bool::ANY.prop_map(|waits| GuardBy::Breaker { waits }),
        1 => (1_usize..4).prop_map(GuardBy::Aimd),
        1 => (1_usize..4).prop_map(GuardBy::Gradient),
    ]
}

/// The real one.
pub(super) enum AnyGuard {
    None,
    Fixed(FixedLimit),
    Rate(RateLimit),
    Breaker(CircuitBreaker),
    Aimd(Aimd),
    Gradient(Gradient),
}

impl AnyGuard {
    pub(super) fn new(by: GuardBy) -> Self {
        match by {
            GuardBy::None => Self::None,
            GuardBy::Fixed(most) => Self::Fixed(FixedLimit::new(most)),
            GuardBy::Rate => {
                let limit = RateLimit::per_second(1_000.0 / INTERVAL as f64);
                Self::Rate(limit.burst(BURST as u32))
            }
            GuardBy::Breaker { waits } => {
                // No schedule is as long as this window.
                let breaker = CircuitBreaker::new(RATE, Duration::from_secs(1_000))
                    .minimum(MINIMUM)
                    .open_for(Duration::from_millis(OPEN))
                    .probes(PROBES);
                Self::Breaker(if waits { breaker.wait() } else { breaker })
            }
            GuardBy::Aimd(most) => Self::Aimd(Aimd::between(1..=most)),
            GuardBy::Gradient(most) => Self::Gradient(Gradient::between(1..=most)),
        }
    }
}

/// Asks the one that there is.
macro_rules! ask {
    ($guard:expr, $it:ident => $answer:expr, $none:expr) => {
        match $guard {
            AnyGuard::None => $none,
            AnyGuard::Fixed($it) => $answer,
            AnyGuard::Rate($it) => $answer,
            AnyGuard::Breaker($it) => $answer,
            AnyGuard::Aimd($it) => $answer,
            AnyGuard::Gradient($it) => $answer,
        }
    };
}

impl Guard<u64, Refused> for AnyGuard {
    fn admit(&mut self, now: Instant, running: usize) -> Admission {
        ask!(self, it => Guard::<u64, Refused>::admit(&mut *it, now, running), Admission::Go)
    }

    fn begin(&mut self, now: Instant) {
        ask!(self, it => Guard::<u64, Refused>::begin(&mut *it, now), ());
    }

    fn end(&mut self, call: &Call<'_, u64, Refused>) {
        ask!(self, it => it.end(call), ());
    }

    fn report(&self, metrics: &mut Metrics) {
        ask!(self, it => Guard::<u64, Refused>::report(it, metrics), ());
    }
}

/// What a guard says, in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Go,
    /// Until then, or until a call ends.
    Wait(Option<u64>),
    Refuse,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    Badly,
    Dropped,
}

/// The model's guard.
#[derive(Clone, Debug)]
pub(super) struct PlainGuard {
    by: GuardBy,
    /// When the next call has its turn.
    turn: u64,
    circuit: Circuit,
    /// Since when the circuit is as it is.
    since: u64,
    calls: u32,
    failures: u32,
    /// How often.
    pub(super) opened: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Circuit {
    Closed,
    Open,
    HalfOpen { begun: u32, succeeded: u32 },
}

impl PlainGuard {
    pub(super) fn new(by: GuardBy) -> Self {
        Self {
            by,
            turn: 0,
            circuit: Circuit::Closed,
            since: 0,
            calls: 0,
            failures: 0,
            opened: 0,
        }
    }

    pub(super) fn says(&mut self, now: u64, running: usize) -> Says {
        match self.by {
            GuardBy::Rate => {
                let earliest = self.turn.saturating_sub((BURST - 1) * INTERVAL);
                match now < earliest {
                    true => Says::Wait(Some(earliest)),
                    false => Says::Go,
                }
            }
            GuardBy::Breaker { waits } => self.breaker_says(now, waits),
            by if running < by.most_running() => Says::Go,
            _ => Says::Wait(None),
        }
    }

    pub(super) fn limit(&self) -> Option<usize> {
        match self.by {
            GuardBy::Fixed(most) => Some(most),
            _ => None,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.circuit == Circuit::Closed
    }

    fn breaker_says(&mut self, now: u64, waits: bool) -> Says {
        let shut = |until| match waits {
            true => Says::Wait(until),
            false => Says::Refuse,
        };
        if self.circuit == Circuit::Open {
            let until = self.since + OPEN;
            if now < until {
                return shut(Some(until));
            }
            let (begun, succeeded) = (0, 0);
            self.become_circuit(Circuit::HalfOpen { begun, succeeded }, now);
        }
        match self.circuit {
            Circuit::HalfOpen { begun, .. } if begun >= PROBES => shut(None),
            _ => Says::Go,
        }
    }

    fn become_circuit(&mut self, circuit: Circuit, now: u64) {
        self.opened += u64::from(circuit == Circuit::Open);
        (self.circuit, self.since) = (circuit, now);
        (self.calls, self.failures) = (0, 0);
    }

    pub(super) fn begin(&mut self, now: u64) {
        self.turn = self.turn.max(now) + INTERVAL;
        if let Circuit::HalfOpen { begun, .. } = &mut self.circuit {
            *begun += 1;
        }
    }

    pub(super) fn end(&mut self, began: u64, now: u64, ended: Ended) {
        if !matches!(self.by, GuardBy::Breaker { .. }) || began < self.since {
            return;
        }
        match (&mut self.circuit, ended) {
            (Circuit::HalfOpen { begun, .. }, Ended::Dropped) => *begun -= 1,
            (_, Ended::Dropped) | (Circuit::Open, _) => {}
            (Circuit::HalfOpen { .. }, Ended::Badly) => self.become_circuit(Circuit::Open, now),
            (Circuit::HalfOpen { succeeded, .. }, Ended::Well) => {
                *succeeded += 1;
                if *succeeded >= PROBES {
                    self.become_circuit(Circuit::Closed, now);
                }
            }
            (Circuit::Closed, _) => {
                self.calls += 1;
                self.failures += u32::from(ended == Ended::Badly);
                let share = f64::from(self.failures) / f64::from(self.calls);
                if self.calls >= MINIMUM && share >= RATE {
                    self.become_circuit(Circuit::Open, now);
                }
            }
        }
    }
}
