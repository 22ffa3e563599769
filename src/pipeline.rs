//! Pipelines on peu: all of [`operators::pipeline`](crate::operators::pipeline), where their story is told, and
//! [`run`](Run::run), which needs no runtime named.

#[doc(inline)]
pub use crate::operators::pipeline::*;

use crate::Handle;
use std::future::Future;

/// Runs a [`Job`] on the current runtime.
///
/// # Example
///
/// ```
/// use peu::pipeline::{Pipeline, Run as _, collect, iterate};
///
/// let runtime = peu::Runtime::new()?;
/// let (sink, squares) = collect();
/// let job = Pipeline::source(iterate(1_u64..=3)).map(|n| n * n).sink(sink);
/// let report = runtime.block_on(job.run())?;
/// assert_eq!(report.written, 3);
/// assert_eq!(squares.take(), [1, 4, 9]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Run {
    /// As [`Job::run_on`], on the runtime that the future is polled in.
    ///
    /// # Panics
    ///
    /// Outside of any runtime, when polled.
    fn run(self) -> impl Future<Output = Result<Report, PipelineError>> + Send;
}

impl<O, K> Run for Job<O, K>
where
    O: Operator,
    K: Sink<O::Item>,
{
    async fn run(self) -> Result<Report, PipelineError> {
        self.run_on(&Handle::current()).await
    }
}
