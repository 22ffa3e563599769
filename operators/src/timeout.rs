//! What becomes of a record whose time is up.

use std::fmt::{self, Debug, Formatter};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// What becomes of a record whose request timed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback<Out> {
    /// This is its output.
    Output(Out),
    /// It has none, and is counted in [`Metrics::skipped`](crate::Metrics::skipped).
    Skip,
    /// It has failed, and the error policy decides.
    Fail,
}

/// A fallback that takes a while.
pub(crate) type FallbackFuture<Out> = Pin<Box<dyn Future<Output = Fallback<Out>> + Send>>;

/// What [`OnTimeout`] decides.
#[non_exhaustive]
pub enum Decision<Out> {
    /// It is known what becomes of the record.
    Now(Fallback<Out>),
    /// It is known when this future is ready, and has to be within this time.
    Later(
        Pin<Box<dyn Future<Output = Fallback<Out>> + Send>>,
        Duration,
    ),
}

impl<Out: Debug> Debug for Decision<Out> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(fallback) => f.debug_tuple("Now").field(fallback).finish(),
            Self::Later(_, bound) => f.debug_tuple("Later").field(bound).finish(),
        }
    }
}

/// Decides what becomes of a record whose request timed out. Closures do; see
/// [`AsyncOptions::timeout_with`](crate::AsyncOptions::timeout_with) and
/// [`AsyncOptions::timeout_then`](crate::AsyncOptions::timeout_then).
pub trait OnTimeout<T, Out>: Send + 'static {
    /// Called once for each record that timed out, after its request was dropped.
    fn on_timeout(&mut self, record: &T) -> Decision<Out>;
}

impl<T, Out, F> OnTimeout<T, Out> for F
where
    F: FnMut(&T) -> Fallback<Out> + Send + 'static,
{
    fn on_timeout(&mut self, record: &T) -> Decision<Out> {
        Decision::Now(self(record))
    }
}

/// A timeout is a failure: what [`AsyncOptions::timeout`](crate::AsyncOptions::timeout) stands for.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailOnTimeout;

impl<T, Out> OnTimeout<T, Out> for FailOnTimeout {
    fn on_timeout(&mut self, _record: &T) -> Decision<Out> {
        Decision::Now(Fallback::Fail)
    }
}

/// An async function decides: what [`AsyncOptions::timeout_then`](crate::AsyncOptions::timeout_then) stands for.
#[derive(Clone, Copy, Debug)]
pub struct AsyncFallback<F> {
    function: F,
    bound: Duration,
}

impl<F> AsyncFallback<F> {
    pub(crate) fn new(function: F, bound: Duration) -> Self {
        Self { function, bound }
    }
}

impl<T, Out, F, Fut> OnTimeout<T, Out> for AsyncFallback<F>
where
    T: Clone,
    F: FnMut(T) -> Fut + Send + 'static,
    Fut: Future<Output = Fallback<Out>> + Send + 'static,
{
    fn on_timeout(&mut self, record: &T) -> Decision<Out> {
        Decision::Later(Box::pin((self.function)(record.clone())), self.bound)
    }
}
