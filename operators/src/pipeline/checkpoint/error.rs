//! What can go wrong with checkpoints.

use crate::error::BoxError;
use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::PathBuf;

/// Why a job can't go on from a checkpoint, or can't make one.
#[derive(Debug)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file or the folder could not be used.
    Io {
        /// What was tried: "create", "read".
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// There are checkpoints, and none of them can be read. The folder was left as it is.
    NoneUsable {
        /// The folder.
        folder: PathBuf,
        /// Each checkpoint, and what is wrong with it; the newest first.
        refused: Vec<Refused>,
    },
    /// The checkpoint is of another pipeline. The folder was left as it is.
    OtherPipeline {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        differences: Vec<String>,
    },
    /// Another job makes its checkpoints in this folder, in this process or in another.
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder has checkpoints of an earlier run, and the job was not told to go on from there. It was left as it is.
    NotAsked {
        /// The folder.
        folder: PathBuf,
    },
    /// An operator can't read its own state: the type of its records has changed.
    State {
        /// Its name.
        name: String,
        /// Why it can't.
        error: BoxError,
    },
    /// A state could not be written.
    Unwritable(BoxError),
}

/// A checkpoint that was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl Display for Refused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

impl Display for CheckpointError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, path, error } => {
                write!(f, "cannot {what} {}: {error}", path.display())
            }
            Self::NoneUsable { folder, refused } => {
                let folder = folder.display();
                write!(
                    f,
                    "no checkpoint in {folder} is usable; to begin anew, name another folder"
                )?;
                refused
                    .iter()
                    .try_for_each(|refused| write!(f, "; {refused}"))
            }
            Self::OtherPipeline { path, differences } => write!(
                f,
                "{} is a checkpoint of another pipeline: {}; go on with that pipeline, or name another folder",
                path.display(),
                differences.join("; ")
            ),
            Self::InUse { folder } => write!(
                f,
                "another job makes its checkpoints in {}: wait until it has ended, or name another folder",
                folder.display()
            ),
            Self::NotAsked { folder } => write!(
                f,
                "{} has checkpoints of an earlier run: go on from there with `restore()`, or name another folder",
                folder.display()
            ),
            Self::State { name, error } => write!(
                f,
                "the state of `{name}` in the checkpoint can't be read, as if the type of its records had changed: {error}"
            ),
            Self::Unwritable(error) => write!(f, "a checkpoint can't be written: {error}"),
        }
    }
}

impl Error for CheckpointError {}
