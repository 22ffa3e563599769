//! Waking a worker that is awake, about to sleep, asleep on its own, asleep in the driver, or woken by something else.
//!
//! Whatever the order: a wake ends the sleep that it was meant for, or keeps the next one from beginning; and who was
//! woken sees what its waker wrote before. That holds when the bell of the driver is swallowed by another's turn, too.
//!
//! twin: park-relaxed-unpark
//! twin: park-no-last-look
//! twin: park-leave-by-store

#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use peu_loom_tests::driver::ModelDriver;
use peu_loom_tests::model;
use peu_scheduler::internals::{Lookout, Parker};
use peu_scheduler::{Driver, Polled};
use std::sync::Arc;
use std::time::Duration;

/// A worker's parker and something that its waker writes before it wakes. loom fails the model if the worker's look is not
/// ordered after that.
struct Sleeper {
    driver: ModelDriver,
    lookout: Lookout,
    parker: Parker,
    message: UnsafeCell<usize>,
}

// SAFETY: loom checks every access to the cell.
unsafe impl Send for Sleeper {}
// SAFETY: as above.
unsafe impl Sync for Sleeper {}

impl Sleeper {
    fn new(driver: &ModelDriver) -> Arc<Sleeper> {
        Arc::new(Sleeper {
            driver: driver.clone(),
            lookout: Lookout::new(None),
            parker: Parker::new(),
            message: UnsafeCell::new(0),
        })
    }

    fn wake_with(&self, message: usize) {
        // SAFETY: checked by loom.
        self.message.with_mut(|place| unsafe { *place = message });
        self.parker.unpark(&self.driver, &self.lookout);
    }

    fn message(&self) -> usize {
        // SAFETY: checked by loom.
        self.message.with(|place| unsafe { *place })
    }

    /// Sleeps in the driver as a worker does: if another has the turn, on its own. Says whether it was notified.
    fn sleep_in_driver(&self) -> bool {
        if !self.parker.enter_driver() {
            return true;
        }
        let polled = self
            .driver
            .turns()
            .poll(None, &|| !self.parker.is_notified());
        let notified = self.parker.leave();
        notified || (polled == Polled::Claimed && self.parker.park(None))
    }

    /// A worker that sleeps again and again until it is notified, as if every sleep that ends by itself brought nothing.
    fn work_until_notified(self: &Arc<Self>) -> thread::JoinHandle<()> {
        let sleeper = self.clone();
        thread::spawn(move || {
            sleeper.parker.bind();
            while !sleeper.sleep_in_driver() {}
            assert_ne!(sleeper.message(), 0);
        })
    }
}

#[test]
fn a_wake_against_a_worker_that_parks() {
    model(|| {
        let sleeper = Sleeper::new(&ModelDriver::new());
        let worker = thread::spawn({
            let sleeper = sleeper.clone();
            move || {
                sleeper.parker.bind();
                assert!(sleeper.parker.park(None));
                assert_eq!(sleeper.message(), 1);
            }
        });
        sleeper.wake_with(1);
        worker.join().unwrap();
    });
}

/// The wake may come before the time is over, or later, and then it keeps the next sleep from beginning.
#[test]
fn a_wake_against_a_bounded_sleep() {
    model(|| {
        let sleeper = Sleeper::new(&ModelDriver::new());
        let worker = thread::spawn({
            let sleeper = sleeper.clone();
            move || {
                sleeper.parker.bind();
                let in_time = sleeper.parker.park(Some(Duration::from_micros(500)));
                assert!(in_time || sleeper.parker.park(None));
                assert_eq!(sleeper.message(), 1);
            }
        });
        sleeper.wake_with(1);
        worker.join().unwrap();
    });
}

#[test]
fn a_wake_against_a_worker_on_its_way_into_the_driver() {
    model(|| {
        let sleeper = Sleeper::new(&ModelDriver::new());
        let worker = sleeper.work_until_notified();
        sleeper.wake_with(1);
        worker.join().unwrap();
    });
}

/// The driver's sleep also ends for an unpark that was meant for nobody, at any moment.
#[test]
fn a_wake_against_a_worker_that_wakes_for_another_reason() {
    model(|| {
        let driver = ModelDriver::new();
        let sleeper = Sleeper::new(&driver);
        let worker = sleeper.work_until_notified();
        let stranger = thread::spawn(move || driver.unpark());
        sleeper.wake_with(1);
        stranger.join().unwrap();
        worker.join().unwrap();
    });
}

/// One worker looks at the driver between two tasks, another is on its way into it, a third thread wakes that one: the
/// first may swallow the bell, the second must not sleep through it.
#[test]
fn a_bell_that_another_swallows() {
    model(|| {
        let driver = ModelDriver::new();
        let sleeper = Sleeper::new(&driver);
        let worker = sleeper.work_until_notified();
        let glance = thread::spawn(move || {
            let _ = driver.turns().poll(Some(Duration::ZERO), &|| false);
        });
        sleeper.wake_with(1);
        glance.join().unwrap();
        worker.join().unwrap();
    });
}

/// Two sleep, one of them in the driver, and both are woken.
#[test]
fn two_workers_are_woken_wherever_they_sleep() {
    model(|| {
        let driver = ModelDriver::new();
        let sleepers = [Sleeper::new(&driver), Sleeper::new(&driver)];
        let workers = sleepers.each_ref().map(Sleeper::work_until_notified);
        for sleeper in &sleepers {
            sleeper.wake_with(1);
        }
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

/// Two others each leave something to do, then wake; one wake may end no sleep, but what came with it is found.
#[test]
fn what_came_with_each_of_two_wakes_is_found() {
    model(|| {
        let sleeper = Sleeper::new(&ModelDriver::new());
        let left = Arc::new(AtomicUsize::new(0));
        let others = [0, 1].map(|_| {
            let (sleeper, left) = (sleeper.clone(), left.clone());
            thread::spawn(move || {
                // Relaxed: only the wake that comes after it makes it visible.
                left.fetch_add(1, Ordering::Relaxed);
                sleeper.parker.unpark(&sleeper.driver, &sleeper.lookout);
            })
        });
        sleeper.parker.bind();
        while left.load(Ordering::Relaxed) < 2 {
            sleeper.sleep_in_driver();
        }
        for other in others {
            other.join().unwrap();
        }
    });
}
