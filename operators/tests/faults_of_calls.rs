//! A fault at every await of what a stage or a sink calls: retries, fallbacks, loads of a cache and of a table, batches, requests of
//! a sink. In turn each panics, fails or hangs.
//!
//! Whatever happens, the job ends and leaves nothing behind; an error names the stage and the record; and once the job has gone on from
//! its last checkpoint, each record is in the output: once where the sink commits, at least once where it is a service.

mod kit;

use kit::faults::{End, Fault, Points, drive, wait};
use kit::jobs::Disk;
use kit::{World, ms};
use peu_operators::pipeline::{AsyncSink, AsyncSinkOptions, Pipeline, every, iterate};
use peu_operators::{
    AsyncOptions, BatchOptions, Batcher, Cache, CacheOptions, Fallback, Reload, Retry,
    StagePolicies, Table, Timer as _,
};
use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::future::pending;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Mutex;

const RECORDS: u64 = 6;

/// A request has so long.
const TIMEOUT: u64 = 10;

const STAGE: &str = "stage";

/// What a job does with its records, and may do wrong.
type Run = fn(&Points, &Disk<u64>, &Path) -> End;

async fn pass(points: &Points, place: &'static str) -> io::Result<()> {
    points.pass(place).await.map_err(io::Error::other)
}

/// A job with one stage, between a source and a sink that commits.
fn job<F, Fut, E, P>(
    points: &Points,
    disk: &Disk<u64>,
    state: &Path,
    function: F,
    options: AsyncOptions<P>,
) -> End
where
    F: FnMut(u64) -> Fut + Send + 'static,
    Fut: Future<Output = Result<u64, E>> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
    P: StagePolicies<u64, u64, E>,
{
    let job = Pipeline::source(iterate(0..RECORDS))
        .async_map(STAGE, function, options)
        .sink(disk.sink())
        .checkpoint(every(ms(3)).restore(), state);
    drive(points.world(), job)
}

fn timed() -> AsyncOptions {
    ordered().timeout(ms(TIMEOUT))
}

fn ordered() -> AsyncOptions {
    AsyncOptions::ordered().capacity(3)
}

fn retries(points: &Points, disk: &Disk<u64>, state: &Path) -> End {
    let function = {
        let points = points.clone();
        move |number: u64| {
            let points = points.clone();
            async move {
                pass(&points, "a call").await?;
                pass(&points, "a call").await?;
                Ok::<_, io::Error>(number)
            }
        }
    };
    let retry = Retry::fixed(ms(1)).max_retries(1);
    let options = timed().retry(retry);
    job(points, disk, state, function, options)
}

fn fallbacks(points: &Points, disk: &Disk<u64>, state: &Path) -> End {
    let fallback = {
        let points = points.clone();
        move |number: u64| {
            let points = points.clone();
            async move {
                match pass(&points, "a fallback").await {
                    Ok(()) => Fallback::Output(number),
                    Err(_) => Fallback::Fail,
                }
            }
        }
    };
    let function = |_: u64| pending::<io::Result<u64>>();
    let options = ordered().timeout_then(ms(TIMEOUT), ms(TIMEOUT), fallback);
    job(points, disk, state, function, options)
}

fn loads(points: &Points, disk: &Disk<u64>, state: &Path) -> End {
    let world = points.world();
    // By its end a refresh that hangs is dropped.
    let options = CacheOptions::entries(9).expire_after_write(ms(50));
    let load = {
        let (points, known) = (points.clone(), Mutex::new(HashSet::new()));
        move |key: u64| {
            let points = points.clone();
            let is_first = known.lock().unwrap().insert(key);
            let place = if is_first { "a load" } else { "a refresh" };
            async move { pass(&points, place).await.map(|()| Some(key)) }
        }
    };
    let cache: Cache<u64, u64, io::Error> = Cache::new(world, options.refresh_after(ms(1)), load);
    let function = {
        let world = world.clone();
        move |number: u64| {
            let found = cache.get(number % 2);
            let pause = world.sleep_until(world.now() + ms(2));
            async move {
                let found = found.await;
                // So that entries are due when the next records come.
                pause.await;
                found.map(|_| number)
            }
        }
    };
    job(points, disk, state, function, timed())
}

fn reloads(points: &Points, disk: &Disk<u64>, state: &Path) -> End {
    let world = points.world();
    let load = {
        let (points, mut is_first) = (points.clone(), true);
        move || {
            let (points, first) = (points.clone(), is_first);
            is_first = false;
            async move {
                if !first {
                    pass(&points, "a reload").await?;
                }
                Ok::<_, io::Error>(HashMap::from([(0_u64, 0_u64), (1, 1)]))
            }
        }
    };
    let table = wait(world, pin!(Table::load(world, Reload::every(ms(1)), load)));
    let table = table.expect("the first load is ready").expect("and well");
    let function = {
        let world = world.clone();
        move |number: u64| {
            let found = table.get(&(number % 2));
            let pause = world.sleep_until(world.now() + ms(2));
            async move {
                pause.await;
                let missing = || io::Error::other("the table is gone");
                found.map(|_| number).ok_or_else(missing)
            }
        }
    };
    job(points, disk, state, function, timed())
}

