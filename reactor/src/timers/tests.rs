//! The wheel against an oracle that is too simple to be wrong, and the edges of its range.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::Wake;

type Log = Arc<Mutex<Vec<usize>>>;

/// A waker that writes down its number.
struct Numbered {
    number: usize,
    log: Log,
}

impl Wake for Numbered {
    fn wake(self: Arc<Self>) {
        self.log.lock().unwrap().push(self.number);
    }
}

/// A wheel whose timers are known by number.
struct Bench {
    wheel: Wheel,
    log: Log,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            wheel: Wheel::new(),
            log: Log::default(),
        }
    }

    fn waker(&self, number: usize) -> Waker {
        Arc::new(Numbered {
            number,
            log: self.log.clone(),
        })
        .into()
    }

    fn insert(&mut self, deadline: u64, number: usize) -> TimerKey {
        self.wheel.insert(deadline, self.waker(number))
    }

    /// The numbers that fired, in order.
    fn advance(&mut self, now: u64) -> Vec<usize> {
        let mut due = Vec::new();
        let count = self.wheel.advance(now, &mut due);
        assert_eq!(count, due.len());
        due.into_iter().for_each(Waker::wake);
        std::mem::take(&mut self.log.lock().unwrap())
    }

    fn next(&self) -> Option<u64> {
        self.wheel.next_deadline()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert {
        after: i64,
    },
    Remove {
        which: usize,
    },
    Rewake {
        which: usize,
    },
    Advance {
        by: u64,
    },
    /// To the deadline that the wheel itself asks for.
    AdvanceToNext,
}

/// Spans of every magnitude, a single nanosecond as likely as a year.
fn span() -> impl Strategy<Value = u64> {
    (0..56_u32, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => span().prop_map(|span| Step::Insert { after: span as i64 }),
        1 => (0..1_i64 << 20).prop_map(|span| Step::Insert { after: -span }),
        2 => any::<usize>().prop_map(|which| Step::Remove { which }),
        1 => any::<usize>().prop_map(|which| Step::Rewake { which }),
        2 => span().prop_map(|by| Step::Advance { by }),
        2 => Just(Step::AdvanceToNext),
    ]
}

/// What the wheel should do, by a sorted map: timers in the order of their tick, then of their insertion.
struct Oracle {
    bench: Bench,
    now: u64,
    /// (tick it is filed under, serial number of the insertion) to (deadline, key, number that its waker writes).
    timers: BTreeMap<(u64, usize), (u64, TimerKey, usize)>,
    /// Keys that must be dead.
    spent: Vec<TimerKey>,
    serial: usize,
    removed: bool,
}

impl Oracle {
    fn new() -> Oracle {
        let bench = Bench::new();
        Oracle {
            bench,
            now: 0,
            timers: BTreeMap::new(),
            spent: Vec::new(),
            serial: 0,
            removed: false,
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Insert { after } => self.insert(self.now.saturating_add_signed(after)),
            Step::Remove { which } => self.remove(which),
            Step::Rewake { which } => self.rewake(which),
            Step::Advance { by } => self.advance(self.now + by),
            Step::AdvanceToNext => self.advance(self.now.max(self.bench.next().unwrap_or(0))),
        }
        self.check();
    }

    fn insert(&mut self, deadline: u64) {
        self.serial += 1;
        let key = self.bench.insert(deadline, self.serial);
        let tick = deadline.max(self.now) >> TICK_BITS;
        self.timers
            .insert((tick, self.serial), (deadline, key, self.serial));
    }

    fn nth(&self, which: usize) -> Option<(u64, usize)> {
        let which = which.checked_rem(self.timers.len())?;
        self.timers.keys().nth(which).copied()
    }

    fn remove(&mut self, which: usize) {
        let Some(place) = self.nth(which) else { return };
        let (_, key, number) = self.timers.remove(&place).unwrap();
        self.bench
            .wheel
            .remove(key)
            .expect("the timer is there")
            .wake();
        assert_eq!(
            std::mem::take(&mut *self.bench.log.lock().unwrap()),
            [number]
        );
        self.spent.push(key);
        self.removed = true;
    }

