//! The watch: what a sleeper with a bound looks for each time that it wakes.
//!
//! One sleeper keeps watch while any worker runs; `stolen-turns.md` beside this file tells what goes wrong without it. Now
//! and then it compares the others' counters with what they were, at no cost to them, and steps in when
//!
//! - a worker with tasks in its queue has polled nothing between two looks;
//! - the driver was not turned for [`ABANDONED`], and nobody sleeps in it;
//! - the injector has tasks at two looks in a row, or at one, and nobody has polled anything since the last.
//!
//! # How often
//!
//! A look is a timed wake-up, and on an idle core that is dear: 10 to 20 µs of CPU were measured, with the interrupt
//! and the way in and out of idleness, so that 2,000 looks a second cost about as much as 4,000 echo requests. So a
//! worker that sees that all is well puts the next look off (`lookout`), and without such a worker the watch looks rarely
//! ([`SLOW`]) as long as it finds nothing, and often enough for the rescue bound: no event and no queued task waits for
//! longer than 10 ms behind a stuck worker. A queue that it finds is looked at again after [`FAST`]. Once it has caught a worker stuck before its queue, it looks every [`FAST`] for [`VIGILANCE`], so that a
//! program with long polls has a steal bound of 1 ms from its second long poll on (2 ms while the watch sleeps in a
//! driver that counts whole milliseconds).
//!
//! When nobody has polled anything for [`QUIET_LOOKS`], it retires and sleeps without a bound: a runtime with nothing
//! to do makes no wake-ups. The next worker to rise then pays for waking a watch.

use crate::shared::Shared;
use crate::sync::twin;
use std::time::{Duration, Instant};

/// Between two looks with nothing to worry about. With [`FAST`] and the kernel's own delays it makes less than the
/// rescue bound of 10 ms.
pub(crate) const SLOW: Duration = Duration::from_millis(8);

/// Between two looks that are to show whether a worker moves: half of the steal bound of 1 ms, as it takes two.
const FAST: Duration = Duration::from_micros(500);

/// How long the watch looks often after it has caught a stuck worker.
const VIGILANCE: Duration = Duration::from_secs(1);

/// A running worker looks at the driver every 61 polls; one that has not for this long is in a long poll, or about to
/// break the bound.
const ABANDONED: Duration = Duration::from_millis(2);

/// The driver is looked after by this age of its last turn: the rescue bound of 10 ms, less the kernel's delays.
const DUE: Duration = Duration::from_millis(9);

/// Slow looks without any poll before the watch retires: at 40 requests a second or more it stays up, and a request
/// pays nothing for it.
const QUIET_LOOKS: u32 = 3;

/// What the watch has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Nothing,
    /// Tasks wait behind this worker's poll.
    Stuck(usize),
    /// Nobody takes tasks from the injector.
    Injector,
    /// Nobody turns the driver: the watch takes it, and from now on sleeps in it.
    Driver,
    /// Nothing has happened for a while.
    Quiet,
}

/// What the watch remembers between two looks.
pub(crate) struct Watch {
    /// Per worker: its polls at the last look.
    polls: Vec<usize>,
    /// The last look has found tasks in the injector.
    injected: bool,
    /// Until the next look.
    nap: Duration,
    /// The stamp of that look, unless it looks closely: then nobody is to put it off.
    due: Option<usize>,
    vigilant_until: Option<Instant>,
    quiet: u32,
    has_driver: bool,
}

impl Watch {
    pub(crate) fn new(workers: usize) -> Self {
        Watch {
            polls: vec![0; workers],
            injected: false,
            nap: SLOW,
            due: None,
            vigilant_until: None,
            quiet: 0,
            has_driver: false,
        }
    }

    /// The watch begins, as a look would leave it: what is left of the bounds counts from when things happened, not from
    /// now, for a watch that is disturbed every millisecond must keep them too.
    pub(crate) fn begin(&mut self, shared: &Shared, me: usize) {
        let now = shared.driver.now();
        self.has_driver = false;
        self.quiet = 0;
        self.others_moved(shared, me);
        self.take_abandoned_driver(shared, now);
        self.set_nap(shared, me, now);
    }

