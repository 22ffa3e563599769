//! How a thread in a turn is woken by another: one word, and a descriptor that is written to only when it has to be.
//!
//! # The protocol
//!
//! ```text
//!               turn is about to sleep, or the host is (arm)
//!      EMPTY ---------------------------------------------------> ASLEEP
//!        | ^                                                        |
//! unpark | | turn takes notice                                      | unpark, which writes to the descriptor
//!        v |                                                        |
//!      NOTIFIED <---------------------------------------------------+
//! ```
//!
//! Only the one that holds the claim of the turn goes to `EMPTY`. A notification is never lost: `unpark` is a swap, so it
//! either finds `ASLEEP`, and then the descriptor ends the sleep (also one that has not quite begun: the descriptor stays
//! readable until it is reported); or it finds `EMPTY`, and then the next turn that wants to sleep finds `NOTIFIED` and
//! does not. In between a busy loop unparks itself without any syscall.

use crate::sync::{AtomicU8, Ordering, twin};

/// Nobody sleeps, and nobody has been notified.
const EMPTY: u8 = 0;
/// A turn sleeps in the OS, or is about to; or a host watches the reactor's descriptor.
const ASLEEP: u8 = 1;
/// Somebody unparked since a turn last took notice.
const NOTIFIED: u8 = 2;

/// See the [module](self).
pub(crate) struct Parking {
    state: AtomicU8,
}

impl Parking {
    pub(crate) fn new() -> Parking {
        Parking {
            state: AtomicU8::new(EMPTY),
        }
    }

    /// A turn wants to sleep, or a host to watch. `false`: there is a notification.
    #[must_use]
    pub(crate) fn fall_asleep(&self) -> bool {
        // ORDERING: on success Release pairs with the Acquire of `unpark`: what the sleeper did before is seen by who
        // wakes it. Acquire and the failure's order do not matter: the sleeper looks for what was announced only after
        // `wake_up`, which has an Acquire of its own. A compare-exchange, because a notification must stay.
        let found = self
            .state
            .compare_exchange(EMPTY, ASLEEP, Ordering::AcqRel, Ordering::Relaxed);
        found != Err(NOTIFIED) || twin("parking-asleep-unlooked")
    }

    /// A turn wants to sleep unless there is something for it: `may_sleep` is asked when it has announced that.
    ///
    /// Who was rung for before it had the claim does not find the notification if the turn before it has taken notice of that one. But then
    /// whatever it was rung for comes before that notice, that before the claim was given back, and that before this look.
    #[must_use]
    pub(crate) fn fall_asleep_if(&self, may_sleep: impl FnOnce() -> bool) -> bool {
        self.fall_asleep() && (twin("parking-last-unlooked") || may_sleep())
    }

    /// Whether a turn sleeps, or is about to, and was not woken yet; or a host watches.
    pub(crate) fn is_asleep(&self) -> bool {
        // ORDERING: Acquire pairs with the Release of `fall_asleep`. Who asks has been ordered against the sleeper by a lock
        // already, and needs no more than to see what was written before it.
        self.state.load(Ordering::Acquire) == ASLEEP
    }

    /// The sleep is over, or there was none. The turn takes notice: it must look for what was announced after this.
    pub(crate) fn wake_up(&self) {
        if twin("parking-notice-by-load") {
            // ORDERING: the calibration twin: a load and a store in place of the swap.
            if self.state.load(Ordering::Acquire) != EMPTY {
                self.state.store(EMPTY, Ordering::Release);
            }
            return;
        }
        // ORDERING: Acquire pairs with the Release of `unpark`, so that the turn sees what was announced before it. A
        // swap, because a load followed by a store could overwrite a notification that comes between them. Release, so
        // that the unparker that finds this `EMPTY` is ordered after the turn that wrote it.
        self.state.swap(EMPTY, Ordering::AcqRel);
    }

    /// Leaves a notification. `true`: somebody sleeps and has to be woken through the descriptor.
    #[must_use]
    pub(crate) fn unpark(&self) -> bool {
        // ORDERING: Release pairs with the Acquire of `wake_up`: what the caller did before is seen by the turn that
        // takes notice. A swap and not a compare-exchange, so that a second notification, too, is ordered before that
        // turn, although it changes nothing. Acquire pairs with the Release of `fall_asleep` and `wake_up`.
        let order = if twin("parking-relaxed-unpark") {
            Ordering::Relaxed
        } else {
            Ordering::AcqRel
        };
        self.state.swap(NOTIFIED, order) == ASLEEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sleeper_has_to_be_woken_through_the_descriptor() {
        let parking = Parking::new();
        assert!(!parking.unpark());
        assert!(!parking.unpark());
        parking.wake_up();
        assert!(parking.fall_asleep());
        assert!(parking.unpark());
        assert!(!parking.unpark(), "once is enough");
    }

    #[test]
    fn a_notification_keeps_the_next_one_awake_until_it_is_noticed() {
        let parking = Parking::new();
        assert!(!parking.unpark());
        assert!(!parking.fall_asleep());
        assert!(!parking.fall_asleep(), "looking does not consume it");
        parking.wake_up();
        assert!(parking.fall_asleep());
    }

    #[test]
    fn a_host_that_watches_does_not_keep_a_turn_from_sleeping() {
        let parking = Parking::new();
        assert!(parking.fall_asleep());
        assert!(parking.fall_asleep());
        assert!(parking.unpark());
    }
}