    fn rewake(&mut self, which: usize) {
        let Some(place) = self.nth(which) else { return };
        self.serial += 1;
        let waker = self.bench.waker(self.serial);
        let timer = self.timers.get_mut(&place).unwrap();
        timer.2 = self.serial;
        assert!(matches!(
            self.bench.wheel.reset_waker(timer.1, &waker),
            Reset::Replaced(_)
        ));
        assert!(matches!(
            self.bench.wheel.reset_waker(timer.1, &waker),
            Reset::Same
        ));
    }

    fn advance(&mut self, now: u64) {
        self.now = now;
        let mut expected = Vec::new();
        self.timers.retain(|_, &mut (deadline, key, number)| {
            if deadline <= now {
                self.spent.push(key);
                expected.push(number);
            }
            deadline > now
        });
        assert_eq!(self.bench.advance(now), expected);
    }

    fn check(&mut self) {
        assert_eq!(self.bench.wheel.len(), self.timers.len());
        let earliest = self.timers.values().map(|timer| timer.0).min();
        match (self.bench.next(), earliest) {
            (next, earliest) if !self.removed => assert_eq!(next, earliest),
            (Some(next), Some(earliest)) => assert!(next <= earliest, "{next} is after {earliest}"),
            (next, earliest) => assert_eq!(next, earliest),
        }
        for &key in self.spent.iter().rev().take(4) {
            assert!(self.bench.wheel.remove(key).is_none());
            assert!(matches!(
                self.bench.wheel.reset_waker(key, Waker::noop()),
                Reset::Gone
            ));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore = "a few cases take a quarter of an hour, and there is no unsafe code to watch")]
    fn does_what_a_sorted_map_does(steps in vec(step(), 1..200)) {
        let mut oracle = Oracle::new();
        steps.iter().for_each(|step| oracle.apply(step));
        oracle.advance(u64::MAX >> 1);
        prop_assert_eq!(oracle.bench.wheel.len(), 0);
    }

    /// A host that sleeps until `next_deadline` wakes for nothing at most once for each removal.
    #[test]
    #[cfg_attr(miri, ignore = "as for the sorted map")]
    fn a_removal_costs_at_most_one_empty_wake_up(deadlines in vec(span(), 1..50), removals in vec(any::<usize>(), 0..50)) {
        let mut bench = Bench::new();
        let mut keys: Vec<_> = deadlines.iter().enumerate().map(|(i, &at)| bench.insert(at, i)).collect();
        let removed = removals.len().min(keys.len());
        for which in &removals[..removed] {
            bench.wheel.remove(keys.swap_remove(which % keys.len())).unwrap();
        }
        let mut empty = 0;
        while let Some(next) = bench.next() {
            empty += usize::from(bench.advance(next).is_empty());
        }
        prop_assert!(empty <= removed, "{empty} empty wake-ups after {removed} removals");
    }
}

#[test]
fn fires_at_the_nanosecond_and_not_before() {
    let tick = 1 << TICK_BITS;
    for deadline in [
        1,
        2,
        tick - 1,
        tick,
        tick + 1,
        64 * tick - 1,
        64 * tick,
        4096 * tick + 1,
        1_000_000_007,
    ] {
        let mut bench = Bench::new();
        bench.insert(deadline, 1);
        assert_eq!(bench.next(), Some(deadline));
        assert_eq!(bench.advance(deadline - 1), []);
        assert_eq!(bench.next(), Some(deadline));
        assert_eq!(bench.advance(deadline), [1]);
        assert_eq!(bench.next(), None);
    }
}

#[test]
fn timers_of_one_tick_fire_each_at_its_own_nanosecond() {
    let mut bench = Bench::new();
    for (number, deadline) in [300, 100, 200, 100].into_iter().enumerate() {
        bench.insert(deadline, number);
    }
    assert_eq!(bench.advance(99), []);
    assert_eq!(bench.advance(100), [1, 3]);
    assert_eq!(bench.next(), Some(200));
    assert_eq!(bench.advance(1000), [0, 2]);
}

#[test]
fn a_deadline_that_has_passed_fires_at_the_next_advance() {
    let mut bench = Bench::new();
    bench.advance(5_000_000_000);
    bench.insert(17, 1);
    bench.insert(5_000_000_000, 2);
    assert_eq!(bench.next(), Some(17));
    assert_eq!(bench.advance(5_000_000_000), [1, 2]);
}

#[test]
fn a_clock_that_goes_backwards_is_no_error() {
    let mut bench = Bench::new();
    bench.insert(2_000_000, 1);
    assert_eq!(bench.advance(1_999_999), []);
    bench.insert(1_000_000, 2);
    assert_eq!(bench.advance(1_500_000), [2]);
    assert_eq!(bench.advance(0), []);
    assert_eq!(bench.advance(2_000_000), [1]);
}

