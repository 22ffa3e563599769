//! One turn of a stage: poll, execute, update.
//!
//! ```text
//!     E    = poll(Q)         the next thing that can make progress: a record, a request that woke, a timeout
//!     T(P) = execute(E)      call the user's function, poll the request, or give it up: once
//!     Q    = update(Q, E)    finished: it leaves, in the mode's order, and frees its slot; unfinished: it stays
//! ```
//!
//! `Q` is the set of requests in flight. What can make progress is known from the tokens that the signals list, in the
//! order in which they were listed: the queue is the fairness. Input that has more is listed again behind all others,
//! so neither a flood of records nor requests that keep waking themselves can starve the rest.

use crate::error::{BoxError, Cause};
use crate::options::{Fallback, OnError, OnTimeout};
use crate::order::Verdict;
use crate::panics::caught;
use crate::runtime::Timer;
use crate::signals::{FIRST_REQUEST, INPUT, ROOM, TIMER};
use crate::stage::Stage;
use futures_core::Stream;
use std::fmt::Debug;
use std::future::Future;
use std::task::{Context, Poll};

/// What can make progress.
enum Event<T> {
    /// A record came, and there is room for it.
    Record(T),
    /// A request was woken.
    Request(usize),
    /// A request's time is up.
    Timeout(usize),
}

/// What an execution made of a request.
enum Outcome<Out> {
    Unfinished,
    Output(Out),
    Nothing,
    Failed(Cause),
}

impl<S, T, F, Fut, Out, E, G, R> Stage<S, T, F, Fut, Out, G, R>
where
    S: Stream,
    T: Clone + Debug,
    F: FnMut(T) -> Fut,
    Fut: Future<Output = Result<Out, E>>,
    E: Into<BoxError>,
    G: OnTimeout<T, Out>,
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

    fn poll_input(&mut self) -> Option<Event<T>> {
        if self.input.is_over() {
            return None;
        }
        if self.room == 0 {
            self.starve();
            return None;
        }
        let waker = self.signals.waker(INPUT);
        match self.input.poll_next(&self.name, waker) {
            Poll::Pending => None,
            Poll::Ready(Ok(Some(record))) => {
                self.signals.raise(INPUT);
                Some(Event::Record(record))
            }
            Poll::Ready(end) => {
                self.last = end.map(drop);
                self.finish_if_drained();
                None
            }
        }
    }

    fn poll_timer(&mut self) -> Option<Event<T>> {
        if !self.alarm.rang(self.signals.waker(TIMER)) {
            return None;
        }
        let (request, deadline) = self.requests.next_deadline()?;
        if !self.alarm.has_passed(deadline) {
            return None;
        }
        self.signals.raise(TIMER);
        Some(Event::Timeout(request))
    }

    fn poll_room(&mut self) -> Option<Event<T>> {
        self.exchange();
        None
    }

    fn execute(&mut self, event: Event<T>) -> (usize, Outcome<Out>) {
        match event {
            Event::Record(record) => self.call(record),
            Event::Request(request) => (request, self.poll_request(request)),
            Event::Timeout(request) => (request, self.time_out(request)),
        }
    }

    /// Accepts a record: its time runs from here.
    fn call(&mut self, record: T) -> (usize, Outcome<Out>) {
        let limit = self.options.timeout;
        let deadline = limit.and_then(|limit| self.alarm.after(limit));
        self.room -= 1;
        self.metrics.accepted += 1;
        self.order.accept();
        let number = self.metrics.accepted;
        let request = self.requests.insert(record, number, deadline);
        let record = self.requests.record(request);
        let outcome = match caught(|| (self.function)(record.clone())) {
            Ok(future) => {
                self.requests.start(request, future);
                self.poll_request(request)
            }
            Err(message) => Outcome::Failed(Cause::Panicked(message)),
        };
        (request, outcome)
    }

    fn poll_request(&mut self, request: usize) -> Outcome<Out> {
        let Some(future) = self.requests.future(request) else {
            return Outcome::Unfinished;
        };
        let mut cx = Context::from_waker(self.signals.waker(FIRST_REQUEST + request));
        let polled = caught(|| match future.poll(&mut cx) {
            Poll::Pending => Outcome::Unfinished,
            Poll::Ready(Ok(output)) => Outcome::Output(output),
            Poll::Ready(Err(error)) => Outcome::Failed(Cause::Failed(error.into())),
        });
        polled.unwrap_or_else(|message| Outcome::Failed(Cause::Panicked(message)))
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
        self.requests.remove(request);
        self.order.settle(number, verdict);
        self.emit();
        self.finish_if_drained();
    }

    /// The error policy.
    fn judge(&mut self, request: usize, cause: Cause) -> Verdict<Out> {
        if !matches!(cause, Cause::TimedOut(_)) {
            self.metrics.failed += 1;
        }
        match self.options.on_error {
            OnError::Fail => Verdict::Failed(self.error(request, cause)),
            OnError::Skip => Verdict::Nothing,
        }
    }

    /// A record failed for good: what would leave behind it never will, so it is dropped now.
    fn cut_after(&mut self, number: u64) {
        self.input.close();
        self.order.cut_after(number);
        self.requests.remove_after(number);
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
