//! The one sleep of a stage.

use crate::runtime::Timer;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// A timer and at most one sleep on it, however many requests are in flight.
///
/// It is set for what is due first: the end of a request's time, or of its back-off. When that is settled otherwise,
/// the sleep is left as it is: ending early, it costs one look at the clock and is set anew, which is cheaper than a
/// new sleep for each request. Only when nothing is to come is it dropped, so an idle stage is not woken.
pub(crate) struct Alarm<R: Timer> {
    timer: R,
    sleep: Pin<Box<Option<R::Sleep>>>,
    /// When the sleep ends, if there is one.
    end: Option<Instant>,
    /// The time, once it was asked for in this poll of the stage.
    now: Option<Instant>,
}

impl<R: Timer> Alarm<R> {
    pub(crate) fn new(timer: R) -> Self {
        Self {
            timer,
            sleep: Box::pin(None),
            end: None,
            now: None,
        }
    }

    /// The time, as it was when this poll of the stage first asked for it: good enough to measure by, and cheaper than
    /// a look at the clock for each record.
    pub(crate) fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(|| self.timer.now())
    }

    /// Another poll of the stage begins.
    pub(crate) fn forget_now(&mut self) {
        self.now = None;
    }

    /// Now and `limit` more; none if no clock ever gets there.
    pub(crate) fn after(&self, limit: Duration) -> Option<Instant> {
        self.timer.now().checked_add(limit)
    }

    pub(crate) fn has_passed(&self, deadline: Instant) -> bool {
        deadline <= self.timer.now()
    }

    /// Sleeps until `deadline`, unless a sleep for an earlier one is under way. True: it has ended already.
    #[must_use]
    pub(crate) fn set(&mut self, deadline: Instant, waker: &Waker) -> bool {
        if self.end.is_some_and(|end| end <= deadline) {
            return false;
        }
        let sleep = self.timer.sleep_until(deadline);
        self.sleep.set(Some(sleep));
        self.end = Some(deadline);
        self.rang(waker)
    }

    pub(crate) fn unset(&mut self) {
        self.sleep.set(None);
        self.end = None;
    }

    /// Ends the sleep if it is over; if not, it wakes `waker` when it is.
    pub(crate) fn look(&mut self, waker: &Waker) {
        self.rang(waker);
    }

    /// Whether no sleep is under way: none was set, or it has ended.
    fn rang(&mut self, waker: &Waker) -> bool {
        let Some(sleep) = self.sleep.as_mut().as_pin_mut() else {
            return true;
        };
        let ended = sleep.poll(&mut Context::from_waker(waker)).is_ready();
        if ended {
            self.unset();
        }
        ended
    }
}
