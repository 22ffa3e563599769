//! The interval join: its bounds, its late records, its part in checkpoints, and what a model makes of any schedule.

mod kit;

use kit::jobs::{Disk, Log, outcome, start};
use kit::lives::{Life, Step, steps};
use kit::{World, ms};
use peu_operators::EventTime;
use peu_operators::pipeline::{Keyed, Operator, Pipeline, Side, Watermarks};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

const LOWER: i64 = 5;
const UPPER: i64 = 10;

/// Its key, and when it happened.
type Record = (u64, i64);
type Pair = (Record, Record);

/// What outlives a crash; late records are kept here too.
struct Lasting {
    left: Log<Record>,
    right: Log<Record>,
    disk: Disk<Pair>,
    late: Arc<Mutex<Vec<Side<Record, Record>>>>,
    folder: tempfile::TempDir,
    disorder: u64,
}

impl Lasting {
    fn new(disorder: u64) -> Self {
        Self {
            left: Log::new(),
            right: Log::new(),
            disk: Disk::new(),
            late: Arc::default(),
            folder: tempfile::tempdir().unwrap(),
            disorder,
        }
    }

    fn live(&self) -> Life {
        let late = Arc::clone(&self.late);
        let job = self
            .keyed(&self.left)
            .interval_join(
                self.keyed(&self.right),
                ms(LOWER as u64),
                ms(UPPER as u64),
                |left, right| (*left, *right),
                move |record| late.lock().unwrap().push(record),
            )
            .sink(self.disk.sink())
            .checkpoint(Life::checkpoints(), self.folder.path());
        Life::begin(job)
    }

    fn keyed(
        &self,
        log: &Log<Record>,
    ) -> Keyed<impl Operator<Item = Record> + use<>, impl FnMut(&Record) -> u64 + Send + use<>>
    {
        let watermarks = Watermarks::bounded(ms(self.disorder)).every(ms(1));
        Pipeline::source(log.reader())
            .event_time(|(_, time)| EventTime::from_millis(*time), watermarks)
            .key_by(|(key, _): &Record| *key)
    }

    /// Adds a record, and lets a watermark follow it. Returns the pairs so far.
    fn add(&self, life: &Life, record: Side<Record, Record>) -> Vec<Pair> {
        match record {
            Side::Left(record) => self.left.add(record),
            Side::Right(record) => self.right.add(record),
        }
        life.world.run();
        life.tick();
        self.disk.written()
    }

    fn late(&self) -> Vec<Side<Record, Record>> {
        self.late.lock().unwrap().clone()
    }

    /// The end of both inputs, and of the job. Returns all pairs.
    fn end(&self, life: Life) -> Vec<Pair> {
        self.left.end();
        self.right.end();
        life.end();
        self.disk.visible()
    }
}

#[test]
fn both_ends_of_the_interval_are_in_it_and_nothing_beyond_whoever_comes_first() {
    let times = [94, 95, 100, 110, 111];
    let expected = [95, 100, 110].map(|time| ((1, 100), (1, time)));

    let right_first = Lasting::new(1_000);
    let life = right_first.live();
    for time in times {
        right_first.add(&life, Side::Right((1, time)));
    }
    assert_eq!(right_first.add(&life, Side::Left((1, 100))), expected);

    let left_first = Lasting::new(1_000);
    let life = left_first.live();
    left_first.add(&life, Side::Left((1, 100)));
    for time in times {
        left_first.add(&life, Side::Right((1, time)));
        left_first.add(&life, Side::Right((2, time)));
    }
    assert_eq!(left_first.disk.written(), expected);
    assert_eq!(left_first.end(life), expected);
}

#[test]
fn records_of_the_same_time_are_all_kept() {
    let lasting = Lasting::new(0);
    let life = lasting.live();
    for _ in 0..2 {
        lasting.add(&life, Side::Left((1, 0)));
        lasting.add(&life, Side::Right((1, 0)));
    }
    assert_eq!(lasting.end(life), [((1, 0), (1, 0)); 4]);
}

#[test]
fn the_watermark_is_the_lower_of_both_and_what_is_behind_it_is_late() {
    let lasting = Lasting::new(0);
    let life = lasting.live();
    lasting.add(&life, Side::Left((1, 50)));
    lasting.add(&life, Side::Left((1, 40)));
    assert_eq!(lasting.late(), [], "the right may be far behind");
    // The watermark is now 50, that of the left.
    lasting.add(&life, Side::Right((1, 60)));
    let before = lasting.add(&life, Side::Right((1, 50)));
    assert_eq!(
        before,
        [((1, 50), (1, 60)), ((1, 40), (1, 50)), ((1, 50), (1, 50))],
        "exactly at the watermark is not late, and 40 + {UPPER} is still kept"
    );
    lasting.add(&life, Side::Right((1, 49)));
    lasting.add(&life, Side::Left((1, 49)));
    assert_eq!(lasting.late(), [Side::Right((1, 49)), Side::Left((1, 49))]);
    assert_eq!(lasting.end(life), before);
}

