//! Where a file that was rotated has gone: the files beside it.
//!
//! Whatever rotates files puts a number or a date behind their names, and later compresses or removes them. A file is found by what it
//! is, under any name. But which files come *between* it and the one that has the name now, only names and times tell: so
//! those count that are called so, and in the order in which they were last written.
//! And all may be renamed at any moment, so what is opened is compared with what was looked for.

use super::follower::TailPosition;
use crate::pipeline::checkpoint::folder_of;
use crate::pipeline::identity::Identity;
use std::cmp::Reverse;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file beside the one that has the name, or that one.
struct Beside {
    path: PathBuf,
    identity: Identity,
    age: Age,
}

/// In which order files were rotated. Files that are written in quick succession may have the same times, for these go by the ticks of the system's
/// clock; then their names tell.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Age {
    modified: SystemTime,
    /// Some file systems don't say.
    created: Option<SystemTime>,
    /// If it is called as rotated files are.
    suffix: Option<Suffix>,
}

/// What was put behind the name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Suffix {
    /// Each rotation moves all files on by one, so the highest is the oldest.
    Number(Reverse<u64>),
    Date(Vec<u8>),
}

/// A number with so many digits is a date: `20131231`.
const DIGITS_OF_A_DATE: usize = 8;

/// Files are opened by the names under which they were listed, and may have other names by then: so many lists of a folder are enough for
/// anything but a file system whose files have no numbers that last.
const LISTS: usize = 100;

impl Age {
    fn of(metadata: &Metadata, suffix: Option<Suffix>) -> io::Result<Self> {
        Ok(Self {
            modified: metadata.modified()?,
            created: metadata.created().ok(),
            suffix,
        })
    }
}

/// The file that a position is in, under whatever name; or else a copy of it. The number of the file system does not count: after a
/// restart of the machine it may be another.
pub(super) fn find(path: &Path, position: &TailPosition) -> io::Result<Option<File>> {
    // First by its name, which may be a link to another folder.
    if let Some(file) = open(path)?
        && Identity::of(&file.metadata()?).inode == position.identity.inode
        && position.is_in(&file)?
    {
        return Ok(Some(file));
    }
    let found = until_as_listed(|| {
        for beside in beside(path)? {
            if beside.identity.inode == position.identity.inode {
                match beside.open()? {
                    Some(file) if position.is_in(&file)? => return Ok(Listed::Is(Some(file))),
                    Some(_) => {}
                    None => return Ok(Listed::Was),
                }
            }
        }
        Ok(Listed::Is(None))
    });
    match found? {
        Some(file) => Ok(Some(file)),
        None => copy(path, position),
    }
}

/// A copy of the file that a position is in: the newest.
pub(super) fn copy(path: &Path, position: &TailPosition) -> io::Result<Option<File>> {
    let is_copy =
        |beside: &Beside| beside.age.suffix.is_some() && beside.identity != position.identity;
    until_as_listed(|| {
        for copy in beside(path)?.into_iter().filter(is_copy).rev() {
            match copy.open()? {
                Some(file) if position.is_in(&file)? => return Ok(Listed::Is(Some(file))),
                Some(_) => {}
                None => return Ok(Listed::Was),
            }
        }
        Ok(Listed::Is(None))
    })
}

/// The file behind one that is over: the first of those that were rotated after it, or else the one that has the name, if there is one.
pub(super) fn next(path: &Path, over: &File) -> io::Result<Option<File>> {
    next_in(path, over, beside)
}

fn next_in(
    path: &Path,
    over: &File,
    mut beside: impl FnMut(&Path) -> io::Result<Vec<Beside>>,
) -> io::Result<Option<File>> {
    let metadata = over.metadata()?;
    let over = Identity::of(&metadata);
    until_as_listed(|| {
        // Before the list: a file that loses the name in between is in the list then, and any before it anyhow.
        let named = open(path)?;
        let files = beside(path)?;
        let mut ages = files.iter().filter(|file| file.identity == over);
        let nameless = Age::of(&metadata, None)?;
        let age = ages.next().map_or(&nameless, |file| &file.age);
        let is_next =
            |file: &&Beside| file.age.suffix.is_some() && file.age > *age && file.identity != over;
        let Some(first) = files.iter().find(is_next) else {
            let is_other = match &named {
                Some(named) => Identity::of(&named.metadata()?) != over,
                None => false,
            };
            return Ok(Listed::Is(named.filter(|_| is_other)));
        };
        Ok(match first.open()? {
            Some(file) => Listed::Is(Some(file)),
            None => Listed::Was,
        })
    })
}

/// What came of a list of files.
enum Listed<T> {
    Is(T),
    /// A file has lost its name since it was listed.
    Was,
}

/// Looks again as long as files lose their names in the meantime.
fn until_as_listed<T>(mut look: impl FnMut() -> io::Result<Listed<T>>) -> io::Result<T> {
    for _ in 0..LISTS {
        if let Listed::Is(found) = look()? {
            return Ok(found);
        }
    }
    Err(io::Error::other(
        "whenever one is opened, its name is another's by then: the files are renamed all the time, or their file system gives them no numbers \
         that last",
    ))
}

/// The files in the folder, the oldest first.
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
                age: Age::of(&metadata, suffix(name, &entry.file_name()))?,
                path: entry.path(),
            });
        }
    }
    files.sort_by(|a, b| a.age.cmp(&b.age));
    Ok(files)
}

