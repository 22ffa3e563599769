//! A word to the system about what will be read next: `posix_fadvise`.

#[cfg(target_os = "linux")]
pub(crate) use linux::will_need;

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{AsRawFd, BorrowedFd};

    /// Has the system begin to read a part of a file into its cache. It does not wait for the disk, but may wait for
    /// where on it that part is. A file of which there is no cache is left alone.
    pub(crate) fn will_need(file: BorrowedFd<'_>, position: u64, length: usize) {
        let (Ok(position), Ok(length)) = (position.try_into(), length.try_into()) else {
            return;
        };
        // SAFETY: it takes integers only; the borrow keeps the descriptor open. It is advice: whatever it returns, what
        // is read next is read.
        unsafe {
            libc::posix_fadvise64(
                file.as_raw_fd(),
                position,
                length,
                libc::POSIX_FADV_WILLNEED,
            )
        };
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn will_need(_: std::os::fd::BorrowedFd<'_>, _: u64, _: usize) {}
