//! What holds for any options: a ledger of what came, what left, and what a barrier took along.

use super::setting::{Mode, Setting, TIMEOUT, key};
use super::stage::Subject;
use super::{Item, Kept, Left, Reason, Sign, record_of};
use std::collections::HashMap;

/// A rule that was broken, in words.
pub(super) type Broken = String;

/// All that came since the beginning, and what became of it.
#[derive(Clone)]
pub(super) struct Rules {
    setting: Setting,
    entries: Vec<Entry>,
    /// How much of it the lives before this one have taken, as far as a barrier tells.
    base: usize,
    /// How much was taken before the last barrier.
    before: usize,
    /// The stage has failed, or has come to its end.
    has_ended: bool,
    now: u64,
    /// When each call of this life was made.
    made_at: Vec<u64>,
    /// How many of them were made before the last barrier.
    made_before: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    item: Item,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// In the input, or in the stage.
    Open,
    /// A barrier took its output along: it is not called again.
    Known(u64),
    Left,
    Skipped,
    /// A latency marker that a restart forgot.
    Forgotten,
}

impl Fate {
    fn is_over(self) -> bool {
        matches!(self, Self::Left | Self::Skipped | Self::Forgotten)
    }
}

impl Rules {
    pub(super) fn new(setting: &Setting) -> Self {
        Self {
            setting: setting.clone(),
            entries: Vec::new(),
            base: 0,
            before: 0,
            has_ended: false,
            now: 0,
            made_at: Vec::new(),
            made_before: 0,
        }
    }

    pub(super) fn give(&mut self, item: Item) {
        let fate = Fate::Open;
        self.entries.push(Entry { item, fate });
    }

    pub(super) fn pass_time(&mut self, by: u64) {
        self.now += by;
    }

    /// What a fresh stage, which goes on from here, is given once more.
    pub(super) fn not_taken(&self) -> impl Iterator<Item = Item> {
        self.entries[self.before..].iter().map(|entry| entry.item)
    }

    /// What came since that ledger was copied from this one.
    pub(super) fn not_known_to(&self, copy: &Self) -> Vec<Item> {
        let since = &self.entries[copy.entries.len()..];
        since.iter().map(|entry| entry.item).collect()
    }

    /// The stage was told to leave these records out.
    pub(super) fn skip(&mut self, records: Vec<u64>) -> Result<(), Broken> {
        records
            .into_iter()
            .try_for_each(|record| self.skip_one(record))
    }

    fn skip_one(&mut self, record: u64) -> Result<(), Broken> {
        let entry = self.entry(Item::Record(record));
        let entry = entry.ok_or(format!("{record} is skipped, which never came"))?;
        if entry.fate != Fate::Open {
            return Err(format!("{record} is skipped, and was {:?}", entry.fate));
        }
        entry.fate = Fate::Skipped;
        Ok(())
    }

