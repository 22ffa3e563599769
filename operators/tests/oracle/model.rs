//! A stage that is so slow and plain that it is right. What becomes of a record's calls is in `attempts.rs`.

mod attempts;

use super::guards::{Ended, PlainGuard, Says};
use super::service::Answer;
use super::setting::{Mode, Setting, TIMEOUT, key};
use super::{First, Item, Kept, Left, Reason, record_of};
use std::collections::{HashMap, VecDeque};
use std::mem;

/// A list of entries that is looked through from the start whenever anything happens.
pub(super) struct Model {
    setting: Setting,
    now: u64,
    /// Not taken yet.
    input: VecDeque<Item>,
    pub(super) taken: usize,
    input_over: bool,
    /// A full stage does not look at its input, and so does not see its end.
    end_seen: bool,
    /// All that came in and has not left, in that order.
    entries: Vec<Entry>,
    /// Keys whose records have had their outcomes, in that order; for each record that waits there is one at most.
    freed: Vec<u64>,
    /// Emitted, not taken.
    pub(super) emitted: VecDeque<Left>,
    pub(super) over: bool,
    /// A record has failed, and the stage is about to end.
    pub(super) fails: bool,
    /// More than one answer is right from here on.
    pub(super) is_at_a_loss: bool,
    /// What the next calls of a record have at their first polls.
    at_once: HashMap<u64, VecDeque<Option<Answer>>>,
    /// What live calls will find at their next polls.
    answers: HashMap<usize, Answer>,
    pub(super) made: Vec<u64>,
    began: Vec<u64>,
    guard: PlainGuard,
    /// What is left of the retries' budget.
    tokens: f64,
    outcomes: u64,
    pub(super) counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) completed: u64,
    pub(super) retries: u64,
    pub(super) hedges: u64,
    pub(super) hedges_won: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
    pub(super) timed_out: u64,
    pub(super) dead_letters: u64,
    pub(super) over_budget: u64,
    pub(super) refused: u64,
    pub(super) in_flight: usize,
    pub(super) waiting: usize,
    pub(super) queued: usize,
    pub(super) running: usize,
    pub(super) limit: Option<usize>,
    /// An open circuit is half open once its pause is over and somebody asks, so those two are not told apart.
    pub(super) is_closed: bool,
    pub(super) circuit_opened: u64,
}

struct Entry {
    item: Item,
    /// Of those that were accepted, the how many-th.
    number: u64,
    deadline: u64,
    attempts: u32,
    /// The calls under way, the first first.
    calls: Vec<usize>,
    /// The last that was made because another took long.
    second: Option<usize>,
    /// When there will be a second call.
    hedge_at: Option<u64>,
    /// It is in back-off, and gave its place back.
    without_place: bool,
    /// The attempt under way is the last.
    is_last: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// A mark, or taken without room for it; with the output that it was restored with.
    Held(Option<u64>),
    /// It waits for its key.
    Waiting,
    Running,
    /// The next attempt is due then.
    BackOff(u64),
    /// Its time was up. So will be that of its fallback then.
    Fallback(u64),
    /// When it had its outcome, as a number, and what that is.
    Settled(u64, Verdict),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Output(u64),
    Skipped,
    Failed(Reason),
}

impl Entry {
    fn new(item: Item, state: State) -> Self {
        Self {
            item,
            number: 0,
            deadline: 0,
            attempts: 0,
            calls: Vec::new(),
            second: None,
            hedge_at: None,
            without_place: false,
            is_last: false,
            state,
        }
    }

    fn is(&self, record: u64) -> bool {
        self.item == Item::Record(record)
    }

    fn record(&self) -> u64 {
        match self.item {
            Item::Record(record) => record,
            Item::Sign(_) => panic!("a mark is no record"),
        }
    }

    fn is_record(&self) -> bool {
        matches!(self.item, Item::Record(_))
    }

    fn is_held(&self) -> bool {
        self.is_record() && matches!(self.state, State::Held(_))
    }

    fn is_in_flight(&self) -> bool {
        matches!(
            self.state,
            State::Running | State::BackOff(_) | State::Fallback(_)
        )
    }

    fn has_a_deadline(&self) -> bool {
        matches!(self.state, State::Running | State::BackOff(_))
    }

    fn falls_back_until(&self) -> Option<u64> {
        match self.state {
            State::Fallback(at) => Some(at),
            _ => None,
        }
    }

    fn rests_until(&self) -> Option<u64> {
        match self.state {
            State::BackOff(at) => Some(at),
            _ => None,
        }
    }

    fn has_a_place(&self) -> bool {
        let is_settled = matches!(self.state, State::Settled(..));
        (self.is_in_flight() || is_settled) && !self.without_place
    }
}