#[test]
fn c01_what_is_kept_and_the_watermark_are_part_of_the_checkpoint() {
    let lasting = Lasting::new(0);
    let first = lasting.live();
    for time in [20, 30] {
        lasting.add(&first, Side::Left((1, time)));
        lasting.add(&first, Side::Right((1, time)));
    }
    first.checkpoint();
    lasting.add(&first, Side::Right((1, 40)));
    let pairs = [(20, 20), (20, 30), (30, 30), (30, 40)];
    let mut pairs = pairs.map(|(left, right)| ((1, left), (1, right))).to_vec();
    pairs.sort_unstable();
    let sorted = |mut pairs: Vec<Pair>| {
        pairs.sort_unstable();
        pairs
    };
    assert_eq!(sorted(lasting.disk.written()), pairs);
    first.crash();

    let second = lasting.live();
    assert_eq!(sorted(lasting.disk.written()), pairs, "40 came again, once");
    lasting.add(&second, Side::Left((1, 29)));
    assert_eq!(lasting.late(), [Side::Left((1, 29))]);
    assert_eq!(sorted(lasting.end(second)), pairs);
}

#[test]
fn many_records_that_join_nothing_are_taken_over_many_polls() {
    let lasting = Lasting::new(0);
    (0..1_000).for_each(|time| lasting.left.add((1, time)));
    let life = lasting.live();
    assert!(life.world.polls() > 7, "128 records are enough for one");
    lasting.right.add((1, 999));
    life.world.run();
    assert_eq!(lasting.disk.written().len(), 11, "from 989 on");
    assert_eq!(lasting.end(life).len(), 11);
}

#[test]
fn joins_without_event_times_say_what_is_missing() {
    let (world, log, disk) = (World::new(), Log::new(), Disk::new());
    log.add(1_u64);
    let numbers = || Pipeline::source(log.reader()).key_by(|n: &u64| *n);
    let job = numbers()
        .interval_join(numbers(), ms(1), ms(1), |left, _| *left, |_| {})
        .sink(disk.sink());
    let mut running = start(&world, job).unwrap();
    let error = outcome(&mut running).unwrap().unwrap_err().to_string();
    assert!(
        error.contains("put `event_time` in front of the interval join"),
        "{error}"
    );
}

/// What the join is, with no thought for cost: nothing is ever dropped.
#[derive(Clone, Default)]
struct Model {
    left: Vec<Record>,
    right: Vec<Record>,
    highest: [Option<i64>; 2],
    watermark: Option<i64>,
    pairs: Vec<Pair>,
    late: Vec<Side<Record, Record>>,
}

impl Model {
    fn add(&mut self, record: Side<Record, Record>) {
        let (side, time) = match record {
            Side::Left((_, time)) => (0, time),
            Side::Right((_, time)) => (1, time),
        };
        self.highest[side] = self.highest[side].max(Some(time));
        if Some(time) < self.watermark {
            return self.late.push(record);
        }
        let (left, right) = match record {
            Side::Left(record) => {
                self.left.push(record);
                (vec![record], self.right.clone())
            }
            Side::Right(record) => {
                self.right.push(record);
                (self.left.clone(), vec![record])
            }
        };
        for left in left {
            let joins = |right: &&Record| {
                right.0 == left.0 && left.1 - LOWER <= right.1 && right.1 <= left.1 + UPPER
            };
            self.pairs
                .extend(right.iter().filter(joins).map(|right| (left, *right)));
        }
    }

    fn tick(&mut self, disorder: u64) {
        if let [Some(left), Some(right)] = self.highest {
            self.watermark = Some(left.min(right) - disorder as i64);
        }
    }

    /// Those that came of one record have no order here.
    fn pairs(&self) -> Vec<Pair> {
        let mut pairs = self.pairs.clone();
        pairs.sort_unstable();
        pairs
    }
}

/// A record of either side.
fn record() -> impl Strategy<Value = Side<Record, Record>> {
    let record = || (0_u64..3, 0_i64..80);
    prop_oneof![
        record().prop_map(Side::Left),
        record().prop_map(Side::Right)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Pairs and what is late are the model's, which drops nothing, however often the job crashes.
    #[test]
    fn any_schedule_gives_what_the_model_gives(disorder in 0_u64..60, steps in steps(record())) {
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
                    // The two streams come again each in its order, and together in any.
                    let key = |record: &Side<_, _>| matches!(record, Side::Right(_));
                    lasting.late.lock().unwrap()[saved.late.len()..].sort_by_key(key);
                    model.late[saved.late.len()..].sort_by_key(key);
                }
            }
            let mut pairs = lasting.disk.written();
            pairs.sort_unstable();
            prop_assert_eq!(pairs, model.pairs());
            prop_assert_eq!(lasting.late(), model.late.clone());
        }
        let mut pairs = lasting.end(life);
        pairs.sort_unstable();
        prop_assert_eq!(pairs, model.pairs());
    }
}
