//! A fault at every await: wherever the code of a job's user is asked or waits, in turn it panics, fails, or hangs.
//!
//! A run without a fault counts the points that it comes by, in the source, both stages and the sink, or the sink and the one at its side; then there is a run for each
//! point and each fault. Whatever happens: nothing hangs that has a timeout, the job ends and leaves nothing behind, and once it
//! has gone on from its last checkpoint each record is in the committed output, exactly once.

mod kit;

use kit::faults::{End, Fault, Points, drive};
use kit::jobs::Disk;
use kit::{World, ms};
use peu_operators::pipeline::{
    Host, Pipeline, Sink, Source, Watermarks, Windows, every, side_output,
};
use peu_operators::{AsyncOptions, EventTime, OnError};
use std::path::Path;
use std::task::{Context, Poll};

const RECORDS: u64 = 5;

/// A request that hangs has so long.
const TIMEOUT: u64 = 10;

/// The numbers from 0 up.
struct Numbers {
    points: Points,
    next: u64,
    hangs: bool,
}

impl Source for Numbers {
    type Item = u64;
    type Position = u64;
    type Error = &'static str;

    fn open(&mut self, _host: &Host, from: Option<u64>) {
        self.next = from.unwrap_or(0);
    }

    fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<u64, &'static str>>> {
        match self.points.count("the source") {
            Some(Fault::Panic) => panic!("the source panics"),
            Some(Fault::Error) => return Poll::Ready(Some(Err("an error"))),
            Some(Fault::Hang) => self.hangs = true,
            None => {}
        }
        if self.hangs {
            return Poll::Pending;
        }
        let number = (self.next < RECORDS).then_some(self.next);
        self.next += u64::from(number.is_some());
        Poll::Ready(number.map(Ok))
    }

    fn position(&self) -> u64 {
        self.next
    }
}

/// A sink that is given a file which survives the job.
struct Faulty<K>(Points, K);

impl<K> Sink<u64> for Faulty<K>
where
    K: Sink<u64, Prepared = usize, Error = &'static str>,
{
    type Prepared = usize;
    type Error = &'static str;

    async fn open(&mut self, host: &Host, restored: Option<&usize>) -> Result<(), Self::Error> {
        self.0.pass("the sink, opened").await?;
        self.1.open(host, restored).await
    }

    async fn write(&mut self, record: u64) -> Result<(), Self::Error> {
        self.0.pass("the sink, before a write").await?;
        self.1.write(record).await?;
        self.0.pass("the sink, after a write").await
    }

    async fn prepare(&mut self, is_last: bool) -> Result<usize, Self::Error> {
        self.0.pass("the sink, before it prepares").await?;
        let prepared = self.1.prepare(is_last).await?;
        self.0.pass("the sink, prepared").await?;
        Ok(prepared)
    }

    async fn commit(&mut self, prepared: &usize) -> Result<(), Self::Error> {
        self.0.pass("the sink, before a commit").await?;
        self.1.commit(prepared).await?;
        self.0.pass("the sink, committed").await
    }

    async fn abort(&mut self) {
        let _ = self.0.pass("the sink, aborted").await;
        self.1.abort().await;
    }
}

/// Runs a job of two stages over `disk` until it ends, or hangs and is stopped. Nothing is left of it.
fn run(points: &Points, disk: &Disk<u64>, on_error: OnError, state: &Path) -> End {
    let world = points.world();
    let call = |place: &'static str| {
        let points = points.clone();
        move |number: u64| {
            let points = points.clone();
            async move {
                points.pass(place).await?;
                points.pass(place).await?;
                Ok::<u64, &'static str>(number)
            }
        }
    };
    let numbers = Numbers {
        points: points.clone(),
        next: 0,
        hangs: false,
    };
    let job = Pipeline::source(numbers)
        .event_time(
            |number| EventTime::from_millis(*number as i64),
            Watermarks::ascending().every(ms(1)),
        )
        .async_map(
            "first",
            call("the first stage"),
            AsyncOptions::ordered()
                .capacity(2)
                .timeout(ms(TIMEOUT))
                .on_error(on_error),
        )
        .async_map(
            "second",
            call("the second stage"),
            AsyncOptions::unordered()
                .capacity(2)
                .timeout(ms(TIMEOUT))
                .on_error(on_error),
        )
        .sink(Faulty(points.clone(), disk.sink()))
        .checkpoint(every(ms(3)).restore(), state);
    drive(world, job)
}

/// How many points a run without a fault comes by.
fn points_of_a_run(on_error: OnError) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let (disk, points) = (Disk::new(), Points::new(&World::new(), None));
    let end = run(&points, &disk, on_error, &folder.path().join("state"));
    assert!(matches!(end, End::Ended(Ok(_))), "{end:?}");
    assert_eq!(sorted(disk.visible()), Vec::from_iter(0..RECORDS));
    assert!(disk.commits() > 1, "there were checkpoints on the way");
    points.passed()
}

fn sorted(mut numbers: Vec<u64>) -> Vec<u64> {
    numbers.sort_unstable();
    numbers
}

