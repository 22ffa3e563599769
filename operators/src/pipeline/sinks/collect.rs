//! Records kept in memory.

use crate::pipeline::host::Host;
use crate::pipeline::sink::Sink;
use crate::sync::Mutex;
use std::convert::Infallible;
use std::mem;
use std::sync::Arc;

/// A sink that keeps its records in memory, and the handle to get at them: for tests and small answers. They are visible at
/// once, and gone with the process, so a checkpoint does not hold them.
///
/// # Examples
///
/// See [`iterate`](crate::pipeline::iterate).
pub fn collect<T>() -> (Collect<T>, Collected<T>) {
    let records = Arc::new(Mutex::new(Vec::new()));
    (Collect(Arc::clone(&records)), Collected(records))
}

/// The sink that [`collect`] makes.
#[derive(Debug)]
pub struct Collect<T>(Arc<Mutex<Vec<T>>>);

/// The handle that [`collect`] makes.
#[derive(Debug)]
pub struct Collected<T>(Arc<Mutex<Vec<T>>>);

impl<T> Collected<T> {
    /// Takes what was written since it was last called.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        mem::take(&mut self.0.lock())
    }
}

impl<T: Send + 'static> Sink<T> for Collect<T> {
    type Prepared = ();
    type Error = Infallible;

    async fn open(&mut self, _host: &Host, _restored: Option<&()>) -> Result<(), Infallible> {
        Ok(())
    }

    async fn write(&mut self, record: T) -> Result<(), Infallible> {
        self.0.lock().push(record);
        Ok(())
    }

    async fn prepare(&mut self, _is_last: bool) -> Result<(), Infallible> {
        Ok(())
    }

    async fn commit(&mut self, _prepared: &()) -> Result<(), Infallible> {
        Ok(())
    }

    async fn abort(&mut self) {}
}
