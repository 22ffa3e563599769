//! A bound on retries as a share of requests, so that retries do not finish off a service that struggles.
//!
//! A limit for each record does not help there: when every request fails, three retries each make four times the load.
//! A budget does. It is a bucket of tokens: each record adds its share of one, each retry takes one, and there are
//! never more than the reserve. So among any number of records that come one after another, retries are at most that
//! number times the share, and the reserve.
//!
//! The idea is Finagle's; tower's `budget` and gRPC's retry throttling have it too. Unlike theirs this one needs no
//! clock: what was not used is forgotten because the bucket is full, not because it is old.

use crate::retry::RetryPolicy;
use std::time::Duration;

/// Enough for a hiccup that hits all of a small stage, and soon used up in an outage.
const DEFAULT_RESERVE: u32 = 10;

/// How many retries a stage may make, as a share of its records.
///
/// # Examples
///
/// One retry for five records, and ten more to begin with:
///
/// ```
/// use peu_operators::{AsyncOptions, Retry, RetryBudget};
/// use std::time::Duration;
///
/// let retry = Retry::fixed(Duration::from_millis(20)).budget(RetryBudget::share(0.2));
/// let options = AsyncOptions::unordered().retry(retry);
/// ```
#[derive(Clone, Debug)]
pub struct RetryBudget {
    share: f64,
    reserve: f64,
    tokens: f64,
    refused: u64,
}

impl RetryBudget {
    /// Each record pays for `share` of a retry: 0.2 allows for one retry to five records.
    ///
    /// # Panics
    ///
    /// If `share` is negative or not a number.
    #[track_caller]
    pub fn share(share: f64) -> Self {
        assert!(
            share >= 0.0,
            "a retry budget is a share of the records, such as 0.2, and not {share}"
        );
        let reserve = f64::from(DEFAULT_RESERVE);
        Self {
            share,
            reserve,
            tokens: reserve,
            refused: 0,
        }
    }

    /// How many retries may be made at once at most, and are there to begin with; 10 by default.
    ///
    /// # Panics
    ///
    /// If `reserve` is 0: then there would never be a whole retry.
    #[track_caller]
    pub fn reserve(mut self, reserve: u32) -> Self {
        assert!(
            reserve > 0,
            "a retry budget must be able to hold at least 1 retry"
        );
        self.reserve = f64::from(reserve);
        self.tokens = self.reserve;
        self
    }

    /// A record comes.
    fn deposit(&mut self) {
        self.tokens = (self.tokens + self.share).min(self.reserve);
    }

    /// A retry is to be made. False: there is nothing left for it.
    #[must_use]
    fn withdraw(&mut self) -> bool {
        // Shares such as 0.1 have no exact form, and ten of them are to make one.
        const SLACK: f64 = 1e-9;
        let affordable = self.tokens + SLACK >= 1.0;
        match affordable {
            true => self.tokens = (self.tokens - 1.0).max(0.0),
            false => self.refused += 1,
        }
        affordable
    }
}

/// A retry policy with a budget: what [`Retry::budget`](crate::Retry::budget) returns, and, for a policy of your own,
/// [`Budgeted::new`].
///
/// When the budget is used up, an outcome that would be tried again is final. It is counted in
/// [`Metrics::over_budget`](crate::Metrics::over_budget).
#[derive(Clone, Debug)]
#[must_use = "a policy does nothing until a stage has it"]
pub struct Budgeted<Policy> {
    policy: Policy,
    budget: RetryBudget,
}

impl<Policy> Budgeted<Policy> {
    /// What `policy` would try again is tried again if `budget` allows for it.
    pub fn new(policy: Policy, budget: RetryBudget) -> Self {
        Self { policy, budget }
    }
}

impl<Out, E, Policy> RetryPolicy<Out, E> for Budgeted<Policy>
where
    Policy: RetryPolicy<Out, E>,
{
    fn next_delay(&mut self, retry: u32, outcome: &Result<Out, E>) -> Option<Duration> {
        let delay = self.policy.next_delay(retry, outcome)?;
        self.budget.withdraw().then_some(delay)
    }

    fn record(&mut self) {
        self.policy.record();
        self.budget.deposit();
    }

    fn without_place(&self) -> usize {
        self.policy.without_place()
    }

    fn over_budget(&self) -> u64 {
        self.policy.over_budget() + self.budget.refused
    }
}

#[cfg(test)]
mod tests {
    use super::RetryBudget;
    use proptest::prelude::*;

    #[test]
    fn ten_tenths_make_one() {
        let mut budget = RetryBudget::share(0.1).reserve(1);
        assert!(budget.withdraw());
        for _ in 0..9 {
            budget.deposit();
            assert!(!budget.withdraw());
        }
        budget.deposit();
        assert!(budget.withdraw());
        assert_eq!(budget.refused, 9);
    }

    #[test]
    #[should_panic(expected = "is a share of the records")]
    fn a_negative_share_is_refused() {
        let _ = RetryBudget::share(-0.1);
    }

    #[test]
    #[should_panic(expected = "at least 1 retry")]
    fn a_reserve_of_none_is_refused() {
        let _ = RetryBudget::share(0.1).reserve(0);
    }

    proptest! {
        #[test]
        fn in_any_stretch_retries_are_at_most_the_share_and_the_reserve(
            share in 0.0_f64..2.0,
            reserve in 1_u32..20,
            steps in prop::collection::vec(prop::bool::ANY, 1..300),
            from in 0_usize..300,
        ) {
            let mut budget = RetryBudget::share(share).reserve(reserve);
            let (mut records, mut retries) = (0_u32, 0_u32);
            for (step, is_record) in steps.into_iter().enumerate() {
                let counts = u32::from(step >= from);
                if is_record {
                    budget.deposit();
                    records += counts;
                } else if budget.withdraw() {
                    retries += counts;
                }
            }
            let bound = f64::from(reserve) + share * f64::from(records);
            prop_assert!(f64::from(retries) <= bound + 1e-6);
        }
    }
}
