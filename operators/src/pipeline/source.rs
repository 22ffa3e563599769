//! Where records come from, and how a source goes on after a restart.

use super::checkpoint::Requests;
use super::host::Host;
use super::metrics::Tally;
use super::opening::{Opening, name_of};
use super::operator::{Ask, Operator, Step};
use crate::element::{Element, EventTime, Mark};
use crate::error::{BoxError, Cause, StageError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Where records come from.
///
/// A source has a *position*: what it needs to go on behind the last record that it gave. Given that position, the same
/// source in another process gives the same records that this one would have given. A source that has ended stays so: a job that
/// goes on from a checkpoint from after its end neither opens nor polls it.
///
/// A source is polled in a task of the runtime, so it must not block. One that reads files by calls that block is best
/// a [`Reader`](super::Reader), which runs elsewhere.
///
/// # Examples
///
/// A countdown:
///
/// ```
/// use peu_operators::pipeline::{Host, Source};
/// use std::convert::Infallible;
/// use std::task::{Context, Poll};
///
/// struct Countdown(u64);
///
/// impl Source for Countdown {
///     type Item = u64;
///     type Position = u64;
///     type Error = Infallible;
///
///     fn open(&mut self, _host: &Host, from: Option<u64>) {
///         self.0 = from.unwrap_or(self.0);
///     }
///
///     fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<u64, Infallible>>> {
///         let next = self.0.checked_sub(1);
///         self.0 = next.unwrap_or(0);
///         Poll::Ready(next.map(Ok))
///     }
///
///     fn position(&self) -> u64 {
///         self.0
///     }
/// }
/// ```
pub trait Source: Send + 'static {
    /// Its records.
    type Item: Send + 'static;
    /// See above. It goes into every checkpoint, so it should be small.
    type Position: Serialize + DeserializeOwned;
    /// Why it can't give its next record.
    type Error: Into<BoxError>;

    /// Begins, before the first poll: at the start, or behind the position that a checkpoint has. It must not block; what has to
    /// be opened is opened by the first poll.
    fn open(&mut self, host: &Host, from: Option<Self::Position>);

    /// The next record, or the end. An error ends the pipeline. After the end or an error it is not polled again.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Self::Item, Self::Error>>>;

    /// The position behind the last record that was given; also asked for at the end.
    fn position(&self) -> Self::Position;

    /// What it reads, if that has a name: a file's path. A checkpoint holds it, and with that a job whose source reads something else
    /// is refused: a position means nothing there.
    fn reads(&self) -> Option<String> {
        None
    }
}

/// A source as the first operator: what [`Pipeline::source`](super::Pipeline::source) makes.
pub struct FromSource<S> {
    source: S,
    /// None: not opened yet, or over before the checkpoint that the job goes on from.
    opened: Option<Opened>,
}

struct Opened {
    name: Arc<str>,
    requests: Arc<Requests>,
    /// The number of the last barrier that was sent.
    sent: u64,
    tally: Tally,
}

/// What a checkpoint holds of a source: whether it had ended, and its position.
type Saved<P> = (bool, P);

impl<S: Source> FromSource<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            opened: None,
        }
    }
}

impl Opened {
    fn bytes<P: Serialize>(&self, saved: Saved<P>) -> Result<Vec<u8>, StageError> {
        postcard::to_stdvec(&saved).map_err(|error| self.error(Cause::Snapshot(error.into())))
    }

    #[cold]
    fn error(&self, cause: Cause) -> StageError {
        StageError::of_stage(Arc::clone(&self.name), cause)
    }

    /// A barrier was asked for: it goes behind the last record.
    #[cold]
    fn barrier<T>(&mut self, position: impl Serialize) -> Result<Element<T>, StageError> {
        let barrier = self.requests.barrier();
        self.sent = barrier.number;
        barrier.put(&self.name, self.bytes((false, position))?);
        Ok(Element::Mark(Mark::Checkpoint(barrier)))
    }

    /// What the answer of the source is to the operator behind it; none if the source is to be asked again, behind a barrier.
    fn step<S: Source>(
        &mut self,
        source: &S,
        polled: Poll<Option<Result<S::Item, S::Error>>>,
        cx: &Context<'_>,
    ) -> Option<Poll<Step<S::Item>>> {
        let step = match polled {
            Poll::Ready(Some(Ok(record))) => {
                self.tally.record_out();
                Some(Ok(Element::Record(record, None)))
            }
            Poll::Ready(Some(Err(error))) => Some(Err(self.error(Cause::Input(error.into())))),
            Poll::Ready(None) => self.end(source.position()).err().map(Err),
            Poll::Pending if self.requests.wait(self.sent, cx.waker()) => {
                return Some(Poll::Pending);
            }
            Poll::Pending => return None,
        };
        Some(Poll::Ready(step))
    }

    /// Every checkpoint from now on says that the source has ended, and here.
    #[cold]
    fn end(&self, position: impl Serialize) -> Result<(), StageError> {
        let bytes = self.bytes((true, position))?;
        self.requests.source_ended(&self.name, bytes);
        Ok(())
    }
}

impl<S: Source> Operator for FromSource<S> {
    type Item = S::Item;

    fn open(&mut self, opening: &mut Opening) {
        let item = name_of::<S::Item>();
        let what = match self.source.reads() {
            Some(what) => format!("a source of {item} from {what}"),
            None => format!("a source of {item}"),
        };
        let name = opening.enter_unnamed("source", what);
        let from: Option<(Saved<S::Position>, _)> = opening.state_and_bytes(&name);
        opening.sources.push(Arc::clone(&name));
        let opened = Opened {
            name,
            sent: opening.requests.newest(),
            tally: Tally::new(),
            requests: Arc::clone(&opening.requests),
        };
        opening.tally(&opened.name, &opened.tally);
        match from {
            // Every checkpoint from now on says that too.
            Some(((true, _), bytes)) => opening.requests.source_ended(&opened.name, bytes),
            from => {
                let position = from.map(|((_, position), _)| position);
                self.source.open(&opening.host, position);
                self.opened = Some(opened);
            }
        }
    }

    #[inline]
    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<S::Item>> {
        let Some(opened) = &mut self.opened else {
            return Poll::Ready(None);
        };
        loop {
            if opened.requests.newest() != opened.sent {
                return Poll::Ready(Some(opened.barrier(self.source.position())));
            }
            let polled = match ask {
                Ask::Next => self.source.poll_next(cx),
                Ask::OnlyBarrier => Poll::Pending,
            };
            if let Some(step) = opened.step(&self.source, polled, cx) {
                return step;
            }
        }
    }

    #[inline]
    fn poll_records(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut impl FnMut(S::Item, Option<EventTime>) -> bool,
    ) -> Option<Poll<Step<S::Item>>> {
        let Some(opened) = &mut self.opened else {
            return Some(Poll::Ready(None));
        };
        while opened.requests.newest() == opened.sent {
            match self.source.poll_next(cx) {
                Poll::Ready(Some(Ok(record))) => {
                    opened.tally.record_out();
                    if !take(record, None) {
                        return None;
                    }
                }
                other => {
                    if let Some(step) = opened.step(&self.source, other, cx) {
                        return Some(step);
                    }
                }
            }
        }
        Some(Poll::Ready(Some(opened.barrier(self.source.position()))))
    }
}
