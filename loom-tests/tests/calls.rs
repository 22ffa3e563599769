//! Calls on their way to the kernel, against a turn that goes to sleep.
//!
//! Whatever the order: no call waits in the line while the turn sleeps and nobody is left to submit it; a call in the line
//! has one owner; and who closes the ring finds nothing in the slab when nothing is in flight.
//!
//! twin: ring-looked-too-early
//! twin: ring-line-before-sleep
//! twin: ring-landed-early
//! twin: ring-rest-unlooked
//! twin: ring-returned-at-once

#![cfg(loom)]

use loom::sync::atomic::{AtomicBool, Ordering::SeqCst};
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
                line.land(|| {});
                turn(&line, &parking)
            }
        });
        line.push(&parking);
        assert!(turner.join().unwrap());
        assert_eq!(line.submitted(), 2);
    });
}

/// One turn submits, one cancels, and one closes: the kernel hears of it, or exactly one of the others has it.
#[test]
fn a_call_in_the_line_has_one_owner() {
    model(|| {
        let (line, parking) = (Arc::new(ModelLine::new()), Arc::new(ModelParking::new()));
        line.push(&parking);
        let turner = thread::spawn({
            let line = line.clone();
            move || line.submit()
        });
        let canceller = thread::spawn({
            let line = line.clone();
            move || line.take()
        });
        let (unsent, _) = line.close();
        turner.join().unwrap();
        let taken = usize::from(canceller.join().unwrap());
        assert_eq!(unsent + taken + line.submitted(), 1);
    });
}

/// A turn has a report in its hands while the ring is closed.
#[test]
fn a_report_that_has_not_landed_is_waited_for() {
    model(|| {
        let (line, parking) = (Arc::new(ModelLine::new()), Arc::new(ModelParking::new()));
        let in_slab = Arc::new(AtomicBool::new(true));
        line.push(&parking);
        line.submit();
        let turner = thread::spawn({
            let (line, in_slab) = (line.clone(), in_slab.clone());
            move || line.land(|| in_slab.store(false, SeqCst))
        });
        let (_, in_flight) = line.close();
        assert!(
            in_flight > 0 || !in_slab.load(SeqCst),
            "nothing is in flight, and a call is in the slab"
        );
        turner.join().unwrap();
    });
}

/// A call of which the kernel has done a part is cancelled while the rest is handed in: it is not, or it is taken out.
#[test]
fn a_cancelled_call_against_its_rest() {
    model(|| {
        let (line, parking) = (Arc::new(ModelLine::new()), Arc::new(ModelParking::new()));
        let cancelled = Arc::new(AtomicBool::new(false));
        let turner = thread::spawn({
            let (line, parking, cancelled) = (line.clone(), parking.clone(), cancelled.clone());
            move || line.push_rest(&parking, || cancelled.load(SeqCst))
        });
        cancelled.store(true, SeqCst);
        let taken = line.take();
        let pushed = turner.join().unwrap();
        assert!(!pushed || taken, "it goes on although it was cancelled");
    });
}

/// The kernel takes a call from one thread while it refuses another: the call is the kernel's, or is returned, never both.
#[test]
fn a_kernel_that_refuses_one_of_two() {
    model(|| {
        let (line, parking) = (Arc::new(ModelLine::new()), Arc::new(ModelParking::new()));
        line.push(&parking);
        let heard = thread::spawn({
            let line = line.clone();
            move || line.submit()
        });
        line.submit_refused();
        let early = line.returned();
        heard.join().unwrap();
        assert_eq!(early + line.returned() + line.submitted(), 1);
    });
}
