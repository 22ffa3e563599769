//! The stage against an oracle: thousands of random schedules must give what its model gives.

mod kit;

use kit::oracle::{
    BOUND, FIRST_DELAY, LONGEST_DELAY, Limit, Mode, Oracle, Policy, Reason, SHARE, Setting,
    TIMEOUT, is_unwelcome, key,
};
use kit::{Answer, Bench, Refused, ms};
use peu_operators::{
    AsyncOptions, Cause, FailOnTimeout, Failure, Fallback, FixedLimit, Guard, KeyBy, NoRetry,
    OnError, Policies, Recovery, Retry, RetryBudget, RetryPolicy,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::future::pending;

/// One step of a schedule; the stage runs after each.
#[derive(Clone, Debug)]
enum Step {
    /// A record comes; with an answer, its request is ready at its first poll.
    Push(Option<Answer>),
    /// Requests get answers, if in back-off those of their next attempts, and then the clock moves, before the stage can
    /// look.
    Progress(Vec<(Index, Answer)>, u64),
    /// The consumer takes some outputs. Between these steps it stalls.
    Take(usize),
    End,
    /// The consumer is dropped.
    Cancel,
}

fn settings() -> impl Strategy<Value = Setting> {
    let timeout = prop::option::weighted(
        0.7,
        prop::sample::select(vec![Limit::Fail, Limit::Skip, Limit::Output, Limit::Later]),
    );
    let on_error = prop::sample::select(vec![
        Policy::Fail,
        Policy::Skip,
        Policy::DeadLetter,
        Policy::Output,
    ]);
    let retries = prop::option::of(0_u32..4);
    let plain = (prop::bool::ANY, timeout, retries).prop_map(|(ordered, timeout, retries)| {
        let mode = match ordered {
            true => Mode::Ordered,
            false => Mode::Unordered,
        };
        (mode, timeout, retries)
    });
    // What leaves a line and what is due by the clock take turns. A schedule with both would have more than one answer.
    let keyed = (1_usize..4).prop_map(|waiting| (Mode::KeyOrdered(waiting), None, None));
    let mode = prop_oneof![2 => plain, 1 => keyed];
    let budget = prop::option::weighted(0.3, 1_u32..4);
    let limit = prop::option::weighted(0.3, 1_usize..4);
    let without_place = prop_oneof![2 => Just(0), 1 => 1_usize..4];
    (mode, 1_usize..6, on_error, budget, limit, without_place).prop_map(
        |((mode, timeout, retries), capacity, on_error, budget, limit, without_place)| Setting {
            mode,
            capacity,
            timeout,
            retries,
            without_place,
            budget,
            on_error,
            limit,
        },
    )
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        12 => (0_u64..1_000).prop_map(Answer::Output),
        2 => Just(Answer::Refused),
        1 => Just(Answer::Panic),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let at_first_poll = prop_oneof![
        8 => Just(None),
        4 => answers().prop_map(Some),
        1 => Just(Some(Answer::PanicInCall)),
    ];
    let completions = vec((any::<Index>(), answers()), 0..4);
    prop_oneof![
        30 => at_first_poll.prop_map(Step::Push),
        30 => (completions, prop_oneof![Just(0), 1..2 * TIMEOUT])
            .prop_map(|(completions, by)| Step::Progress(completions, by)),
        20 => (1_usize..4).prop_map(Step::Take),
        1 => Just(Step::End),
        1 => Just(Step::Cancel),
    ]
}

type Guarded<P, K, G> = AsyncOptions<Policies<FailOnTimeout, P, OnError, K, G>>;
type Options<P, K> = AsyncOptions<Policies<FailOnTimeout, P, OnError, K>>;

/// The stage and the oracle, side by side.
struct Pair {
    bench: Option<Bench>,
    oracle: Oracle,
    pushed: u64,
    ended: bool,
}

impl Pair {
    fn new(setting: Setting) -> Self {
        match setting.mode {
            Mode::Ordered => Self::with_order(setting, AsyncOptions::ordered()),
            Mode::Unordered => Self::with_order(setting, AsyncOptions::unordered()),
            Mode::KeyOrdered(waiting) => {
                let options = AsyncOptions::key_ordered(|record: &u64| key(*record));
                Self::with_order(setting, options.waiting(waiting))
            }
        }
    }

    fn with_order<K: KeyBy<u64>>(setting: Setting, options: Options<NoRetry, K>) -> Self {
        let Some(retries) = setting.retries else {
            return Self::with_policy(setting, options);
        };
        let retry = Retry::exponential(ms(FIRST_DELAY)..ms(LONGEST_DELAY))
            .max_retries(retries)
            .without_place(setting.without_place)
            .when_result(|output: &u64| is_unwelcome(*output));
        match setting.budget {
            None => Self::with_policy(setting, options.retry(retry)),
            Some(reserve) => {
                let budget = RetryBudget::share(SHARE).reserve(reserve);
                Self::with_policy(setting, options.retry(retry.budget(budget)))
            }
        }
    }

    fn with_policy<P, K>(setting: Setting, options: Options<P, K>) -> Self
    where
        P: RetryPolicy<u64, Refused>,
        K: KeyBy<u64>,
    {
        match setting.limit {
            None => Self::with_guard(setting, options),
            Some(limit) => Self::with_guard(setting, options.guard(FixedLimit::new(limit))),
        }
    }

    fn with_guard<P, K, G>(setting: Setting, options: Guarded<P, K, G>) -> Self
    where
        P: RetryPolicy<u64, Refused>,
        K: KeyBy<u64>,
        G: Guard<u64, Refused>,
    {
        let policy = setting.on_error;
        let options = options
            .capacity(setting.capacity)
            .on_error(move |failure| recovery(policy, failure));
        let limit = ms(TIMEOUT);
        let bench = match setting.timeout {
            None => Bench::new(options),
            Some(Limit::Fail) => Bench::new(options.timeout(limit)),
            Some(Limit::Skip) => Bench::new(options.timeout_with(limit, |_: &u64| Fallback::Skip)),
            Some(Limit::Output) => Bench::new(
                options.timeout_with(limit, |record: &u64| Fallback::Output(record + 7_000)),
            ),
            Some(Limit::Later) => Bench::new(options.timeout_then(limit, ms(BOUND), fallback)),
        };
        Self {
            bench: Some(bench),
            oracle: Oracle::new(setting),
            pushed: 0,
            ended: false,
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let Some(bench) = &mut self.bench else {
            return Ok(());
        };
        match step {
            Step::Push(answer) if !self.ended => {
                self.pushed += 1;
                let record = self.pushed;
                if let Some(answer) = answer {
                    bench.calls.answer(record, *answer);
                }
                bench.push([record]);
                if !self.oracle.over {
                    self.oracle.push(record, *answer);
                }
            }
            Step::Push(_) => {}
            Step::Progress(completions, by) => {
                let unfinished = self.oracle.unfinished();
                let mut chosen: Vec<(u64, Answer)> = Vec::new();
                for (index, answer) in completions.iter().filter(|_| !unfinished.is_empty()) {
                    let record = *index.get(&unfinished);
                    if chosen.iter().all(|(other, _)| *other != record) {
                        chosen.push((record, *answer));
                        bench.calls.answer(record, *answer);
                    }
                }
                bench.advance(*by);
                self.oracle.progress(&chosen, *by);
            }
            Step::Take(outputs) => {
                for _ in 0..*outputs {
                    take(bench, &mut self.oracle)?;
                }
            }
            Step::End => {
                self.ended = true;
                bench.end();
                self.oracle.end();
            }
            Step::Cancel => return self.cancel(),
        }
        self.compare()
    }

    fn cancel(&mut self) -> Result<(), TestCaseError> {
        let Some(bench) = self.bench.take() else {
            return Ok(());
        };
        drop(bench.out);
        bench.world.run();
        prop_assert_eq!(bench.calls.live(), [0_u64; 0]);
        prop_assert_eq!(bench.world.tasks(), 0);
        prop_assert!(bench.feed.is_dropped());
        Ok(())
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let (Some(bench), oracle) = (&self.bench, &self.oracle) else {
            return Ok(());
        };
        prop_assert_eq!(bench.calls.made(), &oracle.made[..]);
        prop_assert_eq!(sorted(bench.calls.live()), sorted(oracle.live()));
        prop_assert_eq!(bench.world.tasks() == 0, oracle.over);
        let (live, unfinished) = (oracle.live().len(), oracle.unfinished().len());
        let timers = match oracle.setting.timeout {
            Some(_) => unfinished > 0,
            None => unfinished > live,
        };
        // A stage that waits for a call to end sleeps for no back-off.
        let limit = oracle.setting.limit.unwrap_or(usize::MAX);
        let is_shut = live >= limit.min(oracle.setting.capacity);
        let sleeps = bench.world.sleeps();
        prop_assert!(sleeps == usize::from(timers) || (is_shut && sleeps == 0));
        let metrics = bench.out.stream().metrics();
        prop_assert_eq!(metrics.accepted, oracle.accepted);
        prop_assert_eq!(metrics.attempts, oracle.made.len() as u64);
        prop_assert_eq!(metrics.retries, metrics.attempts - metrics.accepted);
        prop_assert_eq!(metrics.completed, oracle.completed);
        prop_assert_eq!(metrics.failed, oracle.failed);
        prop_assert_eq!(metrics.skipped, oracle.skipped);
        prop_assert_eq!(metrics.timed_out, oracle.timed_out);
        prop_assert_eq!(metrics.dead_letters, oracle.dead_letters);
        prop_assert_eq!(metrics.over_budget, oracle.over_budget);
        prop_assert_eq!(metrics.in_flight, unfinished);
        prop_assert_eq!(metrics.waiting, oracle.waiting.len());
        let outputs = oracle
            .emitted
            .iter()
            .filter(|output| output.is_ok())
            .count();
        let queued = outputs + oracle.entries.len() - unfinished;
        prop_assert_eq!(metrics.queued, queued);
        Ok(())
    }

    /// Whatever the schedule, the stage comes to its end once its requests have answers and its outputs are taken.
    fn run_down(&mut self) -> Result<(), TestCaseError> {
        self.step(&Step::End)?;
        // A record has at most five attempts with answers, and a round answers all that are under way.
        for _ in 0..=5 * self.pushed {
            let live = self.oracle.live().into_iter();
            let answers: Vec<_> = live
                .map(|record| (record, Answer::Output(3 * record + 1)))
                .collect();
            if let Some(bench) = &self.bench {
                for (record, answer) in &answers {
                    bench.calls.answer(*record, *answer);
                }
                bench.advance(LONGEST_DELAY);
            }
            self.oracle.progress(&answers, LONGEST_DELAY);
            self.compare()?;
            self.step(&Step::Take(self.oracle.setting.capacity + 1))?;
        }
        if let Some(bench) = &mut self.bench {
            bench.assert_over();
        }
        Ok(())
    }
}

fn recovery(policy: Policy, failure: Failure<u64>) -> Recovery<u64, u64> {
    match policy {
        Policy::Fail => Recovery::Fail(failure),
        Policy::Skip => Recovery::Skip,
        Policy::DeadLetter => Recovery::DeadLetter,
        Policy::Output => Recovery::Output(failure.record + 5_000),
    }
}

async fn fallback(record: u64) -> Fallback<u64> {
    match record.is_multiple_of(2) {
        true => Fallback::Output(record + 7_000),
        false => pending().await,
    }
}

fn sorted(mut records: Vec<u64>) -> Vec<u64> {
    records.sort_unstable();
    records
}

fn take(bench: &mut Bench, oracle: &mut Oracle) -> Result<(), TestCaseError> {
    let output = bench.out.next_now();
    bench.world.run();
    let output = output.map(|output| {
        output.map_err(|error| {
            let reason = match error.cause() {
                Cause::Failed(_) => Reason::Refused,
                Cause::Panicked(_) => Reason::Panicked,
                Cause::TimedOut(_) => Reason::TimedOut,
                Cause::FallbackTimedOut(_) => Reason::FallbackTimedOut,
                other => panic!("an error that no one scripted: {other}"),
            };
            let record = error.record_debug().expect("a record is to blame");
            (record.parse().expect("records are numbers"), reason)
        })
    });
    prop_assert_eq!(output, oracle.take());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_schedule_gives_what_the_oracle_gives(
        setting in settings(),
        schedule in vec(steps(), 1..60),
    ) {
        let mut pair = Pair::new(setting);
        for step in &schedule {
            pair.step(step)?;
        }
        pair.run_down()?;
    }
}
