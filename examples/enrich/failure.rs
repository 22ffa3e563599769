//! What went wrong, as one line: what was tried, on what, and why it failed.

use std::fmt;

/// The one kind of error of this program: a line for its user. It ends the run.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    line: String,
    may_pass: bool,
}

impl Failure {
    pub(crate) fn new(line: impl Into<String>) -> Failure {
        Failure {
            line: line.into(),
            may_pass: false,
        }
    }

    /// One that may not happen again: a connection was lost, a server is not ready yet.
    pub(crate) fn passing(line: impl Into<String>) -> Failure {
        Failure {
            line: line.into(),
            may_pass: true,
        }
    }

    /// Whether it makes sense to try again.
    pub(crate) fn may_pass(&self) -> bool {
        self.may_pass
    }

    /// With some words more.
    pub(crate) fn with(&self, more: &str) -> Failure {
        Failure {
            line: format!("{}{more}", self.line),
            ..*self
        }
    }

    /// Says what was tried, as [`Context::context`] does; and whether it may pass stays as it is.
    pub(crate) fn within(self, what: &str) -> Failure {
        Failure {
            line: format!("{what}: {}", self.line),
            ..self
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for Failure {}

/// Says what was tried when something failed.
pub(crate) trait Context<T> {
    /// Turns the error into `what: error`, a failure that will not pass.
    fn context(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{}: {error}", what())))
    }
}
