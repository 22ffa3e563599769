//! A sink with another at its side, which takes the records of a side output.

use crate::error::BoxError;
use crate::metrics::Monitor;
use crate::panics::caught;
use crate::pipeline::checkpoint::read;
use crate::pipeline::drive::Unwinding;
use crate::pipeline::host::Host;
use crate::pipeline::metrics::{OperatorMonitor, Tally};
use crate::pipeline::opening::name_of;
use crate::pipeline::side_output::SideRecords;
use crate::pipeline::sink::Sink;
use futures_channel::oneshot;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// What [`Job::side_sink`](crate::pipeline::Job::side_sink) makes: the main sink, and the one at its side.
///
/// Both are one sink to the pipeline, so what they prepare is in one checkpoint. The side sink works while the main one is asked whether it has
/// room, whatever the answer, and both prepare at the same time.
pub struct WithSide<K, S, T> {
    main: K,
    side: AtSide<S, T>,
}

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
            side: AtSide {
                sink: Some(side),
                writing: None,
                records,
                waiting: VecDeque::new(),
                tally: Tally::new(),
            },
        }
    }

    /// The counters of the side sink. The main one's are the job's.
    pub(in crate::pipeline) fn side_counters(&self) -> OperatorMonitor {
        self.side.tally.monitor()
    }
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
        if !self.side.records.are_given() {
            let item = name_of::<T>();
            return Err(format!(
                "no operator of this pipeline gives to the side output of {item}: `side_sink` takes the other end of \
                 the `SideOutput` that an operator of the same pipeline was given"
            )
            .into());
        }
        if let Some(restored) = restored {
            self.side.restore(&restored.waiting)?;
        }
        let main = self.main.open(host, restored.map(|both| &both.main));
        main.await.map_err(Into::into)?;
        let side = self.side.sink();
        let side = side.open(host, restored.map(|both| &both.side)).await;
        let side: Result<(), BoxError> = side.map_err(Into::into);
        if side.is_err() {
            // The job does not begin, and so nobody tells it to.
            self.main.abort().await;
        }
        side
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if let Poll::Ready(error) = self.side.poll(cx) {
            return Poll::Ready(Err(error));
        }
        self.main.poll_ready(cx).map_err(Into::into)
    }

    async fn write(&mut self, record: M) -> Result<(), BoxError> {
        self.main.write(record).await.map_err(Into::into)
    }

    async fn prepare(&mut self, is_last: bool) -> Result<Self::Prepared, BoxError> {
        let Self { main, side } = self;
        let main = async { main.prepare(is_last).await.map_err(Into::into) };
        let (main, (side, waiting)) = both(main, side.prepare(is_last)).await?;
        Ok(PreparedBoth {
            main,
            side,
            waiting,
        })
    }

    async fn commit(&mut self, prepared: &Self::Prepared) -> Result<(), BoxError> {
        self.main.commit(&prepared.main).await.map_err(Into::into)?;
        let side = self.side.sink().commit(&prepared.side);
        side.await.map_err(Into::into)
    }

    fn writes(&self) -> Option<String> {
        let written =
            |writes: Option<String>| writes.unwrap_or_else(|| "a place without a name".to_owned());
        let (main, item) = (written(self.main.writes()), name_of::<T>());
        let side = written(self.side.sink.as_ref().and_then(Sink::writes));
        Some(format!("{main}, and at its side of {item} into {side}"))
    }

    fn monitors(&self) -> Vec<(Arc<str>, Monitor)> {
        let mut monitors = self.main.monitors();
        monitors.extend(self.side.sink.iter().flat_map(Sink::monitors));
        monitors
    }

    /// Both at the same time, each by itself: one that panics or hangs keeps the other from nothing.
    async fn abort(&mut self) {
        let Self { main, side } = self;
        side.bring_home();
        let main = unless_it_panics(async { main.abort().await });
        let side = unless_it_panics(async {
            if let Some(side) = &mut side.sink {
                side.abort().await;
            }
        });
        let Ok(_) = both(main, side).await;
    }
}

/// What panics here has no one to be told to: the job has ended already, and why is known.
async fn unless_it_panics(abort: impl Future<Output = ()>) -> Result<(), Infallible> {
    let _ = Unwinding(pin!(abort)).await;
    Ok(())
}

/// Runs both at the same time. The first error ends it.
async fn both<A, B, E>(
    one: impl Future<Output = Result<A, E>>,
    other: impl Future<Output = Result<B, E>>,
) -> Result<(A, B), E> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut of_one, mut of_other) = (None, None);
    poll_fn(|cx| {
        if of_one.is_none()
            && let Poll::Ready(outcome) = one.as_mut().poll(cx)
        {
            of_one = Some(outcome?);
        }
        if of_other.is_none()
            && let Poll::Ready(outcome) = other.as_mut().poll(cx)
        {
            of_other = Some(outcome?);
        }
        match (of_one.take(), of_other.take()) {
            (Some(one), Some(other)) => Poll::Ready(Ok((one, other))),
            unfinished => {
                (of_one, of_other) = unfinished;
                Poll::Pending
            }
        }
    })
    .await
}

/// The side sink, and what it takes its records from.
struct AtSide<S, T> {
    /// None while it writes.
    sink: Option<S>,
    writing: Option<Writing<S, T>>,
    records: SideRecords<T>,
    /// Taken off the shelf, and not yet written. The shelf is told of it, for they leave no room there.
    waiting: VecDeque<T>,
    tally: Tally,
}

/// The side sink writes a run of records, and has gone there.
struct Writing<S, T> {
    /// So many records, if there is room for all.
    count: usize,
    write: Pin<Box<dyn Future<Output = Wrote<T>> + Send>>,
    home: oneshot::Receiver<S>,
}

