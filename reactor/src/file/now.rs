//! The tier *now*: what can be had without waiting for anybody is had in the calling task.
//!
//! A read asks for what is in memory (`preadv2` with `RWF_NOWAIT`). An open asks for a path of which all parts are in
//! memory (`openat2` with `RESOLVE_CACHED`), after a look at what is there: a pipe's open waits for its other end and a
//! device's may do anything, so only regular files and directories are opened here. A look is the descriptor of such a
//! path, and the file's inode, which is then in memory as well. File systems that keep their data elsewhere are left to
//! the other tiers, because there even an inode in memory may have to be asked for.
//!
//! # Files that are elsewhere
//!
//! Of a network's or a program's file system (NFS, CIFS, 9p, FUSE) no file is opened, looked at or closed here (to close is to
//! write back what is left, or to say so to the server): only those on a list are (`os/mounts.rs`), and what is not on it
//! counts as elsewhere. Of which kind a mount is, is looked up once in the kernel's table of them, for which no server is
//! asked; only 9p, where it caches nothing, asks its server already when the kernel is asked for the mount. Before Linux 6.8
//! a mount has no number of its own, only its device's: one that gets the number of another that is gone is taken for it.
//! Reads are not guarded by the list but by the system: `RWF_NOWAIT` is for file systems that have promised to heed it, and
//! the others refuse it at once.
//!
//! The ring gets none of them either. Of a file that promises nothing its first try asks whether it is ready, which FUSE asks the
//! program, and then reads, although that waits. And what a program without a page cache gives by halves is wrong: the ring
//! goes on by itself, in its threads too, from where it had begun (Linux 6.18).
//!
//! # When to try
//!
//! A try that misses costs a system call, 0.4 µs, a twentieth of the hand-over that follows it. So a file may miss 4
//! times in a row before the next 32 reads go elsewhere at once; then one read tries again. A file that is never in
//! memory so wastes one small call in 33 reads; one that has come into memory is found out after at most 32 reads that
//! were slower than they had to be. A file system that can't tell (tmpfs) says so at the first try, which is the last
//! for that file.

use super::call::{OpenOptions, Path};
use super::{Files, Tiers};
use crate::os;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Misses in a row after which a file is left alone for a while: one or two are what a reader meets at the edge of what
/// the system has read ahead, four are a file that is not in memory.
const MISSES: u32 = 4;

/// Reads for which it is then left alone: see the [module](self).
const SKIPS: u32 = 32;

/// In [`History`]: this file can't be read so at all.
const NEVER: u32 = u32::MAX;

/// The longest read that is tried in the calling task, and of which the ring is told. Measured: 256 KiB take 10 µs, about what the
/// hand-over adds (8 to 11 µs). With a longer read the task would keep its worker from the others for longer than it saves;
/// with a shorter one, who reads a large file from memory would pay for more calls (with 64 KiB a quarter more than with
/// blocking calls of 256 KiB, with 256 KiB as much).
pub const LONGEST_NOW: usize = 256 * 1024;

