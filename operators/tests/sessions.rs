//! Session windows: how they grow and merge, their late records, their part in checkpoints, and what a model makes of any schedule.

mod kit;

use kit::jobs::{Disk, Log, outcome, start};
use kit::lives::{Life, Step, steps};
use kit::{World, ms};
use peu_operators::EventTime;
use peu_operators::pipeline::{Pipeline, Watermarks};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

const GAP: i64 = 10;

/// Its key, and when it happened.
type Record = (u64, i64);
/// Key, start, end, and the times of its records.
type Session = (u64, i64, i64, Vec<i64>);

/// What outlives a crash; late records are kept here too.
struct Lasting {
    log: Log<Record>,
    disk: Disk<Session>,
    late: Arc<Mutex<Vec<Record>>>,
    folder: tempfile::TempDir,
    disorder: u64,
}

impl Lasting {
    fn new(disorder: u64) -> Self {
        Self {
            log: Log::new(),
            disk: Disk::new(),
            late: Arc::default(),
            folder: tempfile::tempdir().unwrap(),
            disorder,
        }
    }

    fn live(&self) -> Life {
        let late = Arc::clone(&self.late);
        let job = Pipeline::source(self.log.reader())
            .event_time(
                |(_, time): &Record| EventTime::from_millis(*time),
                Watermarks::bounded(ms(self.disorder)).every(ms(1)),
            )
            .key_by(|(key, _)| *key)
            .aggregate_sessions(
                ms(GAP as u64),
                |times: &mut Vec<i64>, (_, time)| times.push(time),
                |times, later| times.extend(later),
                move |record| late.lock().unwrap().push(record),
            )
            .map(|mut session| {
                session.value.sort_unstable();
                let (start, end) = (session.start.as_millis(), session.end.as_millis());
                (session.key, start, end, session.value)
            })
            .sink(self.disk.sink())
            .checkpoint(Life::checkpoints(), self.folder.path());
        Life::begin(job)
    }

    /// Adds a record, and lets a watermark follow it. Returns the results so far.
    fn add(&self, life: &Life, record: Record) -> Vec<Session> {
        self.log.add(record);
        life.world.run();
        life.tick();
        self.disk.written()
    }

    fn late(&self) -> Vec<Record> {
        self.late.lock().unwrap().clone()
    }

    /// The end of the input, and of the job. Returns all results.
    fn end(&self, life: Life) -> Vec<Session> {
        self.log.end();
        life.end();
        self.disk.visible()
    }
}

#[test]
fn a_session_ends_when_the_watermark_reaches_the_gap_behind_its_last_record_and_not_before() {
    let lasting = Lasting::new(0);
    let life = lasting.live();
    assert_eq!(lasting.add(&life, (1, 0)), []);
    assert_eq!(lasting.add(&life, (1, 9)), []);
    assert_eq!(lasting.add(&life, (2, 18)), []);
    let mut results = lasting.add(&life, (2, 19));
    assert_eq!(results, [(1, 0, 19, vec![0, 9])]);
    results.push((2, 18, 29, vec![18, 19]));
    assert_eq!(lasting.end(life), results);
    assert_eq!(lasting.late(), []);
}

#[test]
fn a_silence_as_long_as_the_gap_parts_sessions_whether_or_not_a_watermark_came_between() {
    let together = Lasting::new(100);
    let life = together.live();
    together.add(&life, (1, 10));
    together.add(&life, (1, 0));
    let parted = [(1, 0, 10, vec![0]), (1, 10, 20, vec![10])];
    assert_eq!(together.end(life), parted);

    let one_by_one = Lasting::new(0);
    let life = one_by_one.live();
    one_by_one.add(&life, (1, 0));
    one_by_one.add(&life, (2, 10));
    one_by_one.add(&life, (1, 10));
    let results = one_by_one.end(life);
    assert_eq!(results[..2], parted);
}

