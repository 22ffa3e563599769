//! What the workers of one scheduler share, and how a task finds its way to one of them.

use crate::blocking::Blocking;
use crate::context;
use crate::driver::Driver;
use crate::idle::Idle;
use crate::injector::Injector;
use crate::lifo::Lifo;
use crate::lookout::Lookout;
use crate::meter::{FRESH, WORTH_HELP};
use crate::metrics::Stats;
use crate::park::Parker;
use crate::ring::{Thief, ring};
use crate::sync::{Arc, AtomicBool, Ordering, fence, twin};
use crate::task::{Header, Owned, Runnable, Schedule, Stock};
use crate::worker::Worker;
use crossbeam_utils::CachePadded;
use std::time::{Duration, Instant};

/// One per scheduler.
pub(crate) struct Shared {
    pub(crate) driver: std::sync::Arc<dyn Driver>,
    pub(crate) workers: Box<[Remote]>,
    pub(crate) idle: Idle,
    pub(crate) lookout: Lookout,
    /// Tasks from outside, and what overflowed a ring.
    pub(crate) injector: Injector<Runnable>,
    /// Every task that is not finished, so that shutdown can drop them.
    pub(crate) owned: Owned,
    pub(crate) blocking: Arc<Blocking>,
    /// What stamps count from.
    epoch: Instant,
    closing: AtomicBool,
}

/// What others may touch of a worker.
pub(crate) struct Remote {
    pub(crate) parker: Parker,
    pub(crate) thief: Thief<Header>,
    pub(crate) lifo: CachePadded<Lifo<Header>>,
    pub(crate) stats: CachePadded<Stats>,
}

impl Shared {
    pub(crate) fn new(
        driver: std::sync::Arc<dyn Driver>,
        thieves: Vec<Thief<Header>>,
        blocking: Arc<Blocking>,
    ) -> Self {
        let epoch = driver.now();
        let remote = |thief| Remote {
            parker: Parker::new(),
            thief,
            lifo: CachePadded::new(Lifo::new()),
            stats: CachePadded::default(),
        };
        // A single worker has nobody to watch.
        let alarm = (thieves.len() > 1).then(|| driver.alarm()).flatten();
        Shared {
            lookout: Lookout::new(alarm),
            driver,
            idle: Idle::new(thieves.len()),
            workers: thieves.into_iter().map(remote).collect(),
            injector: Injector::new(),
            owned: Owned::new(),
            blocking,
            epoch,
            closing: AtomicBool::new(false),
        }
    }

    /// A task comes from a thread that is none of the workers, or back from a worker whose ring is full.
    pub(crate) fn inject(&self, task: Runnable) {
        self.injector.push(task);
        self.injected();
    }

    /// Many at once: what did not fit into a ring.
    pub(crate) fn inject_all(&self, tasks: impl ExactSizeIterator<Item = Runnable>) {
        self.injector.push_all(tasks);
        self.injected();
    }

    /// Something was pushed to the injector.
    fn injected(&self) {
        if self.idle.all_sleep_after_push() || (self.idle.could_help() && self.injector_is_long()) {
            self.wake_one();
        }
        if !twin("shutdown-push-unseen") && self.is_closing() {
            // The workers may have looked into the injector for the last time.
            self.drain_injector();
        }
    }

    /// Wakes a sleeper, if there is one, to look for work. Says whether there was one.
    pub(crate) fn wake_one(&self) -> bool {
        let woken = self
            .idle
            .take_sleeper(|worker| &self.workers[worker].parker);
        if let Some(worker) = woken {
            self.workers[worker]
                .parker
                .unpark(&*self.driver, &self.lookout);
        }
        woken.is_some()
    }

    pub(crate) fn is_closing(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `close`; what it guards is behind locks of its own, so that
        // this only has to be seen in the end.
        self.closing.load(Ordering::Acquire)
    }

