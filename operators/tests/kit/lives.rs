use super::jobs::{outcome, start};
use super::{World, ms};
use peu_operators::pipeline::{Checkpoints, Job, Operator, Report, Running, Sink, every};
use proptest::collection::vec;
use proptest::prelude::*;

/// How often a life makes a checkpoint, in milliseconds of its clock: no schedule of records takes as long, so there are those only
/// that a test asks for.
const CHECKPOINT: u64 = 1_000_000;

/// One life of a job: it begins with what lasts, and ends with a crash or with its input.
pub(crate) struct Life {
    pub(crate) world: World,
    running: Running,
}

impl Life {
    pub(crate) fn begin<O, K>(job: Job<O, K>) -> Self
    where
        O: Operator,
        K: Sink<O::Item>,
    {
        Self::begin_in(|_| job)
    }

    /// For a job whose functions need the world.
    pub(crate) fn begin_in<O, K>(job: impl FnOnce(&World) -> Job<O, K>) -> Self
    where
        O: Operator,
        K: Sink<O::Item>,
    {
        let world = World::new();
        let job = job(&world);
        let running = start(&world, job).unwrap();
        Self { world, running }
    }

    /// How a job makes and restores its checkpoints for the methods below.
    pub(crate) fn checkpoints() -> Checkpoints {
        every(ms(CHECKPOINT)).restore()
    }

    /// Lets a watermark pass, if there is news and they come each millisecond.
    pub(crate) fn tick(&self) {
        self.world.advance(ms(1));
        self.world.run();
    }

    pub(crate) fn checkpoint(&self) {
        self.world.advance(ms(CHECKPOINT));
        self.world.run();
    }

    pub(crate) fn crash(self) {
        self.world.close();
    }

    /// Why the job failed, as text.
    pub(crate) fn fail(mut self) -> String {
        let outcome = outcome(&mut self.running).expect("it has ended");
        assert_eq!(self.world.tasks(), 0);
        outcome.unwrap_err().to_string()
    }

    /// Runs to the end of the input, which is over.
    pub(crate) fn end(mut self) -> Report {
        self.world.run();
        outcome(&mut self.running).unwrap().unwrap()
    }
}

/// What may befall a job.
#[derive(Clone, Debug)]
pub(crate) enum Step<R> {
    Add(R),
    Checkpoint,
    Crash,
}

/// Schedules with many records, and some checkpoints and crashes.
pub(crate) fn steps<R: Clone + std::fmt::Debug + 'static>(
    record: impl Strategy<Value = R> + 'static,
) -> impl Strategy<Value = Vec<Step<R>>> {
    let step = prop_oneof![
        16 => record.prop_map(Step::Add),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Crash),
    ];
    vec(step, 1..120)
}
