//! The policies of a stage, whatever the schedule's setting is: one type for all, or there would be hundreds of stages to compile.

use super::output;
use super::service::Refused;
use super::setting::{
    self, BOUND, BY_FALLBACK, BY_POLICY, FIRST_DELAY, LONGEST_DELAY, Limit, Mode, Policy, SHARE,
    Setting,
};
use crate::failure::{Failure, Recovery};
use crate::keys::{KeyBy, KeyOf, Lines};
use crate::retry::{Always, Retry, RetryPolicy};
use crate::timeout::{Decision, Fallback, OnTimeout};
use crate::{Budgeted, RetryBudget};
use std::future::pending;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The records that were left out, in that order.
#[derive(Clone, Default)]
pub(super) struct Skipped(Arc<Mutex<Vec<u64>>>);

impl Skipped {
    fn add(&self, record: u64) {
        self.0.lock().unwrap().push(record);
    }

    /// Those that were left out since this was last asked.
    pub(super) fn take(&self) -> Vec<u64> {
        mem::take(&mut *self.0.lock().unwrap())
    }
}

pub(super) fn recovery(
    policy: Policy,
    skipped: &Skipped,
    failure: Failure<u64>,
) -> Recovery<u64, u64> {
    match policy {
        Policy::Fail => Recovery::Fail(failure),
        Policy::Output => Recovery::Output(output(failure.record, BY_POLICY)),
        Policy::Skip => {
            skipped.add(failure.record);
            Recovery::Skip
        }
        Policy::DeadLetter => {
            skipped.add(failure.record);
            Recovery::DeadLetter
        }
    }
}

pub(super) struct AnyTimeout(pub(super) Option<Limit>, pub(super) Skipped);

impl OnTimeout<u64, u64> for AnyTimeout {
    fn on_timeout(&mut self, record: &u64) -> Decision<u64> {
        let by_fallback = Fallback::Output(output(*record, BY_FALLBACK));
        Decision::Now(match self.0 {
            Some(Limit::Skip) => {
                self.1.add(*record);
                Fallback::Skip
            }
            Some(Limit::Output) => by_fallback,
            Some(Limit::Later) => {
                let is_even = record.is_multiple_of(2);
                let later = async move {
                    match is_even {
                        true => by_fallback,
                        false => pending().await,
                    }
                };
                return Decision::Later(Box::pin(later), Duration::from_millis(BOUND));
            }
            _ => Fallback::Fail,
        })
    }
}

type ByResult = Retry<Always, fn(&u64) -> bool>;

pub(super) enum AnyRetry {
    None,
    Plain(ByResult),
    Budgeted(Budgeted<ByResult>),
}

impl AnyRetry {
    pub(super) fn new(setting: &Setting) -> Self {
        let Some(retries) = setting.retries else {
            return Self::None;
        };
        let ms = Duration::from_millis;
        let retry = Retry::exponential(ms(FIRST_DELAY)..ms(LONGEST_DELAY))
            .max_retries(retries)
            .without_place(setting.without_place)
            .when_result((|output| setting::is_unwelcome(*output)) as fn(&u64) -> bool);
        match setting.budget {
            None => Self::Plain(retry),
            Some(reserve) => {
                let budget = RetryBudget::share(SHARE).reserve(reserve);
                Self::Budgeted(retry.budget(budget))
            }
        }
    }
}

impl RetryPolicy<u64, Refused> for AnyRetry {
    fn next_delay(&mut self, retry: u32, outcome: &Result<u64, Refused>) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Plain(policy) => policy.next_delay(retry, outcome),
            Self::Budgeted(policy) => policy.next_delay(retry, outcome),
        }
    }

    fn record(&mut self) {
        if let Self::Budgeted(policy) = self {
            RetryPolicy::<u64, Refused>::record(policy);
        }
    }

    fn without_place(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Plain(policy) => RetryPolicy::<u64, Refused>::without_place(policy),
            Self::Budgeted(policy) => RetryPolicy::<u64, Refused>::without_place(policy),
        }
    }

    fn over_budget(&self) -> u64 {
        match self {
            Self::Budgeted(policy) => RetryPolicy::<u64, Refused>::over_budget(policy),
            _ => 0,
        }
    }
}

pub(super) struct AnyKey(pub(super) Mode);

impl KeyBy<u64> for AnyKey {
    fn lines<Time: Send + 'static>(self) -> Option<Box<dyn Lines<u64, Time>>> {
        let Mode::KeyOrdered(waiting) = self.0 else {
            return None;
        };
        let mut by = KeyOf::new(|record: &u64| setting::key(*record));
        by.waiting = waiting;
        by.lines()
    }
}
