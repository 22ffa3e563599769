//! A stage's input: a stream that ends once, whatever ends it.

use crate::element::Element;
use crate::error::{BoxError, Cause, StageError};
use crate::panics::caught;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Where a stage's elements come from. A trait, and not a function that the input holds, so that the compiler can see through the call
/// that is made for every record.
pub(crate) trait Feed<T, Time, M> {
    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Poll<Fed<T, Time, M>>;

    /// Gives records away for as long as `take` says that it wants more. None: it wants no more. Else what came in place of a record.
    #[inline]
    fn feed_records(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut impl FnMut(T, Time) -> bool,
    ) -> Option<Poll<Fed<T, Time, M>>> {
        loop {
            match self.poll_feed(cx) {
                Poll::Ready(Some(Ok(Element::Record(record, time)))) => {
                    if !take(record, time) {
                        return None;
                    }
                }
                other => return Some(other),
            }
        }
    }
}

/// What a stream gives: an element, none at its end, or an error that is its end.
pub(crate) type Fed<T, Time, M> = Option<Result<Element<T, Time, M>, BoxError>>;

/// The stream, until its end, its first error or its panic; it is dropped then, and not polled again.
pub(crate) struct Input<S>(Option<S>);

/// An element, the end, or the error that is the end.
pub(crate) type Next<T, Time, M> = Result<Option<Element<T, Time, M>>, StageError>;

/// Another way to ask a stream for its next element.
pub(crate) type Ask<S, T, Time, M> = fn(&mut S, &mut Context<'_>) -> Poll<Fed<T, Time, M>>;

impl<S> Input<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(Some(stream))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_none()
    }

    /// The stream, until its end. Whoever asks it brings the answer, or the message of its panic, to `conclude`.
    pub(crate) fn stream(&mut self) -> Option<&mut S> {
        self.0.as_mut()
    }

    /// Drops the stream; a panic of its `drop` ends here.
    pub(crate) fn close(&mut self) {
        let stream = self.0.take();
        let _ = caught(|| drop(stream));
    }

    /// The next element. After its end, or the error that ended it, there is none.
    pub(crate) fn poll_next<T, Time, M>(
        &mut self,
        stage: &Arc<str>,
        waker: &Waker,
    ) -> Poll<Next<T, Time, M>>
    where
        S: Feed<T, Time, M>,
    {
        self.poll_by(S::poll_feed, stage, waker)
    }

    /// As `poll_next`, but the stream is asked in this way.
    pub(crate) fn poll_by<T, Time, M>(
        &mut self,
        ask: Ask<S, T, Time, M>,
        stage: &Arc<str>,
        waker: &Waker,
    ) -> Poll<Next<T, Time, M>> {
        let Some(stream) = &mut self.0 else {
            return Poll::Ready(Ok(None));
        };
        let polled = caught(|| ask(stream, &mut Context::from_waker(waker)));
        self.conclude(stage, polled)
    }

    /// What the answer of the stream, or its panic, is to the stage.
    pub(crate) fn conclude<T, Time, M>(
        &mut self,
        stage: &Arc<str>,
        polled: Result<Poll<Fed<T, Time, M>>, String>,
    ) -> Poll<Next<T, Time, M>> {
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Some(Ok(element)))) => Poll::Ready(Ok(Some(element))),
            Ok(Poll::Ready(Some(Err(error)))) => {
                self.end(Err(StageError::of_input(Arc::clone(stage), error)))
            }
            Ok(Poll::Ready(None)) => self.end(Ok(None)),
            Err(message) => {
                let cause = Cause::InputPanicked(message);
                self.end(Err(StageError::of_stage(Arc::clone(stage), cause)))
            }
        }
    }

    #[cold]
    fn end<T, Time, M>(&mut self, end: Next<T, Time, M>) -> Poll<Next<T, Time, M>> {
        self.close();
        Poll::Ready(end)
    }
}