#[test]
fn a_deadline_of_centuries_waits() {
    let mut bench = Bench::new();
    const CENTURY: u64 = 100 * 365 * 24 * 3600 * 1_000_000_000;
    for (number, centuries) in [5, 3, 1].into_iter().enumerate() {
        bench.insert(CENTURY * centuries, number);
    }
    assert_eq!(bench.next(), Some(CENTURY));
    assert_eq!(bench.advance(CENTURY), [2]);
    assert_eq!(bench.advance(4 * CENTURY), [1]);
    assert_eq!(bench.wheel.len(), 1);
}

#[test]
fn the_end_of_the_range_is_no_trap() {
    let mut bench = Bench::new();
    bench.insert(u64::MAX - 1, 1);
    bench.insert(u64::MAX, 2);
    assert_eq!(bench.advance(u64::MAX - 2), []);
    assert_eq!(bench.next(), Some(u64::MAX - 1));
    assert_eq!(bench.advance(u64::MAX - 1), [1]);
}

#[test]
fn a_key_is_void_after_its_timer_fired_or_was_removed() {
    let mut bench = Bench::new();
    let fired = bench.insert(1, 1);
    assert_eq!(bench.advance(1), [1]);
    let removed = bench.insert(2, 2);
    assert!(bench.wheel.remove(removed).is_some());
    let present = bench.insert(3, 3);
    assert_eq!(present.index, fired.index, "the entry is used again");
    for key in [fired, removed] {
        assert!(bench.wheel.remove(key).is_none());
        assert!(matches!(
            bench.wheel.reset_waker(key, Waker::noop()),
            Reset::Gone
        ));
    }
    assert_eq!(bench.advance(3), [3]);
}

#[test]
fn an_entry_whose_generations_are_used_up_is_retired() {
    let mut bench = Bench::new();
    let first = bench.insert(1, 1);
    bench.wheel.entries[0].generation = RETIRED - 1;
    assert!(bench.wheel.remove(first).is_none());
    assert_eq!(bench.advance(1), [1]);
    let second = bench.insert(2, 2);
    assert_eq!((second.index, second.generation), (1, 0));
    assert_eq!(bench.advance(2), [2]);
}

/// One that has more levels would look through bitmaps that are always empty; one that has fewer, past the end.
#[test]
fn the_tick_and_the_digits_fill_a_deadline() {
    assert_eq!(TICK_BITS + LEVELS as u32 * DIGIT_BITS, u64::BITS);
}

#[test]
fn wakers_that_were_due_before_are_kept_and_not_counted() {
    let mut bench = Bench::new();
    let earlier = bench.waker(7);
    bench.insert(1, 1);
    let mut due = vec![earlier];
    assert_eq!(bench.wheel.advance(1, &mut due), 1);
    due.into_iter().for_each(Waker::wake);
    assert_eq!(*bench.log.lock().unwrap(), [7, 1]);
}

#[test]
fn clear_hands_out_every_waker_and_voids_every_key() {
    let mut bench = Bench::new();
    let keys: Vec<_> = (0..100)
        .map(|number| bench.insert(7 << (number % 50), number))
        .collect();
    bench.advance(7 << 10);
    let left = bench.wheel.len();
    let mut into = Vec::new();
    bench.wheel.clear(&mut into);
    assert_eq!(
        (into.len(), bench.wheel.len(), bench.next()),
        (left, 0, None)
    );
    assert!(keys.iter().all(|&key| bench.wheel.remove(key).is_none()));
    bench.insert(1 << 60, 1);
    assert_eq!(bench.advance(1 << 60), [1]);
}

#[test]
fn the_steady_state_allocates_no_entry() {
    const ROUNDS: u64 = if cfg!(miri) { 50 } else { 1000 };
    let mut bench = Bench::new();
    for round in 0..ROUNDS {
        let key = bench.insert(round * 1_000_000, 0);
        bench.insert(round * 1_000_000 + 500, 1);
        bench.wheel.remove(key);
        bench.advance((round + 1) * 1_000_000);
    }
    assert_eq!(bench.wheel.entries.len(), 2);
}

#[test]
fn an_entry_stays_small() {
    assert!(size_of::<Entry>() <= 40);
}
