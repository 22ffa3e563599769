//! What ends a stage early: an error that names the stage, the record, the attempt and the cause.

use std::error::Error;
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;
use std::time::Duration;

/// Any error, as the user's function may return it.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Why a stage ended before the end of its input.
///
/// It is one pointer in size, so a stream of `Result<Out, StageError>` is hardly wider than one of `Out`.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::{StreamExt as _, future::block_on, stream};
/// use peu_operators::{AsyncOptions, StreamExt as _};
///
/// let mut answers = stream::iter(["7", "seven"]).async_map(
///     &Threads,
///     "parse",
///     |text| async move { text.parse::<u32>() },
///     AsyncOptions::ordered(),
/// );
/// block_on(async {
///     assert_eq!(answers.next().await.unwrap().unwrap(), 7);
///     let error = answers.next().await.unwrap().unwrap_err();
///     assert_eq!(error.stage(), "parse");
///     assert_eq!(error.record(), Some(2));
///     assert_eq!(
///         error.to_string(),
///         r#"stage `parse`, record 2 ("seven"), attempt 1: invalid digit found in string"#
///     );
///     assert!(answers.next().await.is_none());
/// });
/// ```
pub struct StageError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    stage: Arc<str>,
    record: Option<Record>,
    cause: Cause,
}

/// The record that failed, as text: an error outlives its record.
#[derive(Debug)]
struct Record {
    number: u64,
    shown: String,
    attempt: u32,
}

impl StageError {
    /// Attempts are counted from 1.
    pub(crate) fn of_record(
        stage: Arc<str>,
        number: u64,
        record: &dyn Debug,
        attempt: u32,
        cause: Cause,
    ) -> Self {
        let shown = format!("{record:?}");
        let record = Some(Record {
            number,
            shown,
            attempt,
        });
        Self(Box::new(Inner {
            stage,
            record,
            cause,
        }))
    }

    pub(crate) fn of_stage(stage: Arc<str>, cause: Cause) -> Self {
        Self(Box::new(Inner {
            stage,
            record: None,
            cause,
        }))
    }

    /// An error of the input. One that comes from a stage further up is passed on as it is, and so names that stage.
    pub(crate) fn of_input(stage: Arc<str>, error: BoxError) -> Self {
        match error.downcast::<StageError>() {
            Ok(upstream) => *upstream,
            Err(error) => Self::of_stage(stage, Cause::Input(error)),
        }
    }

    /// The name that the stage was given.
    #[must_use]
    pub fn stage(&self) -> &str {
        &self.0.stage
    }

    /// The number of the record that failed: the first that the stage accepted is 1. None if no record is to blame.
    #[must_use]
    pub fn record(&self) -> Option<u64> {
        self.0.record.as_ref().map(|record| record.number)
    }

    /// The `Debug` form of the record that failed.
    #[must_use]
    pub fn record_debug(&self) -> Option<&str> {
        self.0.record.as_ref().map(|record| &*record.shown)
    }

    /// Which call of the function for this record failed: the first is 1. 0 if there was none, for its key could not
    /// be had.
    #[must_use]
    pub fn attempt(&self) -> Option<u32> {
        self.0.record.as_ref().map(|record| record.attempt)
    }

    /// What happened.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }
}

impl Display for StageError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "stage `{}`", self.0.stage)?;
        if let Some(record) = &self.0.record {
            write!(f, ", record {} ({})", record.number, record.shown)?;
            write!(f, ", attempt {}", record.attempt)?;
        }
        write!(f, ": {}", self.0.cause)
    }
}

impl Debug for StageError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageError")
            .field("stage", &self.0.stage)
            .field("record", &self.0.record)
            .field("cause", &self.0.cause)
            .finish()
    }
}

impl Error for StageError {
    /// What is beneath the cause; the cause itself is part of the message, and at [`StageError::cause`].
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.cause {
            Cause::Failed(error) | Cause::Input(error) | Cause::Snapshot(error) => error.source(),
            _ => None,
        }
    }
}

/// What happened to a record, or to the stage.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The request returned this error.
    Failed(BoxError),
    /// The request had no result within the stage's timeout.
    TimedOut(Duration),
    /// The request had no result within the stage's timeout, and its async fallback none within this bound of its own.
    FallbackTimedOut(Duration),
    /// The user's function, its future, its timeout fallback or one of its policies panicked with this message.
    Panicked(String),
    /// A guard refused to call the function: the circuit breaker is open.
    CircuitOpen,
    /// The input itself gave an error.
    Input(BoxError),
    /// Polling the input panicked with this message.
    InputPanicked(String),
    /// What the stage holds could not be written into a checkpoint.
    Snapshot(BoxError),
    /// The stage's task was dropped before the end of its input.
    Cancelled,
}

impl Display for Cause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Failed(error) => Display::fmt(error, f),
            Cause::TimedOut(limit) => write!(f, "no result within {limit:?}"),
            Cause::FallbackTimedOut(bound) => {
                write!(
                    f,
                    "timed out, and its fallback had no result within {bound:?}"
                )
            }
            Cause::Panicked(message) => write!(f, "panicked: {message}"),
            Cause::CircuitOpen => f.write_str(
                "the circuit breaker is open, for too many calls have failed; \
                 handle it in the error policy, or let the breaker `wait`",
            ),
            Cause::Input(error) => write!(f, "its input failed: {error}"),
            Cause::InputPanicked(message) => write!(f, "its input panicked: {message}"),
            Cause::Snapshot(error) => {
                write!(
                    f,
                    "what it holds can't be written into a checkpoint: {error}"
                )
            }
            Cause::Cancelled => f.write_str(
                "its task was dropped before the end of its input; \
                 keep the runtime alive until the stage's outputs are read",
            ),
        }
    }
}
