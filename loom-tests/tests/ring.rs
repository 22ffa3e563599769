//! The ring: push, pop, give up half and steal, against each other, with positions that wrap around.
//!
//! Whatever the order: every item that was put in comes out once, on one side; and who takes it sees what it was made of.
//! A ring holds 4 items in models, so a few steps bring it round.
//!
//! twin: ring-relaxed-publish
//! twin: ring-steal-unverified
//! twin: ring-push-no-room
//! twin: ring-relaxed-stolen
//! twin: ring-half-unverified

#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::thread;
use peu_loom_tests::model;
use peu_scheduler::internals::{Owner, Thief, ring};
use std::ptr::NonNull;
use std::sync::Arc;

/// What is queued. Its content is not atomic: loom fails the model if taking it is not ordered after making it, or after
/// another taking.
struct Item(UnsafeCell<Option<usize>>);

/// The items of a model. They outlive it, so that a twin that takes one twice is found out by its content.
#[derive(Clone)]
struct Items(Arc<[Item]>);

// SAFETY: the cells are loom's, which checks every access.
unsafe impl Send for Items {}
// SAFETY: as above.
unsafe impl Sync for Items {}

impl Items {
    fn new(count: usize) -> Items {
        Items((0..count).map(|_| Item(UnsafeCell::new(None))).collect())
    }

    /// Makes the item and gives its pointer, as a task is spawned.
    fn make(&self, n: usize) -> NonNull<Item> {
        // SAFETY: checked by loom.
        self.0[n].0.with_mut(|value| unsafe { *value = Some(n) });
        NonNull::from(&self.0[n])
    }
}

/// Takes what an item was made of.
fn value(item: NonNull<Item>) -> usize {
    // SAFETY: the items outlive the model.
    let cell = unsafe { &item.as_ref().0 };
    // SAFETY: checked by loom.
    cell.with_mut(|value| unsafe { (*value).take() })
        .expect("an item was taken twice")
}

fn push(owner: &Owner<Item>, items: &Items, numbers: impl IntoIterator<Item = usize>) {
    for n in numbers {
        assert!(owner.push(items.make(n)).is_ok(), "there is room");
    }
}

fn pop_all(owner: &Owner<Item>) -> Vec<usize> {
    std::iter::from_fn(|| owner.pop()).map(value).collect()
}

/// A thread that steals once, then empties its own ring.
fn thief(victim: &Thief<Item>) -> thread::JoinHandle<Vec<usize>> {
    let victim = victim.clone();
    thread::spawn(move || {
        let (own, _) = ring();
        let stolen = victim.steal_into(&own);
        let mut taken: Vec<_> = stolen.map(value).into_iter().collect();
        taken.extend(pop_all(&own));
        assert!(taken.is_sorted(), "an order was turned round: {taken:?}");
        taken
    })
}

#[track_caller]
fn assert_each_once(taken: impl IntoIterator<Item = Vec<usize>>, count: usize) {
    let mut taken: Vec<_> = taken.into_iter().flatten().collect();
    taken.sort_unstable();
    assert_eq!(taken, Vec::from_iter(0..count));
}

/// A ring whose positions have gone `by` steps.
fn advanced(by: usize, items: &Items) -> (Owner<Item>, Thief<Item>) {
    let (owner, thief) = ring();
    for _ in 0..by {
        push(&owner, items, [0]);
        pop_all(&owner);
    }
    (owner, thief)
}

#[test]
fn an_owner_against_two_thieves() {
    model(|| {
        let items = Items::new(3);
        let (owner, victim) = advanced(3, &items);
        let thieves = [thief(&victim), thief(&victim)];
        push(&owner, &items, 0..3);
        let own = pop_all(&owner);
        let [a, b] = thieves.map(|thief| thief.join().unwrap());
        assert_each_once([own, a, b], 3);
    });
}

/// The ring is full, and what a thief makes room for is used again while the other still copies.
#[test]
fn slots_are_used_again_while_thieves_copy() {
    model(|| {
        let items = Items::new(6);
        let (owner, victim) = ring();
        push(&owner, &items, 0..4);
        let thieves = [thief(&victim), thief(&victim)];
        let mut refused = Vec::new();
        for n in 4..6 {
            if let Err(item) = owner.push(items.make(n)) {
                refused.push(value(item));
            }
        }
        let own = pop_all(&owner);
        let [a, b] = thieves.map(|thief| thief.join().unwrap());
        assert_each_once([refused, own, a, b], 6);
    });
}

/// The owner pops and pushes without a pause: positions pass a thief that copies.
#[test]
fn an_owner_that_runs_past_a_slow_thief() {
    model(|| {
        let items = Items::new(7);
        let (owner, victim) = ring();
        push(&owner, &items, 0..2);
        let thief = thief(&victim);
        let mut own = Vec::new();
        for n in 2..7 {
            push(&owner, &items, [n]);
            own.extend(owner.pop().map(value));
        }
        own.extend(pop_all(&owner));
        assert_each_once([own, thief.join().unwrap()], 7);
    });
}

#[test]
fn giving_up_half_against_a_thief() {
    model(|| {
        let items = Items::new(4);
        let (owner, victim) = advanced(1, &items);
        push(&owner, &items, 0..4);
        let thief = thief(&victim);
        let mut half = Vec::new();
        owner.pop_half(&mut half);
        let half = half.into_iter().map(value).collect();
        let own = pop_all(&owner);
        assert_each_once([half, own, thief.join().unwrap()], 4);
    });
}

/// The owner of a full ring gives up half of it to make room, as it does for the injector, and goes on, while a thief takes
/// what it can.
#[test]
fn a_full_ring_makes_room_against_a_thief() {
    model(|| {
        let items = Items::new(6);
        let (owner, victim) = advanced(3, &items);
        push(&owner, &items, 0..4);
        let thief = thief(&victim);
        let mut elsewhere = Vec::new();
        for n in 4..6 {
            if let Err(item) = owner.push(items.make(n)) {
                owner.pop_half(&mut elsewhere);
                elsewhere.push(item);
            }
        }
        let elsewhere = elsewhere.into_iter().map(value).collect();
        let own = pop_all(&owner);
        assert_each_once([elsewhere, own, thief.join().unwrap()], 6);
    });
}

/// What was stolen can be stolen again, and the second thief sees all of it.
#[test]
fn a_thief_of_a_thief() {
    model(|| {
        let items = Items::new(4);
        let (owner, victim) = ring();
        push(&owner, &items, 0..4);
        let (own, second_victim) = ring();
        let first = thread::spawn(move || {
            let stolen = victim.steal_into(&own);
            let taken: Vec<_> = stolen.map(value).into_iter().collect();
            (taken, pop_all(&own))
        });
        let second = thief(&second_victim);
        let rest = pop_all(&owner);
        let (a, b) = first.join().unwrap();
        assert_each_once([rest, a, b, second.join().unwrap()], 4);
    });
}
