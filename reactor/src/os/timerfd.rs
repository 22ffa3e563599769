//! Timers of the system's that are descriptors: they count in nanoseconds, and any thread may set them anew.
//!
//! [`Alarm`] ends a turn's sleep when a timer is due. The OS counts the timeout of its wait for events in milliseconds,
//! and mio rounds up; a timerfd counts in nanoseconds. It is registered once, edge-triggered, and never read: setting it
//! anew takes back an expiry that was not reported yet. On systems without timerfd the alarm can't be set, and the
//! reactor bounds the timeout of its wait instead.
//!
//! [`Nap`] is a sleep in such a timer, and nothing else.

#[cfg(target_os = "linux")]
pub(crate) use linux::Alarm;
#[cfg(target_os = "linux")]
pub use linux::Nap;

#[cfg(target_os = "linux")]
mod linux {
    use crate::events::Key;
    use mio::unix::SourceFd;
    use mio::{Interest, Registry};
    use std::fs::File;
    use std::io::{self, ErrorKind, Read};
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::time::Duration;

    /// See the [module](super).
    pub(crate) struct Alarm {
        descriptor: OwnedFd,
    }

    impl Alarm {
        pub(crate) fn new(registry: &Registry) -> io::Result<Alarm> {
            let descriptor = create(libc::TFD_NONBLOCK)?;
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
            set(&self.descriptor, after).is_ok()
        }
    }

    /// A sleep of one thread whose end any thread may move, in both directions: what [`std::thread::park_timeout`] lacks.
    ///
    /// A thread that keeps an eye on others sleeps with a bound. If the others can put the end of that sleep off, then
    /// as long as they do it need not wake up at all; a timed wake-up of an idle core costs 10 to 20 µs of CPU, moving the end
    /// two. It is a timerfd of its own (see `timerfd_create(2)`), so it exists on Linux alone.
    ///
    /// ```
    /// use peu_reactor::Nap;
    /// use std::time::Duration;
    ///
    /// # #[cfg(target_os = "linux")] {
    /// let nap = Nap::new()?;
    /// nap.end_after(Duration::from_secs(3600));
    /// std::thread::scope(|scope| {
    ///     let sleeper = scope.spawn(|| nap.sleep());
    ///     nap.end_after(Duration::ZERO);
    ///     sleeper.join().unwrap();
    /// });
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[derive(Debug)]
    pub struct Nap {
        timer: File,
    }

    impl Nap {
        /// A nap that has no end yet.
        ///
        /// # Errors
        ///
        /// When the system has no descriptor left, or no memory. On systems without timerfd: [`ErrorKind::Unsupported`].
        pub fn new() -> io::Result<Nap> {
            Ok(Nap {
                timer: File::from(create(0)?),
            })
        }

        /// The sleep, the one under way or else the next, ends after this time, and not after the one that was set
        /// before. One system call.
        ///
        /// # Panics
        ///
        /// If the descriptor was closed behind its back.
        pub fn end_after(&self, time: Duration) {
            let result = set(&self.timer, time);
            result.expect("a timer can be set as long as its descriptor is open");
        }

        /// Sleeps until the end that was set last is over; for ever, if none was set since the last sleep. For one
        /// thread at a time: of several, one wakes up.
        ///
        /// # Panics
        ///
        /// As [`end_after`](Nap::end_after).
        pub fn sleep(&self) {
            // How often it was over since the last read, which takes that back.
            let mut count = [0; 8];
            while let Err(error) = (&self.timer).read(&mut count) {
                let interrupted = error.kind() == ErrorKind::Interrupted;
                assert!(interrupted, "cannot wait for a timer: {error}");
            }
        }
    }

    fn create(flags: libc::c_int) -> io::Result<OwnedFd> {
        // SAFETY: takes and returns plain integers.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags | libc::TFD_CLOEXEC) };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just made `fd`, so it is open, and nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn set(timer: &impl AsRawFd, after: Duration) -> io::Result<()> {
        let time = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: time_from(after),
        };
        // SAFETY: `time` is valid for the call, which only reads it; a null old value is allowed; the fd is owned.
        let result =
            unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &time, std::ptr::null_mut()) };
        if result == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
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

/// A sleep whose end any thread may move: on Linux only. Here none can be made.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Nap(std::convert::Infallible);

#[cfg(not(target_os = "linux"))]
impl Nap {
    /// Fails with [`Unsupported`](std::io::ErrorKind::Unsupported).
    pub fn new() -> std::io::Result<Nap> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    /// Cannot be called.
    pub fn end_after(&self, _: std::time::Duration) {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn sleep(&self) {
        match self.0 {}
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
