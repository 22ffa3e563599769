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
        pub(super) timer: File,
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

    pub(super) fn create(flags: libc::c_int) -> io::Result<OwnedFd> {
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

#[cfg(all(test, target_os = "linux", not(loom)))]
mod tests {
    use super::linux::create;
    use super::{Alarm, Nap};
    use crate::events::Key;
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::os::unix::thread::JoinHandleExt;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no timerfd")]
    fn an_alarm_ends_a_poll_that_has_no_end_of_its_own() {
        let mut poll = mio::Poll::new().unwrap();
        let alarm = Alarm::new(poll.registry()).unwrap();
        for after in [Duration::from_millis(1), Duration::ZERO] {
            assert!(alarm.set(HOUR));
            assert!(alarm.set(after));
            let mut events = mio::Events::with_capacity(8);
            poll.poll(&mut events, None).unwrap();
            let tokens: Vec<_> = events.iter().map(|event| event.token()).collect();
            assert_eq!(tokens, [Key::ALARM.into()]);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no timerfd")]
    fn a_nap_is_never_short_and_may_be_cut_short() {
        let (nap, begin) = (Nap::new().unwrap(), Instant::now());
        nap.end_after(Duration::from_millis(20));
        nap.sleep();
        assert!(begin.elapsed() >= Duration::from_millis(20));
        nap.end_after(HOUR);
        nap.end_after(Duration::ZERO);
        nap.sleep();
    }

    /// A handler that somebody installs without `SA_RESTART` makes the read of a sleep fail.
    #[test]
    #[cfg_attr(miri, ignore = "Miri has no timerfd")]
    fn a_nap_goes_on_after_a_signal() {
        static CALLED: AtomicUsize = AtomicUsize::new(0);
        extern "C" fn handler(_: libc::c_int) {
            CALLED.fetch_add(1, Ordering::SeqCst);
        }
        // SAFETY: all zeroes are a valid sigaction.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as *const () as usize;
        // SAFETY: `handler` has the signature of a handler without SA_SIGINFO, and adds to an atomic.
        let set = unsafe { libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()) };
        assert_eq!(set, 0);
        let nap = std::sync::Arc::new(Nap::new().unwrap());
        nap.end_after(HOUR);
        let sleeper = thread::spawn({
            let nap = nap.clone();
            move || nap.sleep()
        });
        for number in 1..=100 {
            // SAFETY: the thread was not joined yet.
            let sent = unsafe { libc::pthread_kill(sleeper.as_pthread_t(), libc::SIGUSR2) };
            assert_eq!(sent, 0);
            while CALLED.load(Ordering::SeqCst) < number {
                assert!(!sleeper.is_finished(), "it has ended without a reason");
                thread::yield_now();
            }
        }
        nap.end_after(Duration::ZERO);
        sleeper.join().expect("it woke up well");
    }

    /// Else a sleep would last for ever, or its thread try again for ever.
    #[test]
    #[cfg_attr(miri, ignore = "Miri has no timerfd")]
    fn what_is_no_timer_is_told() {
        for act in [|nap: &Nap| nap.end_after(HOUR), |nap: &Nap| nap.sleep()] {
            let timer = File::create("/dev/null").unwrap();
            let told = thread::spawn(move || act(&Nap { timer })).join();
            assert!(told.is_err());
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no timerfd")]
    fn no_child_inherits_a_timer_and_a_refusal_is_an_error() {
        let timer = create(0).unwrap();
        // SAFETY: takes and returns plain integers.
        let flags = unsafe { libc::fcntl(timer.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags, libc::FD_CLOEXEC);
        let no_flag = 1 << 30;
        assert!(create(no_flag).is_err());
    }
}
