//! All that a stage asks while it runs, as one type.
//!
//! Each policy is a type of its own, so one that is not used costs nothing: there is no code to it. Bundled, they are
//! a single parameter of whatever takes options, and stay one when there are more of them.

use crate::failure::{ErrorPolicy, OnError};
use crate::guard::{Guard, NoGuard};
use crate::hedge::{Hedging, NoHedge};
use crate::keys::{KeyBy, NoKey};
use crate::retry::{NoRetry, RetryPolicy};
use crate::timeout::{FailOnTimeout, OnTimeout};

/// The policies of a stage: what the methods of [`AsyncOptions`](crate::AsyncOptions) exchange one by one.
#[derive(Clone, Debug)]
pub struct Policies<
    Timeout = FailOnTimeout,
    Retry = NoRetry,
    Failure = OnError,
    Key = NoKey,
    Guards = NoGuard,
    Hedges = NoHedge,
> {
    pub(crate) timeout: Timeout,
    pub(crate) retry: Retry,
    pub(crate) failure: Failure,
    pub(crate) key: Key,
    pub(crate) guard: Guards,
    pub(crate) hedge: Hedges,
}

impl<Key> Policies<FailOnTimeout, NoRetry, OnError, Key> {
    pub(crate) fn by_default(key: Key) -> Self {
        Self {
            timeout: FailOnTimeout,
            retry: NoRetry,
            failure: OnError::Fail,
            key,
            guard: NoGuard,
            hedge: NoHedge,
        }
    }
}

/// [`Policies`] that fit a stage: for records `T`, outputs `Out` and errors `E`. Nothing else is.
///
/// # Examples
///
/// A function of yours that takes options:
///
/// ```
/// use peu_operators::{AsyncOptions, StagePolicies};
/// use std::io;
///
/// fn describe<P: StagePolicies<String, usize, io::Error>>(options: &AsyncOptions<P>) -> &'static str {
///     "any options that fit a stage from strings to numbers"
/// }
///
/// describe(&AsyncOptions::ordered());
/// ```
pub trait StagePolicies<T, Out, E>: Sized + Send + 'static {
    #[doc(hidden)]
    type Timeout: OnTimeout<T, Out>;
    #[doc(hidden)]
    type Retry: RetryPolicy<Out, E>;
    #[doc(hidden)]
    type Failure: ErrorPolicy<T, Out>;
    #[doc(hidden)]
    type Key: KeyBy<T>;
    #[doc(hidden)]
    type Guard: Guard<Out, E>;
    #[doc(hidden)]
    type Hedge: Hedging;

    #[doc(hidden)]
    fn into_bundle(self) -> Bundle<Self, T, Out, E>;
}

impl<T, Out, E, Timeout, Retry, Failure, Key, Guards, Hedges> StagePolicies<T, Out, E>
    for Policies<Timeout, Retry, Failure, Key, Guards, Hedges>
where
    Timeout: OnTimeout<T, Out>,
    Retry: RetryPolicy<Out, E>,
    Failure: ErrorPolicy<T, Out>,
    Key: KeyBy<T>,
    Guards: Guard<Out, E>,
    Hedges: Hedging,
{
    type Timeout = Timeout;
    type Retry = Retry;
    type Failure = Failure;
    type Key = Key;
    type Guard = Guards;
    type Hedge = Hedges;

    fn into_bundle(self) -> Self {
        self
    }
}

/// [`Policies`], named by what they are to a stage.
pub(crate) type Bundle<P, T, Out, E, Key = <P as StagePolicies<T, Out, E>>::Key> = Policies<
    <P as StagePolicies<T, Out, E>>::Timeout,
    <P as StagePolicies<T, Out, E>>::Retry,
    <P as StagePolicies<T, Out, E>>::Failure,
    Key,
    <P as StagePolicies<T, Out, E>>::Guard,
    <P as StagePolicies<T, Out, E>>::Hedge,
>;

/// The policies that a stage asks while it runs. Its key is asked by those who wait in line.
pub(crate) type Asked<P, T, Out, E> = Bundle<P, T, Out, E, NoKey>;

impl<Timeout, Retry, Failure, Key, Guards, Hedges>
    Policies<Timeout, Retry, Failure, Key, Guards, Hedges>
{
    /// The key apart.
    pub(crate) fn split(
        self,
    ) -> (
        Policies<Timeout, Retry, Failure, NoKey, Guards, Hedges>,
        Key,
    ) {
        let asked = Policies {
            timeout: self.timeout,
            retry: self.retry,
            failure: self.failure,
            key: NoKey,
            guard: self.guard,
            hedge: self.hedge,
        };
        (asked, self.key)
    }
}
