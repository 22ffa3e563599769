//! Records given to a function.

use crate::error::BoxError;
use crate::pipeline::host::Host;
use crate::pipeline::sink::Sink;
use std::future::Future;

/// Calls an async function for each record, one after the other.
///
/// What it does is visible at once. After a restart it is called again for the records since the last checkpoint: at
/// least once, not exactly. For many at a time put an async stage before it.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::pipeline::{Pipeline, for_each, iterate};
///
/// let small = for_each(|n: u64| async move {
///     if n < 3 { Ok(()) } else { Err(format!("{n} is too much")) }
/// });
/// let error = block_on(Pipeline::source(iterate(0..9)).sink(small).run_on(&Threads)).unwrap_err();
/// assert_eq!(error.to_string(), "the sink failed: 3 is too much");
/// ```
pub fn for_each<F>(function: F) -> ForEach<F> {
    ForEach(function)
}

/// What [`for_each`] makes.
#[derive(Clone, Debug)]
pub struct ForEach<F>(F);

impl<T, F, Fut, E> Sink<T> for ForEach<F>
where
    T: Send + 'static,
    F: FnMut(T) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Into<BoxError>,
{
    type Prepared = ();
    type Error = E;

    async fn open(&mut self, _host: &Host, _restored: Option<&()>) -> Result<(), E> {
        Ok(())
    }

    async fn write(&mut self, record: T) -> Result<(), E> {
        (self.0)(record).await
    }

    async fn prepare(&mut self, _is_last: bool) -> Result<(), E> {
        Ok(())
    }

    async fn commit(&mut self, _prepared: &()) -> Result<(), E> {
        Ok(())
    }

    async fn abort(&mut self) {}
}
