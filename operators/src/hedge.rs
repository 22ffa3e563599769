//! A second call for a record whose first takes unusually long: the first answer wins.
//!
//! Few requests are much slower than the rest, for reasons that a second one seldom shares: a lost packet, a pause, a
//! queue on one of many servers. Asking again costs a little more load, and takes most of the tail away (Dean and
//! Barroso, "The Tail at Scale", 2013). It must not be done for a call that changes something twice when it is made twice.

use crate::latency::Latencies;
use std::time::Duration;

/// A percentile of fewer calls is a guess.
const MINIMUM: u64 = 100;

/// How many calls may pass before the percentile is worked out anew, which takes a look at all buckets.
const REFRESH: u64 = 32;

/// After so many calls, those so far count half: the percentile follows a service that changes within some thousands.
const FADE_AFTER: u64 = 2_000;

/// When a second call is made for a record; see [`AsyncOptions::hedge`](crate::AsyncOptions::hedge).
#[derive(Clone, Debug)]
#[must_use = "a policy does nothing until a stage has it"]
pub struct Hedge(When);

#[derive(Clone, Debug)]
enum When {
    After(Duration),
    Percentile {
        share: f64,
        seen: Box<Latencies>,
        delay: Option<Duration>,
    },
}

impl Hedge {
    /// A second call is made when the first has no result after `delay`.
    pub fn after(delay: Duration) -> Self {
        Self(When::After(delay))
    }

    /// A second call is made when the first has taken longer than this share of the successful calls before it, 0.99
    /// being 99 in 100; never before 100 have succeeded. More recent calls count more.
    ///
    /// # Panics
    ///
    /// If `share` is not between 0 and 1.
    #[track_caller]
    pub fn percentile(share: f64) -> Self {
        assert!(
            (0.0..=1.0).contains(&share),
            "a percentile is a share between 0 and 1, such as 0.99, and not {share}"
        );
        Self(When::Percentile {
            share,
            seen: Box::new(Latencies::new()),
            delay: None,
        })
    }
}

/// Whether and when a second call is made: [`Hedge`] or [`NoHedge`].
pub trait Hedging: Send + 'static {
    /// Whether there ever is one.
    #[doc(hidden)]
    const HEDGES: bool;

    /// How long the first call may take.
    #[doc(hidden)]
    fn delay(&self) -> Option<Duration>;

    /// A call succeeded, and took so long.
    #[doc(hidden)]
    fn learn(&mut self, took: Duration);
}

impl Hedging for Hedge {
    const HEDGES: bool = true;

    fn delay(&self) -> Option<Duration> {
        match &self.0 {
            When::After(delay) => Some(*delay),
            When::Percentile { delay, .. } => *delay,
        }
    }

    fn learn(&mut self, took: Duration) {
        let When::Percentile { share, seen, delay } = &mut self.0 else {
            return;
        };
        seen.add(took);
        if seen.count() >= MINIMUM && (delay.is_none() || seen.count().is_multiple_of(REFRESH)) {
            *delay = seen.percentile(*share);
        }
        if seen.count() >= FADE_AFTER {
            seen.fade();
        }
    }
}

/// One call at a time for each record: what a stage makes unless told otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHedge;

impl Hedging for NoHedge {
    const HEDGES: bool = false;

    fn delay(&self) -> Option<Duration> {
        None
    }

    fn learn(&mut self, _took: Duration) {}
}

#[cfg(test)]
mod tests {
    use super::{FADE_AFTER, Hedge, Hedging as _};
    use std::time::Duration;

    #[test]
    fn the_percentile_follows_the_service() {
        let ms = Duration::from_millis;
        let mut hedge = Hedge::percentile(0.9);
        (0..99).for_each(|_| hedge.learn(ms(10)));
        assert_eq!(hedge.delay(), None);
        hedge.learn(ms(10));
        let delay = hedge.delay().expect("it is known now");
        assert!(ms(10) <= delay && delay <= ms(13), "{delay:?}");
        (0..FADE_AFTER).for_each(|_| hedge.learn(ms(100)));
        let delay = hedge.delay().expect("it is known");
        assert!(ms(100) <= delay && delay <= ms(125), "{delay:?}");
    }
}
