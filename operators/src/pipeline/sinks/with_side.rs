//! A sink with another at its side, which takes the records of a side output.

use crate::error::BoxError;
use crate::metrics::Monitor;
use crate::pipeline::host::Host;
use crate::pipeline::opening::name_of;
use crate::pipeline::side_output::SideRecords;
use crate::pipeline::sink::Sink;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// What [`Job::side_sink`](crate::pipeline::Job::side_sink) makes: the main sink, and the one at its side.
///
/// Both are one sink to the pipeline, so what they prepare is in one checkpoint. The side sink works while the main one is asked whether it has
/// room, whatever the answer.
pub struct WithSide<K, S, T> {
    main: K,
    /// None while it writes.
    side: Option<S>,
    writing: Option<Writing<S, T>>,
    records: SideRecords<T>,
    /// Taken off the shelf, and not yet written. The shelf is told of it, for they leave no room there.
    waiting: VecDeque<T>,
}

/// The side sink writes: it owns all that it needs, and gives it back. A box for each run of records that found it at rest.
type Writing<S, T> = Pin<Box<dyn Future<Output = Wrote<S, T>> + Send>>;

/// The side sink, what it had no room for, and how it went.
type Wrote<S, T> = (S, VecDeque<T>, Result<(), BoxError>);

/// What the commits of both need.
#[derive(Serialize, Deserialize)]
pub struct PreparedBoth<P, Q> {
    main: P,
    side: Q,
    /// Records, by `postcard`, for which the side sink had no room.
    waiting: Vec<u8>,
}

impl<K, S: Sink<T>, T: Send + 'static> WithSide<K, S, T> {
    pub(in crate::pipeline) fn new(main: K, records: SideRecords<T>, side: S) -> Self {
        Self {
            main,
            side: Some(side),
            writing: None,
            records,
            waiting: VecDeque::new(),
        }
    }

    fn side(&mut self) -> &mut S {
        let side = self.side.as_mut();
        side.expect("what it writes is awaited before it is asked for anything else")
    }

    /// Lets the side sink work. Ready only with an error.
    fn poll_side(&mut self, cx: &mut Context<'_>) -> Poll<BoxError> {
        loop {
            if let Err(error) = ready!(self.poll_written(cx)) {
                return Poll::Ready(error);
            }
            if let Err(error) = ready!(self.side().poll_ready(cx)) {
                return Poll::Ready(error.into());
            }
            if self.waiting.is_empty() {
                self.waiting = self.records.take(cx);
            }
            if self.waiting.is_empty() {
                return Poll::Pending;
            }
            self.write_waiting();
        }
    }

    /// Ready when the side sink is at rest.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let Some(writing) = &mut self.writing else {
            return Poll::Ready(Ok(()));
        };
        let (side, waiting, result) = ready!(writing.as_mut().poll(cx));
        (self.side, self.waiting, self.writing) = (Some(side), waiting, None);
        self.records.hold(self.waiting.len());
        Poll::Ready(result)
    }

    /// Begins to write what waits.
    fn write_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.writing = self
            .side
            .take()
            .map(|side| Box::pin(write(side, waiting)) as _);
    }

    /// All that was given before the barrier is in the side sink or waits here; at the end, where no barrier comes later, it is in the sink.
    async fn take_to_barrier(&mut self, is_last: bool) -> Result<(), BoxError> {
        poll_fn(|cx| self.poll_written(cx)).await?;
        self.waiting.extend(self.records.take_to_barrier());
        loop {
            self.write_waiting();
            poll_fn(|cx| self.poll_written(cx)).await?;
            if !is_last || self.waiting.is_empty() {
                return Ok(());
            }
            let room = poll_fn(|cx| self.side().poll_ready(cx));
            room.await.map_err(Into::into)?;
        }
    }
}

/// Writes as much as there is room for.
async fn write<S: Sink<T>, T>(mut side: S, mut waiting: VecDeque<T>) -> Wrote<S, T> {
    while !waiting.is_empty() {
        let room = poll_fn(|cx| Poll::Ready(side.poll_ready(cx).map_err(Into::into)));
        match room.await {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return (side, waiting, Err(error)),
            Poll::Pending => break,
        }
        if let Some(record) = waiting.pop_front()
            && let Err(error) = side.write(record).await.map_err(Into::into)
        {
            return (side, waiting, Err(error));
        }
    }
    (side, waiting, Ok(()))
}

impl<M, K, S, T> Sink<M> for WithSide<K, S, T>
where
    M: Send + 'static,
    K: Sink<M>,
    S: Sink<T>,
    T: Serialize + DeserializeOwned + Send + 'static,
{
    type Prepared = PreparedBoth<K::Prepared, S::Prepared>;
    type Error = BoxError;

    async fn open(
        &mut self,
        host: &Host,
        restored: Option<&Self::Prepared>,
    ) -> Result<(), BoxError> {
        if !self.records.are_given() {
            let item = name_of::<T>();
            return Err(format!(
                "no operator of this pipeline gives to the side output of {item}: `side_sink` takes the other end of \
                 the `SideOutput` that an operator of the same pipeline was given"
            )
            .into());
        }
        if let Some(restored) = restored {
            self.waiting = postcard::from_bytes(&restored.waiting)?;
            self.records.hold(self.waiting.len());
        }
        let main = self.main.open(host, restored.map(|both| &both.main));
        main.await.map_err(Into::into)?;
        let side = self.side().open(host, restored.map(|both| &both.side));
        side.await.map_err(Into::into)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if let Poll::Ready(error) = self.poll_side(cx) {
            return Poll::Ready(Err(error));
        }
        self.main.poll_ready(cx).map_err(Into::into)
    }

    async fn write(&mut self, record: M) -> Result<(), BoxError> {
        self.main.write(record).await.map_err(Into::into)
    }

    async fn prepare(&mut self, is_last: bool) -> Result<Self::Prepared, BoxError> {
        self.take_to_barrier(is_last).await?;
        Ok(PreparedBoth {
            waiting: postcard::to_stdvec(&self.waiting)?,
            main: self.main.prepare(is_last).await.map_err(Into::into)?,
            side: self.side().prepare(is_last).await.map_err(Into::into)?,
        })
    }

    async fn commit(&mut self, prepared: &Self::Prepared) -> Result<(), BoxError> {
        self.main.commit(&prepared.main).await.map_err(Into::into)?;
        let side = self.side().commit(&prepared.side);
        side.await.map_err(Into::into)
    }

    fn writes(&self) -> Option<String> {
        let written =
            |writes: Option<String>| writes.unwrap_or_else(|| "a place without a name".to_owned());
        let (main, item) = (written(self.main.writes()), name_of::<T>());
        let side = written(self.side.as_ref().and_then(Sink::writes));
        Some(format!("{main}, and at its side of {item} into {side}"))
    }

    fn monitors(&self) -> Vec<(Arc<str>, Monitor)> {
        let mut monitors = self.main.monitors();
        monitors.extend(self.side.iter().flat_map(Sink::monitors));
        monitors
    }

    async fn abort(&mut self) {
        self.main.abort().await;
        // A write that hangs must not keep the job from its end.
        let _ = poll_fn(|cx| Poll::Ready(self.poll_written(cx))).await;
        if let Some(side) = &mut self.side {
            side.abort().await;
        }
    }
}
