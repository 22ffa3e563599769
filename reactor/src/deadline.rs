//! How timers end a sleep in time.
//!
//! The wheel knows the next deadline; the alarm is the one thing that can end a sleep at it, and setting it is a syscall.
//! So it is set only when somebody sleeps, and only when it would ring too late: a timer that is inserted while nobody
//! sleeps, or later than the alarm, or that is removed, costs none. An alarm that rings for a timer that was removed
//! costs one empty turn, and most are overtaken by other events long before.
//!
//! Whether it would ring too late is a comparison with what is known of the sleep ([`Sleeper`]), without asking the clock: on a
//! runtime of several workers somebody sleeps most of the time, and a clock reading for each timer would be a good part of its cost.

use crate::os::Alarm;
use crate::reactor::{Inner, Reactor};
use crate::timers::{Reset, TimerKey, Wheel};
use std::task::Waker;
use std::time::{Duration, Instant};

/// The timers of a reactor.
pub(crate) struct Timers {
    wheel: Wheel,
    alarm: Alarm,
    /// When the alarm rings, or rang.
    armed: Option<u64>,
    sleeper: Sleeper,
    closed: bool,
}

/// Whom a timer that is inserted may have to wake.
enum Sleeper {
    /// Nobody: whoever goes to sleep next asks the wheel.
    None,
    /// A turn sleeps or is about to, or a host watches the reactor's descriptor, and no timer ends that.
    Unbounded,
    /// The same, but it ends at this instant, or is over by now: from here to [`Inner::fire_timers`] nobody puts that off.
    Until(u64),
}

impl Sleeper {
    fn oversleeps(&self, deadline: u64) -> bool {
        match *self {
            Sleeper::None => false,
            Sleeper::Unbounded => true,
            Sleeper::Until(end) => deadline < end,
        }
    }
}

/// What became of a timer.
pub(crate) enum Update {
    Waits,
    /// Its deadline has passed.
    Fired,
    /// The reactor is closed, and has forgotten it.
    Closed,
}

/// What has to be done so that a sleep ends at the next deadline.
enum Cover {
    /// Nothing: there is no deadline, or the alarm rings by then.
    Kept,
    /// The alarm was set.
    Set,
    /// The alarm can't be set. The sleep has to be bounded to this time.
    Bound(Duration),
}

impl Timers {
    pub(crate) fn new(alarm: Alarm) -> Timers {
        Timers {
            wheel: Wheel::new(),
            alarm,
            armed: None,
            sleeper: Sleeper::None,
            closed: false,
        }
    }

    /// Makes sure that the alarm rings at the next deadline or before. If it can't be set, its caller makes sure.
    ///
    /// An alarm that rang is set again, also if no turn has seen it ringing yet: setting it takes that ringing back, and
    /// what it was for is then the next deadline, which is over, so it rings at once.
    fn cover(&mut self, now: u64) -> Cover {
        let Some(next) = self.wheel.next_deadline() else {
            return Cover::Kept;
        };
        if let Some(armed) = self.armed
            && now < armed
            && armed <= next
        {
            self.sleeper = Sleeper::Until(armed);
            return Cover::Kept;
        }
        self.sleeper = Sleeper::Until(next);
        let after = Duration::from_nanos(next.saturating_sub(now));
        if !self.alarm.set(after) {
            return Cover::Bound(after);
        }
        self.armed = Some(next);
        Cover::Set
    }
}

impl Inner {
    /// A turn is going to sleep for at most `timeout`. Returns how long it may, zero if a timer is due.
    ///
    /// Timers that are inserted from now on shorten the sleep themselves, until [`fire_timers`](Self::fire_timers).
    pub(crate) fn cover_sleep(&self, timeout: Option<Duration>) -> Option<Duration> {
        let mut timers = self.timers.lock();
        timers.sleeper = Sleeper::Unbounded;
        let Some(next) = timers.wheel.next_deadline() else {
            return timeout;
        };
        let now = self.clock.now();
        let until = Duration::from_nanos(next.saturating_sub(now));
        if until.is_zero() || timeout.is_some_and(|timeout| timeout <= until) {
            return timeout.map_or(Some(until), |timeout| Some(timeout.min(until)));
        }
        match timers.cover(now) {
            Cover::Kept => timeout,
            Cover::Set => {
                self.metrics.alarms_set.add(1);
                timeout
            }
            Cover::Bound(until) => Some(until),
        }
    }

    /// Takes the wakers of all timers that are due. The sleep, if there was one, is over.
    pub(crate) fn fire_timers(&self, due: &mut Vec<Waker>) {
        let mut timers = self.timers.lock();
        timers.sleeper = Sleeper::None;
        if timers.wheel.len() > 0 {
            let fired = timers.wheel.advance(self.clock.now(), due);
            self.metrics.timers_fired.add(fired);
        }
    }

    /// A host is going to watch the reactor's descriptor.
    pub(crate) fn watch_timers(&self) {
        let mut timers = self.timers.lock();
        timers.sleeper = Sleeper::Unbounded;
        self.cover_or_unpark(&mut timers);
    }

    fn cover_or_unpark(&self, timers: &mut Timers) {
        match timers.cover(self.clock.now()) {
            Cover::Kept => {}
            Cover::Set => self.metrics.alarms_set.add(1),
            Cover::Bound(_) => self.unpark(),
        }
    }

    pub(crate) fn timer_count(&self) -> usize {
        self.timers.lock().wheel.len()
    }

    /// Removes all timers, hands their wakers out, and admits no more.
    pub(crate) fn close_timers(&self, wakers: &mut Vec<Waker>) {
        let mut timers = self.timers.lock();
        timers.closed = true;
        timers.wheel.clear(wakers);
    }
}

impl Reactor {
    /// When the next timer is due; `None` without timers. It may be too early after a timer was removed, never too late.
    ///
    /// A host that sleeps by itself, and can't watch the reactor's [descriptor](std::os::fd::AsFd), sleeps until then.
    pub fn next_deadline(&self) -> Option<Instant> {
        let next = self.inner().timers.lock().wheel.next_deadline();
        self.inner().clock.instant(next?)
    }

    /// Adds a timer, whose deadline is a number of the reactor's [clock](crate::os::Clock). `None`: the reactor is closed.
    pub(crate) fn insert_timer(&self, deadline: u64, waker: Waker) -> Option<TimerKey> {
        let inner = self.inner();
        let mut timers = inner.timers.lock();
        if timers.closed {
            // Arguments are dropped after local variables: the waker goes after the lock is released.
            return None;
        }
        let key = timers.wheel.insert(deadline, waker);
        if timers.sleeper.oversleeps(deadline) {
            inner.cover_or_unpark(&mut timers);
        }
        Some(key)
    }

    /// Changes whom a timer wakes.
    pub(crate) fn update_timer(&self, key: TimerKey, waker: &Waker) -> Update {
        let mut timers = self.inner().timers.lock();
        let reset = timers.wheel.reset_waker(key, waker);
        let closed = timers.closed;
        drop(timers);
        match reset {
            Reset::Gone if closed => Update::Closed,
            Reset::Gone => Update::Fired,
            Reset::Same => Update::Waits,
            // The lock is released.
            Reset::Replaced(waker) => {
                drop(waker);
                Update::Waits
            }
        }
    }

    /// Removes a timer and hands its waker out, unless it has fired.
    pub(crate) fn remove_timer(&self, key: TimerKey) -> Option<Waker> {
        self.inner().timers.lock().wheel.remove(key)
    }
}
