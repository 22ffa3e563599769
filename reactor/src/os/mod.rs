//! What the reactor asks of the system beyond mio and the standard library.
//!
//! All `unsafe` of this crate is in this folder, because these are calls into the C library: `timerfd.rs` makes and sets
//! timers, `clock.rs` reads a cheap clock, `advise.rs` tells what will be read, `descriptor.rs` switches a descriptor to non-blocking and back,
//! `open.rs` opens files, `mounts.rs` says where they are,
//! `read_now.rs` reads them without waiting, `uring.rs` has the kernel do it by itself. Nearly each is a safe function around one or two
//! calls.

mod advise;
mod clock;
mod descriptor;
mod mounts;
mod open;
mod pidfd;
mod read_now;
mod signal;
mod timerfd;
#[cfg(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
))]
mod uring;
#[cfg(not(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
)))]
#[path = "no_uring.rs"]
mod uring;

pub(crate) use advise::will_need;
pub(crate) use clock::Clock;
pub(crate) use descriptor::{set_blocking, set_nonblocking};
pub(crate) use mounts::is_on_this_machine;
pub(crate) use open::{
    About, WHOLE_FLAGS, can_open_now, look, look_at_start, open, open_cached, open_whole, opened,
    peek_cached, peek_cached_in, wait_for_writer, without_nonblocking,
};
pub(crate) use pidfd::pidfd;
pub(crate) use read_now::{can_read_now, read_now};
pub(crate) use signal::Seat;
pub(crate) use timerfd::Alarm;
pub use timerfd::Nap;
pub(crate) use uring::{Bell, Completion, Entry, Submission, ring};
