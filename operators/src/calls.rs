//! Between a stage and its guards: whether a call may be made, and how it ended.
//!
//! A stage that was told to wait is *shut*. It takes no records then, and makes no retries. It opens again when the time
//! has come, or when a call has ended; what is due by the clock goes first, then new records.

use crate::guard::{Admission, Call, Ending, Guard};
use crate::hedge::Hedging;
use crate::panics::caught;
use crate::policies::StagePolicies;
use crate::requests::Which;
use crate::retry::RetryPolicy as _;
use crate::runtime::Timer;
use crate::signals::{INPUT, TIMER};
use crate::stage::Stage;
use crate::sync::twin;
use std::time::Instant;

/// Until when no calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    Until(Instant),
    /// One of those that run has to end first.
    UntilACallEnds,
}

impl<S, T, Time, M, F, Fut, Out, E, P, R> Stage<S, T, Time, M, F, Fut, Out, E, P, R>
where
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
    const GUARDED: bool = <P::Guard as Guard<Out, E>>::STANDS;

    pub(crate) const HEDGES: bool = <P::Hedge as Hedging>::HEDGES;

    /// Whether calls are timed one by one.
    pub(crate) const TIMED: bool = Self::GUARDED || Self::HEDGES;

    /// Whether the function may be called now. If not, the stage is shut.
    pub(crate) fn may_call(&mut self) -> bool {
        // More than so many calls can't be, but for second calls and records that gave their places back.
        if self.requests.running() >= self.bounds.capacity {
            self.shut = Some(Shut::UntilACallEnds);
            return false;
        }
        let shut = match self.admission() {
            Admission::Wait(Some(at)) => Shut::Until(at),
            // With nothing running, nothing would ever open the stage again.
            Admission::Wait(None) if self.requests.running() > 0 => Shut::UntilACallEnds,
            _ => return true,
        };
        self.shut = Some(shut);
        false
    }

    /// Whether a call would be refused.
    pub(crate) fn is_refused(&mut self) -> bool {
        self.admission() == Admission::Refuse
    }

    fn admission(&mut self) -> Admission {
        if !Self::GUARDED {
            return Admission::Go;
        }
        let now = self.alarm.now();
        self.policies.guard.admit(now, self.requests.running())
    }

    /// A call is about to be made: its time, if somebody wants to know that.
    pub(crate) fn begin_call(&mut self) -> Option<Instant> {
        if !Self::TIMED {
            return None;
        }
        let now = self.alarm.now();
        self.policies.guard.begin(now);
        Some(now)
    }

    /// The calls of a request have ended, if any are under way. What panics in a guard ends here.
    pub(crate) fn end_calls(&mut self, request: usize, ending: Ending<'_, Out, E>) {
        for which in [Which::First, Which::Second] {
            let _ = caught(|| self.end_call(request, which, ending));
        }
    }

    /// A call has ended, if it is under way; with a panic if a guard panics.
    pub(crate) fn end_call(&mut self, request: usize, which: Which, ending: Ending<'_, Out, E>) {
        if Self::TIMED
            && let Some(began) = self.requests.take_began(request, which)
        {
            self.tell_end(began, ending);
        }
    }

    /// A call that began at this time has ended. A panic of a guard is the caller's.
    pub(crate) fn tell_end(&mut self, began: Instant, ending: Ending<'_, Out, E>) {
        let call = Call::new(began, self.alarm.now(), ending);
        if let Ending::Result(Ok(_)) = ending {
            self.policies.hedge.learn(call.took());
        }
        self.policies.guard.end(&call);
    }

    /// A record in back-off gives its place back, if it may.
    pub(crate) fn leave_place(&mut self, request: usize) {
        let place = self.requests.place(request);
        let is_bound = self
            .lines
            .as_ref()
            .is_some_and(|lines| lines.has_earlier(place));
        if !is_bound && self.without_place < self.policies.retry.without_place() {
            self.without_place += 1;
            self.requests.set_without_place(request, true);
            self.room.give_back(1);
            self.signals.raise(INPUT);
        }
    }

    /// Its wait is over: it takes a place, whether there is one or not.
    pub(crate) fn return_to_place(&mut self, request: usize) {
        if self.requests.is_without_place(request) {
            self.without_place -= 1;
            self.requests.set_without_place(request, false);
            self.room.take_back();
        }
    }

    /// A call may have ended: whoever waits for that is looked after.
    pub(crate) fn reopen(&mut self) {
        if self.shut == Some(Shut::UntilACallEnds) {
            self.signals.raise(TIMER);
        }
    }

    /// When a retry or a second call is due.
    fn next_call(&self) -> Option<Instant> {
        let attempt = self.requests.next_attempt().and_then(|(_, at)| at);
        let second = self.requests.next_second().and_then(|(_, at)| at);
        attempt.into_iter().chain(second).min()
    }

    /// When something is due by the clock, if a stage that is shut need not wait for it.
    fn next_due(&self) -> Option<Instant> {
        let deadline = self.requests.next_deadline().map(|(_, at)| at);
        let fallback = self.requests.next_fallback().and_then(|(_, at)| at);
        let call = match self.shut {
            Some(Shut::Until(at)) => Some(at),
            Some(Shut::UntilACallEnds) => None,
            None => self.next_call(),
        };
        [deadline, fallback, call].into_iter().flatten().min()
    }

    /// Whether there is something to be done first.
    pub(crate) fn is_late(&self) -> bool {
        self.next_due().is_some_and(|at| self.alarm.has_passed(at))
    }

    /// Sees to it that what is due next is not forgotten.
    pub(crate) fn set_alarm(&mut self) {
        match self.next_due() {
            None => self.alarm.unset(),
            Some(due) => {
                let ended = self.alarm.set(due, self.signals.waker(TIMER));
                if ended && !twin("stage-alarm-unlooked") {
                    self.signals.raise(TIMER);
                }
            }
        }
    }
}