#[test]
fn a_record_that_bridges_two_sessions_makes_them_one_and_those_of_other_keys_stay() {
    let lasting = Lasting::new(100);
    let life = lasting.live();
    for record in [(1, 0), (1, 18), (2, 0), (2, 18), (1, 9), (1, 40)] {
        lasting.add(&life, record);
    }
    assert_eq!(
        lasting.end(life),
        [
            (2, 0, 10, vec![0]),
            (1, 0, 28, vec![0, 9, 18]),
            (2, 18, 28, vec![18]),
            (1, 40, 50, vec![40])
        ],
        "by their ends, then by keys"
    );
}

#[test]
fn a_late_record_is_given_away_unless_a_session_is_open_where_it_falls() {
    let lasting = Lasting::new(0);
    let life = lasting.live();
    lasting.add(&life, (1, 0));
    lasting.add(&life, (2, 20));
    // A session of the record alone would end exactly at the watermark, or a millisecond behind it.
    lasting.add(&life, (3, 10));
    lasting.add(&life, (3, 11));
    assert_eq!(lasting.late(), [(3, 10)]);
    // And now there is one that begins at 11: what falls into it is as good as it.
    lasting.add(&life, (3, 2));
    assert_eq!(lasting.late(), [(3, 10)]);
    assert_eq!(
        lasting.end(life),
        [
            (1, 0, 10, vec![0]),
            (3, 2, 21, vec![2, 11]),
            (2, 20, 30, vec![20])
        ]
    );
}

#[test]
fn the_ends_of_time_lose_no_record() {
    let lasting = Lasting::new(1_000);
    let life = lasting.live();
    for time in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX, i64::MAX] {
        lasting.add(&life, (1, time));
    }
    let ends = [
        (1, i64::MIN, i64::MIN + 11, vec![i64::MIN, i64::MIN + 1]),
        (1, i64::MAX - 1, i64::MAX, vec![i64::MAX - 1]),
    ];
    assert_eq!(lasting.end(life), ends);
    assert_eq!(
        lasting.late(),
        [(1, i64::MAX), (1, i64::MAX)],
        "there is no session"
    );
}

#[test]
fn c01_open_sessions_and_the_watermark_are_part_of_the_checkpoint() {
    let lasting = Lasting::new(0);
    let first = lasting.live();
    for record in [(1, 0), (1, 20), (2, 24)] {
        lasting.add(&first, record);
    }
    first.checkpoint();
    lasting.add(&first, (1, 40));
    assert_eq!(lasting.disk.written().len(), 3);
    first.crash();

    let second = lasting.live();
    assert_eq!(lasting.add(&second, (3, 14)).len(), 3, "40 came again");
    assert_eq!(lasting.late(), [(3, 14)], "what was late still is");
    assert_eq!(
        lasting.end(second),
        [
            (1, 0, 10, vec![0]),
            (1, 20, 30, vec![20]),
            (2, 24, 34, vec![24]),
            (1, 40, 50, vec![40])
        ]
    );
}

#[test]
fn sessions_without_event_times_say_what_is_missing() {
    let (world, log, disk) = (World::new(), Log::new(), Disk::new());
    log.add(1_u64);
    let add = |sum: &mut u64, n| *sum += n;
    let job = Pipeline::source(log.reader())
        .key_by(|n| n % 2)
        .aggregate_sessions(ms(1), add, |sum, later| *sum += later, |_| {})
        .map(|session| session.value)
        .sink(disk.sink());
    let mut running = start(&world, job).unwrap();
    let error = outcome(&mut running).unwrap().unwrap_err().to_string();
    assert!(
        error.contains("put `event_time` in front of the sessions"),
        "{error}"
    );
}

#[test]
#[should_panic(expected = "at least 1 ms apart")]
fn sessions_without_a_gap_are_refused() {
    let numbers = Pipeline::source(Log::<u64>::new().reader());
    let add = |sum: &mut u64, n| *sum += n;
    let _ =
        numbers
            .key_by(|n| *n)
            .aggregate_sessions(ms(0), add, |sum, later| *sum += later, |_| {});
}

