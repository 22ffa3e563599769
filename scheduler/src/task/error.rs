//! Why a task has no result.

use super::id::Id;
use std::any::Any;
use std::fmt;

/// Why a task ended without a result: it was cancelled, or it panicked.
///
/// # Examples
///
/// ```
/// # use peu_scheduler::task::JoinError;
/// /// Goes on panicking with the task's own payload, as joining a thread does.
/// fn propagate(error: JoinError) -> ! {
///     match error.try_into_panic() {
///         Ok(payload) => std::panic::resume_unwind(payload),
///         Err(cancelled) => panic!("{cancelled}"),
///     }
/// }
/// ```
pub struct JoinError {
    id: Id,
    failure: Failure,
}

/// [`JoinError`] without the task's number, as it lies in the task itself.
pub(crate) enum Failure {
    Cancelled,
    /// Cancelled because its runtime has shut down.
    RuntimeGone,
    Panicked(Payload),
}

/// What a panic carries. Only ever read where that is sound for every content, so it may be shared.
pub(crate) struct Payload(Box<dyn Any + Send>);

// SAFETY: a shared `Payload` gives access to its content only in `message`, which reads it as a `&str` or a `String`,
// and both are `Sync`. Anything else is reached only by value.
unsafe impl Sync for Payload {}

impl JoinError {
    pub(crate) fn new(id: Id, failure: Failure) -> JoinError {
        JoinError { id, failure }
    }

    /// The task that has no result.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The task was aborted, or its runtime is gone.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.failure, Failure::Cancelled | Failure::RuntimeGone)
    }

    /// The task panicked: in a poll, or when its future was dropped.
    pub fn is_panic(&self) -> bool {
        matches!(self.failure, Failure::Panicked(_))
    }

    /// What the panic carried, for [`std::panic::resume_unwind`].
    ///
    /// # Panics
    ///
    /// When the task was cancelled: see [`try_into_panic`](JoinError::try_into_panic).
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        match self.try_into_panic() {
            Ok(payload) => payload,
            Err(error) => panic!("into_panic on a JoinError that is no panic: {error}"),
        }
    }

    /// What the panic carried, for [`std::panic::resume_unwind`].
    ///
    /// # Errors
    ///
    /// The error itself when the task was cancelled.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send + 'static>, JoinError> {
        match self.failure {
            Failure::Panicked(payload) => Ok(payload.0),
            Failure::Cancelled | Failure::RuntimeGone => Err(self),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            Failure::Cancelled => write!(f, "task {} was cancelled", self.id),
            Failure::RuntimeGone => write!(
                f,
                "task {} was cancelled because its runtime is gone",
                self.id
            ),
            Failure::Panicked(payload) => match payload.message() {
                Some(message) => write!(f, "task {} panicked: {message}", self.id),
                None => write!(f, "task {} panicked", self.id),
            },
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("JoinError");
        debug.field("id", &self.id);
        match &self.failure {
            Failure::Cancelled => debug.field("cancelled", &true),
            Failure::RuntimeGone => debug.field("runtime_gone", &true),
            Failure::Panicked(payload) => debug.field("panic", &payload.message()),
        };
        debug.finish()
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for std::io::Error {
    fn from(error: JoinError) -> std::io::Error {
        std::io::Error::other(error)
    }
}

impl Payload {
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Payload {
        Payload(payload)
    }

    /// The text of the panic: `panic!` carries a `&str` or a `String`.
    fn message(&self) -> Option<&str> {
        if let Some(text) = self.0.downcast_ref::<&'static str>() {
            return Some(text);
        }
        self.0.downcast_ref::<String>().map(String::as_str)
    }
}
