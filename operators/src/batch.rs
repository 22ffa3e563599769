//! One call for many records: look-ups that a service takes by the dozen.
//!
//! A batcher is no part of a stage, but what its function calls: a record's request is a seat in a batch. So everything
//! that a stage does for requests holds for each record of a batch by itself. The mode's order, the timeout, a retry of
//! those that failed and of no others (in a later batch), dead letters. And as what waits in a batch is an unfinished
//! request, it is part of a checkpoint, as any. Clones are the same batcher, so the lanes of a stage may fill one batch.
//!
//! A batch is a flight (`flight.rs`) of those who have a record in it: it waits until it is full or old enough, calls the
//! function with the records of those who are still there, and brings everybody the same answers, of which each takes
//! its own. Nothing has to be spawned, and when all have left, the call is dropped.
//!
//! # Why each record that stays is answered
//!
//! - A record comes into the batch that is open, under the lock of `gathering`. Before a batch takes its records for the call, it sees
//!   to it under that lock that it is not the open one. So no record comes into a batch behind its call.
//! - A batch that waits to be full leaves its waker under the lock under which it saw that it is not closed, and who
//!   closes it takes the waker there. Time wakes it too, and so do its passengers, as any flight.
//! - A batch that everybody has left never flies; a record that finds it open can't board, and opens another.

use crate::batch_options::{BatchOptions, Seen, Size};
use crate::flight::{BoxFuture, Flight};
use crate::panics::caught;
use crate::runtime::Timer;
use crate::sync::{Mutex, twin};
use std::fmt::{self, Debug, Formatter};
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What a record's place in a batch is when its request was dropped before the call.
const LEFT: usize = usize::MAX;

/// Gathers records, and asks for many with one call.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::{StreamExt as _, future::block_on, stream};
/// use peu_operators::{AsyncOptions, BatchOptions, Batcher, StreamExt as _};
/// use std::{io, time::Duration};
///
/// let options = BatchOptions::new(10, Duration::from_millis(5));
/// let batcher = Batcher::new(&Threads, options, |numbers: Vec<u64>| async move {
///     // One request for all of them would be made here.
///     Ok::<_, io::Error>(numbers.into_iter().map(|n| Ok(2 * n)).collect())
/// });
/// let doubled = stream::iter(0..25).async_map(
///     &Threads,
///     "double",
///     move |n| batcher.call(n),
///     AsyncOptions::ordered().capacity(20),
/// );
/// let doubled: Vec<u64> = block_on(doubled.map(Result::unwrap).collect());
/// assert_eq!(doubled[..3], [0, 2, 4]);
/// ```
pub struct Batcher<T, Out, E>(Arc<Shared<T, Out, E>>);

/// What a call gives: a result for each record, in their order; or an error for them all.
type Answered<Out, E> = Result<Vec<Result<Out, E>>, E>;

/// What the passengers of a batch get.
type Answers<Out, E> = Vec<Result<Out, Arc<E>>>;

type Call<T, Out, E> = dyn FnMut(Vec<T>) -> BoxFuture<Answered<Out, E>> + Send;

struct Shared<T, Out, E> {
    call: Mutex<Box<Call<T, Out, E>>>,
    count: usize,
    age: Duration,
    bytes: Option<(u64, Box<Size<T>>)>,
    gathering: Mutex<Gathering<T, Out, E>>,
    sleep: Box<dyn Fn(Duration) -> BoxFuture<()> + Send + Sync>,
}

struct Gathering<T, Out, E> {
    /// The batch that records come into.
    open: Option<Open<T, Out, E>>,
    seen: Option<Box<dyn Seen<T>>>,
    metrics: BatchMetrics,
}

type Open<T, Out, E> = (Arc<Batch<T>>, Arc<Flight<Answers<Out, E>>>);

struct Batch<T> {
    waiting: Mutex<Waiting<T>>,
}

struct Waiting<T> {
    /// By place.
    records: Vec<Place<T>>,
    /// How many of them are there, and their bytes.
    count: usize,
    bytes: u64,
    is_closed: bool,
    /// By place, once it was called: where the answer is.
    positions: Vec<usize>,
    /// The flight, until the batch is closed.
    waker: Option<Waker>,
}

/// A record's place in a batch.
struct Place<T> {
    /// None: all who waited for its answer have left.
    record: Option<T>,
    size: u64,
    /// How many wait for its answer.
    users: usize,
}

/// The counters of a [`Batcher`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchMetrics {
    /// Calls of the function.
    pub calls: u64,
    /// Records that they were given, equal ones once.
    pub records: u64,
}

