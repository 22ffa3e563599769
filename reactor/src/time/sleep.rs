//! A future that completes at a deadline.

use super::saturating_add;
use crate::deadline::Update;
use crate::timers::TimerKey;
use crate::{Reactor, error};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

/// A deadline that is so many nanoseconds ahead by the [rough clock](crate::os::Clock::rough) is ahead: that clock is behind by a tick of the
/// system's, 10 ms at most. Were it by more, which takes a virtual machine that does not run, then a sleep that is over would be told by its timer
/// in place of the poll, one turn later.
const ROUGHLY: u64 = 50_000_000;

/// Waits until `duration` has passed since this call.
///
/// A duration of zero completes at the first poll. One that reaches beyond what an [`Instant`] can hold, such as
/// [`Duration::MAX`], means "practically never": 30 years. For precision and cost see the [module](super).
///
/// # Cancel safety
/// Dropping it cancels the timer, and nothing else happens.
///
/// # Panics
/// If this thread is in no runtime: no reactor was [entered](Reactor::enter).
/// [`Sleep::with_reactor`] does not need one.
///
/// # Examples
/// ```
/// use peu_reactor::{Reactor, time::sleep};
/// use std::time::{Duration, Instant};
///
/// let reactor = Reactor::new()?;
/// let _entered = reactor.enter();
/// let start = Instant::now();
/// let pause = sleep(Duration::from_millis(2));
/// assert_eq!(pause.deadline().duration_since(start).as_millis(), 2);
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(saturating_add(Instant::now(), duration))
}

/// Waits until `deadline`. One in the past completes at the first poll.
///
/// Cancel safety and panics are those of [`sleep`].
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    let reactor = Reactor::current().expect(
        "there is no current runtime on this thread: make timers inside `block_on` or a task of a runtime, or while a \
         guard of `Runtime::enter` (or `Reactor::enter`) lives, or by `Sleep::with_reactor`",
    );
    Sleep {
        reactor,
        deadline,
        timer: None,
    }
}

/// A future that completes at its deadline, made by [`sleep`] and [`sleep_until`].
///
/// It is [`Unpin`], so `(&mut sleep).await` waits for it in a loop or a `select!` without moving it. It can be
/// [reset](Sleep::reset) to be used again, and polled again after it has completed: it is then ready at once.
///
/// # Panics
/// Polling it panics if its deadline is ahead and its runtime is gone (see the [module](super)).
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    reactor: Reactor,
    deadline: Instant,
    /// `Some` from the first poll that finds the deadline ahead. The timer itself may have fired since.
    timer: Option<TimerKey>,
}

impl Sleep {
    /// Waits until `deadline` by the timers of this reactor, rather than of the current one.
    ///
    /// # Examples
    /// ```
    /// use peu_reactor::{Reactor, time::Sleep};
    /// use std::time::{Duration, Instant};
    ///
    /// let reactor = Reactor::new()?;
    /// let pause = Sleep::with_reactor(Instant::now() + Duration::from_secs(1), &reactor);
    /// assert!(!pause.is_elapsed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn with_reactor(deadline: Instant, reactor: &Reactor) -> Sleep {
        Sleep {
            reactor: reactor.clone(),
            deadline,
            timer: None,
        }
    }

    /// When it completes.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the deadline has passed, by the clock: polling it would then complete it.
    pub fn is_elapsed(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Moves the deadline, whether it has passed or not.
    ///
    /// A task that waits is woken at the new deadline and need not poll again for that.
    ///
    /// # Examples
    /// A limit for how long a connection may be silent needs one sleep, not one per message:
    /// ```
    /// use peu_reactor::{Reactor, time::sleep};
    /// use std::time::{Duration, Instant};
    ///
    /// let reactor = Reactor::new()?;
    /// let _entered = reactor.enter();
    /// let limit = Duration::from_secs(30);
    /// let mut silence = sleep(limit);
    /// for _message in 0..3 {
    ///     silence.reset(Instant::now() + limit);
    /// }
    /// assert!(!silence.is_elapsed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if let Some(waker) = self.take_timer() {
            let deadline = self.reactor.inner().clock.nanos(deadline);
            self.timer = self.reactor.insert_timer(deadline, waker);
        }
    }

    /// Completes at the deadline, if the task may still go on in this poll: one whose deadlines have all passed, such as
    /// an interval that catches up, still lets others run.
    pub(super) fn poll_budgeted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_deadline(cx));
        if (self.reactor.inner().budget)() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Completes at the deadline.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_or_gone(cx).map(|result| {
            assert!(
                result.is_ok(),
                "runtime gone: a sleep cannot outlive the runtime in which it was made"
            );
        })
    }

    /// Completes at the deadline, or with an error when the reactor is closed: for waits that are part of some I/O, which
    /// has errors to return.
    ///
    /// A timer that has fired decides, for it never does so early. Before that the clock does: a deadline that has passed need
    /// not wait for the reactor's next turn.
    pub(crate) fn poll_or_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let update = self
            .timer
            .map(|timer| self.reactor.update_timer(timer, cx.waker()));
        if let Some(Update::Fired) = update {
            // No need to look at the clock: it fires when its deadline has passed, and never before.
            self.timer = None;
            return Poll::Ready(Ok(()));
        }
        let deadline = self.reactor.inner().clock.nanos(self.deadline);
        if self.has_passed(deadline) {
            drop(self.take_timer());
            return Poll::Ready(Ok(()));
        }
        if let Some(Update::Waits) = update {
            return Poll::Pending;
        }
        self.timer = self.reactor.insert_timer(deadline, cx.waker().clone());
        match self.timer {
            Some(_) => Poll::Pending,
            None => Poll::Ready(Err(error::gone())),
        }
    }

    /// As [`is_elapsed`](Self::is_elapsed), but mostly by the clock that costs little: most deadlines are far ahead.
    fn has_passed(&self, deadline: u64) -> bool {
        self.reactor.inner().clock.rough() + ROUGHLY >= deadline && self.is_elapsed()
    }

    /// Cancels the timer if there is one. The waker is that of the task that waits for it.
    fn take_timer(&mut self) -> Option<Waker> {
        self.timer
            .take()
            .and_then(|timer| self.reactor.remove_timer(timer))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().poll_budgeted(cx)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.take_timer();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
