//! Pipelines: from a source through operators to a sink, with event time, and checkpoints that survive a crash.
//!
//! ```standalone_crate
//! # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
//! # use threads::Threads;
//! use futures_lite::future::block_on;
//! use peu_operators::pipeline::{CsvFile, JsonLines, Pipeline, every};
//! use peu_operators::{AsyncOptions, OnError};
//! use serde::{Deserialize, Serialize};
//! use std::{io, time::Duration};
//!
//! #[derive(Clone, Debug, Serialize, Deserialize)]
//! struct Flight {
//!     carrier: String,
//!     distance: u32,
//! }
//!
//! async fn name_of(flight: Flight) -> io::Result<(String, u32)> {
//!     match &*flight.carrier {
//!         "UA" => Ok(("United".to_owned(), flight.distance)),
//!         _ => Err(io::Error::other("no such airline")),
//!     }
//! }
//!
//! # let folder = tempfile::tempdir()?;
//! # std::env::set_current_dir(&folder)?;
//! # std::fs::write("flights.csv", "carrier,distance\nUA,1400\nXX,1089\nUA,200\n")?;
//! let job = Pipeline::source(CsvFile::<Flight>::open("flights.csv"))
//!     .filter(|flight| flight.distance > 500)
//!     .async_map("airline", name_of, AsyncOptions::unordered().capacity(256).on_error(OnError::Skip))
//!     .sink(JsonLines::create("far.jsonl"))
//!     .checkpoint(every(Duration::from_secs(1)).restore(), "state");
//! let report = block_on(job.run_on(&Threads))?;
//! assert_eq!(report.written, 1);
//! assert_eq!(std::fs::read_to_string("far.jsonl")?, "[\"United\",1400]\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it runs
//!
//! Operators are asked, as iterators are: the sink's task asks the last operator for an element, that asks the one before
//! it, up to the source. So a chain of `map` and `filter` is one function after the compiler has seen it, no record is boxed,
//! and a sink that is slow holds the source up without anyone seeing to it.
//!
//! An async stage is a task of its own: it asks the operators before it whatever those behind it do, up to its capacity, and the
//! bounded queue of its outputs is what the next task asks. So is the router of [`parallelism`](Pipeline::parallelism).
//! A pipeline has as many tasks as it has async stages and routers, and one for the sink, and one more with checkpoints.
//!
//! Between the records flow [marks](crate::Mark): watermarks, which say how far event time has come, idle markers, and
//! barriers. No mark overtakes a record, and no record a watermark.
//!
//! # How it ends
//!
//! At the end of its input every record is drained to the sink, which commits. When anything fails, an operator, its input, a
//! call, the sink, the checkpoints, or when any of them panics, the failure travels with the stream to the sink's task,
//! which ends the job with it; the tasks before it end because nobody takes their outputs any more. Dropping the
//! [`Running`] job stops it.
//!
//! # Checkpoints
//!
//! With [`Job::checkpoint`] a job that was killed, at any instant and however often, goes on where its last checkpoint was, and its
//! committed output has each record exactly once.
//!
//! A barrier flows from each source to the sink, behind the last record that the source gave. An operator with several inputs
//! waits for the barrier from all of them. So, when the barrier reaches an operator, that has seen all records before it
//! and none behind it; and what it holds then goes into the checkpoint. With an async stage these are the inputs of requests that are
//! unfinished, and the outputs of those that have finished and were not taken; the barrier does not wait for them. When the
//! barrier reaches the sink, each record before the sources' positions is either in the sink or in the checkpoint.
//!
//! Then the sink *prepares*: what it was given becomes safe, but not visible. The checkpoint is written, and counts from the instant
//! at which it has its name. Then the sink *commits*. A job killed before that instant goes on from the checkpoint before, and what
//! was prepared since is forgotten. Killed after it, it commits first, perhaps a second time. Calls are made at least once: those that
//! were unfinished are made again, with their timeouts, attempts and numbers from the start.
//!
//! So are your functions: what is told by a call, such as dead letters, is no part of a checkpoint. After a restart they are
//! told again, as far as they come behind it: *at least* once. A function that hands them on has to see to it that they arrive before it
//! returns, or that nobody minds. Late records and dead letters need not be told: a [`side_output`] brings them to a sink of their own, and
//! has them there as exactly as that sink commits.
//!
//! A checkpoint that is torn or has a flipped bit is found by its checksum, and the one before is used, which the job's
//! [`Restored`] tells. One of another pipeline is refused, and the difference named: the operators' names and kinds, the types of
//! their records, and the files that are read and written.
//!
//! Types are compared by their names, as text, and by what their `Deserialize` asks for: the fields of structs and the variants of enums,
//! in their order, with their names and types. So a type that was renamed, or has moved to another module, or whose fields have changed
//! in any way, is another: let the job that knows the old one come to its end first. A `Deserialize` that was written by hand is seen
//! up to where it refuses a made-up value, 1 or an empty text. Should a change behind that leave bytes that fit by chance, records are
//! misread: give such a type a new name when you change it.
//!
//! Records that a stage holds are written by `postcard`, without names: their types may be any that `serde` reads back from that, which
//! leaves out `#[serde(flatten)]`, `untagged` and `skip_serializing_if`.
//!
//! # What it needs
//!
//! Of a runtime the three small traits [`Spawn`](crate::Spawn), [`Timer`](crate::Timer) and [`Offload`](crate::Offload). Files are read and written
//! by the third: a few hundred records, or 64 KiB, at a time.