    /// How long to sleep before the next look.
    pub(crate) fn nap(&self) -> Duration {
        self.nap
    }

    /// The stamp of the next look, if it may be put off.
    pub(crate) fn due(&self) -> Option<usize> {
        self.due
    }

    pub(crate) fn has_driver(&self) -> bool {
        self.has_driver
    }

    pub(crate) fn release_driver(&mut self) {
        self.has_driver = false;
    }

    /// One look.
    pub(crate) fn look(&mut self, shared: &Shared, me: usize) -> Finding {
        let now = shared.driver.now();
        let stuck = (0..self.polls.len()).find(|&w| w != me && self.is_stuck(shared, w));
        let moved = self.others_moved(shared, me);
        if let Some(victim) = stuck {
            self.vigilant_until = now.checked_add(VIGILANCE);
            (self.nap, self.due) = (FAST, None);
            return Finding::Stuck(victim);
        }
        let waits = !shared.injector.is_empty();
        if waits && (self.injected || moved == 0) {
            self.injected = false;
            return Finding::Injector;
        }
        self.injected = waits;
        let taken = self.take_abandoned_driver(shared, now);
        self.set_nap(shared, me, now);
        if taken {
            Finding::Driver
        } else {
            self.is_quiet(shared, moved)
        }
    }

    /// Tasks wait on this worker, and it has not polled anything since the last look.
    fn is_stuck(&self, shared: &Shared, worker: usize) -> bool {
        queued(shared, worker) > 0 && shared.workers[worker].stats.polls.get() == self.polls[worker]
    }

    /// Nobody has turned the driver for a while, and nobody sleeps in it.
    fn take_abandoned_driver(&mut self, shared: &Shared, now: Instant) -> bool {
        let abandoned = !twin("turn-not-stolen")
            && !self.has_driver
            && !shared.driver_is_occupied()
            && shared.since_turn(now) >= ABANDONED;
        self.has_driver |= abandoned;
        abandoned
    }

    fn set_nap(&mut self, shared: &Shared, me: usize, now: Instant) {
        self.nap = self.next_nap(shared, me, now);
        let due = shared
            .stamp(now)
            .wrapping_add(self.nap.as_micros() as usize);
        self.due = (self.nap > FAST).then_some(due);
    }

    fn next_nap(&mut self, shared: &Shared, me: usize, now: Instant) -> Duration {
        self.vigilant_until = self.vigilant_until.filter(|&until| now < until);
        let waits =
            self.injected || (0..self.polls.len()).any(|w| w != me && queued(shared, w) > 0);
        // A queue is looked at again once; when that second look has found that it moves, all is well.
        if self.vigilant_until.is_some() || (waits && self.nap != FAST) {
            return FAST;
        }
        if self.has_driver || shared.driver_is_occupied() {
            return SLOW;
        }
        // Never shorter than FAST: what is overdue was taken just now, or is being turned by somebody who will stamp it.
        SLOW.min(DUE.saturating_sub(shared.since_turn(now)))
            .max(FAST)
    }

    fn is_quiet(&mut self, shared: &Shared, moved: usize) -> Finding {
        let asleep = shared.idle.sleeping() == shared.workers.len();
        if !asleep || moved > 0 {
            self.quiet = 0;
        } else if self.nap != FAST {
            self.quiet += 1;
        }
        if self.quiet < QUIET_LOOKS {
            return Finding::Nothing;
        }
        self.quiet = 0;
        Finding::Quiet
    }

    /// Polls of the others since the last look.
    fn others_moved(&mut self, shared: &Shared, me: usize) -> usize {
        let mut moved = 0usize;
        for (worker, (last, remote)) in self.polls.iter_mut().zip(&shared.workers).enumerate() {
            let polls = remote.stats.polls.get();
            if worker != me {
                moved = moved.wrapping_add(polls.wrapping_sub(*last));
            }
            *last = polls;
        }
        moved
    }
}

fn queued(shared: &Shared, worker: usize) -> usize {
    let remote = &shared.workers[worker];
    remote.thief.len() + usize::from(!remote.lifo.is_empty())
}
