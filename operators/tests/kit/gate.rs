use super::jobs::{Disk, DiskSink};
use peu_operators::pipeline::{Host, Sink};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Lets records into a sink, or does not.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    pub(crate) fn open() -> Self {
        Self(Arc::new(Mutex::new((true, None))))
    }

    pub(crate) fn set(&self, is_open: bool) {
        let mut state = self.0.lock().unwrap();
        state.0 = is_open;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }

    pub(crate) fn sink<T: Clone + Send + 'static>(&self, disk: &Disk<T>) -> Gated<DiskSink<T>> {
        Gated {
            sink: disk.sink(),
            gate: self.clone(),
        }
    }
}

pub(crate) struct Gated<K> {
    sink: K,
    gate: Gate,
}

impl<T: Send + 'static, K: Sink<T>> Sink<T> for Gated<K> {
    type Prepared = K::Prepared;
    type Error = K::Error;

    async fn open(&mut self, host: &Host, restored: Option<&K::Prepared>) -> Result<(), K::Error> {
        self.sink.open(host, restored).await
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), K::Error>> {
        let mut state = self.gate.0.lock().unwrap();
        state.1 = Some(cx.waker().clone());
        if state.0 {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    async fn write(&mut self, record: T) -> Result<(), K::Error> {
        self.sink.write(record).await
    }

    async fn prepare(&mut self, is_last: bool) -> Result<K::Prepared, K::Error> {
        self.sink.prepare(is_last).await
    }

    async fn commit(&mut self, prepared: &K::Prepared) -> Result<(), K::Error> {
        self.sink.commit(prepared).await
    }

    async fn abort(&mut self) {
        self.sink.abort().await;
    }
}
