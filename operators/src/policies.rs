//! All that a stage asks while it runs, as one type.
//!
//! Each policy is a type of its own, so one that is not used costs nothing: there is no code to it. Bundled, they are
//! a single parameter of whatever takes options, and stay one when there are more of them.

use crate::failure::{ErrorPolicy, OnError};
use crate::keys::{KeyBy, NoKey};
use crate::options::{FailOnTimeout, OnTimeout};
use crate::retry::{NoRetry, RetryPolicy};

/// The policies of a stage: what the methods of [`AsyncOptions`](crate::AsyncOptions) exchange one by one.
#[derive(Clone, Debug)]
pub struct Policies<Timeout = FailOnTimeout, Retry = NoRetry, Failure = OnError, Key = NoKey> {
    pub(crate) timeout: Timeout,
    pub(crate) retry: Retry,
    pub(crate) failure: Failure,
    pub(crate) key: Key,
}

impl<Key> Policies<FailOnTimeout, NoRetry, OnError, Key> {
    pub(crate) fn by_default(key: Key) -> Self {
        Self {
            timeout: FailOnTimeout,
            retry: NoRetry,
            failure: OnError::Fail,
            key,
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
    fn into_bundle(self) -> Policies<Self::Timeout, Self::Retry, Self::Failure, Self::Key>;
}

impl<T, Out, E, Timeout, Retry, Failure, Key> StagePolicies<T, Out, E>
    for Policies<Timeout, Retry, Failure, Key>
where
    Timeout: OnTimeout<T, Out>,
    Retry: RetryPolicy<Out, E>,
    Failure: ErrorPolicy<T, Out>,
    Key: KeyBy<T>,
{
    type Timeout = Timeout;
    type Retry = Retry;
    type Failure = Failure;
    type Key = Key;

    fn into_bundle(self) -> Self {
        self
    }
}

/// The policies that a stage asks while it runs. Its key is asked by those who wait in line.
pub(crate) type Asked<P, T, Out, E> = Policies<
    <P as StagePolicies<T, Out, E>>::Timeout,
    <P as StagePolicies<T, Out, E>>::Retry,
    <P as StagePolicies<T, Out, E>>::Failure,
>;

impl<Timeout, Retry, Failure, Key> Policies<Timeout, Retry, Failure, Key> {
    /// The key apart.
    pub(crate) fn split(self) -> (Policies<Timeout, Retry, Failure>, Key) {
        let asked = Policies {
            timeout: self.timeout,
            retry: self.retry,
            failure: self.failure,
            key: NoKey,
        };
        (asked, self.key)
    }
}
