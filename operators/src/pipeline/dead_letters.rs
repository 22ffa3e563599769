//! Dead letters of a stage that go to a sink of their own, by a side output.
//!
//! Whether a record has failed is known in the stage's task, which is also the one that puts the stage's requests into a checkpoint. So a record is either
//! still among them, and will be asked for again, or its letter lies on the shelf in front of the mark that this barrier leaves there:
//! never both, and never neither.

use super::opening::Opening;
use super::side_output::{LateRecords as _, RoomLeft, SideOutput};
use crate::error::Cause;
use crate::failure::{DeadLetters, ErrorPolicy, Failure, Recovery};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A record that failed, as a side output brings it to a sink: what [`DeadLetters`] makes of a [`Failure`] when it has a [`SideOutput`].
///
/// The side sink is committed with the main one. So, in a job that goes on from a checkpoint, each record of a stage has either its outputs or a letter, and
/// that once, as far as the function's answers are the same. While the sink has no room for some 256 letters the stage takes no input; what it works on
/// then may still fail.
///
/// # Examples
///
/// ```standalone_crate
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::pipeline::{DeadLetter, JsonLines, Pipeline, every, iterate, side_output};
/// use peu_operators::{AsyncOptions, DeadLetters};
/// use std::time::Duration;
///
/// # let folder = tempfile::tempdir()?;
/// # std::env::set_current_dir(&folder)?;
/// let (failed, letters) = side_output();
/// let texts = ["1", "two", "3"].map(str::to_owned);
/// let job = Pipeline::source(iterate(texts))
///     .async_map(
///         "parse",
///         |text: String| async move { text.parse::<u32>() },
///         AsyncOptions::ordered().on_error(DeadLetters(failed)),
///     )
///     .sink(JsonLines::create("numbers.jsonl"))
///     .side_sink(letters, JsonLines::create("failed.jsonl"))
///     .checkpoint(every(Duration::from_secs(1)).restore(), "state");
/// block_on(job.run_on(&Threads))?;
/// assert_eq!(std::fs::read_to_string("numbers.jsonl")?, "1\n3\n");
///
/// let letter: DeadLetter<String> = serde_json::from_str(&std::fs::read_to_string("failed.jsonl")?)?;
/// assert_eq!((&*letter.record, &*letter.cause), ("two", "invalid digit found in string"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetter<T> {
    /// The stage's name, with the lane that it is in.
    pub stage: String,
    /// The record.
    pub record: T,
    /// How often the function was called for it, in the run in which it failed.
    pub attempts: u32,
    /// What happened at the last attempt.
    pub cause: String,
}

impl<T> From<Failure<T>> for DeadLetter<T> {
    fn from(failure: Failure<T>) -> Self {
        Self {
            stage: failure.stage.to_string(),
            record: failure.record,
            attempts: failure.attempts,
            cause: failure.cause.to_string(),
        }
    }
}

impl<T: Send + 'static, Out> ErrorPolicy<T, Out> for DeadLetters<SideOutput<DeadLetter<T>>> {
    fn judge(&mut self, failure: Failure<T>) -> Recovery<T, Out> {
        if !self.0.is_open() {
            return Recovery::Fail(without_sink(failure));
        }
        self.0.take(failure.into());
        Recovery::DeadLetter
    }

    fn open(&mut self, name: &Arc<str>, opening: &mut Opening) -> Option<RoomLeft> {
        self.0.open(name, opening);
        self.0.room_left()
    }

    fn pass_barrier(&mut self) {
        self.0.pass_barrier();
    }
}

/// Nobody opened the side output, so no sink takes its records.
fn without_sink<T>(failure: Failure<T>) -> Failure<T> {
    let cause = format!(
        "{}; and dead letters go to a side output, which only stages of a pipeline may have: give `DeadLetters` a function",
        failure.cause
    );
    Failure {
        cause: Cause::Failed(cause.into()),
        ..failure
    }
}
