//! What the reactor asks of the system beyond mio and the standard library.
//!
//! All `unsafe` of this crate is in this folder, because these are calls into the C library: `timerfd.rs` makes and sets
//! the alarm, `descriptor.rs` switches a descriptor to non-blocking. Each is a safe function around one or two calls.

mod descriptor;
mod timerfd;

pub(crate) use descriptor::set_nonblocking;
pub(crate) use timerfd::Alarm;
