//! A limit for how long a future may take.

use super::{Sleep, saturating_add, sleep_until};
use pin_project_lite::pin_project;
use std::error::Error;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Awaits `future`, but for no longer than `duration` from this call.
///
/// The future is polled first: one that is ready is never late, however long ago the limit passed, and one that is ready
/// at its first poll costs no timer. A limit cannot interrupt a poll: a future that blocks its thread blocks its timeout
/// as well.
///
/// # Errors
/// [`Elapsed`], if the future was pending when the time had passed. Drop the [`Timeout`] to drop the future, or go on
/// with it by [`Timeout::into_inner`].
///
/// # Cancel safety
/// Dropping it drops the future and cancels the timer; it loses nothing that dropping the future alone would not lose. The
/// same happens to the future when the time has passed, so what it must not lose must survive being dropped.
///
/// # Panics
/// If this thread is in no runtime, as [`sleep`](super::sleep()).
///
/// # Examples
/// ```
/// use peu_reactor::{Reactor, time::timeout};
/// use std::time::Duration;
///
/// let reactor = Reactor::new()?;
/// let _entered = reactor.enter();
/// let answer = futures_lite::future::block_on(timeout(Duration::from_secs(5), async { 42 }));
/// assert_eq!(answer, Ok(42));
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    timeout_at(saturating_add(Instant::now(), duration), future)
}

/// Awaits `future`, but not beyond `deadline`. Otherwise as [`timeout`].
#[track_caller]
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout {
        future: future.into_future(),
        sleep: sleep_until(deadline),
    }
}

pin_project! {
    /// A future with a limit, made by [`timeout`] and [`timeout_at`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F> Timeout<F> {
    /// The future that is limited.
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future that is limited.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// The future without its limit.
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        // Without asking the budget: a future that uses it up at every poll would never time out.
        this.sleep.poll_deadline(cx).map(|()| Err(Elapsed(())))
    }
}

/// The error of a [`timeout`]: its future was still pending when the time had passed.
///
/// It becomes an [`io::Error`] of kind [`TimedOut`](io::ErrorKind::TimedOut) by `?` or `into()`.
///
/// # Examples
/// ```
/// use peu_reactor::time::timeout;
/// use std::future::Future;
/// use std::{io, time::Duration};
///
/// async fn within_a_second<T>(answer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
///     timeout(Duration::from_secs(1), answer).await?
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out: the deadline passed before the future completed")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
