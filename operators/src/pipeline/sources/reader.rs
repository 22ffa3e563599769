//! Readers block, so they run elsewhere, a batch at a time, and one batch ahead.
//!
//! Reading a record from a file takes a microsecond or less when the file is in memory, and milliseconds when it is not; no
//! one knows which before. Handing a record over between threads takes longer than the former. So a job reads some
//! hundred records, and while these are used, the next job reads on: the cost of handing over is spread thin, and the
//! pipeline seldom waits.

use crate::error::BoxError;
use crate::panics::caught;
use crate::pipeline::host::{Host, Offloaded};
use crate::pipeline::source::Source;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How many records a job reads: enough to make the hand-over, some 10 µs, a small part of the cost of reading them.
const BATCH: usize = 256;

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

/// A [`Reader`] as a [`Source`].
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
    /// What was read and not given.
    ready: VecDeque<Read<R>>,
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

/// What a job read, and the reader, if there may be more.
struct Batch<R: Reader> {
    records: VecDeque<Read<R>>,
    end: Result<Option<R>, BoxError>,
}

impl<R: Reader> Batch<R> {
    fn failed(error: BoxError) -> Self {
        Self {
            records: VecDeque::new(),
            end: Err(error),
        }
    }
}

impl<R: Reader> ReadAhead<R> {
    /// The reader is opened in the background, when its first record is asked for.
    pub fn new(reader: R) -> Self {
        Self {
            host: None,
            state: State::Unopened(reader),
            ready: VecDeque::new(),
            position: None,
        }
    }

    fn take(&mut self, batch: Batch<R>) {
        self.ready = batch.records;
        match batch.end {
            Ok(Some(reader)) => self.begin(reader),
            Ok(None) => {}
            Err(error) => self.state = State::Failed(error),
        }
    }

    /// Reads on in the background.
    fn begin(&mut self, reader: R) {
        if let Some(host) = &self.host {
            self.state = State::Reading(host.offload(|| unless_it_panics(|| read_batch(reader))));
        }
    }

    /// Opens the reader and reads, in the background.
    fn begin_at_start(&mut self, mut reader: R) {
        let from = self.position.clone();
        if let Some(host) = &self.host {
            let begin = move || match reader.open(from.as_ref()) {
                Ok(()) => read_batch(reader),
                Err(error) => Batch::failed(error),
            };
            self.state = State::Reading(host.offload(|| unless_it_panics(begin)));
        }
    }
}

/// A panic of the reader is its error.
fn unless_it_panics<R: Reader>(read: impl FnOnce() -> Batch<R>) -> Batch<R> {
    let read = caught(read);
    read.unwrap_or_else(|message| Batch::failed(format!("the reader panicked: {message}").into()))
}

fn read_batch<R: Reader>(mut reader: R) -> Batch<R> {
    let mut records = VecDeque::with_capacity(BATCH);
    while records.len() < BATCH {
        match reader.read() {
            Ok(Some(record)) => records.push_back(record),
            Ok(None) => {
                let end = Ok(None);
                return Batch { records, end };
            }
            Err(error) => {
                let end = Err(error);
                return Batch { records, end };
            }
        }
    }
    let end = Ok(Some(reader));
    Batch { records, end }
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
                State::Reading(mut job) => {
                    let Poll::Ready(batch) = Pin::new(&mut job).poll(cx) else {
                        self.state = State::Reading(job);
                        return Poll::Pending;
                    };
                    match batch {
                        Ok(batch) => self.take(batch),
                        Err(gone) => return Poll::Ready(Some(Err(gone.into()))),
                    }
                }
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
