//! The consumer's end of a stage whose records have any number of outputs.

use crate::element::Plain;
use crate::error::StageError;
use crate::metrics::{Measured, Metrics, Monitor};
use crate::outputs::Outputs;
use futures_core::Stream;
use std::convert::Infallible;
use std::fmt::{self, Debug, Formatter};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The outputs of a stage: what [`async_flat_map`](crate::StreamExt::async_flat_map) returns.
///
/// As [`AsyncMap`](crate::AsyncMap), but a record has as many outputs as its collection has items. They come one behind the other, and
/// the record keeps its place in the stage until the last of them is taken. The iterator runs in the consumer's poll: if
/// it panics, that is a panic of the consumer.
#[must_use = "dropping the outputs of a stage cancels it"]
pub struct AsyncFlatMap<Outs: IntoIterator> {
    outputs: Outputs<Outs, (), Infallible>,
    /// The outputs of the record that was taken last, and still has its place.
    current: Option<Outs::IntoIter>,
}

impl<Outs: IntoIterator> AsyncFlatMap<Outs> {
    pub(crate) fn new(outputs: Outputs<Outs, (), Infallible>) -> Self {
        Self {
            outputs,
            current: None,
        }
    }

    /// The next output of the current record. With its last output, as far as the iterator knows it, it leaves.
    fn next_of_current(&mut self) -> Option<Outs::Item> {
        let outputs = self.current.as_mut()?;
        let output = outputs.next();
        if output.is_none() || outputs.size_hint().1 == Some(0) {
            self.current = None;
            self.outputs.release();
        }
        output
    }
}

impl<Outs> AsyncFlatMap<Outs>
where
    Outs: IntoIterator + Send + 'static,
{
    /// The stage's counters now: of records, not of outputs.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.outputs.outlet().metrics()
    }

    /// A handle that reads the stage's counters while another task owns its outputs.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        Monitor::new(self.outputs.outlet().clone())
    }
}

impl<Outs: IntoIterator> Stream for AsyncFlatMap<Outs> {
    type Item = Result<Outs::Item, StageError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(output) = this.next_of_current() {
                return Poll::Ready(Some(Ok(output)));
            }
            match ready!(this.outputs.poll_borrow(cx)) {
                Some(Ok(outputs)) => this.current = Some(Plain::into_record(outputs).into_iter()),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// The iterator is never pinned.
impl<Outs: IntoIterator> Unpin for AsyncFlatMap<Outs> {}

impl<Outs: IntoIterator + Send> Debug for AsyncFlatMap<Outs> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncFlatMap")
            .field(&self.outputs.outlet().metrics())
            .finish()
    }
}