/// What a rotated file has behind the name: a number or a date, as `log.1`, `log-20131231`, `log.2013-12-31`.
fn suffix(name: &OsStr, other: &OsStr) -> Option<Suffix> {
    let behind = other.as_bytes().strip_prefix(name.as_bytes())?;
    let (b'.' | b'-' | b'_', behind) = behind.split_first()? else {
        return None;
    };
    let is_number = behind.iter().all(u8::is_ascii_digit) && behind.len() < DIGITS_OF_A_DATE;
    let is_date = |byte: &u8| byte.is_ascii_digit() || b".-_:T".contains(byte);
    if !behind.first()?.is_ascii_digit() || !behind.iter().all(is_date) {
        return None;
    }
    let number = str::from_utf8(behind).ok().filter(|_| is_number);
    Some(match number.and_then(|number| number.parse().ok()) {
        Some(number) => Suffix::Number(Reverse(number)),
        None => Suffix::Date(behind.to_vec()),
    })
}

/// The file with this name, if there is one.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Beside {
    /// The file, if it still has the name under which it was listed.
    fn open(&self) -> io::Result<Option<File>> {
        let Some(file) = open(&self.path)? else {
            return Ok(None);
        };
        let is_it = Identity::of(&file.metadata()?) == self.identity;
        Ok(is_it.then_some(file))
    }
}

#[cfg(test)]
mod tests {
    use super::{Identity, beside, next, next_in, suffix};
    use std::ffi::OsStr;
    use std::fs::{self, File};
    use std::io::{self, Read as _};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    #[test]
    fn rotated_files_have_numbers_or_dates_behind_their_names() {
        let is_rotated = |other: &str| suffix(OsStr::new("a.log"), OsStr::new(other)).is_some();
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

    /// A folder in which the file `log` is made and rotated, `logrotate`'s way.
    struct Logs {
        folder: tempfile::TempDir,
        /// Seconds.
        clock: u64,
    }

    impl Logs {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Self { folder, clock: 0 }
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.folder.path().join(name)
        }

        fn write(&mut self, text: &str) {
            fs::write(self.path("log"), text).unwrap();
            self.clock += 1;
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + self.clock);
            let log = File::options().append(true).open(self.path("log"));
            log.unwrap().set_modified(time).unwrap();
        }

        fn rotate(&self) {
            for number in (1..9).rev() {
                // There may be fewer.
                let to = self.path(&format!("log.{}", number + 1));
                let _ = fs::rename(self.path(&format!("log.{number}")), to);
            }
            fs::rename(self.path("log"), self.path("log.1")).unwrap();
        }

        fn open(&self, name: &str) -> File {
            File::open(self.path(name)).unwrap()
        }
    }

    fn text(file: io::Result<Option<File>>) -> Option<String> {
        let mut text = String::new();
        file.unwrap()?.read_to_string(&mut text).unwrap();
        Some(text)
    }

    #[test]
    fn a_rotation_between_the_list_and_the_opening_of_a_file_of_it_skips_none() {
        let mut logs = Logs::new();
        for name in ["1", "2", "3"] {
            logs.write(name);
            logs.rotate();
        }
        logs.write("4");
        let over = logs.open("log.3");
        let mut lists = 0;
        let found = next_in(&logs.path("log"), &over, |path: &Path| {
            let files = beside(path);
            lists += 1;
            if lists == 1 {
                logs.rotate();
                logs.write("5");
            }
            files
        });
        assert_eq!((text(found).as_deref(), lists), (Some("2"), 2));
    }

    #[test]
    fn a_rotation_between_the_opening_of_the_name_and_the_list_skips_none() {
        let mut logs = Logs::new();
        logs.write("1");
        let over = logs.open("log");
        logs.rotate();
        logs.write("2");
        let found = next_in(&logs.path("log"), &over, |path: &Path| {
            logs.rotate();
            logs.write("3");
            beside(path)
        });
        assert_eq!(text(found).as_deref(), Some("2"));
        logs.rotate();
        fs::remove_file(logs.path("log.1")).unwrap();
        assert_eq!(text(next(&logs.path("log"), &logs.open("log.2"))), None);
        fs::rename(logs.path("log.2"), logs.path("log")).unwrap();
        let log = logs.path("log");
        assert_eq!(text(next(&log, &logs.open("log"))), None, "not itself");
    }

    #[test]
    fn files_that_are_never_what_the_list_says_are_an_error_and_no_endless_search() {
        let mut logs = Logs::new();
        logs.write("1");
        let over = logs.open("log");
        logs.rotate();
        logs.write("2");
        logs.rotate();
        let identity = Identity::of(&over.metadata().unwrap());
        let found = next_in(&logs.path("log"), &over, |path: &Path| {
            let mut files = beside(path)?;
            let others = files.iter_mut().filter(|file| file.identity != identity);
            others.for_each(|file| file.identity.inode = 0);
            Ok(files)
        });
        assert!(
            found
                .unwrap_err()
                .to_string()
                .contains("renamed all the time")
        );
    }

    #[test]
    fn of_files_with_the_same_times_the_one_with_the_highest_number_or_the_earliest_date_is_the_oldest()
     {
        let order = |names: [&str; 3]| {
            let suffix = |name| suffix(OsStr::new("log"), OsStr::new(name)).unwrap();
            names.map(suffix).is_sorted()
        };
        assert!(order(["log.10", "log.9", "log.1"]));
        assert!(order(["log-20131231", "log-20140101", "log-20140102"]));
        assert!(order([
            "log.2013-12-31T10",
            "log.2013-12-31T11",
            "log.2014-01-01"
        ]));
    }
}
