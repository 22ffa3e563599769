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

use crate::attempts::Outcome;
use crate::element::{Element, MarkOf};
use crate::error::{BoxError, Cause, StageError};
use crate::guard::Ending;
use crate::input::{Feed, Next};
use crate::keys::{Arrival, Entered};
use crate::order::{Departure, Verdict};
use crate::policies::StagePolicies;
use crate::runtime::Timer;
use crate::signals::{FIRST_REQUEST, INPUT, ROOM, TIMER};
use crate::stage::{Held, Stage};
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// How many turns a stage takes before it lets other tasks of its worker run.
///
/// A turn is a call of the user's function or a poll of its future: some ten nanoseconds to a few microseconds. 128 of
/// them spread the cost of a pause thin, and are done well before another task of the worker would notice.
const TURNS_PER_POLL: usize = 128;

/// What can make progress.
pub(crate) enum Event<T, Time> {
    /// A record came, and there is room for it. The line of its key, if it has one.
    Record(Entered<T, Time>, Option<usize>),
    /// A record came whose key is not to be had: its function panicked with this message.
    Unkeyed(Entered<T, Time>, String),
    /// A request was woken.
    Request(usize),
    /// A request's back-off is over.
    Retry(usize),
    /// A request's call takes long.
    Hedge(usize),
    /// A request's time is up.
    Timeout(usize),
    /// The time of a request's fallback is up too.
    GiveUp(usize),
}

