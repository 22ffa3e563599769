//! Readers block, so they run elsewhere, a batch at a time, and one batch ahead.
//!
//! Reading a record from a file takes a microsecond or less when the file is in memory, and milliseconds when it is not; no
//! one knows which before. Handing a record over between threads takes longer than the former. So a job reads some
//! hundred records, and while these are used, the next job reads on: the cost of handing over is spread thin, and the
//! pipeline seldom waits.
//!
//! An input may also be slow: a FIFO, a terminal, a file on a server. A record that is there does not wait for those that will come with it in a batch:
//! whoever needs one takes what has been read so far, though not so often that a fast reader's batches fall apart.

use crate::error::BoxError;
use crate::panics::caught;
use crate::pipeline::host::{Host, Offloaded};
use crate::pipeline::source::Source;
use crate::runtime::Timer;
use crate::sync::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

/// How many records a job reads: enough to make the hand-over, some 10 µs, a small part of the cost of reading them.
const BATCH: usize = 256;

/// So long, at least, from one time at which a batch is taken before it is complete to the next: a hundred times what that costs, and no time for
/// one who waits for a slow input.
const PAUSE: Duration = Duration::from_millis(1);

/// A source whose calls block, as those of files do. [`ReadAhead`] makes a [`Source`] of it.
pub trait Reader: Send + 'static {
    /// Its records.
    type Item: Send + 'static;
    /// Where it stands behind a record: see [`Source::Position`].
    type Position: Serialize + DeserializeOwned + Clone + Send + 'static;

    /// Opens what is read, at the start or in this position. Called once, before the first `read`.
    ///
    /// # Errors
    ///
    /// Whatever is in the way; it ends the pipeline, so it should name the file.
    fn open(&mut self, from: Option<&Self::Position>) -> Result<(), BoxError>;

    /// The next record, and the position behind it; none at the end.
    ///
    /// # Errors
    ///
    /// As above; it should name the place in the file.
    fn read(&mut self) -> Result<Option<Read<Self>>, BoxError>;

    /// What it reads, if that has a name: see [`Source::reads`].
    fn reads(&self) -> Option<String> {
        None
    }
}

/// A record, and the position behind it.
pub type Read<R> = (<R as Reader>::Item, <R as Reader>::Position);

/// A [`Reader`] as a [`Source`]. It reads in the background, a batch ahead of what is asked for; but a record that has been read does not wait
/// for the rest of its batch, longer than a millisecond.
///
/// A call that waits for a slow input can't be ended. Of a pipeline that is dropped it keeps its thread until something comes, such
/// as for a FIFO a line, or its last writer's end; and the end of a runtime waits for that thread, unless it has a limit.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::pipeline::{Pipeline, ReadAhead, Reader, collect};
/// use std::error::Error;
///
/// /// The bytes of a program's own executable.
/// struct Myself(Vec<u8>, usize);
///
/// impl Reader for Myself {
///     type Item = u8;
///     type Position = usize;
///
///     fn open(&mut self, from: Option<&usize>) -> Result<(), Box<dyn Error + Send + Sync>> {
///         self.0 = std::fs::read(std::env::current_exe()?)?;
///         self.1 = from.copied().unwrap_or(0);
///         Ok(())
///     }
///
///     fn read(&mut self) -> Result<Option<(u8, usize)>, Box<dyn Error + Send + Sync>> {
///         let byte = self.0.get(self.1).copied();
///         self.1 += 1;
///         Ok(byte.filter(|_| self.1 <= 4).map(|byte| (byte, self.1)))
///     }
/// }
///
/// let (sink, magic) = collect();
/// let source = ReadAhead::new(Myself(Vec::new(), 0));
/// block_on(Pipeline::source(source).sink(sink).run_on(&Threads))?;
/// assert_eq!(magic.take().len(), 4);
/// # Ok::<(), peu_operators::pipeline::PipelineError>(())
/// ```
pub struct ReadAhead<R: Reader> {
    host: Option<Host>,
    state: State<R>,
    tray: Arc<Tray<R>>,
    /// What was taken from there and not given.
    ready: VecDeque<Read<R>>,
    /// Until the tray may be taken from before the batch is complete.
    pause: Option<<Host as Timer>::Sleep>,
    /// Behind the last record that was given. None: at the start.
    position: Option<R::Position>,
}

enum State<R: Reader> {
    Unopened(R),
    Reading(Offloaded<Batch<R>>),
    /// To be told behind the records that were read before it.
    Failed(BoxError),
    Over,
}

/// How a job ended: with the reader, if there may be more.
type Batch<R> = Result<Option<R>, BoxError>;

/// Where a job puts what it reads.
struct Tray<R: Reader>(Mutex<OnTray<R>>);

struct OnTray<R: Reader> {
    records: VecDeque<Read<R>>,
    /// Who found nothing.
    waits: Option<Waker>,
}

impl<R: Reader> Tray<R> {
    fn new() -> Self {
        Self(Mutex::new(OnTray {
            records: VecDeque::with_capacity(BATCH),
            waits: None,
        }))
    }

