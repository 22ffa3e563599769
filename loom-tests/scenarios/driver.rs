//! A driver in place of the real one: wakers that a scenario [announces](ModelDriver::event) as if a socket had become ready,
//! timers, alarms, and a clock that runs only while somebody sleeps with a bound.

use crate::parts::{lock, one_in};
use peu_scheduler::internals::clock;
use peu_scheduler::{Alarm, Driver, Polled, Turns};
use shuttle::sync::{Condvar, Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A sleep with a bound is made of such steps, after each of which it looks whether there is something.
const STEP: Duration = Duration::from_millis(10);

/// A driver for one run. Clones are the same driver.
#[derive(Clone)]
pub(crate) struct ModelDriver(Arc<Inner>);

struct Inner {
    claim: Mutex<()>,
    state: Mutex<State>,
    changed: Condvar,
    /// Whether it has alarms.
    alarms: bool,
}

#[derive(Default)]
struct State {
    /// Sticky: the turn that comes next takes it, whose it may be.
    rung: bool,
    events: Vec<Waker>,
    timers: BTreeMap<TimerKey, Waker>,
    /// Timers that were ever set.
    set: usize,
}

/// When, and which of those that are due at that moment.
type TimerKey = (Instant, usize);

impl ModelDriver {
    pub(crate) fn new() -> ModelDriver {
        clock::restart();
        ModelDriver(Arc::new(Inner {
            claim: Mutex::new(()),
            state: Mutex::default(),
            changed: Condvar::new(),
            alarms: one_in(2),
        }))
    }

    /// The operating system has an event, for who waits with this waker.
    pub(crate) fn event(&self, waker: Waker) {
        lock(&self.0.state).events.push(waker);
        self.0.changed.notify_one();
    }

    /// Waits for an event that comes as soon as somebody looks.
    pub(crate) async fn ready(&self) {
        let mut announced = false;
        poll_fn(|context| {
            if std::mem::replace(&mut announced, true) {
                return Poll::Ready(());
            }
            self.event(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Wakes who polls it when the time is over.
    pub(crate) fn sleep(&self, time: Duration) -> Sleep {
        Sleep {
            driver: self.clone(),
            deadline: clock::now() + time,
            key: None,
        }
    }

    /// How many timers are set.
    pub(crate) fn timers(&self) -> usize {
        lock(&self.0.state).timers.len()
    }

    /// How many hold the driver: this one, and a scheduler that is still there.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

/// A timer.
pub(crate) struct Sleep {
    driver: ModelDriver,
    deadline: Instant,
    key: Option<TimerKey>,
}

impl Sleep {
    pub(crate) async fn elapsed(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.cancel();
        if clock::now() >= self.deadline {
            return Poll::Ready(());
        }
        let mut state = lock(&self.driver.0.state);
        state.set += 1;
        let key = (self.deadline, state.set);
        state.timers.insert(key, context.waker().clone());
        drop(state);
        self.key = Some(key);
        // Whoever sleeps in the driver may sleep too long.
        self.driver.unpark();
        Poll::Pending
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// As if it had been made now.
    pub(crate) fn reset(&mut self, time: Duration) {
        self.cancel();
        self.deadline = clock::now() + time;
    }

    fn cancel(&mut self) {
        if let Some(key) = self.key.take() {
            let waker = lock(&self.driver.0.state).timers.remove(&key);
            drop(waker);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Driver for ModelDriver {
    fn turns(&self) -> Box<dyn Turns> {
        Box::new(ModelTurns {
            driver: self.clone(),
            gathered: Vec::new(),
        })
    }

    fn unpark(&self) {
        lock(&self.0.state).rung = true;
        self.0.changed.notify_one();
    }

    fn now(&self) -> Instant {
        clock::now()
    }

    fn alarm(&self) -> Option<Box<dyn Alarm>> {
        let alarm = || Box::new(ModelAlarm::default()) as Box<dyn Alarm>;
        self.0.alarms.then(alarm)
    }
}

/// `None`: it has no end yet.
#[derive(Default)]
struct ModelAlarm(Mutex<Option<Instant>>, Condvar);

impl Alarm for ModelAlarm {
    fn set(&self, after: Duration) {
        *lock(&self.0) = Some(clock::now() + after);
        self.1.notify_one();
    }

    fn wait(&self) {
        let mut end = lock(&self.0);
        while !is_over(*end) {
            end = match *end {
                None => self.1.wait(end).expect("nobody panics with it"),
                Some(until) => {
                    drop(end);
                    clock::sleep(until - clock::now());
                    lock(&self.0)
                }
            };
        }
        *end = None;
    }
}

struct ModelTurns {
    driver: ModelDriver,
    gathered: Vec<Waker>,
}

impl Turns for ModelTurns {
    fn poll(&mut self, timeout: Option<Duration>, may_sleep: &dyn Fn() -> bool) -> Polled {
        let inner = &*self.driver.0;
        let Ok(_claim) = inner.claim.try_lock() else {
            return Polled::Claimed;
        };
        let end = timeout.and_then(|timeout| clock::now().checked_add(timeout));
        let mut state = lock(&inner.state);
        if may_sleep() {
            while !state.rung && state.events.is_empty() && !is_over(end) && !state.is_due() {
                state = inner.sleep(state, end);
            }
        }
        state.rung = false;
        self.gathered.append(&mut state.events);
        state.take_due(&mut self.gathered);
        Polled::Ready(self.gathered.len())
    }

    fn update(&mut self) {
        self.gathered.drain(..).for_each(Waker::wake);
    }
}

impl Inner {
    /// Sleeps until something changes, or for a step of the time that is left.
    fn sleep<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        end: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        let first = state.timers.keys().next().map(|&(deadline, _)| deadline);
        let Some(end) = end.into_iter().chain(first).min() else {
            return self.changed.wait(state).expect("nobody panics with it");
        };
        drop(state);
        clock::sleep(STEP.min(end - clock::now()));
        lock(&self.state)
    }
}

impl State {
    fn is_due(&self) -> bool {
        let first = self.timers.keys().next();
        first.is_some_and(|&(deadline, _)| deadline <= clock::now())
    }

    fn take_due(&mut self, into: &mut Vec<Waker>) {
        while self.is_due() {
            into.extend(self.timers.pop_first().map(|(_, waker)| waker));
        }
    }
}

fn is_over(end: Option<Instant>) -> bool {
    end.is_some_and(|end| end <= clock::now())
}
