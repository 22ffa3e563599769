//! The ring: `io_uring`, by which the kernel performs calls on files by itself and says later how they went.
//!
//! Two halves, because they have different users: whoever submits has the [`Submission`], whoever takes a turn the
//! [`Completion`]. Neither is ever used by two threads at once, which `&mut` sees to.
//!
//! # Which kind of ring
//!
//! A plain one. `SINGLE_ISSUER` with `DEFER_TASKRUN` makes the kernel finish calls only when the thread that submitted
//! them asks for it. Turns are taken by whoever is idle here, so a worker that has submitted and is then stuck in a long
//! poll would hold back the calls of all others; `COOP_TASKRUN` waits for that thread's next system call and has the same
//! fault. In a plain ring the kernel interrupts the submitting thread for a moment, while it computes or waits for something
//! that a signal may end, and the completion is there for anyone. A thread that waits for what no signal ends (the disk
//! behind a page fault or a blocking read, the `exec` of a child made by `vfork`) is not interrupted: what it has submitted
//! completes when that wait is over. That is the one case in which a stuck worker holds back reads of others. It costs
//! nothing either: reading 4 KiB at random with 64 reads in flight took, per read, 5.1 to 5.8
//! µs of CPU time plain, 5.0 to 5.6 with `COOP_TASKRUN` and 5.5 to 5.7 with `DEFER_TASKRUN` from a cold cache, and 0.97
//! to 1.15 µs with each of them from a warm one.
//!
//! When that thread sleeps in the reactor at that moment, its `epoll_wait` ends with `EINTR`: a turn looks at the
//! completions whatever ended its wait.
//!
//! # How a turn is told
//!
//! The ring's own descriptor is in the reactor's epoll, edge-triggered. An eventfd would be a second descriptor for the
//! same news; measured, neither is faster.

use crate::events::Key;
use crate::file::call::{Path, Transfer, What};
use io_uring::{IoUring, Probe, opcode, squeue, types};
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

/// A call in the form that the kernel reads. It points to what the call owns.
#[derive(Clone)]
pub(crate) struct Entry {
    entry: squeue::Entry,
    /// What it may copy.
    bytes: usize,
}

/// The half that submits.
pub(crate) struct Submission(Arc<IoUring>);

/// The half that hands out what is done.
pub(crate) struct Completion(Arc<IoUring>);

/// What this module asks of the kernel. One that lacks any of it (before 5.15) is treated as having no ring.
const NEEDED: [u8; 9] = [
    opcode::OpenAt::CODE,
    opcode::Read::CODE,
    opcode::Write::CODE,
    opcode::Fsync::CODE,
    opcode::RenameAt::CODE,
    opcode::UnlinkAt::CODE,
    opcode::MkDirAt::CODE,
    opcode::LinkAt::CODE,
    opcode::AsyncCancel::CODE,
];

/// Makes a ring whose descriptor reports to `registry`.
pub(crate) fn ring(registry: &Registry, entries: u32) -> io::Result<(Submission, Completion)> {
    // Room for the reports of what is in flight, twice as much as can be submitted at once, and of a cancellation for each.
    let mut builder = IoUring::builder();
    let ring = builder
        .dontfork()
        .setup_cqsize(4 * entries)
        .build(entries)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let params = ring.params();
    let complete = params.is_feature_nodrop();
    if !complete || !NEEDED.iter().all(|code| probe.is_supported(*code)) {
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    }
    let descriptor = ring.as_raw_fd();
    // A filter may allow to make a ring and forbid to use it.
    ring.submit()?;
    registry.register(
        &mut SourceFd(&descriptor),
        Key::RING.into(),
        Interest::READABLE,
    )?;
    let ring = Arc::new(ring);
    Ok((Submission(ring.clone()), Completion(ring)))
}

impl Submission {
    /// Puts a call into the queue that the kernel reads. `false`: it is full. `aside`: one of the kernel's own threads is to
    /// do it, because it may take long.
    ///
    /// # Safety
    /// What the entry points to (paths, buffers, a descriptor) stays where it is, unread and unwritten, until the
    /// completion with the entry's key is out.
    pub(crate) unsafe fn push(&mut self, entry: &Entry, aside: bool) -> bool {
        let flagged;
        let entry = if aside {
            flagged = entry.entry.clone().flags(squeue::Flags::ASYNC);
            &flagged
        } else {
            &entry.entry
        };
        // SAFETY: `&mut self`, and there is one `Submission` of a ring, so no other view of its queue exists now.
        let mut queue = unsafe { self.0.submission_shared() };
        // SAFETY: the caller vouches for what the entry points to.
        unsafe { queue.push(entry) }.is_ok()
    }

    /// How many are in the queue that the kernel has not taken.
    pub(crate) fn pending(&mut self) -> usize {
        // SAFETY: as in `push`.
        unsafe { self.0.submission_shared() }.len()
    }

    /// Whether the kernel keeps reports, because its queue of them was full, and puts them there when it is told of anything.
    pub(crate) fn keeps_reports(&mut self) -> bool {
        // SAFETY: as in `push`.
        unsafe { self.0.submission_shared() }.cq_overflow()
    }

    /// What tells the kernel to look. Any thread may, at any time: it is a descriptor.
    pub(crate) fn bell(&self) -> Bell {
        Bell(self.0.clone())
    }
}

