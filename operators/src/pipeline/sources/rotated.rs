//! Where a file that was rotated has gone: the files beside it.
//!
//! Whatever rotates files puts a number or a date behind their names, and later compresses or removes them. A file is found by what it
//! is, under any name. But which files come *between* it and the one that has the name now, only names and times tell: so
//! those count that are called so, and in the order in which they were last written.

use super::follower::TailPosition;
use crate::pipeline::checkpoint::folder_of;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file's number, and that of its file system: no two files that exist have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

impl Display for Identity {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "inode {}", self.inode)
    }
}

/// A file beside the one that has the name, or that one.
struct Beside {
    path: PathBuf,
    identity: Identity,
    modified: SystemTime,
    /// It is called as rotated files are.
    is_rotated: bool,
}

/// The file that a position is in, under whatever name; or else a copy of it. The number of the file system does not count: after a
/// restart of the machine it may be another.
pub(super) fn find(path: &Path, position: &TailPosition) -> io::Result<Option<File>> {
    // First by its name, which may be a link to another folder.
    match File::open(path) {
        Ok(file) => {
            let identity = Identity::of(&file.metadata()?);
            if identity.inode == position.identity.inode && position.is_in(&file)? {
                return Ok(Some(file));
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    for beside in beside(path)? {
        if beside.identity.inode == position.identity.inode
            && let Some(file) = beside.open(position)?
        {
            return Ok(Some(file));
        }
    }
    copy(path, position)
}

/// A copy of the file that a position is in: the newest.
pub(super) fn copy(path: &Path, position: &TailPosition) -> io::Result<Option<File>> {
    let mut copies = beside(path)?;
    copies.retain(|beside| beside.is_rotated && beside.identity != position.identity);
    for copy in copies.iter().rev() {
        if let Some(file) = copy.open(position)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// The first of the files that were rotated after this one.
pub(super) fn next(path: &Path, file: &File, identity: Identity) -> io::Result<Option<File>> {
    let over = file.metadata()?.modified()?;
    let is_later = |beside: &Beside| beside.is_rotated && beside.modified > over;
    let named = fs::metadata(path)
        .map(|metadata| Identity::of(&metadata))
        .ok();
    for beside in beside(path)?.into_iter().filter(is_later) {
        if beside.identity == identity || Some(beside.identity) == named {
            continue;
        }
        match File::open(&beside.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            opened => return opened.map(Some),
        }
    }
    Ok(None)
}

/// The files in the folder, in the order in which they were last written.
fn beside(path: &Path) -> io::Result<Vec<Beside>> {
    let name = path.file_name().unwrap_or_default();
    let mut files = Vec::new();
    for entry in fs::read_dir(folder_of(path))? {
        let entry = entry?;
        // Of an entry, not of what a link leads to: that may have another name in here too.
        let metadata = match entry.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        if metadata.is_file() {
            files.push(Beside {
                identity: Identity::of(&metadata),
                modified: metadata.modified()?,
                is_rotated: is_rotated(name, &entry.file_name()),
                path: entry.path(),
            });
        }
    }
    files.sort_by_key(|file| file.modified);
    Ok(files)
}

/// Whether a file is called like another with a number or a date behind it: `log.1`, `log-20131231`, `log.2013-12-31`.
fn is_rotated(name: &OsStr, other: &OsStr) -> bool {
    let behind = other.as_bytes().strip_prefix(name.as_bytes());
    behind.is_some_and(|behind| match behind.split_first() {
        Some((b'.' | b'-' | b'_', number)) => {
            number.first().is_some_and(u8::is_ascii_digit)
                && number
                    .iter()
                    .all(|byte| byte.is_ascii_digit() || b".-_:T".contains(byte))
        }
        _ => false,
    })
}

impl Beside {
    /// The file, if the position is in it.
    fn open(&self, position: &TailPosition) -> io::Result<Option<File>> {
        match File::open(&self.path) {
            Ok(file) => Ok(position.is_in(&file)?.then_some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_rotated;
    use std::ffi::OsStr;

    #[test]
    fn rotated_files_have_numbers_or_dates_behind_their_names() {
        let is_rotated = |other: &str| is_rotated(OsStr::new("a.log"), OsStr::new(other));
        for name in [
            "a.log.1",
            "a.log.10",
            "a.log-20131231",
            "a.log.2013-12-31T10:00",
        ] {
            assert!(is_rotated(name), "{name}");
        }
        for name in [
            "a.log",
            "a.log.gz",
            "a.log.1.gz",
            "a.log-errors",
            "a.log1",
            "a.log.",
            "b.log.1",
            "a",
        ] {
            assert!(!is_rotated(name), "{name}");
        }
    }
}
