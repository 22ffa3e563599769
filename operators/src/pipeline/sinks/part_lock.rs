//! The name and the lock of what is not complete yet: a file, or a folder.
//!
//! It is locked as long as anything may still be done to it: by a job, or by a write of one that was dropped, which may be late
//! where what blocks runs, and would land in what the next job has written. Nobody removes or renames it without its lock.
//!
//! A lock is of a file, and not of its name. Whoever had it before may have removed the file after this job opened or made it, or
//! completed it, and another job may have made a new one of that name. So a lock counts only if the name leads to what is
//! locked; from then on it does until the lock is given back.
//!
//! Some file systems of networks have no locks: there it goes without.

use crate::error::BoxError;
use crate::pipeline::identity::Identity;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Where what is to have this name is until it is complete.
pub(super) fn part_of(whole: &Path) -> PathBuf {
    let mut part = whole.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

/// What is there, locked until its last handle is closed, as the end of a process does too. None: nothing has that name, or no longer.
pub(super) fn open_locked(part: &Path, options: &OpenOptions) -> Result<Option<File>, BoxError> {
    match options.open(part) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot_open(part, &error)),
        Ok(file) => lock(part, file),
    }
}

/// A file, or a folder, that this job has opened or made; none if it has lost its name since.
pub(super) fn lock(part: &Path, file: File) -> Result<Option<File>, BoxError> {
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(is_anothers(part));
    }
    match leads_to(part, &file) {
        Ok(true) => Ok(Some(file)),
        Ok(false) => Err(is_anothers(part)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot_open(part, &error)),
    }
}

fn leads_to(part: &Path, file: &File) -> io::Result<bool> {
    let there = Identity::of(&fs::metadata(part)?);
    Ok(there == Identity::of(&file.metadata()?))
}

fn cannot_open(part: &Path, error: &io::Error) -> BoxError {
    format!("cannot open {}: {error}", part.display()).into()
}

/// The error where another job has what this one is to write.
pub(super) fn is_anothers(part: &Path) -> BoxError {
    format!(
        "cannot write {}: another job does, or a last write of one that was dropped: wait until it has ended, or name another",
        part.display()
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::lock;
    use std::fs::{self, File};
    use std::path::Path;

    /// A lock of a file to which something happens between the moment at which it is opened, and that at which it is locked.
    fn locked_after(meanwhile: fn(&Path)) -> Result<bool, String> {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("out.part");
        let opened = File::create_new(&part).unwrap();
        meanwhile(&part);
        let locked = lock(&part, opened).map(|locked| locked.is_some());
        locked.map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_that_has_lost_its_name_is_not_locked() {
        assert_eq!(locked_after(|_| {}), Ok(true));
        let remove = |part: &Path| fs::remove_file(part).unwrap();
        assert_eq!(locked_after(remove), Ok(false));
        let complete = |part: &Path| fs::rename(part, part.with_extension("")).unwrap();
        assert_eq!(locked_after(complete), Ok(false));
    }

    #[test]
    fn a_file_whose_name_another_has_is_that_jobs() {
        let refused = locked_after(|part| {
            // The first is still open, so its number is not given again.
            fs::remove_file(part).unwrap();
            File::create_new(part).unwrap();
        });
        assert!(refused.unwrap_err().contains("another job does"));
    }
}
