//! The sink's task: it asks for elements, and so drives what stands before it. And the task that asks for checkpoints.
//!
//! With the barrier in hand, the sink's task completes the checkpoint: prepare, write, commit, in this order and before it
//! takes another record. That holds the sink up for as long as the disk takes to sync two files, and keeps the protocol
//! in one place. Better would be to write on while the checkpoint's file is synced; that pays only when checkpoints come
//! as fast as a disk syncs, and then fewer of them help more.

use super::budget::Budget;
use super::checkpoint::{Checkpoint, CheckpointError, Part, Requests, Store};
use super::error::PipelineError;
use super::host::Host;
use super::metrics::Tally;
use super::operator::{Ask, Operator, Step};
use super::sink::Sink;
use crate::barrier::{CheckpointBarrier, States};
use crate::element::{Element, EventTime, Mark};
use crate::error::{Cause, StageError};
use crate::panics::caught;
use crate::runtime::Timer;
use futures_channel::oneshot;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The sink, what stands before it, and all that completes a checkpoint.
pub(super) struct Drive<O, K> {
    pub(super) input: O,
    pub(super) sink: K,
    /// The sink's name.
    pub(super) name: Arc<str>,
    pub(super) host: Host,
    pub(super) requests: Arc<Requests>,
    /// The number of the last barrier that came.
    pub(super) passed: u64,
    pub(super) store: Option<Store>,
    pub(super) parts: Vec<Part>,
    /// The names of the sources.
    pub(super) sources: Vec<Arc<str>>,
    pub(super) checkpoints: u64,
    pub(super) tally: Tally,
    /// The operators are being asked: what panics now is theirs.
    pub(super) is_asking: bool,
}

/// What the sink's task has done.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) written: u64,
    pub(super) checkpoints: u64,
}

/// Who waits for the pipeline to end.
pub(super) type Waits = oneshot::Sender<Result<Counts, PipelineError>>;

impl<O, K> Drive<O, K>
where
    O: Operator,
    K: Sink<O::Item>,
{
    /// To the end of the input, to a failure, or until nobody waits for the end any more.
    pub(super) async fn run(mut self, mut waits: Waits) {
        let requests = Closing(Arc::clone(&self.requests));
        let outcome = {
            let work = pin!(self.work());
            let mut work = Unwinding(work);
            // Whatever it waits for, a sink that hangs too: when nobody waits for the end any more, this is it.
            let outcome = poll_fn(|cx| match waits.poll_canceled(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(Err(PipelineError::Cancelled))),
                Poll::Pending => Pin::new(&mut work).poll(cx),
            });
            outcome.await
        };
        let outcome = outcome.unwrap_or_else(|message| Err(self.panicked(message)));
        // Whoever waits shall find that nothing goes on: the stages before the sink are told to end first. A panic of a `drop` is
        // not what they wait for.
        let _ = caught(|| drop((self.input, requests)));
        if outcome.is_err() {
            let _ = Unwinding(pin!(self.sink.abort())).await;
        }
        let _ = caught(|| drop((self.sink, self.store)));
        let counts = Counts {
            written: self.tally.monitor().metrics().records_in,
            checkpoints: self.checkpoints,
        };
        // An error means that nobody waits.
        let _ = waits.send(outcome.map(|()| counts));
    }

    fn panicked(&self, message: String) -> PipelineError {
        if self.is_asking {
            let cause = Cause::InputPanicked(message);
            return StageError::of_stage(Arc::from("sink"), cause).into();
        }
        PipelineError::Sink(format!("panicked: {message}").into())
    }

    async fn work(&mut self) -> Result<(), PipelineError> {
        let mut budget = Budget::default();
        loop {
            let coming = Coming {
                drive: self,
                budget: &mut budget,
            };
            match coming.await {
                Next::Record(record) => {
                    self.sink.write(record).await.map_err(sink_error)?;
                    self.tally.records_in(1);
                }
                Next::Checkpoint(barrier) => {
                    self.passed = barrier.number;
                    let states = std::mem::take(&mut *barrier.states.lock());
                    self.checkpoint(barrier.number, states, false).await?;
                    self.requests.complete();
                }
                Next::Watermark(time) => self.tally.watermark(time),
                Next::OtherMark => {}
                Next::End => return self.checkpoint_at_end().await,
                Next::Failed(error) => return Err(*error),
            }
        }
    }

    /// The next element; without room in the sink only the barrier, once one was asked for.
    #[inline]
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next<O::Item>> {
        let has_room = match self.sink.poll_ready(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(error)) => {
                return Poll::Ready(Next::Failed(Box::new(sink_error(error))));
            }
            Poll::Pending if self.requests.wait(self.passed, cx.waker()) => return Poll::Pending,
            Poll::Pending => false,
        };
        let mut record = None;
        self.is_asking = true;
        let other = match has_room {
            true => self.input.poll_records(cx, &mut |next, _| {
                record = Some(next);
                false
            }),
            false => Some(self.input.poll_next(cx, Ask::OnlyBarrier)),
        };
        self.is_asking = false;
        match (record, other) {
            (Some(record), _) => Poll::Ready(Next::Record(record)),
            (None, Some(other)) => other.map(Next::of),
            (None, None) => Poll::Pending,
        }
    }

    /// All was written: what was prepared now is complete.
    async fn checkpoint_at_end(&mut self) -> Result<(), PipelineError> {
        let number = self.requests.newest() + 1;
        self.checkpoint(number, States::new(), true).await
    }

    /// The two phases, with the checkpoint between them.
    async fn checkpoint(
        &mut self,
        number: u64,
        states: States,
        is_last: bool,
    ) -> Result<(), PipelineError> {
        let prepared = self.sink.prepare(is_last).await.map_err(sink_error)?;
        if let Some(store) = self.store.clone() {
            let sink = postcard::to_stdvec(&prepared).map_err(sink_error)?;
            let checkpoint = Checkpoint {
                number,
                is_last,
                parts: self.parts.clone(),
                states: self.all_states(states, sink)?,
            };
            let written = self.host.offload(move || store.write(&checkpoint)).await;
            written.map_err(|_| PipelineError::Cancelled)??;
            self.checkpoints += 1;
        }
        self.sink.commit(&prepared).await.map_err(sink_error)
    }

    /// What the barrier has collected, the sources that had ended before it came, and the sink. Better no checkpoint than one
    /// without the position of a source, from which that would be read once more from its beginning.
    fn all_states(
        &self,
        states: States,
        sink: Vec<u8>,
    ) -> Result<BTreeMap<String, Vec<u8>>, CheckpointError> {
        let mut all = self.requests.ended();
        all.extend(states);
        if let Some(source) = self.sources.iter().find(|name| !all.contains_key(*name)) {
            let missing = format!("the position of `{source}` is missing");
            return Err(CheckpointError::Unwritable(missing.into()));
        }
        all.insert(Arc::clone(&self.name), sink);
        let all = all.into_iter();
        Ok(all.map(|(name, state)| (name.to_string(), state)).collect())
    }
}

