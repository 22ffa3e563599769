//! Time as the timers count it, in nanoseconds since the reactor was made, and a rough clock that says it for a fifth of the price.
//!
//! Linux keeps the time of its last tick where every process can read it (`CLOCK_MONOTONIC_COARSE`, see `clock_gettime(2)`): 5 to
//! 10 ns, where the exact time takes 25 to 50. It is never ahead of the exact one, and behind it by a tick, 1 to 10 ms; by more while a
//! virtual machine is kept from ticking. That is enough to know that a timeout of seconds is still ahead. Where there is no such clock, the exact one
//! takes its place.
//!
//! An [`Instant`] is made into a number once, before the lock of the timers is taken: std does that by a call that takes as many instructions
//! as filing a timer.

use std::time::{Duration, Instant};

/// Counts from the moment when it was made. See the [module](self).
pub(crate) struct Clock {
    start: Instant,
    /// What the system's clock said at the start or shortly after. It is the clock that std has read, but std does not say what it
    /// has read.
    reading: Option<u64>,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock {
            start: Instant::now(),
            reading: system::exact(),
        }
    }

    /// The number of an instant, clamped to what a `u64` holds: one before the start is 0, one in more than 584 years is the last.
    pub(crate) fn nanos(&self, instant: Instant) -> u64 {
        instant
            .saturating_duration_since(self.start)
            .as_nanos()
            .try_into()
            .unwrap_or(u64::MAX)
    }

    /// The instant of a number, if the system can tell it.
    pub(crate) fn instant(&self, nanos: u64) -> Option<Instant> {
        self.start.checked_add(Duration::from_nanos(nanos))
    }

    pub(crate) fn now(&self) -> u64 {
        self.nanos(Instant::now())
    }

    /// A moment that has passed, mostly some milliseconds ago.
    pub(crate) fn rough(&self) -> u64 {
        match (self.reading, system::rough()) {
            (Some(start), Some(now)) => now.saturating_sub(start),
            _ => self.now(),
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    pub(super) fn exact() -> Option<u64> {
        read(libc::CLOCK_MONOTONIC)
    }

    pub(super) fn rough() -> Option<u64> {
        read(libc::CLOCK_MONOTONIC_COARSE)
    }

    /// Nanoseconds since the system was started, or about that.
    fn read(clock: libc::clockid_t) -> Option<u64> {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` is valid for the call, which writes it.
        let result = unsafe { libc::clock_gettime(clock, &mut time) };
        (result == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn exact() -> Option<u64> {
        None
    }

    pub(super) fn rough() -> Option<u64> {
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_rough_one_is_behind_and_follows() {
        let clock = Clock::new();
        let end = clock.now() + 50_000_000;
        while clock.rough() < end {
            let rough = clock.rough();
            let exact = clock.now();
            assert!(rough <= exact, "it is ahead");
            // Milliseconds, where nothing keeps the machine from ticking.
            assert!(exact - rough < 10_000_000_000, "it does not follow");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_number_is_an_instant() {
        let clock = Clock::new();
        let before = clock.start - Duration::from_nanos(1);
        assert_eq!(clock.nanos(before), 0);
        for nanos in [0, 1, 1_000_000_007, 1 << 62] {
            assert_eq!(clock.instant(nanos).map(|at| clock.nanos(at)), Some(nanos));
        }
        let centuries = Duration::from_secs(1000 * 365 * 24 * 3600);
        if let Some(far) = clock.start.checked_add(centuries) {
            assert_eq!(clock.nanos(far), u64::MAX);
        }
    }
}
