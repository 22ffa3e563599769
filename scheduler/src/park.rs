//! How one worker sleeps: on its own parker, inside the driver's turn, or, as the watch, on the lookout; and how anybody
//! wakes it, wherever it is.
//!
//! # Protocol
//!
//! One word per worker. The worker announces where it is about to sleep by a compare-exchange from `EMPTY`; who
//! wakes it swaps in `NOTIFIED` and learns from the old value which bell to ring:
//!
//! | old value    | what the waker does                                              |
//! |--------------|------------------------------------------------------------------|
//! | `EMPTY`      | nothing: the worker's announcement will find `NOTIFIED` and fail |
//! | `PARKED`     | unparks the thread                                               |
//! | `IN_DRIVER`  | calls `Driver::unpark`                                           |
//! | `ON_LOOKOUT` | rings at the lookout, which has a protocol of its own            |
//! | `NOTIFIED`   | nothing: somebody has rung already                               |
//!
//! No wake is lost: both sides act on the word by read-modify-writes, which are totally ordered. If the swap comes first,
//! the announcement fails; if the announcement comes first, the swap sees it, and the bells are sticky: a thread's
//! park token and a driver's unpark both stay set until the next sleep takes them. Leaving is a swap to `EMPTY` and not a
//! store, because it must acquire what the waker wrote before it rang.
//!
//! The driver's bell is shared, and a turn of another worker may swallow it: one that looks at the driver between two
//! tasks, just before the sleeper has the claim. Therefore the sleeper looks at its word once more when it has the
//! claim ([`is_notified`](Parker::is_notified), by way of `may_sleep`). The waker swaps the word, then rings; the
//! driver orders the ring before the turn that swallowed it, and that before ours (see the contract of `Driver`); so
//! a bell that was swallowed is seen in the word, and one that was not ends our poll.
//!
//! A bell may ring late, for a sleep that has ended by itself. The next sleep then ends early; every caller treats
//! that as a reason to look around again and nothing more.

#![allow(unreachable_pub, reason = "the models of loom-tests drive this module")]

use crate::driver::Driver;
use crate::lookout::Lookout;
use crate::sync::{AtomicU32, Ordering, thread, twin};
use std::sync::OnceLock;
use std::time::Duration;

const EMPTY: u32 = 0;
const PARKED: u32 = 1;
const IN_DRIVER: u32 = 2;
const ON_LOOKOUT: u32 = 3;
const NOTIFIED: u32 = 4;

/// Where a worker sleeps and is woken.
pub struct Parker {
    word: AtomicU32,
    /// Set by the worker before it first sleeps, so before anybody can see it `PARKED`.
    thread: OnceLock<thread::Thread>,
}

impl Parker {
    /// A parker for a worker that has not started.
    pub fn new() -> Self {
        Parker {
            word: AtomicU32::new(EMPTY),
            thread: OnceLock::new(),
        }
    }

    /// Makes the calling thread the one that sleeps here. A second call has no effect.
    pub fn bind(&self) {
        self.thread.get_or_init(thread::current);
    }

    /// Sleeps until notified, or for `timeout`. Says whether it was notified.
    pub fn park(&self, timeout: Option<Duration>) -> bool {
        if !self.announce(PARKED) {
            return true;
        }
        match timeout {
            Some(timeout) => {
                thread::park_timeout(timeout);
                // A bell of old or a spurious return ends the sleep early: one look around too many, no more.
                self.leave()
            }
            None => {
                loop {
                    thread::park();
                    // ORDERING: Acquire pairs with the swap in `unpark`: what the waker wrote is visible.
                    if self.word.load(Ordering::Acquire) == NOTIFIED {
                        return self.leave();
                    }
                }
            }
        }
    }

    /// Announces a sleep inside the driver. `false`: a notification was waiting and is now taken; do not sleep.
    #[must_use]
    pub fn enter_driver(&self) -> bool {
        self.announce(IN_DRIVER)
    }

    /// Announces a sleep on the lookout. `false`: as for the driver.
    #[must_use]
    pub fn enter_lookout(&self) -> bool {
        self.announce(ON_LOOKOUT)
    }

    /// The sleep is over. Says whether the worker was notified meanwhile.
    pub fn leave(&self) -> bool {
        if twin("park-leave-by-store") {
            // ORDERING: the calibration twin: a load and a store in place of the swap.
            let notified = self.word.load(Ordering::Acquire) == NOTIFIED;
            self.word.store(EMPTY, Ordering::Release);
            return notified;
        }
        // ORDERING: Acquire pairs with the Release of `unpark`'s swap.
        self.word.swap(EMPTY, Ordering::Acquire) == NOTIFIED
    }

    /// Whether a notification waits. For the sleeper's last look before it sleeps in the driver.
    pub fn is_notified(&self) -> bool {
        // ORDERING: Relaxed: a swallowed bell orders the waker's swap before this load, through the driver.
        !twin("park-no-last-look") && self.word.load(Ordering::Relaxed) == NOTIFIED
    }

    /// Whether the worker sleeps in the driver just now, for who prefers to wake another.
    pub fn is_in_driver(&self) -> bool {
        // ORDERING: Relaxed: a preference, not a promise.
        self.word.load(Ordering::Relaxed) == IN_DRIVER
    }

    /// Wakes the worker, or lets its next sleep end at once.
    pub fn unpark(&self, driver: &dyn Driver, lookout: &Lookout) {
        let order = if twin("park-relaxed-unpark") {
            Ordering::Relaxed
        } else {
            Ordering::AcqRel
        };
        // ORDERING: Release pairs with the Acquire of `leave` and `announce`: what was pushed before this is visible
        // to the woken worker. Acquire, so that the thread set before `PARKED` is visible here.
        match self.word.swap(NOTIFIED, order) {
            PARKED => self
                .thread
                .get()
                .expect("a parked worker is bound")
                .unpark(),
            IN_DRIVER => driver.unpark(),
            ON_LOOKOUT => lookout.ring(),
            _ => {}
        }
    }

    fn announce(&self, place: u32) -> bool {
        // ORDERING: Release pairs with the Acquire of `unpark`'s swap: the bound thread is visible to it. Acquire on both
        // outcomes pairs with that swap's Release: what the waker wrote is visible when we do not sleep.
        let announced = self
            .word
            .compare_exchange(EMPTY, place, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if !announced {
            self.leave();
        }
        announced
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::driver::testing::NoDriver;
    use std::sync::Arc;

    #[test]
    fn a_notification_before_the_sleep_ends_it() {
        let parker = Parker::new();
        parker.bind();
        parker.unpark(&NoDriver, &Lookout::new(None));
        assert!(parker.park(None));
        parker.unpark(&NoDriver, &Lookout::new(None));
        assert!(!parker.enter_driver());
        assert!(parker.enter_driver(), "one notification ends one sleep");
        assert!(!parker.is_notified() && !parker.leave());
        assert!(parker.enter_driver() && parker.is_in_driver());
        parker.unpark(&NoDriver, &Lookout::new(None));
        assert!(parker.is_notified() && parker.leave());
    }

    #[test]
    fn a_timeout_is_not_a_notification() {
        let parker = Parker::new();
        parker.bind();
        assert!(!parker.park(Some(Duration::from_millis(1))));
    }

    #[test]
    fn another_thread_wakes_it() {
        let parker = Arc::new(Parker::new());
        let there = parker.clone();
        let worker = std::thread::spawn(move || {
            there.bind();
            there.park(None)
        });
        parker.unpark(&NoDriver, &Lookout::new(None));
        assert!(worker.join().unwrap());
    }
}
