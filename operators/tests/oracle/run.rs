//! A schedule, step by step: the stage, the rules, and the model beside it if there is one answer.

use super::model::{Counts, Model};
use super::rules::{Broken, Rules};
use super::service::Answer;
use super::setting::{LONGEST_DELAY, Setting};
use super::stage::{Snapshot, Subject};
use super::{First, Item, Sign, Step};
use crate::metrics::{Circuit, Metrics};
use std::fmt::{Debug, Write as _};
use std::mem;

pub(super) struct Run {
    setting: Setting,
    subject: Subject,
    rules: Rules,
    /// The rules as they were when the last barrier passed, and what it took along.
    kept: (Rules, Snapshot),
    model: Option<Model>,
    records: u64,
    watermarks: u64,
    has_ended: bool,
    has_left: bool,
    /// What happened so far, for people.
    story: String,
}

impl Run {
    pub(super) fn new(setting: Setting) -> Self {
        let rules = Rules::new(&setting);
        let mut run = Self {
            subject: Subject::new(&setting, &Snapshot::default()),
            kept: (rules.clone(), Snapshot::default()),
            rules,
            model: None,
            records: 0,
            watermarks: 0,
            has_ended: false,
            has_left: false,
            story: String::new(),
            setting,
        };
        run.model = run.fresh_model();
        run
    }

    fn fresh_model(&self) -> Option<Model> {
        let is_exact = self.setting.has_one_answer();
        is_exact.then(|| Model::new(&self.setting, &self.kept.1.kept))
    }

    pub(super) fn step(&mut self, step: &Step) -> Result<(), Broken> {
        if self.has_left {
            return Ok(());
        }
        match step {
            Step::Push(at_once) if !self.has_ended => self.push(at_once),
            Step::Mark(sign) if !self.has_ended && self.setting.marks => self.mark(*sign),
            Step::Progress(completions, by, first) => {
                let live = self.subject.service.live();
                let mut chosen: Vec<(usize, Answer)> = Vec::new();
                for (index, answer) in completions.iter().filter(|_| !live.is_empty()) {
                    let (call, _) = *index.get(&live);
                    if chosen.iter().all(|(other, _)| *other != call) {
                        chosen.push((call, *answer));
                    }
                }
                self.progress(&chosen, *by, *first);
            }
            Step::Take(most) => (0..*most).try_for_each(|_| self.take().map(drop))?,
            Step::Barrier if self.setting.marks => self.barrier()?,
            Step::Crash(capacity) if self.setting.marks => self.crash(*capacity),
            Step::End if !self.has_ended => self.end(),
            Step::Leave => return self.leave(),
            _ => return Ok(()),
        }
        self.look()
    }

    fn note(&mut self, what: impl Debug) {
        let _ = writeln!(self.story, "  {what:?}");
    }

    fn push(&mut self, at_once: &[Option<Answer>]) {
        self.records += 1;
        let record = self.records;
        self.note(format_args!("record {record}, at once {at_once:?}"));
        self.subject.service.script(record, at_once);
        if let Some(model) = &mut self.model {
            model.script(record, at_once);
        }
        self.give(Item::Record(record));
    }

    fn mark(&mut self, sign: Sign) {
        let sign = match sign {
            Sign::Watermark(_) => {
                self.watermarks += 1;
                Sign::Watermark(self.watermarks)
            }
            sign => sign,
        };
        self.note(sign);
        self.give(Item::Sign(sign));
    }

    fn give(&mut self, item: Item) {
        self.rules.give(item);
        self.subject.give(item);
        if let Some(model) = &mut self.model {
            model.give(item);
        }
    }

    fn progress(&mut self, answers: &[(usize, Answer)], by: u64, first: First) {
        self.note(format_args!(
            "answers {answers:?}, {by} ms pass, first {first:?}"
        ));
        let answer = |subject: &Subject| {
            for (call, answer) in answers {
                subject.service.answer(*call, *answer);
            }
        };
        if first == First::Answers {
            answer(&self.subject);
        }
        self.rules.pass_time(by);
        self.subject.pass_time(by);
        if first == First::Clock {
            answer(&self.subject);
        }
        self.subject.world.run();
        if let Some(model) = &mut self.model {
            model.progress(answers, by, first);
        }
    }

    /// Where the stage may go either way, the rest, up to the next restart, is left to the rules.
    fn ask_the_model_no_more_than_it_knows(&mut self) {
        self.model.take_if(|model| model.is_at_a_loss);
    }

