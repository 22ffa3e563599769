//! What a pipeline tells about itself.

use super::checkpoint::Refused;
use super::metrics::OperatorMetrics;
use crate::metrics::Metrics;
use std::path::PathBuf;
use std::sync::Arc;

/// What a pipeline did, once it has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Records that the sink was given, in this run.
    pub written: u64,
    /// Checkpoints that were completed in this run, the last included.
    pub checkpoints: u64,
    /// Where this run went on from. None: it began anew.
    pub restored: Option<Restored>,
    /// The counters of each async stage, by name, from the source on.
    pub stages: Vec<(Arc<str>, Metrics)>,
    /// Those of all other operators that count, as [`Running::operators`](super::Running::operators) names them.
    pub operators: Vec<(Arc<str>, OperatorMetrics)>,
}

/// The checkpoint that a job went on from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Its number.
    pub checkpoint: u64,
    /// Its file.
    pub path: PathBuf,
    /// It was the last of a job that had ended well: there is nothing to do any more.
    pub is_last: bool,
    /// Newer checkpoints, which were damaged and so not used.
    pub refused: Vec<Refused>,
}
