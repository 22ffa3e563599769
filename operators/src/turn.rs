//! One turn of a stage: poll, execute, update.
//!
//! ```text
//!     E    = poll(Q)         the next thing that can make progress: a record, a request that woke, a time that came
//!     T(P) = execute(E)      call the user's function, poll the request, or give it up: once
//!     Q    = update(Q, E)    finished: it leaves, in the mode's order, and frees its slot; unfinished: it stays
//! ```
//!
//! `Q` is the set of requests in flight. What can make progress is known from the tokens that the signals list, in the
//! order in which they were listed: the queue is the fairness. Input that has more is listed again behind all others,
//! so neither a flood of records nor requests that keep waking themselves can starve the rest.

use crate::error::{BoxError, Cause};
use crate::failure::{ErrorPolicy, Recovery};
use crate::keys::Arrival;
use crate::options::{Fallback, OnTimeout};
use crate::order::Verdict;
use crate::panics::caught;
use crate::retry::RetryPolicy;
use crate::runtime::Timer;
use crate::signals::{FIRST_REQUEST, INPUT, ROOM, TIMER};
use crate::stage::Stage;
use futures_core::Stream;
use std::fmt::Debug;
use std::future::Future;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// What can make progress.
enum Event<T> {
    /// A record came, and there is room for it. The line of its key, if it has one.
    Record(T, Option<usize>),
    /// A record came whose key is not to be had: its function panicked with this message.
    Unkeyed(T, String),
    /// A request was woken.
    Request(usize),
    /// A request's back-off is over.
    Retry(usize),
    /// A request's time is up.
    Timeout(usize),
}

/// What an execution made of a request.
enum Outcome<Out> {
    Unfinished,
    Output(Out),
    Nothing,
    Failed(Cause),
    /// To be tried again, after a delay.
    Again(Duration),
}

