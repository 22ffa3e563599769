//! Where records go, and how they get there exactly once.

use super::host::Host;
use crate::error::BoxError;
use crate::metrics::Monitor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Where records go.
///
/// A sink whose output is to be right after a crash makes it visible in two phases, with the job's checkpoint in between:
/// [`prepare`](Sink::prepare), then [`commit`](Sink::commit). The story is told in [the module](super#checkpoints).
///
/// All methods are called by one task, one at a time, and none of their futures is dropped before it is ready, unless the
/// whole job is. They must not block: what does goes through [`Host::offload`].
///
/// # Examples
///
/// The simplest sink keeps its records to itself until they are complete. What was prepared is the records themselves, so
/// it needs no other place that survives a crash:
///
/// ```
/// use peu_operators::pipeline::{Host, Sink};
/// use std::io;
/// use std::sync::{Arc, Mutex};
///
/// struct Shelf {
///     written: Vec<u64>,
///     visible: Arc<Mutex<Vec<u64>>>,
/// }
///
/// impl Sink<u64> for Shelf {
///     type Prepared = Vec<u64>;
///     type Error = io::Error;
///
///     async fn open(&mut self, _host: &Host, restored: Option<&Vec<u64>>) -> io::Result<()> {
///         self.written = restored.cloned().unwrap_or_default();
///         Ok(())
///     }
///
///     async fn write(&mut self, record: u64) -> io::Result<()> {
///         self.written.push(record);
///         Ok(())
///     }
///
///     async fn prepare(&mut self, _is_last: bool) -> io::Result<Vec<u64>> {
///         Ok(self.written.clone())
///     }
///
///     // Setting what is visible, and not adding to it, makes a second commit harmless.
///     async fn commit(&mut self, prepared: &Vec<u64>) -> io::Result<()> {
///         *self.visible.lock().unwrap() = prepared.clone();
///         Ok(())
///     }
///
///     async fn abort(&mut self) {}
/// }
/// ```
pub trait Sink<T>: Send + 'static {
    /// What a commit needs. It goes into the checkpoint.
    type Prepared: Serialize + DeserializeOwned + Send + Sync;
    /// Why a record can't be taken.
    type Error: Into<BoxError>;

    /// Makes itself ready, before any record is read. `restored` is what was prepared for the checkpoint from which
    /// the job goes on: all that was written later is to be forgotten. It is committed next, whether or not it had been.
    ///
    /// When the newest checkpoint is damaged, the one before it is used: then what is to be forgotten may have been *committed*. A
    /// sink whose commits set what is visible takes that back, as a file does that is cut. One whose commits add to what is
    /// visible, or hand it on, can't, and must refuse if it finds that it has committed more than it is told here.
    fn open(
        &mut self,
        host: &Host,
        restored: Option<&Self::Prepared>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Ready if there is room for a record: asked before each. While it is pending, no record is read, but a checkpoint may be
    /// made, and brings along what an operator before the sink can't keep.
    ///
    /// A sink that works by itself does so in here. Whether it was ready or not, it wakes the task when it has to be asked
    /// again; an error ends the pipeline, also while there is no record. A sink that always has room need not have this.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Takes a record. It may keep it in memory for as long as it likes, until `prepare`.
    fn write(&mut self, record: T) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Makes all that was written so far safe, but not visible. `is_last`: nothing more will be written.
    fn prepare(
        &mut self,
        is_last: bool,
    ) -> impl Future<Output = Result<Self::Prepared, Self::Error>> + Send;

    /// Makes visible what was prepared. After a crash it is called again with the same: then it changes nothing, or does what the
    /// crash left undone.
    fn commit(
        &mut self,
        prepared: &Self::Prepared,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// What it writes, if that has a name: a file's kind and path. A checkpoint holds it, and with that a job whose sink writes
    /// something else is refused: what was prepared means nothing there.
    fn writes(&self) -> Option<String> {
        None
    }

    /// The counters of sinks that are stages of their own, as [`AsyncSink`](super::AsyncSink) is, with their names:
    /// [`Running::monitors`](super::Running::monitors) has them, and no stage may have such a name. Most sinks have none.
    /// Asked before the sink is opened.
    fn monitors(&self) -> Vec<(Arc<str>, Monitor)> {
        Vec::new()
    }

    /// The pipeline has failed: removes what no checkpoint will ever want. Best effort; a crash does not call it.
    fn abort(&mut self) -> impl Future<Output = ()> + Send;
}
