//! Side outputs: a second way out of a pipeline, for records that are not results, such as late ones, and dead letters (`dead_letters.rs`).
//!
//! An operator puts such records on a shelf, and a sink of their own takes them from there. They skip the operators in between, so two things have
//! to be seen to: what the sink has taken when a checkpoint is made must be what the operator has given before the barrier, which goes
//! the other way, through the pipeline to the main sink; and a sink without room must hold the operators up. `shelf.rs` tells how.
//!
//! The name, and the use for late records, are Flink's (`sideOutputLateData`).

use super::host::Host;
use super::opening::{Opening, Trouble};
use super::shelf::{Place, Shelf};
use crate::sync::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Records that may wait for the sink before the operators take no more input. As many as a batch of work on a
/// file: fewer would make operators and sink wait for each other, more would only take memory, and room in each checkpoint.
const PLACES: usize = 256;

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
/// The side sink is part of the job: it is opened, prepared, committed and restored together with the main sink, so with checkpoints each record is
/// in its output as exactly as that sink commits: in a file once, and with an [`AsyncSink`](super::AsyncSink) at least once. When it has no room, the operators wait after some 256 records, and the pipeline with them, however many checkpoints are made meanwhile.
///
/// # Examples
///
/// Departures by hour, and those that were told too late to be counted:
///
/// ```standalone_crate
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
    let ends = Ends {
        shelf: Arc::new(Shelf::new(PLACES)),
        job: Arc::new(Mutex::new(None)),
    };
    let output = SideOutput {
        ends: ends.clone(),
        place: None,
    };
    (output, SideRecords(ends))
}

/// What both ends know.
struct Ends<T> {
    shelf: Arc<Shelf<T>>,
    /// The job with the sink, while it opens and runs.
    job: Arc<Mutex<Option<Host>>>,
}

impl<T> Clone for Ends<T> {
    fn clone(&self) -> Self {
        Self {
            shelf: Arc::clone(&self.shelf),
            job: Arc::clone(&self.job),
        }
    }
}

/// The operators' end of a [`side_output`]. Each operator needs its own: clones lead to the same sink, from parallel lanes as well.
/// They must be in one job, the one that the sink is in: any other does not begin
/// ([`PipelineError::NoSideSink`](super::PipelineError::NoSideSink)), rather than lose what is late.
pub struct SideOutput<T> {
    ends: Ends<T>,
    /// Once the operator is open.
    place: Option<Place<T>>,
}

impl<T> Clone for SideOutput<T> {
    fn clone(&self) -> Self {
        Self {
            ends: self.ends.clone(),
            place: None,
        }
    }
}

/// Ready while there is room for more records. Wakes the task when there is.
pub(crate) type RoomLeft = Box<dyn FnMut(&Context<'_>) -> Poll<()> + Send>;

impl<T: Send + 'static> SideOutput<T> {
    pub(super) fn is_open(&self) -> bool {
        self.place.is_some()
    }

    /// What [`poll_room`](LateRecords::poll_room) says, for an operator that does not ask it itself. None if it is not open.
    pub(super) fn room_left(&self) -> Option<RoomLeft> {
        let place = self.place.as_ref()?;
        Some(Box::new(place.room_left()))
    }
}

impl<T: Send + 'static> LateRecords<T> for SideOutput<T> {
    fn take(&mut self, record: T) {
        if let Some(place) = &mut self.place {
            place.give(record);
        }
    }

    fn open(&mut self, name: &Arc<str>, opening: &mut Opening) {
        let job = self.ends.job.lock();
        match &*job {
            Some(job) if job.is_same_job(&opening.host) => {
                self.place = Some(Place::on(&self.ends.shelf));
            }
            _ => opening.trouble.push(Trouble::NoSideSink(Arc::clone(name))),
        }
    }

    #[inline]
    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        match &mut self.place {
            Some(place) => place.poll_room(cx),
            None => Poll::Ready(()),
        }
    }

    fn pass_barrier(&mut self) {
        if let Some(place) = &self.place {
            place.pass_barrier();
        }
    }
}

/// The sink's end of a [`side_output`]: for [`Job::side_sink`](super::Job::side_sink).
pub struct SideRecords<T>(Ends<T>);

/// Tells a side output which job it is that has a sink for it.
pub(super) type Attach = Box<dyn FnOnce(&Host) + Send>;

impl<T> SideRecords<T> {
    /// To be called when the job begins, before its operators open: they find out whether the sink is in the same job.
    pub(super) fn attach(&self) -> Attach {
        let job = Arc::clone(&self.0.job);
        Box::new(move |host| *job.lock() = Some(host.clone()))
    }

    /// Whether an operator gives any: one of this job, for others are refused.
    pub(super) fn are_given(&self) -> bool {
        self.0.shelf.has_parts()
    }

    /// Takes what there is that no barrier stands in front of. If that is nothing, the task is woken when there is something.
    pub(super) fn take(&self, cx: &Context<'_>) -> VecDeque<T> {
        self.0.shelf.take(cx)
    }

    /// The sink prepares: takes all that was given before the barrier.
    pub(super) fn take_to_barrier(&self) -> VecDeque<T> {
        self.0.shelf.take_to_barrier()
    }

    /// A place on the shelf without a job around it.
    #[cfg(test)]
    pub(super) fn place(&self) -> Place<T> {
        Place::on(&self.0.shelf)
    }

    /// Of all that was taken, so many are not written: they leave no room for others.
    pub(super) fn hold(&self, count: usize) {
        self.0.shelf.hold(count);
    }
}

impl<T> Drop for SideRecords<T> {
    fn drop(&mut self) {
        let job = self.0.job.lock().take();
        drop(job);
        self.0.shelf.leave();
    }
}
