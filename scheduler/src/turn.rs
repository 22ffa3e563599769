//! A worker's turn: poll, execute, update.
//!
//! ```text
//! Q    = LIFO slot, local ring, injector, the siblings' rings
//! poll:    choose a task: own queues first, then the injector, then a sibling's; none: sleep
//! execute: poll its future, once
//! update:  the task's own state moves on (done, idle, or woken meanwhile and queued again);
//!          the worker sees to what is due every so many polls
//! ```
//!
//! # Fairness
//!
//! If every poll ends, every task that is woken is polled: in a run of [`DRIVER_INTERVAL`] polls a worker looks at
//! the driver at least once and at the injector at least once; of [`LIFO_STREAK`] + 1 tasks that it takes from its
//! own queues at least one comes from the ring, which is first in, first out. So a task at place `n` of the ring is
//! polled after at most `(LIFO_STREAK + 1) * n` polls of own tasks and as many from the injector as fall due between
//! them.

use crate::budget;
use crate::driver::Polled;
use crate::ring::CAPACITY;
use crate::task::Runnable;
use crate::worker::Worker;

/// Tasks in a row out of the LIFO slot while others wait. Enough for a request and its answer to pass between two
/// tasks; tokio came to the same number.
const LIFO_STREAK: u32 = 3;

/// Polls between two looks at the injector while there is local work. A look is a load of a shared line, so it may be
/// frequent; half of the driver's interval, so that both are never far.
const INJECTOR_INTERVAL: u32 = 31;

/// Polls between two looks at the driver while there is work, also of the single-threaded scheduler. A look is a system call (about a microsecond, as much
/// as a few polls), so this keeps it to some percent of the time. Odd, so that it does not fall in step with the
/// injector's. A driver should give less at a look: see
/// [`Turns::glance`](crate::driver::Turns::glance).
pub(crate) const DRIVER_INTERVAL: u32 = 61;

/// Polls between two readings of the clock, whose cost (25 ns) is then lost.
const LAP: u32 = 16;

impl Worker {
    /// One turn. Sleeps if there is nothing to do.
    pub(crate) fn turn(&self) {
        match self.poll() {
            Some(task) => {
                self.execute(task);
                self.update();
            }
            None => self.sleep(),
        }
    }

    fn poll(&self) -> Option<Runnable> {
        let task = self
            .injector_if_due()
            .or_else(|| self.next_local())
            .or_else(|| self.next_injected())
            .or_else(|| self.steal())?;
        self.found_work();
        Some(task)
    }

    fn execute(&self, task: Runnable) {
        self.fresh.set(0);
        budget::with_budget(|| task.run());
    }

    fn update(&self) {
        self.stats().polls.add(1);
        let polls = self.polls.get().wrapping_add(1);
        self.polls.set(polls);
        if self.meter.borrow_mut().count(self.fresh.get()) >= LAP {
            self.lap();
            self.offer_help(0);
        }
        let left = self.until_glance.get() - 1;
        self.until_glance.set(left);
        if left == 0 {
            self.glance();
        }
    }

    /// Own queues: the slot, unless it has had its streak, then the ring.
    fn next_local(&self) -> Option<Runnable> {
        let streak = self.lifo_streak.get();
        if streak < LIFO_STREAK
            && let Some(task) = self.here().lifo.take()
        {
            self.lifo_streak.set(streak + 1);
            return Some(Self::task(task));
        }
        self.lifo_streak.set(0);
        self.ring
            .pop()
            .or_else(|| self.here().lifo.take())
            .map(Self::task)
    }

    fn injector_if_due(&self) -> Option<Runnable> {
        if self.polls.get().is_multiple_of(INJECTOR_INTERVAL) {
            self.next_injected()
        } else {
            None
        }
    }

    /// One task from the injector, and into the ring this worker's share of what else is there.
    fn next_injected(&self) -> Option<Runnable> {
        if self.shared.injector.is_empty() {
            return None;
        }
        let room = self.ring.room().min(CAPACITY / 2);
        let share = |number: usize| 1 + ((number - 1) / self.shared.workers.len()).min(room);
        let mut batch = self.batch.take();
        self.shared.injector.pop_share(share, &mut batch);
        let mut tasks = batch.drain(..);
        let task = tasks.next();
        tasks.for_each(|task| self.push_behind(task));
        self.batch.set(batch);
        task
    }

    /// Half of a sibling's ring, while any is awake to have one. Starts at the next neighbour, so that thieves spread.
    fn steal(&self) -> Option<Runnable> {
        let workers = &self.shared.workers;
        if self.shared.idle.sleeping() + 1 >= workers.len() {
            return None;
        }
        let others = (1..workers.len()).map(|step| (self.index + step) % workers.len());
        let task = others
            .into_iter()
            .find_map(|victim| workers[victim].thief.steal_into(&self.ring))?;
        self.stats().steals.add(1);
        Some(Self::task(task))
    }

    /// First task since it rose: no longer searching, and somebody must keep watch.
    fn found_work(&self) {
        if !self.risen.replace(false) {
            return;
        }
        self.stop_searching();
        self.see_to_watch();
        self.offer_help(self.shared.injector.len());
    }

    pub(crate) fn stop_searching(&self) {
        if self.searching.replace(false) {
            self.shared.idle.stop_searching();
        }
    }

    /// Takes the time since the last lap into the mean.
    pub(crate) fn lap(&self) {
        self.meter.borrow_mut().lap(self.shared.driver.now());
    }

    /// A turn of the driver that does not wait.
    fn glance(&self) {
        self.until_glance.set(DRIVER_INTERVAL);
        let polled = self.turns.borrow_mut().glance();
        if let Polled::Ready(n) = polled {
            self.turned(self.shared.stamp(self.shared.driver.now()));
            if n > 0 {
                self.deliver();
            }
        }
    }

    /// A turn of the driver was taken, and is stamped for the watch.
    pub(crate) fn turned(&self, stamp: usize) {
        self.stats().turns.add(1);
        self.stats().turned_at.set(stamp);
        self.until_glance.set(DRIVER_INTERVAL);
    }

    /// Update of a driver's turn: calls the wakers; what they wake goes into the ring.
    pub(crate) fn deliver(&self) {
        self.delivering.set(true);
        self.turns.borrow_mut().update();
        self.delivering.set(false);
        self.offer_help(0);
    }
}