    fn put(&self, record: Read<R>) {
        let mut tray = self.0.lock();
        tray.records.push_back(record);
        let waits = tray.waits.take();
        drop(tray);
        if let Some(waits) = waits {
            waits.wake();
        }
    }

    /// Takes all into an empty queue.
    fn take(&self, into: &mut VecDeque<Read<R>>) {
        mem::swap(&mut self.0.lock().records, into);
    }

    /// The same, or wakes the task with the first record that comes.
    fn poll_take(&self, cx: &Context<'_>, into: &mut VecDeque<Read<R>>) -> Poll<()> {
        let mut tray = self.0.lock();
        if tray.records.is_empty() {
            tray.waits = Some(cx.waker().clone());
            return Poll::Pending;
        }
        mem::swap(&mut tray.records, into);
        Poll::Ready(())
    }
}

impl<R: Reader> ReadAhead<R> {
    /// The reader is opened in the background, when its first record is asked for.
    pub fn new(reader: R) -> Self {
        Self {
            host: None,
            state: State::Unopened(reader),
            tray: Arc::new(Tray::new()),
            ready: VecDeque::new(),
            pause: None,
            position: None,
        }
    }

    /// Changes the reader, which nothing has opened yet.
    pub(super) fn with_reader(mut self, change: impl FnOnce(&mut R)) -> Self {
        if let State::Unopened(reader) = &mut self.state {
            change(reader);
        }
        self
    }

    /// A job has ended.
    fn take(&mut self, batch: Batch<R>) {
        self.tray.take(&mut self.ready);
        match batch {
            Ok(Some(reader)) => self.begin(reader),
            Ok(None) => {}
            Err(error) => self.state = State::Failed(error),
        }
    }

    /// Takes what a job that still reads has read so far.
    fn poll_incomplete(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        ready!(self.tray.poll_take(cx, &mut self.ready));
        let host = self.host.as_ref();
        let again = host.and_then(|host| Some((host, host.now().checked_add(PAUSE)?)));
        self.pause = again.map(|(host, again)| host.sleep_until(again));
        Poll::Ready(())
    }

    /// Reads on in the background.
    fn begin(&mut self, reader: R) {
        let tray = Arc::clone(&self.tray);
        self.offload(move || read_batch(reader, &tray));
    }

    /// Opens the reader and reads, in the background.
    fn begin_at_start(&mut self, mut reader: R) {
        let (from, tray) = (self.position.clone(), Arc::clone(&self.tray));
        self.offload(move || {
            reader.open(from.as_ref())?;
            read_batch(reader, &tray)
        });
    }

    fn offload(&mut self, job: impl FnOnce() -> Batch<R> + Send + 'static) {
        if let Some(host) = &self.host {
            self.state = State::Reading(host.offload(|| unless_it_panics(job)));
        }
    }
}

/// A panic of the reader is its error.
fn unless_it_panics<R: Reader>(job: impl FnOnce() -> Batch<R>) -> Batch<R> {
    let read = caught(job);
    read.unwrap_or_else(|message| Err(format!("the reader panicked: {message}").into()))
}

fn read_batch<R: Reader>(mut reader: R, tray: &Tray<R>) -> Batch<R> {
    for _ in 0..BATCH {
        match reader.read()? {
            Some(record) => tray.put(record),
            None => return Ok(None),
        }
    }
    Ok(Some(reader))
}

impl<R: Reader> Source for ReadAhead<R> {
    type Item = R::Item;
    type Position = Option<R::Position>;
    type Error = BoxError;

    fn open(&mut self, host: &Host, from: Option<Self::Position>) {
        self.host = Some(host.clone());
        self.position = from.flatten();
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<R::Item, BoxError>>> {
        loop {
            if let Some((record, position)) = self.ready.pop_front() {
                self.position = Some(position);
                return Poll::Ready(Some(Ok(record)));
            }
            match mem::replace(&mut self.state, State::Over) {
                State::Unopened(reader) => self.begin_at_start(reader),
                State::Reading(mut job) => match Pin::new(&mut job).poll(cx) {
                    Poll::Ready(Ok(batch)) => self.take(batch),
                    Poll::Ready(Err(gone)) => return Poll::Ready(Some(Err(gone.into()))),
                    Poll::Pending => {
                        self.state = State::Reading(job);
                        ready!(self.poll_incomplete(cx));
                    }
                },
                State::Failed(error) => return Poll::Ready(Some(Err(error))),
                State::Over => return Poll::Ready(None),
            }
        }
    }

    fn position(&self) -> Self::Position {
        self.position.clone()
    }

    fn reads(&self) -> Option<String> {
        match &self.state {
            State::Unopened(reader) => reader.reads(),
            State::Reading(_) | State::Failed(_) | State::Over => None,
        }
    }
}

/// An error if a file has become shorter than what was read of it: it would seem to be at its end.
pub(super) fn still_has(file: &File, read: u64) -> io::Result<()> {
    let length = file.metadata()?.len();
    match length < read {
        false => Ok(()),
        true => Err(io::Error::other(format!(
            "it has {length} bytes, and {read} had been read at the checkpoint: it was changed since"
        ))),
    }
}
