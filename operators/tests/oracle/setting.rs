//! The options of a stage, as a schedule has them, and their numbers.

use super::guards::GuardBy;
use proptest::prelude::*;

/// All in milliseconds: what a request has, and a fallback.
pub(super) const TIMEOUT: u64 = 10;
pub(super) const BOUND: u64 = 6;
/// Before the first retry of a record, and before any.
pub(super) const FIRST_DELAY: u64 = 2;
pub(super) const LONGEST_DELAY: u64 = 5;
/// What a call may take before there is a second.
pub(super) const HEDGE: u64 = 3;
/// How far a step moves the clock: past whatever may be waited for.
pub(super) const LONGEST_PAUSE: u64 = 20;

/// What each record adds to the budget of retries.
pub(super) const SHARE: f64 = 0.5;

/// How an output came to be that the function did not give.
pub(super) const BY_FALLBACK: u64 = 990;
pub(super) const BY_POLICY: u64 = 991;

/// The results that are tried again, if there are retries.
pub(super) fn is_unwelcome(output: u64) -> bool {
    (output % 1_000).is_multiple_of(3)
}

/// The key of a record, in key-ordered mode.
pub(super) fn key(record: u64) -> u64 {
    record % 3
}

#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) mode: Mode,
    /// The stage knows event time and marks, and has a part in checkpoints.
    pub(super) marks: bool,
    pub(super) capacity: usize,
    pub(super) timeout: Option<Limit>,
    /// How many, if any.
    pub(super) retries: Option<u32>,
    /// How many records in back-off may be without a place.
    pub(super) without_place: usize,
    /// The reserve of the retries' budget, if there is one.
    pub(super) budget: Option<u32>,
    pub(super) on_error: Policy,
    pub(super) guard: GuardBy,
    pub(super) hedges: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Ordered,
    Unordered,
    /// At most so many records wait.
    KeyOrdered(usize),
}

/// What becomes of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Fail,
    Skip,
    DeadLetter,
    Output,
}

/// A timeout's fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Fail,
    Skip,
    Output,
    /// Async: an output at once for even records, and none ever for odd ones.
    Later,
}

impl Setting {
    /// Whether only one answer is right. Stages take turns among what leaves a line, what gives its place back, what waits for a second
    /// call's slot, and what is due by the clock, so schedules with two of them have several; and what a limit learns depends on how
    /// often it is asked.
    pub(super) fn has_one_answer(&self) -> bool {
        let by_clock = self.timeout.is_some() || self.retries.is_some() || self.hedges;
        let is_guarded = self.guard != GuardBy::None;
        let takes_turns = match self.mode {
            Mode::KeyOrdered(_) => by_clock || is_guarded,
            _ => self.without_place > 0 && (is_guarded || self.hedges),
        };
        !takes_turns && !self.guard.learns()
    }

    /// How many calls a record may have, in one life of the stage.
    pub(super) fn most_calls(&self) -> usize {
        let attempts = 1 + self.retries.unwrap_or_default() as usize;
        attempts * self.calls_at_once()
    }

    pub(super) fn calls_at_once(&self) -> usize {
        1 + usize::from(self.hedges)
    }
}

pub(super) fn settings() -> impl Strategy<Value = Setting> {
    let mode = prop_oneof![
        2 => Just(Mode::Ordered),
        2 => Just(Mode::Unordered),
        2 => (1_usize..4).prop_map(Mode::KeyOrdered),
    ];
    let timeout = prop::option::weighted(
        0.5,
        prop::sample::select(vec![Limit::Fail, Limit::Skip, Limit::Output, Limit::Later]),
    );
    let on_error = prop::sample::select(vec![
        Policy::Fail,
        Policy::Skip,
        Policy::DeadLetter,
        Policy::Output,
    ]);
    let without_place = prop_oneof![2 => Just(0), 1 => 1_usize..4];
    let retries = (
        prop::option::of(0_u32..4),
        prop::option::weighted(0.3, 1_u32..4),
        without_place,
    );
    let shape = (mode, prop::bool::weighted(0.8), 1_usize..6);
    let calls = (super::guards::guards(), prop::bool::weighted(0.3));
    (shape, timeout, retries, on_error, calls).prop_map(
        |((mode, marks, capacity), timeout, retries, on_error, (guard, hedges))| {
            let (retries, budget, without_place) = retries;
            Setting {
                mode,
                marks,
                // A second call needs a place.
                capacity: capacity + usize::from(hedges),
                timeout,
                retries,
                without_place,
                budget: budget.filter(|_| retries.is_some()),
                on_error,
                guard,
                hedges,
            }
        },
    )
}
