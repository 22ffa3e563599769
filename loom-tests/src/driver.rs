//! A driver in place of the real one: the same trait, no more promises than its contract makes, and no clock.
//!
//! Its only events are wakers that a model [announces](ModelDriver::event), as a socket would become ready.

use loom::sync::{Condvar, Mutex};
use loom::thread;
use peu_scheduler::{Driver, Polled, Turns};
use std::sync::Arc;
use std::sync::OnceLock;
use std::task::Waker;
use std::time::{Duration, Instant};

/// A driver for one model run. Clones are the same driver.
#[derive(Clone)]
pub struct ModelDriver(Arc<Inner>);

struct Inner {
    /// Who holds it has the turn.
    claim: Mutex<()>,
    state: Mutex<State>,
    changed: Condvar,
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
        ModelDriver(Arc::new(Inner {
            claim: Mutex::new(()),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        }))
    }

    /// The operating system has an event, for who waits with this waker.
    pub fn event(&self, waker: Waker) {
        self.0.state.lock().unwrap().events.push(waker);
        self.0.changed.notify_one();
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
        self.0.state.lock().unwrap().rung = true;
        self.0.changed.notify_one();
    }

    /// Always the same moment: no protocol may rest on time.
    fn now(&self) -> Instant {
        static NOW: OnceLock<Instant> = OnceLock::new();
        *NOW.get_or_init(Instant::now)
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
        let mut state = inner.state.lock().unwrap();
        if timeout != Some(Duration::ZERO) && may_sleep() {
            while !state.rung && state.events.is_empty() {
                if timeout.is_some() {
                    // A time that may be over at any moment.
                    drop(state);
                    thread::yield_now();
                    state = inner.state.lock().unwrap();
                    break;
                }
                state = inner.changed.wait(state).unwrap();
            }
        }
        state.rung = false;
        self.gathered.append(&mut state.events);
        Polled::Ready(self.gathered.len())
    }

    fn update(&mut self) {
        self.gathered.drain(..).for_each(Waker::wake);
    }
}
