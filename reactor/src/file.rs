//! Regular files: which way an operation takes, and what it has cost.
//!
//! A regular file has no readiness: the system calls it ready and then blocks. So an operation on one takes the first
//! of these *tiers* that can serve it, and each tier is counted.
//!
//! | tier | what it is | where it fails |
//! |---|---|---|
//! | now | [`Files::read_now`]: the read itself, in the calling task, if the bytes are in memory | it misses: they are not |
//! | pool | a thread that may block, by whoever drives the reactor | nowhere; it costs a hand-over and back |
//!
//! # When to try
//!
//! A try that misses costs a system call, 0.4 µs, a twentieth of the hand-over that follows it. So a file may miss 4
//! times in a row before the next 32 reads go to the pool at once; then one read tries again. A file that is never in
//! memory so wastes one small call in 33 reads; one that has come into memory is found out after at most 32 reads that
//! were slower than they had to be. A file system that can't tell (tmpfs) says so at the first try, which is the last
//! for that file.

use crate::metrics::Counter;
use crate::os;
use crate::sync::{AtomicU32, Ordering};
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::str::FromStr;

/// Misses in a row after which a file is left alone for a while: one or two are what a reader meets at the edge of what
/// the system has read ahead, four are a file that is not in memory.
const MISSES: u32 = 4;

/// Reads for which it is then left alone: see the [module](self).
const SKIPS: u32 = 32;

/// In [`History`]: this file can't be read so at all.
const NEVER: u32 = u32::MAX;

/// The longest read that is tried in the calling task. Measured: 128 KiB take 5 to 9 µs, about what the hand-over adds
/// (8 to 11 µs). With a longer read the task would keep its worker from the others for longer than it saves.
const LONGEST: usize = 128 * 1024;

/// The tiers that operations on files may use: all of them, unless restricted.
///
/// The text form is a list of names, `now,pool`. The pool can't be left out, because opening, writing and all that
/// is no read have no other.
///
/// # Examples
/// ```
/// use peu_reactor::file::Tiers;
///
/// assert_eq!("now,pool".parse(), Ok(Tiers::ALL));
/// assert_eq!("pool".parse(), Ok(Tiers::POOL));
/// let error = "now,rings".parse::<Tiers>().unwrap_err();
/// assert_eq!(error.to_string(), "there is no file tier \"rings\": name now, pool or both, as in \"now,pool\"");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tiers {
    now: bool,
}

impl Tiers {
    /// Every tier that the system has.
    pub const ALL: Tiers = Tiers { now: true };
    /// Every operation on a thread of the pool.
    pub const POOL: Tiers = Tiers { now: false };
}

impl FromStr for Tiers {
    type Err = ParseTiersError;

    fn from_str(list: &str) -> Result<Tiers, ParseTiersError> {
        let (mut now, mut pool) = (false, false);
        for name in list.split(',').map(str::trim) {
            match name {
                "now" => now = true,
                "pool" => pool = true,
                unknown => return Err(ParseTiersError(Some(unknown.to_owned()))),
            }
        }
        if pool {
            Ok(Tiers { now })
        } else {
            Err(ParseTiersError(None))
        }
    }
}

/// Why a text names no [`Tiers`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseTiersError(Option<String>);

impl fmt::Display for ParseTiersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(unknown) => write!(
                f,
                "there is no file tier {unknown:?}: name now, pool or both, as in \"now,pool\""
            ),
            None => f.write_str(
                "the file tier pool can't be left out, for only reads have another: write \"now,pool\"",
            ),
        }
    }
}

impl std::error::Error for ParseTiersError {}

/// What operations on files have cost so far; a snapshot from [`Files::metrics`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct FileMetrics {
    /// Reads that were done in the calling task.
    pub now: u64,
    /// Reads that were tried there, and went to the pool because the bytes were not in memory.
    pub missed: u64,
    /// Reads that were tried there in vain, because the file or the file system can't be read so; once per open file.
    pub refused: u64,
    /// Operations that were handed to the pool, whatever the reason.
    pub pool: u64,
}

/// The tiers of one reactor, and their counters: [`Reactor::files`](crate::Reactor::files).
#[derive(Debug)]
pub struct Files {
    now: bool,
    done_now: Counter,
    missed: Counter,
    refused: Counter,
    pool: Counter,
}

impl Files {
    pub(crate) fn new(tiers: Tiers) -> Files {
        Files {
            now: tiers.now && os::can_read_now(),
            done_now: Counter::default(),
            missed: Counter::default(),
            refused: Counter::default(),
            pool: Counter::default(),
        }
    }

    /// Reads without waiting for a disk, if the tier is allowed and worth a try. Never reports an error: what can't be
    /// read so goes to the pool, and fails there.
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
    ///     Now::Rest(count) => assert!(count < 9), // the pool reads from there
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
        if !self.now || buffer.len() > LONGEST || !history.is_worth_a_try() {
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

    /// Counts an operation that is handed to the pool.
    pub fn count_pooled(&self) {
        self.pool.add(1);
    }

    /// What was counted so far.
    pub fn metrics(&self) -> FileMetrics {
        FileMetrics {
            now: self.done_now.get(),
            missed: self.missed.get(),
            refused: self.refused.get(),
            pool: self.pool.get(),
        }
    }
}

/// How far [`Files::read_now`] came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a rest must be read elsewhere"]
pub enum Now {
    /// So many bytes were read, and there is nothing to add.
    Done(usize),
    /// So many bytes were read, and those after them are for the pool.
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
    fn is_worth_a_try(&self) -> bool {
        let state = self.get();
        if state > MISSES && state != NEVER {
            self.set(state - 1);
        }
        state <= MISSES
    }

    fn hit(&self) {
        // Readers of a file that is in memory, on many cores, must not write to one cache line.
        if self.get() != 0 {
            self.set(0);
        }
    }

    fn missed(&self) {
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
    fn names_are_read_strictly() {
        for (text, tiers) in [
            ("pool", Tiers::POOL),
            ("now,pool", Tiers::ALL),
            (" pool , now ", Tiers::ALL),
        ] {
            assert_eq!(text.parse(), Ok(tiers), "{text}");
        }
        for (text, about) in [
            ("now", "left out"),
            ("", "\"\""),
            ("Pool", "\"Pool\""),
            ("pool,", "\"\""),
        ] {
            let error = text.parse::<Tiers>().unwrap_err().to_string();
            assert!(
                error.contains(about) && error.contains("now,pool"),
                "{error}"
            );
        }
    }

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
    }

    #[test]
    fn a_file_that_refuses_is_never_tried_again() {
        let history = History::default();
        history.never_again();
        assert!((0..1000).all(|_| !history.is_worth_a_try()));
    }
}