impl Model {
    /// A stage that goes on with what a barrier took along.
    pub(super) fn new(setting: &Setting, kept: &[Kept]) -> Self {
        let entries = kept.iter().map(|kept| match *kept {
            Kept::Input(record) => Entry::new(Item::Record(record), State::Held(None)),
            Kept::Output(output) => {
                let record = Item::Record(record_of(output));
                Entry::new(record, State::Held(Some(output)))
            }
            Kept::Sign(sign) => Entry::new(Item::Sign(sign), State::Held(None)),
        });
        let mut model = Self {
            setting: setting.clone(),
            now: 0,
            input: VecDeque::new(),
            taken: 0,
            input_over: false,
            end_seen: false,
            entries: entries.collect(),
            freed: Vec::new(),
            emitted: VecDeque::new(),
            over: false,
            fails: false,
            is_at_a_loss: false,
            at_once: HashMap::new(),
            answers: HashMap::new(),
            made: Vec::new(),
            began: Vec::new(),
            guard: PlainGuard::new(setting.guard),
            tokens: f64::from(setting.budget.unwrap_or_default()),
            outcomes: 0,
            counts: Counts::default(),
        };
        model.emit();
        model.settle();
        model
    }

    pub(super) fn script(&mut self, record: u64, at_once: &[Option<Answer>]) {
        let at_once = at_once.iter().copied().collect();
        self.at_once.insert(record, at_once);
    }

    pub(super) fn give(&mut self, item: Item) {
        if !self.over && !self.fails {
            self.input.push_back(item);
            self.settle();
        }
    }

    /// What a stage hears of first it looks at first; of the clock, at one thing, before the others have their turns.
    pub(super) fn progress(&mut self, completions: &[(usize, Answer)], by: u64, first: First) {
        self.now += by;
        self.answers.extend(completions.iter().copied());
        if by > 0 && first == First::Clock {
            self.look_once_at_the_clock();
        }
        for (call, _) in completions {
            self.poll(self.made[*call]);
        }
        self.settle();
    }

    pub(super) fn take(&mut self) -> Option<Left> {
        let taken = self.emitted.pop_front();
        self.settle();
        taken
    }

    pub(super) fn end(&mut self) {
        self.input_over = true;
        self.settle();
    }

    /// The live calls, each with its record.
    pub(super) fn live(&self) -> Vec<(usize, u64)> {
        let entries = self.entries.iter();
        let calls = entries.flat_map(|entry| &entry.calls);
        let mut live: Vec<_> = calls.map(|call| (*call, self.made[*call])).collect();
        live.sort_unstable();
        live
    }

    /// Whether anything is waited for by the clock.
    pub(super) fn has_a_timer(&mut self) -> bool {
        let now = self.now;
        let is_shut = matches!(self.guard_says(now), Says::Wait(Some(_)));
        let times = self.setting.timeout.is_some();
        let by_clock = |entry: &Entry| match entry.state {
            State::Running => times || entry.hedge_at.is_some(),
            State::BackOff(_) | State::Fallback(_) => true,
            _ => false,
        };
        is_shut || self.entries.iter().any(by_clock)
    }

    pub(super) fn counts(&self) -> Counts {
        let count = |is: fn(&Entry) -> bool| self.entries.iter().filter(|e| is(e)).count();
        let outputs = self.emitted.iter();
        let outputs = outputs.filter(|left| matches!(left, Left::Output(_)));
        Counts {
            in_flight: count(Entry::is_in_flight),
            waiting: count(|entry| entry.state == State::Waiting),
            queued: outputs.count() + count(|e| matches!(e.state, State::Settled(..))),
            running: self.live().len(),
            limit: self.guard.limit(),
            is_closed: self.guard.is_closed(),
            circuit_opened: self.guard.opened,
            ..self.counts
        }
    }

    fn entry(&mut self, record: u64) -> &mut Entry {
        let entry = self.entries.iter_mut().find(|entry| entry.is(record));
        entry.expect("it has not left")
    }

    /// What would leave behind this record never will.
    fn cut_after(&mut self, record: u64) {
        self.fails = true;
        self.end_seen = true;
        self.input.clear();
        let this = self.entries.iter().position(|entry| entry.is(record));
        let this = this.expect("it has not left");
        let is_ordered = self.setting.mode == Mode::Ordered;
        let ends = |index| index != this && (index > this || !is_ordered);
        let (ended, stay) = mem::take(&mut self.entries)
            .into_iter()
            .enumerate()
            .partition::<Vec<_>, _>(|(index, _)| ends(*index));
        self.entries = stay.into_iter().map(|(_, entry)| entry).collect();
        for call in ended.into_iter().flat_map(|(_, entry)| entry.calls) {
            self.guard.end(self.began[call], self.now, Ended::Dropped);
        }
    }

    fn emit(&mut self) {
        while let Some(next) = self.next_to_leave() {
            let entry = self.entries.remove(next);
            match (entry.item, entry.state) {
                (Item::Sign(sign), _) => self.emitted.push_back(Left::Sign(sign)),
                (_, State::Settled(_, Verdict::Output(output))) => {
                    self.emitted.push_back(Left::Output(output));
                }
                (Item::Record(record), State::Settled(_, Verdict::Failed(reason))) => {
                    self.emitted.push_back(Left::Failed(record, reason));
                    self.over = true;
                    self.entries.clear();
                }
                _ => {}
            }
        }
    }

