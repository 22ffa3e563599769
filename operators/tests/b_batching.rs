//! Family B: batches.

mod kit;

use futures_lite::StreamExt as _;
use kit::jobs::{Disk, Log};
use kit::lives::Life;
use kit::{Feed, Refused, Tap, World, ms};
use peu_operators::pipeline::Pipeline;
use peu_operators::{
    AsyncMap, AsyncOptions, BatchOptions, Batcher, Cause, DeadLetters, Fallback, OnError, Retry,
    StagePolicies, StreamExt as _,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a batch was called with; records over 1,000 are refused, 666 refuses the whole call.
#[derive(Clone, Default)]
struct Service(Arc<Mutex<Vec<Vec<u64>>>>);

impl Service {
    fn calls(&self) -> Vec<Vec<u64>> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// A batch takes so long after its call.
    fn batcher(
        &self,
        world: &World,
        options: BatchOptions<u64>,
        takes: Duration,
    ) -> Batcher<u64, u64, Refused> {
        let (service, clock) = (self.clone(), world.clone());
        Batcher::new(world, options, move |records: Vec<u64>| {
            service.0.lock().unwrap().push(records.clone());
            let pause = peu_operators::Timer::sleep_until(
                &clock,
                peu_operators::Timer::now(&clock) + takes,
            );
            async move {
                pause.await;
                if records.contains(&666) {
                    return Err(Refused);
                }
                let answer = |record: u64| {
                    if record > 1_000 {
                        Err(Refused)
                    } else {
                        Ok(10 * record)
                    }
                };
                Ok(records.into_iter().map(answer).collect())
            }
        })
    }
}

struct Batching {
    world: World,
    feed: Feed,
    service: Service,
    out: Tap<AsyncMap<u64>>,
}

impl Batching {
    fn new<P>(batch: BatchOptions<u64>, takes: u64, options: AsyncOptions<P>) -> Self
    where
        P: StagePolicies<u64, u64, Arc<Refused>>,
    {
        let (world, service) = (World::new(), Service::default());
        let batcher = service.batcher(&world, batch, ms(takes));
        let (feed, source) = Feed::new();
        let out = source.async_map(&world, "stage", move |record| batcher.call(record), options);
        let out = Tap::new(out);
        Self {
            world,
            feed,
            service,
            out,
        }
    }

    fn push(&self, records: impl IntoIterator<Item = u64>) {
        records
            .into_iter()
            .for_each(|record| self.feed.push(record));
        self.world.run();
    }

    fn advance(&self, milliseconds: u64) {
        self.world.advance(ms(milliseconds));
        self.world.run();
    }

    /// All outputs that are there, by size: in unordered mode those of a batch finish together.
    fn take_sorted(&mut self) -> Vec<u64> {
        let mut outputs = self.take_all();
        outputs.sort_unstable();
        outputs
    }

    fn take_all(&mut self) -> Vec<u64> {
        let mut outputs = Vec::new();
        while let Some(output) = self.out.next_now() {
            outputs.push(output.expect("no failure is expected"));
            self.world.run();
        }
        outputs
    }
}

#[test]
fn b01_a_batch_is_called_when_it_has_its_count() {
    let batch = BatchOptions::new(3, ms(100));
    let mut bench = Batching::new(batch, 0, AsyncOptions::ordered());
    bench.push(1..=7);
    assert_eq!(bench.service.calls(), [vec![1, 2, 3], vec![4, 5, 6]]);
    assert_eq!(bench.take_all(), [10, 20, 30, 40, 50, 60]);
    bench.advance(100);
    assert_eq!(bench.service.calls(), [vec![7]]);
    assert_eq!(bench.take_all(), [70]);
}

#[test]
fn b01_or_its_bytes_and_the_order_of_the_mode_holds() {
    let batch = BatchOptions::new(100, ms(100)).bytes(10, |record| *record);
    let mut bench = Batching::new(batch, 0, AsyncOptions::ordered());
    bench.push([4, 5, 2, 8, 11, 3]);
    let mut calls = bench.service.calls();
    calls.sort_unstable();
    assert_eq!(calls, [vec![2, 8], vec![4, 5], vec![11]]);
    bench.advance(100);
    assert_eq!(bench.service.calls(), [vec![3]]);
    assert_eq!(bench.take_all(), [40, 50, 20, 80, 110, 30]);
}

#[test]
fn b01_a_record_that_is_too_large_is_asked_for_alone_whatever_waits() {
    let batch = BatchOptions::new(100, ms(100)).bytes(10, |record| *record);
    let bench = Batching::new(batch, 0, AsyncOptions::unordered());
    bench.push([0, 0, 11]);
    let mut calls = bench.service.calls();
    calls.sort_unstable();
    assert_eq!(calls, [vec![0, 0], vec![11]]);
}

#[test]
fn b02_at_99_ms_it_waits_and_at_100_ms_it_is_called() {
    let batch = BatchOptions::new(3, ms(100));
    let mut bench = Batching::new(batch, 0, AsyncOptions::unordered());
    bench.push([1]);
    bench.advance(50);
    bench.push([2]);
    bench.advance(49);
    assert_eq!(bench.service.calls(), [[0_u64; 0]; 0]);
    bench.advance(1);
    assert_eq!(bench.service.calls(), [[1, 2]]);
    assert_eq!(bench.take_sorted(), [10, 20]);
}

#[test]
fn b02_a_record_that_has_left_takes_its_bytes_along() {
    let batch = BatchOptions::new(100, ms(100)).bytes(10, |record| *record);
    let options = AsyncOptions::unordered()
        .timeout(ms(50))
        .on_error(OnError::Skip);
    let mut bench = Batching::new(batch, 0, options);
    bench.push([6]);
    bench.advance(20);
    bench.push([1]);
    bench.advance(30);
    // 6 is out of time: there is room for 8 beside 1, and for one more byte.
    bench.push([8]);
    assert_eq!(bench.service.calls(), [[0_u64; 0]; 0]);
    bench.push([1]);
    assert_eq!(bench.service.calls(), [[1, 8, 1]]);
    assert_eq!(bench.take_sorted(), [10, 10, 80]);
}

#[test]
fn b02_the_time_begins_anew_with_the_first_record_of_the_next_batch() {
    let batch = BatchOptions::new(2, ms(100));
    let bench = Batching::new(batch, 0, AsyncOptions::unordered());
    bench.push([1]);
    bench.advance(90);
    bench.push([2, 3]);
    assert_eq!(bench.service.calls(), [[1, 2]]);
    bench.advance(99);
    assert_eq!(bench.service.calls(), [[0_u64; 0]; 0]);
    bench.advance(1);
    assert_eq!(bench.service.calls(), [[3]]);
}

#[test]
fn b02_a_record_that_comes_during_a_call_is_in_the_next_batch() {
    let batch = BatchOptions::new(3, ms(100));
    let bench = Batching::new(batch, 50, AsyncOptions::unordered());
    bench.push([1]);
    bench.advance(100);
    bench.push([2]);
    assert_eq!(bench.service.calls(), [[1]]);
    bench.advance(100);
    assert_eq!(bench.service.calls(), [[2]]);
}

#[test]
fn b03_equal_keys_in_a_batch_are_asked_once() {
    let batch = BatchOptions::new(2, ms(100)).distinct_by(|record| *record);
    let mut bench = Batching::new(batch, 0, AsyncOptions::ordered());
    bench.push([7, 7, 7, 8, 7, 9]);
    assert_eq!(bench.service.calls(), [[7, 8], [7, 9]]);
    assert_eq!(bench.take_all(), [70, 70, 70, 80, 70, 90]);
}

#[test]
fn b04_only_the_failed_records_of_a_batch_are_retried_and_dead_letters() {
    let batch = BatchOptions::new(3, ms(100));
    let dead = Arc::new(Mutex::new(Vec::new()));
    let letters = Arc::clone(&dead);
    let options = AsyncOptions::unordered()
        .retry(Retry::fixed(ms(10)).max_retries(1))
        .on_error(DeadLetters(move |failure: peu_operators::Failure<u64>| {
            letters
                .lock()
                .unwrap()
                .push((failure.record, failure.attempts));
        }));
    let mut bench = Batching::new(batch, 0, options);
    bench.push([1, 2_000, 3]);
    assert_eq!(bench.service.calls(), [[1, 2_000, 3]]);
    assert_eq!(bench.take_sorted(), [10, 30]);
    bench.advance(10);
    bench.push([4]);
    bench.advance(100);
    assert_eq!(bench.service.calls(), [[2_000, 4]], "again, with others");
    assert_eq!(bench.take_all(), [40]);
    assert_eq!(*dead.lock().unwrap(), [(2_000, 2)]);
}

#[test]
fn b04_the_failure_of_a_call_is_that_of_all_its_records() {
    let batch = BatchOptions::new(2, ms(100));
    let options = AsyncOptions::ordered().on_error(peu_operators::OnError::Skip);
    let mut bench = Batching::new(batch, 0, options);
    bench.push([1, 666, 2, 3]);
    assert_eq!(bench.take_all(), [20, 30]);
    assert_eq!(bench.out.stream().metrics().failed, 2);
}

#[test]
fn b04_a_record_that_timed_out_is_not_asked_for_and_the_others_are() {
    let batch = BatchOptions::new(3, ms(100));
    let options = AsyncOptions::unordered().timeout_with(ms(50), |_: &u64| Fallback::Skip);
    let mut bench = Batching::new(batch, 20, options);
    bench.push([1]);
    bench.advance(49);
    bench.push([2]);
    bench.advance(1);
    assert_eq!(bench.out.stream().metrics().timed_out, 1);
    bench.push([3, 4]);
    assert_eq!(bench.service.calls(), [[2, 3, 4]], "the place of 1 is free");
    bench.advance(20);
    assert_eq!(bench.take_sorted(), [20, 30, 40]);
}

#[test]
fn b04_a_call_that_all_have_left_is_dropped_and_the_next_record_begins_anew() {
    let batch = BatchOptions::new(2, ms(100));
    let options = AsyncOptions::unordered().timeout_with(ms(50), |_: &u64| Fallback::Skip);
    let mut bench = Batching::new(batch, 1_000, options);
    bench.push([1, 2, 3]);
    bench.advance(50);
    assert_eq!(bench.service.calls(), [[1, 2]]);
    assert_eq!(
        bench.world.sleeps(),
        0,
        "neither the calls nor the age of 3 are left"
    );
    bench.push([4, 5]);
    assert_eq!(bench.service.calls(), [[4, 5]]);
    assert_eq!(bench.take_all(), [0_u64; 0]);
}

#[test]
fn b04_too_few_results_are_a_failure_of_all_with_a_message() {
    let world = World::new();
    let batcher: Batcher<u64, u64, Refused> =
        Batcher::new(&world, BatchOptions::new(2, ms(100)), |_| async {
            Ok(vec![Ok(1)])
        });
    let records = futures_lite::stream::iter([1, 2]).chain(futures_lite::stream::pending());
    let options = AsyncOptions::ordered();
    let mut out = Tap::new(records.async_map(&world, "stage", move |n| batcher.call(n), options));
    world.run();
    let error = out.next_now().expect("an error").unwrap_err();
    assert!(
        matches!(error.cause(), Cause::Panicked(said) if said.starts_with("a batch of 2 records had 1 results")),
        "{error}"
    );
}

#[test]
fn b05_what_waits_in_a_batch_is_in_flight_and_so_part_of_a_checkpoint() {
    let bench = Batching::new(BatchOptions::new(5, ms(100)), 0, AsyncOptions::ordered());
    bench.push(1..=7);
    let metrics = bench.out.stream().metrics();
    assert_eq!((metrics.in_flight, metrics.queued), (2, 5), "6 and 7 wait");
    assert_eq!(metrics.accepted, 7);
}

#[test]
fn b05_what_waits_in_a_batch_is_called_after_a_restart_and_comes_out_once() {
    let (log, disk) = (Log::new(), Disk::new());
    let folder = tempfile::tempdir().unwrap();
    let live = || {
        let service = Service::default();
        let calls = service.clone();
        let life = Life::begin_in(|world| {
            let batcher = service.batcher(world, BatchOptions::new(3, ms(9_000_000)), ms(1));
            Pipeline::source(log.reader())
                .async_map("stage", move |n| batcher.call(n), AsyncOptions::ordered())
                .sink(disk.sink())
                .checkpoint(Life::checkpoints(), folder.path())
        });
        (life, calls)
    };
    let (first, calls) = live();
    (1..=5).for_each(|n| log.add(n));
    first.tick();
    assert_eq!(calls.calls(), [[1, 2, 3]], "4 and 5 wait");
    first.tick();
    first.checkpoint();
    assert_eq!(disk.visible(), [10, 20, 30]);
    first.crash();

    let (second, calls) = live();
    assert!(calls.calls().is_empty(), "4 and 5 wait again");
    log.add(6);
    second.tick();
    assert_eq!(calls.calls(), [[4, 5, 6]], "1 to 3 are not called again");
    second.tick();
    log.end();
    second.end();
    assert_eq!(disk.visible(), [10, 20, 30, 40, 50, 60]);
}

#[test]
fn b01_stages_may_fill_one_batch() {
    let (world, service) = (World::new(), Service::default());
    let batcher = service.batcher(&world, BatchOptions::new(2, ms(100)), ms(0));
    let stage = |record: u64| {
        let batcher = batcher.clone();
        let records = futures_lite::stream::iter([record]);
        let stage = records.async_map(
            &world,
            "stage",
            move |n| batcher.call(n),
            AsyncOptions::ordered(),
        );
        Tap::new(stage)
    };
    let (mut one, mut other) = (stage(1), stage(2));
    world.run();
    assert_eq!(service.calls(), [[1, 2]]);
    assert_eq!(one.next_now().unwrap().unwrap(), 10);
    assert_eq!(other.next_now().unwrap().unwrap(), 20);
    assert_eq!(batcher.metrics().calls, 1);
    assert_eq!(batcher.metrics().records, 2);
}

#[test]
fn b03_a_key_that_panics_has_failed_its_record_and_no_other() {
    let key = |record: &u64| {
        assert!(*record != 13, "no key");
        *record
    };
    let batch = BatchOptions::new(2, ms(100)).distinct_by(key);
    let options = AsyncOptions::ordered().on_error(peu_operators::OnError::Skip);
    let mut bench = Batching::new(batch, 0, options);
    bench.push([13, 1, 13, 2]);
    assert_eq!(bench.service.calls(), [[1, 2]]);
    assert_eq!(bench.take_all(), [10, 20]);
    assert_eq!(bench.out.stream().metrics().failed, 2);
}
