//! The shelf between operators that give late records and the sink that takes them.
//!
//! Whatever the order: each record is taken once, in its order; who waits for a record, or for room, is woken; what the sink has
//! taken and not written leaves no room, so there are never more records than places and operators together; nothing behind a barrier is taken
//! before the barrier has come; and a sink that leaves lets its operators go on.
//!
//! twin: shelf-record-unrung
//! twin: shelf-reader-late
//! twin: shelf-room-unrung
//! twin: shelf-writer-late
//! twin: shelf-leave-unrung
//! twin: shelf-taken-is-room
//! twin: shelf-behind-mark

#![cfg(loom)]

use loom::thread;
use peu_loom_tests::model;
use peu_operators::internals::{ModelPlace, ModelShelf};
use peu_scheduler::block_on;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

/// Waits for room, and gives.
fn give(place: &mut ModelPlace, number: usize) {
    block_on(poll_fn(|cx| place.poll_room(cx)));
    place.give(number);
}

/// Waits for records.
fn take(shelf: &ModelShelf) -> VecDeque<usize> {
    block_on(poll_fn(|cx| {
        let taken = shelf.take(cx);
        match taken.is_empty() {
            true => Poll::Pending,
            false => Poll::Ready(taken),
        }
    }))
}

/// What is there.
fn look(shelf: &ModelShelf) -> VecDeque<usize> {
    shelf.take(&Context::from_waker(Waker::noop()))
}

fn written(records: usize, places: usize) {
    model(move || {
        let shelf = ModelShelf::new(places);
        let mut place = shelf.place();
        let operator = thread::spawn(move || {
            (0..records).for_each(|number| give(&mut place, number));
        });
        let mut all = Vec::new();
        while all.len() < records {
            all.extend(take(&shelf));
            shelf.hold(0);
        }
        assert_eq!(all, Vec::from_iter(0..records));
        operator.join().unwrap();
    });
}

/// Before each record but the first, the operator waits until the one before is written.
#[test]
fn one_place_for_three() {
    written(3, 1);
}

#[test]
fn two_places_for_three() {
    written(3, 2);
}

/// Barriers, and no room in the sink: what it takes for their sake it holds, and that leaves no room.
fn held(operators: usize, records: usize) {
    model(move || {
        let shelf = ModelShelf::new(1);
        let unwritten = Arc::new(AtomicUsize::new(0));
        let operator = |mut place: ModelPlace| {
            let unwritten = unwritten.clone();
            thread::spawn(move || {
                for number in 0..records {
                    block_on(poll_fn(|cx| place.poll_room(cx)));
                    let others = unwritten.fetch_add(1, Relaxed);
                    assert!(others < operators, "{others}, and one more, for one place");
                    place.give(number);
                }
            })
        };
        let threads = Vec::from_iter((0..operators).map(|_| operator(shelf.place())));
        let mut count = 0;
        while count < operators * records {
            let mut held = take(&shelf);
            thread::yield_now();
            held.extend(shelf.take_to_barrier());
            count += held.len();
            unwritten.fetch_sub(held.len(), Relaxed);
            shelf.hold(0);
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn what_is_held_leaves_no_room() {
    held(1, 2);
}

#[test]
fn what_is_held_leaves_no_room_for_two_operators() {
    held(2, 1);
}

#[test]
fn behind_a_barrier_nothing_is_taken_until_it_has_come() {
    model(|| {
        let shelf = ModelShelf::new(3);
        let mut place = shelf.place();
        let operator = thread::spawn(move || {
            place.give(0);
            place.pass_barrier();
            place.give(1);
        });
        let mut before = look(&shelf);
        thread::yield_now();
        before.extend(look(&shelf));
        operator.join().unwrap();
        before.extend(shelf.take_to_barrier());
        assert_eq!(before, [0]);
        assert_eq!(take(&shelf), [1]);
    });
}

#[test]
fn a_sink_that_leaves_against_an_operator_that_waits_for_room() {
    model(|| {
        let shelf = ModelShelf::new(1);
        let mut place = shelf.place();
        let operator = thread::spawn(move || {
            give(&mut place, 0);
            give(&mut place, 1);
        });
        shelf.leave();
        operator.join().unwrap();
    });
}