    fn entry(&mut self, item: Item) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.item == item)
    }

    /// The consumer got this.
    pub(super) fn take(&mut self, left: Left) -> Result<(), Broken> {
        if self.has_ended {
            return Err(format!("{left:?} left behind the end"));
        }
        match left {
            Left::Output(output) => self.take_output(output),
            Left::Sign(sign) => self.take_sign(sign),
            Left::Failed(record, reason) => self.take_failure(record, reason),
        }
    }

    fn take_output(&mut self, output: u64) -> Result<(), Broken> {
        let item = Item::Record(record_of(output));
        let index = self.entries.iter().position(|entry| entry.item == item);
        let index = index.ok_or(format!("{output} is of a record that never came"))?;
        match self.entries[index].fate {
            Fate::Open => {}
            Fate::Known(known) if known == output => {}
            fate => return Err(format!("{output} left, and its record was {fate:?}")),
        }
        self.in_its_turn(index)?;
        self.entries[index].fate = Fate::Left;
        Ok(())
    }

    /// Nothing that has to leave before the entry at this index is still there.
    fn in_its_turn(&self, index: usize) -> Result<(), Broken> {
        let this = self.entries[index].item;
        for earlier in &self.entries[..index] {
            let is_bound = match (earlier.item, this, self.setting.mode) {
                (Item::Sign(_), _, _) | (_, Item::Sign(_), _) | (_, _, Mode::Ordered) => true,
                (Item::Record(one), Item::Record(other), Mode::KeyOrdered(_)) => {
                    key(one) == key(other)
                }
                _ => false,
            };
            if is_bound && !earlier.fate.is_over() {
                return Err(format!("{this:?} overtook {:?}", earlier.item));
            }
        }
        Ok(())
    }

    fn take_sign(&mut self, sign: Sign) -> Result<(), Broken> {
        let mut open = self.entries.iter().enumerate();
        let next = open.find(|(_, e)| matches!(e.item, Item::Sign(_)) && !e.fate.is_over());
        let Some((index, entry)) = next else {
            return Err(format!("{sign:?} left, and none was there"));
        };
        if entry.item != Item::Sign(sign) {
            return Err(format!("{sign:?} left before {:?}", entry.item));
        }
        self.in_its_turn(index)?;
        self.entries[index].fate = Fate::Left;
        Ok(())
    }

    fn take_failure(&mut self, record: u64, reason: Reason) -> Result<(), Broken> {
        let item = Item::Record(record);
        let index = self.entries.iter().position(|entry| entry.item == item);
        let index = index.ok_or(format!("{record} failed, and never came"))?;
        if self.entries[index].fate != Fate::Open {
            let fate = self.entries[index].fate;
            return Err(format!("{record} failed, and was {fate:?}"));
        }
        if reason == Reason::TimedOut && (self.setting.timeout.is_none() || self.now < TIMEOUT) {
            return Err(format!("{record} timed out at {}", self.now));
        }
        if self.setting.mode == Mode::Ordered {
            self.in_its_turn(index)?;
        }
        self.has_ended = true;
        Ok(())
    }

    /// A barrier took this along.
    pub(super) fn pass_barrier(&mut self, kept: &[Kept], taken: usize) -> Result<(), Broken> {
        self.before = self.base + taken;
        self.made_before = self.made_at.len();
        self.all_is_kept(kept)?;
        self.order_is_kept(kept)?;
        for kept in kept {
            if let Kept::Output(output) = *kept
                && let Some(entry) = self.entry(Item::Record(record_of(output)))
            {
                entry.fate = Fate::Known(output);
            }
        }
        Ok(())
    }

    /// What came and has not left is there once, and nothing else is; by segments, with a mark behind each.
    fn all_is_kept(&self, kept: &[Kept]) -> Result<(), Broken> {
        let open = self.entries[..self.before].iter();
        let open = open.filter(|e| !e.fate.is_over() && e.item != Item::Sign(Sign::Latency));
        let expected = segments(open.map(|entry| entry.item));
        let found = segments(kept.iter().map(|kept| item_of(*kept)));
        match expected == found {
            true => Ok(()),
            false => Err(format!("the barrier took {found:?}, and not {expected:?}")),
        }
    }

    /// Within a segment what is bound by the mode is in order. What was known stays as it was known.
    fn order_is_kept(&self, kept: &[Kept]) -> Result<(), Broken> {
        let mut last: HashMap<u64, u64> = HashMap::new();
        for kept in kept {
            let Item::Record(record) = item_of(*kept) else {
                continue;
            };
            let entry = self.entries.iter().find(|e| e.item == Item::Record(record));
            if let Some(Fate::Known(output)) = entry.map(|entry| entry.fate)
                && *kept != Kept::Output(output)
            {
                return Err(format!("{output} was known, and now is {kept:?}"));
            }
            let line = match self.setting.mode {
                Mode::Ordered => 0,
                Mode::KeyOrdered(_) => key(record),
                Mode::Unordered => record,
            };
            if last.insert(line, record).is_some_and(|last| last > record) {
                return Err(format!("the barrier took {record} out of order"));
            }
        }
        Ok(())
    }

    /// The process died, and a fresh stage goes on from the last barrier: `self` is as it was then.
    pub(super) fn restart(&mut self, capacity: usize) {
        self.setting.capacity = capacity;
        self.base = self.before;
        for entry in &mut self.entries[..self.before] {
            let is_latency = entry.item == Item::Sign(Sign::Latency);
            if is_latency && entry.fate == Fate::Open {
                entry.fate = Fate::Forgotten;
            }
        }
        self.now = 0;
        self.made_at.clear();
        self.made_before = 0;
    }

    /// What holds whenever the stage pauses.
    pub(super) fn look(&mut self, subject: &Subject) -> Result<(), Broken> {
        self.skip(subject.skipped())?;
        self.look_at_calls(subject)?;
        let metrics = subject.metrics();
        let most = self.setting.capacity + self.setting.without_place;
        let held = metrics.in_flight + metrics.queued;
        if held > most {
            return Err(format!("{held} records are held, and {most} may be"));
        }
        let sleeps = subject.world.sleeps();
        if sleeps > 1 {
            return Err(format!("the stage has {sleeps} sleeps"));
        }
        match self.setting.mode {
            Mode::KeyOrdered(most) if metrics.waiting > most => {
                Err(format!("{} records wait, and {most} may", metrics.waiting))
            }
            _ => Ok(()),
        }
    }

    fn look_at_calls(&mut self, subject: &Subject) -> Result<(), Broken> {
        let made = subject.service.made();
        self.made_at.resize(made.len(), self.now);
        if !self.setting.guard.allows(&self.made_at) {
            return Err(format!("too many calls at {:?}", self.made_at));
        }
        let mut calls: HashMap<u64, usize> = HashMap::new();
        for record in &made {
            let of_record = calls.entry(*record).or_default();
            *of_record += 1;
            if *of_record > self.setting.most_calls() {
                return Err(format!("{record} was called {of_record} times"));
            }
        }
        let known = |e: &&Entry| matches!(e.fate, Fate::Known(_));
        for entry in self.entries.iter().filter(known) {
            if let Item::Record(record) = entry.item
                && made[self.made_before..].contains(&record)
            {
                return Err(format!("{record} is called, whose output was known"));
            }
        }
        self.look_at_live_calls(&subject.service.live())
    }

    fn look_at_live_calls(&self, live: &[(usize, u64)]) -> Result<(), Broken> {
        let most = self.setting.guard.most_running().min(self.setting.capacity);
        if live.len() > most {
            return Err(format!("{} calls run, and {most} may", live.len()));
        }
        for (call, record) in live {
            let same = |other: u64| match self.setting.mode {
                Mode::KeyOrdered(_) => key(other) == key(*record),
                _ => other == *record,
            };
            let beside = live.iter().filter(|(_, other)| same(*other)).count();
            if beside > self.setting.calls_at_once() {
                return Err(format!("call {call} of {record} runs beside {live:?}"));
            }
            let entry = self
                .entries
                .iter()
                .find(|e| e.item == Item::Record(*record));
            if entry.is_none_or(|entry| entry.fate != Fate::Open) {
                return Err(format!("{record} is called, and is {entry:?}"));
            }
        }
        Ok(())
    }

    /// The stage has come to its end: all that came has an outcome, unless one has failed.
    pub(super) fn end(&self) -> Result<(), Broken> {
        let open = self.entries.iter().find(|entry| !entry.fate.is_over());
        match open {
            Some(entry) if !self.has_ended => Err(format!("{:?} was lost", entry.item)),
            _ => Ok(()),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }
}