/// What there was no room for, and how it went.
type Wrote<T> = (VecDeque<T>, Result<(), BoxError>);

impl<S: Sink<T>, T: Send + 'static> AtSide<S, T> {
    fn sink(&mut self) -> &mut S {
        let sink = self.sink.as_mut();
        sink.expect("what it writes is awaited before it is asked for anything else")
    }

    /// Lets the side sink work, for one run of records: as many as there are, but not all that come meanwhile, for the main sink shares
    /// this task. Ready only with an error.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<BoxError> {
        let is_idle = match ready!(self.poll_run(cx)) {
            Ok(is_idle) => is_idle,
            Err(error) => return Poll::Ready(error),
        };
        if !is_idle {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Ready when a run is written, or there is none: then it is idle, and the task is woken when there is one.
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, BoxError>> {
        ready!(self.poll_written(cx))?;
        ready!(self.sink().poll_ready(cx)).map_err(Into::into)?;
        if self.waiting.is_empty() {
            self.waiting = self.records.take(cx);
        }
        if self.waiting.is_empty() {
            return Poll::Ready(Ok(true));
        }
        self.write_waiting();
        self.poll_written(cx).map_ok(|()| false)
    }

    /// Ready when the side sink is at rest.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let Some(writing) = &mut self.writing else {
            return Poll::Ready(Ok(()));
        };
        let (waiting, result) = ready!(writing.write.as_mut().poll(cx));
        self.tally
            .records_in((writing.count - waiting.len()) as u64);
        self.bring_home();
        self.hold(waiting);
        Poll::Ready(result)
    }

    /// What is written has ended, or is given up.
    fn bring_home(&mut self) {
        if let Some(Writing {
            write, mut home, ..
        }) = self.writing.take()
        {
            let _ = caught(|| drop(write));
            self.sink = home.try_recv().ok().flatten();
        }
    }

    fn restore(&mut self, waiting: &[u8]) -> Result<(), BoxError>
    where
        T: DeserializeOwned,
    {
        let waiting = read(waiting).map_err(|error| {
            let item = name_of::<T>();
            format!("cannot go on with the records at its side, of {item}, that a checkpoint holds: {error}")
        })?;
        self.hold(waiting);
        Ok(())
    }

    fn hold(&mut self, waiting: VecDeque<T>) {
        self.waiting = waiting;
        self.records.hold(self.waiting.len());
    }

    /// Begins to write what waits.
    fn write_waiting(&mut self) {
        let Some(sink) = self.sink.take() else { return };
        let (home, comes_home) = oneshot::channel();
        let lent = Lent(Some((sink, home)));
        let waiting = std::mem::take(&mut self.waiting);
        self.writing = Some(Writing {
            count: waiting.len(),
            write: Box::pin(write(lent, waiting)),
            home: comes_home,
        });
    }

    /// What the side sink has prepared, and by `postcard` what it has no room for.
    async fn prepare(&mut self, is_last: bool) -> Result<(S::Prepared, Vec<u8>), BoxError>
    where
        T: Serialize,
    {
        self.take_to_barrier(is_last).await?;
        let waiting = postcard::to_stdvec(&self.waiting)?;
        let prepared = self.sink().prepare(is_last).await;
        Ok((prepared.map_err(Into::into)?, waiting))
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
            let room = poll_fn(|cx| self.sink().poll_ready(cx));
            room.await.map_err(Into::into)?;
        }
    }
}

/// Writes as much as there is room for.
async fn write<S: Sink<T>, T>(mut lent: Lent<S>, mut waiting: VecDeque<T>) -> Wrote<T> {
    let Some((sink, _)) = &mut lent.0 else {
        return (waiting, Ok(()));
    };
    while !waiting.is_empty() {
        let room = poll_fn(|cx| Poll::Ready(sink.poll_ready(cx).map_err(Into::into)));
        match room.await {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return (waiting, Err(error)),
            Poll::Pending => break,
        }
        if let Some(record) = waiting.pop_front()
            && let Err(error) = sink.write(record).await.map_err(Into::into)
        {
            return (waiting, Err(error));
        }
    }
    (waiting, Ok(()))
}

/// A sink that is in what it writes. It comes home when that ends, panics or is dropped: whatever happened, it can be told to clean up.
struct Lent<S>(Option<(S, oneshot::Sender<S>)>);

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        if let Some((sink, home)) = self.0.take() {
            // An error means that the job is no more, and it with it.
            let _ = home.send(sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AtSide, Sink, Tally};
    use crate::pipeline::host::Host;
    use crate::pipeline::shelf::Place;
    use crate::pipeline::side_output::side_output;
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::task::{Context, Waker};

    /// With each record that it writes another comes.
    struct Echo {
        place: Place<u32>,
        written: u32,
    }

    impl Sink<u32> for Echo {
        type Prepared = ();
        type Error = Infallible;

        async fn open(&mut self, _host: &Host, _restored: Option<&()>) -> Result<(), Infallible> {
            Ok(())
        }

        async fn write(&mut self, record: u32) -> Result<(), Infallible> {
            self.written += 1;
            assert!(self.written < 1_000, "it does not let anybody else work");
            self.place.give(record);
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

    #[test]
    fn a_side_sink_does_not_keep_its_task_however_many_records_come() {
        let (_late, records) = side_output();
        let mut place = records.place();
        place.give(1);
        let echo = Echo {
            place: records.place(),
            written: 0,
        };
        let mut side = AtSide {
            sink: Some(echo),
            writing: None,
            records,
            waiting: VecDeque::new(),
            tally: Tally::new(),
        };
        let mut cx = Context::from_waker(Waker::noop());
        for run in 1..=3 {
            assert!(side.poll(&mut cx).is_pending());
            assert_eq!(side.sink().written, run);
        }
    }
}
