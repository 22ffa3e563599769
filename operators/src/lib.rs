#![forbid(unsafe_code)]
//! Async stream operators with the semantics of Apache Flink's Async I/O, over any [`Stream`] and on any executor.
//!
//! A stream of records is to be enriched by look-ups that take a while: in a database, over HTTP, from a model. One at
//! a time is too slow; all at once is too much. [`async_map`](StreamExt::async_map) keeps a bounded number of them in
//! flight, gives each a timeout, retries those that fail, emits the outputs in order or as they come, and decides what a failure means.
//!
//! ```
//! # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
//! # use threads::Threads;
//! use futures_lite::{StreamExt as _, future::block_on, stream};
//! use peu_operators::{AsyncOptions, OnError, StreamExt as _};
//! use std::{io, time::Duration};
//!
//! # let runtime = Threads;
//! let look_up = |tail: &'static str| async move {
//!     match tail {
//!         "N14228" => Ok("Boeing 737-824"),
//!         _ => Err(io::Error::other("no such aircraft")),
//!     }
//! };
//! let options = AsyncOptions::unordered()
//!     .capacity(256)
//!     .timeout(Duration::from_millis(500))
//!     .on_error(OnError::Skip);
//!
//! let mut aircraft =
//!     stream::iter(["N14228", "NONE"]).async_map(&runtime, "aircraft", look_up, options);
//! block_on(async {
//!     while let Some(output) = aircraft.next().await {
//!         assert_eq!(output.unwrap(), "Boeing 737-824");
//!     }
//! });
//! assert_eq!(aircraft.metrics().skipped, 1);
//! ```
//!
//! # How it differs from `buffered` and `buffer_unordered`
//!
//! Those poll their futures only when their consumer polls them: a consumer that awaits something else freezes every
//! request in flight, timeouts included, and one that awaits what such a request holds never wakes up. A stage is a
//! task of its own. Its requests go on whatever its consumer does, up to the stage's capacity.
//!
//! # What a stage promises
//!
//! - **Order.** Ordered: outputs leave in the order of their records. Unordered: in the order in which their requests
//!   woke the stage; those ready at their first poll, or that time out together, in the order of their records.
//!   Key-ordered: as unordered, but one request at a time for each key, so outputs of a key keep the order of their
//!   records.
//! - **Marks**. In a stream of [`Element`]s no record crosses a watermark or any other mark, in any mode; marks take no
//!   place of the capacity, and outputs carry the event times of their records
//!   ([`async_map_elements`](StreamExt::async_map_elements)).
//! - **Capacity** bounds the requests in flight and the outputs that the consumer has not taken, together. A full stage
//!   takes no input and loses none; completions and timeouts go on.
//! - **One outcome.** A timeout starts when its record is accepted, and ends with the request's result. A result that
//!   is there when the timer fires wins; afterwards the request is gone, its future dropped.
//! - **Retries** have a delay that is worked out for each record, and one timeout for all attempts. At most one attempt
//!   of a record is under way, and, with hedging, a second call beside its first. When the input ends, nobody waits: each
//!   record has at most one more attempt, at once.
//! - **Guards** are asked before each call: rate limits, circuit breakers, limits of how many calls run together. While one says
//!   to wait, no record is accepted and no retry is made, and what is due by the clock goes first when it opens.
//! - **Failures** end the stage with an error that names stage, record, attempt and cause, behind the outputs of all
//!   earlier records in ordered mode; or they are skipped and counted, kept as dead letters, or turned into outputs. A
//!   panic is a failure of its record.
//! - **The end.** When the input ends, every accepted record leaves before the stage does. When the consumer is
//!   dropped, nothing leaves, and every request is dropped.
//! - **Fairness.** One poll of a stage's task takes at most 128 turns, each a call of the function or a poll of a
//!   request. A request that was woken is polled once before any request is polled twice, and the input is asked for a
//!   record once in each round of those that were woken.
//!
//! # What a stage's function may call
//!
//! A [`Batcher`] asks for many records with one call. A [`Table`] is in memory as a whole, and is loaded again now and then.
//! With the feature `cache` there is `Cache`, with one load for all that look a key up at the same time. They are no parts of
//! a stage, so stages can share them, and what a stage does for requests it does for theirs. With the feature `prometheus`,
//! `MetricsCollector` shows what all of them count.
//!
//! # What it needs
//!
//! Two small traits: [`Spawn`] to run a stage, and [`Timer`] for timeouts. The runtime of `peu` has them; for any other
//! executor they take a few lines each. This crate knows no socket, no thread and no clock.
//!
//! # Pipelines
//!
//! With the feature `pipeline` there is more around a stage: sources, other operators, event time, sinks, and checkpoints from
//! which a killed job goes on (module `pipeline`). They need a third trait, [`Offload`], for files.
//!
//! # How it works
//!
//! A stage is a loop of three calls, in `turn.rs`: *poll* finds what can make progress (`signals.rs`, `input.rs`, `keys.rs`,
//! `alarm.rs`), *execute* lets it, once (`attempts.rs`, `calls.rs`, `requests.rs`, `waits.rs`), and *update* lets leave what may (`order.rs`), towards the
//! consumer (`outlet.rs`, `outputs.rs`). What is ready at once passes all that by (`at_once.rs`). `stage.rs` is the task around it. It shares two things with other threads, each under one
//! mutex and with its proof beside it: the list of what was woken, and the queue of outputs.
//!
//! [`Stream`]: futures_core::Stream

