//! The end of a child, without a handler for SIGCHLD: a descriptor that becomes readable (`pidfd_open`, Linux 5.3).

use std::io;
use std::os::fd::OwnedFd;

/// A descriptor that becomes readable when the process ends.
#[cfg(target_os = "linux")]
pub(crate) fn pidfd(process: u32) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: it takes integers only.
    let number = unsafe { libc::syscall(libc::SYS_pidfd_open, process as libc::pid_t, 0) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just opened it, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pidfd(_: u32) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}
