//! What the reactor asks of the system beyond mio and the standard library.
//!
//! All `unsafe` of this crate is in this folder, because these are calls into the C library: `timerfd.rs` makes and sets
//! timers, `descriptor.rs` switches a descriptor to non-blocking, `read_now.rs` reads files without waiting. Each is a safe function around one or two calls.

mod descriptor;
mod read_now;
mod timerfd;

pub(crate) use descriptor::set_nonblocking;
pub(crate) use read_now::{can_read_now, read_now};
pub(crate) use timerfd::Alarm;
pub use timerfd::Nap;
