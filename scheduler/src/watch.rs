//! The watch: what a sleeper with a bound looks for each time that it wakes.
//!
//! A worker leaves its driver's turn, its next task blocks, and everybody else sleeps: nobody watches the sockets. Waking a sibling at
//! each turn would cure that, at several microseconds per event. Instead one sleeper keeps watch while any worker runs:
//! every [`TICK`] it compares the others' counters with what they were, at no cost to them. It steps in when
//!
//! - a worker has been in one poll for a whole tick, and tasks wait behind it (so none waits longer than two ticks, the
//!   steal bound of 1 ms, while a worker is idle);
//! - the expected time to drain a worker's ring is longer than that bound;
//! - nobody has turned the driver for [`RESCUE_TICKS`], and nobody sleeps in it (rescue bound: 10 ms);
//! - tasks wait in the injector and no running worker has come by.
//!
//! When nobody has polled anything for [`QUIET_TICKS`], it retires and sleeps without a bound: a runtime with nothing to do makes
//! no wake-ups. That long, because the next worker to rise must pay for waking a watch if there is none.

use crate::metrics::WorkerMetrics;
use crate::shared::Shared;
use std::time::Duration;

/// How long the watch sleeps: half of the steal bound of 1 ms, as two looks are needed to see that nothing has moved.
pub(crate) const TICK: Duration = Duration::from_micros(500);

/// Half of the rescue bound of 10 ms, so that scheduling delays of the kernel fit in as well.
const RESCUE_TICKS: u32 = 10;

/// 20 ms: at 50 requests a second or more the watch stays up, and a request pays nothing for it.
const QUIET_TICKS: u32 = 40;

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
    turns: usize,
    unturned: u32,
    quiet: u32,
    has_driver: bool,
}

impl Watch {
    pub(crate) fn new(workers: usize) -> Self {
        Watch {
            polls: vec![0; workers],
            turns: 0,
            unturned: 0,
            quiet: 0,
            has_driver: false,
        }
    }

    /// The watch begins. If nobody has polled or turned anything since it last ended, the driver is still as abandoned as
    /// it was, and is taken at once.
    pub(crate) fn begin(&mut self, shared: &Shared, me: usize) {
        let stuck = self.has_driver && self.others_moved(shared, me) == 0;
        self.turns = turns(shared);
        self.quiet = 0;
        self.unturned = 0;
        self.has_driver = stuck && !driver_is_occupied(shared);
    }

    pub(crate) fn has_driver(&self) -> bool {
        self.has_driver
    }

    pub(crate) fn release_driver(&mut self) {
        self.has_driver = false;
        self.unturned = 0;
    }

    /// One look.
    pub(crate) fn tick(&mut self, shared: &Shared, me: usize) -> Finding {
        let before = std::mem::take(&mut self.polls);
        let others = |w: &usize| *w != me;
        let stuck = (0..before.len())
            .filter(others)
            .find(|&w| waits_too_long(shared, w, before[w]));
        self.polls = before;
        let moved = self.others_moved(shared, me);
        if let Some(victim) = stuck {
            return Finding::Stuck(victim);
        }
        if !shared.injector.is_empty() && moved == 0 {
            return Finding::Injector;
        }
        if self.driver_is_abandoned(shared) {
            self.has_driver = true;
            return Finding::Driver;
        }
        let asleep = shared.idle.sleeping() == shared.workers.len();
        self.quiet = if asleep && moved == 0 {
            self.quiet + 1
        } else {
            0
        };
        if self.quiet >= QUIET_TICKS {
            self.quiet = 0;
            return Finding::Quiet;
        }
        Finding::Nothing
    }

    /// Nobody has turned the driver for a while and nobody sleeps in it.
    fn driver_is_abandoned(&mut self, shared: &Shared) -> bool {
        let turns = turns(shared);
        let abandoned = !self.has_driver && turns == self.turns && !driver_is_occupied(shared);
        self.turns = turns;
        self.unturned = if abandoned { self.unturned + 1 } else { 0 };
        self.unturned >= RESCUE_TICKS
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

/// Tasks wait on this worker, and it has not polled anything since the last look, or will not come to them for longer than the bound.
fn waits_too_long(shared: &Shared, worker: usize, polls_before: usize) -> bool {
    let remote = &shared.workers[worker];
    let queued = remote.thief.len() + usize::from(!remote.lifo.is_empty());
    if queued == 0 {
        return false;
    }
    let drain = remote.stats.mean_poll.get().saturating_mul(queued);
    remote.stats.polls.get() == polls_before || drain as u128 > 2 * TICK.as_nanos()
}

fn driver_is_occupied(shared: &Shared) -> bool {
    shared
        .workers
        .iter()
        .any(|worker| worker.parker.is_in_driver())
}

fn turns(shared: &Shared) -> usize {
    WorkerMetrics::sum(shared.workers.iter().map(|worker| &*worker.stats)).turns
}