/// What sessions are, with no thought for cost: lists of records.
#[derive(Clone, Default)]
struct Model {
    highest: Option<i64>,
    watermark: Option<i64>,
    open: Vec<Vec<Record>>,
    results: Vec<Session>,
    late: Vec<Record>,
}

impl Model {
    fn add(&mut self, record: Record) {
        let (key, time) = record;
        self.highest = self.highest.max(Some(time));
        let is_near = |other: &Record| other.0 == key && other.1.abs_diff(time) < GAP as u64;
        let sessions = std::mem::take(&mut self.open);
        let (near, far): (Vec<_>, Vec<_>) = sessions
            .into_iter()
            .partition(|session| session.iter().any(is_near));
        self.open = far;
        if near.is_empty() && Some(time + GAP) <= self.watermark {
            return self.late.push(record);
        }
        let joined = near.into_iter().flatten().chain([record]).collect();
        self.open.push(joined);
    }

    fn tick(&mut self, disorder: u64) {
        self.watermark = self.highest.map(|highest| highest - disorder as i64);
        self.complete();
    }

    fn end(&mut self) {
        self.watermark = Some(i64::MAX);
        self.complete();
    }

    fn complete(&mut self) {
        let sessions = std::mem::take(&mut self.open);
        let (over, open): (Vec<_>, Vec<_>) = sessions
            .into_iter()
            .partition(|session| Some(result(session).2) <= self.watermark);
        self.open = open;
        let mut results: Vec<_> = over.iter().map(|session| result(session)).collect();
        results.sort_by_key(|(key, _, end, _)| (*end, *key));
        self.results.extend(results);
    }
}

fn result(session: &[Record]) -> Session {
    let mut times: Vec<_> = session.iter().map(|(_, time)| *time).collect();
    times.sort_unstable();
    (session[0].0, times[0], times[times.len() - 1] + GAP, times)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Results, their order, and what is late are the model's, however often the job crashes.
    #[test]
    fn any_schedule_gives_what_the_model_gives(disorder in 0_u64..80, steps in steps((0_u64..3, 0_i64..150))) {
        let lasting = Lasting::new(disorder);
        let mut life = lasting.live();
        let (mut model, mut saved, mut since) = (Model::default(), Model::default(), Vec::new());
        for step in steps {
            match step {
                Step::Add(record) => {
                    since.push(record);
                    model.add(record);
                    model.tick(disorder);
                    lasting.add(&life, record);
                }
                Step::Checkpoint => {
                    life.checkpoint();
                    saved = model.clone();
                    since.clear();
                }
                Step::Crash => {
                    life.crash();
                    lasting.late.lock().unwrap().truncate(saved.late.len());
                    life = lasting.live();
                    life.tick();
                    // What comes again comes at once: no watermark is between.
                    model = saved.clone();
                    since.iter().for_each(|record| model.add(*record));
                    model.tick(disorder);
                }
            }
            prop_assert_eq!(lasting.disk.written(), model.results.clone());
            prop_assert_eq!(lasting.late(), model.late.clone());
        }
        model.end();
        prop_assert_eq!(lasting.end(life), model.results);
    }

    /// As long as no record is late, sessions are what one sees who has all records in order before him.
    #[test]
    fn sessions_do_not_depend_on_the_order_of_records(
        records in vec((0_u64..3, 0_i64..300, 0_i64..=20), 1..60),
    ) {
        let mut disordered = records.clone();
        disordered.sort_by_key(|(_, time, delay)| time + delay);
        let lasting = Lasting::new(20);
        let life = lasting.live();
        for (key, time, _) in disordered {
            lasting.add(&life, (key, time));
        }
        let mut ordered: Vec<Record> = records.iter().map(|(key, time, _)| (*key, *time)).collect();
        ordered.sort_unstable();
        let in_session = |a: &Record, b: &Record| a.0 == b.0 && b.1 - a.1 < GAP;
        let mut expected: Vec<_> = ordered.chunk_by(in_session).map(result).collect();
        expected.sort_by_key(|(key, _, end, _)| (*end, *key));
        prop_assert_eq!(lasting.end(life), expected);
        prop_assert_eq!(lasting.late(), []);
    }
}
