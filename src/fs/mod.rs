//! Files, without a thread that waits for each.
//!
//! A regular file has no readiness: the operating system reports it as always ready and then blocks. So each operation
//! takes one of two ways, *tiers*, whichever serves it first:
//!
//! 1. **now**: a [`File`] that is read tries to read in the calling task, without waiting for the disk (`preadv2` with
//!    `RWF_NOWAIT`). What is in the page cache costs a system call and no thread. Linux only, not for every file system
//!    (not for tmpfs), reads up to 128 KiB.
//! 2. **pool**: a thread of the runtime's small pool does it, like [`spawn_blocking`](crate::spawn_blocking). That
//!    costs a hand-over and back, some ten microseconds: use few calls with large buffers. Whole-file functions, as
//!    [`read`], are one hand-over in all.
//!
//! [`Metrics::files`](crate::Metrics::files) counts both. [`Builder::file_tiers`](crate::Builder::file_tiers), or the
//! environment variable `PEU_FILE_TIER=pool`, leaves the first out. A file that keeps missing the cache is not tried
//! for a while: see [`reactor::file`](crate::reactor::file).
//!
//! # What holds for all of them
//!
//! - **Errors** say what was tried on which path, keep the system's kind, and have its error as their source.
//! - **Dropping** a future leaves what is on the pool to go on: a write that has begun takes effect. What that means
//!   for a [`File`] is told there. A runtime that ends drops what has not begun.
//! - **Outside of a runtime** the functions panic, but for the calls on an open file, which use the runtime that opened
//!   it.
//! - A call that the system interrupts (`EINTR`) is repeated.

mod directory;
mod file;
mod open_options;
mod paths;
mod sequential;
mod whole;
mod work;

pub use directory::{
    DirEntry, ReadDir, create_dir, create_dir_all, read_dir, remove_dir, remove_dir_all,
};
pub use file::File;
pub use open_options::OpenOptions;
pub use paths::{
    canonicalize, hard_link, metadata, read_link, remove_file, rename, set_permissions, symlink,
    symlink_metadata, try_exists,
};
pub use peu_reactor::file::{FileMetrics, ParseTiersError, Tiers};
pub use std::fs::{FileType, Metadata, Permissions};
pub use whole::{copy, read, read_to_string, write, write_atomic};
