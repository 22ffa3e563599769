//! What models of stages are made of: threads of loom's to run them on, a clock that a model moves, and requests that it
//! answers.

use futures_core::Stream;
use loom::sync::Mutex;
use loom::thread;
use peu_operators::{Spawn, StageError, Timer};
use peu_scheduler::block_on;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Runs each stage on a thread of its own, and has a clock that stands still until it is told that time is up.
#[derive(Clone, Default)]
pub struct Stages {
    /// Not under a lock of loom's, which would only add interleavings.
    threads: Arc<std::sync::Mutex<Vec<thread::JoinHandle<()>>>>,
    time_is_up: Signal,
}

/// The timeout of a stage in a model: how far the clock moves when time is up.
pub const LIMIT: Duration = Duration::from_secs(1);

impl Stages {
    /// Moves the clock, and ends the sleeps.
    pub fn time_is_up(&self) {
        self.time_is_up.set();
    }

    /// A thread beside the stages.
    pub fn beside(&self, body: impl FnOnce() + 'static) {
        let thread = thread::spawn(body);
        self.threads.lock().unwrap().push(thread);
    }

    /// Waits until all stages, and all threads beside them, have ended.
    pub fn join(self) {
        loop {
            let Some(thread) = self.threads.lock().unwrap().pop() else {
                return;
            };
            thread.join().unwrap();
        }
    }
}

impl Spawn for Stages {
    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.beside(move || block_on(task));
    }
}

impl Timer for Stages {
    type Sleep = Wait;

    fn now(&self) -> Instant {
        if self.time_is_up.is_set() {
            start() + LIMIT
        } else {
            start()
        }
    }

    /// What is later than the clock ever gets never ends.
    fn sleep_until(&self, deadline: Instant) -> Wait {
        if deadline <= start() + LIMIT {
            self.time_is_up.wait()
        } else {
            Signal::default().wait()
        }
    }
}

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Something that happens once, and that one task at a time waits for. Its lock is loom's, so that it happens in every order
/// with what others do.
#[derive(Clone)]
pub struct Signal(Arc<Mutex<(bool, Option<Waker>)>>);

impl Default for Signal {
    fn default() -> Signal {
        Signal(Arc::new(Mutex::new((false, None))))
    }
}

impl Signal {
    /// It happens.
    pub fn set(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        let waker = state.1.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whether it has happened.
    pub fn is_set(&self) -> bool {
        self.0.lock().unwrap().0
    }

    /// A future that is ready once it has happened.
    pub fn wait(&self) -> Wait {
        Wait(self.clone())
    }

    /// How many there are of it: itself and what waits for it.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

/// Ready once its [`Signal`] is set.
pub struct Wait(Signal);

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker().clone();
        let mut state = self.0.0.lock().unwrap();
        if state.0 {
            return Poll::Ready(());
        }
        let replaced = state.1.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

/// The numbers below this one, without a pause.
pub struct Numbers(std::ops::Range<usize>);

impl Numbers {
    /// The numbers from 0 on.
    pub fn below(end: usize) -> Numbers {
        Numbers(0..end)
    }
}

impl Stream for Numbers {
    type Item = usize;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<usize>> {
        Poll::Ready(self.0.next())
    }
}

/// The request of a stage that passes numbers on.
pub async fn same(number: usize) -> Result<usize, Infallible> {
    Ok(number)
}

/// What a stage gives next; blocks the thread.
pub fn next<T, S>(stage: &mut S) -> Option<Result<T, StageError>>
where
    S: Stream<Item = Result<T, StageError>> + Unpin,
{
    block_on(poll_fn(|context| Pin::new(&mut *stage).poll_next(context)))
}

/// All that a stage gives.
pub fn all<T, S>(stage: &mut S) -> Vec<T>
where
    S: Stream<Item = Result<T, StageError>> + Unpin,
{
    std::iter::from_fn(|| next(stage))
        .map(|output| output.expect("no failure"))
        .collect()
}