mod async_stage;
mod budget;
mod checkpoint;
mod dead_letters;
mod drive;
mod error;
mod event_time;
mod form;
mod host;
mod identity;
mod interval_join;
mod job;
mod lane_queue;
mod lanes;
mod merge;
mod metrics;
#[cfg(loom)]
pub(crate) mod modelling;
mod opening;
mod operator;
#[cfg(all(test, not(loom)))]
#[path = "../../tests/oracle/mod.rs"]
mod oracle;
mod reduce;
mod report;
mod sessions;
mod shelf;
mod side_output;
mod sink;
mod sinks;
mod source;
mod sources;
mod state;
mod stateless;
mod windows;

pub use async_stage::{AsyncFlat, AsyncStage, Keepable};
pub use checkpoint::{CheckpointError, Refused};
pub use dead_letters::DeadLetter;
pub use error::PipelineError;
pub use event_time::{EventTimes, Watermarks};
pub use host::{Gone, Host, Offloaded, Runtime};
pub use interval_join::{IntervalJoin, Side};
pub use job::{Checkpoints, Job, Running, every};
pub use lanes::{Lane, Parallel};
pub use merge::{Either, Merge};
pub use metrics::{OperatorMetrics, OperatorMonitor};
pub use operator::Operator;
pub use reduce::Reduce;
pub use report::{Report, Restored};
pub use sessions::AggregateSessions;
pub(crate) use side_output::RoomLeft;
pub use side_output::{LateRecords, SideOutput, SideRecords, side_output};
pub use sink::Sink;
pub use sinks::{
    AsyncSink, AsyncSinkOptions, Collect, Collected, CsvWriter, ForEach, JsonLines, LinesWriter,
    PartitionedFiles, PreparedBoth, PreparedFile, PreparedFolder, RecordTooLarge, Unwritten,
    WithSide, collect, for_each,
};
pub use source::{FromSource, Source};
pub use sources::{
    CsvFile, CsvPosition, Folder, FolderPosition, Generate, Iterate, Lines, LinesPosition, Listen,
    Read, ReadAhead, Reader, TcpLines, generate, iterate, listen,
};
#[cfg(unix)]
pub use sources::{Tail, TailPosition};
pub use stateless::{Filter, FlatMap, Inspect, Map};
pub use windows::{Aggregate, Windowed, Windows};

use crate::element::EventTime;
use crate::error::BoxError;
use crate::options::AsyncOptions;
use crate::policies::StagePolicies;
use lanes::{ByKey, InTurn};
pub(crate) use opening::Opening;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

/// A source and the operators behind it, to be continued: nothing runs before it has a [`sink`](Pipeline::sink) and is run.
#[must_use = "a pipeline does nothing until it has a sink and is run"]
pub struct Pipeline<O> {
    operator: O,
}

impl<S: Source> Pipeline<FromSource<S>> {
    /// Begins with a source: [`CsvFile`], [`Lines`], [`Folder`], [`Tail`], [`TcpLines`], [`iterate`], [`generate`], [`listen`], or a [`Source`] or [`Reader`] of yours.
    pub fn source(source: S) -> Self {
        Self {
            operator: FromSource::new(source),
        }
    }
}

