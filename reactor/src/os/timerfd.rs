//! The alarm: a descriptor that becomes readable at a given time, so that a turn's sleep ends when a timer is due.
//!
//! The OS counts the timeout of its wait for events in milliseconds, and mio rounds up; a timerfd counts in nanoseconds.
//! It is registered once, edge-triggered, and never read: setting it anew takes back an expiry that was not reported yet.
//!
//! On systems without timerfd the alarm can't be set, and the reactor bounds the timeout of its wait instead.

#[cfg(target_os = "linux")]
pub(crate) use linux::Alarm;

#[cfg(target_os = "linux")]
mod linux {
    use crate::events::Key;
    use mio::unix::SourceFd;
    use mio::{Interest, Registry};
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::time::Duration;

    /// See the [module](super).
    pub(crate) struct Alarm {
        descriptor: OwnedFd,
    }

    impl Alarm {
        pub(crate) fn new(registry: &Registry) -> io::Result<Alarm> {
            let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
            // SAFETY: takes and returns plain integers.
            let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
            if fd == -1 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the call has just made `fd`, so it is open, and nobody else owns it.
            let descriptor = unsafe { OwnedFd::from_raw_fd(fd) };
            let token = Key::ALARM.into();
            registry.register(
                &mut SourceFd(&descriptor.as_raw_fd()),
                token,
                Interest::READABLE,
            )?;
            Ok(Alarm { descriptor })
        }

        /// Ends the sleep of a turn after this time, instead of after the one that was set before. Returns whether it
        /// could be set.
        pub(crate) fn set(&self, after: Duration) -> bool {
            let time = libc::itimerspec {
                it_interval: libc::timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                },
                it_value: time_from(after),
            };
            // SAFETY: `time` is valid for the call, which only reads it; a null old value is allowed; the fd is owned.
            let result = unsafe {
                libc::timerfd_settime(self.descriptor.as_raw_fd(), 0, &time, std::ptr::null_mut())
            };
            result == 0
        }
    }

    /// Zero would mean "never", so a time that is over becomes one nanosecond; one beyond the system's range becomes its
    /// last second.
    fn time_from(after: Duration) -> libc::timespec {
        let after = after.max(Duration::from_nanos(1));
        libc::timespec {
            tv_sec: after.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: after.subsec_nanos() as libc::c_long,
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(crate) fn new(_: &mio::Registry) -> std::io::Result<Alarm> {
        Ok(Alarm)
    }

    pub(crate) fn set(&self, _: std::time::Duration) -> bool {
        false
    }
}
