//! Opening files: as everywhere, and only as far as the way to them is in memory (`openat2` with `RESOLVE_CACHED`, Linux
//! 5.12).

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Files of more than 2 GiB are opened too where the C library has to be told.
#[cfg(target_os = "linux")]
const LARGE: i32 = libc::O_LARGEFILE;
#[cfg(not(target_os = "linux"))]
const LARGE: i32 = 0;

/// Opens a file.
pub(crate) fn open(path: &CStr, flags: i32, mode: u32) -> io::Result<File> {
    loop {
        // SAFETY: `path` ends with a zero and outlives the call, which reads it and otherwise takes integers.
        let number = unsafe { libc::open(path.as_ptr(), flags | LARGE, mode) };
        if number >= 0 {
            // SAFETY: the call has just opened it, and nobody else owns it.
            return Ok(unsafe { OwnedFd::from_raw_fd(number) }.into());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The file that the kernel has opened by itself under this number.
///
/// # Safety
/// The number is the kernel's answer to an open, and this is called once for it: nobody else owns the descriptor.
pub(crate) unsafe fn opened(number: u32) -> File {
    // SAFETY: the caller vouches for it.
    unsafe { OwnedFd::from_raw_fd(number as i32) }.into()
}

#[cfg(target_os = "linux")]
pub(crate) use linux::{
    can_open_now, look, look_at_start, open_cached, open_whole, peek_cached, peek_cached_in,
    wait_for_writer, without_nonblocking,
};

#[cfg(not(target_os = "linux"))]
pub(crate) use none::{
    can_open_now, look, look_at_start, open_cached, open_whole, peek_cached, peek_cached_in,
    wait_for_writer, without_nonblocking,
};

/// How a file is opened that is to be read as a whole, whatever it turns out to be: a pipe at once, a terminal without becoming
/// the process's own.
pub(crate) const WHOLE_FLAGS: i32 =
    libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;

/// What memory knows about a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    /// Which file system: its mount, by a number that no other will have while the system runs (Linux 6.8); else its device.
    pub(crate) mount: u64,
    /// None: it was not told. File systems of this machine tell it although it is not asked for.
    pub(crate) size: Option<u64>,
    pub(crate) is_file: bool,
    pub(crate) is_file_or_directory: bool,
    /// With a name, or without.
    pub(crate) is_pipe: bool,
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use std::mem::MaybeUninit;
    use std::os::fd::{AsRawFd, BorrowedFd};

    /// `STATX_MNT_ID_UNIQUE`, which is too new for many versions of the libc crate. In `linux/stat.h`.
    const UNIQUE_MOUNT: u32 = 0x4000;

    /// Whether this kernel can, and no filter forbids it.
    pub(crate) fn can_open_now() -> bool {
        let lacks = [libc::ENOSYS, libc::EINVAL, libc::EPERM];
        let error = peek_cached(c"/", true).err();
        let number = error.and_then(|error| error.raw_os_error());
        !number.is_some_and(|number| lacks.contains(&number))
    }

    /// Opens a file if the way to it is in memory. It has the flag `O_NONBLOCK`, because otherwise opening what has just
    /// become a pipe would wait for its other end. `WouldBlock`, or another error: open it elsewhere.
    pub(crate) fn open_cached(path: &CStr, flags: i32) -> io::Result<File> {
        resolve(None, path, flags | libc::O_NONBLOCK, libc::RESOLVE_CACHED)
    }

    /// Opens what is to be read as a whole, if the way to it is in memory and enters no other file system than that where it
    /// begins; else `WouldBlock`.
    pub(crate) fn open_whole(path: &CStr) -> io::Result<File> {
        let resolve_how = libc::RESOLVE_CACHED | libc::RESOLVE_NO_XDEV;
        resolve(None, path, WHOLE_FLAGS, resolve_how)
    }

    /// A descriptor by which one can look at what is at a path, but not read it.
    pub(crate) fn peek_cached(path: &CStr, follow: bool) -> io::Result<File> {
        let flags = if follow { 0 } else { libc::O_NOFOLLOW };
        let flags = libc::O_PATH | libc::O_CLOEXEC | flags;
        resolve(None, path, flags, libc::RESOLVE_CACHED)
    }

    /// The same for what has a name in a folder, if it is on the same file system. A link is not followed.
    pub(crate) fn peek_cached_in(folder: &File, name: &CStr) -> io::Result<File> {
        let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW;
        let resolve_how = libc::RESOLVE_CACHED | libc::RESOLVE_NO_XDEV;
        resolve(Some(folder), name, flags, resolve_how)
    }

    /// Opens what is at a path, from a folder on or from that of the process. Not again if a signal interrupts it.
    fn resolve(
        folder: Option<&File>,
        path: &CStr,
        flags: i32,
        resolve_how: u64,
    ) -> io::Result<File> {
        // SAFETY: all zeroes are a valid value of this struct of integers.
        let mut how: libc::open_how = unsafe { MaybeUninit::zeroed().assume_init() };
        how.flags = flags as u64;
        how.resolve = resolve_how;
        let folder = folder.map_or(libc::AT_FDCWD, |folder| folder.as_raw_fd());
        // SAFETY: `path` ends with a zero, `how` is of the size that is told, and both outlive the call, as does the folder's borrow.
        let number = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                folder,
                path.as_ptr(),
                &how,
                size_of::<libc::open_how>(),
            )
        };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just opened it, and nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(number as i32) }.into())
    }

    /// Looks at an open file without asking a server, if it has one. The size is not asked for: CIFS would wait until what was
    /// written is on the server.
    pub(crate) fn look(file: BorrowedFd<'_>) -> io::Result<About> {
        statx(file.as_raw_fd(), c"", libc::AT_EMPTY_PATH)
    }

    /// Looks at where ways begin: at the root of the process, or at its folder.
    pub(crate) fn look_at_start(root: bool) -> io::Result<About> {
        match root {
            true => statx(libc::AT_FDCWD, c"/", 0),
            false => statx(libc::AT_FDCWD, c"", libc::AT_EMPTY_PATH),
        }
    }

    fn statx(start: i32, path: &CStr, flags: i32) -> io::Result<About> {
        let mut seen = MaybeUninit::<libc::statx>::zeroed();
        let flags = flags | libc::AT_STATX_DONT_SYNC;
        let wanted = libc::STATX_TYPE | UNIQUE_MOUNT;
        // SAFETY: the path ends with a zero, and the call writes into the struct that it is given. It reads no memory through
        // the descriptor, which callers borrow.
        let result = unsafe { libc::statx(start, path.as_ptr(), flags, wanted, seen.as_mut_ptr()) };
        if result == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all zeroes are a valid statx, and the call has filled it in.
        let seen = unsafe { seen.assume_init() };
        let kind = u32::from(seen.stx_mode) & libc::S_IFMT;
        let device = u64::from(seen.stx_dev_major) << 32 | u64::from(seen.stx_dev_minor);
        let knows_mount = seen.stx_mask & UNIQUE_MOUNT != 0;
        Ok(About {
            mount: if knows_mount { seen.stx_mnt_id } else { device },
            size: (seen.stx_mask & libc::STATX_SIZE != 0).then_some(seen.stx_size),
            is_file: kind == libc::S_IFREG,
            is_file_or_directory: kind == libc::S_IFREG || kind == libc::S_IFDIR,
            is_pipe: kind == libc::S_IFIFO,
        })
    }

    /// Waits until a pipe that was opened with `O_NONBLOCK`, to read, has had a writer since then who has written something, or is
    /// gone. Not until there is a writer: of who only opens it the system says nothing, and there is nothing to read.
    pub(crate) fn wait_for_writer(pipe: &File) -> io::Result<()> {
        let mut wanted = libc::pollfd {
            fd: pipe.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: it is given one struct, which outlives the call, and whose descriptor the borrow keeps open.
        match unsafe { libc::poll(&mut wanted, 1, -1) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Takes `O_NONBLOCK` from a file that was opened with `flags` and it.
    pub(crate) fn without_nonblocking(file: &File, flags: i32) -> io::Result<()> {
        // SAFETY: F_SETFL takes an int, as given, and touches no memory of ours; the borrow keeps the file open.
        match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod none {
    use super::*;
    use std::os::fd::BorrowedFd;

    pub(crate) fn can_open_now() -> bool {
        false
    }

    pub(crate) fn open_cached(_: &CStr, _: i32) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn open_whole(_: &CStr) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn look_at_start(_: bool) -> io::Result<About> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn wait_for_writer(_: &File) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn peek_cached(_: &CStr, _: bool) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn peek_cached_in(_: &File, _: &CStr) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn look(_: BorrowedFd<'_>) -> io::Result<About> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn without_nonblocking(_: &File, _: i32) -> io::Result<()> {
        Ok(())
    }
}
