//! Calls on their way to the kernel, against a turn that goes to sleep.
//!
//! Whatever the order: no call waits in the line while the turn sleeps and nobody is left to submit it.
//!
//! twin: ring-looked-too-early
//! twin: ring-line-before-sleep

#![cfg(loom)]

use loom::thread;
use peu_loom_tests::model;
use peu_reactor::internals::{ModelLine, ModelParking};
use std::sync::Arc;

/// What a turn does before it sleeps, and what it finds when it does not.
fn turn(line: &ModelLine, parking: &ModelParking) -> bool {
    line.before_sleep(parking)
}

#[test]
fn a_call_against_a_turn_that_goes_to_sleep() {
    model(|| {
        let (line, parking) = (Arc::new(ModelLine::new()), Arc::new(ModelParking::new()));
        let turner = thread::spawn({
            let (line, parking) = (line.clone(), parking.clone());
            move || turn(&line, &parking)
        });
        line.push(&parking);
        let sleeps = turner.join().unwrap();
        assert!(
            !sleeps || line.submitted() == 1,
            "it sleeps, and a call waits"
        );
    });
}

/// Two tasks on two threads, and a turn that sleeps, is woken by nobody, and has to find both.
#[test]
fn two_calls_and_a_turn() {
    model(|| {
        let (line, parking) = (Arc::new(ModelLine::new()), Arc::new(ModelParking::new()));
        let other = thread::spawn({
            let (line, parking) = (line.clone(), parking.clone());
            move || line.push(&parking)
        });
        let turner = thread::spawn({
            let (line, parking) = (line.clone(), parking.clone());
            move || turn(&line, &parking)
        });
        line.push(&parking);
        other.join().unwrap();
        let sleeps = turner.join().unwrap();
        assert!(
            !sleeps || line.submitted() == 2,
            "it sleeps, and a call waits"
        );
    });
}

/// A full ring: what waits moves up when something has landed.
#[test]
fn a_full_ring_and_a_turn_that_collects() {
    model(|| {
        let (line, parking) = (
            Arc::new(ModelLine::with_room(1)),
            Arc::new(ModelParking::new()),
        );
        line.push(&parking);
        line.submit();
        let turner = thread::spawn({
            let (line, parking) = (line.clone(), parking.clone());
            move || {
                line.landed();
                turn(&line, &parking)
            }
        });
        line.push(&parking);
        assert!(turner.join().unwrap());
        assert_eq!(line.submitted(), 2);
    });
}