    /// A mark when it is the oldest. A record if it has its outcome and no mark is in front of it; in ordered mode only the
    /// oldest, else the first that had it.
    fn next_to_leave(&self) -> Option<usize> {
        let first = self.entries.first()?;
        if !first.is_record() {
            return Some(0);
        }
        let entries = self.entries.iter().enumerate();
        let segment = entries.take_while(|(_, entry)| entry.is_record());
        let settled = segment.filter_map(|(index, entry)| match entry.state {
            State::Settled(outcome, _) => Some((outcome, index)),
            _ => None,
        });
        let next = match self.setting.mode {
            Mode::Ordered => settled.filter(|(_, index)| *index == 0).min(),
            _ => settled.min(),
        };
        next.map(|(_, index)| index)
    }

    /// How many places are taken.
    fn places(&self) -> usize {
        let inside = self.entries.iter().filter(|entry| entry.has_a_place());
        let outputs = self.emitted.iter();
        let outputs = outputs.filter(|left| !matches!(left, Left::Sign(_)));
        inside.count() + outputs.count()
    }

    fn lines_are_full(&self) -> bool {
        let waiting = self.entries.iter().filter(|e| e.state == State::Waiting);
        matches!(self.setting.mode, Mode::KeyOrdered(bound) if waiting.count() >= bound)
    }

    fn first_held(&self) -> Option<u64> {
        let held = self.entries.iter().find(|entry| entry.is_held());
        held.map(Entry::record)
    }

    /// Does what is due, and takes in what there is room for. A stage that knows marks looks one record further, lest it hold one up.
    fn settle(&mut self) {
        self.look_at_the_clock();
        while !self.over {
            let marks = self.entries.iter().filter(|entry| !entry.is_record());
            let kept = self.kept_from(marks.count());
            let has_room = self.places() + kept < self.setting.capacity && !self.lines_are_full();
            if let Some(record) = self.next_in_line()
                && self.may_call()
            {
                self.freed.retain(|freed| *freed != key(record));
                self.accept(record);
            } else if let Some(record) = self.first_held() {
                if !has_room || !self.may_call() {
                    break;
                }
                self.let_in(record);
            } else if self.end_seen || !(has_room || self.setting.marks) {
                break;
            } else if let Some(item) = self.input.pop_front() {
                self.taken += 1;
                self.entries.push(Entry::new(item, State::Held(None)));
                self.emit();
            } else if self.input_over {
                self.end_seen = true;
            } else {
                break;
            }
            self.emit();
        }
        self.look_at_the_clock();
        let is_drained = self.entries.is_empty();
        // For the sake of barriers it stays until all is taken.
        let has_left = !self.setting.marks || self.emitted.is_empty();
        self.over |= self.end_seen && is_drained && has_left;
    }

    /// Of the records that wait for keys that are free, the one in front of most marks; of those, the one whose key was freed first. While
    /// any waits in front of a mark, those behind that leave one place to it.
    fn next_in_line(&self) -> Option<u64> {
        let ready = self.freed.iter().enumerate().filter_map(|(turn, freed)| {
            let mut waiting = self.entries.iter().filter(|e| e.state == State::Waiting);
            let next = waiting
                .find(|entry| key(entry.record()) == *freed)?
                .record();
            Some((self.segment(next), turn, next))
        });
        let (segment, _, next) = ready.min()?;
        (self.places() + self.kept_from(segment) < self.setting.capacity).then_some(next)
    }

    /// How many marks are in front of a record.
    fn segment(&self, record: u64) -> usize {
        let ahead = self.entries.iter().take_while(|entry| !entry.is(record));
        ahead.filter(|entry| !entry.is_record()).count()
    }

    /// How many places are not for records behind so many marks.
    fn kept_from(&self, segment: usize) -> usize {
        let waits = |entry: &Entry| entry.state == State::Waiting;
        let earlier = |entry: &Entry| waits(entry) && self.segment(entry.record()) < segment;
        usize::from(self.entries.iter().any(earlier))
    }

    fn let_in(&mut self, record: u64) {
        if let State::Held(Some(output)) = self.entry(record).state {
            self.outcomes += 1;
            let outcomes = self.outcomes;
            self.entry(record).state = State::Settled(outcomes, Verdict::Output(output));
            return self.emit();
        }
        let is_busy = |entry: &Entry| {
            let is_ahead = entry.is_in_flight() || entry.state == State::Waiting;
            is_ahead && key(entry.record()) == key(record)
        };
        match self.setting.mode {
            Mode::KeyOrdered(_) if self.entries.iter().any(is_busy) => {
                self.entry(record).state = State::Waiting;
            }
            _ => self.accept(record),
        }
    }

    fn accept(&mut self, record: u64) {
        self.counts.accepted += 1;
        let (number, deadline) = (self.counts.accepted, self.now + TIMEOUT);
        let entry = self.entry(record);
        (entry.number, entry.deadline) = (number, deadline);
        entry.state = State::Running;
        self.attempt(record);
    }
}
