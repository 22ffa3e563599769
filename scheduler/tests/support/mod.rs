//! A driver made of a mutex and a condition variable: events are wakers that a test posts.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses its part"
)]

use peu_scheduler::{Builder, Driver, LocalScheduler, Polled, Scheduler, Turns};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, TryLockError};
use std::task::Waker;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen: far longer than it takes, so that a loaded machine keeps it too.
pub const LONG: Duration = Duration::from_secs(20);

/// The driver. Clones are the same driver.
#[derive(Clone, Default)]
pub struct Posts(Arc<Inner>);

#[derive(Default)]
struct Inner {
    claim: Mutex<()>,
    state: Mutex<State>,
    changed: Condvar,
    polls: AtomicUsize,
}

#[derive(Default)]
struct State {
    posted: Vec<Waker>,
    bell: bool,
}

impl Posts {
    /// An event happens.
    pub fn post(&self, waker: Waker) {
        self.0.state.lock().unwrap().posted.push(waker);
        self.0.changed.notify_one();
    }

    /// Turns taken so far.
    pub fn polls(&self) -> usize {
        self.0.polls.load(Ordering::Relaxed)
    }
}

impl Driver for Posts {
    fn turns(&self) -> Box<dyn Turns> {
        Box::new(Turn {
            posts: self.clone(),
            ready: Vec::new(),
        })
    }

    fn unpark(&self) {
        self.0.state.lock().unwrap().bell = true;
        self.0.changed.notify_one();
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

struct Turn {
    posts: Posts,
    ready: Vec<Waker>,
}

impl Turns for Turn {
    fn poll(&mut self, timeout: Option<Duration>, may_sleep: &dyn Fn() -> bool) -> Polled {
        let inner = &self.posts.0;
        let _claim = match inner.claim.try_lock() {
            Ok(claim) => claim,
            Err(TryLockError::WouldBlock) => return Polled::Claimed,
            Err(error) => panic!("{error}"),
        };
        inner.polls.fetch_add(1, Ordering::Relaxed);
        let state = inner.state.lock().unwrap();
        let timeout = if may_sleep() {
            timeout
        } else {
            Some(Duration::ZERO)
        };
        let quiet = |state: &mut State| state.posted.is_empty() && !state.bell;
        let mut state = match timeout {
            None => inner.changed.wait_while(state, quiet).unwrap(),
            Some(timeout) => {
                inner
                    .changed
                    .wait_timeout_while(state, timeout, quiet)
                    .unwrap()
                    .0
            }
        };
        state.bell = false;
        self.ready.append(&mut state.posted);
        Polled::Ready(self.ready.len())
    }

    fn update(&mut self) {
        self.ready.drain(..).for_each(Waker::wake);
    }
}

/// A scheduler on a driver of posts.
pub fn scheduler(workers: usize) -> (Scheduler, Posts) {
    let posts = Posts::default();
    let scheduler = build(Builder::new().workers(workers), &posts).unwrap();
    (scheduler, posts)
}

/// Waits until `condition` holds; panics after a long time.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "still waiting: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A future that hands its waker over and completes when it is woken.
pub async fn event(register: impl FnOnce(Waker)) {
    let mut register = Some(register);
    let mut waiting = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut waiting, true) {
            return std::task::Poll::Ready(());
        }
        register.take().expect("registered once")(cx.waker().clone());
        std::task::Poll::Pending
    })
    .await;
}

/// A scheduler with other settings.
pub fn build(builder: Builder, posts: &Posts) -> std::io::Result<Scheduler> {
    let pool = builder.blocking_pool().unwrap();
    builder.build(Arc::new(posts.clone()), pool)
}

/// A local scheduler on a driver of posts.
pub fn local_scheduler() -> (LocalScheduler, Posts) {
    let posts = Posts::default();
    let pool = Builder::new().blocking_pool().unwrap();
    (LocalScheduler::new(Arc::new(posts.clone()), pool), posts)
}
