//! Windows over event time, their late records, and their part in checkpoints.

mod kit;

use kit::jobs::{Disk, Log, outcome, start};
use kit::lives::Life;
use kit::{Answer, Calls, Refused, World, ms};
use peu_operators::pipeline::{Pipeline, Running, Watermarks, Windows, every};
use peu_operators::{AsyncOptions, EventTime};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A record is a time in milliseconds; its key is whether that is even. A result: start, key, the sum of the records.
type Results = Disk<(i64, u64, u64)>;

struct Bench {
    world: World,
    log: Log<u64>,
    disk: Results,
    late: Arc<Mutex<Vec<u64>>>,
    running: Running,
}

fn bench(log: &Log<u64>, disk: &Results, windows: Windows, folder: &Path) -> Bench {
    let world = World::new();
    let late = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&late);
    let watermarks = Watermarks::ascending().every(ms(1));
    let job = Pipeline::source(log.reader())
        .event_time(|n: &u64| EventTime::from_millis(*n as i64), watermarks)
        .key_by(|n| n % 2)
        .aggregate(
            windows,
            |sum: &mut u64, n| *sum += n,
            move |n| keep.lock().unwrap().push(n),
        )
        .map(|window| (window.start.as_millis(), window.key, window.value))
        .sink(disk.sink())
        .checkpoint(every(ms(100)).restore(), folder);
    let running = start(&world, job).unwrap();
    Bench {
        world,
        log: log.clone(),
        disk: disk.clone(),
        late,
        running,
    }
}

impl Bench {
    /// Adds a record, and lets a watermark follow it. Returns the results so far.
    fn add(&self, record: u64) -> Vec<(i64, u64, u64)> {
        self.log.add(record);
        self.world.run();
        self.world.advance(ms(1));
        self.world.run();
        self.disk.written()
    }
}

#[test]
fn a_window_gives_its_results_when_the_watermark_passes_it_and_not_before() {
    let (log, disk, folder) = (Log::new(), Disk::new(), tempfile::tempdir().unwrap());
    let mut bench = bench(&log, &disk, Windows::tumbling(ms(10)), folder.path());
    for record in [3, 4, 1, 9] {
        assert_eq!(bench.add(record), []);
    }
    assert_eq!(bench.add(10), [(0, 0, 4), (0, 1, 13)], "by key");
    assert_eq!(bench.add(35).len(), 3);
    bench.log.end();
    bench.world.run();
    outcome(&mut bench.running).unwrap().unwrap();
    assert_eq!(
        disk.visible(),
        [(0, 0, 4), (0, 1, 13), (10, 0, 10), (30, 1, 35)],
        "the end of the input completes all"
    );
}

#[test]
fn a_record_is_in_every_window_that_slides_over_it() {
    let (log, disk, folder) = (Log::new(), Disk::new(), tempfile::tempdir().unwrap());
    let windows = Windows::sliding(ms(10), ms(5));
    let bench = bench(&log, &disk, windows, folder.path());
    bench.add(12);
    bench.add(16);
    assert_eq!(bench.add(40), [(5, 0, 12), (10, 0, 28), (15, 0, 16)]);
}

/// A job of windows of 10 ms over one stream, in so many lanes; no record is late.
fn in_lanes(
    world: &World,
    log: &Log<u64>,
    disk: &Results,
    watermarks: Watermarks,
    lanes: usize,
) -> Running {
    let job = Pipeline::source(log.reader())
        .event_time(|n: &u64| EventTime::from_millis(*n as i64), watermarks)
        .parallelism(lanes, |lane| lane)
        .key_by(|n| n % 2)
        .aggregate(
            Windows::tumbling(ms(10)),
            |sum: &mut u64, n| *sum += n,
            |late| panic!("{late} is not late"),
        )
        .map(|window| (window.start.as_millis(), window.key, window.value))
        .sink(disk.sink());
    start(world, job).unwrap()
}

#[test]
fn the_end_of_the_input_completes_all_windows_of_streams_that_were_idle() {
    for lanes in [1, 2] {
        let (world, log, disk) = (World::new(), Log::new(), Results::new());
        let watermarks = Watermarks::ascending().every(ms(1)).idle_after(ms(10));
        let mut running = in_lanes(&world, &log, &disk, watermarks, lanes);
        log.add(3);
        world.run();
        world.advance(ms(20));
        world.run();
        log.end();
        world.run();
        outcome(&mut running).unwrap().unwrap();
        assert_eq!(disk.visible(), [(0, 1, 3)]);
    }
}

#[test]
fn a_stream_says_how_far_it_has_come_before_it_is_idle() {
    let (world, log, disk) = (World::new(), Log::new(), Results::new());
    let watermarks = Watermarks::ascending().every(ms(20)).idle_after(ms(10));
    let _running = in_lanes(&world, &log, &disk, watermarks, 1);
    for record in [3, 25] {
        log.add(record);
    }
    world.run();
    world.advance(ms(10));
    world.run();
    assert_eq!(
        disk.written(),
        [(0, 1, 3)],
        "25 has come, and nothing more does"
    );
}

#[test]
fn while_records_come_a_stream_is_not_idle_though_no_silence_is_too_short() {
    let (world, log, disk) = (World::new(), Log::new(), Results::new());
    let watermarks = Watermarks::ascending().every(ms(20)).idle_after(ms(0));
    let _running = in_lanes(&world, &log, &disk, watermarks, 1);
    // More than come between two looks at the clock. A watermark behind these would make the last one late.
    for record in [25; 200].into_iter().chain([3]) {
        log.add(record);
    }
    world.run();
    assert_eq!(disk.written(), [(0, 1, 3)]);
}

