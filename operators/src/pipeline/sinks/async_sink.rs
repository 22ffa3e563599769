//! Records sent to a service, many with each request and many requests at a time: what Flink calls the async sink.
//!
//! The sink has no task of its own. The sink's task of the pipeline asks it, before each record, whether there is room for one
//! ([`Sink::poll_ready`]), and is woken when a request has an answer or something is due; on this occasion the sink takes its turn:
//! answers, what is due by the clock, new requests. So nothing is shared between threads but the list of what was woken
//! (`signals.rs`), and there is one sleep for all (`alarm.rs`). The price: while a checkpoint is written, answers wait.
//!
//! An entry is in one of three places: in the buffer, in a request, or in a back-off, from which it returns to its place at the
//! head of the buffer. A checkpoint is a copy of all three, so it waits for nothing. And a sink without room does not hold
//! the barrier up, for then the sink's task asks for that alone.

use super::async_answers::{Answers, Call, answers, panicked};
use super::async_buffer::{Buffer, Entry};
use super::async_counts::Counts;
use super::async_requests::{Request, Requests};
use super::async_sink_options::{AsyncSinkOptions, RecordTooLarge};
use crate::alarm::Alarm;
use crate::batch_options::Size;
use crate::error::{Cause, StageError};
use crate::failure::{Failure, Recovery};
use crate::flight::BoxFuture;
use crate::metrics::Monitor;
use crate::panics::caught;
use crate::pipeline::async_stage::Keepable;
use crate::pipeline::host::Host;
use crate::pipeline::sink::Sink;
use crate::signals::{FIRST_REQUEST, Signals, TIMER};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::future::{Future, poll_fn};
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Gathers records, and calls an async function with many at a time, many times at once.
///
/// What the function does is visible at once. Each record is written at least once: those that were buffered or in flight at a
/// checkpoint are part of it, and are sent again after a restart. A service that knows a record again makes that exactly
/// once. Records are first sent in their order, but nothing is said about which of several requests is carried out first.
///
/// At the end of the input everything is flushed, retries and back-offs included, before the job is complete.
///
/// Its counters are among the job's [`monitors`](crate::pipeline::Running::monitors), under its name: there an *attempt* is a request, and
/// *in flight* is each record that is neither written nor has failed, buffered ones among them. They are as they were when a
/// request was last made or ended.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::pipeline::{AsyncSink, AsyncSinkOptions, Pipeline, iterate};
/// use peu_operators::{DeadLetters, Retry};
/// use std::io;
/// use std::sync::{Arc, Mutex, mpsc};
/// use std::time::Duration;
///
/// let table = Arc::new(Mutex::new(Vec::new()));
/// let rows = Arc::clone(&table);
/// // One request for all of them would be made here. Its answer has a result for each.
/// let insert = move |numbers: Vec<u64>| {
///     let rows = Arc::clone(&rows);
///     async move {
///         let results = numbers.into_iter().map(|n| match n {
///             13 => Err(io::Error::other("no such floor")),
///             _ => Ok(rows.lock().unwrap().push(n)),
///         });
///         Ok(results.collect())
///     }
/// };
/// let (dead, letters) = mpsc::channel();
/// let options = AsyncSinkOptions::new(10, Duration::from_millis(5))
///     .in_flight(4)
///     .retry(Retry::fixed(Duration::from_millis(1)).max_retries(2))
///     .on_error(DeadLetters(move |failure| drop(dead.send(failure))));
/// let floors = Pipeline::source(iterate(0..25)).sink(AsyncSink::new("floors", insert, options));
/// block_on(floors.run_on(&Threads))?;
/// assert_eq!(table.lock().unwrap().len(), 24);
/// let letter = letters.recv()?;
/// assert_eq!((letter.record, letter.attempts), (13, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncSink<T> {
    name: Arc<str>,
    call: Box<Call<T>>,
    options: AsyncSinkOptions<T>,
    buffer: Buffer<T>,
    requests: Requests<T>,
    back_offs: Vec<BackOff<T>>,
    /// How many records were written into the sink.
    accepted: u64,
    /// Nothing more will be written: nothing waits until it is enough.
    is_flushing: bool,
    /// Since the alarm was set, what is due first may have changed.
    has_changed: bool,
    signals: Signals,
    /// None before the sink is open.
    alarm: Option<Alarm<Host>>,
    counts: Counts,
}

