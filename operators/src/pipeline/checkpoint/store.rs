//! The folder of a job's checkpoints. All of this blocks, and so runs where that harms no one.
//!
//! A checkpoint has its name only when it is whole: it is written beside it, synced, renamed, and the folder is synced so
//! that the rename outlives a loss of power. Old ones go only when a newer one is there.

use super::error::{CheckpointError, Refused};
use super::{Checkpoint, format};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PREFIX: &str = "checkpoint-";
const UNFINISHED: &str = "unfinished";

#[derive(Clone, Debug)]
pub(in crate::pipeline) struct Store {
    folder: PathBuf,
    keep: usize,
    /// The folder, locked as long as the job or any of its writes goes on. None: its file system has no locks.
    _lock: Option<Arc<File>>,
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
    /// Makes `folder` if it is not there, and takes it for itself. The last `keep` checkpoints are kept.
    pub(in crate::pipeline) fn open(folder: PathBuf, keep: usize) -> Result<Self, CheckpointError> {
        create_synced(&folder).map_err(|error| io_error("create", &folder, error))?;
        let _lock = lock(&folder)?.map(Arc::new);
        Ok(Self {
            folder,
            keep,
            _lock,
        })
    }

    /// Looks what the folder has.
    pub(in crate::pipeline) fn find(&self) -> Result<Found, CheckpointError> {
        let numbers = self.numbers()?;
        let mut refused = Vec::new();
        for number in numbers.iter().rev() {
            let path = self.path(*number);
            let read = fs::read(&path).map_err(|error| format!("it cannot be read: {error}"));
            let decoded =
                read.and_then(|bytes| format::decode(&bytes).map_err(|damage| damage.to_string()));
            match decoded {
                Ok(checkpoint) => {
                    return Ok(Found {
                        newest: Some((checkpoint, path)),
                        refused,
                        highest: numbers.last().copied().unwrap_or(0),
                    });
                }
                Err(why) => refused.push(Refused { path, why }),
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
        self.remove_old();
        Ok(())
    }

    /// Best effort: the new one counts, and what stays now goes with the next.
    fn remove_old(&self) {
        for number in self.numbers().iter().flatten().rev().skip(self.keep) {
            let _ = fs::remove_file(self.path(*number));
        }
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

/// Makes the folder and those that it is in, each with a name that is safe.
fn create_synced(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder_of(folder);
    create_synced(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        made => made?,
    }
    sync_folder(parent)
}

/// Locks the folder until the file is closed, as the end of a process does too. Two jobs would overwrite, and remove, each
/// other's checkpoints. None where there are no locks, as on some file systems of networks.
fn lock(folder: &Path) -> Result<Option<File>, CheckpointError> {
    let file = File::open(folder).map_err(|error| io_error("open", folder, error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(CheckpointError::InUse {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The folder that a file, or a folder, is in.
pub(in crate::pipeline) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// A name is safe only when its folder is.
pub(in crate::pipeline) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
