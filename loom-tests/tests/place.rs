//! The place where an answer is left: by a turn, a thread of the pool, or whoever closes the reactor, for one who waits.
//!
//! Whatever the order: who waits is woken or sees the answer at once; and of two answers one counts.
//!
//! twin: place-answer-unrung
//! twin: place-waiter-late

#![cfg(loom)]

use loom::thread;
use peu_loom_tests::model;
use peu_reactor::internals::ModelPlace;
use peu_scheduler::block_on;

fn answered_by(place: &ModelPlace, answer: usize) -> thread::JoinHandle<()> {
    let place = place.clone();
    thread::spawn(move || place.leave(answer))
}

#[test]
fn an_answer() {
    model(|| {
        let place = ModelPlace::new();
        let other = answered_by(&place, 1);
        assert_eq!(block_on(place.take()), 1);
        other.join().unwrap();
    });
}

/// As a call that is performed while its reactor is closed.
#[test]
fn two_answers() {
    model(|| {
        let place = ModelPlace::new();
        let others = [1, 2].map(|answer| answered_by(&place, answer));
        let taken = block_on(place.take());
        assert!(matches!(taken, 1 | 2));
        for other in others {
            other.join().unwrap();
        }
    });
}
