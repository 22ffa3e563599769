//! Waiting for a moment: [`sleep()`], [`timeout()`] and [`interval()`].
//!
//! The names and their meaning are those of tokio's `time` module, on [`std::time`]'s [`Instant`] and [`Duration`]. Each
//! of these futures holds at most one timer of the reactor that was current when it was made; it may be awaited on any
//! thread, inside another runtime or none, as long as somebody turns that reactor.
//!
//! # How precise a timer is
//!
//! **Never early.** A timer fires when the clock has reached its deadline, compared in nanoseconds.
//!
//! **Late by what it takes to wake a thread**, some 20 to 100 µs on an idle Linux machine. It would be more if the reactor
//! passed the deadline on as the timeout of its wait for events: `epoll_wait` counts that in whole milliseconds, mio has
//! to round up, and a sleep of 100 µs takes over 1 ms. Instead, the reactor keeps a `timerfd` among its descriptors,
//! sets it to the next deadline, and waits without a limit: the kernel counts a `timerfd` in nanoseconds, and does not
//! add the *timer slack* to it (50 µs) by which it puts off the timeouts of ordinary threads. What remains is not ours
//! to remove: the processor wakes up, the thread is scheduled, and the task waits until a worker polls it. On systems
//! without `timerfd` it is the timeout of the wait after all, rounded up to 1 ms.
//!
//! Inside the reactor nothing is rounded: its timing wheel files timers by ticks of 65.5 µs, but compares nanoseconds.
//! Two timers fire in the order of their ticks, and if their deadlines are equal, in the order in which they were set.
//!
//! # What a timer costs
//!
//! - **No allocation**: the timer is an entry of the reactor's slab, reused after it has fired or was cancelled.
//! - **Nothing before the first poll** that finds the deadline ahead: a timeout around a future that is ready at once
//!   never touches the reactor's timers.
//! - To set a timer, to cancel it, and to poll it again in vain: **one short lock each**, and work that does not grow with
//!   the number of timers.
//! - **A system call only if somebody would sleep too long**: the `timerfd` is set by a turn that is about to sleep, or
//!   for a timer that is set while one sleeps, and only if the deadline is earlier than the one it is set to. A busy
//!   loop sets it rarely, and timeouts of one length, of which some are always pending, only when the oldest one has
//!   rung. A cancelled timer leaves it as it is, at the price of at most one wake-up with nothing to do.
//!
//! # When the runtime ends
//!
//! A timer that is pending when its reactor is closed can never fire. Its task is woken, and finds out at its next poll: a
//! future whose deadline has passed completes as usual, and any other **panics** with a message that says so. That is
//! unkind, but its alternatives are worse: to stay pending is a hang that nobody can explain, to complete is to lie about
//! the time, and [`sleep()`] has no error to return. Tasks of the runtime itself never see it: they are dropped before
//! their reactor is closed. Dropping any of these futures is fine at any time.

mod interval;
mod sleep;
mod timeout;

pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Elapsed, Timeout, timeout, timeout_at};

use std::time::{Duration, Instant};

/// Stands for "never": where an [`Instant`] cannot hold the sum, nobody is going to wait for the difference. Thirty years
/// are certain to be representable everywhere, and what tokio takes.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// `start + duration`, or the far future if that is beyond what an [`Instant`] can tell.
fn saturating_add(start: Instant, duration: Duration) -> Instant {
    start
        .checked_add(duration)
        .unwrap_or_else(|| Instant::now() + NEVER)
}
