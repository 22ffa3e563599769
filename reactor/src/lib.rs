//! The reactor of peu: a slab of pending I/O events, timers, and sockets over mio.
//!
//! A program that serves many connections spends most of its life waiting. The reactor waits for all of them at once, on
//! one thread, in one call of the OS, and tells each who waits when its time has come. It knows [wakers](std::task::Waker)
//! and plain callbacks. It knows no tasks, no threads and no queues of tasks: whoever has nothing better to do takes its
//! turn.
//!
//! # The loop
//!
//! ```text
//!            Q: pending events (sources, operations, timers)
//!            |
//!            v
//!    E    = poll(Q)        the OS says which sources are ready, the wheel which timers are due
//!    T(P) = execute(E)     sources are marked ready, operations performed, wakers gathered
//!    Q    = update(Q, E)   what is finished leaves; wakers and callbacks are called
//! ```
//!
//! [`Reactor::turn`] is these three calls, and `turn.rs` is where to begin to read.
//!
//! # Two ways to use it
//!
//! - **Readiness**: a task tries the syscall itself, with a buffer that it borrows; on `WouldBlock` it waits for the source
//!   and tries again. [`Async`] does that for any descriptor.
//! - **Completion**: an [operation] that owns its buffer goes to the reactor, which performs it when it can and
//!   calls back with buffer and result: [`Reactor::submit`]. No future is involved.
//!
//! # Who drives it
//!
//! A runtime, by [`Reactor::turns`] on any of its threads; a plain loop around [`Reactor::turn`]; or the event loop of a
//! host, which watches the reactor's descriptor: [`Reactor::arm`].
//!
//! # Where what is
//!
//! | file | what |
//! |---|---|
//! | `turn.rs` | poll, execute, update, and who may take a turn |
//! | `reactor.rs`, `builder.rs`, `current.rs` | the handle, how it is made, how a thread finds it |
//! | `events.rs`, `slab.rs` | the slab of pending events and its keys |
//! | `readiness.rs` | what is known about a source, in one word |
//! | `state.rs` | who waits for a source |
//! | `source.rs`, `async_fd.rs` | waiting for a descriptor |
//! | `net/` | sockets: TCP, UDP, Unix; names are looked up off the loop |
//! | `operation.rs`, `submit.rs` | owned operations, and how they are performed and cancelled |
//! | `file/` | regular files: what can be asked of them, and which tier does it |
//! | `process.rs`, `signal.rs` | the ends of children, and signals |
//! | `place.rs` | where an answer is left for who waits |
//! | `park.rs` | how a sleeping turn is woken |
//! | `timers.rs`, `deadline.rs`, `time/` | the wheel, how it ends a sleep, what users see of it |
//! | `os/` | the calls into the C library, and all `unsafe` of this crate |

#[cfg(not(unix))]
compile_error!("peu-reactor waits for file descriptors: it needs a Unix");

mod async_fd;
mod builder;
mod current;
mod deadline;
mod error;
mod events;
pub mod file;
mod handle;
mod metrics;
#[cfg(loom)]
mod modelling;
pub mod net;
pub mod operation;
mod os;
mod park;
mod place;
pub mod process;
mod reactor;
mod readiness;
pub mod signal;
mod slab;
mod source;
mod state;
mod submit;
mod sync;
pub mod time;
mod timers;
mod turn;

/// What models need to drive the real code.
#[cfg(loom)]
#[doc(hidden)]
#[allow(missing_docs, reason = "for models only")]
pub mod internals {
    pub use crate::modelling::{ModelEvents, ModelLine, ModelParking, ModelPlace, ModelSource};
}

pub use async_fd::Async;
pub use builder::{Builder, Offload};
pub use current::Entered;
pub use error::cannot;
pub use events::Key;
pub use metrics::Metrics;
pub use operation::{Direction, Operation};
pub use os::Nap;
pub use reactor::Reactor;
pub use source::Source;
pub use turn::{Polled, Turned, Turns};
