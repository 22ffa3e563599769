//! A model of a stage that is so slow and plain that it is right.

use super::Answer;
use std::collections::{HashMap, VecDeque};

/// Milliseconds.
pub(crate) const TIMEOUT: u64 = 10;
/// Milliseconds: what a fallback has.
pub(crate) const BOUND: u64 = 6;
/// Milliseconds: before the first retry of a record, and before any.
pub(crate) const FIRST_DELAY: u64 = 2;
pub(crate) const LONGEST_DELAY: u64 = 5;

/// What each record adds to the budget of retries.
pub(crate) const SHARE: f64 = 0.5;

/// The results that are tried again, if there are retries.
pub(crate) fn is_unwelcome(output: u64) -> bool {
    output.is_multiple_of(3)
}

#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) mode: Mode,
    pub(crate) capacity: usize,
    pub(crate) timeout: Option<Limit>,
    /// How many, if any.
    pub(crate) retries: Option<u32>,
    /// How many records in back-off may be without a place.
    pub(crate) without_place: usize,
    /// The reserve of their budget, if there is one.
    pub(crate) budget: Option<u32>,
    pub(crate) on_error: Policy,
    /// How many calls may run, if there is a limit.
    pub(crate) limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Ordered,
    Unordered,
    /// At most so many records wait.
    KeyOrdered(usize),
}

/// The key of a record, in key-ordered mode.
pub(crate) fn key(record: u64) -> u64 {
    record % 3
}

/// What becomes of a failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Policy {
    Fail,
    Skip,
    DeadLetter,
    Output,
}

/// A timeout's fallback.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    /// Async: an output at once for even records, and none ever for odd ones.
    Later,
    Fail,
    Skip,
    Output,
}

/// The model: a list of entries that is looked through from the start whenever anything happens.
pub(crate) struct Oracle {
    pub(crate) setting: Setting,
    now: u64,
    /// Not accepted yet.
    input: VecDeque<u64>,
    input_over: bool,
    /// A full stage does not look at its input, and so does not see its end.
    end_seen: bool,
    pub(crate) entries: Vec<Entry>,
    /// Taken from the input while no call was to be made.
    held: Option<u64>,
    /// Taken from the input, and waiting for their keys.
    pub(crate) waiting: Vec<u64>,
    /// Keys that an entry has left, in that order.
    freed: VecDeque<u64>,
    /// Emitted, not taken.
    pub(crate) emitted: VecDeque<Result<u64, Failure>>,
    pub(crate) over: bool,
    /// What the next attempts of a record answer.
    answers: HashMap<u64, VecDeque<Answer>>,
    pub(crate) made: Vec<u64>,
    /// What is left of the budget.
    tokens: f64,
    pub(crate) over_budget: u64,
    pub(crate) accepted: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    pub(crate) timed_out: u64,
    pub(crate) dead_letters: u64,
}