/// A run with a fault, and one without that goes on from there.
fn strike(point: usize, fault: Fault, on_error: OnError) {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let disk = Disk::new();
    let points = Points::new(&World::new(), Some((point, fault)));
    let end = run(&points, &disk, on_error, &state);
    let place = points.struck().expect("the fault was on the way");
    let what = format!("{fault:?} at point {point}, {place}: {end:?}");
    let is_request = place.ends_with("stage");
    match &end {
        End::Stopped => assert!(
            (fault == Fault::Hang || place.contains("opened")) && !is_request,
            "{what}"
        ),
        End::Ended(Ok(_)) => assert!(is_request && matches!(on_error, OnError::Skip), "{what}"),
        End::Ended(Err(_)) => {}
    }
    let lost = match end {
        End::Ended(Ok(report)) => report.stages.iter().map(|(_, m)| m.skipped).sum(),
        _ => 0,
    };
    run(&Points::new(&World::new(), None), &disk, on_error, &state);
    let visible = sorted(disk.visible());
    assert_eq!(visible.len() as u64 + lost, RECORDS, "{what}: {visible:?}");
    assert!(
        visible.is_sorted_by(|one, next| one < next),
        "{what}: {visible:?}"
    );
}

fn strike_everywhere(on_error: OnError) {
    let points = points_of_a_run(on_error);
    assert!(points > 40, "{points} points");
    for fault in [Fault::Panic, Fault::Error, Fault::Hang] {
        (0..points).for_each(|point| strike(point, fault, on_error));
    }
}

#[test]
fn a_job_that_a_fault_ends_leaves_nothing_behind_and_goes_on_from_its_checkpoint() {
    strike_everywhere(OnError::Fail);
}

#[test]
fn a_job_that_skips_failures_loses_the_one_record_and_no_other() {
    strike_everywhere(OnError::Skip);
}

/// Runs a job whose late records have a sink of their own, until it ends, or hangs and is stopped. Nothing is left of it.
fn run_with_side(points: &Points, disk: &Disk<u64>, late_disk: &Disk<u64>, state: &Path) -> End {
    let numbers = Numbers {
        points: points.clone(),
        next: 0,
        hangs: false,
    };
    let (late, late_records) = side_output();
    // Time passes between two records, and so does a watermark.
    let passed = points.clone();
    let slow = move |number: u64| {
        let points = passed.clone();
        async move { points.pass("the stage").await.map(|()| number) }
    };
    let time_of =
        |number: &u64| EventTime::from_millis((1 - *number as i64 % 2) * 10 * *number as i64);
    let job = Pipeline::source(numbers)
        .async_map(
            "slow",
            slow,
            AsyncOptions::ordered().capacity(1).timeout(ms(TIMEOUT)),
        )
        .event_time(time_of, Watermarks::ascending().every(ms(0)))
        .key_by(|number| number % 2)
        .aggregate(Windows::tumbling(ms(5)), Vec::push, late)
        .flat_map(|window| window.value)
        .sink(Faulty(points.clone(), disk.sink()))
        .side_sink(late_records, Faulty(points.clone(), late_disk.sink()))
        .checkpoint(every(ms(3)).restore(), state);
    drive(points.world(), job)
}

/// A run with a fault, and one without that goes on from there.
fn strike_with_side(point: usize, fault: Fault) {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (disk, late) = (Disk::new(), Disk::new());
    let points = Points::new(&World::new(), Some((point, fault)));
    let end = run_with_side(&points, &disk, &late, &state);
    let place = points.struck().expect("the fault was on the way");
    let what = format!("{fault:?} at point {point}, {place}: {end:?}");
    let is_opening = place.contains("opened");
    match &end {
        End::Stopped => {
            let is_hang = fault == Fault::Hang && place != "the stage";
            assert!(is_hang || is_opening, "{what}");
        }
        End::Ended(Ok(_)) => panic!("{what}"),
        End::Ended(Err(_)) => {
            let aborted = (disk.aborted(), late.aborted());
            assert!(is_opening || aborted == (true, true), "{what}: {aborted:?}");
        }
    }
    run_with_side(&Points::new(&World::new(), None), &disk, &late, &state);
    let visible = sorted([disk.visible(), late.visible()].concat());
    assert_eq!(visible, Vec::from_iter(0..RECORDS), "{what}");
}

#[test]
fn a_fault_in_a_job_with_a_side_sink_leaves_nothing_behind_and_each_record_in_one_of_both_sinks() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, late) = (Disk::new(), Disk::new());
    let points = Points::new(&World::new(), None);
    run_with_side(&points, &disk, &late, &folder.path().join("state"));
    assert_eq!(
        (disk.visible(), late.visible()),
        (vec![0, 1, 2, 4], vec![3])
    );
    assert!(late.commits() > 1, "there were checkpoints on the way");
    let points = points.passed();
    assert!(points > 40, "{points} points");
    for fault in [Fault::Panic, Fault::Error, Fault::Hang] {
        (0..points).for_each(|point| strike_with_side(point, fault));
    }
}
