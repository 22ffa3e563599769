//! Family C: checkpoints. A crash is simulated: every task is dropped at once, and what is left is what a disk would hold.

mod kit;

use kit::jobs::{Disk, Log, LogReader, outcome, start};
use kit::{Answer, Calls, World, ms};
use peu_operators::pipeline::{
    CheckpointError, Host, JsonLines, Pipeline, PipelineError, Running, Source, Watermarks,
    collect, every,
};
use peu_operators::{AsyncOptions, EventTime, StagePolicies};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::any::type_name;
use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

/// What outlives a crash: the input, the sink's disk, the folder of checkpoints. And how often each record was called.
struct Lasting {
    log: Log<u64>,
    disk: Disk<u64>,
    folder: tempfile::TempDir,
}

/// A process: it begins with what lasts, and ends with a crash.
struct Process {
    world: World,
    calls: Calls,
    running: Running,
}

impl Lasting {
    fn new() -> Self {
        Self {
            log: Log::new(),
            disk: Disk::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn with_records(records: impl IntoIterator<Item = u64>) -> Self {
        let lasting = Self::new();
        records
            .into_iter()
            .for_each(|record| lasting.log.add(record));
        lasting
    }

    /// Starts a job with one stage, whose calls are scripted.
    fn process<P: StagePolicies<u64, u64, kit::Refused>>(
        &self,
        options: AsyncOptions<P>,
    ) -> Process {
        self.try_process(options).unwrap()
    }

    fn try_process<P: StagePolicies<u64, u64, kit::Refused>>(
        &self,
        options: AsyncOptions<P>,
    ) -> Result<Process, PipelineError> {
        let (world, calls) = (World::new(), Calls::new());
        let f = calls.clone();
        let job = Pipeline::source(self.log.reader())
            .async_map("stage", move |record| f.call(record), options)
            .sink(self.disk.sink())
            .checkpoint(every(ms(100)).restore(), self.folder.path());
        let running = start(&world, job)?;
        Ok(Process {
            world,
            calls,
            running,
        })
    }

    /// The files of the checkpoints, the oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

impl Process {
    fn complete(&self, record: u64) {
        self.calls.answer(record, Answer::Output(record));
        self.world.run();
    }

    /// Lets the time of the next checkpoint come.
    fn checkpoint(&self) {
        self.world.advance(ms(100));
        self.world.run();
    }

    fn crash(self) {
        self.world.close();
    }

    fn end(mut self) -> peu_operators::pipeline::Report {
        let end = outcome(&mut self.running).expect("it has ended");
        assert_eq!(self.world.tasks(), 0);
        end.unwrap()
    }
}

#[test]
fn c01_a_barrier_snapshots_unfinished_inputs_and_finished_outputs_in_order() {
    let lasting = Lasting::with_records(1..=4);
    let first = lasting.process(AsyncOptions::ordered());
    first.complete(1);
    first.complete(3);
    assert_eq!(lasting.disk.written(), [1]);
    first.checkpoint();
    assert_eq!(lasting.disk.visible(), [1], "what was emitted is committed");
    // What comes after the barrier is not in the checkpoint.
    lasting.log.add(5);
    first.world.run();
    first.complete(2);
    assert_eq!(lasting.disk.written(), [1, 2, 3]);
    first.crash();

    let second = lasting.process(AsyncOptions::ordered());
    assert_eq!(
        lasting.disk.written(),
        [1],
        "what came after the checkpoint is gone"
    );
    assert_eq!(second.calls.made(), [2, 4, 5], "1 and 3 had finished");
    for record in [4, 5, 2] {
        second.complete(record);
    }
    lasting.log.end();
    second.world.run();
    second.end();
    assert_eq!(lasting.disk.visible(), [1, 2, 3, 4, 5]);
}

#[test]
fn c01_watermarks_and_event_times_are_part_of_the_checkpoint() {
    let lasting = Lasting::new();
    let process = || {
        let (world, calls) = (World::new(), Calls::new());
        let f = calls.clone();
        let time_of = |n: &u64| EventTime::from_millis(*n as i64);
        let job = Pipeline::source(lasting.log.reader())
            .event_time(time_of, Watermarks::ascending().every(ms(1)))
            .async_map(
                "stage",
                move |record| f.call(record),
                AsyncOptions::unordered(),
            )
            .sink(lasting.disk.sink())
            .checkpoint(every(ms(100)).restore(), lasting.folder.path());
        let running = start(&world, job).unwrap();
        Process {
            world,
            calls,
            running,
        }
    };
    let first = process();
    lasting.log.add(1);
    first.world.run();
    first.world.advance(ms(1));
    first.world.run();
    lasting.log.add(2);
    first.world.run();
    first.complete(2);
    assert_eq!(
        lasting.disk.written(),
        [0_u64; 0],
        "a watermark is between 1 and 2"
    );
    first.checkpoint();
    first.crash();

    let second = process();
    assert_eq!(second.calls.made(), [1]);
    assert_eq!(lasting.disk.written(), [0_u64; 0], "it still is");
    second.complete(1);
    assert_eq!(lasting.disk.written(), [1, 2]);
}

#[test]
fn c01_a_stream_that_stays_silent_after_a_restart_does_not_take_its_watermark_back() {
    let lasting = Lasting::new();
    let other = Log::new();
    let process = || {
        let (world, calls) = (World::new(), Calls::new());
        let f = calls.clone();
        let time_of = |n: &u64| EventTime::from_millis(*n as i64);
        let timed = |log: &Log<u64>| {
            let watermarks = Watermarks::ascending().every(ms(1));
            Pipeline::source(log.reader()).event_time(time_of, watermarks)
        };
        let job = timed(&lasting.log)
            .union(timed(&other))
            .async_map(
                "stage",
                move |record| f.call(record),
                AsyncOptions::unordered(),
            )
            .sink(lasting.disk.sink())
            .checkpoint(every(ms(100)).restore(), lasting.folder.path());
        let running = start(&world, job).unwrap();
        Process {
            world,
            calls,
            running,
        }
    };
    let first = process();
    lasting.log.add(50);
    first.world.run();
    first.complete(50);
    first.checkpoint();
    first.crash();

    let second = process();
    for record in [1, 2] {
        other.add(record);
        second.world.run();
        second.world.advance(ms(1));
        second.world.run();
    }
    second.complete(2);
    assert_eq!(
        lasting.disk.written(),
        [50],
        "the watermark of 1 is between 1 and 2"
    );
    second.complete(1);
    assert_eq!(lasting.disk.written(), [50, 1, 2]);
}

#[test]
fn c01_a_stream_that_was_idle_before_a_restart_says_when_it_speaks_again() {
    let lasting = Lasting::new();
    let other = Log::new();
    let process = || {
        let (world, calls, gate) = (World::new(), Calls::new(), Calls::new());
        let (f, g) = (calls.clone(), gate.clone());
        let time_of = |n: &u64| EventTime::from_millis(*n as i64);
        let watermarks = Watermarks::ascending().every(ms(1));
        let idle = Pipeline::source(lasting.log.reader())
            .event_time(time_of, watermarks.idle_after(ms(10)))
            .async_map("held", move |n| f.call(n), AsyncOptions::ordered());
        let live = Pipeline::source(other.reader()).event_time(time_of, watermarks);
        let job = idle
            .union(live)
            .async_map("gate", move |n| g.call(n), AsyncOptions::unordered())
            .sink(lasting.disk.sink())
            .checkpoint(every(ms(100)).restore(), lasting.folder.path());
        let running = start(&world, job).unwrap();
        let process = Process {
            world,
            calls,
            running,
        };
        (process, gate)
    };
    let done = |process: &Process, calls: &Calls, record| {
        calls.answer(record, Answer::Output(record));
        process.world.run();
    };
    let (first, _) = process();
    lasting.log.add(1);
    first.world.run();
    first.world.advance(ms(20));
    first.world.run();
    first.checkpoint();
    assert_eq!(lasting.files().len(), 1, "with the idle marker behind 1");
    first.crash();

    let (second, gate) = process();
    done(&second, &second.calls, 1);
    lasting.log.add(2);
    second.world.run();
    done(&second, &second.calls, 2);
    for record in [40, 50, 60] {
        other.add(record);
        second.world.run();
        second.world.advance(ms(2));
        second.world.run();
    }
    for record in [1, 2, 40, 60] {
        done(&second, &gate, record);
    }
    assert_eq!(
        lasting.disk.written(),
        [1, 2, 40, 60],
        "the watermark is still 2: none is between 50 and 60"
    );
}

#[test]
fn c01_the_position_is_that_of_the_barrier_and_an_ended_source_stays_ended() {
    let lasting = Lasting::with_records(1..=2);
    let other = Log::new();
    other.add(100);
    other.end();
    let process = || {
        let (world, calls) = (World::new(), Calls::new());
        let f = calls.clone();
        let job = Pipeline::source(lasting.log.reader())
            .union(Pipeline::source(other.reader()))
            .async_map(
                "stage",
                move |record| f.call(record),
                AsyncOptions::unordered(),
            )
            .sink(lasting.disk.sink())
            .checkpoint(every(ms(100)).restore(), lasting.folder.path());
        let running = start(&world, job).unwrap();
        Process {
            world,
            calls,
            running,
        }
    };
    let first = process();
    first.complete(100);
    first.checkpoint();
    assert_eq!(lasting.disk.visible(), [100]);
    first.crash();
    // It was over, and does not begin again.
    other.add(101);
    let second = process();
    assert_eq!(second.calls.made(), [1, 2], "100 was there once");
    second.checkpoint();
    second.crash();
    let third = process();
    assert_eq!(
        third.calls.made(),
        [1, 2],
        "the next checkpoint says so too"
    );
    third.complete(1);
    third.complete(2);
    lasting.log.end();
    third.world.run();
    third.end();
    assert_eq!(lasting.disk.visible(), [100, 1, 2]);
}

#[test]
fn c02_restore_reissues_only_the_unfinished() {
    let lasting = Lasting::with_records(1..=3);
    let first = lasting.process(AsyncOptions::unordered());
    first.complete(2);
    first.checkpoint();
    // Emitted, but behind the barrier: the call is made again, and the output is committed once.
    first.complete(3);
    assert_eq!(lasting.disk.written(), [2, 3]);
    assert_eq!(lasting.disk.visible(), [2]);
    first.crash();
    let second = lasting.process(AsyncOptions::unordered());
    assert_eq!(second.running.restored().unwrap().checkpoint, 1);
    assert_eq!(second.calls.made(), [1, 3]);
    second.complete(3);
    second.complete(1);
    lasting.log.end();
    second.world.run();
    let report = second.end();
    assert_eq!((report.written, report.checkpoints), (2, 1));
    assert_eq!(lasting.disk.visible(), [2, 3, 1]);

    let third = lasting.process(AsyncOptions::unordered());
    assert!(third.running.restored().unwrap().is_last);
    assert_eq!(third.calls.made(), [0_u64; 0]);
    let commits = lasting.disk.commits();
    assert_eq!(third.end().written, 0, "there is nothing left to do");
    assert_eq!(lasting.disk.visible(), [2, 3, 1]);
    assert_eq!(
        lasting.disk.commits(),
        commits,
        "its commit came when it began"
    );
}

#[test]
fn c03_x8_a_full_stage_does_not_hold_a_checkpoint_up() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let lasting = Lasting::with_records(1..=9);
        let first = lasting.process(options.clone().capacity(3));
        assert_eq!(first.calls.made(), [1, 2, 3]);
        first.checkpoint();
        assert_eq!(
            lasting.files().len(),
            1,
            "it is complete, and no request is"
        );
        assert_eq!(first.calls.made(), [1, 2, 3], "and no more was asked");
        first.complete(2);
        first.checkpoint();
        assert_eq!(lasting.files().len(), 2);
        first.crash();
        let finished = lasting.disk.visible();
        for capacity in [1, 3, 100] {
            let second = lasting.process(options.clone().capacity(capacity));
            // Where 2 still waits for 1, its output has a place.
            let waits = usize::from(finished.is_empty());
            let expected = [1, 3, 4, 5, 6, 7, 8, 9].into_iter();
            let room = if capacity == 1 { 1 } else { capacity - waits };
            let expected: Vec<u64> = expected.take(room).collect();
            assert_eq!(second.calls.made(), expected, "room for {capacity}");
            second.crash();
        }
    }
}

#[test]
fn c03_restored_with_less_room_everything_still_comes_out_once() {
    for capacity in [1, 2, 3, 100] {
        let lasting = Lasting::with_records(1..=9);
        let first = lasting.process(AsyncOptions::ordered().capacity(7));
        (2..=6).for_each(|record| first.complete(record));
        assert_eq!(lasting.disk.written(), [0_u64; 0]);
        first.checkpoint();
        first.crash();
        let second = lasting.process(AsyncOptions::ordered().capacity(capacity));
        assert!(second.calls.live().len() <= capacity);
        lasting.log.end();
        second.world.run();
        (1..=9).for_each(|record| second.complete(record));
        second.end();
        assert_eq!(lasting.disk.visible(), (1..=9).collect::<Vec<_>>());
    }
}

#[test]
fn c03_a05_checkpoints_move_no_records_however_many_are_made() {
    for lanes in [0, 2] {
        let lasting = Lasting::with_records(1..=2_000);
        let (world, calls) = (World::new(), Calls::new());
        let f = calls.clone();
        let options = || AsyncOptions::ordered().capacity(4);
        let pass = |n: u64| async move { Ok::<_, kit::Refused>(n) };
        let first = Pipeline::source(lasting.log.reader()).async_map("first", pass, options());
        let checkpoints = every(ms(100)).restore();
        let running = match lanes {
            0 => {
                let job = first.async_map("second", move |n| f.call(n), options());
                let job = job.sink(lasting.disk.sink());
                start(&world, job.checkpoint(checkpoints, lasting.folder.path()))
            }
            lanes => {
                let job = first.parallelism(lanes, |lane| {
                    let f = f.clone();
                    lane.async_map("second", move |n| f.call(n), options())
                });
                let job = job.sink(lasting.disk.sink());
                start(&world, job.checkpoint(checkpoints, lasting.folder.path()))
            }
        };
        let process = Process {
            world,
            calls,
            running: running.unwrap(),
        };
        let mut sizes = Vec::new();
        for number in 1..=50 {
            process.checkpoint();
            assert_eq!(lasting.disk.commits(), number, "nothing holds it up");
            let newest = lasting.files().pop().unwrap();
            sizes.push(fs::metadata(newest).unwrap().len());
        }
        // The first has less: the queues of the lanes fill once more when they have been emptied.
        assert_eq!(sizes[2], sizes[49], "{sizes:?}");
        let bound = if lanes == 0 { 12 } else { 300 };
        assert!(
            lasting.log.position() <= bound,
            "{}",
            lasting.log.position()
        );
        process.crash();
    }
}

#[test]
fn c03_x8_checkpoints_go_on_while_what_an_ended_source_gave_is_drained() {
    let (lasting, other) = (Lasting::with_records(1..=5), Log::new());
    lasting.log.end();
    let process = || {
        let (world, calls) = (World::new(), Calls::new());
        let (f, g) = (calls.clone(), calls.clone());
        let options = || AsyncOptions::ordered().capacity(3);
        let ended = Pipeline::source(lasting.log.reader())
            .async_map("ended", move |n| f.call(n), options())
            .async_map("stalled", move |n| g.call(n), options().capacity(1));
        let job = ended
            .union(Pipeline::source(other.reader()))
            .sink(lasting.disk.sink())
            .checkpoint(every(ms(100)).restore(), lasting.folder.path());
        let running = start(&world, job).unwrap();
        Process {
            world,
            calls,
            running,
        }
    };
    let first = process();
    // The source has ended, and then the first stage, whose outputs the second has no room for.
    (1..=5).for_each(|n| first.calls.answer(n, Answer::Output(n)));
    first.world.run();
    assert_eq!(first.calls.live(), [1], "that of the second stage");
    for number in 1..=3 {
        other.add(100 * number);
        first.world.run();
        first.checkpoint();
        assert_eq!(lasting.disk.commits() as u64, number, "nothing holds it up");
        assert_eq!(lasting.disk.visible().last(), Some(&(100 * number)));
    }
    first.crash();
    let mut second = process();
    other.end();
    second.world.run();
    (1..=5).for_each(|n| second.complete(n));
    (1..=5).for_each(|n| second.complete(n));
    second.checkpoint();
    outcome(&mut second.running).expect("it has ended").unwrap();
    assert_eq!(
        lasting.disk.visible(),
        [100, 200, 300, 1, 2, 3, 4, 5],
        "{:?}",
        second.calls.made()
    );
}

#[test]
fn c05_x5_in_key_ordered_mode_what_was_emitted_is_never_reissued() {
    let options = || AsyncOptions::key_ordered(|record: &u64| record % 10);
    let lasting = Lasting::with_records([1, 11, 21, 2, 12]);
    let first = lasting.process(options());
    first.complete(1);
    first.complete(2);
    assert_eq!(lasting.disk.written(), [1, 2]);
    assert_eq!(first.calls.live(), [11, 12], "21 waits");
    first.checkpoint();
    first.crash();
    let second = lasting.process(options());
    assert_eq!(
        second.calls.made(),
        [11, 12],
        "not 1, not 2, and 21 still waits"
    );
    second.complete(11);
    second.complete(21);
    second.complete(12);
    assert_eq!(second.calls.made(), [11, 12, 21]);
    second.checkpoint();
    second.crash();
    let third = lasting.process(options());
    assert_eq!(third.calls.made(), [0_u64; 0]);
    assert_eq!(lasting.disk.visible(), [1, 2, 11, 21, 12]);
}

/// Three checkpoints, with one more record visible at each.
fn three_checkpoints() -> Lasting {
    let lasting = Lasting::with_records(1..=3);
    let first = lasting.process(AsyncOptions::ordered());
    for record in 1..=3 {
        first.complete(record);
        first.checkpoint();
    }
    first.crash();
    assert_eq!(lasting.files().len(), 3);
    lasting
}

fn flip_a_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(path, bytes).unwrap();
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn empty(path: &Path) {
    fs::write(path, []).unwrap();
}

#[test]
fn c06_a_damaged_checkpoint_is_found_and_the_one_before_is_used_and_it_is_said() {
    for damage in [flip_a_bit, truncate, empty] {
        let lasting = three_checkpoints();
        let newest = lasting.files().pop().unwrap();
        damage(&newest);
        let second = lasting.process(AsyncOptions::ordered());
        let restored = second.running.restored().unwrap();
        assert_eq!(restored.checkpoint, 2);
        assert_eq!(restored.refused.len(), 1);
        assert_eq!(restored.refused[0].path, newest);
        assert!(!restored.refused[0].why.is_empty());
        assert_eq!(second.calls.made(), [3], "it goes on from there");
        assert_eq!(lasting.disk.visible(), [1, 2]);
        second.complete(3);
        second.checkpoint();
        assert!(
            lasting.files().last() > Some(&newest),
            "no number is used twice"
        );
        second.crash();
        let third = lasting.process(AsyncOptions::ordered());
        assert_eq!(third.running.restored().unwrap().checkpoint, 4);
        assert_eq!(lasting.disk.visible(), [1, 2, 3]);
    }
}

#[test]
fn c06_with_no_checkpoint_usable_nothing_begins_and_nothing_is_overwritten() {
    let lasting = three_checkpoints();
    lasting.files().iter().for_each(|file| flip_a_bit(file));
    let before: Vec<_> = lasting
        .files()
        .iter()
        .map(|file| fs::read(file).unwrap())
        .collect();
    let (polls, opened) = (lasting.log.polls(), lasting.disk.opened());
    let error = lasting.try_process(AsyncOptions::ordered()).err().unwrap();
    let PipelineError::Checkpoint(CheckpointError::NoneUsable { refused, .. }) = &error else {
        panic!("{error}");
    };
    assert_eq!(refused.len(), 3);
    let message = error.to_string();
    assert!(message.contains("no checkpoint in "), "{message}");
    assert_eq!(
        message.matches("its checksum is wrong").count(),
        3,
        "{message}"
    );
    let after: Vec<_> = lasting
        .files()
        .iter()
        .map(|file| fs::read(file).unwrap())
        .collect();
    assert_eq!(before, after);
    assert_eq!(
        (lasting.log.polls(), lasting.disk.opened()),
        (polls, opened)
    );
}

/// Makes a checkpoint one of the version before, whole in every other way: the checksum, the CRC-32 of version, length and body, is right.
fn make_older(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    bytes[8..10].copy_from_slice(&1_u16.to_le_bytes());
    let mut sum = crc32fast::Hasher::new();
    sum.update(&bytes[8..18]);
    sum.update(&bytes[22..]);
    bytes[18..22].copy_from_slice(&sum.finalize().to_le_bytes());
    fs::write(file, bytes).unwrap();
}

#[test]
fn c06_checkpoints_of_an_older_version_are_refused_and_it_is_said_what_reads_them() {
    let lasting = three_checkpoints();
    let files = lasting.files();
    files.iter().for_each(|file| make_older(file));
    let error = lasting.try_process(AsyncOptions::ordered()).err().unwrap();
    let PipelineError::Checkpoint(CheckpointError::NoneUsable { refused, .. }) = &error else {
        panic!("{error}");
    };
    let why =
        "it is of version 1, and this program reads version 3: let the program that made it, ";
    assert_eq!(refused.len(), 3);
    assert!(refused.iter().all(|refused| refused.why.starts_with(why)));
    assert!(error.to_string().contains(why), "{error}");
    assert_eq!(lasting.files(), files, "they are left alone");
}

#[test]
fn c06_a_folder_with_checkpoints_is_refused_unless_the_job_is_to_go_on_from_them() {
    let lasting = three_checkpoints();
    let job = Pipeline::source(lasting.log.reader())
        .sink(lasting.disk.sink())
        .checkpoint(every(ms(100)), lasting.folder.path());
    let error = start(&World::new(), job).err().unwrap();
    assert!(
        matches!(
            error,
            PipelineError::Checkpoint(CheckpointError::NotAsked { .. })
        ),
        "{error}"
    );
    assert_eq!(lasting.files().len(), 3);
}

#[test]
fn c06_two_jobs_never_share_a_folder_and_who_ended_has_left_it() {
    let lasting = Lasting::with_records(1..=2);
    let first = lasting.process(AsyncOptions::ordered());
    first.complete(1);
    first.checkpoint();
    let (files, polls) = (lasting.files(), lasting.log.polls());
    let error = lasting.try_process(AsyncOptions::ordered()).err().unwrap();
    let PipelineError::Checkpoint(CheckpointError::InUse { folder }) = &error else {
        panic!("{error}");
    };
    assert_eq!(folder, lasting.folder.path());
    assert_eq!((lasting.files(), lasting.log.polls()), (files, polls));
    first.crash();

    let mut second = lasting.process(AsyncOptions::ordered());
    second.complete(2);
    lasting.log.end();
    second.world.run();
    assert!(outcome(&mut second.running).unwrap().is_ok());
    let third = lasting.process(AsyncOptions::ordered());
    assert!(third.running.restored().unwrap().is_last);
}

#[test]
fn c06_the_last_few_are_kept() {
    let lasting = Lasting::with_records(1..=9);
    let first = lasting.process(AsyncOptions::ordered());
    for record in 1..=9 {
        first.complete(record);
        first.checkpoint();
    }
    let names: Vec<String> = lasting
        .files()
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(
        names[0].ends_with('7') && names[2].ends_with('9'),
        "{names:?}"
    );
}

#[test]
fn c07_a_checkpoint_of_another_pipeline_is_refused_with_the_difference_named() {
    let lasting = three_checkpoints();
    let refused = |error: PipelineError| match error {
        PipelineError::Checkpoint(CheckpointError::OtherPipeline { differences, .. }) => {
            differences.join("; ")
        }
        other => panic!("{other}"),
    };
    let checkpoints = || every(ms(100)).restore();
    let pass = |n: u64| async move { Ok::<_, std::io::Error>(n) };
    let name = Pipeline::source(lasting.log.reader())
        .async_map("another", pass, AsyncOptions::ordered())
        .sink(lasting.disk.sink())
        .checkpoint(checkpoints(), lasting.folder.path());
    let difference = refused(start(&World::new(), name).err().unwrap());
    assert_eq!(
        difference,
        "it has `stage` (a stage from u64 to u64), which this pipeline has not; \
         it has no `another` (a stage from u64 to u64)"
    );

    let shout = |n: u64| async move { Ok::<_, std::io::Error>(n.to_string()) };
    let disk: Disk<String> = Disk::new();
    let types = Pipeline::source(lasting.log.reader())
        .async_map("stage", shout, AsyncOptions::ordered())
        .sink(disk.sink())
        .checkpoint(checkpoints(), lasting.folder.path());
    let difference = refused(start(&World::new(), types).err().unwrap());
    assert_eq!(
        difference,
        "its `stage` is a stage from u64 to u64, and that of this pipeline a stage from u64 to alloc::string::String; \
         its `sink` is a sink of u64, which prepares usize, and that of this pipeline a sink of alloc::string::String, which prepares usize"
    );
    assert_eq!((disk.opened(), lasting.files().len()), (0, 3));
}

#[test]
fn c07_a_checkpoint_of_a_job_with_another_sink_is_refused_with_both_named() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new();
    log.add(1_u64);
    let path = |name| folder.path().join(name);
    let checkpoints = || every(ms(100)).restore();
    let numbers = || Pipeline::source(log.reader());
    let world = World::new();
    let lines = numbers().sink(JsonLines::create(path("a")));
    let running = start(&world, lines.checkpoint(checkpoints(), path("state"))).unwrap();
    world.advance(ms(100));
    world.run();
    world.close();
    drop(running);

