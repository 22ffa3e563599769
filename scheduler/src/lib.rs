//! The scheduler of peu: tasks, workers, turns.
//!
//! A task is a future with a scheduler's word for its state; a worker is a thread that polls tasks; a turn is one
//! round of a worker: **poll** chooses a task, **execute** polls its future once, **update** moves on what came of
//! it. With nothing to do, a worker sleeps in the [`Driver`]: whatever it is that brings events.
//!
//! Two schedulers are made of the same parts: [`Scheduler`], whose workers steal from each other, and
//! [`LocalScheduler`], which stays on one thread and may be driven from a host's own loop.
//!
//! What this crate does not know: file descriptors, sockets, the operating system's event queue, and any clock but
//! its driver's. There are no globals; "the current scheduler" is a thread-local, set while a thread is inside it.
//!
//! | to understand | read |
//! |---|---|
//! | a worker's round | `scheduler/src/turn.rs` |
//! | how nobody sleeps while there is work, and who keeps watch | `scheduler/src/idle.rs`, `scheduler/src/watch.rs`, `scheduler/src/lookout.rs` |
//! | the ring that others steal from | `scheduler/src/ring.rs` |
//! | the life of a task | `scheduler/src/task/README.md` |

mod block_on;
mod blocking;
pub mod budget;
mod context;
mod driver;
mod handle;
mod idle;
mod injector;
mod lifo;
mod local;
mod lookout;
mod main_waker;
mod meter;
mod metrics;
#[cfg(any(loom, shuttle))]
mod modelling;
mod park;
mod ring;
mod scheduler;
mod shared;
mod sleep;
mod sync;
pub mod task;
mod turn;
mod watch;
mod worker;
mod yield_now;

pub use block_on::block_on;
pub use blocking::BlockingPool;
pub use driver::{Alarm, Driver, Polled, Turns};
pub use handle::{EnterGuard, Handle};
pub use local::{LocalScheduler, LocalTurn, spawn_local};
pub use metrics::WorkerMetrics;
pub use scheduler::{Builder, Scheduler, Shutdown};
pub use yield_now::{YieldNow, yield_now};

/// What models need to drive the real code.
#[cfg(any(loom, shuttle))]
#[doc(hidden)]
#[allow(missing_docs, reason = "for models only")]
pub mod internals {
    pub use crate::lifo::Lifo;
    pub use crate::lookout::Lookout;
    pub use crate::modelling::{Workers, blocking_pool, close_blocking_pool};
    pub use crate::park::Parker;
    pub use crate::ring::{Owner, Thief, ring};
    pub use crate::sync::clock;
    pub use crate::task::testing::{TestScheduler, cancel_now};
}
