//! Whole files: opened in one walk along their path, and read where that pays.
//!
//! [`Files::open_now`] looks at what is at a path before it opens it, so it walks the path twice. Who reads a whole file can do
//! with whatever it turns out to be. So it is opened at once, with `O_NONBLOCK`, and looked at then:
//!
//! - **A server's or a program's file** is not opened so: a way that begins on this machine and enters no other mount
//!   (`RESOLVE_NO_XDEV`) leads to none. Where it begins, if that is the folder of the process, is looked at each time, because it may
//!   change. The root is looked at once: who moves it to a server (`chroot`) while the reactor reads has to wait for that server.
//! - **A pipe** is open without its other end. Who has waited to write to it has found its reader, who must not go away again: the
//!   descriptor is kept, and a thread waits until there is something to read.
//! - **A device**'s open may do anything. Devices are in a mount of their own, which is not entered; but where they are not,
//!   a thread closes it, and opens it as it should be.
//!
//! Of a path that leaves its mount the system says the same as of one that is not in memory, and both are then looked at. Who keeps
//! meeting such paths does without the one walk for a while, and who keeps meeting what is not in memory, without either, as
//! a [`History`] says.
//!
//! # From the disk
//!
//! A file to which the way is not in memory is one hand-over to a thread. Tried: opened by the ring, which has a thread of the
//! kernel's do it, and read by the ring; see `benches/README.md`.

use super::call::Path;
use super::{Files, History, LONGEST_NOW, Now};
use crate::os;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;

/// How far [`Files::read_whole`] came.
#[derive(Debug)]
#[must_use = "a rest must be read elsewhere"]
pub enum Whole {
    /// The file's contents.
    Done(Vec<u8>),
    /// The file, which is on this machine, a buffer as large as it, and how much of it is filled.
    Rest(File, Vec<u8>, usize),
    /// It is to be read by a thread that may block.
    Unread(Unread),
}

/// A file that a thread is to read; by default one that is not open.
#[derive(Default)]
pub struct Unread(Found);

#[derive(Default)]
enum Found {
    #[default]
    Nothing,
    File(File),
    Pipe(File),
    /// What has to be opened in another way. Closing it may take long.
    Other(File),
}

impl Files {
    /// Reads a whole file of up to 256 KiB, as far as nobody has to be waited for. What can't be read so fails with the
    /// one who tries next.
    ///
    /// # Cost
    /// Four system calls, one less than with the standard library, and one more if the path is not absolute; 20 µs more for the
    /// first file of a mount. Three more and a second walk, if the path leaves the mount where it begins.
    pub fn read_whole(&self, path: &std::path::Path) -> Whole {
        let opened = Path::new(path).ok().and_then(|path| self.open_whole(&path));
        opened.map_or_else(
            || Whole::Unread(Unread::default()),
            |file| self.read_found(file),
        )
    }

    fn open_whole(&self, path: &Path) -> Option<File> {
        if !self.opens_now || !self.reads_now || !self.whole.is_worth_a_try() {
            return None;
        }
        let opened = self.open_whole_now(path);
        match &opened {
            Ok(_) => self.whole.hit(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.whole.missed(),
            Err(_) => {}
        }
        opened.ok()
    }

    fn open_whole_now(&self, path: &Path) -> io::Result<File> {
        let in_one_walk = self.one_walk.is_worth_a_try();
        if in_one_walk && self.begins_here(path) {
            match os::open_whole(path.as_c_str()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                opened => {
                    self.one_walk.hit();
                    return opened;
                }
            }
        }
        let (file, _) = self.open_cached(path, os::WHOLE_FLAGS)?;
        if in_one_walk {
            self.one_walk.missed();
        }
        Ok(file)
    }

    fn read_found(&self, file: File) -> Whole {
        let found = match os::look(file.as_fd()) {
            Ok(about) if about.is_file => match self.read_file(&file, about.size) {
                Some((Now::Done(_), buffer)) => return Whole::Done(buffer),
                Some((Now::Rest(filled), buffer)) => return Whole::Rest(file, buffer, filled),
                None => Found::File(file),
            },
            Ok(about) if about.is_pipe => Found::Pipe(file),
            _ => Found::Other(file),
        };
        Whole::Unread(Unread(found))
    }

    /// Files that the kernel makes up say that they are empty. One that is longer is not read here, and may be said to
    /// be longer than the memory.
    fn read_file(&self, file: &File, size: Option<u64>) -> Option<(Now, Vec<u8>)> {
        let size = usize::try_from(size?).ok()?;
        if !(1..=LONGEST_NOW).contains(&size) {
            return None;
        }
        let mut buffer = vec![0; size];
        let read = self.read_now(file.as_fd(), &History::default(), &mut buffer, Some(0));
        match read {
            Now::Done(count) => buffer.truncate(count),
            Now::Rest(_) => os::without_nonblocking(file, libc::O_RDONLY).ok()?,
        }
        Some((read, buffer))
    }
}

impl Unread {
    /// Reads it, on a thread that may block.
    ///
    /// # Errors
    /// The system's. Who tries again after one opens the file anew.
    pub fn read(&mut self, path: &std::path::Path) -> io::Result<Vec<u8>> {
        let mut file = match std::mem::take(&mut self.0) {
            Found::Nothing => return fs::read(path),
            Found::Other(file) => {
                drop(file);
                return fs::read(path);
            }
            Found::File(file) => file,
            Found::Pipe(pipe) => {
                while let Err(error) = os::wait_for_writer(&pipe) {
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
                os::without_nonblocking(&pipe, libc::O_RDONLY)?;
                pipe
            }
        };
        let mut contents = Vec::new();
        file.read_to_end(&mut contents).map(|_| contents)
    }
}

impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            Found::Nothing => "not opened",
            Found::File(_) => "a file",
            Found::Pipe(_) => "a pipe",
            Found::Other(_) => "another thing",
        };
        write!(f, "Unread({name})")
    }
}
