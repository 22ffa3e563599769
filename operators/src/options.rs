//! How a stage behaves: its order, its capacity, its timeout, and what it makes of failures.

use crate::failure::OnError;
use crate::hedge::{Hedge, Hedging};
use crate::keys::{KeyOf, NoKey};
use crate::policies::Policies;
#[cfg(feature = "pipeline")]
use crate::policies::{Bundle, StagePolicies};
use crate::retry::NoRetry;
use crate::timeout::{AsyncFallback, FailOnTimeout, Fallback};
use std::future::Future;
use std::time::Duration;

/// Flink's own default, and as good a guess for a service nobody has measured yet.
const DEFAULT_CAPACITY: usize = 100;

/// The options of an async stage: [`ordered`](AsyncOptions::ordered), [`unordered`](AsyncOptions::unordered) or
/// [`key_ordered`](AsyncOptions::key_ordered), then
/// what should differ from the defaults: capacity 100, no timeout, no retry, fail on error.
///
/// # Examples
///
/// ```
/// use peu_operators::{AsyncOptions, OnError};
/// use std::time::Duration;
///
/// let options = AsyncOptions::unordered()
///     .capacity(256)
///     .timeout(Duration::from_millis(500))
///     .on_error(OnError::Skip);
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a stage is made with them"]
pub struct AsyncOptions<P = Policies> {
    pub(crate) bounds: Bounds,
    pub(crate) policies: P,
}

/// What is a number, and no policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) mode: Mode,
    pub(crate) capacity: usize,
    pub(crate) timeout: Option<Duration>,
}

/// In which order outputs leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Ordered,
    Unordered,
}

impl AsyncOptions {
    /// Outputs leave in the order of their records. A slow request holds back all behind it, and they keep their
    /// share of the capacity until they have left.
    pub fn ordered() -> Self {
        Self::new(Mode::Ordered, NoKey)
    }

    /// Outputs leave as their requests finish: in the order in which the requests woke the stage; those that were
    /// ready at once, or that time out together, in the order of their records.
    pub fn unordered() -> Self {
        Self::new(Mode::Unordered, NoKey)
    }

    /// Outputs of records with the same key leave in the order of their records, for no two of them are in flight
    /// together; those of different keys leave as they finish.
    ///
    /// A record whose key is busy waits in line. It takes no place of the capacity, and its time does not run, until it
    /// is accepted. [`waiting`](AsyncOptions::waiting) bounds the lines. A key costs memory only while it is busy.
    ///
    /// Among records with times and marks, what came in behind a mark leaves behind all that came in front of it. So while a record waits for
    /// its key in front of a mark, those behind the mark leave it one place of the capacity.
    ///
    /// If `key` panics, its record has failed with that panic. `Hash` and `Eq` of keys must not panic.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::{StreamExt as _, future::block_on, stream};
    /// use peu_operators::{AsyncOptions, StreamExt as _};
    /// use std::convert::Infallible;
    ///
    /// let bookings = [("Ada", 1), ("Bob", 1), ("Ada", 2), ("Ada", 3)];
    /// let stored = stream::iter(bookings).async_map(
    ///     &Threads,
    ///     "store",
    ///     |booking| async move { Ok::<_, Infallible>(booking) },
    ///     AsyncOptions::key_ordered(|(name, _): &(&str, u32)| *name),
    /// );
    /// let stored: Vec<(&str, u32)> = block_on(stored.map(Result::unwrap).collect());
    /// let of_ada = stored.iter().filter(|(name, _)| *name == "Ada");
    /// assert_eq!(of_ada.map(|(_, number)| *number).collect::<Vec<_>>(), [1, 2, 3]);
    /// ```
    pub fn key_ordered<T, K, F>(
        key: F,
    ) -> AsyncOptions<Policies<FailOnTimeout, NoRetry, OnError, KeyOf<F>>>
    where
        F: FnMut(&T) -> K + Send + 'static,
    {
        AsyncOptions::new(Mode::Unordered, KeyOf::new(key))
    }
}

