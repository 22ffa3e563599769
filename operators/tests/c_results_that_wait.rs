//! Checkpoints while the results of windows, sessions and joins wait for a stage without room: they wait where they are, and
//! the checkpoint has them from there.

mod kit;

use kit::jobs::{Disk, Log};
use kit::lives::Life;
use kit::{Answer, Calls, ms};
use peu_operators::pipeline::{Operator, Pipeline, Watermarks, Windows};
use peu_operators::{AsyncOptions, EventTime};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const CAPACITY: usize = 2;

/// What outlives a crash. A record is a time in milliseconds.
struct Lasting {
    log: Log<u64>,
    disk: Disk<u64>,
    folder: tempfile::TempDir,
}

/// How many results have left their operator, and the calls of the stage behind it.
#[derive(Clone)]
struct Seen {
    results: Arc<AtomicUsize>,
    calls: Calls,
}

impl Seen {
    fn results(&self) -> usize {
        self.results.load(Ordering::Relaxed)
    }
}

impl Lasting {
    fn new(records: std::ops::Range<u64>) -> Self {
        let (log, disk) = (Log::new(), Disk::new());
        records.for_each(|record| log.add(record));
        let folder = tempfile::tempdir().unwrap();
        Self { log, disk, folder }
    }

    /// A job of these results, and a stage for them.
    fn live(&self, results: Pipeline<impl Operator<Item = u64>>) -> (Life, Seen) {
        let seen = Seen {
            results: Arc::default(),
            calls: Calls::new(),
        };
        let Seen {
            results: count,
            calls,
        } = seen.clone();
        let options = AsyncOptions::ordered().capacity(CAPACITY);
        let job = results
            .inspect(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            })
            .async_map("stage", move |record| calls.call(record), options)
            .sink(self.disk.sink())
            .checkpoint(Life::checkpoints(), self.folder.path());
        (Life::begin(job), seen)
    }

    fn timed(&self) -> Pipeline<impl Operator<Item = u64> + use<>> {
        let watermarks = Watermarks::ascending().every(ms(1));
        Pipeline::source(self.log.reader())
            .event_time(|n| EventTime::from_millis(*n as i64), watermarks)
    }
}

/// The last record brings forth more results than the stage has room for. `ends`: and then comes the end of the input.
fn check<O: Operator<Item = u64>>(
    (records, last): (std::ops::Range<u64>, u64),
    ends: bool,
    results: impl Fn(&Lasting) -> Pipeline<O>,
    expected: &[u64],
) {
    let lasting = Lasting::new(records);
    let (first, seen) = lasting.live(results(&lasting));
    first.tick();
    lasting.log.add(last);
    if ends {
        lasting.log.end();
    }
    first.world.run();
    first.tick();
    // One more than there is room for, lest a mark be behind it.
    assert_eq!(seen.results(), CAPACITY + 1);
    for checkpoint in 1..=2 {
        first.checkpoint();
        assert_eq!(lasting.disk.commits(), checkpoint, "it was made");
        assert_eq!(seen.results(), CAPACITY + 1, "it moved no result");
    }
    first.crash();

    let (second, seen) = lasting.live(results(&lasting));
    assert_eq!(seen.calls.made(), expected[..CAPACITY]);
    lasting.log.end();
    for result in expected {
        seen.calls.answer(*result, Answer::Output(*result));
    }
    second.end();
    assert_eq!(lasting.disk.visible(), expected, "each once");
}

#[test]
fn c03_the_results_of_windows_wait_where_they_are() {
    for ends in [false, true] {
        let windows = |lasting: &Lasting| {
            let by_record = lasting.timed().key_by(|n| *n);
            let add = |sum: &mut u64, n| *sum += n;
            let late = |late| panic!("{late} is not late");
            by_record
                .aggregate(Windows::tumbling(ms(10)), add, late)
                .map(|window| window.value)
        };
        let expected: Vec<u64> = (1..10).chain([15]).collect();
        check((1..10, 15), ends, windows, &expected);
    }
}

#[test]
fn c03_the_results_of_sessions_wait_where_they_are() {
    for ends in [false, true] {
        let sessions = |lasting: &Lasting| {
            let by_record = lasting.timed().key_by(|n| *n);
            let add = |sum: &mut u64, n| *sum += n;
            let merge = |sum: &mut u64, other| *sum += other;
            let late = |late| panic!("{late} is not late");
            by_record
                .aggregate_sessions(ms(10), add, merge, late)
                .map(|session| session.value)
        };
        let expected: Vec<u64> = (1..10).chain([35]).collect();
        check((1..10, 35), ends, sessions, &expected);
    }
}

#[test]
fn c03_the_pairs_of_a_join_wait_where_they_are() {
    for ends in [false, true] {
        let joined = |lasting: &Lasting| {
            // The last record meets all that came before it.
            let keyed = |is_left| {
                lasting
                    .timed()
                    .filter(move |n| (*n == 10) == is_left)
                    .key_by(|_| 0)
            };
            let join = |left: &u64, right: &u64| left * right;
            let late = |late| panic!("{late:?} is not late");
            keyed(true).interval_join(keyed(false), ms(100), ms(100), join, late)
        };
        let expected: Vec<u64> = (1..10).map(|n| 10 * n).collect();
        check((1..10, 10), ends, joined, &expected);
    }
}
