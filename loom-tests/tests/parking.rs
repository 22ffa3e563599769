//! How a sleeping turn of the reactor is woken: its word, and a descriptor that is written to only when it has to be.
//!
//! Whatever the order: who announces something and then unparks is noticed by a turn, which looks afterwards and sees it. And what
//! concerns all who take turns, as that the reactor is closed, is seen by each of them, though only one hears the bell.
//!
//! twin: parking-notice-by-load
//! twin: parking-relaxed-unpark
//! twin: parking-asleep-unlooked
//! twin: parking-last-unlooked

#![cfg(loom)]

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use peu_loom_tests::model;
use peu_reactor::internals::ModelParking;
use std::sync::Arc;

/// The reactor's word and the descriptor behind it, which stays readable until it is reported.
struct Turns {
    parking: ModelParking,
    readable: Mutex<bool>,
    changed: Condvar,
    announced: AtomicUsize,
    claimed: AtomicBool,
}

impl Turns {
    fn new() -> Arc<Turns> {
        Arc::new(Turns {
            parking: ModelParking::new(),
            readable: Mutex::new(false),
            changed: Condvar::new(),
            announced: AtomicUsize::new(0),
            claimed: AtomicBool::new(false),
        })
    }

    /// Relaxed: only the unpark makes it visible.
    fn announce_and_unpark(&self) {
        self.announced.fetch_add(1, Ordering::Relaxed);
        if self.parking.unpark() {
            *self.readable.lock().unwrap() = true;
            self.changed.notify_one();
        }
    }

    /// One turn, in the order of `turn.rs`. Gives what it has found announced.
    fn turn(&self) -> usize {
        self.turn_if(|| true)
    }

    fn turn_if(&self, may_sleep: impl FnOnce() -> bool) -> usize {
        if self.parking.fall_asleep_if(may_sleep) {
            let mut readable = self.readable.lock().unwrap();
            while !*readable {
                readable = self.changed.wait(readable).unwrap();
            }
            *readable = false;
        } else {
            *self.readable.lock().unwrap() = false;
        }
        self.parking.wake_up();
        self.announced.load(Ordering::Relaxed)
    }

    fn turn_until(&self, announced: usize) {
        while self.turn() < announced {}
    }

    /// Beside others who take turns: until it sees what was announced to all of them.
    fn turn_among_others(&self) {
        let is_over = || self.announced.load(Ordering::Relaxed) > 0;
        while !is_over() {
            let claim =
                self.claimed
                    .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
            if claim.is_ok() {
                self.turn_if(|| !is_over());
                self.claimed.store(false, Ordering::Release);
            } else {
                thread::yield_now();
            }
        }
    }
}

#[test]
fn one_announces() {
    model(|| {
        let turns = Turns::new();
        let turner = thread::spawn({
            let turns = turns.clone();
            move || turns.turn_until(1)
        });
        turns.announce_and_unpark();
        turner.join().unwrap();
    });
}

#[test]
fn two_announce() {
    model(|| {
        let turns = Turns::new();
        let others = [0, 1].map(|_| {
            let turns = turns.clone();
            thread::spawn(move || turns.announce_and_unpark())
        });
        turns.turn_until(2);
        for other in others {
            other.join().unwrap();
        }
    });
}

/// A second announcement comes while the turn takes notice of the first.
#[test]
fn one_announces_twice() {
    model(|| {
        let turns = Turns::new();
        let other = thread::spawn({
            let turns = turns.clone();
            move || {
                turns.announce_and_unpark();
                turns.announce_and_unpark();
            }
        });
        turns.turn_until(2);
        other.join().unwrap();
    });
}

/// What is announced ends two who take turns, and only one of them hears the bell.
#[test]
fn one_announces_to_two() {
    model(|| {
        let turns = Turns::new();
        let turners = [0, 1].map(|_| {
            let turns = turns.clone();
            thread::spawn(move || turns.turn_among_others())
        });
        turns.announce_and_unpark();
        for turner in turners {
            turner.join().unwrap();
        }
    });
}
