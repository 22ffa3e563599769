//! The queue between the router of a pipeline and one of its lanes: sending, receiving, and the end of either side.
//!
//! Whatever the order: each record is received once, in its order, and then the end; whoever waits for an element, for a
//! place or for the end is woken; a lane that leaves is found out by the router, and a router that is dropped tells its lane; and
//! what the lane has taken and what is in the queue are together never more than there are places.
//!
//! twin: lane-element-unrung
//! twin: lane-taker-late
//! twin: lane-place-unrung
//! twin: lane-router-late
//! twin: lane-end-unrung
//! twin: lane-leave-unrung
//! twin: lane-borrowed-returned

#![cfg(loom)]

use loom::thread;
use peu_loom_tests::model;
use peu_operators::internals::{ModelEntry, ModelExit};
use peu_operators::{Cause, StageError};
use peu_scheduler::block_on;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Waits for a place. `false`: the lane has left.
fn place(entry: &mut ModelEntry) -> bool {
    block_on(poll_fn(|cx| entry.poll_place(cx)))
}

/// Waits for what comes next.
fn next(exit: &ModelExit) -> Option<Result<Option<usize>, StageError>> {
    block_on(poll_fn(|cx| exit.poll_take(cx)))
}

/// The same, by a lane that has no room.
fn next_without_room(exit: &ModelExit) -> Option<usize> {
    let step = block_on(poll_fn(|cx| exit.poll_barrier(cx)));
    step.expect("it has not ended").expect("no failure")
}

fn all(exit: &ModelExit) -> Vec<Option<usize>> {
    std::iter::from_fn(|| next(exit))
        .map(|element| element.expect("no failure"))
        .collect()
}

fn received(records: usize, places: usize) {
    model(move || {
        let (mut entry, exit) = ModelEntry::queue(places);
        let router = thread::spawn(move || {
            for number in 0..records {
                assert!(place(&mut entry));
                entry.put(number);
            }
            entry.end();
        });
        assert_eq!(all(&exit), Vec::from_iter((0..records).map(Some)));
        router.join().unwrap();
    });
}

/// Before each record but the first, the router waits for the place of the one before.
#[test]
fn one_place_for_three() {
    received(3, 1);
}

#[test]
fn two_places_for_three() {
    received(3, 2);
}

/// The lane has everything but the end, and waits.
#[test]
fn the_end_alone() {
    received(0, 1);
}

/// A mark takes no place, waits for none, and wakes the lane.
#[test]
fn a_mark_behind_a_record_that_has_the_only_place() {
    model(|| {
        let (mut entry, exit) = ModelEntry::queue(1);
        let router = thread::spawn(move || {
            entry.put(0);
            entry.put_mark();
            entry.end();
        });
        assert_eq!(all(&exit), [Some(0), None]);
        router.join().unwrap();
    });
}

#[test]
fn a_lane_that_leaves_against_a_router_that_waits_for_a_place() {
    model(|| {
        let (mut entry, exit) = ModelEntry::queue(1);
        let router = thread::spawn(move || {
            entry.put(0);
            assert!(!place(&mut entry), "nobody gave the place back");
        });
        drop(exit);
        router.join().unwrap();
    });
}

/// Both at once: what the lane takes gives a place back, and then it leaves.
#[test]
fn a_lane_that_takes_and_leaves() {
    model(|| {
        let (mut entry, exit) = ModelEntry::queue(1);
        let router = thread::spawn(move || {
            entry.put(0);
            // Either it leaves first, or there is a place, and the record is dropped with the queue.
            if place(&mut entry) {
                entry.put(1);
            }
        });
        let taken = next(&exit).expect("it has not ended").expect("no failure");
        assert_eq!(taken, Some(0));
        drop(exit);
        router.join().unwrap();
    });
}

#[test]
fn a_router_that_is_dropped() {
    model(|| {
        let (mut entry, exit) = ModelEntry::queue(2);
        let router = thread::spawn(move || entry.put(0));
        assert_eq!(next(&exit).unwrap().unwrap(), Some(0));
        let error = next(&exit).unwrap().unwrap_err();
        assert!(matches!(error.cause(), Cause::Cancelled), "{error}");
        assert!(next(&exit).is_none(), "told twice");
        router.join().unwrap();
    });
}

/// A lane without room is given what stands in front of the barrier. The place stays taken until the lane asks for
/// the next element; only then the router may put another record in.
#[test]
fn a_place_that_stays_taken() {
    model(|| {
        let (mut entry, exit) = ModelEntry::queue(1);
        // Records that have a place.
        let places = Arc::new(AtomicUsize::new(0));
        let router = thread::spawn({
            let places = places.clone();
            move || {
                for number in 0..2 {
                    assert!(place(&mut entry));
                    let others = places.fetch_add(1, Relaxed);
                    assert_eq!(others, 0, "two records, and one place");
                    entry.put(number);
                }
                entry.end();
            }
        });
        assert_eq!(next_without_room(&exit), Some(0));
        thread::yield_now();
        places.fetch_sub(1, Relaxed);
        assert_eq!(all(&exit), [Some(1)]);
        router.join().unwrap();
    });
}
