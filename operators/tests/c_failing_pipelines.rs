//! Family C: what checkpoints are worth while a pipeline fails, or is stalled, or has just begun again.

mod kit;

use kit::jobs::{Disk, Log};
use kit::lives::Life;
use kit::{Answer, Calls, Refused, ms};
use peu_operators::pipeline::{Pipeline, Watermarks, Windows, for_each};
use peu_operators::{AsyncOptions, EventTime};
use std::fs;
use std::future::ready;
use std::sync::{Arc, Mutex};

fn time_of(n: &u64) -> EventTime {
    EventTime::from_millis(*n as i64)
}

/// How many checkpoints there are.
fn checkpoints(folder: &tempfile::TempDir) -> usize {
    fs::read_dir(folder.path()).unwrap().count()
}

fn answer(life: &Life, calls: &Calls, record: u64, answer: Answer) {
    calls.answer(record, answer);
    life.world.run();
}

/// The input fails behind its fourth record, with these in flight.
#[test]
fn c02_an_input_that_failed_is_in_no_checkpoint_as_one_that_ended() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let (log, disk) = (Log::new(), Disk::new());
        let folder = tempfile::tempdir().unwrap();
        let live = |is_damaged: bool| {
            let calls = Calls::new();
            let f = calls.clone();
            let job = Pipeline::source(log.reader())
                .inspect(move |n: &u64| assert!(*n != 5 || !is_damaged, "scripted"))
                .async_map("stage", move |n| f.call(n), options.clone())
                .sink(disk.sink())
                .checkpoint(Life::checkpoints(), folder.path());
            (Life::begin(job), calls)
        };
        let (first, calls) = live(true);
        (1..=2).for_each(|n| log.add(n));
        first.world.run();
        answer(&first, &calls, 1, Answer::Output(1));
        first.checkpoint();
        assert_eq!(checkpoints(&folder), 1);
        (3..=6).for_each(|n| log.add(n));
        first.world.run();
        answer(&first, &calls, 2, Answer::Output(2));
        assert_eq!(disk.written(), [1, 2]);
        first.checkpoint();
        assert_eq!(checkpoints(&folder), 1, "the source is not where it ends");
        for n in [3, 4] {
            answer(&first, &calls, n, Answer::Output(n));
        }
        let error = first.fail();
        assert!(error.contains("scripted"), "{error}");

        let (second, calls) = live(false);
        for n in 2..=6 {
            answer(&second, &calls, n, Answer::Output(n));
        }
        log.end();
        second.end();
        assert_eq!(disk.visible(), [1, 2, 3, 4, 5, 6], "each once");
    }
}

/// The second record has failed, and its error waits behind the first.
#[test]
fn c02_records_behind_one_that_failed_are_missing_in_no_checkpoint() {
    let (log, disk) = (Log::new(), Disk::new());
    let folder = tempfile::tempdir().unwrap();
    let live = || {
        let (calls, before) = (Calls::new(), Calls::new());
        let (f, g) = (calls.clone(), before.clone());
        let job = Pipeline::source(log.reader())
            .async_map("before", move |n| g.call(n), AsyncOptions::ordered())
            .async_map("stage", move |n| f.call(n), AsyncOptions::ordered())
            .sink(disk.sink())
            .checkpoint(Life::checkpoints(), folder.path());
        (Life::begin(job), calls, before)
    };
    let (first, calls, before) = live();
    (1..=4).for_each(|n| log.add(n));
    first.world.run();
    (1..=3).for_each(|n| answer(&first, &before, n, Answer::Output(n)));
    answer(&first, &calls, 2, Answer::Refused);
    first.checkpoint();
    assert_eq!(checkpoints(&folder), 0, "3 and 4 are nowhere");
    answer(&first, &calls, 1, Answer::Output(1));
    let error = first.fail();
    assert!(error.contains("record 2"), "{error}");

    let (second, calls, before) = live();
    for n in 1..=4 {
        answer(&second, &before, n, Answer::Output(n));
        answer(&second, &calls, n, Answer::Output(n));
    }
    log.end();
    second.end();
    assert_eq!(disk.visible(), [1, 2, 3, 4]);
}

#[test]
fn e02_a_router_whose_input_failed_makes_no_lane_believe_that_it_has_all() {
    let log = Log::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let given = Arc::clone(&told);
    let calls = Calls::new();
    let job = Pipeline::source(log.reader())
        .inspect(|n: &u64| assert!(*n != 13, "scripted"))
        .parallelism(3, |lane| {
            let f = calls.clone();
            let lane = lane.async_map("stage", move |n| f.call(n), AsyncOptions::ordered());
            lane.event_time(time_of, Watermarks::ascending())
                .key_by(|_| ())
                .aggregate(
                    Windows::tumbling(ms(10)),
                    |sum: &mut u64, n| *sum += n,
                    |_| {},
                )
        })
        .sink(for_each(move |window| {
            given.lock().unwrap().push(window);
            ready(Ok::<_, Refused>(()))
        }));
    let life = Life::begin(job);
    [1, 2, 3, 13].into_iter().for_each(|n| log.add(n));
    life.world.run();
    // The lane of 1 tells the error, behind 1.
    for n in [2, 3, 1] {
        answer(&life, &calls, n, Answer::Output(n));
    }
    let error = life.fail();
    assert!(error.contains("scripted"), "{error}");
    let told = told.lock().unwrap();
    assert!(told.is_empty(), "no window is complete: {told:?}");
}

