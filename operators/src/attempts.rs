//! The attempts of a request: the user's code is called, polled and given up here, and nowhere else.
//!
//! Whatever happens, it comes down to an [`Outcome`]. Panics end here.

use crate::element::MarkOf;
use crate::error::{BoxError, Cause};
use crate::failure::{ErrorPolicy as _, Recovery};
use crate::guard::Ending;
use crate::hedge::Hedging as _;
use crate::order::Verdict;
use crate::panics::caught;
use crate::policies::StagePolicies;
use crate::requests::Which;
use crate::retry::RetryPolicy as _;
use crate::runtime::Timer;
use crate::signals::FIRST_REQUEST;
use crate::stage::Stage;
use crate::timeout::{Decision, Fallback, OnTimeout as _};
use std::fmt::Debug;
use std::future::Future;
use std::task::{Context, Poll};
use std::time::Duration;

/// What an execution made of a request.
pub(crate) enum Outcome<Out> {
    Unfinished,
    Output(Out),
    Nothing,
    Failed(Cause),
    /// To be tried again, after a delay.
    Again(Duration),
}

impl<S, T, Time, M, F, Fut, Out, E, P, R> Stage<S, T, Time, M, F, Fut, Out, E, P, R>
where
    T: Clone + Debug,
    Time: Copy,
    M: MarkOf,
    F: FnMut(T) -> Fut,
    Fut: Future<Output = Result<Out, E>>,
    E: Into<BoxError>,
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
    /// Calls the user's function, unless a guard refuses. Once the input is over, a second time is the last time.
    pub(crate) fn attempt(&mut self, request: usize) -> Outcome<Out> {
        if self.is_refused() {
            self.metrics.refused += 1;
            return Outcome::Failed(Cause::CircuitOpen);
        }
        let is_retry = self.requests.attempts(request) > 0;
        self.metrics.attempts += 1;
        self.metrics.retries += u64::from(is_retry);
        if !is_retry {
            self.policies.retry.record();
        }
        let is_last = is_retry && self.input.is_over();
        self.return_to_place(request);
        if let Some(began) = self.begin_call() {
            self.requests.set_began(request, began);
        }
        let record = self.requests.begin_attempt(request, is_last);
        match caught(|| (self.function)(record.clone())) {
            Ok(future) => {
                self.requests.start(request, future);
                let outcome = self.poll_request(request);
                if Self::HEDGES && matches!(outcome, Outcome::Unfinished) {
                    self.plan_second(request);
                }
                outcome
            }
            Err(message) => self.panicked(request, Which::First, message),
        }
    }

    fn plan_second(&mut self, request: usize) {
        if let Some(delay) = self.policies.hedge.delay() {
            let at = self.alarm.after(delay);
            self.requests.plan_second(request, at);
        }
    }

    /// The first call takes long: calls the user's function once more, unless a guard refuses.
    pub(crate) fn hedge(&mut self, request: usize) -> Outcome<Out> {
        self.requests.end_plan(request);
        if self.is_refused() {
            return Outcome::Unfinished;
        }
        self.metrics.attempts += 1;
        self.metrics.hedges += 1;
        let began = self.begin_call();
        let record = self.requests.record(request);
        match caught(|| (self.function)(record.clone())) {
            Ok(future) => {
                self.requests.start_second(request, future, began);
                self.poll_request(request)
            }
            Err(message) => {
                // There is no future that has this call's time.
                if let Some(began) = began {
                    let _ = caught(|| self.tell_end(began, Ending::Panicked));
                }
                self.panicked(request, Which::Second, message)
            }
        }
    }

    pub(crate) fn poll_request(&mut self, request: usize) -> Outcome<Out> {
        // Stored where it stays. What a catch returns is copied more than once, in pieces of other sizes than it was written in, and
        // the processor waits for each.
        let mut outcome = Outcome::Unfinished;
        match caught(|| outcome = self.advance(request)) {
            Ok(()) => outcome,
            Err(message) => self.panicked(request, Which::First, message),
        }
    }

    /// One of a request's calls has panicked. Another is not needed any more.
    #[cold]
    fn panicked(&mut self, request: usize, which: Which, message: String) -> Outcome<Out> {
        let _ = caught(|| self.end_call(request, which, Ending::Panicked));
        self.end_calls(request, Ending::Dropped);
        Outcome::Failed(Cause::Panicked(message))
    }

    fn advance(&mut self, request: usize) -> Outcome<Out> {
        let mut cx = Context::from_waker(self.signals.waker(FIRST_REQUEST + request));
        if let Some(first) = self.requests.future(request)
            && let Poll::Ready(result) = first.poll(&mut cx)
        {
            return self.answer(request, Which::First, result);
        }
        if Self::HEDGES
            && let Some(second) = self.requests.second(request)
        {
            match caught(|| second.poll(&mut cx)) {
                Ok(Poll::Ready(result)) => return self.answer(request, Which::Second, result),
                Ok(Poll::Pending) => {}
                Err(message) => return self.panicked(request, Which::Second, message),
            }
        }
        if let Some(fallback) = self.requests.fallback(request)
            && let Poll::Ready(fallback) = fallback.as_mut().poll(&mut cx)
        {
            return self.fall_back(fallback);
        }
        Outcome::Unfinished
    }

    /// A call has its result. An error is none as long as another call may have an answer.
    fn answer(&mut self, request: usize, which: Which, result: Result<Out, E>) -> Outcome<Out> {
        self.end_call(request, which, Ending::Result(&result));
        if Self::HEDGES {
            if result.is_err() && self.requests.drop_one(request, which) {
                self.reopen();
                return self.advance(request);
            }
            self.metrics.hedges_won += u64::from(result.is_ok() && which == Which::Second);
            self.end_calls(request, Ending::Dropped);
        }
        let is_last = self.requests.is_at_last(request);
        let retry = (!is_last).then(|| self.requests.attempts(request));
        self.outcome(retry, result)
    }

    /// An attempt is over: the retry policy says whether that is final. `retry` is the number that the retry would have; none if
    /// there is to be none.
    pub(crate) fn outcome(&mut self, retry: Option<u32>, result: Result<Out, E>) -> Outcome<Out> {
        if let Some(retry) = retry {
            if let Some(delay) = self.policies.retry.next_delay(retry, &result) {
                return Outcome::Again(delay);
            }
            self.metrics.over_budget = self.policies.retry.over_budget();
        }
        match result {
            Ok(output) => Outcome::Output(output),
            Err(error) => Outcome::Failed(Cause::Failed(error.into())),
        }
    }

    /// A last poll, for a result that is there wins; then the request is dropped, and the fallback decides.
    pub(crate) fn time_out(&mut self, request: usize) -> Outcome<Out> {
        let outcome = self.poll_request(request);
        if !matches!(outcome, Outcome::Unfinished) {
            return outcome;
        }
        self.end_calls(request, Ending::TimedOut);
        self.requests.cancel(request);
        self.metrics.timed_out += 1;
        let record = self.requests.record(request);
        match caught(|| self.policies.timeout.on_timeout(record)) {
            Ok(Decision::Now(fallback)) => self.fall_back(fallback),
            Ok(Decision::Later(fallback, bound)) => {
                self.return_to_place(request);
                let at = self.alarm.after(bound);
                self.requests.start_fallback(request, fallback, bound, at);
                self.poll_request(request)
            }
            Err(message) => Outcome::Failed(Cause::Panicked(message)),
        }
    }

    fn fall_back(&self, fallback: Fallback<Out>) -> Outcome<Out> {
        match fallback {
            Fallback::Output(output) => Outcome::Output(output),
            Fallback::Skip => Outcome::Nothing,
            Fallback::Fail => {
                Outcome::Failed(Cause::TimedOut(self.bounds.timeout.unwrap_or_default()))
            }
        }
    }

    /// A last poll of a fallback, as of a request.
    pub(crate) fn give_up(&mut self, request: usize) -> Outcome<Out> {
        match self.poll_request(request) {
            Outcome::Unfinished => {
                let bound = self.requests.fallback_bound(request);
                Outcome::Failed(Cause::FallbackTimedOut(bound.unwrap_or_default()))
            }
            outcome => outcome,
        }
    }

    /// The error policy.
    pub(crate) fn judge(&mut self, request: usize, cause: Cause) -> Verdict<Out, Time> {
        let was_called = !matches!(
            cause,
            Cause::TimedOut(_) | Cause::FallbackTimedOut(_) | Cause::CircuitOpen
        );
        self.metrics.failed += u64::from(was_called);
        let judged = caught(|| {
            let failure = self.failure(request, cause);
            self.policies.failure.judge(failure)
        });
        match judged {
            Ok(Recovery::Output(output)) => Verdict::Output(output, self.requests.time(request)),
            Ok(Recovery::Skip) => Verdict::Nothing,
            Ok(Recovery::DeadLetter) => {
                self.metrics.dead_letters += 1;
                Verdict::Nothing
            }
            Ok(Recovery::Fail(failure)) => Verdict::Failed(failure.into()),
            Err(message) => Verdict::Failed(self.error(request, Cause::Panicked(message))),
        }
    }
}