pub(crate) struct Entry {
    record: u64,
    deadline: u64,
    attempts: u32,
    /// It is in back-off, and gave its place back.
    without_place: bool,
    /// The attempt under way is the last.
    is_last: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Running,
    /// The next attempt is due then.
    BackOff(u64),
    /// Its time was up. So will be that of its fallback then.
    Fallback(u64),
    Output(u64),
    Skipped,
    Failed(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reason {
    Refused,
    Panicked,
    TimedOut,
    FallbackTimedOut,
}

/// The record, and what became of it.
pub(crate) type Failure = (u64, Reason);

impl Entry {
    fn is_unfinished(&self) -> bool {
        matches!(
            self.state,
            State::Running | State::BackOff(_) | State::Fallback(_)
        )
    }

    fn has_a_deadline(&self) -> bool {
        matches!(self.state, State::Running | State::BackOff(_))
    }
}

impl Oracle {
    pub(crate) fn new(setting: Setting) -> Self {
        Self {
            tokens: f64::from(setting.budget.unwrap_or_default()),
            over_budget: 0,
            setting,
            now: 0,
            input: VecDeque::new(),
            input_over: false,
            end_seen: false,
            entries: Vec::new(),
            held: None,
            waiting: Vec::new(),
            freed: VecDeque::new(),
            emitted: VecDeque::new(),
            over: false,
            answers: HashMap::new(),
            made: Vec::new(),
            accepted: 0,
            completed: 0,
            failed: 0,
            skipped: 0,
            timed_out: 0,
            dead_letters: 0,
        }
    }

    pub(crate) fn push(&mut self, record: u64, answer: Option<Answer>) {
        self.answers.insert(record, answer.into_iter().collect());
        self.input.push_back(record);
        self.settle();
    }

    pub(crate) fn progress(&mut self, completions: &[(u64, Answer)], by: u64) {
        self.now += by;
        for (record, answer) in completions {
            self.answers.entry(*record).or_default().push_back(*answer);
            self.poll(*record);
        }
        self.settle();
    }

    pub(crate) fn take(&mut self) -> Option<Result<u64, Failure>> {
        let taken = self.emitted.pop_front();
        self.settle();
        taken
    }

    pub(crate) fn end(&mut self) {
        self.input_over = true;
        self.settle();
    }

    fn cancel(&mut self) {
        self.over = true;
        self.entries.clear();
        self.held = None;
        self.waiting.clear();
    }

    /// The records whose attempts are under way.
    pub(crate) fn live(&self) -> Vec<u64> {
        let running = self.entries.iter().filter(|e| e.state == State::Running);
        running.map(|entry| entry.record).collect()
    }

    /// The records that have no outcome.
    pub(crate) fn unfinished(&self) -> Vec<u64> {
        let unfinished = self.entries.iter().filter(|e| e.is_unfinished());
        unfinished.map(|entry| entry.record).collect()
    }

    fn entry(&mut self, record: u64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.record == record)
    }

    fn overdue(&self) -> Option<u64> {
        self.setting.timeout?;
        let mut unfinished = self.entries.iter().filter(|e| e.has_a_deadline());
        let overdue = unfinished.find(|entry| entry.deadline <= self.now)?;
        Some(overdue.record)
    }

    /// Timeouts first, then the back-offs that are over, the earliest first; all are when there is no more input.
    fn look_at_the_clock(&mut self) {
        while let Some(record) = self.overdue() {
            self.time_out(record);
        }
        while let Some((at, record)) = self.next_fallback() {
            if at > self.now {
                break;
            }
            let state = self.failure(record, Reason::FallbackTimedOut);
            self.become_of(record, state);
        }
        while let Some((at, record)) = self.next_attempt() {
            let is_due = at <= self.now || self.end_seen;
            if !is_due || !self.may_call() {
                return;
            }
            self.call(record);
        }
    }

    fn next_fallback(&self) -> Option<(u64, u64)> {
        let waiting = self.entries.iter().filter_map(|entry| match entry.state {
            State::Fallback(at) => Some((at, entry.record)),
            _ => None,
        });
        waiting.min()
    }

    fn may_call(&self) -> bool {
        let running = self.live().len();
        let limit = self.setting.limit.unwrap_or(usize::MAX);
        running < limit.min(self.setting.capacity)
    }

    fn next_attempt(&self) -> Option<(u64, u64)> {
        let waiting = self.entries.iter().filter_map(|entry| match entry.state {
            State::BackOff(at) => Some((at, entry.record)),
            _ => None,
        });
        waiting.min()
    }

    fn call(&mut self, record: u64) {
        self.made.push(record);
        let end_seen = self.end_seen;
        let entry = self.entry(record).expect("only entries are called");
        entry.attempts += 1;
        entry.without_place = false;
        entry.is_last = end_seen && entry.attempts > 1;
        entry.state = State::Running;
        self.poll(record);
    }

    /// If the record's attempt is under way and has an answer, that is its outcome or sends it into a back-off.
    fn poll(&mut self, record: u64) {
        if !self.live().contains(&record) {
            return;
        }
        let answers = self.answers.get_mut(&record);
        let Some(answer) = answers.and_then(VecDeque::pop_front) else {
            return;
        };
        match self.delay(record, answer) {
            Some(delay) => {
                let at = self.now + delay;
                let away = self.entries.iter().filter(|e| e.without_place).count();
                let may_leave = away < self.setting.without_place;
                let entry = self.entry(record).expect("it is live");
                entry.state = State::BackOff(at);
                entry.without_place = may_leave;
            }
            None => self.complete(record, answer),
        }
    }

    fn delay(&mut self, record: u64, answer: Answer) -> Option<u64> {
        let retries = self.setting.retries?;
        let entry = self.entry(record)?;
        let again = match answer {
            Answer::Output(output) => is_unwelcome(output),
            Answer::Refused => true,
            Answer::Panic | Answer::PanicInCall => false,
        };
        let delay = (FIRST_DELAY << (entry.attempts - 1)).min(LONGEST_DELAY);
        let again = again && entry.attempts <= retries && !entry.is_last;
        (again && self.affords_a_retry()).then_some(delay)
    }

    fn affords_a_retry(&mut self) -> bool {
        if self.setting.budget.is_none() {
            return true;
        }
        let affordable = self.tokens >= 1.0;
        match affordable {
            true => self.tokens -= 1.0,
            false => self.over_budget += 1,
        }
        affordable
    }

    fn time_out(&mut self, record: u64) {
        self.timed_out += 1;
        let state = match self.setting.timeout {
            Some(Limit::Output) => State::Output(record + 7_000),
            Some(Limit::Skip) => State::Skipped,
            Some(Limit::Later) if record.is_multiple_of(2) => State::Output(record + 7_000),
            Some(Limit::Later) => State::Fallback(self.now + BOUND),
            _ => self.failure(record, Reason::TimedOut),
        };
        self.become_of(record, state);
    }

    /// The first outcome of a record counts.
    fn complete(&mut self, record: u64, answer: Answer) {
        let state = match answer {
            Answer::Output(output) => State::Output(output),
            Answer::Refused => self.failure(record, Reason::Refused),
            Answer::Panic | Answer::PanicInCall => self.failure(record, Reason::Panicked),
        };
        self.become_of(record, state);
    }

    fn failure(&mut self, record: u64, reason: Reason) -> State {
        self.failed += u64::from(matches!(reason, Reason::Refused | Reason::Panicked));
        match self.setting.on_error {
            Policy::Fail => State::Failed(reason),
            Policy::Skip => State::Skipped,
            Policy::DeadLetter => {
                self.dead_letters += 1;
                State::Skipped
            }
            Policy::Output => State::Output(record + 5_000),
        }
    }

    fn become_of(&mut self, record: u64, state: State) {
        let entry = self.entries.iter_mut().find(|e| e.record == record);
        let entry = entry.expect("only a running request has an outcome");
        entry.state = state;
        entry.without_place = false;
        match state {
            State::Output(_) => self.completed += 1,
            State::Skipped => self.skipped += 1,
            _ => {}
        }
        if matches!(state, State::Failed(_)) {
            self.input.clear();
            self.held = None;
            self.end_seen = true;
            let this = self.entries.iter().position(|e| e.record == record);
            self.entries.truncate(this.unwrap() + 1);
        }
        self.emit();
    }

    fn emit(&mut self) {
        while let Some(next) = self.next_to_leave() {
            let entry = self.entries.remove(next);
            self.freed.push_back(key(entry.record));
            match entry.state {
                State::Output(output) => self.emitted.push_back(Ok(output)),
                State::Failed(reason) => {
                    self.emitted.push_back(Err((entry.record, reason)));
                    self.cancel();
                }
                _ => {}
            }
        }
    }

    fn next_to_leave(&self) -> Option<usize> {
        let mut entries = self.entries.iter();
        let next = entries.position(|entry| !entry.is_unfinished())?;
        (next == 0 || self.setting.mode != Mode::Ordered).then_some(next)
    }

    /// How many places are taken.
    fn taken(&self) -> usize {
        let away = self.entries.iter().filter(|e| e.without_place).count();
        self.entries.len() - away + self.emitted.len()
    }

    /// Does what is due, and accepts what there is room for.
    fn settle(&mut self) {
        self.look_at_the_clock();
        while self.taken() < self.setting.capacity {
            let may_call = self.may_call();
            if may_call && let Some(record) = self.next_in_line() {
                self.accept(record);
            } else if self.lines_are_full() {
                break;
            } else if may_call && let Some(record) = self.held.take() {
                self.arrive(record);
            } else if self.end_seen || self.held.is_some() {
                break;
            } else if let Some(record) = self.input.pop_front() {
                match may_call {
                    true => self.arrive(record),
                    false => self.held = Some(record),
                }
            } else if self.input_over {
                self.end_seen = true;
            } else {
                break;
            }
        }
        self.look_at_the_clock();
        let is_drained = self.entries.is_empty() && self.waiting.is_empty();
        self.over |= self.end_seen && is_drained && self.held.is_none();
    }

    /// The oldest record that waits for the key that was freed first.
    fn next_in_line(&mut self) -> Option<u64> {
        while let Some(freed) = self.freed.pop_front() {
            let oldest = self.waiting.iter().position(|record| key(*record) == freed);
            if let Some(oldest) = oldest {
                return Some(self.waiting.remove(oldest));
            }
        }
        None
    }

    fn lines_are_full(&self) -> bool {
        matches!(self.setting.mode, Mode::KeyOrdered(bound) if self.waiting.len() >= bound)
    }

    fn arrive(&mut self, record: u64) {
        let in_flight = self.entries.iter().map(|entry| entry.record);
        let mut earlier = in_flight.chain(self.waiting.iter().copied());
        let is_busy = earlier.any(|earlier| key(earlier) == key(record));
        match self.setting.mode {
            Mode::KeyOrdered(_) if is_busy => self.waiting.push(record),
            _ => self.accept(record),
        }
    }

    fn accept(&mut self, record: u64) {
        self.accepted += 1;
        let reserve = f64::from(self.setting.budget.unwrap_or_default());
        self.tokens = (self.tokens + SHARE).min(reserve);
        self.entries.push(Entry {
            record,
            deadline: self.now + TIMEOUT,
            attempts: 0,
            without_place: false,
            is_last: false,
            state: State::Running,
        });
        self.call(record);
    }
}