    /// Shutdown, steps 1 to 3: see [`Scheduler::shutdown`](crate::Scheduler::shutdown).
    pub(crate) fn close(&self) {
        // ORDERING: Release pairs with the Acquire in `is_closing`.
        self.closing.store(true, Ordering::Release);
        if !twin("shutdown-close-no-fence") {
            // ORDERING: SeqCst fence pairs with the fence of `all_sleep_after_push`: who pushes after the last drain
            // sees `closing`.
            fence(Ordering::SeqCst);
        }
        self.owned.close_and_cancel_all();
        self.drop_queued();
        for worker in &self.workers {
            worker.parker.unpark(&*self.driver, &self.lookout);
        }
    }

    /// Drops what is queued at workers, which is in no list before its first rest. They do so themselves when they end; but
    /// one may be in a poll that does not.
    fn drop_queued(&self) {
        let (taken, _) = ring();
        for worker in &self.workers {
            let next = || {
                worker
                    .lifo
                    .take()
                    .or_else(|| worker.thief.steal_into(&taken))
            };
            while let Some(task) = taken.pop().or_else(next) {
                drop(Worker::task(task));
            }
        }
    }

    /// Drops what is queued for nobody; a task that is dropped unrun is cancelled.
    pub(crate) fn drain_injector(&self) {
        while let Some(task) = self.injector.pop() {
            drop(task);
        }
    }

    /// A task was spawned.
    pub(crate) fn schedule_fresh(&self, task: Runnable) {
        context::with_worker(self, |worker| match worker {
            Some(worker) => worker.push_fresh(task),
            None => self.inject(task),
        });
    }

    /// Microseconds since the scheduler was made, for the stamps in [`Stats`].
    pub(crate) fn stamp(&self, now: Instant) -> usize {
        let since = now.saturating_duration_since(self.epoch);
        // As `as_micros`, less its numbers of 128 bits: every turn has a stamp.
        (since.as_secs() as usize)
            .wrapping_mul(1_000_000)
            .wrapping_add(since.subsec_micros() as usize)
    }

    /// How long ago some worker last turned the driver.
    pub(crate) fn since_turn(&self, now: Instant) -> Duration {
        let now = self.stamp(now);
        // The smallest age, not the largest stamp, so that a stamp that has wrapped around does no harm.
        let age = |worker: &Remote| now.wrapping_sub(worker.stats.turned_at.get());
        let ages = self
            .workers
            .iter()
            .map(age)
            .filter(|&age| age < usize::MAX / 2);
        Duration::from_micros(ages.min().map_or(u64::MAX, |age| age as u64))
    }

    /// Whether a worker sleeps in the driver.
    pub(crate) fn driver_is_occupied(&self) -> bool {
        self.workers
            .iter()
            .any(|worker| worker.parker.is_in_driver())
    }

    /// Whether what comes from outside, which nobody has polled lately, is worth a sibling.
    fn injector_is_long(&self) -> bool {
        FRESH.as_nanos().saturating_mul(self.injector.len() as u128) > WORTH_HELP.as_nanos()
    }
}

// SAFETY: every thread may drop these futures, for `Handle::spawn` takes only what is Send; `is_inside` is true on a
// worker of this scheduler, which holds an `Arc` of it for as long as it runs.
unsafe impl Schedule for Shared {
    fn lists_at_rest(&self) -> bool {
        true
    }

    fn schedule(&self, task: Runnable) {
        context::with_worker(self, |worker| match worker {
            Some(worker) => worker.push(task),
            None => self.inject(task),
        });
    }

    fn reschedule(&self, task: Runnable) {
        context::with_worker(self, |worker| match worker {
            Some(worker) => worker.push_behind(task),
            None => self.inject(task),
        });
    }

    fn owned(&self) -> &Owned {
        &self.owned
    }

    fn may_drop_here(&self) -> bool {
        true
    }

    fn is_inside(&self) -> bool {
        context::with_worker(self, |worker| worker.is_some())
    }

    fn with_stock<R>(&self, f: impl FnOnce(Option<&Stock<Shared>>) -> R) -> R {
        context::with_worker(self, |worker| f(worker.map(|worker| &worker.stock)))
    }
}
