#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod builder;
mod driver;
pub mod fs;
mod handle;
pub mod io;
mod local_runtime;
#[cfg(feature = "pipeline")]
pub mod pipeline;
pub mod prelude;
pub mod process;
mod runtime;
#[cfg(feature = "sync")]
pub mod sync;
pub mod task;

pub use builder::Builder;
pub use handle::{EnterGuard, Handle, spawn, spawn_blocking};
pub use local_runtime::LocalRuntime;
pub use runtime::{Metrics, Runtime};

pub use peu_operators as operators;
pub use peu_reactor as reactor;
pub use peu_reactor::{Async, Reactor, net, signal, time};
pub use peu_scheduler::{LocalTurn, Shutdown, WorkerMetrics};
