//! Who sleeps, who searches, and who keeps watch.
//!
//! `README.md` beside this file says what must hold (rules L, W and D), how it fails when it is done naively, and why it
//! holds here. In short:
//!
//! - who pushes to the injector: push; `fence(SeqCst)`; read the counts; if all sleep, wake one;
//! - who falls asleep: count; `fence(SeqCst)`; look into the injector; if there is work, rise again;
//! - who has risen and found a task: `fence(SeqCst)`; read the watch; if there is none, wake a sleeper;
//! - the watch that retires: clear the watch; `fence(SeqCst)`; read the counts; if somebody is awake, take it again.
//!
//! All changes of list and counts are made under one lock, so that they agree; only the readers go without it. The lock
//! is taken when a worker falls asleep and when it rises: never per task, never per event of a busy worker.

#![allow(unreachable_pub, reason = "the models of loom-tests drive this module")]

use crate::park::Parker;
use crate::sync::{AtomicUsize, Mutex, Ordering, fence, twin};
use crossbeam_utils::CachePadded;

/// `counts`: how many sleep in the low half, how many search in the high half. Workers are far fewer than either
/// half holds, on 32-bit machines too.
const SEARCHING: usize = 1 << (usize::BITS / 2);
const SLEEPING: usize = 1;

/// `watch`: nobody.
const NOBODY: usize = usize::MAX;

/// The workers' state of rest. See the module's text for the protocol.
pub struct Idle {
    workers: usize,
    counts: CachePadded<AtomicUsize>,
    /// The index of the worker that keeps watch. Apart from the counts, for every riser reads it and few write it.
    watch: CachePadded<AtomicUsize>,
    sleepers: Mutex<Vec<usize>>,
}

impl Idle {
    /// For so many workers, all of them awake.
    pub fn new(workers: usize) -> Self {
        Idle {
            workers,
            counts: CachePadded::new(AtomicUsize::new(0)),
            watch: CachePadded::new(AtomicUsize::new(NOBODY)),
            sleepers: Mutex::new(Vec::with_capacity(workers)),
        }
    }

    /// Counts `worker` as sleeping. It must look at the injector after this and before it sleeps.
    pub fn fall_asleep(&self, worker: usize, was_searching: bool) {
        let mut sleepers = self.sleepers.lock();
        sleepers.push(worker);
        let searching = if was_searching { SEARCHING } else { 0 };
        // ORDERING: Relaxed: ordered against the pusher's read by the fence below; among writers by the lock.
        self.counts
            .fetch_add(SLEEPING.wrapping_sub(searching), Ordering::Relaxed);
        drop(sleepers);
        if !twin("idle-no-fence") {
            // ORDERING: SeqCst fence pairs with the fence of `all_sleep_after_push` (rule L) and of `is_unwatched` (rule W).
            fence(Ordering::SeqCst);
        }
    }

    /// `worker` rises by itself. `false`: somebody had woken it already, and it counts as searching.
    pub fn rise(&self, worker: usize) -> bool {
        let mut sleepers = self.sleepers.lock();
        let Some(place) = sleepers.iter().position(|&w| w == worker) else {
            return false;
        };
        sleepers.swap_remove(place);
        // ORDERING: Relaxed: ordered against the watch by the fence of `is_unwatched`; among writers by the lock.
        self.counts.fetch_sub(SLEEPING, Ordering::Relaxed);
        true
    }