    /// True: there was something to take.
    fn take(&mut self) -> Result<bool, Broken> {
        self.rules.skip(self.subject.skipped())?;
        self.ask_the_model_no_more_than_it_knows();
        let left = self.subject.take();
        self.note(format_args!("taken: {left:?}"));
        if let Some(model) = &mut self.model {
            same("taken", left, model.take())?;
        }
        left.map(|left| self.rules.take(left)).transpose()?;
        Ok(left.is_some())
    }

    fn barrier(&mut self) -> Result<(), Broken> {
        if self.subject.world.tasks() == 0 {
            return Ok(());
        }
        let snapshot = self.subject.pass_barrier();
        self.note(format_args!(
            "barrier: {:?}",
            snapshot.as_ref().map(|snapshot| &snapshot.kept)
        ));
        if let Some(model) = &self.model {
            same("a barrier passed", snapshot.is_some(), !model.fails)?;
        }
        let Some(snapshot) = snapshot else {
            return Ok(());
        };
        self.rules
            .pass_barrier(&snapshot.kept, self.subject.taken())?;
        self.kept = (self.rules.clone(), snapshot);
        Ok(())
    }

    fn crash(&mut self, capacity: usize) {
        let capacity = capacity + usize::from(self.setting.hedges);
        self.note(format_args!("the process dies; capacity {capacity}"));
        self.subject.world.close();
        self.setting.capacity = capacity;
        let (rules, kept) = &self.kept;
        let came_since = self.rules.not_known_to(rules);
        self.rules = rules.clone();
        self.rules.restart(capacity);
        self.subject = Subject::new(&self.setting, kept);
        self.model = self.fresh_model();
        let again: Vec<Item> = self.rules.not_taken().collect();
        for item in again {
            self.subject.give(item);
            if let Some(model) = &mut self.model {
                model.give(item);
            }
        }
        came_since.into_iter().for_each(|item| self.give(item));
        if mem::take(&mut self.has_ended) {
            self.end();
        }
    }

    fn end(&mut self) {
        self.note("the input ends");
        self.has_ended = true;
        self.subject.end();
        if let Some(model) = &mut self.model {
            model.end();
        }
    }

    fn leave(&mut self) -> Result<(), Broken> {
        self.note("the consumer leaves");
        self.has_left = true;
        self.subject.leave();
        self.nothing_is_left()
    }

    fn nothing_is_left(&self) -> Result<(), Broken> {
        same("live calls", self.subject.service.live(), vec![])?;
        same("tasks", self.subject.world.tasks(), 0)?;
        same("sleeps", self.subject.world.sleeps(), 0)?;
        same("input dropped", self.subject.has_left_its_input(), true)
    }

    fn look(&mut self) -> Result<(), Broken> {
        self.rules.look(&self.subject)?;
        self.ask_the_model_no_more_than_it_knows();
        let Some(model) = &mut self.model else {
            return Ok(());
        };
        same("calls made", &self.subject.service.made(), &model.made)?;
        same("live calls", self.subject.service.live(), model.live())?;
        same("over", self.subject.world.tasks() == 0, model.over)?;
        let metrics = self.subject.metrics();
        same("counts", counts(&metrics), model.counts())?;
        same("attempts", metrics.attempts, model.made.len() as u64)?;
        // A record in back-off may take its place back while the next one is being taken from the input.
        if !model.over && !model.fails && self.setting.without_place == 0 {
            same("taken from the input", self.subject.taken(), model.taken)?;
        }
        let needless = self.subject.world.sleeps() > 0 && !model.has_a_timer();
        same("a sleep for nothing", needless, false)
    }

    /// Whatever the schedule, the stage comes to its end once its calls have answers and its outputs are taken.
    pub(super) fn run_down(&mut self) -> Result<(), Broken> {
        self.step(&Step::End)?;
        // Each round answers all calls that run. Of a record there are at most five attempts, and one of two guards lets only a
        // few be made in a round, or none in the first few.
        let rounds = 20 * (self.records + 1);
        for _ in 0..rounds {
            if self.has_left || self.rules.has_ended() || self.subject.world.tasks() == 0 {
                break;
            }
            let live = self.subject.service.live().into_iter();
            let answers: Vec<_> = live.map(|(call, _)| (call, Answer::Output(1))).collect();
            self.progress(&answers, LONGEST_DELAY, First::Answers);
            self.look()?;
            while self.take()? {
                self.look()?;
            }
        }
        if self.has_left {
            return Ok(());
        }
        while self.take()? {}
        same("over", self.subject.is_over(), true)?;
        self.rules.look(&self.subject)?;
        self.rules.end()?;
        self.nothing_is_left()
    }

    /// What happened, and what was wrong with it.
    pub(super) fn tell(&self, broken: &str) -> String {
        let by = match self.model.is_some() {
            true => "the model and the rules",
            false => "the rules",
        };
        format!("{broken}\nby {by}, after\n{}", self.story)
    }
}

