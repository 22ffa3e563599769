//! A clock that is some milliseconds behind, for a fifth of the price.
//!
//! Linux keeps the time of its last tick where every process can read it (`CLOCK_MONOTONIC_COARSE`, see `clock_gettime(2)`): 5 to
//! 10 ns, where the exact time takes 25 to 50. It is never ahead of the exact one, and behind it by a tick, 1 to 10 ms; by more while a
//! virtual machine is kept from ticking. That is enough to know that a timeout of seconds is still ahead. Where there is no such clock, the exact one
//! takes its place.

use std::time::Instant;

#[cfg(target_os = "linux")]
pub(crate) use linux::RoughClock;

#[cfg(target_os = "linux")]
mod linux {
    use super::Instant;
    use std::time::Duration;

    /// See the [module](super).
    pub(crate) struct RoughClock {
        /// An instant, and what the system's clock said at it or shortly after. They are the same clock, but std does not say
        /// what it has read.
        start: Instant,
        reading: Duration,
    }

    impl RoughClock {
        pub(crate) fn new() -> RoughClock {
            RoughClock {
                start: Instant::now(),
                reading: read(libc::CLOCK_MONOTONIC).unwrap_or_default(),
            }
        }

        /// An instant that has passed, mostly some milliseconds ago.
        pub(crate) fn now(&self) -> Instant {
            match read(libc::CLOCK_MONOTONIC_COARSE) {
                Some(reading) => self.start + reading.saturating_sub(self.reading),
                None => Instant::now(),
            }
        }
    }

    fn read(clock: libc::clockid_t) -> Option<Duration> {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` is valid for the call, which writes it.
        let result = unsafe { libc::clock_gettime(clock, &mut time) };
        (result == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) struct RoughClock;

#[cfg(not(target_os = "linux"))]
impl RoughClock {
    pub(crate) fn new() -> RoughClock {
        RoughClock
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::now()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_is_behind_and_follows() {
        let clock = RoughClock::new();
        let end = Instant::now() + Duration::from_millis(50);
        while clock.now() < end {
            let rough = clock.now();
            let exact = Instant::now();
            assert!(rough <= exact, "it is ahead");
            // Milliseconds, where nothing keeps the machine from ticking.
            assert!(
                exact - rough < Duration::from_secs(10),
                "it does not follow"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