impl<T, Out, E> Batcher<T, Out, E>
where
    T: Send + 'static,
    Out: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// A batcher that calls `call` with the records of each batch. It has to give a result for each of them, in their order;
    /// with more or fewer, all records of the batch have failed as with a panic.
    pub fn new<R, F, Fut>(runtime: &R, options: BatchOptions<T>, mut call: F) -> Self
    where
        R: Timer + Sync,
        F: FnMut(Vec<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Answered<Out, E>> + Send + 'static,
    {
        let clock = runtime.clone();
        let sleep = move |age| -> BoxFuture<()> {
            match clock.now().checked_add(age) {
                Some(end) => Box::pin(clock.sleep_until(end)),
                None => Box::pin(std::future::pending()),
            }
        };
        Self(Arc::new(Shared {
            call: Mutex::new(Box::new(move |records| Box::pin(call(records)))),
            sleep: Box::new(sleep),
            count: options.count,
            age: options.age,
            bytes: options.bytes,
            gathering: Mutex::new(Gathering {
                open: None,
                seen: options.seen,
                metrics: BatchMetrics::default(),
            }),
        }))
    }

    /// Puts a record into a batch, and waits for its answer. Dropped before the batch is called, its record is not asked
    /// for.
    ///
    /// # Panics
    ///
    /// If a size or a key of yours does.
    ///
    /// # Errors
    ///
    /// The record's own, or that of the whole call, which all its records have in common.
    pub fn call(&self, record: T) -> Batched<T, Out, E> {
        let size = self.0.bytes.as_ref().map_or(0, |(_, size)| size(&record));
        let mut gathering = self.0.gathering.lock();
        let would_exceed = |batch: &Batch<T>| {
            let most = self.0.bytes.as_ref().map(|(most, _)| *most);
            most.is_some_and(|most| batch.waiting.lock().bytes.saturating_add(size) > most)
        };
        let is_too_much = gathering
            .open
            .as_ref()
            .is_some_and(|(batch, _)| would_exceed(batch));
        let earlier = if is_too_much { gathering.close() } else { None };
        let boarded = gathering.open.clone();
        let boarded = boarded.and_then(|(batch, flight)| Some((flight.board()?, batch, flight)));
        let (seat, batch, flight) = boarded.unwrap_or_else(|| {
            let (batch, flight) = self.0.open(&mut gathering);
            (flight.board().unwrap_or_default(), batch, flight)
        });
        let added = caught(|| self.0.add(&mut gathering, &batch, record, size));
        let this = if let Ok((_, true)) = added {
            gathering.close()
        } else {
            None
        };
        drop(gathering);
        earlier.into_iter().chain(this).for_each(Waker::wake);
        let (place, _) = added.unwrap_or_else(|message| {
            flight.leave(seat);
            resume_unwind(Box::new(message))
        });
        Batched(Some(Seated {
            batch,
            flight,
            seat,
            place,
        }))
    }

    /// The counters now.
    #[must_use]
    pub fn metrics(&self) -> BatchMetrics {
        self.0.gathering.lock().metrics
    }
}

impl<T, Out, E> Clone for Batcher<T, Out, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T, Out, E> Debug for Batcher<T, Out, E> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").finish_non_exhaustive()
    }
}

impl<T, Out, E> Shared<T, Out, E>
where
    T: Send + 'static,
    Out: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Begins a batch; its time runs from now.
    fn open(self: &Arc<Self>, gathering: &mut Gathering<T, Out, E>) -> Open<T, Out, E> {
        let batch = Arc::new(Batch {
            waiting: Mutex::new(Waiting {
                records: Vec::new(),
                count: 0,
                bytes: 0,
                is_closed: false,
                positions: Vec::new(),
                waker: None,
            }),
        });
        let age = (self.sleep)(self.age);
        let flight = Flight::new(Box::pin(Arc::clone(self).fly(Arc::clone(&batch), age)));
        if let Some(seen) = &mut gathering.seen {
            seen.clear();
        }
        gathering.open = Some((Arc::clone(&batch), Arc::clone(&flight)));
        (batch, flight)
    }

    /// Where the record stands, and whether the batch is full now.
    fn add(
        &self,
        gathering: &mut Gathering<T, Out, E>,
        batch: &Batch<T>,
        record: T,
        size: u64,
    ) -> (usize, bool) {
        let mut waiting = batch.waiting.lock();
        let next = waiting.records.len();
        let seen = gathering.seen.as_mut();
        let place = seen.map_or(next, |seen| seen.place(&record, next));
        if place == next {
            waiting.records.push(Place {
                record: None,
                size: 0,
                users: 0,
            });
        }
        waiting.put(place, record, size);
        let most = self.bytes.as_ref().map_or(u64::MAX, |(most, _)| *most);
        (place, waiting.count >= self.count || waiting.bytes >= most)
    }

    /// The batch from its first record to its answers.
    async fn fly(self: Arc<Self>, batch: Arc<Batch<T>>, mut age: BoxFuture<()>) -> Answers<Out, E> {
        poll_fn(|cx| batch.poll_closed(&mut age, cx)).await;
        let early = twin("batch-forgotten-late").then(|| batch.take());
        self.gathering.lock().forget(&batch);
        let records = early.unwrap_or_else(|| batch.take());
        let count = records.len();
        if count == 0 {
            return Vec::new();
        }
        let call = {
            let mut gathering = self.gathering.lock();
            gathering.metrics.calls += 1;
            gathering.metrics.records += count as u64;
            drop(gathering);
            (self.call.lock())(records)
        };
        let answers: Answers<Out, E> = match call.await {
            Ok(answers) => answers
                .into_iter()
                .map(|answer| answer.map_err(Arc::new))
                .collect(),
            Err(error) => {
                let error = Arc::new(error);
                (0..count).map(|_| Err(Arc::clone(&error))).collect()
            }
        };
        assert!(
            answers.len() == count,
            "a batch of {count} records had {} results: the function must give one for each, in their order",
            answers.len()
        );
        answers
    }
}

