use super::jobs::{Disk, DiskSink};
use peu_operators::pipeline::{Host, Sink};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Lets records into a sink, or does not.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Mutex<GateState>>);

pub(crate) struct GateState {
    has_room: bool,
    write: Write,
    /// Sinks that have to prepare before any of them has.
    pub(crate) to_prepare: usize,
    wakers: Vec<Waker>,
}

/// What becomes of a write.
#[derive(Clone, Copy)]
pub(crate) enum Write {
    Ends,
    Waits,
    Panics,
}

impl Gate {
    pub(crate) fn open() -> Self {
        Self(Arc::new(Mutex::new(GateState {
            has_room: true,
            write: Write::Ends,
            to_prepare: 0,
            wakers: Vec::new(),
        })))
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut GateState)) {
        let mut state = self.0.lock().unwrap();
        change(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn set(&self, is_open: bool) {
        self.change(|state| state.has_room = is_open);
    }

    pub(crate) fn set_write(&self, write: Write) {
        self.change(|state| state.write = write);
    }

    /// Ready when this is so.
    fn poll(&self, cx: &Context<'_>, is_so: impl Fn(&GateState) -> bool) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if is_so(&state) {
            return Poll::Ready(());
        }
        state.wakers.push(cx.waker().clone());
        Poll::Pending
    }

    fn write(&self, cx: &Context<'_>) -> Poll<()> {
        let write = self.0.lock().unwrap().write;
        assert!(!matches!(write, Write::Panics), "the write panics");
        self.poll(cx, |state| matches!(state.write, Write::Ends))
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
        self.gate.poll(cx, |state| state.has_room).map(Ok)
    }

    async fn write(&mut self, record: T) -> Result<(), K::Error> {
        poll_fn(|cx| self.gate.write(cx)).await;
        self.sink.write(record).await
    }

    async fn prepare(&mut self, is_last: bool) -> Result<K::Prepared, K::Error> {
        self.gate
            .change(|state| state.to_prepare = state.to_prepare.saturating_sub(1));
        poll_fn(|cx| self.gate.poll(cx, |state| state.to_prepare == 0)).await;
        self.sink.prepare(is_last).await
    }

    async fn commit(&mut self, prepared: &K::Prepared) -> Result<(), K::Error> {
        self.sink.commit(prepared).await
    }

    async fn abort(&mut self) {
        self.sink.abort().await;
    }
}