fn item_of(kept: Kept) -> Item {
    match kept {
        Kept::Input(record) => Item::Record(record),
        Kept::Output(output) => Item::Record(record_of(output)),
        Kept::Sign(sign) => Item::Sign(sign),
    }
}

/// The records between marks, sorted, and the marks.
fn segments(items: impl Iterator<Item = Item>) -> Vec<(Vec<u64>, Option<Sign>)> {
    let mut segments = vec![(Vec::new(), None)];
    for item in items {
        let last = segments.len() - 1;
        match item {
            Item::Record(record) => segments[last].0.push(record),
            Item::Sign(sign) => {
                segments[last].1 = Some(sign);
                segments.push((Vec::new(), None));
            }
        }
    }
    segments
        .iter_mut()
        .for_each(|(records, _)| records.sort_unstable());
    segments
}

/// What breaks each rule, but for those for which a stage must run.
#[cfg(test)]
mod tests {
    use super::super::guards::GuardBy;
    use super::super::setting::Policy;
    use super::super::{Item, Kept, Left, Reason, Sign};
    use super::{Broken, Mode, Rules, Setting};

    const WATERMARK: Sign = Sign::Watermark(1);

    /// Records 1, 2 and 5, of which the last two have the same key, a watermark, and record 6.
    fn rules(mode: Mode) -> Rules {
        let mut rules = Rules::new(&Setting {
            mode,
            marks: true,
            capacity: 3,
            timeout: None,
            retries: None,
            without_place: 0,
            budget: None,
            on_error: Policy::Fail,
            guard: GuardBy::None,
            hedges: false,
        });
        let items = [1, 2, 5].map(Item::Record);
        let rest = [Item::Sign(WATERMARK), Item::Record(6)];
        items
            .into_iter()
            .chain(rest)
            .for_each(|item| rules.give(item));
        rules
    }

    impl Rules {
        fn take_all(&mut self, outputs: &[u64]) -> Result<(), Broken> {
            let mut outputs = outputs.iter().map(|output| Left::Output(*output));
            outputs.try_for_each(|output| self.take(output))
        }

        fn take_refusal(&mut self, record: u64) -> Result<(), Broken> {
            self.take(Left::Failed(record, Reason::Refused))
        }

        /// A barrier behind record 6 takes these along, what is in front of the watermark, and the rest.
        fn keep(&mut self, records: &[Kept]) -> Result<(), Broken> {
            let rest = [Kept::Sign(WATERMARK), Kept::Input(6)];
            self.pass_barrier(&[records, &rest].concat(), 5)
        }
    }

    fn is_caught(mode: Mode, words: &str, breaks: fn(&mut Rules) -> Result<(), Broken>) {
        let broken = breaks(&mut rules(mode)).expect_err(words);
        assert!(broken.contains(words), "{words}: {broken}");
    }

