//! Flags of a file descriptor of any kind.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Makes reads and writes return `WouldBlock` instead of blocking. The flag belongs to the open file, so every duplicate
/// of the descriptor, in other processes too, shares it.
pub(crate) fn set_nonblocking(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    change_flags(descriptor, |flags| flags | libc::O_NONBLOCK)
}

/// Takes that back.
pub(crate) fn set_blocking(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    change_flags(descriptor, |flags| flags & !libc::O_NONBLOCK)
}

fn change_flags(
    descriptor: BorrowedFd<'_>,
    change: fn(libc::c_int) -> libc::c_int,
) -> io::Result<()> {
    let fd = descriptor.as_raw_fd();
    // SAFETY: F_GETFL takes no further argument and touches no memory of ours; the borrow keeps `fd` open.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    if change(flags) != flags {
        // SAFETY: F_SETFL takes an int, as given, and touches no memory of ours; the borrow keeps `fd` open.
        check(unsafe { libc::fcntl(fd, libc::F_SETFL, change(flags)) })?;
    }
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(result),
    }
}
