//! What the scheduler asks of whatever brings it events: a turn that can be claimed, a bell, and a clock.
//!
//! The scheduler knows no file descriptor and no operating system's queue. It sleeps *in* a driver, because whoever
//! waits for events may as well be the one who sleeps; and a driver belongs to no worker, so that a worker which
//! is stuck in a long poll takes no driver with it.

use std::time::{Duration, Instant};

/// A source of events that one thread at a time may wait in.
///
/// # Contract
///
/// - [`Turns::poll`] is exclusive: a second thread that polls meanwhile gets [`Polled::Claimed`] at once. The claim ends
///   before `poll` returns, so nothing that runs afterwards can hold it.
/// - [`unpark`](Driver::unpark) is sticky: it ends the `poll` under way or, if there is none, the next one, whoever
///   makes it.
/// - Because that next one may be another thread's, `poll` has a last look: once the caller has the turn, and from a
///   moment on from which every unpark ends this very poll, it calls `may_sleep`, and does not wait if the answer is no.
/// - With `None` as timeout, `poll` returns when there is an event, a due timer, or an unpark; it may return
///   early with `Ready(0)`, which callers take as a reason to look around.
///
/// # Example
///
/// A driver without events, for a scheduler that only computes:
///
/// ```
/// use peu_scheduler::{Driver, Polled, Turns};
/// use std::sync::{Arc, Condvar, Mutex};
/// use std::time::{Duration, Instant};
///
/// #[derive(Default)]
/// struct Bell { claim: Mutex<()>, rung: Mutex<bool>, changed: Condvar }
///
/// #[derive(Default, Clone)]
/// struct Silent(Arc<Bell>);
///
/// impl Driver for Silent {
///     fn turns(&self) -> Box<dyn Turns> { Box::new(self.clone()) }
///     fn unpark(&self) { *self.0.rung.lock().unwrap() = true; self.0.changed.notify_one(); }
///     fn now(&self) -> Instant { Instant::now() }
/// }
///
/// impl Turns for Silent {
///     fn poll(&mut self, timeout: Option<Duration>, may_sleep: &dyn Fn() -> bool) -> Polled {
///         let Ok(_claim) = self.0.claim.try_lock() else { return Polled::Claimed };
///         let mut rung = self.0.rung.lock().unwrap();
///         if may_sleep() {
///             let limit = timeout.unwrap_or(Duration::from_secs(3600));
///             rung = self.0.changed.wait_timeout_while(rung, limit, |rung| !*rung).unwrap().0;
///         }
///         *rung = false;
///         Polled::Ready(0)
///     }
///     fn update(&mut self) {}
/// }
///
/// let builder = peu_scheduler::Builder::new().workers(2);
/// let pool = builder.blocking_pool().unwrap();
/// let scheduler = builder.build(Arc::new(Silent::default()), pool).unwrap();
/// let handle = scheduler.handle();
/// assert_eq!(peu_scheduler::block_on(async { handle.spawn(async { 6 * 7 }).await.unwrap() }), 42);
/// ```
pub trait Driver: Send + Sync + 'static {
    /// A new set of buffers for one thread that takes turns.
    fn turns(&self) -> Box<dyn Turns>;

    /// Ends the poll under way, or the next one. Any thread may call it, at any time.
    fn unpark(&self);

    /// A worker goes to sleep outside of the driver, and leaves the next turn to others, who may be busy. What the driver has
    /// put off to that turn, and should not wait so long, it does now, without calling foreign code, for the worker already counts as
    /// asleep. By default there is nothing.
    fn flush(&self) {}

    /// The time, by the clock that the driver's timers run on.
    fn now(&self) -> Instant;

    /// A new alarm, for a worker that keeps watch over the others. `None`, as by default: the scheduler works as well,
    /// and wakes up 125 times a second for it while there is little to do.
    fn alarm(&self) -> Option<Box<dyn Alarm>> {
        None
    }
}

/// A sleep of one thread whose end any thread may move.
///
/// # Contract
///
/// - [`wait`](Alarm::wait) returns when the time is over that was [`set`](Alarm::set) last, also if that was before
///   `wait` was called. It takes that end back: the next `wait` is for another.
/// - `set` replaces what was set before, also if that time is over and nobody has waited for it yet.
pub trait Alarm: Send + Sync {
    /// The sleep under way, or else the next, ends after this time.
    fn set(&self, after: Duration);

    /// Sleeps until the end. One thread at a time does.
    fn wait(&self);
}

/// One thread's part in a [`Driver`].
pub trait Turns: Send {
    /// Poll: waits for at most `timeout` (`None`: as long as it takes) if `may_sleep` still says so at the last
    /// moment, and gathers whom to tell. It runs no foreign code: while it lasts, this thread counts as asleep.
    fn poll(&mut self, timeout: Option<Duration>, may_sleep: &dyn Fn() -> bool) -> Polled;

    /// Poll without waiting, for who has other work and looks here once in 61 tasks: where many events are ready, this should
    /// take fewer than that, so that a flood stays where it is and does not overflow the queue. By default it is `poll`.
    fn glance(&mut self) -> Polled {
        self.poll(Some(Duration::ZERO), &|| false)
    }

    /// Execute and update: lets them make progress, and tells them. Wakers and callbacks run here, on this thread,
    /// with no lock held.
    fn update(&mut self);
}

/// What came of a [`Turns::poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Another thread has the turn.
    Claimed,
    /// So many events wait for [`Turns::update`].
    Ready(usize),
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A driver that nobody ever sleeps in.
    pub(crate) struct NoDriver;

    impl Driver for NoDriver {
        fn turns(&self) -> Box<dyn Turns> {
            unreachable!("nobody polls this driver")
        }
        fn unpark(&self) {}
        fn now(&self) -> Instant {
            Instant::now()
        }
    }
}
