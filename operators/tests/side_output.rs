//! Side outputs: late records reach a sink of their own, at once, exactly once, and without more memory than they may take.

mod kit;

use futures_lite::future::block_on;
use kit::gate::{Gate, Write};
use kit::jobs::{Disk, DiskSink, Log, start};
use kit::lives::{Life, Step, steps};
use kit::{Refused, World, ms};
use peu_operators::pipeline::{
    Host, Job, JsonLines, Keyed, Operator, Pipeline, PipelineError, Side, SideOutput, Sink,
    Watermarks, Windows, iterate, side_output,
};
use peu_operators::{AsyncOptions, EventTime};
use proptest::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs;
use std::future::pending;
use std::path::PathBuf;

/// A record is a time in milliseconds, and a number of its own.
type Record = (i64, u64);

/// What outlives a crash. A result is the records of a window.
struct Lasting {
    log: Log<Record>,
    disk: Disk<Vec<Record>>,
    late: Disk<Record>,
    gate: Gate,
    folder: tempfile::TempDir,
}

fn timed(log: &Log<Record>) -> Pipeline<impl Operator<Item = Record>> {
    Pipeline::source(log.reader()).event_time(
        |(time, _)| EventTime::from_millis(*time),
        Watermarks::ascending().every(ms(1)),
    )
}

fn keyed(log: &Log<Record>) -> Keyed<impl Operator<Item = Record>, fn(&Record) -> u64> {
    timed(log).key_by(|(_, number)| number % 2)
}