/// What failed in one request, and returns together.
struct BackOff<T> {
    entries: Vec<Entry<T>>,
    /// None: no clock ever gets there, so it is over when all is flushed.
    until: Option<Instant>,
}

/// What an [`AsyncSink`] has not written yet, as part of a checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unwritten<T> {
    accepted: u64,
    /// By number: how many requests have failed, and the record.
    entries: Vec<(u64, u32, T)>,
}

impl<T: Keepable + Sync> AsyncSink<T> {
    /// A sink that calls `function` with the records of each request. It has to give a result for each of them, in their
    /// order, or an error for them all; with more or fewer results, all records of the request have failed as with a panic.
    ///
    /// `name` stands for the sink in errors and dead letters.
    pub fn new<F, Fut, E>(
        name: impl Into<Arc<str>>,
        mut function: F,
        options: AsyncSinkOptions<T>,
    ) -> Self
    where
        F: FnMut(Vec<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Vec<Result<(), E>>, E>> + Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        let most_bytes = options.bytes.as_ref().map_or(u64::MAX, |(most, _)| *most);
        Self {
            name: name.into(),
            call: Box::new(move |records| {
                let count = records.len();
                let request = function(records);
                Box::pin(async move { answers(request.await, count) })
            }),
            buffer: Buffer::new(options.count, most_bytes, options.age),
            options,
            requests: Requests::new(),
            back_offs: Vec::new(),
            accepted: 0,
            is_flushing: false,
            has_changed: false,
            signals: Signals::new(),
            alarm: None,
            counts: Counts::new(),
        }
    }

