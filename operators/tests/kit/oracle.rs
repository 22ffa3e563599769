//! A model of a stage that is so slow and plain that it is right.

use super::Answer;
use peu_operators::OnError;
use std::collections::{HashMap, VecDeque};

/// Milliseconds.
pub(crate) const TIMEOUT: u64 = 10;

#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) ordered: bool,
    pub(crate) capacity: usize,
    pub(crate) timeout: Option<Limit>,
    pub(crate) on_error: OnError,
}

/// A timeout's fallback.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
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
    /// Emitted, not taken.
    pub(crate) emitted: VecDeque<Result<u64, Failure>>,
    pub(crate) over: bool,
    presets: HashMap<u64, Answer>,
    pub(crate) made: Vec<u64>,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    pub(crate) timed_out: u64,
}

pub(crate) struct Entry {
    record: u64,
    deadline: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Running,
    Output(u64),
    Skipped,
    Failed(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reason {
    Refused,
    Panicked,
    TimedOut,
}

/// The record, and what became of it.
pub(crate) type Failure = (u64, Reason);

impl Oracle {
    pub(crate) fn new(setting: Setting) -> Self {
        Self {
            setting,
            now: 0,
            input: VecDeque::new(),
            input_over: false,
            end_seen: false,
            entries: Vec::new(),
            emitted: VecDeque::new(),
            over: false,
            presets: HashMap::new(),
            made: Vec::new(),
            completed: 0,
            failed: 0,
            skipped: 0,
            timed_out: 0,
        }
    }

    pub(crate) fn push(&mut self, record: u64, answer: Option<Answer>) {
        self.presets.extend(answer.map(|answer| (record, answer)));
        self.input.push_back(record);
        self.settle();
    }

    pub(crate) fn progress(&mut self, completions: &[(u64, Answer)], by: u64) {
        for (record, answer) in completions {
            self.complete(*record, *answer);
        }
        self.now += by;
        while let Some(record) = self.overdue() {
            self.time_out(record);
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
    }

    pub(crate) fn live(&self) -> Vec<u64> {
        let running = self.entries.iter().filter(|e| e.state == State::Running);
        running.map(|entry| entry.record).collect()
    }

    fn overdue(&self) -> Option<u64> {
        self.setting.timeout?;
        let mut running = self.entries.iter().filter(|e| e.state == State::Running);
        let overdue = running.find(|entry| entry.deadline <= self.now)?;
        Some(overdue.record)
    }

    fn time_out(&mut self, record: u64) {
        self.timed_out += 1;
        let state = match self.setting.timeout {
            Some(Limit::Output) => State::Output(record + 7_000),
            Some(Limit::Skip) => State::Skipped,
            _ => self.failure(Reason::TimedOut),
        };
        self.become_of(record, state);
    }

    /// The first outcome of a record counts.
    fn complete(&mut self, record: u64, answer: Answer) {
        if !self.live().contains(&record) {
            return;
        }
        let state = match answer {
            Answer::Output(output) => State::Output(output),
            Answer::Refused => self.failure(Reason::Refused),
            Answer::Panic | Answer::PanicInCall => self.failure(Reason::Panicked),
        };
        self.become_of(record, state);
    }

    fn failure(&mut self, reason: Reason) -> State {
        self.failed += u64::from(reason != Reason::TimedOut);
        match self.setting.on_error {
            OnError::Skip => State::Skipped,
            _ => State::Failed(reason),
        }
    }

    fn become_of(&mut self, record: u64, state: State) {
        let entry = self.entries.iter_mut().find(|e| e.record == record);
        let entry = entry.expect("only a running request has an outcome");
        entry.state = state;
        match state {
            State::Output(_) => self.completed += 1,
            State::Skipped => self.skipped += 1,
            _ => {}
        }
        if matches!(state, State::Failed(_)) {
            self.input.clear();
            self.end_seen = true;
            let this = self.entries.iter().position(|e| e.record == record);
            self.entries.truncate(this.unwrap() + 1);
        }
        self.emit();
    }

    fn emit(&mut self) {
        while let Some(next) = self.next_to_leave() {
            let entry = self.entries.remove(next);
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
        let next = entries.position(|entry| entry.state != State::Running)?;
        (next == 0 || !self.setting.ordered).then_some(next)
    }

    /// Accepts what there is room for.
    fn settle(&mut self) {
        while !self.end_seen && self.entries.len() + self.emitted.len() < self.setting.capacity {
            match self.input.pop_front() {
                Some(record) => self.accept(record),
                None if self.input_over => self.end_seen = true,
                None => break,
            }
        }
        self.over |= self.end_seen && self.entries.is_empty();
    }

    fn accept(&mut self, record: u64) {
        self.made.push(record);
        self.entries.push(Entry {
            record,
            deadline: self.now + TIMEOUT,
            state: State::Running,
        });
        if let Some(answer) = self.presets.get(&record) {
            self.complete(record, *answer);
        }
    }
}
