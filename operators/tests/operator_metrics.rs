//! What the operators of a pipeline count, exactly, and as Prometheus text.

mod kit;

use kit::jobs::{Disk, Log, outcome, start};
use kit::{Refused, World, ms};
use peu_operators::pipeline::{
    Job, Keyed, Operator, OperatorMetrics, Pipeline, Running, Sink, Watermarks, Windows, collect,
    every, iterate, side_output,
};
use peu_operators::{AsyncOptions, EventTime, MetricsCollector, OnError};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::future::ready;

/// A job whose records are times in milliseconds, which come to watermarks without disorder when a millisecond passes.
struct Bench {
    world: World,
    log: Log<u64>,
    running: Running,
}

/// The records of a log by whether they are even.
fn keyed(log: &Log<u64>) -> Keyed<impl Operator<Item = u64> + use<>, fn(&u64) -> u64> {
    Pipeline::source(log.reader())
        .event_time(
            |n: &u64| EventTime::from_millis(*n as i64),
            Watermarks::ascending().every(ms(1)),
        )
        .key_by(|n| n % 2)
}

fn windows(log: &Log<u64>, windows: Windows) -> Pipeline<impl Operator<Item = u64> + use<>> {
    let windows = keyed(log).aggregate(windows, |sum: &mut u64, n| *sum += n, |_late| {});
    windows.map(|window| window.value)
}

fn sessions(log: &Log<u64>) -> Pipeline<impl Operator<Item = u64> + use<>> {
    let add = |sum: &mut u64, n| *sum += n;
    let merge = |sum: &mut u64, later| *sum += later;
    let sessions = keyed(log).aggregate_sessions(ms(10), add, merge, |_late| {});
    sessions.map(|session| session.value)
}

fn join(left: &Log<u64>, right: &Log<u64>) -> Pipeline<impl Operator<Item = u64> + use<>> {
    let pair = |left: &u64, right: &u64| 1_000 * left + right;
    keyed(left).interval_join(keyed(right), ms(5), ms(5), pair, |_late| {})
}

impl Bench {
    fn new<O: Operator, K: Sink<O::Item>>(log: &Log<u64>, job: Job<O, K>) -> Self {
        let world = World::new();
        let running = start(&world, job).unwrap();
        Self {
            world,
            log: log.clone(),
            running,
        }
    }

    fn add(&self, records: impl IntoIterator<Item = u64>) {
        for record in records {
            self.log.add(record);
            self.world.run();
            self.world.advance(ms(1));
            self.world.run();
        }
    }

    fn end(&self) {
        self.log.end();
        self.world.run();
    }

    /// In, out, late, held, and the watermark.
    fn counts(&self, name: &str) -> (u64, u64, u64, usize, Option<i64>) {
        let operators = self.running.operators();
        let found = operators.iter().find(|(other, _)| **other == *name);
        let (_, monitor) = found.unwrap_or_else(|| panic!("{name} in {operators:?}"));
        counts(monitor.metrics())
    }
}

fn counts(metrics: OperatorMetrics) -> (u64, u64, u64, usize, Option<i64>) {
    let OperatorMetrics {
        records_in,
        records_out,
        late_records,
        held,
        watermark,
        ..
    } = metrics;
    let watermark = watermark.map(EventTime::as_millis);
    (records_in, records_out, late_records, held, watermark)
}

const MAX: Option<i64> = Some(i64::MAX);

/// A look at the clock is due behind the record whose call panics, and it is the last. The sink counts the last watermark that came.
#[test]
fn a_watermark_that_is_due_where_a_call_panics_does_not_come_behind_the_last() {
    for last in 60..70_u64 {
        let world = World::new();
        let (sink, taken) = collect();
        let call = move |n| {
            assert_ne!(n, last, "not this one");
            ready(Ok::<_, Refused>(n))
        };
        let job = Pipeline::source(iterate(0..=last))
            .event_time(
                |n: &u64| EventTime::from_millis(*n as i64),
                Watermarks::ascending().every(ms(0)),
            )
            .async_map(
                "call",
                call,
                AsyncOptions::unordered().on_error(OnError::Skip),
            )
            .sink(sink);
        let mut running = start(&world, job).unwrap();
        let report = outcome(&mut running).unwrap().unwrap();
        assert_eq!(taken.take().len() as u64, last);
        let (_, sink) = &report.operators[2];
        assert_eq!(sink.watermark, Some(EventTime::MAX), "{last}");
    }
}

