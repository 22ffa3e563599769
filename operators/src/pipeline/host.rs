//! The runtime, as a pipeline sees it: whatever type it has.

use crate::runtime::{Offload, Spawn, Timer};
use futures_channel::oneshot;
use std::error::Error;
use std::fmt::{self, Debug, Display, Formatter};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

/// Anything that runs pipelines: [`Spawn`], [`Timer`] and [`Offload`] together. It need not be implemented.
pub trait Runtime: Spawn + Timer + Offload + Sync {}

impl<R: Spawn + Timer + Offload + Sync> Runtime for R {}

/// The runtime that a pipeline runs on, for its sources and sinks. Cheap to clone.
///
/// A pipeline names its runtime once, when it is run, so its type can't know it: behind this stands whichever it is. The
/// price is a box for each task and each sleep, none for a record.
#[derive(Clone)]
pub struct Host(Arc<dyn AnyRuntime>);

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

trait AnyRuntime: Send + Sync {
    fn spawn(&self, task: BoxFuture);
    fn now(&self) -> Instant;
    fn sleep_until(&self, deadline: Instant) -> BoxFuture;
    fn offload(&self, job: Box<dyn FnOnce() + Send>);
}

impl<R: Runtime> AnyRuntime for R {
    fn spawn(&self, task: BoxFuture) {
        Spawn::spawn(self, task);
    }

    fn now(&self) -> Instant {
        Timer::now(self)
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture {
        Box::pin(Timer::sleep_until(self, deadline))
    }

    fn offload(&self, job: Box<dyn FnOnce() + Send>) {
        Offload::offload(self, job);
    }
}

impl Host {
    pub(crate) fn new<R: Runtime>(runtime: R) -> Self {
        Self(Arc::new(runtime))
    }

    /// Whether both are the same job's.
    pub(crate) fn is_same_job(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn spawn(&self, task: BoxFuture) {
        self.0.spawn(task);
    }

    /// Runs `job`, which may block, where that harms no task; ready when it has run.
    ///
    /// The job runs whether or not the future is polled. Dropping the future does not stop it.
    ///
    /// # Errors
    ///
    /// If the runtime dropped the job, for it has ended, or if the job panicked.
    pub fn offload<F, V>(&self, job: F) -> Offloaded<V>
    where
        F: FnOnce() -> V + Send + 'static,
        V: Send + 'static,
    {
        let (done, result) = oneshot::channel();
        // An error means that nobody waits for the result any longer.
        self.0.offload(Box::new(move || drop(done.send(job()))));
        Offloaded(result)
    }
}

impl Timer for Host {
    type Sleep = BoxFuture;

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture {
        self.0.sleep_until(deadline)
    }
}

impl Debug for Host {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}

/// The result of a job that runs elsewhere: what [`Host::offload`] returns.
#[derive(Debug)]
#[must_use = "the job runs anyhow, but only this tells when it has"]
pub struct Offloaded<V>(oneshot::Receiver<V>);

impl<V> Future for Offloaded<V> {
    type Output = Result<V, Gone>;

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| Gone)
    }
}

/// A job that was to run elsewhere never ended: it panicked, or its runtime did not run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Display for Gone {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("work on a file panicked, or its runtime ended before it was done")
    }
}

impl Error for Gone {}
