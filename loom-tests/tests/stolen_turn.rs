//! Nobody turns the driver because the worker that should is in a long poll: a sleeper takes the turn.
//!
//! A task that blocks its worker until an event has been delivered ends only if the other worker turns the driver, wherever
//! that one was: in the driver, beside it, or keeping watch. And when the two meet in the driver, one has the turn and the
//! other neither delivers an event twice nor sleeps through what it was woken for.
//!
//! bound: two workers and a watch take some 500 steps. An event behind a long poll has 700,000 interleavings with two preemptions,
//! which take a minute; that of the owner who is back, from the second event on, takes more than two with three.
//! limit: 600
//!
//! twin: turn-not-stolen
//! twin: turn-stranger-trusted
//! twin: turn-claimed-no-fence
//! twin: turn-tried-at-once

#![cfg(loom)]

use loom::sync::{Condvar, Mutex};
use loom::thread;
use peu_loom_tests::driver::ModelDriver;
use peu_loom_tests::parts::Gate;
use peu_loom_tests::{bounded, bounded_from_explore};
use peu_scheduler::internals::Workers;
use peu_scheduler::{Driver, Polled, Turns, block_on};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// A task that has the driver report an event to itself.
async fn wait_for_event(driver: &ModelDriver) {
    let mut announced = false;
    poll_fn(|context| {
        if std::mem::replace(&mut announced, true) {
            return Poll::Ready(());
        }
        driver.event(context.waker().clone());
        Poll::Pending
    })
    .await;
}

/// The rescue bound: no event waits for longer while a worker sleeps.
const RESCUE: Duration = Duration::from_millis(10);

#[test]
fn an_event_behind_a_poll_that_does_not_end() {
    an_event_behind_a_long_poll(ModelDriver::with_bound);
}

#[test]
fn an_event_behind_a_poll_that_does_not_end_and_the_watch_on_an_alarm() {
    an_event_behind_a_long_poll(ModelDriver::with_bound_and_alarms);
}

fn an_event_behind_a_long_poll(driver: fn(Duration) -> ModelDriver) {
    bounded(2, move || {
        let driver = driver(RESCUE);
        let workers = Workers::start(2, Arc::new(driver.clone()));
        let task = workers.handle().spawn(async move {
            let gate = Arc::new(Gate::new());
            driver.event(gate.clone().into());
            gate.wait();
        });
        block_on(task).unwrap();
        loom::stop_exploring();
        workers.shutdown();
    });
}

/// The worker that was stuck goes back to the driver while the other has its turn, and the next event is for its task.
#[test]
fn an_event_when_the_owner_is_back() {
    bounded_from_explore(2, || {
        let driver = ModelDriver::new();
        let workers = Workers::start(2, Arc::new(driver.clone()));
        let task = workers.handle().spawn(async move {
            let gate = Arc::new(Gate::new());
            driver.event(gate.clone().into());
            gate.wait();
            loom::explore();
            wait_for_event(&driver).await;
        });
        block_on(task).unwrap();
        loom::stop_exploring();
        workers.shutdown();
    });
}

/// A thread that is no worker takes a turn of so long.
fn stranger(driver: &ModelDriver, time: Duration) -> thread::JoinHandle<()> {
    let driver = driver.clone();
    thread::spawn(move || {
        let mut turns = driver.turns();
        if let Polled::Ready(1..) = turns.poll(Some(time), &|| true) {
            turns.update();
        }
    })
}

/// It leaves the driver to nobody. The only worker, which found it claimed, must come back.
#[test]
fn a_stranger_against_the_only_worker() {
    bounded(2, move || {
        let driver = ModelDriver::new();
        let workers = Workers::start(1, Arc::new(driver.clone()));
        let stranger = stranger(&driver, Duration::from_millis(1));
        let task = workers
            .handle()
            .spawn(async move { wait_for_event(&driver).await });
        block_on(task).unwrap();
        stranger.join().unwrap();
        loom::stop_exploring();
        workers.shutdown();
    });
}

/// A driver whose first two turns find it claimed by a stranger, who then leaves it to nobody. The two learn of it when both have come.
#[derive(Clone)]
struct ClaimedTwice {
    driver: ModelDriver,
    came: Arc<(Mutex<usize>, Condvar)>,
}

impl Driver for ClaimedTwice {
    fn turns(&self) -> Box<dyn Turns> {
        Box::new(TurnsOfClaimed {
            turns: self.driver.turns(),
            came: self.came.clone(),
        })
    }

    fn unpark(&self) {
        self.driver.unpark();
    }

    fn now(&self) -> Instant {
        self.driver.now()
    }
}

struct TurnsOfClaimed {
    turns: Box<dyn Turns>,
    came: Arc<(Mutex<usize>, Condvar)>,
}

impl Turns for TurnsOfClaimed {
    fn poll(&mut self, timeout: Option<Duration>, may_sleep: &dyn Fn() -> bool) -> Polled {
        let (came, both) = &*self.came;
        let mut came = came.lock().unwrap();
        match *came {
            0 => {
                *came = 1;
                while *came == 1 {
                    came = both.wait(came).unwrap();
                }
                Polled::Claimed
            }
            1 => {
                *came = 2;
                both.notify_one();
                loom::explore();
                Polled::Claimed
            }
            _ => {
                drop(came);
                self.turns.poll(timeout, may_sleep)
            }
        }
    }

    fn update(&mut self) {
        self.turns.update();
    }
}

/// Both workers are in the driver, and each finds it claimed. They must not both stay away for the other's sake.
#[test]
fn a_stranger_against_two_workers() {
    bounded_from_explore(3, || {
        let driver = ClaimedTwice {
            driver: ModelDriver::new(),
            came: Arc::default(),
        };
        let workers = Workers::start(2, Arc::new(driver.clone()));
        block_on(wait_for_event(&driver.driver));
        loom::stop_exploring();
        workers.shutdown();
    });
}

/// The watch finds the driver abandoned and claimed, for a long time, and must not spin. One order of events is enough:
/// nothing is explored.
#[test]
fn a_stranger_against_the_watch() {
    bounded_from_explore(0, || {
        let driver = ModelDriver::new();
        let stranger = stranger(&driver, Duration::from_millis(100));
        thread::yield_now();
        let workers = Workers::start(2, Arc::new(driver.clone()));
        let gate = Gate::new();
        let key = gate.clone();
        let task = workers.handle().spawn(async move { gate.wait() });
        stranger.join().unwrap();
        key.open();
        block_on(task).unwrap();
        workers.shutdown();
    });
}