/// More marks than a stage has room for wait behind a record without an outcome.
#[test]
fn x8_marks_that_wait_for_a_request_hold_no_checkpoint_up() {
    let (log, disk) = (Log::new(), Disk::new());
    let folder = tempfile::tempdir().unwrap();
    let calls = Calls::new();
    let f = calls.clone();
    let job = Pipeline::source(log.reader())
        .event_time(time_of, Watermarks::ascending().every(ms(1)))
        .filter(|n: &u64| *n == 1 || *n > 9_000)
        .async_map("stage", move |n| f.call(n), AsyncOptions::ordered())
        .sink(disk.sink())
        .checkpoint(Life::checkpoints(), folder.path());
    let life = Life::begin(job);
    for n in 1..2_000 {
        log.add(n);
        life.world.run();
        life.tick();
    }
    for count in 1..=3 {
        life.checkpoint();
        assert_eq!(checkpoints(&folder), count);
    }
    log.add(9_001);
    log.end();
    answer(&life, &calls, 1, Answer::Output(1));
    answer(&life, &calls, 9_001, Answer::Output(9_001));
    life.end();
    assert_eq!(disk.visible(), [1, 9_001]);
}

/// A mark that stands alone in a stage waits for nothing after a restart, as it did not before.
#[test]
fn c01_a_restored_mark_with_nothing_before_it_leaves_at_once() {
    let (quiet, live) = (Log::new(), Log::new());
    let disk = Disk::new();
    let folder = tempfile::tempdir().unwrap();
    let begin = || {
        let gate = Calls::new();
        let f = gate.clone();
        let watermarks = Watermarks::ascending().every(ms(1));
        let quiet = Pipeline::source(quiet.reader())
            .event_time(time_of, watermarks.idle_after(ms(10)))
            .async_map(
                "quiet",
                |n: u64| async move { Ok::<_, Refused>(n) },
                AsyncOptions::ordered(),
            );
        let job = quiet
            .union(Pipeline::source(live.reader()).event_time(time_of, watermarks))
            .async_map(
                "gate",
                move |n| f.call(n),
                AsyncOptions::ordered().capacity(1),
            )
            .key_by(|_| ())
            .aggregate(
                Windows::tumbling(ms(10)),
                |all: &mut Vec<u64>, n| all.push(n),
                |_| {},
            )
            .map(|window| window.value)
            .sink(disk.sink())
            .checkpoint(Life::checkpoints(), folder.path());
        (Life::begin(job), gate)
    };
    let (first, gate) = begin();
    // The gate has one record in flight and one in hand, so it takes nothing else.
    [11, 12].into_iter().for_each(|n| live.add(n));
    first.world.run();
    assert_eq!(gate.live(), [11]);
    (0..20).for_each(|_| first.tick());
    first.checkpoint();
    assert_eq!(checkpoints(&folder), 1, "with an idle marker in `quiet`");
    first.crash();

    let (second, gate) = begin();
    live.add(33);
    second.world.run();
    second.tick();
    for n in [11, 12, 33] {
        answer(&second, &gate, n, Answer::Output(n));
        second.tick();
    }
    second.tick();
    assert_eq!(disk.written(), [vec![11, 12]], "the watermark is 33");
}

/// Panics when it is dropped, which is with what it is in.
struct Grudge;

impl Drop for Grudge {
    fn drop(&mut self) {
        panic!("a grudge");
    }
}

#[test]
fn e02_an_operator_that_panics_when_dropped_hides_no_end_and_the_sink_cleans_up() {
    for fails in [false, true] {
        let (log, disk) = (Log::new(), Disk::new());
        let grudge = Grudge;
        let look = move |_: &u64| {
            let _ = &grudge;
        };
        let job = Pipeline::source(log.reader()).inspect(look);
        let life = Life::begin(job.sink(disk.sink()));
        if fails {
            disk.fail_next_write();
        }
        log.add(1);
        log.end();
        life.world.run();
        match fails {
            true => assert_eq!(life.fail(), "the sink failed: no space is left"),
            false => assert_eq!(life.end().written, 1),
        }
        assert_eq!(disk.aborted(), fails);
    }
}

#[test]
fn e02_a_sink_that_panics_when_dropped_hides_no_end() {
    for fails in [false, true] {
        let (log, grudge) = (Log::new(), Grudge);
        let write = move |_: u64| {
            let _ = &grudge;
            ready(if fails {
                Err("no space is left")
            } else {
                Ok(())
            })
        };
        let life = Life::begin(Pipeline::source(log.reader()).sink(for_each(write)));
        log.add(1);
        log.end();
        life.world.run();
        match fails {
            true => assert_eq!(life.fail(), "the sink failed: no space is left"),
            false => assert_eq!(life.end().written, 1),
        }
    }
}
