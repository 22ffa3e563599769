//! What a reactor counts. Counters cost one relaxed addition where the work is done, and nothing is measured in time.

use crate::sync::{AtomicCount, Ordering};

/// What a reactor has done since it was made; a snapshot from [`Reactor::metrics`](crate::Reactor::metrics).
///
/// The counters are read one after the other while others count: they need not fit together to the unit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// Turns that asked the OS for events.
    pub turns: u64,
    /// Turns that were allowed to sleep, and ended with nothing to wake and nothing completed: by an unpark, at the end
    /// of their timeout, or for an event that nobody waited for.
    pub idle_turns: u64,
    /// Events that the OS reported, without the reactor's own two descriptors'.
    pub events: u64,
    /// Events that were reported for a source that had gone by then.
    pub stale_events: u64,
    /// Wakers called.
    pub wakes: u64,
    /// Wakers and callbacks that panicked.
    pub panics: u64,
    /// Times that [`unpark`](crate::Reactor::unpark) had to wake a sleeper with a syscall.
    pub unparks: u64,
    /// Sources registered: calls of `epoll_ctl` that add.
    pub registrations: u64,
    /// Sources deregistered: calls of `epoll_ctl` that remove.
    pub deregistrations: u64,
    /// Timers that came due.
    pub timers_fired: u64,
    /// Times that the alarm was set: calls of `timerfd_settime`.
    pub alarms_set: u64,
    /// Operations submitted.
    pub operations_submitted: u64,
    /// Operations given back to their callbacks: finished, failed or cancelled.
    pub operations_completed: u64,
}

/// The live counters.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) turns: Counter,
    pub(crate) idle_turns: Counter,
    pub(crate) events: Counter,
    pub(crate) stale_events: Counter,
    pub(crate) wakes: Counter,
    pub(crate) panics: Counter,
    pub(crate) unparks: Counter,
    pub(crate) registrations: Counter,
    pub(crate) deregistrations: Counter,
    pub(crate) timers_fired: Counter,
    pub(crate) alarms_set: Counter,
    pub(crate) submitted: Counter,
    pub(crate) completed: Counter,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Metrics {
        Metrics {
            turns: self.turns.get(),
            idle_turns: self.idle_turns.get(),
            events: self.events.get(),
            stale_events: self.stale_events.get(),
            wakes: self.wakes.get(),
            panics: self.panics.get(),
            unparks: self.unparks.get(),
            registrations: self.registrations.get(),
            deregistrations: self.deregistrations.get(),
            timers_fired: self.timers_fired.get(),
            alarms_set: self.alarms_set.get(),
            operations_submitted: self.submitted.get(),
            operations_completed: self.completed.get(),
        }
    }
}

#[derive(Default, Debug)]
pub(crate) struct Counter(AtomicCount);

impl Counter {
    /// Adding nothing touches nothing: most turns add to few counters.
    pub(crate) fn add(&self, count: usize) {
        if count > 0 {
            // ORDERING: Relaxed. A counter orders nothing and is read only to be shown.
            self.0.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        // ORDERING: Relaxed, as in `add`.
        self.0.load(Ordering::Relaxed)
    }
}
