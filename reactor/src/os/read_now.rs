//! Reading a file only as far as its bytes are in memory: `preadv2` with `RWF_NOWAIT`.
//!
//! Linux has it since 4.14, for most file systems that keep their data on a disk. 5.9 and 5.10 answer with fewer bytes
//! than are there, and even with none, which is the sign of the end of a file: they are left alone. Other systems have
//! nothing like it.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) use linux::{can_read_now, read_now};

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod linux {
    use std::ffi::CStr;
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::{AsRawFd, BorrowedFd};

    /// Whether this kernel can be trusted with [`read_now`].
    pub(crate) fn can_read_now() -> bool {
        let mut names = MaybeUninit::<libc::utsname>::zeroed();
        // SAFETY: the call writes into the struct that it is given, and it is that struct.
        if unsafe { libc::uname(names.as_mut_ptr()) } == -1 {
            return false;
        }
        // SAFETY: all zeroes are a valid utsname, and the call has filled it in.
        let names = unsafe { names.assume_init() };
        // SAFETY: the system ends the text with a zero, within the array that `names` keeps alive.
        let release = unsafe { CStr::from_ptr(names.release.as_ptr()) };
        is_sound(&release.to_string_lossy())
    }

    /// `release` is as `uname -r` shows it.
    fn is_sound(release: &str) -> bool {
        let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
        !matches!(
            (numbers.next(), numbers.next()),
            (Some(Ok(5)), Some(Ok(9 | 10)))
        )
    }

    /// Reads what is in memory, at `position` or where the file's own position is, which then moves. `WouldBlock`: the
    /// first byte is not in memory. Nothing: the end of the file.
    pub(crate) fn read_now(
        file: BorrowedFd<'_>,
        buffer: &mut [u8],
        position: Option<u64>,
    ) -> io::Result<usize> {
        let position = match position.map(i64::try_from) {
            // To the system, -1 is the file's own position. No position of a caller's becomes -1.
            None => -1,
            Some(Ok(position)) => position,
            Some(Err(_)) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let part = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        loop {
            // SAFETY: `part` describes `buffer`, which is borrowed for writing during the call; the borrow keeps the
            // descriptor open.
            let read =
                unsafe { libc::preadv64v2(file.as_raw_fd(), &part, 1, position, libc::RWF_NOWAIT) };
            if let Ok(read) = usize::try_from(read) {
                return Ok(read);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::os::fd::AsFd;

        #[test]
        fn two_series_of_kernels_are_left_alone() {
            for unsound in ["5.9.0", "5.10", "5.10.209-generic", "5.9-rc1"] {
                assert!(!is_sound(unsound), "{unsound}");
            }
            for sound in ["4.19.1", "5.8.18", "5.11.0", "6.10.0", "15.9", "odd"] {
                assert!(is_sound(sound), "{sound}");
            }
        }

        #[test]
        fn a_position_beyond_the_systems_range_is_no_other_position() {
            let file = std::fs::File::open("Cargo.toml").unwrap();
            for position in [u64::MAX, 1 << 63] {
                let error = read_now(file.as_fd(), &mut [0; 8], Some(position)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            }
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn can_read_now() -> bool {
    false
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn read_now(
    _: std::os::fd::BorrowedFd<'_>,
    _: &mut [u8],
    _: Option<u64>,
) -> std::io::Result<usize> {
    Err(std::io::ErrorKind::Unsupported.into())
}
