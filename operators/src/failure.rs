//! What becomes of a record that failed for good.

use crate::error::{Cause, StageError};
#[cfg(feature = "pipeline")]
use crate::pipeline::{Opening, RoomLeft};
use std::fmt::Debug;
use std::sync::Arc;

/// A record that failed, and all that is known about it: what an error policy decides about, and what a dead letter
/// holds.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure<T> {
    /// The name that the stage was given.
    pub stage: Arc<str>,
    /// The record.
    pub record: T,
    /// Its number: the first that the stage accepted is 1.
    pub number: u64,
    /// How often the function was called for it.
    pub attempts: u32,
    /// What happened at the last attempt.
    pub cause: Cause,
}

impl<T: Debug> From<Failure<T>> for StageError {
    fn from(failure: Failure<T>) -> Self {
        Self::of_record(
            failure.stage,
            failure.number,
            &failure.record,
            failure.attempts,
            failure.cause,
        )
    }
}

/// What an error policy makes of a failure.
#[derive(Debug)]
#[non_exhaustive]
pub enum Recovery<T, Out> {
    /// The record has this output after all.
    Output(Out),
    /// It has none, and is counted in [`Metrics::skipped`](crate::Metrics::skipped).
    Skip,
    /// It has none, and somebody keeps it: counted in [`Metrics::dead_letters`](crate::Metrics::dead_letters) too.
    DeadLetter,
    /// The stage ends with this failure, as with [`OnError::Fail`].
    Fail(Failure<T>),
}

/// Decides what becomes of a record that failed: [`OnError`], [`DeadLetters`], or any closure of this form.
///
/// # Examples
///
/// Refused records have an output too; what went wrong otherwise is not this stage's to hide:
///
/// ```
/// use peu_operators::{AsyncOptions, Cause, Failure, Recovery};
///
/// let options = AsyncOptions::ordered().on_error(|failure: Failure<u32>| match failure.cause {
///     Cause::Failed(_) => Recovery::Output(format!("nothing about {}", failure.record)),
///     _ => Recovery::Fail(failure),
/// });
/// ```
pub trait ErrorPolicy<T, Out>: Send + 'static {
    /// Called once for each record whose last attempt failed or whose time was up, unless a timeout fallback decided.
    ///
    /// It runs in the stage's task, which does nothing else meanwhile. If it panics, the stage ends as with
    /// [`OnError::Fail`], and the panic is the cause.
    fn judge(&mut self, failure: Failure<T>) -> Recovery<T, Out>;

    /// The stage opens under this name, in a pipeline. Returns what tells whether there is room for more failures, if they may fill anything.
    #[cfg(feature = "pipeline")]
    #[doc(hidden)]
    fn open(&mut self, name: &Arc<str>, opening: &mut Opening) -> Option<RoomLeft> {
        let _ = (name, opening);
        None
    }

    /// A barrier passes the stage.
    #[cfg(feature = "pipeline")]
    #[doc(hidden)]
    fn pass_barrier(&mut self) {}
}

impl<T, Out, F> ErrorPolicy<T, Out> for F
where
    F: FnMut(Failure<T>) -> Recovery<T, Out> + Send + 'static,
{
    fn judge(&mut self, failure: Failure<T>) -> Recovery<T, Out> {
        self(failure)
    }
}

/// What a stage makes of a record that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnError {
    /// The stage ends with the error, and drops the requests that are still in flight. In ordered mode the outputs
    /// of all records before the failed one are emitted first.
    #[default]
    Fail,
    /// The record has no output, and is counted in [`Metrics::skipped`](crate::Metrics::skipped).
    Skip,
}

impl<T, Out> ErrorPolicy<T, Out> for OnError {
    fn judge(&mut self, failure: Failure<T>) -> Recovery<T, Out> {
        match self {
            OnError::Fail => Recovery::Fail(failure),
            OnError::Skip => Recovery::Skip,
        }
    }
}

/// A record that failed is handed to a function that keeps it: a queue, a file's writer, a log. The stage goes on.
///
/// The function gets a clone of the record, with the cause and the number of attempts, when the failure is known: in
/// any mode, that is not the order of the input. It must not block, for it runs in the stage's task. Nothing holds it
/// back, so a queue that it fills has no bound but the number of failures. A pipeline that goes on from a checkpoint tells the records
/// that failed behind it again: each is told at least once.
///
/// In a pipeline it may be a `SideOutput` in place of a function: a `DeadLetter` goes to a sink of its own, exactly once, and if that has no room
/// the stage takes no more input.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::{StreamExt as _, future::block_on, stream};
/// use peu_operators::{AsyncOptions, DeadLetters, StreamExt as _};
/// use std::sync::mpsc;
///
/// let (dead, letters) = mpsc::channel();
/// let numbers = stream::iter(["1", "two", "3"]).async_map(
///     &Threads,
///     "parse",
///     |text| async move { text.parse::<u32>() },
///     AsyncOptions::ordered().on_error(DeadLetters(move |failure| {
///         // An error means that nobody reads them any more.
///         let _ = dead.send(failure);
///     })),
/// );
/// let numbers: Vec<u32> = block_on(numbers.map(Result::unwrap).collect());
/// assert_eq!(numbers, [1, 3]);
/// let letter = letters.recv().unwrap();
/// assert_eq!((letter.record, letter.attempts), ("two", 1));
/// assert_eq!(letter.cause.to_string(), "invalid digit found in string");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DeadLetters<F>(
    /// Keeps what it is given: a function, or, in a pipeline, a `SideOutput`.
    pub F,
);

impl<T, Out, F> ErrorPolicy<T, Out> for DeadLetters<F>
where
    F: FnMut(Failure<T>) + Send + 'static,
{
    fn judge(&mut self, failure: Failure<T>) -> Recovery<T, Out> {
        (self.0)(failure);
        Recovery::DeadLetter
    }
}
