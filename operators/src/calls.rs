//! Between a stage and its guards: whether a call may be made, and how it ended.
//!
//! A stage that was told to wait is *shut*. It takes no records then, and makes no retries. It opens again when the time
//! has come, or when a call has ended; what is due by the clock goes first, then new records.

use crate::guard::{Admission, Call, Ending, Guard};
use crate::panics::caught;
use crate::policies::StagePolicies;
use crate::runtime::Timer;
use crate::signals::TIMER;
use crate::stage::Stage;
use futures_core::Stream;
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
    S: Stream,
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
    const GUARDED: bool = <P::Guard as Guard<Out, E>>::STANDS;

    /// Whether the function may be called now. If not, the stage is shut.
    pub(crate) fn may_call(&mut self) -> bool {
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

    /// A call is about to be made.
    pub(crate) fn begin_call(&mut self, request: usize) {
        if Self::GUARDED {
            let now = self.alarm.now();
            self.policies.guard.begin(now);
            self.requests.set_began(request, now);
        }
    }

    /// The call of a request has ended, if one is under way. What panics in a guard ends here.
    pub(crate) fn end_call(&mut self, request: usize, ending: Ending<'_, Out, E>) {
        let _ = caught(|| self.tell_guard(request, ending));
    }

    /// As `end_call`, but a panic goes on.
    pub(crate) fn tell_guard(&mut self, request: usize, ending: Ending<'_, Out, E>) {
        if Self::GUARDED
            && let Some(began) = self.requests.take_began(request)
        {
            let call = Call::new(began, self.alarm.now(), ending);
            self.policies.guard.end(&call);
        }
    }

    /// A call may have ended: whoever waits for that is looked after.
    pub(crate) fn reopen(&mut self) {
        if self.shut == Some(Shut::UntilACallEnds) {
            self.signals.raise(TIMER);
        }
    }

    /// Sees to it that what is due next is not forgotten.
    pub(crate) fn set_alarm(&mut self) {
        let deadline = self.requests.next_deadline().map(|(_, at)| at);
        let call = match self.shut {
            Some(Shut::Until(at)) => Some(at),
            Some(Shut::UntilACallEnds) => None,
            None => self.requests.next_attempt().and_then(|(_, at)| at),
        };
        match deadline.into_iter().chain(call).min() {
            None => self.alarm.unset(),
            Some(due) => {
                if self.alarm.set(due, self.signals.waker(TIMER)) {
                    self.signals.raise(TIMER);
                }
            }
        }
    }
}