    /// Answers, what is due by the clock, new requests. Whoever is polled next is woken when there is more to do.
    fn turn(&mut self, cx: &Context<'_>) -> Result<(), StageError> {
        self.alarm().forget_now();
        self.signals.gather();
        while let Some(token) = self.signals.next() {
            self.has_changed = true;
            match token.checked_sub(FIRST_REQUEST) {
                Some(place) => self.poll_request(place)?,
                None => self.look_at_the_alarm(),
            }
        }
        if self.has_changed {
            self.do_what_is_due()?;
        }
        self.send()?;
        if mem::take(&mut self.has_changed) {
            self.set_alarm();
            self.tell();
        }
        if !self.signals.park(cx.waker()) {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    fn alarm(&mut self) -> &mut Alarm<Host> {
        let alarm = self.alarm.as_mut();
        alarm.expect("a pipeline opens its sink before it uses it")
    }

    fn look_at_the_alarm(&mut self) {
        let waker = self.signals.waker(TIMER).clone();
        self.alarm().look(&waker);
    }

    fn do_what_is_due(&mut self) -> Result<(), StageError> {
        let now = self.alarm().now();
        for place in self.requests.expired(now) {
            self.time_out(place)?;
        }
        let is_over = |back_off: &mut BackOff<T>| match back_off.until {
            Some(until) => until <= now,
            None => self.is_flushing,
        };
        for back_off in self.back_offs.extract_if(.., is_over) {
            for entry in back_off.entries {
                self.buffer.put(entry);
            }
        }
        Ok(())
    }

    /// A last poll, for an answer that is there wins; then the request is dropped.
    fn time_out(&mut self, place: usize) -> Result<(), StageError> {
        self.poll_request(place)?;
        let Some(request) = self.requests.take(place) else {
            return Ok(());
        };
        self.counts.metrics.timed_out += 1;
        let entries = request.end();
        let limit = self.options.timeout.unwrap_or_default();
        let timed_out = entries.iter().map(|_| Err(Cause::TimedOut(limit)));
        let answers = timed_out.collect();
        self.settle(entries, answers)
    }

    /// Makes requests, as long as there is something to send and they are not too many.
    fn send(&mut self) -> Result<(), StageError> {
        let now = self.alarm().now();
        while self.is_due(now) && self.may_send() {
            self.has_changed = true;
            let entries = self.buffer.take();
            let new = entries.iter().filter(|entry| entry.failed == 0).count();
            (0..new).for_each(|_| self.options.retry.record());
            self.counts.attempt(new < entries.len());
            let records = || entries.iter().map(|entry| entry.record.clone()).collect();
            match caught(|| (self.call)(records())) {
                Ok(future) => self.start(entries, future, now)?,
                Err(message) => {
                    let answers = panicked(entries.len(), &message);
                    self.settle(entries, answers)?;
                }
            }
        }
        Ok(())
    }

    fn is_due(&self, now: Instant) -> bool {
        self.buffer.is_due(now) || self.is_flushing && self.buffer.len() > 0
    }

    fn may_send(&self) -> bool {
        self.requests.count() < self.options.in_flight
    }

    fn start(
        &mut self,
        entries: Vec<Entry<T>>,
        future: BoxFuture<Answers>,
        now: Instant,
    ) -> Result<(), StageError> {
        let timeout = self.options.timeout;
        let place = self.requests.put(Request {
            entries,
            future,
            deadline: timeout.and_then(|limit| now.checked_add(limit)),
        });
        self.poll_request(place)
    }

    /// Polls a request, if it is still there: a wake-up may come late.
    fn poll_request(&mut self, place: usize) -> Result<(), StageError> {
        let Some(request) = self.requests.get_mut(place) else {
            return Ok(());
        };
        let mut cx = Context::from_waker(self.signals.waker(FIRST_REQUEST + place));
        let answers = match caught(|| request.future.as_mut().poll(&mut cx)) {
            Ok(Poll::Pending) => return Ok(()),
            Ok(Poll::Ready(answers)) => answers,
            Err(message) => panicked(request.entries.len(), &message),
        };
        let request = self.requests.take(place);
        let entries = request.map_or_else(Vec::new, |request| request.entries);
        self.settle(entries, answers)
    }

    /// A request is over: what failed is sent again, together, or has failed for good.
    fn settle(&mut self, entries: Vec<Entry<T>>, answers: Answers) -> Result<(), StageError> {
        let (mut again, mut longest) = (Vec::new(), Duration::ZERO);
        let now = self.alarm().now();
        self.has_changed = true;
        for (mut entry, answer) in entries.into_iter().zip(answers) {
            let took = now.saturating_duration_since(entry.since);
            let Err(cause) = answer else {
                self.counts.metrics.completed += 1;
                self.counts.outcome(took);
                continue;
            };
            entry.failed = entry.failed.saturating_add(1);
            match self.delay(entry.failed, cause) {
                Ok(delay) => {
                    longest = longest.max(delay);
                    again.push(entry);
                }
                Err(cause) => {
                    self.counts.outcome(took);
                    self.judge(entry.record, entry.number, entry.failed, cause)?;
                }
            }
        }
        if !again.is_empty() {
            let until = self.alarm().after(longest);
            if until.is_none() {
                // While all is flushed it is over at once.
                self.signals.raise(TIMER);
            }
            self.back_offs.push(BackOff {
                entries: again,
                until,
            });
        }
        Ok(())
    }

    /// The delay before the retry of this number; the cause, if there is none. A panic is a defect, and never a reason.
    fn delay(&mut self, retry: u32, cause: Cause) -> Result<Duration, Cause> {
        if let Cause::Panicked(_) = cause {
            return Err(cause);
        }
        let outcome = Err(cause);
        let delay = self.options.retry.next_delay(retry, &outcome);
        self.counts.metrics.over_budget = self.options.retry.over_budget();
        outcome.map_or_else(|cause| delay.ok_or(cause), |()| Ok(Duration::ZERO))
    }

    /// The error policy.
    fn judge(
        &mut self,
        record: T,
        number: u64,
        attempts: u32,
        cause: Cause,
    ) -> Result<(), StageError> {
        let failure = Failure {
            stage: Arc::clone(&self.name),
            record,
            number,
            attempts,
            cause,
        };
        let recovery = self.options.failure.judge(failure);
        self.counts.failure(&recovery);
        match recovery {
            Recovery::Fail(failure) => Err(failure.into()),
            Recovery::Output(()) | Recovery::Skip | Recovery::DeadLetter => Ok(()),
        }
    }

    /// Sees to it that what is due next is not forgotten. What waits for a request to end needs no alarm.
    fn set_alarm(&mut self) {
        let deadlines = self.requests.deadlines();
        let back_offs = self.back_offs.iter().filter_map(|back_off| back_off.until);
        let old = self.buffer.old_at().filter(|_| self.may_send());
        let Some(due) = deadlines.chain(back_offs).chain(old).min() else {
            return self.alarm().unset();
        };
        let waker = self.signals.waker(TIMER).clone();
        if self.alarm().set(due, &waker) {
            self.signals.raise(TIMER);
        }
    }

    /// How many records wait, for a request or for a retry.
    fn waiting(&self) -> usize {
        let back_offs = self.back_offs.iter();
        let back_offs: usize = back_offs.map(|back_off| back_off.entries.len()).sum();
        self.buffer.len() + back_offs
    }

    fn is_drained(&self) -> bool {
        self.waiting() == 0 && self.requests.count() == 0
    }

    /// Tells whoever watches how far it is.
    fn tell(&mut self) {
        let in_flight = self.waiting() + self.requests.entries().count();
        self.counts.tell(in_flight, self.requests.count());
    }

    fn put(&mut self, record: T, number: u64, failed: u32) {
        let size = size(self.options.bytes.as_ref(), &record);
        let since = self.alarm().now();
        // The age of the first counts, so only it sets the alarm.
        self.has_changed |= self.buffer.len() == 0;
        self.buffer.put(Entry {
            record,
            number,
            failed,
            size,
            since,
        });
    }

    /// All that was not written, in order.
    fn unwritten(&self) -> Unwritten<T> {
        let in_flight = self.requests.entries();
        let back_offs = self.back_offs.iter();
        let back_offs = back_offs.flat_map(|back_off| &back_off.entries);
        let entries = in_flight.chain(back_offs).chain(self.buffer.iter());
        let entries = entries.map(|entry| (entry.number, entry.failed, entry.record.clone()));
        let mut entries: Vec<_> = entries.collect();
        entries.sort_unstable_by_key(|(number, _, _)| *number);
        Unwritten {
            accepted: self.accepted,
            entries,
        }
    }
}

/// A record's size, if anybody asks for it.
fn size<T>(bytes: Option<&(u64, Box<Size<T>>)>, record: &T) -> u64 {
    bytes.map_or(0, |(_, size)| size(record))
}

impl<T: Keepable + Sync> Sink<T> for AsyncSink<T> {
    type Prepared = Unwritten<T>;
    type Error = StageError;

    async fn open(
        &mut self,
        host: &Host,
        restored: Option<&Unwritten<T>>,
    ) -> Result<(), StageError> {
        self.alarm = Some(Alarm::new(host.clone()));
        if let Some(restored) = restored {
            self.accepted = restored.accepted;
            self.counts.metrics.accepted = restored.entries.len() as u64;
            for (number, failed, record) in &restored.entries {
                self.put(record.clone(), *number, *failed);
            }
        }
        Ok(())
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StageError>> {
        self.turn(cx)?;
        match self.waiting() < self.options.buffered {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    async fn write(&mut self, record: T) -> Result<(), StageError> {
        self.accepted += 1;
        self.counts.metrics.accepted += 1;
        let number = self.accepted;
        let size = size(self.options.record_bytes.as_ref(), &record);
        let bound = self.options.record_bytes.as_ref().map(|(most, _)| *most);
        match bound.filter(|bound| size > *bound) {
            None => self.put(record, number, 0),
            Some(bound) => {
                self.has_changed = true;
                let cause = Cause::Failed(Box::new(RecordTooLarge { size, bound }));
                self.judge(record, number, 0, cause)?;
            }
        }
        Ok(())
    }

    /// The last time, nothing is left: everything is flushed first.
    async fn prepare(&mut self, is_last: bool) -> Result<Unwritten<T>, StageError> {
        self.is_flushing = is_last;
        if is_last {
            self.has_changed = true;
            let flushed = poll_fn(|cx| match self.turn(cx) {
                Ok(()) if !self.is_drained() => Poll::Pending,
                outcome => Poll::Ready(outcome),
            });
            flushed.await?;
        }
        Ok(self.unwritten())
    }

    async fn commit(&mut self, _prepared: &Unwritten<T>) -> Result<(), StageError> {
        Ok(())
    }

    /// Requests in flight are dropped: they belong to records that a restart sends again.
    async fn abort(&mut self) {
        self.requests.clear();
        self.back_offs.clear();
        self.buffer.clear();
        self.tell();
    }

    fn writes(&self) -> Option<String> {
        Some(format!("requests of `{}`", self.name))
    }

    fn monitors(&self) -> Vec<(Arc<str>, Monitor)> {
        vec![(Arc::clone(&self.name), self.counts.monitor())]
    }
}
