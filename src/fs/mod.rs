//! Files, without a thread that waits for each.
//!
//! A regular file has no readiness: the operating system reports it as always ready and then blocks. So each operation
//! takes one of three ways, *tiers*, the first that can serve it and pays:
//!
//! 1. **now**: in the calling task, if all that it needs is in memory: reads of up to 256 KiB (`preadv2` with
//!    `RWF_NOWAIT`), opening, [`read`] and [`metadata`] (`openat2` with `RESOLVE_CACHED`). That costs the system calls of
//!    blocking code, and no thread. Linux only, and only on file systems of this machine; tmpfs can be opened so, but not
//!    read.
//! 2. **ring**: `io_uring`. The kernel does it by itself, and reports to the reactor. Used for reads at positions; made
//!    when it is first needed. Where the system has none, or forbids it (a container's filter, `io_uring_disabled`), the
//!    pool takes its place, and [`FileMetrics::no_ring`] says why.
//! 3. **pool**: a thread of the runtime's small pool does it, like [`spawn_blocking`](crate::spawn_blocking). That
//!    costs a hand-over and back, some ten microseconds: use few calls with large buffers. Functions on whole files are
//!    one hand-over in all.
//!
//! [`Metrics::files`](crate::Metrics::files) counts all three. [`Builder::file_tiers`](crate::Builder::file_tiers), or the
//! environment variable `PEU_FILE_TIER`, restricts them: with `ring`, the ring takes all that it can do (opening,
//! reading, writing and syncing at positions, renaming, removing, linking, making directories), with `pool`, threads do
//! everything. A file that keeps missing the cache is not tried for a while: see [`reactor::file`](crate::reactor::file).
//!
//! # What holds for all of them
//!
//! - **Errors** say what was tried on which path, keep the system's kind, and have its error as their source.
//! - **Dropping** a future cancels what has not begun, and what the kernel can still stop. The rest goes on to its end,
//!   with the buffers, which it owns: a write that has begun may take effect. What that means for a [`File`] is told there.
//! - **Outside of a runtime** the functions panic, but for the calls on an open file, which use the runtime that opened
//!   it.
//! - A call that the system interrupts (`EINTR`) is repeated.

mod directory;
mod file;
mod lines;
mod open_options;
mod paths;
mod sequential;
mod whole;
mod work;

pub use directory::{
    DirEntry, ReadDir, create_dir, create_dir_all, read_dir, remove_dir, remove_dir_all,
};
pub use file::File;
pub use lines::{Lines, lines};
pub use open_options::OpenOptions;
pub use paths::{
    canonicalize, hard_link, metadata, read_link, remove_file, rename, set_permissions, symlink,
    symlink_metadata, try_exists,
};
pub use peu_reactor::file::{FileMetrics, ParseTiersError, Tiers};
pub use std::fs::{FileType, Metadata, Permissions};
pub use whole::{copy, read, read_to_string, write, write_atomic};
