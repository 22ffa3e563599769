//! Dead letters of a stage reach a sink of their own: exactly once, and without more memory than they may take.

mod kit;

use futures_lite::future::block_on;
use futures_lite::{StreamExt as _, stream};
use kit::gate::Gate;
use kit::jobs::{Disk, Log};
use kit::lives::{Life, Step, steps};
use kit::{Refused, World, ms};
use peu_operators::pipeline::{DeadLetter, Pipeline, PipelineError, every, iterate, side_output};
use peu_operators::{AsyncOptions, DeadLetters, Retry, StreamExt as _, Timer};
use proptest::prelude::*;

/// Milliseconds: so most calls are under way when a barrier comes.
const CHECKPOINT: u64 = 7;

/// What outlives a crash.
struct Lasting {
    log: Log<u64>,
    disk: Disk<u64>,
    letters: Disk<DeadLetter<u64>>,
    gate: Gate,
    folder: tempfile::TempDir,
}

impl Lasting {
    fn new() -> Self {
        Self {
            log: Log::new(),
            disk: Disk::new(),
            letters: Disk::new(),
            gate: Gate::open(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn live(&self, lanes: usize) -> Life {
        let (failed, letters) = side_output();
        Life::begin_in(|world| {
            let lane = |lane: Pipeline<_>| {
                let options = AsyncOptions::unordered()
                    .capacity(4)
                    .retry(Retry::fixed(ms(1)).max_retries(1))
                    .on_error(DeadLetters(failed.clone()));
                let world = world.clone();
                lane.async_map("stage", move |record| call(&world, record), options)
            };
            Pipeline::source(self.log.reader())
                .parallelism(lanes, lane)
                .sink(self.disk.sink())
                .side_sink(letters, self.gate.sink(&self.letters))
                .checkpoint(every(ms(CHECKPOINT)).restore(), self.folder.path())
        })
    }

    /// Runs the job to the end of its input, which is over, however long its calls take.
    fn end(life: Life) {
        while life.world.tasks() > 0 {
            life.tick();
        }
        life.end();
    }

    /// All that is visible, as outputs or as letters, in order.
    fn visible(&self) -> Vec<u64> {
        let mut all = self.disk.visible();
        let letters = self.letters.visible().into_iter();
        all.extend(letters.map(|letter| letter.record));
        all.sort_unstable();
        all
    }
}

/// Takes as many milliseconds as the last digit of its record says, and fails if that is odd.
fn call(world: &World, record: u64) -> impl Future<Output = Result<u64, Refused>> + use<> {
    let pause = world.sleep_until(world.now() + ms(record % 10));
    async move {
        if !record.is_multiple_of(10) {
            pause.await;
        }
        match record % 2 {
            0 => Ok(record),
            _ => Err(Refused),
        }
    }
}

/// Lets so many milliseconds pass, one by one.
fn pass(life: &Life, milliseconds: u64) {
    (0..milliseconds).for_each(|_| life.tick());
}

#[test]
fn a_letter_says_what_failed_and_why() {
    let lasting = Lasting::new();
    let life = lasting.live(1);
    (1..=3).for_each(|record| lasting.log.add(record));
    lasting.log.end();
    Lasting::end(life);
    assert_eq!(lasting.disk.visible(), [2]);
    let letters = lasting.letters.visible();
    assert_eq!(letters.len(), 2);
    let DeadLetter {
        stage,
        record,
        attempts,
        cause,
        ..
    } = &letters[1];
    assert_eq!((&**stage, *record, *attempts), ("lane 0: stage", 3, 2));
    assert_eq!(cause, "refused");
}

#[test]
fn c01_a_letter_that_came_behind_the_barrier_is_forgotten_and_written_again() {
    let lasting = Lasting::new();
    let life = lasting.live(1);
    lasting.log.add(9);
    life.world.run();
    pass(&life, 20);
    assert_eq!(lasting.letters.commits(), 2, "at 7 ms and at 14");
    assert_eq!(lasting.letters.written().len(), 1, "at 19 ms");
    assert_eq!(lasting.letters.visible().len(), 0);
    life.crash();
    let life = lasting.live(1);
    assert_eq!(lasting.letters.written().len(), 0);
    lasting.log.end();
    Lasting::end(life);
    assert_eq!(lasting.visible(), [9]);
}

/// The call fails for good while the barrier is on its way from task to task, wherever that is.
#[test]
fn c01_a_letter_that_comes_while_the_barrier_is_on_its_way_is_written_once() {
    for polls in 0..20 {
        let lasting = Lasting::new();
        let life = lasting.live(1);
        lasting.log.add(9);
        life.world.run();
        pass(&life, 2 * CHECKPOINT - 1);
        life.world.advance(ms(1));
        for _ in 0..polls {
            life.world.poll_one();
        }
        life.world.advance(ms(5));
        life.world.run();
        assert_eq!(lasting.letters.commits(), 2);
        life.crash();
        let life = lasting.live(1);
        lasting.log.end();
        Lasting::end(life);
        assert_eq!(lasting.visible(), [9], "after {polls} polls");
    }
}

#[test]
fn s01_a_side_sink_without_room_holds_the_stage_up_and_no_checkpoint() {
    let lasting = Lasting::new();
    let life = lasting.live(1);
    lasting.gate.set(false);
    (0..5_000).for_each(|number| lasting.log.add(10 * number + 1));
    pass(&life, 2_000);
    let position = lasting.log.position();
    // Those that may wait for the sink, those that it was offered, those that the stage works on, and those on their way to it.
    assert!((256..1_000).contains(&position), "{position} were read");
    assert!(lasting.letters.commits() > 100);
    lasting.gate.set(true);
    lasting.log.end();
    Lasting::end(life);
    assert_eq!(lasting.letters.visible().len(), 5_000);
}

#[test]
fn without_a_sink_for_them_a_job_does_not_begin() {
    let (failed, _letters) = side_output();
    let options = AsyncOptions::ordered().on_error(DeadLetters(failed));
    let job = Pipeline::source(iterate(0..3_u64))
        .async_map("stage", |_| async { Err::<u64, _>(Refused) }, options)
        .sink(Disk::new().sink());
    let error = block_on(job.start(&World::new())).err().unwrap();
    assert!(matches!(&error, PipelineError::NoSideSink(name) if name == "stage"));
}

#[test]
fn a_stage_outside_of_a_pipeline_fails_rather_than_lose_a_letter() {
    let (failed, _letters) = side_output();
    let options = AsyncOptions::ordered().on_error(DeadLetters(failed));
    let world = World::new();
    let mut outputs = stream::iter([1_u64]).async_map(
        &world,
        "stage",
        |_| async { Err::<u64, _>(Refused) },
        options,
    );
    world.run();
    let error = block_on(outputs.next()).unwrap().unwrap_err().to_string();
    assert!(
        error.contains("refused; and dead letters go to a side output"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Each record has an output or a letter, once, however often the job crashes and in however many lanes.
    #[test]
    fn c04_each_record_is_visible_once_as_an_output_or_as_a_letter(
        lanes in 1_usize..4,
        is_gated in any::<bool>(),
        steps in steps((0_u64..10, 0_u64..4)),
    ) {
        let lasting = Lasting::new();
        let mut life = lasting.live(lanes);
        let mut added = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            lasting.gate.set(!is_gated || number % 7 < 4);
            match step {
                Step::Add((digit, ticks)) => {
                    let record = 10 * number as u64 + digit;
                    added.push(record);
                    lasting.log.add(record);
                    life.world.run();
                    pass(&life, ticks);
                }
                Step::Checkpoint => pass(&life, CHECKPOINT),
                Step::Crash => {
                    life.crash();
                    life = lasting.live(lanes);
                }
            }
        }
        lasting.gate.set(true);
        lasting.log.end();
        Lasting::end(life);
        prop_assert_eq!(lasting.visible(), added);
    }
}