impl<F, Timeout, Retry, Failure, Guards, Hedges>
    AsyncOptions<Policies<Timeout, Retry, Failure, KeyOf<F>, Guards, Hedges>>
{
    /// At most `waiting` records wait for their keys, all keys together; 100 by default. Once there are so many, the
    /// stage takes no input until one of them is accepted.
    ///
    /// # Panics
    ///
    /// If `waiting` is 0: a record has to be taken before its key is known.
    #[track_caller]
    pub fn waiting(mut self, waiting: usize) -> Self {
        assert!(
            waiting > 0,
            "a key-ordered stage must let at least 1 record wait"
        );
        self.policies.key.waiting = waiting;
        self
    }
}

impl<Key> AsyncOptions<Policies<FailOnTimeout, NoRetry, OnError, Key>> {
    fn new(mode: Mode, key: Key) -> Self {
        let bounds = Bounds {
            mode,
            capacity: DEFAULT_CAPACITY,
            timeout: None,
        };
        let policies = Policies::by_default(key);
        Self { bounds, policies }
    }
}

impl<Timeout, Retry, Failure, Key, Guards, Hedges>
    AsyncOptions<Policies<Timeout, Retry, Failure, Key, Guards, Hedges>>
{
    /// At most `capacity` records are in the stage: in flight, or finished and not yet taken by the consumer. A full
    /// stage takes no input, and goes on with what it has. Memory follows what was in use, not the bound.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0: such a stage could never make a call.
    #[track_caller]
    pub fn capacity(mut self, capacity: usize) -> Self {
        assert!(
            capacity > 0,
            "the capacity of an async stage must be at least 1"
        );
        self.bounds.capacity = capacity;
        self
    }

    /// Gives each request `limit`, from the moment its record is accepted until the request has a result, retries
    /// included; waiting to be emitted is not part of it. One that runs into the limit is dropped, which cancels it, and has failed.
    ///
    /// A request is polled a last time before it is given up: a result that is there, but that the stage had no time
    /// to fetch, still counts.
    pub fn timeout(
        self,
        limit: Duration,
    ) -> AsyncOptions<Policies<FailOnTimeout, Retry, Failure, Key, Guards, Hedges>> {
        self.with_timeout(limit, FailOnTimeout)
    }

    /// As [`timeout`](AsyncOptions::timeout), but `fallback` sees the record and decides what becomes of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use peu_operators::{AsyncOptions, Fallback};
    /// use std::time::Duration;
    ///
    /// let options = AsyncOptions::ordered().timeout_with(
    ///     Duration::from_millis(500),
    ///     |word: &String| match word.len() {
    ///         0 => Fallback::Skip,
    ///         known => Fallback::Output(known),
    ///     },
    /// );
    /// ```
    pub fn timeout_with<T, Out, F>(
        self,
        limit: Duration,
        fallback: F,
    ) -> AsyncOptions<Policies<F, Retry, Failure, Key, Guards, Hedges>>
    where
        F: FnMut(&T) -> Fallback<Out> + Send + 'static,
    {
        self.with_timeout(limit, fallback)
    }

    /// As [`timeout`](AsyncOptions::timeout), but `fallback` is async: it may ask another service, or a slower table. It has
    /// at most `bound`, from the moment the record's time was up, and then is dropped; the record has failed with
    /// [`Cause::FallbackTimedOut`](crate::Cause::FallbackTimedOut).
    ///
    /// The record keeps its place in the stage meanwhile. A fallback is called once for each record that timed out,
    /// is not retried, and is no call that a guard counts. It costs two allocations.
    ///
    /// # Examples
    ///
    /// ```
    /// use peu_operators::{AsyncOptions, Fallback};
    /// use std::time::Duration;
    ///
    /// # async fn ask_the_replica(word: String) -> Option<usize> { Some(word.len()) }
    /// let options = AsyncOptions::ordered().timeout_then(
    ///     Duration::from_millis(500),
    ///     Duration::from_millis(200),
    ///     |word: String| async move {
    ///         match ask_the_replica(word).await {
    ///             Some(answer) => Fallback::Output(answer),
    ///             None => Fallback::Fail,
    ///         }
    ///     },
    /// );
    /// ```
    pub fn timeout_then<T, Out, F, Fut>(
        self,
        limit: Duration,
        bound: Duration,
        fallback: F,
    ) -> AsyncOptions<Policies<AsyncFallback<F>, Retry, Failure, Key, Guards, Hedges>>
    where
        F: FnMut(T) -> Fut + Send + 'static,
        Fut: Future<Output = Fallback<Out>> + Send + 'static,
    {
        self.with_timeout(limit, AsyncFallback::new(fallback, bound))
    }

    fn with_timeout<Other>(
        mut self,
        limit: Duration,
        timeout: Other,
    ) -> AsyncOptions<Policies<Other, Retry, Failure, Key, Guards, Hedges>> {
        self.bounds.timeout = Some(limit);
        self.with(|policies| Policies {
            timeout,
            retry: policies.retry,
            failure: policies.failure,
            key: policies.key,
            guard: policies.guard,
            hedge: policies.hedge,
        })
    }

    fn with<Other>(
        self,
        exchange: impl FnOnce(Policies<Timeout, Retry, Failure, Key, Guards, Hedges>) -> Other,
    ) -> AsyncOptions<Other> {
        AsyncOptions {
            bounds: self.bounds,
            policies: exchange(self.policies),
        }
    }

    /// Makes requests again that failed: see [`Retry`](crate::Retry). The timeout covers all of a record's attempts
    /// and the delays between them. A record keeps its place in the stage while it waits.
    ///
    /// When the input ends, or a failure ends the stage, nobody waits any longer: each record has at most one more
    /// attempt, at once. One that waits has it now; one whose attempt is under way, if that fails.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::{StreamExt as _, future::block_on, stream};
    /// use peu_operators::{AsyncOptions, Retry, StreamExt as _};
    /// use std::time::Duration;
    ///
    /// let mut calls = 0;
    /// let mut answers = stream::iter(["question"]).async_map(
    ///     &Threads,
    ///     "ask",
    ///     move |question| {
    ///         calls += 1;
    ///         let answer = if calls < 2 { Err("busy") } else { Ok(question.len()) };
    ///         async move { answer }
    ///     },
    ///     AsyncOptions::ordered().retry(Retry::fixed(Duration::from_millis(1)).max_retries(2)),
    /// );
    /// assert_eq!(block_on(answers.next()).unwrap().unwrap(), 8);
    /// assert_eq!(answers.metrics().retries, 1);
    /// ```
    pub fn retry<Policy>(
        self,
        retry: Policy,
    ) -> AsyncOptions<Policies<Timeout, Policy, Failure, Key, Guards, Hedges>> {
        self.with(|policies| Policies {
            timeout: policies.timeout,
            retry,
            failure: policies.failure,
            key: policies.key,
            guard: policies.guard,
            hedge: policies.hedge,
        })
    }

    /// What a failure does: a request's error that is final, its timeout (unless a fallback decides), its panic. One of
    /// [`OnError`](crate::OnError), [`DeadLetters`](crate::DeadLetters), or a closure: see
    /// [`ErrorPolicy`](crate::ErrorPolicy).
    pub fn on_error<Policy>(
        self,
        failure: Policy,
    ) -> AsyncOptions<Policies<Timeout, Retry, Policy, Key, Guards, Hedges>> {
        self.with(|policies| Policies {
            timeout: policies.timeout,
            retry: policies.retry,
            failure,
            key: policies.key,
            guard: policies.guard,
            hedge: policies.hedge,
        })
    }

    /// Asks `guard` before each call of the function: a [`RateLimit`](crate::RateLimit), a
    /// [`CircuitBreaker`](crate::CircuitBreaker), a limit of concurrency, or a [`Guard`](crate::Guard) of yours. There may
    /// be several; a call is made when all let it pass.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::{StreamExt as _, future::block_on, stream};
    /// use peu_operators::{AsyncOptions, CircuitBreaker, RateLimit, StreamExt as _};
    /// use std::{convert::Infallible, time::Duration};
    ///
    /// let options = AsyncOptions::unordered()
    ///     .guard(RateLimit::per_second(1_000.0))
    ///     .guard(CircuitBreaker::new(0.5, Duration::from_secs(30)));
    /// let doubled = stream::iter(0..20).async_map(
    ///     &Threads,
    ///     "double",
    ///     |n: u64| async move { Ok::<_, Infallible>(2 * n) },
    ///     options,
    /// );
    /// assert_eq!(block_on(doubled.count()), 20);
    /// ```
    #[expect(
        clippy::type_complexity,
        reason = "it is what the others return, and a pair"
    )]
    pub fn guard<Other>(
        self,
        guard: Other,
    ) -> AsyncOptions<Policies<Timeout, Retry, Failure, Key, (Guards, Other), Hedges>> {
        self.with(|policies| Policies {
            timeout: policies.timeout,
            retry: policies.retry,
            failure: policies.failure,
            key: policies.key,
            guard: (policies.guard, guard),
            hedge: policies.hedge,
        })
    }

    /// Makes a second call for a record whose first takes long: the first answer wins, and the other call is dropped. An
    /// error counts only when both have failed. Once for each attempt.
    ///
    /// Both calls run in the place of their record, but never more calls in all than the capacity: a hedge waits until one
    /// ends, and goes ahead of new records. Guards are asked as before any call.
    ///
    /// # Examples
    ///
    /// For the slowest of a hundred, once it is known how slow that is:
    ///
    /// ```
    /// use peu_operators::{AsyncOptions, Hedge};
    ///
    /// let options = AsyncOptions::ordered().hedge(Hedge::percentile(0.99));
    /// ```
    pub fn hedge(
        self,
        hedge: Hedge,
    ) -> AsyncOptions<Policies<Timeout, Retry, Failure, Key, Guards, Hedge>> {
        self.with(|policies| Policies {
            timeout: policies.timeout,
            retry: policies.retry,
            failure: policies.failure,
            key: policies.key,
            guard: policies.guard,
            hedge,
        })
    }
}