impl<O: Operator> Pipeline<O> {
    fn then<N>(self, operator: impl FnOnce(O) -> N) -> Pipeline<N> {
        Pipeline {
            operator: operator(self.operator),
        }
    }

    /// Makes another record of each.
    pub fn map<U, F>(self, function: F) -> Pipeline<Map<O, F>>
    where
        F: FnMut(O::Item) -> U + Send + 'static,
        U: Send + 'static,
    {
        self.then(|input| Map { input, function })
    }

    /// Keeps the records for which `keeps` holds.
    pub fn filter<F>(self, keeps: F) -> Pipeline<Filter<O, F>>
    where
        F: FnMut(&O::Item) -> bool + Send + 'static,
    {
        self.then(|input| Filter { input, keeps })
    }

    /// Makes any number of records of each. All have its event time.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::future::block_on;
    /// use peu_operators::pipeline::{Pipeline, collect, iterate};
    ///
    /// let (sink, numbers) = collect();
    /// let texts = Pipeline::source(iterate(["1", "two", "3"]));
    /// block_on(texts.flat_map(|text| text.parse::<u32>()).sink(sink).run_on(&Threads))?;
    /// assert_eq!(numbers.take(), [1, 3]);
    /// # Ok::<(), peu_operators::pipeline::PipelineError>(())
    /// ```
    pub fn flat_map<Outs, F>(self, function: F) -> Pipeline<FlatMap<O, F, Outs>>
    where
        F: FnMut(O::Item) -> Outs + Send + 'static,
        Outs: IntoIterator<Item: Send + 'static, IntoIter: Send + 'static> + 'static,
    {
        self.then(|input| FlatMap {
            input,
            function,
            current: None,
        })
    }

    /// Looks at each record.
    pub fn inspect<F>(self, look: F) -> Pipeline<Inspect<O, F>>
    where
        F: FnMut(&O::Item) + Send + 'static,
    {
        self.then(|input| Inspect { input, look })
    }

    /// Gives each record its event time, and the stream its watermarks: see [`Watermarks`]. At the end of the input comes
    /// [`EventTime::MAX`].
    pub fn event_time<F>(self, time_of: F, watermarks: Watermarks) -> Pipeline<EventTimes<O, F>>
    where
        F: FnMut(&O::Item) -> EventTime + Send + 'static,
    {
        self.then(|input| EventTimes::new(input, time_of, watermarks))
    }

    /// The records of both, as they come; the watermark is the lower of the two.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::future::block_on;
    /// use peu_operators::pipeline::{Pipeline, collect, iterate};
    ///
    /// let (sink, numbers) = collect();
    /// let small = Pipeline::source(iterate(0..3));
    /// let large = Pipeline::source(iterate(100..103));
    /// block_on(small.union(large).sink(sink).run_on(&Threads))?;
    /// assert_eq!(numbers.take().len(), 6);
    /// # Ok::<(), peu_operators::pipeline::PipelineError>(())
    /// ```
    pub fn union<Other>(self, other: Pipeline<Other>) -> Pipeline<Merge<Either<O, Other>>>
    where
        Other: Operator<Item = O::Item>,
    {
        self.then(|input| {
            Merge::of_streams(vec![Either::One(input), Either::Other(other.operator)])
        })
    }

    /// Calls an async function for each record, many at a time: see
    /// [`StreamExt::async_map`](crate::StreamExt::async_map), of which this is the same stage. `name` stands for it in errors,
    /// reports and checkpoints, so no other stage of the pipeline may have it.
    ///
    /// # Panics
    ///
    /// If the options make no sense together, as a second call after the timeout.
    #[track_caller]
    pub fn async_map<F, Fut, Out, E, P>(
        self,
        name: impl Into<Arc<str>>,
        function: F,
        options: AsyncOptions<P>,
    ) -> Pipeline<AsyncStage<Out>>
    where
        O::Item: Keepable,
        F: FnMut(O::Item) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Out, E>> + Send + 'static,
        Out: Serialize + DeserializeOwned + Send + 'static,
        E: Into<BoxError> + 'static,
        P: StagePolicies<O::Item, Out, E>,
    {
        let name = name.into();
        let options = options.checked::<O::Item, Out, E>(&name);
        self.then(|input| AsyncStage::new(input, name, function, options))
    }