impl<S, T, Time, M, F, Fut, Out, E, P, R> Stage<S, T, Time, M, F, Fut, Out, E, P, R>
where
    S: Feed<T, Time, M>,
    T: Clone + Debug,
    Time: Copy,
    M: MarkOf,
    F: FnMut(T) -> Fut,
    Fut: Future<Output = Result<Out, E>>,
    E: Into<BoxError>,
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
    /// As many turns as one poll may take.
    pub(crate) fn turns(&mut self) {
        self.turns_left = TURNS_PER_POLL;
        while self.turn() {}
    }

    /// False: nothing can make progress until the stage is woken, or it has had its turns.
    fn turn(&mut self) -> bool {
        let Some(event) = self.poll() else {
            return false;
        };
        self.turns_left -= 1;
        // The most frequent, by itself: its outcome need not be moved to where those of all others come together.
        if let Event::Request(request) = event {
            let outcome = self.poll_request(request);
            self.update(request, outcome);
            return true;
        }
        let (request, outcome) = self.execute(event);
        self.update(request, outcome);
        true
    }

    fn poll(&mut self) -> Option<Event<T, Time>> {
        while self.turns_left > 0 && !self.is_over() {
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

    /// There may be something to take in: a record out of a line, or whatever comes from the stream.
    fn poll_input(&mut self) -> Option<Event<T, Time>> {
        if let Some(lines) = &self.lines {
            self.room.kept = usize::from(lines.has_earlier(self.order.next_place()));
        }
        if self.room.is_short() {
            let more = !self.input.is_over() || self.waiting() > 0 || !self.held.is_empty();
            if more && self.starve() {
                return None;
            }
        }
        self.next_in_line().or_else(|| self.poll_stream())
    }

    /// A record whose key is no longer busy.
    fn next_in_line(&mut self) -> Option<Event<T, Time>> {
        let lines = self.lines.as_ref()?;
        let kept = usize::from(lines.has_earlier(lines.next_place()?));
        if self.room.records <= kept || !self.may_accept() {
            return None;
        }
        let (entered, line) = self.lines.as_mut()?.next()?;
        self.signals.raise(INPUT);
        Some(Event::Record(entered, Some(line)))
    }

    /// Takes the next element, if there is one. It looks one element ahead of what it may work on: when a guard shuts
    /// it, lest it miss the end; and without room for a record if it knows marks, lest it hold one up.
    fn poll_stream(&mut self) -> Option<Event<T, Time>> {
        let has_room = self.has_room_for_a_record();
        if has_room && !self.held.is_empty() && self.may_accept() {
            self.signals.raise(INPUT);
            let held = self.held.pop_front()?;
            return self.let_in(held);
        }
        if self.input.is_over() {
            let barrier = self.awaited_barrier()?;
            self.take_in_mark(barrier);
            return None;
        }
        if has_room && self.may_pass() {
            return self.pass();
        }
        let polled = self.look_ahead(has_room)?;
        self.came(polled)
    }

    /// What the stream answered.
    pub(crate) fn came(&mut self, polled: Poll<Next<T, Time, M>>) -> Option<Event<T, Time>> {
        match polled {
            Poll::Pending => None,
            Poll::Ready(Ok(Some(element))) => {
                self.signals.raise(INPUT);
                self.take_in(element)
            }
            Poll::Ready(end) => {
                if end.is_err() {
                    self.leave_checkpoints();
                }
                self.last = end.map(drop);
                self.hurry();
                self.finish_if_drained();
                None
            }
        }
    }

    /// The next element; only the barrier, if something is held over room, or there is no room for another mark. None: there is no
    /// reason to look.
    fn look_ahead(&mut self, has_room: bool) -> Option<Poll<Next<T, Time, M>>> {
        if self.held.is_empty() && self.room.marks > 0 {
            let looks = has_room || M::EXIST;
            let waker = self.signals.waker(INPUT);
            return looks.then(|| self.input.poll_next(&self.name, waker));
        }
        let is_barrier_awaited = self.awaited_barrier().is_some();
        let waker = self.signals.waker(INPUT);
        let keeper = self.keeper.as_ref().filter(|_| is_barrier_awaited)?;
        Some(self.input.poll_by(keeper.poll_barrier, &self.name, waker))
    }

    fn has_room_for_a_record(&self) -> bool {
        let has_place = self.room.records > self.room.kept;
        has_place && !self.lines.as_ref().is_some_and(|lines| lines.is_full())
    }

    /// Whether new records may come in. Not while a guard says to wait, nor ahead of a record that gave its place back:
    /// what is due by the clock has to be looked at first.
    fn may_accept(&mut self) -> bool {
        let is_first = self.without_place == 0 || !self.is_late();
        if !is_first {
            self.signals.raise(TIMER);
        }
        self.held_back = self.shut.is_some() || !is_first || !self.may_call();
        !self.held_back
    }

    /// Gives what came from the input its place in the order.
    fn take_in(&mut self, element: Element<T, Time, M>) -> Option<Event<T, Time>> {
        let (record, time) = match element {
            Element::Record(record, time) => (record, time),
            Element::Mark(mark) => {
                self.take_in_mark(mark);
                return None;
            }
        };
        let entered = Entered {
            record,
            time,
            place: self.order.enter(),
        };
        if !self.held.is_empty() || !self.has_room_for_a_record() || !self.may_accept() {
            self.held.push_back(Held::Record(entered));
            return None;
        }
        self.arrive(entered)
    }

    /// A mark waits in line, but for a barrier: the checkpoint gets all that is in its way, so there is nothing to wait for.
    fn take_in_mark(&mut self, mark: M) {
        self.room.marks -= 1;
        let (Some(barrier), Some(keeper)) = (mark.barrier(), &mut self.keeper) else {
            self.order.mark(mark);
            return self.emit();
        };
        keeper.passed = barrier.number();
        let save = keeper.save;
        match save(self) {
            Ok(state) => {
                barrier.put(&self.name, state);
                self.outgoing.push_front(Element::Mark(mark));
            }
            Err(error) => {
                let (stage, cause) = (Arc::clone(&self.name), Cause::Snapshot(error));
                self.finish(Err(StageError::of_stage(stage, cause)));
            }
        }
    }

    /// There is room for what was held.
    fn let_in(&mut self, held: Held<T, Time, Out>) -> Option<Event<T, Time>> {
        match held {
            Held::Record(entered) => self.arrive(entered),
            Held::Output(place, output, time) => {
                self.room.records -= 1;
                if let Some(verdict) = self.order.settle(place, Verdict::Output(output, time)) {
                    self.depart(Departure::Record(verdict));
                }
                self.emit();
                self.finish_if_drained();
                None
            }
        }
    }

    /// There is room for a record. In key-ordered mode it waits while its key is busy.
    fn arrive(&mut self, entered: Entered<T, Time>) -> Option<Event<T, Time>> {
        let Some(lines) = &mut self.lines else {
            return Some(Event::Record(entered, None));
        };
        match lines.arrive(entered) {
            Arrival::Accept(entered, line) => Some(Event::Record(entered, Some(line))),
            Arrival::Waits => None,
            Arrival::Refuse(entered, message) => Some(Event::Unkeyed(entered, message)),
        }
    }

    fn poll_timer(&mut self) -> Option<Event<T, Time>> {
        self.alarm.look(self.signals.waker(TIMER));
        self.shut = None;
        let event = self.due();
        if event.is_some() {
            self.signals.raise(TIMER);
        } else if self.shut.is_none() && std::mem::take(&mut self.held_back) {
            self.signals.raise(INPUT);
        }
        event
    }

    /// What is due by the clock. Timeouts come first: no attempt is made for a record whose time is up. Once the input
    /// is over, every back-off is.
    fn due(&mut self) -> Option<Event<T, Time>> {
        if let Some((request, at)) = self.requests.next_deadline()
            && self.alarm.has_passed(at)
        {
            return Some(Event::Timeout(request));
        }
        if let Some((request, Some(at))) = self.requests.next_fallback()
            && self.alarm.has_passed(at)
        {
            return Some(Event::GiveUp(request));
        }
        if let Some((request, at)) = self.requests.next_attempt() {
            let is_due = self.input.is_over() || at.is_some_and(|at| self.alarm.has_passed(at));
            if is_due {
                return self.may_call().then_some(Event::Retry(request));
            }
        }
        let (request, at) = self.requests.next_second()?;
        let is_due = at.is_some_and(|at| self.alarm.has_passed(at));
        (is_due && self.may_call()).then_some(Event::Hedge(request))
    }

    /// The input is over: whoever is in back-off, now or from now on, waits no longer.
    fn hurry(&mut self) {
        if self.requests.next_attempt().is_some() {
            self.signals.raise(TIMER);
        }
    }

    fn poll_room(&mut self) -> Option<Event<T, Time>> {
        self.exchange();
        None
    }

    fn execute(&mut self, event: Event<T, Time>) -> (usize, Outcome<Out>) {
        match event {
            Event::Record(entered, line) => {
                let request = self.accept(entered, line);
                (request, self.attempt(request))
            }
            Event::Unkeyed(entered, message) => {
                let request = self.accept(entered, None);
                (request, Outcome::Failed(Cause::Panicked(message)))
            }
            Event::Retry(request) => (request, self.attempt(request)),
            Event::Request(request) => (request, self.poll_request(request)),
            Event::Hedge(request) => (request, self.hedge(request)),
            Event::Timeout(request) => (request, self.time_out(request)),
            Event::GiveUp(request) => (request, self.give_up(request)),
        }
    }

    /// Accepts a record: its time runs from here.
    fn accept(&mut self, entered: Entered<T, Time>, line: Option<usize>) -> usize {
        let deadline = self.deadline();
        self.room.records -= 1;
        self.metrics.accepted += 1;
        let number = self.metrics.accepted;
        let request = self.requests.insert(entered, number, deadline);
        if let Some(line) = line {
            self.requests.set_line(request, line);
        }
        request
    }

    /// The end of the time of a record that is accepted now.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let limit = self.bounds.timeout?;
        self.alarm.after(limit)
    }

    pub(crate) fn update(&mut self, request: usize, outcome: Outcome<Out>) {
        let verdict = match outcome {
            Outcome::Unfinished => return self.wait_for(request),
            Outcome::Again(delay) => return self.back_off(request, delay),
            Outcome::Output(output) => Verdict::Output(output, self.requests.time(request)),
            Outcome::Nothing => Verdict::Nothing,
            Outcome::Failed(cause) => self.judge(request, cause),
        };
        match verdict {
            Verdict::Output(..) => self.metrics.completed += 1,
            Verdict::Nothing => self.metrics.skipped += 1,
            Verdict::Failed(_) => {}
        }
        if matches!(verdict, Verdict::Failed(_)) {
            self.cut_after(request);
        }
        self.return_to_place(request);
        match self.requests.accepted(request) {
            Some(at) => self.latencies.add_between(at, self.alarm.now()),
            None => self.latencies.add_at_once(1),
        }
        let place = self.requests.place(request);
        let line = self.requests.remove(request);
        self.reopen();
        match self.order.settle(place, verdict) {
            Some(Verdict::Output(output, time)) => {
                self.outgoing.push_back(Element::Record(output, time));
            }
            Some(verdict) => self.depart(Departure::Record(verdict)),
            None => {}
        }
        self.emit();
        self.leave(line);
        self.finish_if_drained();
    }

    /// The request goes on: its time is measured.
    pub(crate) fn wait_for(&mut self, request: usize) {
        if self.requests.accepted(request).is_none() {
            let now = self.alarm.now();
            self.requests.set_accepted(request, now);
        }
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
        self.wait_for(request);
        let at = self.alarm.after(delay);
        self.requests.back_off(request, at);
        self.leave_place(request);
        self.reopen();
        if self.input.is_over() {
            self.hurry();
        }
    }

    /// What the stage was to work on is not all there any more, and the pipeline is about to fail for it. A barrier that the
    /// stage made as one whose input has ended would claim that nothing is missing.
    fn leave_checkpoints(&mut self) {
        self.keeper = None;
    }

    /// A record failed for good: what would leave behind it never will, so it is dropped now.
    fn cut_after(&mut self, request: usize) {
        self.leave_checkpoints();
        self.input.close();
        self.held.clear();
        self.order.cut_after(self.requests.place(request));
        let number = self.requests.number(request);
        while let Some(younger) = self.requests.any_after(number) {
            self.end_calls(younger, Ending::Dropped);
            self.requests.remove(younger);
        }
        self.hurry();
    }

    /// Lets leave what may.
    #[inline]
    pub(crate) fn emit(&mut self) {
        if self.order.has_next() {
            self.emit_all();
        }
    }

    fn emit_all(&mut self) {
        while self.order.has_next()
            && !self.is_over()
            && let Some(departure) = self.order.next()
        {
            self.depart(departure);
        }
    }

    fn depart(&mut self, departure: Departure<Out, Time, M>) {
        match departure {
            Departure::Record(Verdict::Output(output, time)) => {
                self.outgoing.push_back(Element::Record(output, time));
            }
            Departure::Record(Verdict::Nothing) => {
                self.room.give_back(1);
                if self.room.kept > 0 {
                    self.signals.raise(INPUT);
                }
            }
            Departure::Record(Verdict::Failed(error)) => self.finish(Err(error)),
            Departure::Mark(mark) => self.outgoing.push_back(Element::Mark(mark)),
        }
    }
}
