//! Look-ups of one key: who loads, who is told, and what a removal forgets.
//!
//! Whatever the order: those who ask at the same time make one load; when the one that was woken to drive it leaves, another
//! drives on; nobody waits for ever; who fails asks again, and is not told of a failure from before; what was removed does
//! not come back, even out of a load that was under way; and nothing of a load is left in memory.
//!
//! twin: flight-driver-unlooked
//! twin: flight-landing-unrung
//! twin: flight-leave-unlooked
//! twin: lookup-join-unlooked
//! twin: lookup-removal-unlisted

#![cfg(loom)]

use loom::thread::{self, JoinHandle};
use peu_loom_tests::model;
use peu_loom_tests::stages::Signal;
use peu_operators::{Cache, CacheOptions, Found, Spawn, Timer};
use peu_scheduler::block_on;
use std::future::{Future, Pending, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Instant;

/// What the cache is given here: nothing is loaded ahead, and nothing expires.
#[derive(Clone)]
struct Still;

impl Spawn for Still {
    fn spawn<F>(&self, _: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        unreachable!("nothing is loaded ahead");
    }
}

impl Timer for Still {
    type Sleep = Pending<()>;

    fn now(&self) -> Instant {
        static NOW: OnceLock<Instant> = OnceLock::new();
        *NOW.get_or_init(Instant::now)
    }

    fn sleep_until(&self, _: Instant) -> Pending<()> {
        pending()
    }
}

type Shelf = Cache<u8, usize, usize>;

const KEY: u8 = 7;

/// How many loads have begun. Not loom's, so that it adds no interleavings.
#[derive(Clone, Default)]
struct Loads(Arc<AtomicUsize>);

impl Loads {
    /// Their number so far, this one included.
    fn begin(&self) -> usize {
        // ORDERING: Relaxed, a count; the models run on one thread of the system.
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The cache and its loads are gone; how many there were.
    fn end(self) -> usize {
        let number = Arc::into_inner(self.0).expect("a load is left");
        number.into_inner()
    }
}

/// A cache whose loads take until the signal is set.
fn shelf(answer: &Signal, loads: &Loads) -> Shelf {
    let (answer, loads) = (answer.clone(), loads.clone());
    Cache::new(&Still, CacheOptions::entries(1), move |_| {
        let (wait, loads) = (answer.wait(), loads.clone());
        async move {
            loads.begin();
            wait.await;
            Ok(Some(1))
        }
    })
}

fn asks(shelf: &Shelf) -> JoinHandle<Found<usize, usize>> {
    let shelf = shelf.clone();
    thread::spawn(move || block_on(shelf.get(KEY)))
}

#[test]
fn two_that_ask_at_the_same_time() {
    model(|| {
        let (answer, loads) = (Signal::default(), Loads::default());
        let shelf = shelf(&answer, &loads);
        let threads = [(); 2].map(|()| asks(&shelf));
        answer.set();
        for found in threads {
            assert_eq!(found.join().unwrap(), Ok(Some(1)));
        }
        drop(shelf);
        assert_eq!(loads.end(), 1, "one load for both");
    });
}

/// It may be woken to drive, and be gone.
#[test]
fn one_that_leaves_beside_one_that_waits() {
    model(|| {
        let (answer, loads) = (Signal::default(), Loads::default());
        let shelf = shelf(&answer, &loads);
        let waits = asks(&shelf);
        let rings = thread::spawn(move || answer.set());
        let mut lookup = shelf.get(KEY);
        block_on(poll_fn(|cx| {
            let _ = Pin::new(&mut lookup).poll(cx);
            Poll::Ready(())
        }));
        drop(lookup);
        assert_eq!(waits.join().unwrap(), Ok(Some(1)));
        rings.join().unwrap();
        drop(shelf);
        assert!((1..=2).contains(&loads.end()));
    });
}

/// The first load fails. Whoever is told asks again, and whoever asks again gets what the second finds.
#[test]
fn a_failure_is_not_for_those_who_ask_after_it() {
    model(|| {
        let (answer, loads) = (Signal::default(), Loads::default());
        let shelf: Shelf = {
            let (answer, loads) = (answer.clone(), loads.clone());
            Cache::new(&Still, CacheOptions::entries(1), move |_| {
                let (wait, loads) = (answer.wait(), loads.clone());
                async move {
                    let number = loads.begin();
                    wait.await;
                    match number {
                        1 => Err(1),
                        later => Ok(Some(later)),
                    }
                }
            })
        };
        let asks_twice = |shelf: Shelf| {
            let found = block_on(shelf.get(KEY));
            match found {
                Err(_) => block_on(shelf.get(KEY)),
                found => found,
            }
        };
        let other = shelf.clone();
        let other = thread::spawn(move || asks_twice(other));
        let rings = thread::spawn(move || answer.set());
        assert_eq!(asks_twice(shelf), Ok(Some(2)));
        assert_eq!(other.join().unwrap(), Ok(Some(2)));
        rings.join().unwrap();
        assert_eq!(loads.end(), 2);
    });
}

/// The origin changes, and then the key is removed: who asks after that never sees what was there before.
#[test]
fn a_removal_against_a_load() {
    model(|| {
        let (changed, answer) = (Signal::default(), Signal::default());
        let loads = Loads::default();
        let shelf: Shelf = {
            let (changed, answer) = (changed.clone(), answer.clone());
            let loads = loads.clone();
            Cache::new(&Still, CacheOptions::entries(1), move |_| {
                let (value, wait) = (1 + usize::from(changed.is_set()), answer.wait());
                let loads = loads.clone();
                async move {
                    loads.begin();
                    wait.await;
                    Ok(Some(value))
                }
            })
        };
        let before = asks(&shelf);
        let removes = {
            let shelf = shelf.clone();
            thread::spawn(move || {
                changed.set();
                shelf.remove(&KEY);
                answer.set();
                block_on(shelf.get(KEY))
            })
        };
        assert_eq!(removes.join().unwrap(), Ok(Some(2)));
        let found = before.join().unwrap();
        assert!(matches!(found, Ok(Some(1 | 2))), "{found:?}");
        assert_eq!(block_on(shelf.get(KEY)), Ok(Some(2)));
        drop(shelf);
        assert!((1..=2).contains(&loads.end()));
    });
}
