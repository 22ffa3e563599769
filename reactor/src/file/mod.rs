//! Regular files: which way an operation takes, and what it has cost.
//!
//! A regular file has no readiness: the system calls it ready and then blocks. So an operation on one takes the first
//! of these *tiers* that is allowed, can serve it, and pays. Each is counted.
//!
//! | tier | what it is | where it fails |
//! |---|---|---|
//! | now | [`Files::read_now`], [`Files::open_now`], [`Files::look_now`]: the call itself, in the calling task, if all of it is in memory | it misses: it is not |
//! | ring | `io_uring`: the kernel does it by itself and reports to the reactor | where the system has none, or forbids it, or is out of memory for more |
//! | pool | a thread that may block, by whoever drives the reactor | nowhere; it costs a hand-over and back |
//!
//! As long as the pool is allowed, the ring gets what it is better at: reads of regular files on this machine, at positions, of at most 256
//! KiB. A longer one is a copy that takes a thread whoever makes it, and the rest costs the kernel a thread of its own. Without the
//! pool (`PEU_FILE_TIER=ring`) it gets all that it can do: also writes, syncs, opens, and changes of names.
//!
//! # One slab
//!
//! A [`Call`] that is not done at once is an event of the reactor like any other: it has an entry in its slab and a
//! [`Key`](crate::Key), whichever tier completes it, and owns what it works on until then. [`Reactor::submit_call`] takes a
//! callback, [`Reactor::perform`] is the future. `ring.rs` has the rest of the story.

pub(crate) mod call;
mod now;
pub(crate) mod ring;
pub(crate) mod stage;
pub(crate) mod submit;
mod tiers;
mod whole;

pub use call::{Answer, Call, OpenOptions};
pub use now::{Folder, History, LONGEST_NOW, Nature, Now};
pub use tiers::{ParseTiersError, Tiers};
pub use whole::{Unread, Whole};

use crate::metrics::Counter;
use crate::os;
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

#[cfg(doc)]
use crate::Reactor;

/// Has the system begin to read a part of a file into its cache, where it can: Linux, and files that have one. It may wait
/// for where on the disk that part is, and is for threads that may block.
///
/// # Cost
/// A system call.
pub fn prefetch(file: BorrowedFd<'_>, position: u64, length: usize) {
    os::will_need(file, position, length);
}

/// What operations on files have cost so far; a snapshot from [`Files::metrics`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct FileMetrics {
    /// Operations that were done in the calling task.
    pub now: u64,
    /// Operations that were tried there, and went elsewhere because what they need was not in memory.
    pub missed: u64,
    /// Operations that were tried there in vain, because the file or the file system can't be used so; of reads, once per
    /// open file.
    pub refused: u64,
    /// Operations that were handed to the ring.
    pub ring: u64,
    /// System calls by which they were.
    pub ring_submissions: u64,
    /// The number of the system's error for which there is no ring. None: there is one, or it was not needed yet, or no
    /// descriptor was left for it.
    pub no_ring: Option<i32>,
    /// Operations that were handed to the pool, whatever the reason.
    pub pool: u64,
}

/// The tiers of one reactor, and their counters: [`Reactor::files`].
#[derive(Debug)]
pub struct Files {
    tiers: Tiers,
    reads_now: bool,
    opens_now: bool,
    /// What came of opening whole files without waiting, and of doing so in one walk: see `whole.rs`.
    whole: History,
    one_walk: History,
    /// Set when it was found so.
    root_is_here: OnceLock<()>,
    mounts: now::Mounts,
    /// Made when it is first needed. The error's number, where it can't be made.
    ring: OnceLock<Result<ring::Ring, i32>>,
    done_now: Counter,
    missed: Counter,
    refused: Counter,
    to_ring: Counter,
    submissions: Counter,
    pool: Counter,
}

impl Files {
    pub(crate) fn new(tiers: Tiers) -> Files {
        let now = tiers.contains(Tiers::NOW);
        Files {
            tiers,
            reads_now: now && os::can_read_now(),
            opens_now: now && os::can_open_now(),
            whole: History::default(),
            one_walk: History::default(),
            root_is_here: OnceLock::new(),
            mounts: now::Mounts::default(),
            ring: OnceLock::new(),
            done_now: Counter::default(),
            missed: Counter::default(),
            refused: Counter::default(),
            to_ring: Counter::default(),
            submissions: Counter::default(),
            pool: Counter::default(),
        }
    }

    /// The tiers that may be used.
    pub fn tiers(&self) -> Tiers {
        self.tiers
    }

    /// What was counted so far.
    pub fn metrics(&self) -> FileMetrics {
        FileMetrics {
            now: self.done_now.get(),
            missed: self.missed.get(),
            refused: self.refused.get(),
            ring: self.to_ring.get(),
            ring_submissions: self.submissions.get(),
            no_ring: self
                .ring
                .get()
                .and_then(|ring| ring.as_ref().err().copied()),
            pool: self.pool.get(),
        }
    }
}