#[test]
fn windows_count_what_comes_what_is_late_and_what_they_hold() {
    let (log, disk) = (Log::new(), Disk::new());
    let bench = Bench::new(
        &log,
        windows(&log, Windows::tumbling(ms(10))).sink(disk.sink()),
    );
    assert_eq!(bench.counts("windows"), (0, 0, 0, 0, None));
    bench.add([3, 4, 5]);
    assert_eq!(bench.counts("windows"), (3, 0, 0, 2, Some(5)));
    bench.add([20, 9, 21]);
    assert_eq!(bench.counts("windows"), (6, 2, 1, 2, Some(21)));
    bench.end();
    assert_eq!(bench.counts("windows"), (6, 4, 1, 0, MAX));
}

#[test]
fn a_record_in_two_windows_comes_once_and_is_held_twice() {
    let (log, disk) = (Log::new(), Disk::new());
    let sliding = Windows::sliding(ms(10), ms(5));
    let bench = Bench::new(&log, windows(&log, sliding).sink(disk.sink()));
    bench.add([12]);
    assert_eq!(bench.counts("windows"), (1, 0, 0, 2, Some(12)));
    bench.end();
    assert_eq!(bench.counts("windows"), (1, 2, 0, 0, MAX));
}

#[test]
fn sessions_that_become_one_are_held_once() {
    let (log, disk) = (Log::new(), Disk::new());
    let bench = Bench::new(&log, sessions(&log).sink(disk.sink()));
    bench.add([2, 1, 4]);
    assert_eq!(bench.counts("sessions"), (3, 0, 0, 2, Some(4)));
    bench.add([40, 6]);
    assert_eq!(bench.counts("sessions"), (5, 2, 1, 1, Some(40)));
    bench.end();
    assert_eq!(bench.counts("sessions"), (5, 3, 1, 0, MAX));
}

#[test]
fn a_join_holds_records_and_gives_pairs() {
    let (left, right, disk) = (Log::new(), Log::new(), Disk::new());
    let bench = Bench::new(&left, join(&left, &right).sink(disk.sink()));
    right.add(2);
    right.add(2);
    bench.add([4, 3]);
    assert_eq!(bench.counts("interval join"), (4, 2, 0, 4, Some(2)));
    right.add(20);
    bench.add([21, 5]);
    assert_eq!(bench.counts("interval join"), (7, 2, 1, 2, Some(20)));
    assert_eq!(bench.counts("source").1, 4);
    assert_eq!(bench.counts("source 2").1, 3);
}

#[test]
fn a_reduce_holds_a_record_for_each_key() {
    let (log, disk) = (Log::new(), Disk::new());
    let reduced = keyed(&log).reduce(|sum, n| *sum += n);
    let bench = Bench::new(&log, reduced.sink(disk.sink()));
    bench.add([1, 2, 3]);
    assert_eq!(bench.counts("reduce"), (3, 3, 0, 2, Some(3)));
}

#[test]
fn from_the_source_to_the_sink_each_counts_its_records() {
    let (log, disk) = (Log::new(), Disk::new());
    let filtered = Pipeline::source(log.reader())
        .event_time(
            |n: &u64| EventTime::from_millis(*n as i64),
            Watermarks::ascending(),
        )
        .filter(|n| n % 2 == 0);
    let mut bench = Bench::new(&log, filtered.sink(disk.sink()));
    // More than pass between two looks at the clock.
    (0..100).for_each(|n| log.add(n));
    bench.end();
    assert_eq!(bench.counts("source"), (0, 100, 0, 0, None));
    assert_eq!(bench.counts("event time"), (100, 100, 0, 0, MAX));
    assert_eq!(bench.counts("sink"), (50, 0, 0, 0, MAX));
    let report = outcome(&mut bench.running).unwrap().unwrap();
    assert_eq!(report.written, 50);
    let names: Vec<&str> = report.operators.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["source", "event time", "sink"]);
    assert_eq!(counts(report.operators[2].1), (50, 0, 0, 0, MAX));
}