fn sink_error(error: impl Into<crate::error::BoxError>) -> PipelineError {
    PipelineError::Sink(error.into())
}

/// What comes next, for the sink: a few words, for each record passes through here.
enum Next<T> {
    Record(T),
    Checkpoint(CheckpointBarrier),
    Watermark(EventTime),
    OtherMark,
    End,
    Failed(Box<PipelineError>),
}

impl<T> Next<T> {
    fn of(step: Step<T>) -> Self {
        match step {
            Some(Ok(Element::Record(record, _))) => Self::Record(record),
            Some(Ok(Element::Mark(Mark::Checkpoint(barrier)))) => Self::Checkpoint(barrier),
            Some(Ok(Element::Mark(Mark::Watermark(time)))) => Self::Watermark(time),
            Some(Ok(Element::Mark(_))) => Self::OtherMark,
            Some(Err(error)) => Self::Failed(Box::new(error.into())),
            None => Self::End,
        }
    }
}

/// Waits for what comes next. A future of its own, for `poll_fn` is not inlined here, and this is called for each record.
struct Coming<'a, O, K> {
    drive: &'a mut Drive<O, K>,
    budget: &'a mut Budget,
}

impl<O: Operator, K: Sink<O::Item>> Future for Coming<'_, O, K> {
    type Output = Next<O::Item>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { drive, budget } = self.get_mut();
        budget.poll(cx, |cx| drive.poll_next(cx))
    }
}

/// A future whose panics are its error.
pub(super) struct Unwinding<'a, F>(pub(super) Pin<&'a mut F>);

impl<F: Future> Future for Unwinding<'_, F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match caught(|| self.0.as_mut().poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(message) => Poll::Ready(Err(message)),
        }
    }
}

/// Sees to it that nobody asks for checkpoints of a pipeline that has ended, or whose task was dropped.
struct Closing(Arc<Requests>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Asks for a checkpoint when this time has passed since the last was complete, again and again.
pub(super) async fn ask_every(interval: Duration, host: Host, requests: Arc<Requests>) {
    loop {
        let at = host.now().checked_add(interval);
        let mut sleep = at.map(|at| host.sleep_until(at));
        let is_over = poll_fn(|cx| {
            if requests.poll_end(cx).is_ready() {
                return Poll::Ready(true);
            }
            match &mut sleep {
                Some(sleep) => sleep.as_mut().poll(cx).map(|()| false),
                None => Poll::Pending,
            }
        });
        if is_over.await {
            return;
        }
        requests.ask();
        if poll_fn(|cx| requests.poll_rest(cx)).await {
            return;
        }
    }
}