/// Tells the kernel that there is something in its queue.
pub(crate) struct Bell(Arc<IoUring>);

impl Bell {
    /// Submits what is in the queue, in one system call. Returns how many the kernel has taken: it stops at the first that
    /// it finds wrong, which it takes and reports, and where it is out of memory.
    pub(crate) fn ring(&self) -> io::Result<usize> {
        loop {
            match self.0.submit() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                submitted => return submitted,
            }
        }
    }

    /// Waits until a completion is there, for at most `timeout`. It submits nothing.
    pub(crate) fn wait(&self, timeout: Duration) {
        let mut ring = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let limit = timeout.as_millis().try_into().unwrap_or(i32::MAX);
        // SAFETY: it is given one struct, which outlives the call, and whose descriptor is open. Whether time ran out or a
        // signal came: the caller looks, and knows how long it wants to wait.
        unsafe { libc::poll(&mut ring, 1, limit) };
    }
}

impl Completion {
    /// Hands out what is done: the key of each call and what the kernel answered. Returns how many. What became of
    /// cancellations is of no interest.
    pub(crate) fn collect(&mut self, into: &mut Vec<(Key, i32)>) -> usize {
        // SAFETY: `&mut self`, and there is one `Completion` of a ring, so no other view of its queue exists now.
        let queue = unsafe { self.0.completion_shared() };
        let before = into.len();
        let done = queue.map(|done| (key(done.user_data()), done.result()));
        into.extend(done.filter(|(key, _)| *key != Key::RING));
        into.len() - before
    }
}

fn key(user_data: u64) -> Key {
    Key::from(mio::Token(user_data as usize))
}

fn user_data(key: Key) -> u64 {
    mio::Token::from(key).0 as u64
}

impl Entry {
    /// `None`: the kernel has no way to do this by itself.
    pub(crate) fn of(what: &mut What) -> Option<Entry> {
        let here = types::Fd(libc::AT_FDCWD);
        let mut bytes = 0;
        let entry = match what {
            What::Open { path, flags, mode } => open(path, *flags, *mode),
            What::Read(transfer) => {
                bytes = transfer.left();
                read(transfer)
            }
            What::Write(transfer) => {
                bytes = transfer.left();
                write(transfer)
            }
            What::Sync { file, data_only } => {
                let flags = if *data_only {
                    types::FsyncFlags::DATASYNC
                } else {
                    types::FsyncFlags::empty()
                };
                opcode::Fsync::new(descriptor(file)).flags(flags).build()
            }
            What::Rename { from, to } => {
                opcode::RenameAt::new(here, from.as_c_str().as_ptr(), here, to.as_c_str().as_ptr())
                    .build()
            }
            What::Remove { path, directory } => {
                let flags = if *directory { libc::AT_REMOVEDIR } else { 0 };
                opcode::UnlinkAt::new(here, path.as_c_str().as_ptr())
                    .flags(flags)
                    .build()
            }
            What::MakeDirectory { path } => opcode::MkDirAt::new(here, path.as_c_str().as_ptr())
                .mode(Path::NEW_DIRECTORY)
                .build(),
            What::Link { original, link } => opcode::LinkAt::new(
                here,
                original.as_c_str().as_ptr(),
                here,
                link.as_c_str().as_ptr(),
            )
            .build(),
            What::Job { .. } => return None,
        };
        Some(Entry { entry, bytes })
    }

    /// Makes the kernel end the call of this key, if it is still at it.
    pub(crate) fn cancel(key: Key) -> Entry {
        let entry = opcode::AsyncCancel::new(user_data(key)).build();
        Entry { entry, bytes: 0 }.with_key(Key::RING)
    }

    pub(crate) fn with_key(mut self, key: Key) -> Entry {
        self.entry = self.entry.user_data(user_data(key));
        self
    }

    pub(crate) fn key(&self) -> Key {
        key(self.entry.get_user_data())
    }

    /// How much it copies at most.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// By a thread of the kernel's at once. In its own first attempt, which must not wait, the kernel would open a pipe without
/// the other end.
fn open(path: &Path, flags: i32, mode: u32) -> squeue::Entry {
    opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_c_str().as_ptr())
        .flags(flags)
        .mode(mode)
        .build()
        .flags(squeue::Flags::ASYNC)
}

fn read(transfer: &mut Transfer) -> squeue::Entry {
    let (file, position, rest) = transfer.parts();
    opcode::Read::new(descriptor(file), rest.as_mut_ptr(), length(rest))
        .offset(offset(position))
        .build()
}

fn write(transfer: &mut Transfer) -> squeue::Entry {
    let (file, position, rest) = transfer.parts();
    opcode::Write::new(descriptor(file), rest.as_ptr(), length(rest))
        .offset(offset(position))
        .build()
}

fn descriptor(file: &File) -> types::Fd {
    types::Fd(file.as_raw_fd())
}

/// Without a position it would be -1, the file's own.
fn offset(position: Option<u64>) -> u64 {
    position.unwrap_or(u64::MAX)
}

/// A longer rest takes another round.
fn length(rest: &[u8]) -> u32 {
    u32::try_from(rest.len()).unwrap_or(1 << 30).min(1 << 30)
}
