//! Side outputs: a second way out of a pipeline, for records that are not results, such as late ones.
//!
//! An operator puts such records on a shelf, and a sink of their own takes them from there. They skip the operators in between, so one thing has
//! to be seen to: what the sink has taken when a checkpoint is made must be what the operator has given before the barrier. The barrier
//! goes the other way, through the pipeline to the main sink. So an operator that lets a barrier pass marks the place on its
//! part of the shelf; nothing behind the mark is taken before the sink has prepared, and that takes all in front of it. At most one
//! barrier is on its way at a time, so there is at most one mark.
//!
//! The name, and the use for late records, are Flink's (`sideOutputLateData`).

use super::host::Host;
use super::opening::{Opening, Trouble};
use crate::sync::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Records of one operator that may wait for the sink before the operator takes no more input. As many as a batch of work on a
/// file: fewer would make the operator and the sink wait for each other, more would only take memory.
const WAITING: usize = 256;

/// What is given the records that come too late: any function of a record, or a [`SideOutput`], which brings them to a sink of their own.
///
/// A function is told of a late record when it comes, at least once: those that come behind a checkpoint are told again after a
/// restart. It runs in the operator, which does nothing else meanwhile. A closure that asks the record for anything names its type,
/// as in `|flight: Flight| eprintln!("{} is late", flight.number)`.
pub trait LateRecords<T>: Send + 'static {
    /// Takes a record that is late.
    fn take(&mut self, record: T);

    /// The operator opens under this name.
    #[doc(hidden)]
    fn open(&mut self, name: &Arc<str>, opening: &mut Opening) {
        let _ = (name, opening);
    }

    /// Whether the operator may go on: there is room for one more. Wakes the task when there is.
    #[doc(hidden)]
    #[inline]
    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// A barrier passes the operator.
    #[doc(hidden)]
    fn pass_barrier(&mut self) {}
}

impl<T, F: FnMut(T) + Send + 'static> LateRecords<T> for F {
    fn take(&mut self, record: T) {
        self(record);
    }
}

/// A way out for records that are not results: the end that operators are given, and the one that
/// [`Job::side_sink`](super::Job::side_sink) brings to a sink.
///
/// The side sink is part of the job: it is opened, prepared, committed and restored together with the main sink, so with checkpoints each record is in
/// its output exactly once. When it has no room, the operator waits after some 256 records, and the pipeline with it.
///
/// # Examples
///
/// Departures by hour, and those that were told too late to be counted:
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::EventTime;
/// use peu_operators::pipeline::{JsonLines, Pipeline, Watermarks, Windows, every, iterate, side_output};
/// use std::time::Duration;
///
/// # let folder = tempfile::tempdir()?;
/// # std::env::set_current_dir(&folder)?;
/// let minute = Duration::from_secs(60);
/// let (late, late_records) = side_output();
/// let on_time = (0..200).map(|minute| ("JFK".to_owned(), minute));
/// let departures = on_time.chain([("EWR".to_owned(), 10)]);
/// let job = Pipeline::source(iterate(departures))
///     .event_time(|(_, at)| EventTime::from_millis(at * 60_000), Watermarks::ascending().every(Duration::ZERO))
///     .key_by(|(airport, _): &(String, i64)| airport.clone())
///     .aggregate(Windows::tumbling(60 * minute), |count: &mut u32, _| *count += 1, late)
///     .map(|hour| (hour.key, hour.value))
///     .sink(JsonLines::create("hourly.jsonl"))
///     .side_sink(late_records, JsonLines::create("late.jsonl"))
///     .checkpoint(every(Duration::from_secs(1)).restore(), "state");
/// let report = block_on(job.run_on(&Threads))?;
/// assert_eq!(report.written, 4);
/// assert_eq!(std::fs::read_to_string("late.jsonl")?, "[\"EWR\",10]\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn side_output<T>() -> (SideOutput<T>, SideRecords<T>) {
    let shelf = Arc::new(Shelf(Mutex::new(State {
        lines: Vec::new(),
        reader: None,
    })));
    let records = SideRecords {
        shelf: Arc::clone(&shelf),
    };
    (SideOutput { shelf, line: None }, records)
}

/// The operators' end of a [`side_output`]. Each operator needs its own: clones lead to the same sink, from parallel lanes as well.
/// They must be in one job, the one that the sink is in: any other does not begin
/// ([`PipelineError::NoSideSink`](super::PipelineError::NoSideSink)), rather than lose what is late.
pub struct SideOutput<T> {
    shelf: Arc<Shelf<T>>,
    /// Its part of the shelf, once the operator is open.
    line: Option<Line>,
}

struct Line {
    index: usize,
    /// As far as this end knows: who takes records makes room in silence.
    is_full: bool,
}

impl<T> Clone for SideOutput<T> {
    fn clone(&self) -> Self {
        Self {
            shelf: Arc::clone(&self.shelf),
            line: None,
        }
    }
}

