//! The folder of a job's checkpoints. All of this blocks, and so runs where that harms no one.
//!
//! A checkpoint has its name only when it is whole: it is written beside it, synced, renamed, and the folder is synced so
//! that the rename outlives a loss of power. Old ones go only when a newer one is there.

use super::error::{CheckpointError, Refused};
use super::{Checkpoint, format};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const PREFIX: &str = "checkpoint-";
const UNFINISHED: &str = "unfinished";

#[derive(Clone, Debug)]
pub(in crate::pipeline) struct Store {
    folder: PathBuf,
    keep: usize,
}

/// What a folder has.
#[derive(Debug)]
pub(in crate::pipeline) struct Found {
    /// The newest that can be read, and its file.
    pub(in crate::pipeline) newest: Option<(Checkpoint, PathBuf)>,
    /// Newer ones, which can't.
    pub(in crate::pipeline) refused: Vec<Refused>,
    /// The highest number of all.
    pub(in crate::pipeline) highest: u64,
}

impl Store {
    /// Keeps the last `keep` checkpoints in `folder`.
    pub(in crate::pipeline) fn new(folder: PathBuf, keep: usize) -> Self {
        Self { folder, keep }
    }

    /// Makes the folder if it is not there, and looks what it has.
    pub(in crate::pipeline) fn open(&self) -> Result<Found, CheckpointError> {
        let made = fs::create_dir_all(&self.folder);
        made.map_err(|error| io_error("create", &self.folder, error))?;
        let numbers = self.numbers()?;
        let mut refused = Vec::new();
        for number in numbers.iter().rev() {
            let path = self.path(*number);
            let bytes = fs::read(&path).map_err(|error| io_error("read", &path, error))?;
            match format::decode(&bytes) {
                Ok(checkpoint) => {
                    return Ok(Found {
                        newest: Some((checkpoint, path)),
                        refused,
                        highest: numbers.last().copied().unwrap_or(0),
                    });
                }
                Err(damage) => refused.push(Refused {
                    path,
                    why: damage.to_string(),
                }),
            }
        }
        match refused.is_empty() {
            true => Ok(Found {
                newest: None,
                refused,
                highest: 0,
            }),
            false => Err(CheckpointError::NoneUsable {
                folder: self.folder.clone(),
                refused,
            }),
        }
    }

    /// Writes a checkpoint. When this returns, it counts, whatever happens to the machine.
    pub(in crate::pipeline) fn write(
        &self,
        checkpoint: &Checkpoint,
    ) -> Result<(), CheckpointError> {
        let bytes = format::encode(checkpoint);
        let bytes = bytes.map_err(|error| CheckpointError::Unwritable(error.into()))?;
        let unfinished = self.folder.join(UNFINISHED);
        write_synced(&unfinished, &bytes).map_err(|error| io_error("write", &unfinished, error))?;
        let path = self.path(checkpoint.number);
        fs::rename(&unfinished, &path).map_err(|error| io_error("name", &path, error))?;
        sync_folder(&self.folder).map_err(|error| io_error("sync", &self.folder, error))?;
        self.remove_old()
    }

    fn remove_old(&self) -> Result<(), CheckpointError> {
        let numbers = self.numbers()?;
        for number in numbers.iter().rev().skip(self.keep) {
            let path = self.path(*number);
            fs::remove_file(&path).map_err(|error| io_error("remove", &path, error))?;
        }
        Ok(())
    }

    /// The numbers of the checkpoints, whatever is in them, in ascending order.
    fn numbers(&self) -> Result<Vec<u64>, CheckpointError> {
        let list = || -> io::Result<Vec<u64>> {
            let mut numbers = Vec::new();
            for entry in fs::read_dir(&self.folder)? {
                numbers.extend(number(&entry?.path()));
            }
            numbers.sort_unstable();
            Ok(numbers)
        };
        list().map_err(|error| io_error("list", &self.folder, error))
    }

    fn path(&self, number: u64) -> PathBuf {
        // As many digits as the highest number has, so that names sort as numbers do.
        self.folder.join(format!("{PREFIX}{number:020}"))
    }

    pub(in crate::pipeline) fn folder(&self) -> &Path {
        &self.folder
    }
}

fn number(path: &Path) -> Option<u64> {
    path.file_name()?
        .to_str()?
        .strip_prefix(PREFIX)?
        .parse()
        .ok()
}

fn io_error(what: &'static str, path: &Path, error: io::Error) -> CheckpointError {
    let path = path.to_owned();
    CheckpointError::Io { what, path, error }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A name is safe only when its folder is.
pub(in crate::pipeline) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