impl Lasting {
    fn new() -> Self {
        Self {
            log: Log::new(),
            disk: Disk::new(),
            late: Disk::new(),
            gate: Gate::open(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// In a stage's task, one lane or several, windows of 10 ms.
    fn live(&self, lanes: usize) -> Life {
        let (late, late_records) = side_output();
        let windows = |keyed: Keyed<_, _>, late: SideOutput<Record>| {
            keyed.aggregate(Windows::tumbling(ms(10)), Vec::push, late)
        };
        let job = timed(&self.log)
            .key_by(|(_, number)| *number)
            .parallelism(lanes, |lane| {
                windows(lane.key_by(|(_, number)| number % 2), late.clone())
            })
            .async_map(
                "stage",
                |window| async { Ok::<_, Refused>(window.value) },
                AsyncOptions::unordered(),
            )
            .sink(self.disk.sink())
            .side_sink(late_records, self.gate.sink(&self.late))
            .checkpoint(Life::checkpoints(), self.folder.path());
        Life::begin(job)
    }

    fn add(&self, life: &Life, record: Record) {
        self.log.add(record);
        life.world.run();
    }

    /// Lets a watermark pass at this time, in every lane, so that what comes earlier is late.
    fn pass(&self, life: &Life, time: i64) {
        self.add(life, (time, 1_000_000));
        life.tick();
    }

    /// Damages the newest checkpoint, if there is another.
    fn damage_newest(&self) -> Option<PathBuf> {
        let files = fs::read_dir(self.folder.path()).unwrap();
        let mut checkpoints: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        checkpoints.sort();
        let newest = checkpoints.pop().filter(|_| !checkpoints.is_empty())?;
        let whole = fs::read(&newest).unwrap();
        fs::write(&newest, &whole[..whole.len() / 2]).unwrap();
        Some(newest)
    }

    /// All that is visible, in windows or late, in order.
    fn visible(&self) -> Vec<Record> {
        let mut all: Vec<Record> = self.disk.visible().into_iter().flatten().collect();
        all.extend(self.late.visible());
        all.sort_unstable();
        all
    }
}

#[test]
fn late_records_are_written_though_nothing_else_comes_and_visible_with_the_checkpoint() {
    let lasting = Lasting::new();
    let life = lasting.live(1);
    lasting.pass(&life, 100);
    lasting.add(&life, (3, 1));
    lasting.add(&life, (4, 2));
    assert_eq!(lasting.late.written(), [(3, 1), (4, 2)]);
    assert_eq!(lasting.disk.written().len(), 0);
    assert_eq!(lasting.late.visible(), []);
    life.checkpoint();
    assert_eq!(lasting.late.visible(), [(3, 1), (4, 2)]);
    lasting.log.end();
    life.end();
    assert_eq!(lasting.visible(), [(3, 1), (4, 2), (100, 1_000_000)]);
}

#[test]
fn c01_late_records_that_the_side_sink_has_no_room_for_are_part_of_the_checkpoint() {
    let lasting = Lasting::new();
    let life = lasting.live(1);
    lasting.pass(&life, 1_000);
    lasting.gate.set(false);
    (0..100).for_each(|number| lasting.add(&life, (number, 1)));
    life.checkpoint();
    assert_eq!(lasting.late.commits(), 1, "made without waiting for room");
    life.crash();
    let life = lasting.live(1);
    life.checkpoint();
    assert_eq!(lasting.late.written(), []);
    lasting.gate.set(true);
    life.world.run();
    assert_eq!(lasting.late.written().len(), 100);
    lasting.log.end();
    life.end();
    let records: Vec<Record> = (0..100).map(|number| (number, 1)).collect();
    assert_eq!(lasting.late.visible(), records);
}

/// However many checkpoints are made, and each takes along what the side sink has no room for.
fn side_sink_without_room(lanes: usize) {
    let lasting = Lasting::new();
    let life = lasting.live(lanes);
    lasting.pass(&life, 10_000);
    lasting.gate.set(false);
    (0..5_000).for_each(|number| lasting.log.add((number, number as u64)));
    life.world.run();
    (0..100).for_each(|_| life.checkpoint());
    assert_eq!(lasting.late.commits(), 100);
    let (position, most) = (lasting.log.position(), 300 + 70 * lanes);
    assert!(position < most, "{position} were read");
    lasting.gate.set(true);
    lasting.log.end();
    life.end();
    assert_eq!(lasting.late.visible().len(), 5_000);
}

#[test]
fn s01_a_side_sink_without_room_holds_the_pipeline_up_and_no_checkpoint() {
    side_sink_without_room(1);
    side_sink_without_room(3);
}

#[test]
fn s01_what_a_checkpoint_had_for_a_side_sink_without_room_leaves_none_either_when_it_is_restored() {
    let lasting = Lasting::new();
    lasting.gate.set(false);
    let live = || {
        let (late, late_records) = side_output();
        let job = keyed(&lasting.log)
            .aggregate(Windows::tumbling(ms(10)), Vec::push, late)
            .map(|window| window.value)
            .sink(lasting.disk.sink())
            .side_sink(late_records, lasting.gate.sink(&lasting.late))
            .checkpoint(Life::checkpoints(), lasting.folder.path());
        Life::begin(job)
    };
    let mut life = live();
    lasting.pass(&life, 10_000);
    (0..5_000).for_each(|number| lasting.log.add((number, 1)));
    for _ in 0..20 {
        life.world.run();
        life.checkpoint();
        life.crash();
        life = live();
    }
    life.world.run();
    assert_eq!(lasting.log.position(), 1 + 256);
    lasting.gate.set(true);
    lasting.log.end();
    life.end();
    assert_eq!(lasting.late.visible().len(), 5_000);
}

#[test]
fn an_interval_join_and_sessions_have_side_outputs_too() {
    let (left, right, disk) = (Log::new(), Log::new(), Disk::new());
    let (late, late_sides) = (Disk::new(), Disk::new());
    let (sides, side_records) = side_output();
    let (sessions, session_records) = side_output();
    let job = keyed(&left)
        .interval_join(keyed(&right), ms(5), ms(5), |left: &Record, _| *left, sides)
        .key_by(|(_, number)| *number)
        .aggregate_sessions(ms(10), |_: &mut (), _| {}, |(), ()| {}, sessions)
        .map(|session| session.start.as_millis())
        .sink(disk.sink())
        .side_sink(side_records, late_sides.sink())
        .side_sink(session_records, late.sink());
    let life = Life::begin(job);
    let tick = || {
        life.world.run();
        life.tick();
    };
    for time in [100, 50] {
        left.add((time, 1));
        right.add((time, 1));
        tick();
    }
    left.end();
    right.end();
    life.end();
    assert_eq!(disk.visible(), [100]);
    let mut sides = late_sides.visible();
    sides.sort_unstable_by_key(|side| matches!(side, Side::Right(_)));
    assert_eq!(sides, [Side::Left((50, 1)), Side::Right((50, 1))]);
    assert_eq!(late.visible(), []);
}

#[test]
fn a_side_sink_that_fails_ends_the_job_and_nothing_is_visible() {
    let lasting = Lasting::new();
    let life = lasting.live(1);
    lasting.pass(&life, 100);
    lasting.late.fail_next_write();
    lasting.add(&life, (3, 1));
    assert_eq!(life.fail(), "the sink failed: no space is left");
    assert!(lasting.disk.aborted() && lasting.late.aborted());
    assert_eq!(lasting.visible(), []);
}

#[test]
fn a_checkpoint_waits_for_a_write_that_has_begun() {
    let lasting = Lasting::new();
    let life = lasting.live(1);
    lasting.pass(&life, 100);
    lasting.gate.set_write(Write::Waits);
    lasting.add(&life, (3, 1));
    lasting.add(&life, (4, 1));
    life.checkpoint();
    assert_eq!(
        (lasting.late.written().len(), lasting.late.commits()),
        (0, 0)
    );
    lasting.gate.set_write(Write::Ends);
    life.world.run();
    assert_eq!(lasting.late.visible(), [(3, 1), (4, 1)]);
    lasting.log.end();
    life.end();
}

#[test]
fn a_side_sink_that_panics_is_told_to_clean_up() {
    let lasting = Lasting::new();
    let life = lasting.live(1);
    lasting.pass(&life, 100);
    lasting.gate.set_write(Write::Panics);
    lasting.add(&life, (3, 1));
    let error = life.fail();
    assert!(error.contains("the write panics"), "{error}");
    assert!(lasting.disk.aborted() && lasting.late.aborted());
}

#[test]
fn a_side_sink_whose_write_hangs_is_told_to_clean_up_when_the_main_one_fails() {
    let lasting = Lasting::new();
    let life = lasting.live(1);
    lasting.pass(&life, 100);
    lasting.gate.set_write(Write::Waits);
    lasting.add(&life, (3, 1));
    lasting.disk.fail_next_write();
    lasting.pass(&life, 200);
    assert_eq!(life.fail(), "the sink failed: no space is left");
    assert!(lasting.disk.aborted() && lasting.late.aborted());
}

/// Nothing of the job has run by then: it would find no one else to clean up.
#[test]
fn where_the_side_sink_does_not_open_the_main_one_cleans_up() {
    let (log, disk) = (Log::<Record>::new(), Disk::new());
    let (late, late_records) = side_output();
    let job = keyed(&log)
        .aggregate(Windows::tumbling(ms(10)), Vec::push, late)
        .map(|window| window.value)
        .sink(disk.sink())
        .side_sink(late_records, JsonLines::create("no/such/folder/late.jsonl"));
    let error = start(&World::new(), job).err().unwrap().to_string();
    assert!(error.contains("no/such/folder/late.jsonl.part"), "{error}");
    assert_eq!((disk.opened(), disk.aborted()), (1, true));
}

/// Writes two numbers, and reads one of them.
#[derive(Clone)]
struct Forgetful(u64);

impl Serialize for Forgetful {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0, self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Forgetful {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self)
    }
}

#[test]
fn c07_records_of_another_form_that_wait_at_the_side_are_refused_and_named() {
    let (log, disk, late_disk, gate) = (Log::new(), Disk::new(), Disk::new(), Gate::open());
    let folder = tempfile::tempdir().unwrap();
    let job = || {
        let (late, late_records) = side_output();
        Pipeline::source(log.reader())
            .event_time(
                |time: &i64| EventTime::from_millis(*time),
                Watermarks::ascending().every(ms(0)),
            )
            .map(|time| Forgetful(time as u64))
            .key_by(|_| 0)
            .aggregate(
                Windows::tumbling(ms(10)),
                |count: &mut u64, _: Forgetful| *count += 1,
                late,
            )
            .map(|window| window.value)
            .sink(disk.sink())
            .side_sink(late_records, gate.sink(&late_disk))
            .checkpoint(Life::checkpoints(), folder.path())
    };
    gate.set(false);
    let life = Life::begin(job());
    for time in [100, 200, 1] {
        log.add(time);
        life.tick();
    }
    life.checkpoint();
    life.crash();
    let error = start(&World::new(), job()).err().unwrap().to_string();
    let told = "cannot go on with the records at its side, of side_output::Forgetful, that a checkpoint holds: 1 of its 3 bytes are left over";
    assert!(error.contains(told), "{error}");
}

/// Its writes fail, and it can't clean up.
struct Stubborn {
    panics: bool,
}

impl<T: Send + 'static> Sink<T> for Stubborn {
    type Prepared = ();
    type Error = &'static str;

    async fn open(&mut self, _: &Host, _: Option<&()>) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn write(&mut self, _: T) -> Result<(), Self::Error> {
        Err("no space is left")
    }

    async fn prepare(&mut self, _: bool) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn commit(&mut self, (): &()) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn abort(&mut self) {
        assert!(!self.panics, "it does not clean up");
        pending().await
    }
}

#[test]
fn a_sink_that_can_not_clean_up_keeps_no_other_from_it() {
    for panics in [false, true] {
        for is_main in [false, true] {
            let (log, disk) = (Log::new(), Disk::new());
            let (late, late_records) = side_output();
            let windows = keyed(&log)
                .aggregate(Windows::tumbling(ms(10)), Vec::push, late)
                .map(|window| window.value);
            let late_disk = Disk::new();
            let stubborn = Stubborn { panics };
            let life = match is_main {
                true => Life::begin(
                    windows
                        .sink(stubborn)
                        .side_sink(late_records, late_disk.sink()),
                ),
                false => Life::begin(windows.sink(disk.sink()).side_sink(late_records, stubborn)),
            };
            for time in [10, 20, 30, 1] {
                log.add((time, 1));
                life.tick();
            }
            assert_eq!(
                (late_disk.aborted(), disk.aborted()),
                (is_main, !is_main),
                "panics: {panics}"
            );
        }
    }
}

#[test]
fn both_sinks_prepare_at_the_same_time() {
    let (log, gate) = (Log::new(), Gate::open());
    let (disk, late_disk) = (Disk::new(), Disk::new());
    let (late, late_records) = side_output();
    let job = keyed(&log)
        .aggregate(Windows::tumbling(ms(10)), Vec::push, late)
        .sink(gate.sink(&disk))
        .side_sink(late_records, gate.sink(&late_disk));
    let life = Life::begin(job);
    gate.change(|state| state.to_prepare = 2);
    log.end();
    life.end();
    assert_eq!((disk.commits(), late_disk.commits()), (1, 1));
}

/// A job without a side sink.
fn windows_of(
    log: &Log<Record>,
    disk: &Disk<u64>,
    late: SideOutput<Record>,
) -> Job<impl Operator<Item = u64>, DiskSink<u64>> {
    keyed(log)
        .aggregate(Windows::tumbling(ms(10)), |_: &mut (), _| {}, late)
        .map(|window| window.key)
        .sink(disk.sink())
}

/// The job does not begin: it would lose its late records, or give them to another job.
fn refused<O: Operator, K: Sink<O::Item>>(job: Job<O, K>) {
    let error = block_on(job.start(&World::new())).err().unwrap();
    assert!(matches!(&error, PipelineError::NoSideSink(name) if name == "windows"));
    assert!(error.to_string().contains("with `side_sink`"), "{error}");
}

#[test]
fn a_side_output_without_a_sink_is_refused_wherever_its_other_end_is() {
    let (log, disk) = (Log::new(), Disk::new());
    let (late, _late_records) = side_output();
    refused(windows_of(&log, &disk, late));
    let (late, _) = side_output();
    refused(windows_of(&log, &disk, late));

    let (late, late_records) = side_output();
    let job = windows_of(&log, &disk, late.clone());
    drop(job.side_sink(late_records, Disk::new().sink()));
    refused(windows_of(&log, &disk, late));
    assert_eq!(disk.opened(), 0, "refused before anything is opened");
}

#[test]
fn a_side_output_of_another_job_is_refused_before_it_begins_while_it_runs_and_when_it_has_ended() {
    let (log, other_log) = (Log::new(), Log::new());
    let (disk, other_disk, late_disk) = (Disk::new(), Disk::new(), Disk::new());
    let (late, late_records) = side_output();
    let other = || windows_of(&other_log, &other_disk, late.clone());
    let job = windows_of(&log, &disk, late.clone()).side_sink(late_records, late_disk.sink());
    refused(other());
    let life = Life::begin(job);
    refused(other());
    refused(other().side_sink(side_output().1, Disk::<Record>::new().sink()));
    for time in [100, 3] {
        log.add((time, 1));
        life.world.run();
        life.tick();
    }
    log.end();
    life.end();
    assert_eq!(late_disk.visible(), [(3, 1)]);
    refused(other());
    assert_eq!(other_disk.opened(), 0);
}

#[test]
fn a_sink_at_the_side_of_a_job_that_gives_it_nothing_is_refused() {
    let disk = Disk::new();
    let (_late, late_records) = side_output::<Record>();
    let job = Pipeline::source(iterate(0..3_u64))
        .sink(disk.sink())
        .side_sink(late_records, Disk::new().sink());
    let error = block_on(job.start(&World::new())).err().unwrap();
    assert!(
        error.to_string().contains("no operator of this pipeline"),
        "{error}"
    );
    assert_eq!(disk.opened(), 0, "refused before anything is opened");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Each record is in one window or late, once, in however many lanes, however often the job crashes, and though some crashes
    /// leave the newest checkpoint damaged. Some records come in such numbers that they leave no room on the shelf.
    #[test]
    fn c04_each_record_is_visible_once_as_late_or_not(
        lanes in 1_usize..4,
        is_gated in any::<bool>(),
        steps in steps((0_i64..150, any::<bool>(), prop_oneof![30 => Just(1_u64), 1 => Just(400)])),
    ) {
        let lasting = Lasting::new();
        let mut life = lasting.live(lanes);
        let mut added = Vec::new();
        for (number, step) in (0_u64..).zip(steps) {
            lasting.gate.set(!is_gated || number % 7 < 4);
            let is_slow = is_gated && number % 5 == 0;
            lasting.gate.set_write(if is_slow { Write::Waits } else { Write::Ends });
            match step {
                Step::Add((time, is_alone, count)) => {
                    let records = (0..count).map(|at| (time, 1_000 * number + at));
                    added.extend(records.clone());
                    records.for_each(|record| lasting.log.add(record));
                    if is_alone {
                        life.world.run();
                        life.tick();
                    }
                }
                Step::Checkpoint => life.checkpoint(),
                Step::Crash => {
                    life.crash();
                    let damaged = (number % 2 == 0).then(|| lasting.damage_newest()).flatten();
                    life = lasting.live(lanes);
                    // Of those that are kept, the next damage shall find one that is whole.
                    damaged.iter().for_each(|file| fs::remove_file(file).unwrap());
                }
            }
        }
        lasting.gate.set(true);
        lasting.gate.set_write(Write::Ends);
        lasting.log.end();
        life.end();
        added.sort_unstable();
        prop_assert_eq!(lasting.visible(), added);
    }
}
