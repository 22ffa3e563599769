//! When an async sink makes its requests, how many, and what it makes of those that fail.

use crate::batch_options::Size;
use crate::error::Cause;
use crate::failure::{ErrorPolicy, OnError};
use crate::retry::{NoRetry, RetryPolicy};
use std::error::Error;
use std::fmt::{self, Debug, Display, Formatter};
use std::time::Duration;

/// As many as Flink's async sinks have: a service takes fewer, or says so.
const DEFAULT_IN_FLIGHT: usize = 50;
/// As many as Flink's async sinks have: some requests' worth, and little memory.
const DEFAULT_BUFFERED: usize = 10_000;

/// The options of an [`AsyncSink`](super::AsyncSink): how many records a request has and how long they wait for one, and what
/// should differ from the defaults: 50 requests in flight, 10,000 records buffered, no timeout, no retry, fail on error.
///
/// # Examples
///
/// ```
/// use peu_operators::pipeline::AsyncSinkOptions;
/// use peu_operators::{Cause, Retry};
/// use std::time::Duration;
///
/// let ms = Duration::from_millis;
/// // A request that had no answer in time may have been carried out: here it is better to stop than to write twice.
/// let retry = Retry::exponential(ms(10)..ms(1_000)).when(|cause: &Cause| !matches!(cause, Cause::TimedOut(_)));
/// let options = AsyncSinkOptions::new(500, ms(100))
///     .bytes(1 << 20, |line: &String| line.len() as u64)
///     .record_bytes(64 << 10, |line: &String| line.len() as u64)
///     .in_flight(8)
///     .timeout(ms(5_000))
///     .retry(retry);
/// ```
#[must_use = "options do nothing until a sink is made with them"]
pub struct AsyncSinkOptions<T> {
    pub(super) count: usize,
    pub(super) age: Duration,
    pub(super) bytes: Option<(u64, Box<Size<T>>)>,
    pub(super) record_bytes: Option<(u64, Box<Size<T>>)>,
    pub(super) in_flight: usize,
    pub(super) buffered: usize,
    pub(super) timeout: Option<Duration>,
    pub(super) retry: Box<dyn RetryPolicy<(), Cause>>,
    pub(super) failure: Box<dyn ErrorPolicy<T, ()>>,
}

impl<T: 'static> AsyncSinkOptions<T> {
    /// A request is made when `count` records wait for one, or when the first of them has waited for `age`, whichever comes
    /// first.
    ///
    /// # Panics
    ///
    /// If `count` is 0.
    #[track_caller]
    pub fn new(count: usize, age: Duration) -> Self {
        assert!(count > 0, "a request must have at least 1 record");
        Self {
            count,
            age,
            bytes: None,
            record_bytes: None,
            in_flight: DEFAULT_IN_FLIGHT,
            buffered: DEFAULT_BUFFERED.max(count.saturating_mul(2)),
            timeout: None,
            retry: Box::new(NoRetry),
            failure: Box::new(OnError::Fail),
        }
    }

    /// Nor has a request more than so many bytes, by a size of yours, and it is made when so many wait. A record that is larger by
    /// itself is sent alone.
    pub fn bytes<F>(mut self, most: u64, size: F) -> Self
    where
        F: Fn(&T) -> u64 + Send + Sync + 'static,
    {
        self.bytes = Some((most, Box::new(size)));
        self
    }

    /// A record with more than so many bytes, by a size of yours, is not taken: it has failed when it is written, with a
    /// [`RecordTooLarge`], before any request.
    pub fn record_bytes<F>(mut self, most: u64, size: F) -> Self
    where
        F: Fn(&T) -> u64 + Send + Sync + 'static,
    {
        self.record_bytes = Some((most, Box::new(size)));
        self
    }

    /// How many requests are in flight at most.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[track_caller]
    pub fn in_flight(mut self, most: usize) -> Self {
        assert!(most > 0, "at least 1 request must be in flight");
        self.in_flight = most;
        self
    }

    /// With how many records that wait, for a request or for a retry, the sink takes no more. Those in flight are not among them;
    /// when they fail, they come on top.
    ///
    /// # Panics
    ///
    /// If it is not more than a request has.
    #[track_caller]
    pub fn buffered(mut self, most: usize) -> Self {
        let count = self.count;
        assert!(
            most > count,
            "the sink must have room for more records than a request has, {count}, and not for {most}: \
             else nothing is gathered while requests are in flight"
        );
        self.buffered = most;
        self
    }

    /// A request without an answer after so long has failed, with [`Cause::TimedOut`], and is dropped: an answer that comes later
    /// changes nothing. Whether it is made again is the retry policy's to say, as of any failure.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Records whose request failed are sent again, as often as `policy` says, and after its delay; with a request's records, the
    /// longest. A [`Retry`](crate::Retry) does for all causes but panics, or for those [`when`](crate::Retry::when) chooses.
    /// An error of your function is a [`Cause::Failed`] with an `Arc` of it.
    pub fn retry(mut self, policy: impl RetryPolicy<(), Cause>) -> Self {
        self.retry = Box::new(policy);
        self
    }

    /// What becomes of records that failed for good: [`OnError`], [`DeadLetters`](crate::DeadLetters), or a closure of yours.
    pub fn on_error(mut self, policy: impl ErrorPolicy<T, ()>) -> Self {
        self.failure = Box::new(policy);
        self
    }
}

impl<T> Debug for AsyncSinkOptions<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncSinkOptions")
            .field("count", &self.count)
            .field("age", &self.age)
            .field("in_flight", &self.in_flight)
            .field("buffered", &self.buffered)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A record has more bytes than [`AsyncSinkOptions::record_bytes`] allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordTooLarge {
    /// Of the record, in bytes.
    pub size: u64,
    /// The most that is allowed.
    pub bound: u64,
}

impl Display for RecordTooLarge {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "it has {} bytes, and the sink takes records of at most {}: allow more, or handle it in the error policy",
            self.size, self.bound
        )
    }
}

impl Error for RecordTooLarge {}
