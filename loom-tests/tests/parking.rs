//! How a sleeping turn of the reactor is woken: its word, and a descriptor that is written to only when it has to be.
//!
//! Whatever the order: who announces something and then unparks is noticed by a turn, which looks afterwards and sees it.
//!
//! twin: parking-notice-by-load
//! twin: parking-relaxed-unpark
//! twin: parking-asleep-unlooked

#![cfg(loom)]

use loom::sync::atomic::{AtomicUsize, Ordering};
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
}

impl Turns {
    fn new() -> Arc<Turns> {
        Arc::new(Turns {
            parking: ModelParking::new(),
            readable: Mutex::new(false),
            changed: Condvar::new(),
            announced: AtomicUsize::new(0),
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
        if self.parking.fall_asleep() {
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