impl<T: Send + 'static> LateRecords<T> for SideOutput<T> {
    fn take(&mut self, record: T) {
        let Some(line) = &mut self.line else { return };
        let mut state = self.shelf.0.lock();
        let Some(reader) = &mut state.reader else {
            return;
        };
        let reader = reader.waker.take();
        let waiting = &mut state.lines[line.index].waiting;
        waiting.push_back(record);
        line.is_full = waiting.len() >= WAITING;
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn open(&mut self, name: &Arc<str>, opening: &mut Opening) {
        let mut state = self.shelf.0.lock();
        let reader = state.reader.as_ref();
        if !reader.is_some_and(|reader| reader.host.is_same_job(&opening.host)) {
            opening.trouble.push(Trouble::NoSideSink(Arc::clone(name)));
            return;
        }
        self.line = Some(Line {
            index: state.lines.len(),
            is_full: false,
        });
        state.lines.push(Waiting::default());
    }

    #[inline]
    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        match &mut self.line {
            Some(line) if line.is_full => line.poll_room(&self.shelf, cx),
            _ => Poll::Ready(()),
        }
    }

    fn pass_barrier(&mut self) {
        let Some(line) = &self.line else { return };
        let mut state = self.shelf.0.lock();
        let waiting = &mut state.lines[line.index];
        waiting.before_barrier = Some(waiting.waiting.len());
    }
}

impl Line {
    #[cold]
    fn poll_room<T>(&mut self, shelf: &Shelf<T>, cx: &Context<'_>) -> Poll<()> {
        let mut state = shelf.0.lock();
        let is_gone = state.reader.is_none();
        let line = &mut state.lines[self.index];
        if line.waiting.len() < WAITING || is_gone {
            self.is_full = false;
            return Poll::Ready(());
        }
        line.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The sink's end of a [`side_output`]: for [`Job::side_sink`](super::Job::side_sink).
pub struct SideRecords<T> {
    shelf: Arc<Shelf<T>>,
}

/// Tells a side output which job it is that has a sink for it.
pub(super) type Attach = Box<dyn FnOnce(&Host) + Send>;

impl<T: Send + 'static> SideRecords<T> {
    /// To be called when the job begins, before its operators open: they find out whether the sink is in the same job.
    pub(super) fn attach(&self) -> Attach {
        let shelf = Arc::clone(&self.shelf);
        Box::new(move |host| {
            shelf.0.lock().reader = Some(Reader {
                host: host.clone(),
                waker: None,
            });
        })
    }
}

impl<T> SideRecords<T> {
    /// Whether an operator gives any: one of this job, for others are refused.
    pub(super) fn are_given(&self) -> bool {
        !self.shelf.0.lock().lines.is_empty()
    }

    /// Takes what waits in front of a barrier, or all of it if none has passed. Wakes the task when there is more.
    pub(super) fn take(&self, cx: &Context<'_>) -> VecDeque<T> {
        let mut state = self.shelf.0.lock();
        let (taken, writers) = state.take();
        if taken.is_empty()
            && let Some(reader) = &mut state.reader
        {
            reader.waker = Some(cx.waker().clone());
        }
        drop(state);
        writers.into_iter().for_each(Waker::wake);
        taken
    }

    /// The sink prepares: takes what is in front of the barrier, and behind it may be taken from now on. Wakes nobody for that: a sink is asked
    /// again when it has prepared.
    pub(super) fn take_to_barrier(&self) -> VecDeque<T> {
        let mut state = self.shelf.0.lock();
        let (taken, writers) = state.take();
        let lines = state.lines.iter_mut();
        lines.for_each(|line| line.before_barrier = None);
        drop(state);
        writers.into_iter().for_each(Waker::wake);
        taken
    }
}

impl<T> Drop for SideRecords<T> {
    /// The job has ended: what its operators do until they are told is of no use.
    fn drop(&mut self) {
        let mut state = self.shelf.0.lock();
        let reader = state.reader.take();
        let lines = std::mem::take(&mut state.lines);
        // Operators know their lines by number.
        state.lines.resize_with(lines.len(), Waiting::default);
        drop(state);
        drop(reader);
        let writers = lines.into_iter().filter_map(|line| line.writer);
        writers.for_each(Waker::wake);
    }
}

/// What waits between operators and their side sink.
struct Shelf<T>(Mutex<State<T>>);

struct State<T> {
    /// One for each operator.
    lines: Vec<Waiting<T>>,
    /// None: the job with the sink has not begun, or has ended.
    reader: Option<Reader>,
}

/// The sink that takes the records.
struct Reader {
    /// The job that it is in, and all the operators.
    host: Host,
    /// While it waits for records.
    waker: Option<Waker>,
}

/// The records of one operator.
struct Waiting<T> {
    waiting: VecDeque<T>,
    /// A barrier passed behind so many of them.
    before_barrier: Option<usize>,
    /// The operator, if it waits for room.
    writer: Option<Waker>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            before_barrier: None,
            writer: None,
        }
    }
}

impl<T> State<T> {
    /// Whatever may be taken, and who has room now.
    fn take(&mut self) -> (VecDeque<T>, Vec<Waker>) {
        let (mut taken, mut writers) = (VecDeque::new(), Vec::new());
        for line in &mut self.lines {
            let count = line.before_barrier.unwrap_or(line.waiting.len());
            line.before_barrier = line.before_barrier.map(|_| 0);
            taken.extend(line.waiting.drain(..count));
            if line.waiting.len() < WAITING {
                writers.extend(line.writer.take());
            }
        }
        (taken, writers)
    }
}
