//! Places in the code of a job's user at which it may panic, fail or hang, and jobs that bear it.

use super::{World, ms};
use futures_lite::future::{block_on, poll_once};
use peu_operators::Timer as _;
use peu_operators::pipeline::{Job, Operator, PipelineError, Report, Running, Sink};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};

/// More milliseconds than any of these jobs takes, timeouts included.
const LONGEST: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Panic,
    Error,
    Hang,
}

/// The places at which the user's code is at work, numbered as a run comes by.
#[derive(Clone)]
pub(crate) struct Points {
    world: World,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    passed: usize,
    fault: Option<(usize, Fault)>,
    /// Where the fault was.
    struck: Option<&'static str>,
}

impl Points {
    pub(crate) fn new(world: &World, fault: Option<(usize, Fault)>) -> Self {
        let state = State {
            fault,
            ..State::default()
        };
        Self {
            world: world.clone(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The fault, if this is where it is to be.
    pub(crate) fn count(&self, place: &'static str) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        let at = state.passed;
        state.passed += 1;
        let (_, fault) = state.fault.filter(|(point, _)| *point == at)?;
        state.struck = Some(place);
        Some(fault)
    }

    /// Waits for a millisecond, or does what it should not.
    pub(crate) async fn pass(&self, place: &'static str) -> Result<(), &'static str> {
        match self.count(place) {
            Some(Fault::Panic) => panic!("{place} panics"),
            Some(Fault::Error) => return Err("an error"),
            Some(Fault::Hang) => pending().await,
            None => {}
        }
        self.world.sleep_until(self.world.now() + ms(1)).await;
        Ok(())
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    pub(crate) fn passed(&self) -> usize {
        self.state.lock().unwrap().passed
    }

    pub(crate) fn struck(&self) -> Option<&'static str> {
        self.state.lock().unwrap().struck
    }
}

/// How a run came to its end.
#[derive(Debug)]
pub(crate) enum End {
    Ended(Result<Report, PipelineError>),
    /// It hung, and was stopped.
    Stopped,
}

/// Runs a job until it ends, or hangs and is stopped. Nothing is left of it.
pub(crate) fn drive<O, K>(world: &World, job: Job<O, K>) -> End
where
    O: Operator,
    K: Sink<O::Item>,
{
    let mut starting = Box::pin(job.start(world));
    // A panic of what opens is the caller's.
    let started = catch_unwind(AssertUnwindSafe(|| wait(world, starting.as_mut())));
    drop(starting);
    let end = match started {
        Ok(Some(Ok(running))) => finish(world, running),
        Ok(Some(Err(error))) => End::Ended(Err(error)),
        Ok(None) | Err(_) => End::Stopped,
    };
    // A sink that is told to clean up takes its time.
    let _ = wait(world, pin!(pending::<()>()));
    assert_eq!(
        (world.tasks(), world.sleeps()),
        (0, 0),
        "{end:?}: nothing is left"
    );
    end
}

fn finish(world: &World, running: Running) -> End {
    let ended = wait(world, pin!(running));
    ended.map_or(End::Stopped, End::Ended)
}

/// Lets time pass until the future is ready. None: it hangs.
pub(crate) fn wait<F: Future + Unpin>(world: &World, mut future: F) -> Option<F::Output> {
    for _ in 0..LONGEST {
        world.run();
        if let Some(output) = block_on(poll_once(&mut future)) {
            return Some(output);
        }
        world.advance(ms(1));
    }
    None
}