    let refused = |error: Option<PipelineError>| match error {
        Some(PipelineError::Checkpoint(CheckpointError::OtherPipeline { differences, .. })) => {
            differences.join("; ")
        }
        other => panic!("{other:?}"),
    };
    let kind = numbers().sink(collect().0);
    let kind = kind.checkpoint(checkpoints(), path("state"));
    let difference = refused(start(&World::new(), kind).err());
    assert!(
        difference.contains("a sink of u64 into JSON lines, ")
            && difference.contains("prepares ()"),
        "{difference}"
    );
    let file = numbers().sink(JsonLines::create(path("b")));
    let file = file.checkpoint(checkpoints(), path("state"));
    let difference = refused(start(&World::new(), file).err());
    for name in ["a", "b"] {
        let named = format!("into JSON lines, {}", path(name).display());
        assert!(difference.contains(&named), "{difference}");
    }
    assert!(path("a.part").exists() && !path("b.part").exists());

    let world = World::new();
    let lines = numbers().sink(JsonLines::create(path("a")));
    let mut running = start(&world, lines.checkpoint(checkpoints(), path("state"))).unwrap();
    log.end();
    world.run();
    outcome(&mut running).unwrap().unwrap();
    assert_eq!(fs::read_to_string(path("a")).unwrap(), "1\n");
}