impl<T, Out, E> Gathering<T, Out, E> {
    /// No more records come into the batch, and it is called for: by this waker, once all locks are released.
    #[must_use]
    fn close(&mut self) -> Option<Waker> {
        let (batch, _) = self.open.take()?;
        let mut waiting = batch.waiting.lock();
        waiting.is_closed = true;
        waiting.waker.take_if(|_| !twin("batch-full-unrung"))
    }

    /// The batch is called, so no more records come into it.
    fn forget(&mut self, batch: &Arc<Batch<T>>) {
        let open = self.open.as_ref();
        if open.is_some_and(|(open, _)| Arc::ptr_eq(open, batch)) {
            self.open = None;
        }
    }
}

impl<T> Batch<T> {
    fn poll_closed(&self, age: &mut BoxFuture<()>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            return Poll::Ready(());
        }
        if twin("batch-flight-late") {
            drop(waiting);
            waiting = self.waiting.lock();
        }
        waiting.waker = Some(cx.waker().clone());
        drop(waiting);
        age.as_mut().poll(cx)
    }

    /// The records of those who are still there.
    fn take(&self) -> Vec<T> {
        let mut waiting = self.waiting.lock();
        let waiting = &mut *waiting;
        waiting.is_closed = true;
        let mut records = Vec::with_capacity(waiting.records.len());
        for Place { record, .. } in &mut waiting.records {
            waiting.positions.push(match record {
                Some(_) => records.len(),
                None => LEFT,
            });
            records.extend(record.take());
        }
        records
    }

    /// Where the answer for a place is.
    fn position(&self, place: usize) -> usize {
        self.waiting
            .lock()
            .positions
            .get(place)
            .copied()
            .unwrap_or(LEFT)
    }

    /// One of those who wait for the record at this place has left.
    fn leave(&self, place: usize) {
        let left = self.waiting.lock().leave(place);
        let _ = caught(|| drop(left));
    }
}

impl<T> Waiting<T> {
    /// One more waits for the answer at this place, where a record may be that is equal.
    fn put(&mut self, place: usize, record: T, size: u64) {
        let place = &mut self.records[place];
        place.users += 1;
        if place.record.is_none() {
            (place.record, place.size) = (Some(record), size);
            self.count += 1;
            self.bytes = self.bytes.saturating_add(size);
        }
    }

    /// One of those who wait for the record at this place has left. With the last of them the record goes, and what it
    /// took of the batch; after the call there is none.
    #[must_use]
    fn leave(&mut self, place: usize) -> Option<T> {
        let place = &mut self.records[place];
        place.users -= 1;
        let left = place.record.take_if(|_| place.users == 0)?;
        self.count -= 1;
        self.bytes = self.bytes.saturating_sub(place.size);
        Some(left)
    }
}

/// What [`Batcher::call`] returns: the answer for one record.
#[must_use = "a record whose answer nobody waits for is not asked for"]
pub struct Batched<T, Out, E>(Option<Seated<T, Out, E>>)
where
    Out: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static;

struct Seated<T, Out, E>
where
    Out: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    batch: Arc<Batch<T>>,
    flight: Arc<Flight<Answers<Out, E>>>,
    seat: usize,
    place: usize,
}

impl<T, Out, E> Future for Batched<T, Out, E>
where
    Out: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    type Output = Result<Out, Arc<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let seated = this.0.as_ref().expect("not polled after its end");
        let Poll::Ready(landed) = seated.flight.poll(seated.seat, cx) else {
            return Poll::Pending;
        };
        let position = seated.batch.position(seated.place);
        this.0 = None;
        match &*landed {
            Ok(answers) => Poll::Ready(answers[position].clone()),
            Err(message) => resume_unwind(Box::new(message.clone())),
        }
    }
}

impl<T, Out, E> Drop for Seated<T, Out, E>
where
    Out: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.batch.leave(self.place);
        // If it was the last, the next record finds that the batch has no flight, and begins another.
        self.flight.leave(self.seat);
    }
}

/// Nothing in it is ever pinned: the call has a box of its own.
impl<T, Out, E> Unpin for Batched<T, Out, E>
where
    Out: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
}
