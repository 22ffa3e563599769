//! A stage's input: a stream that ends once, whatever ends it.

use crate::error::{BoxError, Cause, StageError};
use crate::panics::caught;
use futures_core::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The stream, until its end, its first error or its panic; it is dropped then, and not polled again.
pub(crate) struct Input<S: Stream, T> {
    stream: Option<Pin<Box<S>>>,
    /// Tells records from errors.
    parse: fn(S::Item) -> Result<T, BoxError>,
}

impl<S: Stream, T> Input<S, T> {
    pub(crate) fn new(stream: S, parse: fn(S::Item) -> Result<T, BoxError>) -> Self {
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

    /// The next record. After its end, or the error that ended it, there is none.
    pub(crate) fn poll_next(
        &mut self,
        stage: &Arc<str>,
        waker: &Waker,
    ) -> Poll<Result<Option<T>, StageError>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(None));
        };
        let polled = caught(|| stream.as_mut().poll_next(&mut Context::from_waker(waker)));
        let stage = || Arc::clone(stage);
        let end = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Some(item))) => match (self.parse)(item) {
                Ok(record) => return Poll::Ready(Ok(Some(record))),
                Err(error) => Err(StageError::of_input(stage(), error)),
            },
            Ok(Poll::Ready(None)) => Ok(None),
            Err(message) => Err(StageError::of_stage(stage(), Cause::InputPanicked(message))),
        };
        self.close();
        Poll::Ready(end)
    }
}
