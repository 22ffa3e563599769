//! What becomes of the calls of a record.

use super::super::guards::{Ended, Says};
use super::super::service::Answer;
use super::super::setting::{
    BOUND, BY_FALLBACK, BY_POLICY, FIRST_DELAY, HEDGE, LONGEST_DELAY, Limit, Policy, SHARE,
    is_unwelcome, key,
};
use super::super::{Reason, output};
use super::{Entry, Model, State, Verdict};
use std::collections::VecDeque;

/// What is due by the clock.
enum Due {
    Timeout(u64),
    GiveUp(u64),
    Retry(u64),
    Hedge(u64),
}

impl Model {
    /// The record that is first, of those that wait for something until a time, if that is no later than `by`.
    fn first(&self, by: u64, until: impl Fn(&Entry) -> Option<u64>) -> Option<u64> {
        let waiting = self.entries.iter().filter(|entry| entry.is_record());
        let waiting = waiting.filter_map(|e| Some((until(e)?, e.number, e.record())));
        let (at, _, record) = waiting.min()?;
        (at <= by).then_some(record)
    }

    /// Timeouts first, then fallbacks, then the back-offs that are over, which all are when there is no more input, then second
    /// calls; of each the earliest first.
    fn due(&mut self) -> Option<Due> {
        let now = self.now;
        if let Some(record) = self.first(now, |entry| self.deadline_of(entry)) {
            return Some(Due::Timeout(record));
        }
        if let Some(record) = self.first(now, Entry::falls_back_until) {
            return Some(Due::GiveUp(record));
        }
        let rests_end_by = if self.end_seen { u64::MAX } else { now };
        if let Some(record) = self.first(rests_end_by, Entry::rests_until) {
            return self.may_call().then_some(Due::Retry(record));
        }
        let record = self.first(now, |entry| entry.hedge_at)?;
        self.may_call().then_some(Due::Hedge(record))
    }

