//! Keyed reduce: what leaves for each record, and what a checkpoint holds of it.

mod kit;

use kit::jobs::{Disk, Log, outcome, start};
use kit::lives::{Life, Step, steps};
use kit::{World, ms};
use peu_operators::EventTime;
use peu_operators::pipeline::{Pipeline, Watermarks, Windows};
use proptest::prelude::*;

/// A key, and the numbers that it has come to.
type Record = (u64, Vec<u64>);

struct Lasting {
    log: Log<Record>,
    disk: Disk<Record>,
    folder: tempfile::TempDir,
}

impl Lasting {
    fn new() -> Self {
        Self {
            log: Log::new(),
            disk: Disk::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn live(&self) -> Life {
        let job = Pipeline::source(self.log.reader())
            .key_by(|(key, _): &Record| *key)
            .reduce(|(_, so_far), (_, numbers)| so_far.extend(numbers))
            .sink(self.disk.sink())
            .checkpoint(Life::checkpoints(), self.folder.path());
        Life::begin(job)
    }

    fn add(&self, life: &Life, key: u64, number: u64) {
        self.log.add((key, vec![number]));
        life.world.run();
    }
}

#[test]
fn each_record_becomes_what_its_key_has_come_to() {
    let lasting = Lasting::new();
    let life = lasting.live();
    for (key, number) in [(1, 5), (2, 7), (1, 6), (1, 8)] {
        lasting.add(&life, key, number);
    }
    lasting.log.end();
    life.end();
    let expected = [
        (1, vec![5]),
        (2, vec![7]),
        (1, vec![5, 6]),
        (1, vec![5, 6, 8]),
    ];
    assert_eq!(lasting.disk.visible(), expected);
}

#[test]
fn an_outcome_has_the_event_time_of_its_record() {
    let (world, log, disk) = (World::new(), Log::new(), Disk::new());
    for number in [12_u64, 3, 14] {
        log.add(number);
    }
    log.end();
    let job = Pipeline::source(log.reader())
        .event_time(
            |n: &u64| EventTime::from_millis(*n as i64),
            Watermarks::bounded(ms(20)),
        )
        .key_by(|_| ())
        .reduce(|sum, n| *sum += n)
        .key_by(|_| ())
        .aggregate(
            Windows::tumbling(ms(10)),
            |sums: &mut Vec<u64>, sum| sums.push(sum),
            |_| {},
        )
        .map(|window| (window.start.as_millis(), window.value))
        .sink(disk.sink());
    let mut running = start(&world, job).unwrap();
    outcome(&mut running).unwrap().unwrap();
    assert_eq!(disk.visible(), [(0, vec![15]), (10, vec![12, 29])]);
}

#[test]
fn c01_what_keys_have_come_to_is_part_of_the_checkpoint() {
    let lasting = Lasting::new();
    let first = lasting.live();
    lasting.add(&first, 1, 5);
    first.checkpoint();
    lasting.add(&first, 1, 6);
    first.crash();

    let second = lasting.live();
    lasting.add(&second, 1, 7);
    assert_eq!(
        lasting.disk.written(),
        [(1, vec![5]), (1, vec![5, 6]), (1, vec![5, 6, 7])],
        "6 came again, once"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Each record's outcome is all records of its key up to it, in order, however often the job crashes.
    #[test]
    fn random_crashes_change_nothing(steps in steps(0_u64..4)) {
        let lasting = Lasting::new();
        let mut life = lasting.live();
        let (mut records, mut expected) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Add(key) => {
                    let number = records.len() as u64;
                    records.push((key, number));
                    let of_key = records.iter().filter(|record| record.0 == key);
                    expected.push((key, of_key.map(|record| record.1).collect::<Vec<_>>()));
                    lasting.add(&life, key, number);
                }
                Step::Checkpoint => life.checkpoint(),
                Step::Crash => {
                    life.crash();
                    life = lasting.live();
                }
            }
            prop_assert_eq!(lasting.disk.written(), expected.clone());
        }
        lasting.log.end();
        life.end();
        prop_assert_eq!(lasting.disk.visible(), expected);
    }
}