impl Files {
    /// Reads without waiting for a disk, if the tier is allowed and worth a try. Never reports an error: what can't be
    /// read so goes elsewhere, and fails there.
    ///
    /// At a `position`, the answer is [`Now::Done`] when the buffer is full or the file ends. Without one, the file's
    /// own position is used and moved, and the first bytes are enough.
    ///
    /// # Examples
    /// ```
    /// use peu_reactor::Reactor;
    /// use peu_reactor::file::{History, Now};
    /// use std::os::fd::AsFd;
    ///
    /// let reactor = Reactor::new()?;
    /// let file = std::fs::File::open("Cargo.toml")?;
    /// let (mut buffer, history) = ([0; 9], History::default());
    /// match reactor.files().read_now(file.as_fd(), &history, &mut buffer, Some(0)) {
    ///     Now::Done(count) => assert_eq!(&buffer[..count], b"[package]"),
    ///     Now::Rest(count) => assert!(count < 9), // another tier reads from there
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Cost
    /// One system call, and one more where the file ends within the buffer.
    pub fn read_now(
        &self,
        file: BorrowedFd<'_>,
        history: &History,
        buffer: &mut [u8],
        position: Option<u64>,
    ) -> Now {
        if !self.reads_now || buffer.len() > LONGEST_NOW || !history.is_worth_a_try() {
            return Now::Rest(0);
        }
        let mut filled = 0;
        while filled < buffer.len() {
            let position = position.map(|position| position.saturating_add(filled as u64));
            match os::read_now(file, &mut buffer[filled..], position) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) => return self.fell_short(history, &error, filled),
            }
            if position.is_none() {
                break;
            }
        }
        history.hit();
        self.done_now.add(1);
        Now::Done(filled)
    }

    /// Reads from the file's own position on as much as is in memory, perhaps nothing, on a thread that may block: by what is
    /// missing it learns whether it was needed. Not counted.
    ///
    /// # Cost
    /// One system call.
    pub fn read_cached(&self, file: BorrowedFd<'_>, history: &History, buffer: &mut [u8]) -> usize {
        if !self.reads_now || history.get() == NEVER {
            return 0;
        }
        os::read_now(file, buffer, None).unwrap_or(0)
    }

    fn fell_short(&self, history: &History, error: &io::Error, filled: usize) -> Now {
        if error.kind() == io::ErrorKind::WouldBlock {
            history.missed();
            self.missed.add(1);
        } else {
            history.never_again();
            self.refused.add(1);
        }
        Now::Rest(filled)
    }

    /// Opens a file without waiting for a disk, if it is opened for nothing but reading. `None`: it is to be opened elsewhere,
    /// and fails there if it can't be.
    ///
    /// # Cost
    /// Six system calls, together 2 µs; for the first file of a mount some 20 µs more.
    pub fn open_now(
        &self,
        path: &std::path::Path,
        options: &OpenOptions,
    ) -> Option<(File, Nature)> {
        if !self.opens_now || !options.only_looks() {
            return None;
        }
        let (path, flags) = (Path::new(path).ok()?, options.flags().ok()?);
        let (file, about) = self.open_cached(&path, flags).ok()?;
        os::without_nonblocking(&file, flags).ok()?;
        self.done_now.add(1);
        let nature = if about.is_file {
            Nature::Here
        } else {
            Nature::Other
        };
        Some((file, nature))
    }

    /// Opens what is a regular file or a directory, with `O_NONBLOCK`. `WouldBlock`: the way to it is not in memory.
    pub(super) fn open_cached(&self, path: &Path, flags: i32) -> io::Result<(File, os::About)> {
        let (_seen, about) = self.look(path, true)?;
        if !about.is_file_or_directory {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let file = os::open_cached(path.as_c_str(), flags)?;
        // Another may be there by now, and a pipe, opened so, would seem to be at its end.
        let about = os::look(file.as_fd())?;
        match about.is_file_or_directory {
            true => Ok((file, about)),
            false => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Looks at what is at a path, without waiting for a disk. `None`: elsewhere, as for an open.
    ///
    /// # Cost
    /// Four system calls, together 1 µs; for the first file of a mount some 20 µs more.
    pub fn look_now(&self, path: &std::path::Path, follow_link: bool) -> Option<Metadata> {
        if !self.opens_now {
            return None;
        }
        let (seen, _) = self.look(&Path::new(path).ok()?, follow_link).ok()?;
        let about = seen.metadata().ok()?;
        self.done_now.add(1);
        Some(about)
    }

    /// Opens a folder in which things will be [looked at](Self::look_in_now), on a thread that may block. `None`: that can't be
    /// done in this one.
    pub fn folder(&self, path: &std::path::Path) -> Option<Folder> {
        if !self.opens_now {
            return None;
        }
        let folder = File::open(path).ok()?;
        let about = os::look(folder.as_fd()).ok()?;
        let is_here = self.is_on_this_machine(&folder, &about);
        is_here.then_some(Folder(folder))
    }

    /// Looks at what has a name in a folder, as [`look_now`](Self::look_now) does. A link is not followed.
    ///
    /// # Cost
    /// Three system calls, and a way of one step.
    pub fn look_in_now(&self, folder: &Folder, name: &std::ffi::OsStr) -> Option<Metadata> {
        let name = Path::new(name.as_ref()).ok()?;
        let seen = os::peek_cached_in(&folder.0, name.as_c_str());
        let seen = seen.inspect_err(|_| self.missed.add(1)).ok()?;
        let about = seen.metadata().ok()?;
        self.done_now.add(1);
        Some(about)
    }

    /// Looks at an open file of this [nature](Self::nature), as [`look_now`](Self::look_now) does.
    ///
    /// # Cost
    /// A system call, and one more if it is no regular file.
    pub fn look_at_now(&self, file: &File, nature: Nature) -> Option<Metadata> {
        let is_here = match nature {
            Nature::Here => true,
            Nature::Elsewhere => false,
            // Directories are on all file systems.
            Nature::Other => {
                os::look(file.as_fd()).is_ok_and(|about| self.is_on_this_machine(file, &about))
            }
        };
        if !is_here || !self.tiers.contains(Tiers::NOW) {
            return None;
        }
        let about = file.metadata().ok()?;
        self.done_now.add(1);
        Some(about)
    }

    /// A descriptor to look by, and what memory knows.
    fn look(&self, path: &Path, follow_link: bool) -> io::Result<(File, os::About)> {
        let seen = os::peek_cached(path.as_c_str(), follow_link);
        let seen = seen.inspect_err(|_| self.missed.add(1))?;
        let about = os::look(seen.as_fd())?;
        if !self.is_on_this_machine(&seen, &about) {
            self.refused.add(1);
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok((seen, about))
    }

    /// What an open file is. Nobody is waited for, but a server of 9p that is to be asked each time.
    ///
    /// # Cost
    /// A system call; for the first file of a mount some 20 µs more.
    pub fn nature(&self, file: &File) -> Nature {
        match os::look(file.as_fd()) {
            Ok(about) if !about.is_file => Nature::Other,
            Ok(about) if self.is_on_this_machine(file, &about) => Nature::Here,
            Ok(_) => Nature::Elsewhere,
            // Only Linux tells more.
            Err(_) if file.metadata().is_ok_and(|about| about.is_file()) => Nature::Here,
            Err(_) => Nature::Other,
        }
    }

    fn is_on_this_machine(&self, file: &File, about: &os::About) -> bool {
        self.mounts
            .is_local(about.mount, || os::is_on_this_machine(file.as_fd()))
    }

    /// Whether the way to a path begins on this machine: in the root of the process, or in its folder, which may change at any time.
    pub(super) fn begins_here(&self, path: &Path) -> bool {
        let is_absolute = path.is_absolute();
        if is_absolute && self.root_is_here.get().is_some() {
            return true;
        }
        let ask = || {
            let start = if is_absolute { c"/" } else { c"." };
            os::is_on_this_machine(os::peek_cached(start, true)?.as_fd())
        };
        let about = os::look_at_start(is_absolute);
        let is_here = about.is_ok_and(|about| self.mounts.is_local(about.mount, ask));
        if is_absolute && is_here {
            // Who was faster has found the same.
            let _ = self.root_is_here.set(());
        }
        is_here
    }
}

/// A folder on this machine: [`Files::folder`].
#[derive(Debug)]
pub struct Folder(File);

/// What an open file is, for who waits for it: [`Files::nature`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nature {
    /// A regular file on this machine: only its disk is waited for.
    Here,
    /// A regular file of a server or a program, which may be waited for without end: also to look at it, and to close it. Or of a
    /// file system that is not known to be on this machine.
    Elsewhere,
    /// A pipe, a device, a directory.
    Other,
}

/// Which mounts keep their data here, as far as was asked: a word for each, in the place that its number says, or in the next
/// that was free. Where there are too many, those that share a place are asked for by turns.
#[derive(Debug)]
pub(super) struct Mounts([AtomicU64; MOUNTS]);

/// Mounts that are remembered: more than most processes use.
const MOUNTS: usize = 16;

/// In a place of [`Mounts`]: it is free. No mount has so large a number that this were its word.
const FREE: u64 = u64::MAX;

impl Default for Mounts {
    fn default() -> Mounts {
        Mounts(std::array::from_fn(|_| AtomicU64::new(FREE)))
    }
}

impl Mounts {
    /// `ask` fails when it can't be told now. That counts as "elsewhere", which is always right, and is not remembered.
    fn is_local(&self, mount: u64, ask: impl FnOnce() -> io::Result<bool>) -> bool {
        let (here, elsewhere) = (mount << 1 | 1, mount << 1);
        let home = mount as usize % MOUNTS;
        let mut own = home;
        for place in (home..home + MOUNTS).map(|place| place % MOUNTS) {
            // ORDERING: Relaxed. A word is an answer by itself; who does not see it asks.
            match self.0[place].load(Ordering::Relaxed) {
                known if known == here => return true,
                known if known == elsewhere => return false,
                FREE => {
                    own = place;
                    break;
                }
                _ => {}
            }
        }
        let Ok(is_local) = ask() else {
            return false;
        };
        let answer = if is_local { here } else { elsewhere };
        // ORDERING: Relaxed, as above.
        self.0[own].store(answer, Ordering::Relaxed);
        is_local
    }
}

/// How far [`Files::read_now`] came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a rest must be read elsewhere"]
pub enum Now {
    /// So many bytes were read, and there is nothing to add.
    Done(usize),
    /// So many bytes were read, and those after them are to be read elsewhere.
    Rest(usize),
}

/// What an open file has answered to reads in the calling task. Shared by all who read it; one per open file.
//
// One word: below MISSES, the misses in a row; from there on, MISSES plus the reads that are still to be left out; or
// NEVER. Two readers at once may overwrite each other's count: then one more read is tried, or left out, and none is
// wrong.
#[derive(Default, Debug)]
pub struct History(AtomicU32);

impl History {
    /// Forgets the misses: of who reads on and on, one says nothing about the next.
    pub fn forgive(&self) {
        if self.get() != NEVER {
            self.hit();
        }
    }

    pub(super) fn is_worth_a_try(&self) -> bool {
        let state = self.get();
        if state > MISSES && state != NEVER {
            self.set(state - 1);
        }
        state <= MISSES
    }

    pub(super) fn hit(&self) {
        // Readers of a file that is in memory, on many cores, must not write to one cache line.
        if self.get() != 0 {
            self.set(0);
        }
    }

    pub(super) fn missed(&self) {
        let misses = self.get().saturating_add(1);
        self.set(if misses < MISSES {
            misses
        } else {
            MISSES + SKIPS
        });
    }

    fn never_again(&self) {
        self.set(NEVER);
    }

    fn get(&self) -> u32 {
        // ORDERING: Relaxed. A guess about the future orders nothing.
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, state: u32) {
        // ORDERING: Relaxed, as in `get`.
        self.0.store(state, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_keeps_missing_is_left_alone_for_a_while() {
        let history = History::default();
        let tries = |reads: u32| {
            (0..reads)
                .filter(|_| history.is_worth_a_try())
                .inspect(|_| history.missed())
                .count()
        };
        assert_eq!(tries(MISSES), MISSES as usize);
        assert_eq!(tries(SKIPS), 0);
        assert_eq!(tries(1 + SKIPS), 1, "one try, and again a while without");
        assert!(history.is_worth_a_try());
        history.hit();
        assert_eq!(tries(MISSES), MISSES as usize, "a hit forgives");
        history.forgive();
        assert_eq!(tries(1), 1);
    }

    #[test]
    fn each_mount_is_asked_for_once() {
        let mounts = Mounts::default();
        let asked = std::cell::Cell::new(0);
        let is_local = |mount: u64| {
            mounts.is_local(mount, || {
                asked.set(asked.get() + 1);
                Ok(mount.is_multiple_of(2))
            })
        };
        for round in 1..=3 {
            for mount in (0..MOUNTS as u64).chain([254 << 32]) {
                // The last one finds no place but that of the first.
                assert_eq!(is_local(mount), mount.is_multiple_of(2), "{mount}");
            }
            assert_eq!(asked.get(), MOUNTS + 2 * round - 1);
        }
    }

    #[test]
    fn mounts_that_share_a_place_are_asked_for_once() {
        let mounts = Mounts::default();
        let sharing = [15, 31, 47];
        for mount in sharing {
            assert_eq!(mounts.is_local(mount, || Ok(mount != 31)), mount != 31);
        }
        for mount in sharing {
            let known = mounts.is_local(mount, || panic!("{mount} was asked for"));
            assert_eq!(known, mount != 31);
        }
    }

    /// At the limit of descriptors nothing can be asked, but soon after.
    #[test]
    fn a_moment_without_descriptors_is_not_remembered() {
        let mounts = Mounts::default();
        let none_left = || Err(io::Error::from_raw_os_error(libc::EMFILE));
        assert!(!mounts.is_local(7, none_left));
        assert!(mounts.is_local(7, || Ok(true)));
        assert!(mounts.is_local(7, none_left), "it is known by now");
    }

    #[test]
    fn a_file_that_refuses_is_never_tried_again() {
        let history = History::default();
        history.never_again();
        history.forgive();
        assert!((0..1000).all(|_| !history.is_worth_a_try()));
    }
}