#[test]
fn lanes_count_apart() {
    let (log, disk) = (Log::new(), Disk::new());
    let numbers = Pipeline::source(log.reader());
    let lanes = numbers.parallelism(2, |lane| lane.key_by(|n| n % 2).reduce(|sum, n| *sum += n));
    let bench = Bench::new(&log, lanes.sink(disk.sink()));
    bench.add([1, 3, 5]);
    let lanes = ["lane 0: reduce", "lane 1: reduce"].map(|name| bench.counts(name));
    assert_eq!(lanes, [(1, 1, 0, 1, None), (2, 2, 0, 1, None)]);
}

/// A second life counts its own records, and holds what the first did.
fn lives_on<O: Operator<Item = u64>>(
    name: &str,
    counts: (u64, u64, u64, usize),
    operators: impl Fn(&Log<u64>) -> Pipeline<O>,
) {
    let (log, disk, folder) = (Log::new(), Disk::new(), tempfile::tempdir().unwrap());
    let live = || {
        let job = operators(&log).sink(disk.sink());
        Bench::new(
            &log,
            job.checkpoint(every(ms(1_000)).restore(), folder.path()),
        )
    };
    let first = live();
    first.add([2, 1, 4]);
    first.world.advance(ms(1_000));
    first.world.run();
    let (records_in, records_out, late, held) = counts;
    assert_eq!(
        first.counts(name),
        (records_in, records_out, late, held, Some(4))
    );
    first.world.close();
    drop(first);
    assert_eq!(live().counts(name), (0, 0, 0, held, Some(4)), "{name}");
}

#[test]
fn what_is_held_and_the_watermark_are_those_of_the_checkpoint() {
    lives_on("windows", (3, 0, 0, 2), |log| {
        windows(log, Windows::tumbling(ms(100)))
    });
    lives_on("sessions", (3, 0, 0, 2), sessions);
    lives_on("interval join", (4, 2, 1, 3), |log| {
        let right = Log::new();
        right.add(4);
        right.end();
        join(log, &right).filter(|_| false)
    });
}

#[test]
fn operators_as_prometheus_text() {
    let (log, disk) = (Log::new(), Disk::new());
    let bench = Bench::new(
        &log,
        windows(&log, Windows::tumbling(ms(10))).sink(disk.sink()),
    );
    bench.add([1_003, 1_020, 2]);
    let mut registry = Registry::default();
    let metrics = MetricsCollector::new().operators(bench.running.operators());
    registry.register_collector(Box::new(metrics));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for line in [
        "# TYPE peu_operator_records_in counter",
        r#"peu_operator_records_in_total{operator="windows"} 3"#,
        r#"peu_operator_records_out_total{operator="windows"} 1"#,
        r#"peu_operator_late_records_total{operator="windows"} 1"#,
        "# TYPE peu_operator_held gauge",
        r#"peu_operator_held{operator="windows"} 1"#,
        r#"peu_operator_watermark_seconds{operator="windows"} 1.02"#,
        r#"peu_operator_records_in_total{operator="sink"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let of_source = r#"peu_operator_watermark_seconds{operator="source"}"#;
    assert!(!text.contains(of_source), "a source has none: {text}");
}

#[test]
fn side_sinks_count_too_each_under_a_name() {
    let (log, disk) = (Log::new(), Disk::new());
    let (late, late_records) = side_output();
    let (later, later_records) = side_output();
    let windows = |late| {
        keyed(&log)
            .aggregate(
                Windows::tumbling(ms(10)),
                |sum: &mut u64, n| *sum += n,
                late,
            )
            .map(|window| window.value)
    };
    let (first, second) = (Disk::new(), Disk::new());
    let job = windows(late)
        .union(windows(later))
        .sink(disk.sink())
        .side_sink(late_records, first.sink())
        .side_sink(later_records, second.sink());
    let bench = Bench::new(&log, job);
    bench.add([20, 3, 4, 30]);
    for name in ["side sink", "side sink 2"] {
        assert_eq!(bench.counts(name), (2, 0, 0, 0, None), "{name}");
    }
    bench.end();
    let written = disk.written().len() as u64;
    assert_eq!(bench.counts("sink"), (written, 0, 0, 0, MAX));
    assert_eq!(
        (first.visible(), second.visible()),
        (vec![3, 4], vec![3, 4])
    );
}