fn counts(metrics: &Metrics) -> Counts {
    Counts {
        accepted: metrics.accepted,
        completed: metrics.completed,
        retries: metrics.retries,
        hedges: metrics.hedges,
        hedges_won: metrics.hedges_won,
        failed: metrics.failed,
        skipped: metrics.skipped,
        timed_out: metrics.timed_out,
        dead_letters: metrics.dead_letters,
        over_budget: metrics.over_budget,
        refused: metrics.refused,
        in_flight: metrics.in_flight,
        waiting: metrics.waiting,
        queued: metrics.queued,
        running: metrics.running,
        limit: metrics.limit,
        is_closed: metrics.circuit == Circuit::Closed,
        circuit_opened: metrics.circuit_opened,
    }
}

fn same<T: PartialEq + Debug>(what: &str, is: T, should_be: T) -> Result<(), Broken> {
    match is == should_be {
        true => Ok(()),
        false => Err(format!("{what}: {is:?}, and should be {should_be:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::guards::{GuardBy, OPEN};
    use super::super::setting::{Limit, Mode, Policy, TIMEOUT};
    use super::{Answer, Broken, First, Run, Setting};

    const UNWELCOME: Answer = Answer::Output(3);

    fn setting(capacity: usize, timeout: Option<Limit>) -> Setting {
        Setting {
            mode: Mode::Ordered,
            marks: false,
            capacity,
            timeout,
            retries: Some(1),
            without_place: 3,
            budget: None,
            on_error: Policy::Output,
            guard: GuardBy::None,
            hedges: false,
        }
    }

    /// Takes a step in which the stage may go either way.
    fn forks(mut run: Run, step: impl FnOnce(&mut Run)) -> Result<(), Broken> {
        run.look()?;
        assert!(run.model.is_some());
        step(&mut run);
        run.look()?;
        assert!(run.model.is_none());
        run.run_down()
    }

    /// Two retries wait for the place that the last record has. Then that gives it up: the stage may see first that no more comes.
    #[test]
    fn a_place_may_show_the_end_before_it_goes_to_a_retry() -> Result<(), Broken> {
        let mut run = Run::new(setting(1, None));
        run.push(&[Some(UNWELCOME)]);
        run.push(&[]);
        run.push(&[]);
        run.end();
        run.progress(&[(1, Answer::Refused)], 0, First::Answers);
        run.progress(&[], 2, First::Answers);
        forks(run, |run| {
            run.progress(&[(2, UNWELCOME)], 0, First::Answers)
        })
    }

    /// A record gives its place up as its time ends: the stage may see first that no more comes.
    #[test]
    fn a_place_may_show_the_end_before_it_goes_back_to_what_timed_out() -> Result<(), Broken> {
        let mut run = Run::new(setting(2, Some(Limit::Fail)));
        run.push(&[]);
        run.push(&[]);
        run.end();
        forks(run, |run| {
            run.progress(&[(1, UNWELCOME)], TIMEOUT, First::Answers);
        })
    }

    /// A record gives its place up as the time of all ends: the stage may take another in first, whose failure ends them.
    #[test]
    fn a_place_may_go_to_a_record_before_the_others_time_out() -> Result<(), Broken> {
        let mut run = Run::new(Setting {
            on_error: Policy::Fail,
            ..setting(2, Some(Limit::Skip))
        });
        run.push(&[]);
        run.push(&[]);
        run.push(&[Some(Answer::PanicInCall)]);
        forks(run, |run| {
            run.progress(&[(0, UNWELCOME)], TIMEOUT, First::Answers);
        })
    }

    /// A breaker that lets two calls probe. One of them is dropped because an earlier record fails, so another may take its turn.
    #[test]
    fn a_probe_that_is_dropped_leaves_its_turn_to_another() -> Result<(), Broken> {
        let mut run = Run::new(Setting {
            without_place: 0,
            on_error: Policy::Fail,
            guard: GuardBy::Breaker { waits: false },
            ..setting(4, None)
        });
        (0..4).for_each(|_| run.push(&[]));
        run.progress(&[(3, UNWELCOME)], 0, First::Answers);
        // Two of three: it opens.
        let refused = [(0, Answer::Refused), (1, Answer::Refused)];
        run.progress(&refused, 1, First::Answers);
        run.look()?;
        run.progress(&[(2, Answer::Panic)], OPEN, First::Clock);
        run.look()?;
        assert_eq!(run.subject.service.made(), [1, 2, 3, 4, 4, 1, 2]);
        run.run_down()
    }
}