#[test]
fn when_all_streams_are_idle_the_windows_are_complete_that_any_of_them_has_passed() {
    let (world, log, other, disk) = (World::new(), Log::new(), Log::new(), Results::new());
    let timed = |log: &Log<u64>| {
        let watermarks = Watermarks::ascending().every(ms(1)).idle_after(ms(10));
        Pipeline::source(log.reader())
            .event_time(|n: &u64| EventTime::from_millis(*n as i64), watermarks)
    };
    let job = timed(&log)
        .union(timed(&other))
        .key_by(|n| n % 2)
        .aggregate(
            Windows::tumbling(ms(10)),
            |sum: &mut u64, n| *sum += n,
            |late| panic!("{late} is not late"),
        )
        .map(|window| (window.start.as_millis(), window.key, window.value))
        .sink(disk.sink());
    let mut running = start(&world, job).unwrap();
    let advance = |milliseconds| {
        world.advance(ms(milliseconds));
        world.run();
    };
    other.add(20);
    world.run();
    advance(5);
    log.add(10);
    world.run();
    advance(9);
    assert_eq!(disk.written(), [], "20 is idle, and 10 is not");
    advance(1);
    assert_eq!(disk.written(), [(10, 0, 10)]);
    log.end();
    other.end();
    world.run();
    outcome(&mut running).unwrap().unwrap();
    assert_eq!(disk.visible(), [(10, 0, 10), (20, 0, 20)]);
}

#[test]
fn a_stream_whose_records_nobody_takes_is_not_idle() {
    let (log, other, disk) = (Log::new(), Log::new(), Results::new());
    let (calls, folder) = (Calls::new(), tempfile::tempdir().unwrap());
    let timed = |watermarks: Watermarks| {
        let time_of = |n: &u64| EventTime::from_millis(*n as i64);
        (time_of, watermarks.every(ms(1)))
    };
    let (time_of, watermarks) = timed(Watermarks::ascending().idle_after(ms(10)));
    let pass = |n: u64| async move { Ok::<_, Refused>(n) };
    let scripted = calls.clone();
    let held_up = Pipeline::source(log.reader())
        .async_map("first", pass, AsyncOptions::ordered())
        .event_time(time_of, watermarks)
        .async_map(
            "second",
            move |n| scripted.call(n),
            AsyncOptions::ordered().capacity(1),
        );
    let (time_of, watermarks) = timed(Watermarks::ascending());
    let job = held_up
        .union(Pipeline::source(other.reader()).event_time(time_of, watermarks))
        .key_by(|n| n % 2)
        .aggregate(
            Windows::tumbling(ms(10)),
            |sum: &mut u64, n| *sum += n,
            |late| panic!("{late} is not late"),
        )
        .map(|window| (window.start.as_millis(), window.key, window.value))
        .sink(disk.sink())
        .checkpoint(Life::checkpoints(), folder.path());
    let life = Life::begin(job);
    other.add(100);
    (1..=3).for_each(|record| log.add(record));
    life.world.run();
    life.tick();
    for record in 4..=6 {
        // The first stage has just had its turn, so the second asks for the barrier before it is there.
        log.add(record);
        life.world.run();
        life.checkpoint();
    }
    for record in 1..=6 {
        calls.answer(record, Answer::Output(record));
        life.world.run();
    }
    log.end();
    other.end();
    life.end();
    assert_eq!(disk.visible(), [(0, 0, 12), (0, 1, 9), (100, 0, 100)]);
}

#[test]
fn a_late_record_is_given_away_and_changes_nothing() {
    let (log, disk, folder) = (Log::new(), Disk::new(), tempfile::tempdir().unwrap());
    let windows = Windows::sliding(ms(10), ms(5));
    let bench = bench(&log, &disk, windows, folder.path());
    assert_eq!(bench.add(17), []);
    // The window from 5 is complete, that from 10 is not.
    bench.add(12);
    bench.add(2);
    assert_eq!(*bench.late.lock().unwrap(), [2]);
    assert_eq!(bench.add(30), [(10, 0, 12), (10, 1, 17), (15, 1, 17)]);
}

#[test]
fn c01_open_windows_are_part_of_the_checkpoint() {
    let (log, disk, folder) = (Log::new(), Disk::new(), tempfile::tempdir().unwrap());
    let windows = Windows::tumbling(ms(10));
    let first = bench(&log, &disk, windows, folder.path());
    first.add(2);
    first.add(14);
    first.world.advance(ms(100));
    first.world.run();
    assert_eq!(disk.visible(), [(0, 0, 2)]);
    first.add(16);
    first.world.close();
    drop(first.running);

    let second = bench(&log, &disk, windows, folder.path());
    second.add(3);
    assert_eq!(*second.late.lock().unwrap(), [3], "what was late still is");
    assert_eq!(
        second.add(20),
        [(0, 0, 2), (10, 0, 30)],
        "14 was kept, and 16 came again"
    );
}

#[test]
fn windows_without_event_times_say_what_is_missing() {
    let (world, log, disk) = (World::new(), Log::new(), Disk::new());
    log.add(1_u64);
    let job = Pipeline::source(log.reader())
        .key_by(|n| n % 2)
        .aggregate(
            Windows::tumbling(ms(1)),
            |sum: &mut u64, n| *sum += n,
            |_| {},
        )
        .map(|window| window.value)
        .sink(disk.sink());
    let mut running = start(&world, job).unwrap();
    let error = outcome(&mut running).unwrap().unwrap_err().to_string();
    assert!(
        error.contains("put `event_time` in front of the windows"),
        "{error}"
    );
}
