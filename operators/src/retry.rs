//! When a request is made again, and after which delay.
//!
//! A policy decides from what is known about one record: how often its request was made again, and what came of it.
//! There is no state that records could share, so one that fails often slows down nobody else.

use crate::budget::{Budgeted, RetryBudget};
use crate::random::Random;
use std::ops::Range;
use std::time::Duration;

/// As many as the clients of the large clouds make: they outlast a hiccup, and an outage is not their business.
const DEFAULT_RETRIES: u32 = 3;

/// Makes a request again that failed, up to a number of times, each after a delay.
///
/// Every error is a reason, unless [`when`](Retry::when) chooses; no result is, unless
/// [`when_result`](Retry::when_result) does. A panic is a defect and never one. When the retries are used up, the last
/// outcome counts.
///
/// No thread waits, and no sleep is kept for each record.
///
/// # Examples
///
/// ```
/// use peu_operators::{AsyncOptions, Jitter, Retry};
/// use std::{io, time::Duration};
///
/// let (first, longest) = (Duration::from_millis(10), Duration::from_secs(1));
/// let retry = Retry::exponential(first..longest)
///     .jitter(Jitter::Full)
///     .max_retries(5)
///     .when(|error: &io::Error| error.kind() == io::ErrorKind::TimedOut);
/// let options = AsyncOptions::unordered().timeout(Duration::from_secs(5)).retry(retry);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a policy does nothing until a stage has it"]
pub struct Retry<OnError = Always, OnResult = Never> {
    delays: Delays,
    jitter: Jitter,
    max_retries: u32,
    without_place: usize,
    random: Random,
    on_error: OnError,
    on_result: OnResult,
}

#[derive(Clone, Copy, Debug)]
enum Delays {
    Fixed(Duration),
    Exponential { first: Duration, longest: Duration },
}

impl Retry {
    /// The same delay before each retry.
    pub fn fixed(delay: Duration) -> Self {
        Self::new(Delays::Fixed(delay))
    }

    /// The range's start before the first retry, then twice as long each time, but never longer than the range's end.
    ///
    /// # Panics
    ///
    /// If the range begins with zero, which stays zero however often it is doubled, or ends before it begins.
    #[track_caller]
    pub fn exponential(delays: Range<Duration>) -> Self {
        let (first, longest) = (delays.start, delays.end);
        assert!(
            first > Duration::ZERO,
            "an exponential delay must begin with more than zero; for none at all use `Retry::fixed`"
        );
        assert!(
            first <= longest,
            "the longest delay, {longest:?}, must be at least the first one, {first:?}"
        );
        Self::new(Delays::Exponential { first, longest })
    }

    fn new(delays: Delays) -> Self {
        Self {
            delays,
            jitter: Jitter::None,
            max_retries: DEFAULT_RETRIES,
            without_place: 0,
            random: Random::new(),
            on_error: Always,
            on_result: Never,
        }
    }
}

impl<OnError, OnResult> Retry<OnError, OnResult> {
    /// How many times a request is made again at most: the function is called `max_retries + 1` times. 3 by default.
    pub fn max_retries(mut self, max_retries: u32) -> Self {
        self.max_retries = max_retries;
        self
    }

    /// A record gives its place in the stage back while it waits for its next attempt, unless `most` others have done so
    /// already. The capacity then bounds calls and finished results, and new records are taken instead of it. None does by
    /// default.
    ///
    /// A record whose wait is over takes a place, even if none is free: but there are never more calls than places, and
    /// it goes ahead of new records. So a stage holds at most its capacity and `most` records. In a key-ordered stage, a record keeps its
    /// place while another waits for its key in front of a mark that this one is behind.
    pub fn without_place(mut self, most: usize) -> Self {
        self.without_place = most;
        self
    }

    /// Spreads the delays, so that requests which failed together do not come back together. None by default.
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Jitter is drawn from the sequence that `seed` begins, the same each time; by default from one that nobody
    /// knows. For tests.
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = Random::from_seed(seed);
        self
    }

    /// Only errors that `condition` holds for are a reason to try again.
    pub fn when<E, F>(self, condition: F) -> Retry<F, OnResult>
    where
        F: FnMut(&E) -> bool + Send + 'static,
    {
        Retry {
            delays: self.delays,
            jitter: self.jitter,
            max_retries: self.max_retries,
            without_place: self.without_place,
            random: self.random,
            on_error: condition,
            on_result: self.on_result,
        }
    }

    /// Results that `condition` holds for, as empty ones, are a reason to try again too.
    ///
    /// # Examples
    ///
    /// ```
    /// use peu_operators::Retry;
    /// use std::time::Duration;
    ///
    /// let retry = Retry::fixed(Duration::from_millis(50)).when_result(|rows: &Vec<String>| rows.is_empty());
    /// ```
    pub fn when_result<Out, F>(self, condition: F) -> Retry<OnError, F>
    where
        F: FnMut(&Out) -> bool + Send + 'static,
    {
        Retry {
            delays: self.delays,
            jitter: self.jitter,
            max_retries: self.max_retries,
            without_place: self.without_place,
            random: self.random,
            on_error: self.on_error,
            on_result: condition,
        }
    }

    /// Bounds the retries of all records together to a share of the records: the last thing to say of a policy.
    pub fn budget(self, budget: RetryBudget) -> Budgeted<Self> {
        Budgeted::new(self, budget)
    }

    /// The delay before the retry of this number, the first being 1.
    fn delay(&mut self, retry: u32) -> Duration {
        let delay = match self.delays {
            Delays::Fixed(delay) => delay,
            Delays::Exponential { first, longest } => 2_u32
                .checked_pow(retry.saturating_sub(1))
                .and_then(|factor| first.checked_mul(factor))
                .map_or(longest, |delay| delay.min(longest)),
        };
        match self.jitter {
            Jitter::None => delay,
            Jitter::Full => self.random.up_to(delay),
            Jitter::Equal => delay / 2 + self.random.up_to(delay / 2),
        }
    }
}

