//! The consumer's end of a stage.

use crate::element::Plain;
use crate::error::StageError;
use crate::metrics::{Measured, Metrics, Monitor};
use crate::outputs::Outputs;
use futures_core::Stream;
use std::convert::Infallible;
use std::fmt::{self, Debug, Formatter};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The outputs of a stage: what [`async_map`](crate::StreamExt::async_map) returns.
///
/// It yields each output as `Ok`. It ends after the last, or after one `Err` that says what ended the stage early;
/// polled again, it stays at its end. Polling is cancel safe, takes a short lock now and then, and allocates nothing; the requests
/// make progress whether it is polled or not.
///
/// Dropping it stops the stage without draining it: nothing further is emitted, and the stage's task drops every
/// request and its input, as soon as it runs.
#[must_use = "dropping the outputs of a stage cancels it"]
pub struct AsyncMap<Out> {
    outputs: Outputs<Out, (), Infallible>,
}

impl<Out> AsyncMap<Out> {
    pub(crate) fn new(outputs: Outputs<Out, (), Infallible>) -> Self {
        Self { outputs }
    }
}

impl<Out: Send + 'static> AsyncMap<Out> {
    /// The stage's counters now.
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

impl<Out> Stream for AsyncMap<Out> {
    type Item = Result<Out, StageError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.get_mut().outputs.poll_take(cx);
        polled.map(|taken| taken.map(|taken| taken.map(Plain::into_record)))
    }
}

impl<Out: Send> Debug for AsyncMap<Out> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncMap")
            .field(&self.outputs.outlet().metrics())
            .finish()
    }
}
