//! What ends a pipeline early.

use super::checkpoint::CheckpointError;
use crate::error::{BoxError, StageError};
use std::error::Error;
use std::fmt::{self, Display, Formatter};

/// Why a pipeline did not begin, or ended before the end of its input.
///
/// All its tasks have ended or are about to: nothing of it hangs or goes on.
#[derive(Debug)]
#[non_exhaustive]
pub enum PipelineError {
    /// An operator failed. The error names it, and if a record is to blame, that, its attempt and the cause.
    Stage(StageError),
    /// The sink failed.
    Sink(BoxError),
    /// The checkpoints are to blame.
    Checkpoint(CheckpointError),
    /// Two stages, or a stage and the sink, have this name. It tells their states and their counters apart, so each needs its own.
    SameName(String),
    /// This operator was given a [`SideOutput`](super::SideOutput), and the job has no sink for what it brings: the other end was dropped, or
    /// is in another job.
    NoSideSink(String),
    /// The runtime dropped the tasks of the pipeline, for it has ended.
    Cancelled,
}

impl Display for PipelineError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage(error) => Display::fmt(error, f),
            Self::Sink(error) => write!(f, "the sink failed: {error}"),
            Self::Checkpoint(error) => Display::fmt(error, f),
            Self::SameName(name) => write!(
                f,
                "two operators have the name `{name}`, which tells their states and their counters apart: give a stage, or the sink, another \
                 (a source, a sink and others without names of their own are called by their kinds)"
            ),
            Self::NoSideSink(name) => write!(
                f,
                "`{name}` gives records to a side output that no sink of this job takes: call `side_output` for each job anew, and give the \
                 `SideRecords` that it returns to the same job, with `side_sink`"
            ),
            Self::Cancelled => f.write_str(
                "the runtime ended before the pipeline: keep it alive until the pipeline has ended",
            ),
        }
    }
}

impl Error for PipelineError {
    /// What is beneath the error that the message tells of.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Stage(error) => error.source(),
            Self::Sink(error) => error.source(),
            Self::Checkpoint(error) => error.source(),
            Self::SameName(_) | Self::NoSideSink(_) | Self::Cancelled => None,
        }
    }
}

impl From<StageError> for PipelineError {
    fn from(error: StageError) -> Self {
        Self::Stage(error)
    }
}

impl From<CheckpointError> for PipelineError {
    fn from(error: CheckpointError) -> Self {
        Self::Checkpoint(error)
    }
}