/// How delays are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Not at all.
    #[default]
    None,
    /// Anywhere between zero and the delay: the least work for a service that struggles.
    Full,
    /// Half of the delay, and anywhere up to the other half: never at once.
    Equal,
}

/// Decides whether a request is made again. [`Retry`] does, and so does any closure of this form: a policy of your own.
///
/// # Examples
///
/// A service that says itself when to come back:
///
/// ```
/// use peu_operators::AsyncOptions;
/// use std::time::Duration;
///
/// #[derive(Debug)]
/// struct Busy {
///     retry_after: Duration,
/// }
///
/// let options = AsyncOptions::ordered().retry(|retry: u32, outcome: &Result<u64, Busy>| match outcome {
///     Err(busy) if retry <= 5 => Some(busy.retry_after),
///     _ => None,
/// });
/// ```
pub trait RetryPolicy<Out, E>: Send + 'static {
    /// The delay before the next attempt; none if `outcome` is final. `retry` is the number that the retry would have:
    /// 1 after the first attempt.
    fn next_delay(&mut self, retry: u32, outcome: &Result<Out, E>) -> Option<Duration>;

    /// A record's first attempt is about to be made. A budget counts them.
    fn record(&mut self) {}

    /// How many records in back-off may be without a place in the stage.
    fn without_place(&self) -> usize {
        0
    }

    /// How many outcomes were final only because a budget was used up.
    fn over_budget(&self) -> u64 {
        0
    }
}

impl<Out, E, OnError, OnResult> RetryPolicy<Out, E> for Retry<OnError, OnResult>
where
    OnError: Condition<E>,
    OnResult: Condition<Out>,
{
    fn next_delay(&mut self, retry: u32, outcome: &Result<Out, E>) -> Option<Duration> {
        if retry > self.max_retries {
            return None;
        }
        let again = match outcome {
            Ok(result) => self.on_result.holds(result),
            Err(error) => self.on_error.holds(error),
        };
        again.then(|| self.delay(retry))
    }

    fn without_place(&self) -> usize {
        self.without_place
    }
}

impl<Out, E, F> RetryPolicy<Out, E> for F
where
    F: FnMut(u32, &Result<Out, E>) -> Option<Duration> + Send + 'static,
{
    fn next_delay(&mut self, retry: u32, outcome: &Result<Out, E>) -> Option<Duration> {
        self(retry, outcome)
    }
}

/// Every first outcome is final: what a stage does unless told otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRetry;

impl<Out, E> RetryPolicy<Out, E> for NoRetry {
    fn next_delay(&mut self, _retry: u32, _outcome: &Result<Out, E>) -> Option<Duration> {
        None
    }
}

/// A reason to try again: a closure, or one of the two below.
pub trait Condition<V>: Send + 'static {
    /// Whether `value` is one.
    fn holds(&mut self, value: &V) -> bool;
}

impl<V, F> Condition<V> for F
where
    F: FnMut(&V) -> bool + Send + 'static,
{
    fn holds(&mut self, value: &V) -> bool {
        self(value)
    }
}

/// Any value is a reason.
#[derive(Clone, Copy, Debug, Default)]
pub struct Always;

impl<V> Condition<V> for Always {
    fn holds(&mut self, _value: &V) -> bool {
        true
    }
}

/// No value is a reason.
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

impl<V> Condition<V> for Never {
    fn holds(&mut self, _value: &V) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{Jitter, Retry};
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn delays_double_up_to_the_longest_and_no_number_is_too_large() {
        let mut retry = Retry::exponential(10 * MS..65 * MS);
        let delays = [1, 2, 3, 4, 33, u32::MAX].map(|number| retry.delay(number));
        assert_eq!(delays, [10, 20, 40, 65, 65, 65].map(|ms| ms * MS));
        let mut retry = Retry::exponential(Duration::MAX..Duration::MAX).jitter(Jitter::Full);
        assert!(retry.delay(u32::MAX) < Duration::MAX);
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_uses_them() {
        for (jitter, least) in [(Jitter::Full, 0), (Jitter::Equal, 50)] {
            let mut retry = Retry::fixed(100 * MS).jitter(jitter).seed(7);
            let delays: Vec<Duration> = (0..1_000).map(|_| retry.delay(1)).collect();
            let (shortest, longest) = (delays.iter().min(), delays.iter().max());
            let (shortest, longest) = (*shortest.unwrap(), *longest.unwrap());
            assert!(least * MS <= shortest && shortest < (least + 5) * MS);
            assert!(95 * MS < longest && longest <= 100 * MS);
        }
    }

    #[test]
    fn a_seed_stands_for_a_sequence() {
        let delays = |seed| {
            let mut retry = Retry::fixed(MS).jitter(Jitter::Full).seed(seed);
            [(); 4].map(|()| retry.delay(1))
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }

    #[test]
    #[should_panic(expected = "must begin with more than zero")]
    fn doubling_zero_is_refused() {
        let _ = Retry::exponential(Duration::ZERO..MS);
    }

    #[test]
    #[should_panic(expected = "must be at least the first one")]
    fn a_longest_delay_below_the_first_is_refused() {
        let _ = Retry::exponential(2 * MS..MS);
    }
}