    /// Whether anything is due, whatever the guard says.
    fn is_anything_due(&self) -> bool {
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= self.now);
        let mut times = self.entries.iter().flat_map(|entry| {
            let deadline = self.deadline_of(entry);
            [deadline, entry.falls_back_until(), entry.rests_until()]
        });
        times.any(is_due)
    }

    fn deadline_of(&self, entry: &Entry) -> Option<u64> {
        let is_timed = self.setting.timeout.is_some() && entry.has_a_deadline();
        is_timed.then_some(entry.deadline)
    }

    pub(super) fn look_at_the_clock(&mut self) {
        while self.look_once_at_the_clock() {}
    }

    /// False: nothing is due.
    pub(super) fn look_once_at_the_clock(&mut self) -> bool {
        let due = self.due();
        match due {
            Some(Due::Timeout(record)) => self.time_out(record),
            Some(Due::GiveUp(record)) => self.fail(record, Reason::FallbackTimedOut),
            Some(Due::Retry(record)) => self.attempt(record),
            Some(Due::Hedge(record)) => self.hedge(record),
            None => return false,
        }
        true
    }

    pub(super) fn guard_says(&mut self, now: u64) -> Says {
        let running = self.live().len();
        self.guard.says(now, running)
    }

    pub(super) fn may_call(&mut self) -> bool {
        let running = self.live().len();
        let has_room = running < self.setting.capacity;
        has_room
            && match self.guard_says(self.now) {
                Says::Go | Says::Refuse => true,
                // Nobody else would open it again.
                Says::Wait(None) => running == 0,
                Says::Wait(Some(_)) => false,
            }
    }

    pub(super) fn attempt(&mut self, record: u64) {
        if self.guard_says(self.now) == Says::Refuse {
            self.counts.refused += 1;
            return self.fail(record, Reason::CircuitOpen);
        }
        let end_seen = self.end_seen;
        let entry = self.entry(record);
        let is_first = entry.attempts == 0;
        entry.attempts += 1;
        entry.without_place = false;
        entry.is_last = end_seen && !is_first;
        entry.state = State::Running;
        self.counts.retries += u64::from(!is_first);
        if is_first {
            let reserve = f64::from(self.setting.budget.unwrap_or_default());
            self.tokens = (self.tokens + SHARE).min(reserve);
        }
        self.call(record);
        let hedge_at = self.now + HEDGE;
        if self.setting.hedges
            && let Some(entry) = self.entries.iter_mut().find(|entry| entry.is(record))
            && entry.state == State::Running
        {
            entry.hedge_at = Some(hedge_at);
        }
    }

    fn hedge(&mut self, record: u64) {
        self.entry(record).hedge_at = None;
        if self.guard_says(self.now) != Says::Refuse {
            self.counts.hedges += 1;
            self.entry(record).second = Some(self.made.len());
            self.call(record);
        }
    }

    fn call(&mut self, record: u64) {
        let call = self.made.len();
        self.made.push(record);
        self.began.push(self.now);
        self.guard.begin(self.now);
        self.entry(record).calls.push(call);
        let scripted = self.at_once.get_mut(&record);
        match scripted.and_then(VecDeque::pop_front).flatten() {
            Some(Answer::PanicInCall) => self.panic(record, call),
            answer => {
                self.answers.extend(answer.map(|answer| (call, answer)));
                self.poll(record);
            }
        }
    }

    /// What a record's calls find is its outcome, or sends it into a back-off.
    pub(super) fn poll(&mut self, record: u64) {
        let Some(entry) = self.entries.iter().find(|entry| entry.is(record)) else {
            return;
        };
        let found = entry
            .calls
            .iter()
            .find(|call| self.answers.contains_key(call));
        let Some(call) = found.copied() else {
            return;
        };
        match self.answers.remove(&call) {
            Some(Answer::Output(how)) => {
                let is_second = self.entry(record).second == Some(call);
                self.counts.hedges_won += u64::from(is_second);
                self.end_call(record, call, Ended::Well);
                self.end_calls(record, Ended::Dropped);
                let output = output(record, how);
                match is_unwelcome(output).then(|| self.delay(record)).flatten() {
                    Some(delay) => self.back_off(record, delay),
                    None => self.settle_as(record, Verdict::Output(output)),
                }
            }
            Some(Answer::Refused) => {
                self.end_call(record, call, Ended::Badly);
                // Another call may have an answer.
                if !self.entry(record).calls.is_empty() {
                    return self.poll(record);
                }
                match self.delay(record) {
                    Some(delay) => self.back_off(record, delay),
                    None => self.fail(record, Reason::Refused),
                }
            }
            _ => self.panic(record, call),
        }
    }

    fn panic(&mut self, record: u64, call: usize) {
        self.end_call(record, call, Ended::Badly);
        self.end_calls(record, Ended::Dropped);
        self.fail(record, Reason::Panicked);
    }

    fn end_call(&mut self, record: u64, call: usize, ended: Ended) {
        self.entry(record).calls.retain(|other| *other != call);
        self.answers.remove(&call);
        self.guard.end(self.began[call], self.now, ended);
    }

    fn end_calls(&mut self, record: u64, ended: Ended) {
        for call in self.entry(record).calls.clone() {
            self.end_call(record, call, ended);
        }
    }

    /// After which an attempt is made again, if it is.
    fn delay(&mut self, record: u64) -> Option<u64> {
        let retries = self.setting.retries?;
        let entry = self.entry(record);
        let again = entry.attempts <= retries && !entry.is_last;
        let delay = (FIRST_DELAY << (entry.attempts - 1)).min(LONGEST_DELAY);
        (again && self.affords_a_retry()).then_some(delay)
    }

    fn affords_a_retry(&mut self) -> bool {
        if self.setting.budget.is_none() {
            return true;
        }
        let affordable = self.tokens >= 1.0;
        match affordable {
            true => self.tokens -= 1.0,
            false => self.counts.over_budget += 1,
        }
        affordable
    }

    fn back_off(&mut self, record: u64, delay: u64) {
        let at = self.now + delay;
        let away = self.entries.iter().filter(|e| e.without_place).count();
        let may_leave = away < self.setting.without_place;
        // The place may go to what is due by the clock or to what comes in, or first show that nothing does, which ends all back-offs.
        self.is_at_a_loss |= may_leave && self.is_anything_due();
        let entry = self.entry(record);
        entry.state = State::BackOff(at);
        entry.hedge_at = None;
        entry.without_place = may_leave;
    }

    pub(super) fn time_out(&mut self, record: u64) {
        // A result that is there wins.
        let calls = self.entry(record).calls.clone();
        if calls.iter().any(|call| self.answers.contains_key(call)) {
            self.poll(record);
            // The call that has failed leaves it to the other, and that one's time is up as well.
            let waits_on = |e: &Entry| e.is(record) && e.state == State::Running;
            if !self.entries.iter().any(waits_on) {
                return;
            }
        }
        self.end_calls(record, Ended::Badly);
        self.counts.timed_out += 1;
        let by_fallback = Verdict::Output(output(record, BY_FALLBACK));
        match self.setting.timeout {
            Some(Limit::Output) => self.settle_as(record, by_fallback),
            Some(Limit::Skip) => self.settle_as(record, Verdict::Skipped),
            Some(Limit::Later) if record.is_multiple_of(2) => self.settle_as(record, by_fallback),
            Some(Limit::Later) => {
                let until = self.now + BOUND;
                let entry = self.entry(record);
                entry.state = State::Fallback(until);
                entry.hedge_at = None;
                entry.without_place = false;
            }
            _ => self.fail(record, Reason::TimedOut),
        }
    }

    fn fail(&mut self, record: u64, reason: Reason) {
        let was_called = matches!(reason, Reason::Refused | Reason::Panicked);
        self.counts.failed += u64::from(was_called);
        let verdict = match self.setting.on_error {
            Policy::Fail => Verdict::Failed(reason),
            Policy::Skip => Verdict::Skipped,
            Policy::Output => Verdict::Output(output(record, BY_POLICY)),
            Policy::DeadLetter => {
                self.counts.dead_letters += 1;
                Verdict::Skipped
            }
        };
        self.settle_as(record, verdict);
    }

    /// The first outcome of a record counts.
    fn settle_as(&mut self, record: u64, verdict: Verdict) {
        match verdict {
            Verdict::Output(_) => self.counts.completed += 1,
            Verdict::Skipped => self.counts.skipped += 1,
            Verdict::Failed(_) => self.cut_after(record),
        }
        self.outcomes += 1;
        let outcomes = self.outcomes;
        let entry = self.entry(record);
        entry.state = State::Settled(outcomes, verdict);
        entry.hedge_at = None;
        entry.without_place = false;
        let waits = |e: &Entry| e.state == State::Waiting && key(e.record()) == key(record);
        if self.entries.iter().any(waits) {
            self.freed.push(key(record));
        }
        self.emit();
    }
}
