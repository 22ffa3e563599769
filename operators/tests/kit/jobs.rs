use super::World;
use futures_lite::future::{block_on, poll_once};
use peu_operators::pipeline::{Host, Job, Operator, PipelineError, Report, Running, Sink, Source};
use std::convert::Infallible;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// A source that outlives the job which reads it, as a file does: what was added stays, and is read from any position.
pub(crate) struct Log<T>(Arc<Mutex<LogState<T>>>);

struct LogState<T> {
    records: Vec<T>,
    over: bool,
    polls: usize,
    /// How many records any of its readers has given, at most.
    position: usize,
    wakers: Vec<Waker>,
}

impl<T: Clone + Send + 'static> Log<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(LogState {
            records: Vec::new(),
            over: false,
            polls: 0,
            position: 0,
            wakers: Vec::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, LogState<T>> {
        self.0.lock().unwrap()
    }

    pub(crate) fn add(&self, record: T) {
        self.state().records.push(record);
        self.wake();
    }

    pub(crate) fn end(&self) {
        self.state().over = true;
        self.wake();
    }

    fn wake(&self) {
        let wakers = mem::take(&mut self.state().wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How often any of its readers was polled.
    pub(crate) fn polls(&self) -> usize {
        self.state().polls
    }

    /// How far the reader that came furthest is.
    pub(crate) fn position(&self) -> usize {
        self.state().position
    }

    pub(crate) fn reader(&self) -> LogReader<T> {
        LogReader {
            log: self.clone(),
            position: 0,
        }
    }
}

pub(crate) struct LogReader<T> {
    log: Log<T>,
    position: usize,
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + Send + 'static> Source for LogReader<T> {
    type Item = T;
    type Position = usize;
    type Error = Infallible;

    fn open(&mut self, _host: &Host, from: Option<usize>) {
        self.position = from.unwrap_or(0);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Infallible>>> {
        let mut state = self.log.state();
        state.polls += 1;
        match state.records.get(self.position).cloned() {
            Some(record) => {
                self.position += 1;
                state.position = state.position.max(self.position);
                Poll::Ready(Some(Ok(record)))
            }
            None if state.over => Poll::Ready(None),
            None => {
                state.wakers.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn position(&self) -> usize {
        self.position
    }
}

/// What a crash leaves of a sink: what was written, and how much of it is visible.
#[derive(Clone)]
pub(crate) struct Disk<T>(Arc<Mutex<DiskState<T>>>);

struct DiskState<T> {
    written: Vec<T>,
    visible: usize,
    opened: usize,
    commits: usize,
    aborted: bool,
    fail_next_write: bool,
    fail_next_commit: bool,
}

impl<T: Clone + Send + 'static> Disk<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(DiskState {
            written: Vec::new(),
            visible: 0,
            opened: 0,
            commits: 0,
            aborted: false,
            fail_next_write: false,
            fail_next_commit: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, DiskState<T>> {
        self.0.lock().unwrap()
    }

    pub(crate) fn sink(&self) -> DiskSink<T> {
        DiskSink(self.clone())
    }

    /// What was committed.
    pub(crate) fn visible(&self) -> Vec<T> {
        let state = self.state();
        state.written[..state.visible].to_vec()
    }

    /// What was written, committed or not.
    pub(crate) fn written(&self) -> Vec<T> {
        self.state().written.clone()
    }

    /// Writes past any sink, as a service does: it is visible at once.
    pub(crate) fn insert(&self, records: &[T]) {
        let mut state = self.state();
        state.written.extend_from_slice(records);
        state.visible = state.written.len();
    }

    pub(crate) fn opened(&self) -> usize {
        self.state().opened
    }

    pub(crate) fn commits(&self) -> usize {
        self.state().commits
    }

    pub(crate) fn aborted(&self) -> bool {
        self.state().aborted
    }

    pub(crate) fn fail_next_write(&self) {
        self.state().fail_next_write = true;
    }

    pub(crate) fn fail_next_commit(&self) {
        self.state().fail_next_commit = true;
    }
}

pub(crate) struct DiskSink<T>(Disk<T>);

impl<T: Clone + Send + 'static> Sink<T> for DiskSink<T> {
    type Prepared = usize;
    type Error = &'static str;

    async fn open(&mut self, _host: &Host, restored: Option<&usize>) -> Result<(), Self::Error> {
        let mut state = self.0.state();
        state.opened += 1;
        state.written.truncate(restored.copied().unwrap_or(0));
        Ok(())
    }

    async fn write(&mut self, record: T) -> Result<(), Self::Error> {
        let mut state = self.0.state();
        if mem::take(&mut state.fail_next_write) {
            return Err("no space is left");
        }
        state.written.push(record);
        Ok(())
    }

    async fn prepare(&mut self, _is_last: bool) -> Result<usize, Self::Error> {
        Ok(self.0.state().written.len())
    }

    async fn commit(&mut self, prepared: &usize) -> Result<(), Self::Error> {
        let mut state = self.0.state();
        if mem::take(&mut state.fail_next_commit) {
            return Err("the power is gone");
        }
        state.visible = *prepared;
        state.commits += 1;
        Ok(())
    }

    async fn abort(&mut self) {
        self.0.state().aborted = true;
    }
}

/// Starts a job in a world, and lets it run.
pub(crate) fn start<O, K>(world: &World, job: Job<O, K>) -> Result<Running, PipelineError>
where
    O: Operator,
    K: Sink<O::Item>,
{
    // In a world nothing that a start waits for takes any time.
    let running = block_on(job.start(world))?;
    world.run();
    Ok(running)
}

/// How the job ended, if it has.
pub(crate) fn outcome(running: &mut Running) -> Option<Result<Report, PipelineError>> {
    block_on(poll_once(running))
}