    /// As [`async_map`](Pipeline::async_map), for a function that has any number of outputs for a record. All have its event
    /// time.
    ///
    /// # Panics
    ///
    /// As [`async_map`](Pipeline::async_map).
    #[track_caller]
    pub fn async_flat_map<F, Fut, Outs, E, P>(
        self,
        name: impl Into<Arc<str>>,
        function: F,
        options: AsyncOptions<P>,
    ) -> Pipeline<AsyncFlat<Outs>>
    where
        O::Item: Keepable,
        F: FnMut(O::Item) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Outs, E>> + Send + 'static,
        Outs: IntoIterator<Item: Send + 'static, IntoIter: Send + 'static>,
        Outs: Serialize + DeserializeOwned + Send + 'static,
        E: Into<BoxError> + 'static,
        P: StagePolicies<O::Item, Outs, E>,
    {
        let name = name.into();
        let options = options.checked::<O::Item, Outs, E>(&name);
        self.then(|input| AsyncFlat {
            stage: AsyncStage::new(input, name, function, options),
            current: None,
        })
    }

    /// Spreads the records over `count` lanes, each in its turn. `lane` makes the operators of each, which have tasks of their
    /// own, at the latest with their first async stage. The order of records in different lanes is lost.
    ///
    /// # Panics
    ///
    /// If `count` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::future::block_on;
    /// use peu_operators::AsyncOptions;
    /// use peu_operators::pipeline::{Pipeline, collect, iterate};
    /// use std::convert::Infallible;
    ///
    /// let (sink, doubled) = collect();
    /// let double = |n: u64| async move { Ok::<_, Infallible>(2 * n) };
    /// let numbers = Pipeline::source(iterate(0..100));
    /// let lanes = numbers.parallelism(4, |lane| lane.async_map("double", double, AsyncOptions::ordered()));
    /// block_on(lanes.sink(sink).run_on(&Threads))?;
    /// assert_eq!(doubled.take().len(), 100);
    /// # Ok::<(), peu_operators::pipeline::PipelineError>(())
    /// ```
    #[track_caller]
    pub fn parallelism<N: Operator>(
        self,
        count: usize,
        lane: impl FnMut(Pipeline<Lane<O::Item>>) -> Pipeline<N>,
    ) -> Pipeline<Parallel<N>> {
        self.spread(InTurn::default(), count, lane)
    }

    #[track_caller]
    fn spread<N: Operator>(
        self,
        route: impl lanes::Route<O::Item>,
        count: usize,
        mut lane: impl FnMut(Pipeline<Lane<O::Item>>) -> Pipeline<N>,
    ) -> Pipeline<Parallel<N>> {
        assert!(count > 0, "a pipeline must go on in at least 1 lane");
        let lane = |operator| lane(Pipeline { operator }).operator;
        self.then(|input| Parallel::new(input, route, count, lane))
    }

    /// Names the key of each record, for what follows: [`Keyed::aggregate`], [`Keyed::aggregate_sessions`],
    /// [`Keyed::reduce`], [`Keyed::interval_join`], [`Keyed::parallelism`].
    pub fn key_by<K, F>(self, key: F) -> Keyed<O, F>
    where
        F: FnMut(&O::Item) -> K + Send + 'static,
    {
        Keyed {
            pipeline: self,
            key,
        }
    }

    /// Ends with a sink: [`JsonLines`], [`CsvWriter`], [`LinesWriter`], [`PartitionedFiles`],
    /// [`AsyncSink`], [`collect`], [`for_each`], or a [`Sink`] of yours.
    pub fn sink<K: Sink<O::Item>>(self, sink: K) -> Job<O, K> {
        Job::new(self.operator, sink)
    }
}

/// A pipeline whose records have keys: what [`Pipeline::key_by`] makes.
#[must_use = "a pipeline does nothing until it has a sink and is run"]
pub struct Keyed<O, F> {
    pipeline: Pipeline<O>,
    key: F,
}

impl<O: Operator, F> Keyed<O, F> {
    /// As [`Pipeline::parallelism`], but records with the same key have the same lane, in every run, and so keep their order.
    ///
    /// # Panics
    ///
    /// If `count` is 0.
    #[track_caller]
    pub fn parallelism<K, N>(
        self,
        count: usize,
        lane: impl FnMut(Pipeline<Lane<O::Item>>) -> Pipeline<N>,
    ) -> Pipeline<Parallel<N>>
    where
        K: Hash,
        F: FnMut(&O::Item) -> K + Send + 'static,
        N: Operator,
    {
        self.pipeline.spread(ByKey(self.key), count, lane)
    }
}