impl<S, T, F, Fut, Out, E, G, P, H, R> Stage<S, T, F, Fut, Out, G, P, H, R>
where
    S: Stream,
    T: Clone + Debug,
    F: FnMut(T) -> Fut,
    Fut: Future<Output = Result<Out, E>>,
    E: Into<BoxError>,
    G: OnTimeout<T, Out>,
    P: RetryPolicy<Out, E>,
    H: ErrorPolicy<T, Out>,
    R: Timer,
{
    /// False: nothing can make progress until the stage is woken.
    pub(crate) fn turn(&mut self) -> bool {
        let Some(event) = self.poll() else {
            return false;
        };
        let (request, outcome) = self.execute(event);
        self.update(request, outcome);
        true
    }

    fn poll(&mut self) -> Option<Event<T>> {
        while !self.is_over() {
            let event = match self.signals.next()? {
                INPUT => self.poll_input(),
                TIMER => self.poll_timer(),
                ROOM => self.poll_room(),
                request => Some(Event::Request(request - FIRST_REQUEST)),
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// There may be a record to accept: out of a line, or from the stream.
    fn poll_input(&mut self) -> Option<Event<T>> {
        if self.room == 0 {
            if !self.input.is_over() || self.waiting() > 0 {
                self.starve();
            }
            return None;
        }
        if let Some(lines) = &mut self.lines {
            if let Some((record, line)) = lines.next() {
                self.signals.raise(INPUT);
                return Some(Event::Record(record, Some(line)));
            }
            if lines.is_full() {
                return None;
            }
        }
        self.poll_stream()
    }

    fn poll_stream(&mut self) -> Option<Event<T>> {
        if self.input.is_over() {
            return None;
        }
        let waker = self.signals.waker(INPUT);
        match self.input.poll_next(&self.name, waker) {
            Poll::Pending => None,
            Poll::Ready(Ok(Some(record))) => {
                self.signals.raise(INPUT);
                self.arrive(record)
            }
            Poll::Ready(end) => {
                self.last = end.map(drop);
                self.hurry();
                self.finish_if_drained();
                None
            }
        }
    }

    /// A record came from the input. In key-ordered mode it waits while its key is busy.
    fn arrive(&mut self, record: T) -> Option<Event<T>> {
        let Some(lines) = &mut self.lines else {
            return Some(Event::Record(record, None));
        };
        match lines.arrive(record) {
            Arrival::Accept(record, line) => Some(Event::Record(record, Some(line))),
            Arrival::Waits => None,
            Arrival::Refuse(record, message) => Some(Event::Unkeyed(record, message)),
        }
    }

    fn poll_timer(&mut self) -> Option<Event<T>> {
        let rang = self.alarm.rang(self.signals.waker(TIMER));
        if !rang && !self.input.is_over() {
            return None;
        }
        let event = self.due()?;
        self.signals.raise(TIMER);
        Some(event)
    }

    /// What is due by the clock. Timeouts come first: no attempt is made for a record whose time is up. Once the input
    /// is over, every back-off is.
    fn due(&self) -> Option<Event<T>> {
        let has_passed = |at: Instant| self.alarm.has_passed(at);
        if let Some((request, at)) = self.requests.next_deadline()
            && has_passed(at)
        {
            return Some(Event::Timeout(request));
        }
        let (request, at) = self.requests.next_attempt()?;
        let is_due = self.input.is_over() || at.is_some_and(has_passed);
        is_due.then_some(Event::Retry(request))
    }

    /// The input is over: whoever is in back-off, now or from now on, waits no longer.
    fn hurry(&mut self) {
        if self.requests.next_attempt().is_some() {
            self.signals.raise(TIMER);
        }
    }

    fn poll_room(&mut self) -> Option<Event<T>> {
        self.exchange();
        None
    }

    fn execute(&mut self, event: Event<T>) -> (usize, Outcome<Out>) {
        match event {
            Event::Record(record, line) => {
                let request = self.accept(record, line);
                (request, self.attempt(request))
            }
            Event::Unkeyed(record, message) => {
                let request = self.accept(record, None);
                (request, Outcome::Failed(Cause::Panicked(message)))
            }
            Event::Retry(request) => (request, self.attempt(request)),
            Event::Request(request) => (request, self.poll_request(request)),
            Event::Timeout(request) => (request, self.time_out(request)),
        }
    }

    /// Accepts a record: its time runs from here.
    fn accept(&mut self, record: T, line: Option<usize>) -> usize {
        let limit = self.options.timeout;
        let deadline = limit.and_then(|limit| self.alarm.after(limit));
        self.room -= 1;
        self.metrics.accepted += 1;
        self.order.accept();
        let number = self.metrics.accepted;
        let request = self.requests.insert(record, number, deadline);
        if let Some(line) = line {
            self.requests.set_line(request, line);
        }
        request
    }

    /// Calls the user's function. Once the input is over, a second time is the last time.
    fn attempt(&mut self, request: usize) -> Outcome<Out> {
        let is_retry = self.requests.attempts(request) > 0;
        self.metrics.attempts += 1;
        self.metrics.retries += u64::from(is_retry);
        if !is_retry {
            self.options.retry.record();
        }
        let is_last = is_retry && self.input.is_over();
        let record = self.requests.begin_attempt(request, is_last);
        match caught(|| (self.function)(record.clone())) {
            Ok(future) => {
                self.requests.start(request, future);
                self.poll_request(request)
            }
            Err(message) => Outcome::Failed(Cause::Panicked(message)),
        }
    }

    fn poll_request(&mut self, request: usize) -> Outcome<Out> {
        let outcome = caught(|| self.advance(request));
        outcome.unwrap_or_else(|message| Outcome::Failed(Cause::Panicked(message)))
    }

    fn advance(&mut self, request: usize) -> Outcome<Out> {
        let Some(future) = self.requests.future(request) else {
            return Outcome::Unfinished;
        };
        let mut cx = Context::from_waker(self.signals.waker(FIRST_REQUEST + request));
        match future.poll(&mut cx) {
            Poll::Pending => Outcome::Unfinished,
            Poll::Ready(result) => self.outcome(request, result),
        }
    }

    /// An attempt is over: the retry policy says whether that is final.
    fn outcome(&mut self, request: usize, result: Result<Out, E>) -> Outcome<Out> {
        if !self.requests.is_at_last(request) {
            let retry = self.requests.attempts(request);
            if let Some(delay) = self.options.retry.next_delay(retry, &result) {
                return Outcome::Again(delay);
            }
            self.metrics.over_budget = self.options.retry.over_budget();
        }
        match result {
            Ok(output) => Outcome::Output(output),
            Err(error) => Outcome::Failed(Cause::Failed(error.into())),
        }
    }

    /// A last poll, for a result that is there wins; then the request is dropped, and the fallback decides.
    fn time_out(&mut self, request: usize) -> Outcome<Out> {
        let outcome = self.poll_request(request);
        if !matches!(outcome, Outcome::Unfinished) {
            return outcome;
        }
        self.requests.cancel(request);
        self.metrics.timed_out += 1;
        let record = self.requests.record(request);
        let limit = self.options.timeout.unwrap_or_default();
        match caught(|| self.options.on_timeout.on_timeout(record)) {
            Ok(Fallback::Output(output)) => Outcome::Output(output),
            Ok(Fallback::Skip) => Outcome::Nothing,
            Ok(Fallback::Fail) => Outcome::Failed(Cause::TimedOut(limit)),
            Err(message) => Outcome::Failed(Cause::Panicked(message)),
        }
    }

    fn update(&mut self, request: usize, outcome: Outcome<Out>) {
        let verdict = match outcome {
            Outcome::Unfinished => return,
            Outcome::Again(delay) => return self.back_off(request, delay),
            Outcome::Output(output) => Verdict::Output(output),
            Outcome::Nothing => Verdict::Nothing,
            Outcome::Failed(cause) => self.judge(request, cause),
        };
        match verdict {
            Verdict::Output(_) => self.metrics.completed += 1,
            Verdict::Nothing => self.metrics.skipped += 1,
            Verdict::Failed(_) => {}
        }
        let number = self.requests.number(request);
        if matches!(verdict, Verdict::Failed(_)) {
            self.cut_after(number);
        }
        let line = self.requests.remove(request);
        self.order.settle(number, verdict);
        self.emit();
        self.leave(line);
        self.finish_if_drained();
    }

    /// A record has left its line, if it had one: the next may be accepted.
    fn leave(&mut self, line: Option<usize>) {
        if let (Some(lines), Some(line)) = (&mut self.lines, line)
            && lines.leave(line)
        {
            self.signals.raise(INPUT);
        }
    }

    /// The request rests until its next attempt.
    fn back_off(&mut self, request: usize, delay: Duration) {
        let at = self.alarm.after(delay);
        self.requests.back_off(request, at);
        if self.input.is_over() {
            self.hurry();
        }
    }

    /// The error policy.
    fn judge(&mut self, request: usize, cause: Cause) -> Verdict<Out> {
        if !matches!(cause, Cause::TimedOut(_)) {
            self.metrics.failed += 1;
        }
        let judged = caught(|| {
            let failure = self.failure(request, cause);
            self.options.on_error.judge(failure)
        });
        match judged {
            Ok(Recovery::Output(output)) => Verdict::Output(output),
            Ok(Recovery::Skip) => Verdict::Nothing,
            Ok(Recovery::DeadLetter) => {
                self.metrics.dead_letters += 1;
                Verdict::Nothing
            }
            Ok(Recovery::Fail(failure)) => Verdict::Failed(failure.into()),
            Err(message) => Verdict::Failed(self.error(request, Cause::Panicked(message))),
        }
    }

    /// A record failed for good: what would leave behind it never will, so it is dropped now.
    fn cut_after(&mut self, number: u64) {
        self.input.close();
        self.order.cut_after(number);
        self.requests.remove_after(number);
        self.hurry();
    }

    /// Lets leave what may.
    fn emit(&mut self) {
        while let Some(verdict) = self.order.next() {
            match verdict {
                Verdict::Output(output) => self.outgoing.push_back(output),
                Verdict::Nothing => self.room += 1,
                Verdict::Failed(error) => return self.finish(Err(error)),
            }
        }
    }
}