#[cfg(feature = "pipeline")]
impl<P> AsyncOptions<P> {
    /// These options, unless they make no sense together: for who makes the stage later, in a place that is not the user's.
    #[track_caller]
    pub(crate) fn checked<T, Out, E>(self, stage: &str) -> AsyncOptions<Bundle<P, T, Out, E>>
    where
        P: StagePolicies<T, Out, E>,
    {
        let (bounds, policies) = (self.bounds, self.policies.into_bundle());
        bounds.assert_sound(stage, &policies.hedge);
        AsyncOptions { bounds, policies }
    }
}

impl Bounds {
    /// Refuses what makes no sense together.
    #[track_caller]
    pub(crate) fn assert_sound(&self, stage: &str, hedge: &impl Hedging) {
        if let (Some(limit), Some(delay)) = (self.timeout, hedge.delay()) {
            assert!(
                delay < limit,
                "stage `{stage}`: a second call after {delay:?} would never be made, for a request has {limit:?}; \
                 hedge sooner, or give it a longer timeout"
            );
        }
        assert!(
            self.capacity > 1 || !has_hedges(hedge),
            "stage `{stage}`: a capacity of 1 leaves no place for a second call; raise it, or don't hedge"
        );
    }
}

fn has_hedges<H: Hedging>(_hedge: &H) -> bool {
    H::HEDGES
}