fn batches(points: &Points, disk: &Disk<u64>, state: &Path) -> End {
    let call = {
        let points = points.clone();
        move |numbers: Vec<u64>| {
            let points = points.clone();
            async move {
                pass(&points, "a batch").await?;
                Ok(numbers.into_iter().map(Ok).collect())
            }
        }
    };
    let batcher: Batcher<u64, u64, io::Error> =
        Batcher::new(points.world(), BatchOptions::new(2, ms(2)), call);
    let function = move |number: u64| batcher.call(number);
    job(points, disk, state, function, timed())
}

/// Into a service, whose rows are those of the disk.
fn requests_of_a_sink(points: &Points, disk: &Disk<u64>, state: &Path) -> End {
    let call = {
        let (points, disk) = (points.clone(), disk.clone());
        move |numbers: Vec<u64>| {
            let (points, disk) = (points.clone(), disk.clone());
            async move {
                pass(&points, "a request").await?;
                disk.insert(&numbers);
                pass(&points, "a request").await?;
                Ok::<_, io::Error>(numbers.iter().map(|_| Ok(())).collect())
            }
        }
    };
    let options = AsyncSinkOptions::new(2, ms(2))
        .timeout(ms(TIMEOUT))
        .retry(Retry::fixed(ms(1)).max_retries(0));
    let job = Pipeline::source(iterate(0..RECORDS))
        .sink(AsyncSink::new(STAGE, call, options))
        .checkpoint(every(ms(3)).restore(), state);
    drive(points.world(), job)
}

/// Each point of a run in turn, each fault, and a run that goes on from there. What may come of the first is for `expects` to say.
fn strike_everywhere(run: Run, is_exactly_once: bool, expects: fn(Fault, &str, &End) -> bool) {
    let (disk, points) = (Disk::new(), Points::new(&World::new(), None));
    let folder = tempfile::tempdir().unwrap();
    let end = run(&points, &disk, folder.path());
    assert!(matches!(end, End::Ended(Ok(_))), "{end:?}");
    let count = points.passed();
    assert!(count > 1, "{count} points");
    for fault in [Fault::Panic, Fault::Error, Fault::Hang] {
        for point in 0..count {
            let disk = Disk::new();
            let folder = tempfile::tempdir().unwrap();
            let points = Points::new(&World::new(), Some((point, fault)));
            let end = run(&points, &disk, folder.path());
            let place = points.struck().expect("the fault was on the way");
            let what = format!("{fault:?} at point {point}, {place}: {end:?}");
            assert!(expects(fault, place, &end), "{what}");
            if let End::Ended(Err(error)) = &end {
                let error = error.to_string();
                let named = error.contains(STAGE) && error.contains("record");
                assert!(named, "{what}: {error}");
            }
            let again = run(&Points::new(&World::new(), None), &disk, folder.path());
            assert!(matches!(again, End::Ended(Ok(_))), "{what}, then {again:?}");
            let mut visible = disk.visible();
            visible.sort_unstable();
            if !is_exactly_once {
                visible.dedup();
            }
            assert_eq!(visible, Vec::from_iter(0..RECORDS), "{what}");
        }
    }
}

fn has_ended(end: &End) -> bool {
    matches!(end, End::Ended(_))
}

fn is_well(end: &End) -> bool {
    matches!(end, End::Ended(Ok(_)))
}

#[test]
fn an_attempt_that_fails_is_made_again_and_one_that_panics_or_hangs_is_the_records_failure() {
    strike_everywhere(retries, true, |fault, _, end| {
        is_well(end) == (fault == Fault::Error)
    });
}

#[test]
fn a_fallback_that_panics_fails_or_hangs_is_the_records_failure() {
    strike_everywhere(fallbacks, true, |_, _, end| has_ended(end) && !is_well(end));
}

#[test]
fn a_load_fails_whoever_waits_for_it_and_a_refresh_fails_nobody() {
    strike_everywhere(loads, true, |_, place, end| {
        has_ended(end) && is_well(end) == (place == "a refresh")
    });
}

#[test]
fn a_reload_of_a_table_fails_nobody() {
    strike_everywhere(reloads, true, |_, _, end| is_well(end));
}

#[test]
fn a_batch_fails_its_records() {
    strike_everywhere(batches, true, |_, _, end| has_ended(end) && !is_well(end));
}

#[test]
fn a_request_of_a_sink_fails_its_records_and_all_are_written_at_least_once() {
    strike_everywhere(requests_of_a_sink, false, |_, _, end| {
        has_ended(end) && !is_well(end)
    });
}
