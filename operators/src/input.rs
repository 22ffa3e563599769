//! A stage's input: a stream that ends once, whatever ends it.

use crate::element::Element;
use crate::error::{BoxError, Cause, StageError};
use crate::panics::caught;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The stream, until its end, its first error or its panic; it is dropped then, and not polled again.
pub(crate) struct Input<S, T, Time, M> {
    stream: Option<Pin<Box<S>>>,
    ask: Ask<S, T, Time, M>,
}

/// An element, the end, or the error that is the end.
pub(crate) type Next<T, Time, M> = Result<Option<Element<T, Time, M>>, StageError>;

/// How a stream is asked for its next element.
pub(crate) type Ask<S, T, Time, M> =
    fn(Pin<&mut S>, &mut Context<'_>) -> Poll<Option<Result<Element<T, Time, M>, BoxError>>>;

impl<S, T, Time, M> Input<S, T, Time, M> {
    pub(crate) fn new(stream: S, ask: Ask<S, T, Time, M>) -> Self {
        Self {
            stream: Some(Box::pin(stream)),
            ask,
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
    #[inline]
    pub(crate) fn poll_next(&mut self, stage: &Arc<str>, waker: &Waker) -> Poll<Next<T, Time, M>> {
        self.poll_by(self.ask, stage, waker)
    }

    /// As `poll_next`, but the stream is asked in this way.
    #[inline]
    pub(crate) fn poll_by(
        &mut self,
        ask: Ask<S, T, Time, M>,
        stage: &Arc<str>,
        waker: &Waker,
    ) -> Poll<Next<T, Time, M>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(None));
        };
        match caught(|| ask(stream.as_mut(), &mut Context::from_waker(waker))) {
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
    fn end(&mut self, end: Next<T, Time, M>) -> Poll<Next<T, Time, M>> {
        self.close();
        Poll::Ready(end)
    }
}
