//! The consumer's end of a stage over records with times and marks.

use crate::element::{Element, EventTime, Mark};
use crate::error::StageError;
use crate::metrics::{Measured, Metrics, Monitor};
use crate::outputs::Outputs;
use futures_core::Stream;
use std::fmt::{self, Debug, Formatter};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The outputs of a stage, and the marks between them: what
/// [`async_map_elements`](crate::StreamExt::async_map_elements) returns. In all else as [`AsyncMap`](crate::AsyncMap).
#[must_use = "dropping the outputs of a stage cancels it"]
pub struct AsyncElements<Out> {
    outputs: Outputs<Out, Option<EventTime>, Mark>,
}

impl<Out> AsyncElements<Out> {
    pub(crate) fn new(outputs: Outputs<Out, Option<EventTime>, Mark>) -> Self {
        Self { outputs }
    }
}

impl<Out: Send + 'static> AsyncElements<Out> {
    /// The stage's counters now: of records, not of marks.
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

impl<Out> Stream for AsyncElements<Out> {
    type Item = Result<Element<Out>, StageError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().outputs.poll_take(cx)
    }
}

impl<Out: Send> Debug for AsyncElements<Out> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncElements")
            .field(&self.outputs.outlet().metrics())
            .finish()
    }
}