    /// Takes a sleeper off the list, to be woken by the caller; it counts as searching from now on. Of several the one
    /// that costs least: neither the one in the driver nor the watch, then the one in the driver, then the watch, after whom
    /// another would have to be woken to keep watch.
    #[must_use]
    pub fn take_sleeper<'a>(&self, parker: impl Fn(usize) -> &'a Parker) -> Option<usize> {
        let mut sleepers = self.sleepers.lock();
        // ORDERING: Relaxed: a preference.
        let watch = self.watch.load(Ordering::Relaxed);
        let cost = |worker: usize| (worker == watch, parker(worker).is_in_driver());
        // The latest comes first among equals: its caches are the warmest.
        let place = (0..sleepers.len())
            .rev()
            .min_by_key(|&place| cost(sleepers[place]))?;
        let worker = sleepers.swap_remove(place);
        // ORDERING: Relaxed: among writers ordered by the lock; readers take it as a hint, or fence first.
        self.counts
            .fetch_add(SEARCHING.wrapping_sub(SLEEPING), Ordering::Relaxed);
        Some(worker)
    }

    /// A searching worker has found something, or gives up without falling asleep.
    pub fn stop_searching(&self) {
        // ORDERING: Relaxed: a hint for who considers waking another.
        self.counts.fetch_sub(SEARCHING, Ordering::Relaxed);
    }

    /// After a push to the injector: whether all workers sleep, so that one must be woken.
    #[must_use]
    pub fn all_sleep_after_push(&self) -> bool {
        if !twin("idle-push-no-fence") {
            // ORDERING: SeqCst fence pairs with the fence of `fall_asleep` (rule L).
            fence(Ordering::SeqCst);
        }
        self.sleeping() == self.workers
    }

    /// Whether another could be woken to help and nobody is on the way already. A hint.
    pub fn could_help(&self) -> bool {
        // ORDERING: Relaxed: help is a matter of speed; the watch corrects a wrong guess.
        let counts = self.counts.load(Ordering::Relaxed);
        !counts.is_multiple_of(SEARCHING) && counts < SEARCHING
    }

    /// How many sleep.
    pub fn sleeping(&self) -> usize {
        // ORDERING: Relaxed: callers for whom it matters have fenced before.
        self.counts.load(Ordering::Relaxed) % SEARCHING
    }

    /// Whether somebody is awake, as a worker sees it that has counted itself as sleeping (and so has fenced).
    pub fn somebody_is_awake(&self) -> bool {
        self.sleeping() < self.workers
    }

    /// After rising: whether others sleep and nobody keeps watch, so that one must be woken to do so.
    #[must_use]
    pub fn is_unwatched(&self) -> bool {
        if !twin("watch-no-fence") {
            // ORDERING: SeqCst fence pairs with the fence of `retire_watch` (rule W): our rise comes before our look
            // at the watch.
            fence(Ordering::SeqCst);
        }
        // ORDERING: Relaxed: ordered by the fence.
        self.watch.load(Ordering::Relaxed) == NOBODY && self.sleeping() > 0
    }

    /// Takes the watch, unless somebody has it.
    #[must_use]
    pub fn try_watch(&self, worker: usize) -> bool {
        // ORDERING: Relaxed: the word carries no data; among rivals the compare-exchange decides.
        self.watch
            .compare_exchange(NOBODY, worker, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Gives up the watch, if `worker` has it.
    pub fn leave_watch(&self, worker: usize) {
        // ORDERING: Relaxed: only the one who has the watch stores to it, and finds its own value.
        if self.watch.load(Ordering::Relaxed) == worker {
            self.watch.store(NOBODY, Ordering::Relaxed);
        }
    }

    /// The watch, having seen nothing happen for a while, wants to sleep without a bound. `false`: somebody is awake
    /// after all and nobody else has taken the watch: go on.
    #[must_use]
    pub fn retire_watch(&self, worker: usize) -> bool {
        self.leave_watch(worker);
        if !twin("watch-retire-no-fence") {
            // ORDERING: SeqCst fence pairs with the fence of `is_unwatched` (rule W): we clear the watch, then look who
            // is awake.
            fence(Ordering::SeqCst);
        }
        if twin("watch-no-recheck") {
            return true;
        }
        !(self.somebody_is_awake() && self.try_watch(worker))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn parkers(n: usize) -> Vec<Parker> {
        (0..n).map(|_| Parker::new()).collect()
    }

    #[test]
    fn counts_follow_the_list() {
        let (idle, parkers) = (Idle::new(2), parkers(2));
        idle.fall_asleep(0, false);
        assert!(idle.somebody_is_awake() && !idle.all_sleep_after_push());
        idle.fall_asleep(1, false);
        assert!(idle.all_sleep_after_push());
        let woken = idle.take_sleeper(|w| &parkers[w]).unwrap();
        assert!(!idle.could_help(), "one is on its way");
        assert!(!idle.rise(woken), "it was woken by somebody");
        idle.stop_searching();
        assert!(idle.could_help());
        assert!(idle.rise(1 - woken), "it rises by itself");
        assert_eq!(idle.sleeping(), 0);
    }

    #[test]
    fn who_sleeps_in_the_driver_or_watches_is_woken_last() {
        let (idle, parkers) = (Idle::new(3), parkers(3));
        (0..3).for_each(|w| idle.fall_asleep(w, false));
        assert!(parkers[2].enter_driver());
        assert!(idle.try_watch(1));
        let order: Vec<_> = std::iter::from_fn(|| idle.take_sleeper(|w| &parkers[w])).collect();
        assert_eq!(order, [0, 2, 1]);
    }

    #[test]
    fn one_watch_at_a_time() {
        let idle = Idle::new(2);
        assert!(!idle.is_unwatched(), "nobody could watch");
        idle.fall_asleep(0, false);
        assert!(idle.is_unwatched());
        assert!(idle.try_watch(0) && !idle.try_watch(1));
        assert!(!idle.is_unwatched());
        assert!(!idle.retire_watch(0), "worker 1 is awake");
        idle.fall_asleep(1, false);
        assert!(idle.retire_watch(0));
    }
}
