//! A driver in place of the real one: the same trait, no more promises than its contract makes, and a clock that runs
//! only while somebody sleeps with a bound.
//!
//! Its only events are wakers that a model [announces](ModelDriver::event), as a socket would become ready.

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Condvar, Mutex, MutexGuard};
use peu_scheduler::internals::clock;
use peu_scheduler::{Alarm, Driver, Polled, Turns};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// More than all threads of a model find the turn claimed in one moment, if none of them tries again at once.
const MANY: usize = 10;

/// A sleep with a bound is made of such steps, after each of which it looks whether there is something.
const STEP: Duration = Duration::from_millis(10);

/// A driver for one model run. Clones are the same driver.
#[derive(Clone)]
pub struct ModelDriver(Arc<Inner>);

struct Inner {
    /// Whether somebody has the turn. Not a lock: loom's `try_lock` waits for one that is taken at that moment.
    claimed: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
    /// Since when an event waits. Not a lock of loom's, which would only add interleavings.
    waits_since: std::sync::Mutex<Option<Instant>>,
    /// How long it may.
    bound: Duration,
    /// Whether it has alarms.
    alarms: bool,
    /// When the turn was last claimed in vain, and how often in that moment.
    in_vain: std::sync::Mutex<(Option<Instant>, usize)>,
}

#[derive(Default)]
struct State {
    /// Sticky: the turn that comes next takes it, whose it may be.
    rung: bool,
    events: Vec<Waker>,
}

impl ModelDriver {
    /// A driver that nobody has rung.
    #[expect(
        clippy::new_without_default,
        reason = "it exists only inside of a model, and says so by a call"
    )]
    pub fn new() -> ModelDriver {
        ModelDriver::with_bound(Duration::MAX)
    }

    /// A driver that fails the model if, by its clock, an event waits for longer than this.
    pub fn with_bound(bound: Duration) -> ModelDriver {
        ModelDriver::with(bound, false)
    }

    /// As [`with_bound`](ModelDriver::with_bound), and the driver has alarms for the watch.
    pub fn with_bound_and_alarms(bound: Duration) -> ModelDriver {
        ModelDriver::with(bound, true)
    }

    fn with(bound: Duration, alarms: bool) -> ModelDriver {
        clock::restart();
        ModelDriver(Arc::new(Inner {
            claimed: AtomicBool::new(false),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            waits_since: std::sync::Mutex::default(),
            bound,
            alarms,
            in_vain: std::sync::Mutex::default(),
        }))
    }

    /// The operating system has an event, for who waits with this waker.
    pub fn event(&self, waker: Waker) {
        let mut state = self.0.lock();
        state.events.push(waker);
        let now = clock::now();
        self.0.waits_since.lock().unwrap().get_or_insert(now);
        drop(state);
        self.0.changed.notify_one();
    }
}

impl Inner {
    fn claim(&self) -> Option<Claim<'_>> {
        // ORDERING: Acquire pairs with the Release of the claim's drop.
        let claimed =
            self.claimed
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        claimed.is_ok().then(|| Claim(&self.claimed))
    }

    /// Sleeps until something changes; with a bound, a step of it.
    fn sleep<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        left: &mut Option<Duration>,
    ) -> MutexGuard<'a, State> {
        let Some(left) = left else {
            return self.changed.wait(state).unwrap();
        };
        let step = STEP.min(*left);
        *left -= step;
        drop(state);
        clock::sleep(step);
        self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Fails the model if the turn is tried for again and again without any time between.
    fn claimed_in_vain(&self) {
        let now = Some(clock::now());
        let mut in_vain = self.in_vain.lock().unwrap();
        let times = if in_vain.0 == now { in_vain.1 + 1 } else { 1 };
        *in_vain = (now, times);
        assert!(times < MANY, "somebody spins for the turn");
    }
}

struct Claim<'a>(&'a AtomicBool);

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // ORDERING: Release pairs with the Acquire in `claim`: one turn comes after the other.
        self.0.store(false, Ordering::Release);
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
        self.0.lock().rung = true;
        self.0.changed.notify_one();
    }

    fn now(&self) -> Instant {
        let now = clock::now();
        if let Some(since) = *self.0.waits_since.lock().unwrap() {
            assert!(now - since <= self.0.bound, "an event waits too long");
        }
        now
    }

    fn alarm(&self) -> Option<Box<dyn Alarm>> {
        self.0
            .alarms
            .then(|| Box::new(ModelAlarm::default()) as Box<dyn Alarm>)
    }
}

/// An alarm on the clock of the model, where a time that is over may be seen late.
#[derive(Default)]
pub struct ModelAlarm {
    end: Mutex<Option<Instant>>,
    changed: Condvar,
}

impl Alarm for ModelAlarm {
    /// The longest time is never over.
    fn set(&self, after: Duration) {
        *self.end.lock().unwrap() = clock::now().checked_add(after);
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut end = self.end.lock().unwrap();
        while let Some(left) = time_left(*end) {
            end = match left {
                Duration::MAX => self.changed.wait(end).unwrap(),
                left => {
                    drop(end);
                    clock::sleep(left);
                    self.end.lock().unwrap()
                }
            };
        }
        *end = None;
    }
}

/// `None`: it is over. The longest time: it has no end.
fn time_left(end: Option<Instant>) -> Option<Duration> {
    let left = end.map_or(Duration::MAX, |end| end - clock::now());
    (left > Duration::ZERO).then_some(left)
}

struct ModelTurns {
    driver: ModelDriver,
    gathered: Vec<Waker>,
}

impl Turns for ModelTurns {
    fn poll(&mut self, timeout: Option<Duration>, may_sleep: &dyn Fn() -> bool) -> Polled {
        let inner = &*self.driver.0;
        let Some(_claim) = inner.claim() else {
            inner.claimed_in_vain();
            return Polled::Claimed;
        };
        let mut state = inner.lock();
        if may_sleep() {
            let mut left = timeout;
            while !state.rung && state.events.is_empty() && left != Some(Duration::ZERO) {
                state = inner.sleep(state, &mut left);
            }
        }
        state.rung = false;
        self.gathered.append(&mut state.events);
        *inner.waits_since.lock().unwrap() = None;
        Polled::Ready(self.gathered.len())
    }

    fn update(&mut self) {
        self.gathered.drain(..).for_each(Waker::wake);
    }
}
