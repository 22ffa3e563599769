use super::tap::Count;
use peu_operators::{Offload, Spawn, Timer};
use std::collections::BTreeMap;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// More polls than any test needs: a task that keeps waking itself is found, and the test does not hang.
const POLLS_TO_SETTLE: usize = 100_000;

/// An executor of one thread whose tasks run only in [`World::run`], and a clock that only [`World::advance`] moves.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<State>>);

struct State {
    tasks: Vec<Task>,
    polls: usize,
    now: Instant,
    sleeps: BTreeMap<(Instant, u64), Option<Waker>>,
    next_sleep: u64,
    closed: bool,
    offloads: usize,
    /// With this job that blocks the world ends; whether that runs.
    last_offload: Option<(usize, bool)>,
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    woken: Arc<Count>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            tasks: Vec::new(),
            polls: 0,
            now: Instant::now(),
            sleeps: BTreeMap::new(),
            next_sleep: 0,
            closed: false,
            offloads: 0,
            last_offload: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no task panics under this lock")
    }

    /// Polls every task that was woken, until none is.
    pub(crate) fn run(&self) {
        for _ in 0..POLLS_TO_SETTLE {
            if !self.poll_one() {
                return;
            }
        }
        panic!("a task keeps waking itself");
    }

    /// Polls one woken task, once. False: none is woken.
    pub(crate) fn poll_one(&self) -> bool {
        let task = {
            let mut state = self.state();
            let woken = state.tasks.iter().position(|task| task.woken.take() > 0);
            let Some(woken) = woken else {
                return false;
            };
            if state.closed {
                return false;
            }
            state.polls += 1;
            // Not `swap_remove`: whoever is woken has its turn, however busy the others are.
            state.tasks.remove(woken)
        };
        let Task { mut future, woken } = task;
        let waker = Waker::from(Arc::clone(&woken));
        if future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
            && !self.is_closed()
        {
            self.state().tasks.push(Task { future, woken });
        }
        true
    }

    /// Moves the clock, and wakes whoever slept until now.
    pub(crate) fn advance(&self, by: Duration) {
        let due = {
            let mut state = self.state();
            state.now += by;
            let now = state.now;
            let due = state.sleeps.iter_mut();
            let due = due.take_while(|((deadline, _), _)| *deadline <= now);
            due.filter_map(|(_, waker)| waker.take())
                .collect::<Vec<_>>()
        };
        due.into_iter().for_each(Waker::wake);
    }

    /// Drops every task, and those to come, as a runtime does that is shut down.
    pub(crate) fn close(&self) {
        let tasks = {
            let mut state = self.state();
            state.closed = true;
            mem::take(&mut state.tasks)
        };
        drop(tasks);
    }

    /// Drops one task alone, as a runtime may that is being shut down.
    pub(crate) fn drop_task(&self, index: usize) {
        let task = self.state().tasks.remove(index);
        drop(task);
    }

    /// Ends the world, as `close`, with the job that blocks which has this number, counted from 0; before or behind it.
    pub(crate) fn close_with_offload(&self, number: usize, runs: bool) {
        self.state().last_offload = Some((number, runs));
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// How many tasks have not ended.
    pub(crate) fn tasks(&self) -> usize {
        self.state().tasks.len()
    }

    /// How often any task was polled.
    pub(crate) fn polls(&self) -> usize {
        self.state().polls
    }

    /// How many sleeps are under way.
    pub(crate) fn sleeps(&self) -> usize {
        self.state().sleeps.len()
    }
}

impl Spawn for World {
    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
        let (future, woken) = (Box::pin(task), Arc::new(Count::default()));
        woken.add();
        if !self.state().closed {
            self.state().tasks.push(Task { future, woken });
        }
    }
}

/// What blocks is done at once.
impl Offload for World {
    fn offload<F: FnOnce() + Send + 'static>(&self, job: F) {
        let mut state = self.state();
        let number = state.offloads;
        state.offloads += 1;
        let (is_last, runs) = match state.last_offload {
            Some((last, runs)) => (number == last, number < last || runs),
            None => (false, true),
        };
        state.closed |= is_last;
        drop(state);
        if runs {
            job();
        }
    }
}

impl Timer for World {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.state().now
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        let mut state = self.state();
        let key = (deadline, state.next_sleep);
        state.next_sleep += 1;
        state.sleeps.insert(key, None);
        drop(state);
        Sleep {
            world: self.clone(),
            key,
        }
    }
}

pub(crate) struct Sleep {
    world: World,
    key: (Instant, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.world.state();
        if self.key.0 <= state.now {
            return Poll::Ready(());
        }
        state.sleeps.insert(self.key, Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.world.state().sleeps.remove(&self.key);
    }
}