/// The oracle has parts of the tests' kit, which names the crate as its users do.
#[cfg(all(test, feature = "pipeline", not(loom)))]
extern crate self as peu_operators;

mod alarm;
mod async_elements;
mod async_flat_map;
mod async_map;
mod at_once;
mod attempts;
mod barrier;
mod batch;
mod batch_options;
mod breaker;
mod budget;
#[cfg(feature = "cache")]
mod cache;
#[cfg(feature = "cache")]
mod cache_options;
mod calls;
mod concurrency;
mod element;
mod error;
mod failure;
mod flight;
mod guard;
mod hedge;
mod input;
mod keys;
mod latency;
#[cfg(feature = "cache")]
mod lookup;
mod metrics;
#[cfg(loom)]
mod modelling;
mod options;
mod order;
mod outlet;
mod outputs;
mod panics;
#[cfg(feature = "pipeline")]
pub mod pipeline;
mod policies;
#[cfg(feature = "prometheus")]
mod prometheus;
mod random;
mod rate_limit;
mod requests;
mod retry;
mod runtime;
mod signals;
mod stage;
#[cfg(feature = "pipeline")]
mod stage_state;
mod stream_ext;
mod sync;
mod table;
mod timeout;
mod turn;
mod waits;

/// What models need to drive the real code.
#[cfg(loom)]
#[doc(hidden)]
#[allow(missing_docs, reason = "for models only")]
pub mod internals {
    pub use crate::modelling::ModelSignals;
    #[cfg(feature = "pipeline")]
    pub use crate::pipeline::modelling::{
        ModelEntry, ModelExit, ModelOutlet, ModelOutputs, ModelPlace, ModelRequests, ModelShelf,
    };
}

pub use async_elements::AsyncElements;
pub use async_flat_map::AsyncFlatMap;
pub use async_map::AsyncMap;
pub use barrier::CheckpointBarrier;
pub use batch::{BatchMetrics, Batched, Batcher};
pub use batch_options::BatchOptions;
pub use breaker::CircuitBreaker;
pub use budget::{Budgeted, RetryBudget};
#[cfg(feature = "cache")]
pub use cache::{Cache, CacheMetrics};
#[cfg(feature = "cache")]
pub use cache_options::CacheOptions;
pub use concurrency::{Aimd, FixedLimit, Gradient};
pub use element::{Element, EventTime, LatencyMarker, Mark};
pub use error::{Cause, StageError};
pub use failure::{DeadLetters, ErrorPolicy, Failure, OnError, Recovery};
pub use guard::{Admission, Call, Ending, Guard, NoGuard};
pub use hedge::{Hedge, Hedging, NoHedge};
pub use keys::{KeyBy, KeyOf, NoKey};
pub use latency::Latencies;
#[cfg(feature = "cache")]
pub use lookup::{Found, Lookup};
pub use metrics::{Circuit, Metrics, Monitor};
pub use options::AsyncOptions;
pub use policies::{Policies, StagePolicies};
#[cfg(feature = "prometheus")]
pub use prometheus::MetricsCollector;
pub use rate_limit::RateLimit;
pub use retry::{Always, Condition, Jitter, Never, NoRetry, Retry, RetryPolicy};
pub use runtime::{Offload, Spawn, Timer};
pub use stream_ext::StreamExt;
pub use table::{Reload, Table, TableMetrics};
pub use timeout::{AsyncFallback, Decision, FailOnTimeout, Fallback, OnTimeout};