/// A source that forgot where it was.
struct Forgetful(LogReader<u64>);

impl Source for Forgetful {
    type Item = u64;
    type Position = ();
    type Error = Infallible;

    fn open(&mut self, host: &Host, _from: Option<()>) {
        self.0.open(host, None);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<u64, Infallible>>> {
        self.0.poll_next(cx)
    }

    fn position(&self) {}
}

#[test]
fn c07_a_source_whose_position_is_another_is_refused() {
    let lasting = three_checkpoints();
    let pass = |n: u64| async move { Ok::<_, std::io::Error>(n) };
    let job = Pipeline::source(Forgetful(lasting.log.reader()))
        .async_map("stage", pass, AsyncOptions::ordered())
        .sink(lasting.disk.sink())
        .checkpoint(every(ms(100)).restore(), lasting.folder.path());
    let error = start(&World::new(), job).err().unwrap().to_string();
    assert!(
        error.contains("its `source` keeps (bool, u64), and that of this pipeline (bool, ())"),
        "{error}"
    );
    assert_eq!(lasting.files().len(), 3);
}

/// Starts a job whose stage has a record in flight, and lets it make a checkpoint, from which the next goes on.
fn live_with<T>(folder: &Path, record: fn(u64) -> T) -> Result<(), PipelineError>
where
    T: Clone + fmt::Debug + Serialize + DeserializeOwned + Send + 'static,
{
    let world = World::new();
    let log = Log::new();
    log.add(1_u64);
    let wait = |_: T| pending::<Result<u64, kit::Refused>>();
    let job = Pipeline::source(log.reader())
        .map(record)
        .async_map("stage", wait, AsyncOptions::ordered())
        .sink(collect().0)
        .checkpoint(every(ms(100)).restore(), folder);
    let running = start(&world, job)?;
    world.advance(ms(100));
    world.run();
    world.close();
    drop(running);
    Ok(())
}

#[test]
fn c07_fields_that_changed_places_are_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let then = {
        #[derive(Clone, Debug, Serialize, Deserialize)]
        struct Stop {
            arrival: u64,
            departure: u64,
        }
        let stop = |arrival| Stop {
            arrival,
            departure: 7,
        };
        live_with(folder.path(), stop).unwrap();
        live_with(folder.path(), stop).expect("the same goes on");
        type_name::<Stop>()
    };
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Stop {
        departure: u64,
        arrival: u64,
    }
    assert_eq!(type_name::<Stop>(), then, "only their fields differ");
    let stop = |arrival| Stop {
        arrival,
        departure: 7,
    };
    let error = live_with(folder.path(), stop).unwrap_err().to_string();
    let expected = "its `stage` keeps Stop { arrival: u64, departure: u64 }, \
                    and that of this pipeline Stop { departure: u64, arrival: u64 }";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn checkpoints_wait_for_each_other_and_end_with_the_job() {
    let lasting = Lasting::with_records(1..=2);
    let process = lasting.process(AsyncOptions::ordered());
    assert_eq!(process.world.sleeps(), 1, "the time of the next checkpoint");
    process.checkpoint();
    process.checkpoint();
    assert_eq!(lasting.files().len(), 2);
    lasting.log.end();
    process.complete(1);
    process.complete(2);
    assert_eq!(process.world.sleeps(), 0);
    assert_eq!(process.end().checkpoints, 3);
}

#[test]
fn a_barrier_waits_for_every_lane_and_what_they_hold_is_kept_by_lane() {
    let lasting = Lasting::with_records(1..=8);
    let process = || {
        let (world, calls) = (World::new(), Calls::new());
        let f = calls.clone();
        let job = Pipeline::source(lasting.log.reader())
            .key_by(|n: &u64| n % 4)
            .parallelism(2, |lane| {
                let f = f.clone();
                let options = AsyncOptions::ordered().capacity(2);
                lane.async_map("stage", move |record| f.call(record), options)
            })
            .sink(lasting.disk.sink())
            .checkpoint(every(ms(100)).restore(), lasting.folder.path());
        let running = start(&world, job).unwrap();
        Process {
            world,
            calls,
            running,
        }
    };
    let first = process();
    first.checkpoint();
    assert_eq!(lasting.files().len(), 1, "though the lanes are full");
    first.crash();
    let second = process();
    lasting.log.end();
    second.world.run();
    (1..=8).for_each(|record| second.complete(record));
    second.end();
    let mut visible = lasting.disk.visible();
    visible.sort_unstable();
    assert_eq!(visible, (1..=8).collect::<Vec<_>>());
}

#[test]
fn s06_nothing_is_visible_before_the_checkpoint_is_written() {
    let lasting = Lasting::with_records(1..=2);
    let mut process = lasting.process(AsyncOptions::ordered());
    process.complete(1);
    fs::remove_dir_all(lasting.folder.path()).unwrap();
    process.checkpoint();
    let error = outcome(&mut process.running).unwrap().unwrap_err();
    assert!(
        matches!(
            &error,
            PipelineError::Checkpoint(CheckpointError::Io { what: "write", .. })
        ),
        "{error}"
    );
    assert_eq!(lasting.disk.written(), [1]);
    assert_eq!(
        lasting.disk.visible(),
        [0_u64; 0],
        "it was prepared, and not committed"
    );
    assert_eq!((process.world.tasks(), process.calls.live()), (0, vec![]));
}

#[test]
fn s06_what_was_checkpointed_and_not_committed_is_committed_by_the_next_run() {
    let lasting = Lasting::with_records(1..=2);
    let mut first = lasting.process(AsyncOptions::ordered());
    first.complete(1);
    lasting.disk.fail_next_commit();
    first.checkpoint();
    let error = outcome(&mut first.running).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the sink failed: the power is gone");
    assert_eq!(lasting.disk.visible(), [0_u64; 0]);
    let second = lasting.process(AsyncOptions::ordered());
    assert_eq!(
        lasting.disk.visible(),
        [1],
        "the checkpoint says that it counts"
    );
    assert_eq!(second.calls.made(), [2]);
}

#[test]
fn c01_nothing_from_behind_a_barrier_passes_before_the_others_have_brought_theirs() {
    let (many, few, disk) = (Log::new(), Log::new(), Disk::new());
    let folder = tempfile::tempdir().unwrap();
    many.add(0_u64);
    many.end();
    (10_000..14_000).for_each(|n| few.add(n));
    few.end();
    let start_in = |world: &World| {
        // Its barrier comes behind all that it makes of its one record; that of the other comes at once.
        let slow = Pipeline::source(many.reader()).flat_map(|_| 0..1_000_u64);
        let job = slow
            .union(Pipeline::source(few.reader()))
            .sink(disk.sink())
            .checkpoint(every(ms(100)).restore(), folder.path());
        futures_lite::future::block_on(job.start(world)).unwrap()
    };
    let world = World::new();
    let first = start_in(&world);
    while world.sleeps() == 0 {
        assert!(
            world.poll_one(),
            "someone waits for the time of the checkpoint"
        );
    }
    assert!(
        (1..1_000).contains(&disk.written().len()),
        "some records have passed"
    );
    world.advance(ms(100));
    while disk.commits() == 0 {
        assert!(world.poll_one(), "the checkpoint comes");
    }
    world.close();
    drop(first);
    let world = World::new();
    let mut second = start_in(&world);
    assert!(!second.restored().unwrap().is_last);
    world.run();
    outcome(&mut second).unwrap().unwrap();
    let mut visible = disk.visible();
    visible.sort_unstable();
    assert_eq!(
        visible,
        (0..1_000).chain(10_000..14_000).collect::<Vec<_>>()
    );
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Ordered,
    Unordered,
    Keyed,
}

#[derive(Clone, Debug)]
enum Step {
    Add,
    Complete(Index),
    Checkpoint,
    /// And start again, with this capacity.
    Crash(usize),
}

fn process(lasting: &Lasting, mode: Mode, capacity: usize) -> Process {
    match mode {
        Mode::Ordered => lasting.process(AsyncOptions::ordered().capacity(capacity)),
        Mode::Unordered => lasting.process(AsyncOptions::unordered().capacity(capacity)),
        Mode::Keyed => {
            let keyed = AsyncOptions::key_ordered(|record: &u64| record % 3);
            lasting.process(keyed.waiting(2).capacity(capacity))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// However often and whenever the job crashes, each record is committed once, in the mode's order, and what the last
    /// checkpoint knew to be finished is never called again.
    #[test]
    fn c02_c03_c05_random_crashes_change_nothing(
        mode in prop::sample::select(vec![Mode::Ordered, Mode::Unordered, Mode::Keyed]),
        capacity in 1_usize..6,
        steps in vec(
            prop_oneof![
                6 => Just(Step::Add),
                6 => any::<Index>().prop_map(Step::Complete),
                3 => Just(Step::Checkpoint),
                1 => (1_usize..6).prop_map(Step::Crash),
            ],
            1..80,
        ),
    ) {
        let lasting = Lasting::new();
        let mut now = process(&lasting, mode, capacity);
        let (mut records, mut completed, mut known) = (0, Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Add => {
                    records += 1;
                    lasting.log.add(records);
                    now.world.run();
                }
                Step::Complete(index) => {
                    let live = now.calls.live();
                    if !live.is_empty() {
                        let record = *index.get(&live);
                        now.complete(record);
                        completed.push(record);
                    }
                }
                Step::Checkpoint => {
                    let before = lasting.disk.commits();
                    now.checkpoint();
                    prop_assert!(lasting.disk.commits() > before, "nothing holds a checkpoint up");
                    known = completed.clone();
                }
                Step::Crash(capacity) => {
                    now.crash();
                    now = process(&lasting, mode, capacity);
                    completed = known.clone();
                }
            }
            let again = now.calls.made().into_iter().find(|record| known.contains(record)
                && !completed[known.len()..].contains(record)
                && !now.calls.live().is_empty() && now.calls.live().contains(record));
            prop_assert_eq!(again, None, "it had finished at the checkpoint");
        }
        lasting.log.end();
        now.world.run();
        while let Some(record) = now.calls.live().first() {
            now.complete(*record);
        }
        now.end();
        let visible = lasting.disk.visible();
        let mut sorted = visible.clone();
        sorted.sort_unstable();
        prop_assert_eq!(&sorted, &(1..=records).collect::<Vec<_>>());
        match mode {
            Mode::Ordered => prop_assert_eq!(visible, sorted),
            Mode::Unordered => {}
            Mode::Keyed => for key in 0..3 {
                let of_key = visible.iter().filter(|record| *record % 3 == key);
                prop_assert!(of_key.is_sorted(), "{:?}", visible);
            },
        }
    }
}
