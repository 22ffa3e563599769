//! A worker with nothing to do: where it sleeps, and how it rises.
//!
//! The rules that hold here, and why, are told in `README.md` beside this file; how the sleep itself is entered and ended, in
//! `park`; what the watch is for, in `stolen-turns.md`.

use crate::driver::Polled;
use crate::sync::{Ordering, fence, twin};
use crate::watch::{Finding, Watch};
use crate::worker::Worker;
use std::time::{Duration, Instant};

impl Worker {
    /// Sleeps until there may be something to do.
    pub(crate) fn sleep(&self) {
        self.lap();
        self.stats().sleeps.add(1);
        let idle = &self.shared.idle;
        idle.fall_asleep(self.index, self.searching.replace(false));
        let looks = !twin("idle-no-last-look");
        if (looks && !self.shared.injector.is_empty()) || self.shared.is_closing() {
            return self.rise(self.shared.driver.now());
        }
        if idle.somebody_is_awake() && idle.try_watch(self.index) {
            self.keep_watch();
        } else {
            self.sleep_in_driver();
        }
    }

    /// Claims the driver's turn and sleeps in it; if another has it, sleeps on its own parker.
    fn sleep_in_driver(&self) {
        let parker = &self.here().parker;
        if !parker.enter_driver() {
            return self.rise(self.shared.driver.now());
        }
        let polled = self
            .turns
            .borrow_mut()
            .poll(None, &|| !parker.is_notified());
        let notified = parker.leave();
        match polled {
            Polled::Claimed if !notified || twin("turn-notified-unheeded") => {
                self.park_beside_driver()
            }
            Polled::Claimed => {}
            Polled::Ready(n) => return self.rise_with(n),
        }
        self.rise(self.shared.driver.now());
    }

    /// Another has the driver. A worker that sleeps in it stays there, or is awake afterwards (rule D). A thread that
    /// is no worker, and takes turns of its own, may leave it to nobody: then this worker is to try again.
    fn park_beside_driver(&self) {
        if !twin("turn-claimed-no-fence") {
            // ORDERING: pairs with itself in another worker. Both were announced as in the driver, found it claimed by a stranger, and
            // are out of it: who comes second through here sees that the other is out, and does not rely on it.
            fence(Ordering::SeqCst);
        }
        let bound = if self.shared.driver_is_occupied() || twin("turn-stranger-trusted") {
            None
        } else {
            Some(CLAIMED_RETRY)
        };
        self.here().parker.park(bound);
    }

    /// Sleeps with a bound, and looks at the others each time that it ends.
    fn keep_watch(&self) {
        self.shared.driver.flush();
        let mut watch = self.watch.borrow_mut();
        watch.begin(&self.shared, self.index);
        self.stats().rescues.add(usize::from(watch.has_driver()));
        let end = loop {
            if let Some(end) = self.nap(&mut watch) {
                break end;
            }
            self.stats().ticks.add(1);
            if let Some(end) = self.act_on(watch.look(&self.shared, self.index)) {
                break end;
            }
        };
        drop(watch);
        match end {
            Vigil::Rise => self.rise(self.shared.driver.now()),
            Vigil::RiseWith(n) => self.rise_with(n),
            Vigil::Retire => self.sleep_in_driver(),
        }
    }

    /// One sleep of the watch. `None`: its time is over.
    fn nap(&self, watch: &mut Watch) -> Option<Vigil> {
        let notified;
        if watch.has_driver() {
            match self.watch_driver(watch.nap()) {
                (Polled::Ready(n), _) if n > 0 => return Some(Vigil::RiseWith(n)),
                (Polled::Ready(_), told) => {
                    self.turned(self.shared.stamp(self.shared.driver.now()));
                    notified = told;
                }
                // Somebody is about to come out of it. Not to sleep now would be to compete with him for the processor.
                (Polled::Claimed, told) => {
                    watch.release_driver();
                    let sleeps = !told && !twin("turn-tried-at-once");
                    notified = told || (sleeps && self.here().parker.park(Some(watch.nap())));
                }
            }
        } else {
            let lookout = &self.shared.lookout;
            notified = lookout.sleep(&self.here().parker, watch.nap(), watch.due());
        }
        (notified || self.shared.is_closing()).then_some(Vigil::Rise)
    }

    /// What the watch does about what it has found. `None`: it goes on watching.
    fn act_on(&self, finding: Finding) -> Option<Vigil> {
        match finding {
            Finding::Nothing => None,
            Finding::Driver => {
                self.stats().rescues.add(1);
                None
            }
            Finding::Stuck(victim) => self.rescue(victim).then_some(Vigil::Rise),
            Finding::Injector => {
                self.stats().rescues.add(1);
                Some(Vigil::Rise)
            }
            Finding::Quiet => self
                .shared
                .idle
                .retire_watch(self.index)
                .then_some(Vigil::Retire),
        }
    }

    /// The watch has taken the driver from a worker that does not come back to it.
    fn watch_driver(&self, nap: Duration) -> (Polled, bool) {
        let parker = &self.here().parker;
        if !parker.enter_driver() {
            return (Polled::Ready(0), true);
        }
        let polled = self
            .turns
            .borrow_mut()
            .poll(Some(nap), &|| !parker.is_notified());
        (polled, parker.leave())
    }

    /// Takes what waits behind a poll that does not end: half of the ring, and the slot.
    fn rescue(&self, victim: usize) -> bool {
        let victim = &self.shared.workers[victim];
        let slot = victim.lifo.take();
        let ring = victim.thief.steal_into(&self.ring);
        let found = slot.is_some() || ring.is_some();
        for task in ring.into_iter().chain(slot) {
            self.push_behind(Self::task(task));
        }
        self.stats().rescues.add(usize::from(found));
        found
    }

    /// Off the list of sleepers; the events of the turn are delivered once somebody keeps watch again.
    fn rise_with(&self, n: usize) {
        let now = self.shared.driver.now();
        let stamp = self.shared.stamp(now);
        self.turned(stamp);
        self.rise(now);
        self.put_off_watch(stamp);
        if n > 0 {
            // Callbacks may take their time: whoever else could help must not be held back by the hope that we will.
            self.stop_searching();
            self.see_to_watch();
            self.deliver();
        }
    }

    /// Off the list of sleepers, by itself or because a waker took it off.
    fn rise(&self, now: Instant) {
        self.meter.borrow_mut().start(now);
        let idle = &self.shared.idle;
        let woken_by_another = !idle.rise(self.index);
        self.searching.set(woken_by_another);
        if !twin("watch-not-left") {
            idle.leave_watch(self.index);
        }
        self.risen.set(true);
    }

    /// This worker has turned the driver and moves. If nobody else is awake and the injector is empty, then a look of the
    /// watch would find nothing. `now` is a stamp.
    fn put_off_watch(&self, now: usize) {
        let shared = &self.shared;
        if shared.lookout.is_due_soon(now)
            && shared.idle.sleeping() + 1 == shared.workers.len()
            && shared.injector.is_empty()
        {
            shared.lookout.put_off(now);
        }
    }

    /// Rule W: a worker that goes to run tasks leaves no sleepers without a watch.
    pub(crate) fn see_to_watch(&self) {
        if self.shared.idle.is_unwatched() {
            self.wake_one();
        }
    }
}

/// How soon a worker tries again for a driver that a stranger has claimed: often enough for the rescue bound of 10 ms.
const CLAIMED_RETRY: Duration = Duration::from_millis(5);

/// How a vigil ends.
enum Vigil {
    Rise,
    /// With so many to be told of events.
    RiseWith(usize),
    /// Nothing happens: to an unbounded sleep.
    Retire,
}
