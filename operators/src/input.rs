//! A stage's input: a stream that ends once, whatever ends it.

use crate::element::Element;
use crate::error::{BoxError, Cause, StageError};
use crate::panics::caught;
use futures_core::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The stream, until its end, its first error or its panic; it is dropped then, and not polled again.
pub(crate) struct Input<S: Stream, T, Time, M> {
    stream: Option<Pin<Box<S>>>,
    parse: Parse<S::Item, T, Time, M>,
}

/// An element, the end, or the error that is the end.
pub(crate) type Next<T, Time, M> = Result<Option<Element<T, Time, M>>, StageError>;

/// Tells elements from errors.
pub(crate) type Parse<Item, T, Time, M> = fn(Item) -> Result<Element<T, Time, M>, BoxError>;

/// How a stream is asked.
pub(crate) type PollStream<S> =
    fn(Pin<&mut S>, &mut Context<'_>) -> Poll<Option<<S as Stream>::Item>>;

impl<S: Stream, T, Time, M> Input<S, T, Time, M> {
    pub(crate) fn new(stream: S, parse: Parse<S::Item, T, Time, M>) -> Self {
        Self {
            stream: Some(Box::pin(stream)),
            parse,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stream.is_none()
    }

    /// Drops the stream; a panic of its `drop` ends here.
    pub(crate) fn close(&mut self) {
        let stream = self.stream.take();
        let _ = caught(|| drop(stream));
    }

    /// The next element. After its end, or the error that ended it, there is none.
    pub(crate) fn poll_next(&mut self, stage: &Arc<str>, waker: &Waker) -> Poll<Next<T, Time, M>> {
        self.poll_by(S::poll_next, stage, waker)
    }

    /// As `poll_next`, but the stream is asked in this way.
    pub(crate) fn poll_by(
        &mut self,
        poll: PollStream<S>,
        stage: &Arc<str>,
        waker: &Waker,
    ) -> Poll<Next<T, Time, M>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(None));
        };
        let polled = caught(|| poll(stream.as_mut(), &mut Context::from_waker(waker)));
        let stage = || Arc::clone(stage);
        let end = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Some(item))) => match (self.parse)(item) {
                Ok(element) => return Poll::Ready(Ok(Some(element))),
                Err(error) => Err(StageError::of_input(stage(), error)),
            },
            Ok(Poll::Ready(None)) => Ok(None),
            Err(message) => Err(StageError::of_stage(stage(), Cause::InputPanicked(message))),
        };
        self.close();
        Poll::Ready(end)
    }
}