    #[test]
    fn what_keeps_all_rules_is_well() {
        let mut rules = rules(Mode::Ordered);
        let kept = [Kept::Output(1_000), Kept::Input(2), Kept::Input(5)];
        rules.keep(&kept).unwrap();
        rules.take_all(&[1_000]).unwrap();
        rules.skip(vec![2]).unwrap();
        rules.take_all(&[5_007]).unwrap();
        rules.take(Left::Sign(WATERMARK)).unwrap();
        rules.look_at_live_calls(&[(0, 6)]).unwrap();
        rules.take_all(&[6_000]).unwrap();
        rules.end().unwrap();
    }

    #[test]
    fn an_output_that_breaks_a_rule_is_caught() {
        let ordered = Mode::Ordered;
        is_caught(ordered, "never came", |rules| rules.take_all(&[9_000]));
        is_caught(ordered, "was Left", |rules| rules.take_all(&[1_000, 1_000]));
        is_caught(ordered, "was Known(1000)", |rules| {
            rules.keep(&[Kept::Output(1_000), Kept::Input(2), Kept::Input(5)])?;
            rules.take_all(&[1_001])
        });
        is_caught(ordered, "behind the end", |rules| {
            rules.take_refusal(1)?;
            rules.take_all(&[2_000])
        });
        is_caught(ordered, "overtook Record(1)", |rules| {
            rules.take_all(&[2_000])
        });
        is_caught(Mode::KeyOrdered(9), "overtook Record(2)", |rules| {
            rules.take_all(&[5_000])
        });
        is_caught(Mode::Unordered, "overtook Sign", |rules| {
            rules.take_all(&[5_000, 2_000, 1_000, 6_000])
        });
        is_caught(Mode::Unordered, "was lost", |rules| {
            rules.take_all(&[5_000, 2_000])?;
            rules.end()
        });
    }

    #[test]
    fn a_mark_that_breaks_a_rule_is_caught() {
        is_caught(Mode::Unordered, "overtook Record(1)", |rules| {
            rules.take(Left::Sign(WATERMARK))
        });
        is_caught(Mode::Unordered, "left before", |rules| {
            rules.take(Left::Sign(Sign::Idle))
        });
        is_caught(Mode::Unordered, "none was there", |rules| {
            rules.take_all(&[1_000, 2_000, 5_000])?;
            rules.take(Left::Sign(WATERMARK))?;
            rules.take(Left::Sign(WATERMARK))
        });
    }

    #[test]
    fn a_failure_that_breaks_a_rule_is_caught() {
        let ordered = Mode::Ordered;
        is_caught(ordered, "never came", |rules| rules.take_refusal(9));
        is_caught(ordered, "was Left", |rules| {
            rules.take_all(&[1_000])?;
            rules.take_refusal(1)
        });
        is_caught(ordered, "overtook", |rules| rules.take_refusal(2));
        is_caught(ordered, "timed out", |rules| {
            rules.take(Left::Failed(1, Reason::TimedOut))
        });
        is_caught(ordered, "never came", |rules| rules.skip(vec![9]));
        is_caught(ordered, "was Skipped", |rules| rules.skip(vec![1, 1]));
    }

    #[test]
    fn a_barrier_that_breaks_a_rule_is_caught() {
        let ordered = Mode::Ordered;
        is_caught(ordered, "the barrier took", |rules| {
            rules.keep(&[Kept::Input(1), Kept::Input(2)])
        });
        is_caught(ordered, "the barrier took", |rules| {
            rules.keep(&[1, 1, 2, 5].map(Kept::Input))
        });
        is_caught(ordered, "out of order", |rules| {
            rules.keep(&[2, 1, 5].map(Kept::Input))
        });
        is_caught(Mode::KeyOrdered(9), "out of order", |rules| {
            rules.keep(&[5, 1, 2].map(Kept::Input))
        });
        is_caught(ordered, "was known", |rules| {
            rules.keep(&[Kept::Output(1_000), Kept::Input(2), Kept::Input(5)])?;
            rules.keep(&[1, 2, 5].map(Kept::Input))
        });
    }

    #[test]
    fn a_call_that_breaks_a_rule_is_caught() {
        is_caught(Mode::Unordered, "4 calls run", |rules| {
            rules.look_at_live_calls(&[(0, 1), (1, 2), (2, 5), (3, 6)])
        });
        is_caught(Mode::Unordered, "runs beside", |rules| {
            rules.look_at_live_calls(&[(0, 1), (1, 1)])
        });
        is_caught(Mode::KeyOrdered(9), "runs beside", |rules| {
            rules.look_at_live_calls(&[(0, 2), (1, 5)])
        });
        is_caught(Mode::Unordered, "9 is called", |rules| {
            rules.look_at_live_calls(&[(0, 9)])
        });
    }
}
