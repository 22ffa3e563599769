//! Family A: order, capacity, progress.

mod kit;

use futures_core::Stream;
use kit::{Answer, Bench, Calls, Feed, Refused, Tap, World, ms};
use peu_operators::{AsyncOptions, OnError, Retry, StagePolicies, StreamExt as _};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

#[test]
fn a01_ordered_emits_in_input_order_whatever_the_completion_order() {
    let mut bench = Bench::new(AsyncOptions::ordered());
    bench.push(1..=4);
    bench.complete(3);
    bench.complete(2);
    assert_eq!(bench.take_all(), [0_u64; 0], "nothing before the head");
    bench.complete(1);
    assert_eq!(
        bench.take_all(),
        [10, 20, 30],
        "the head, and all behind it"
    );
    bench.complete(4);
    assert_eq!(bench.take_all(), [40]);
}

#[test]
fn a02_unordered_emits_in_completion_order() {
    let mut bench = Bench::new(AsyncOptions::unordered());
    bench.push(1..=4);
    bench.complete(3);
    assert_eq!(bench.take_all(), [30]);
    // Two that complete between two polls of the stage: the order of their wake-ups is known.
    bench.calls.answer(4, Answer::Output(40));
    bench.calls.answer(1, Answer::Output(10));
    bench.world.run();
    assert_eq!(bench.take_all(), [40, 10]);
}

#[test]
fn a02_ties_are_emitted_in_input_order() {
    let mut bench = Bench::new(AsyncOptions::unordered());
    for record in [3, 1, 2] {
        bench.calls.answer(record, Answer::Output(10 * record));
    }
    bench.push(1..=3);
    assert_eq!(
        bench.take_all(),
        [10, 20, 30],
        "all ready at their first poll"
    );

    let fallback = |record: &u64| peu_operators::Fallback::Output(100 * record);
    let mut bench = Bench::new(AsyncOptions::unordered().timeout_with(ms(5), fallback));
    bench.push(1..=3);
    bench.advance(5);
    assert_eq!(bench.take_all(), [100, 200, 300], "all timed out together");
}

#[test]
fn a02_records_that_are_ready_at_once_do_not_hold_up_a_request_that_was_woken() {
    let mut bench = Bench::new(AsyncOptions::unordered());
    bench.push([1]);
    for record in 2..=9 {
        bench.calls.answer(record, Answer::Output(10 * record));
        bench.feed.push(record);
    }
    bench.calls.answer(1, Answer::Output(10));
    bench.world.run();
    let outputs = bench.take_all();
    assert_eq!(
        outputs,
        [20, 10, 30, 40, 50, 60, 70, 80, 90],
        "the input had one turn"
    );
}

#[test]
fn a01_a_record_that_is_ready_at_once_waits_for_those_before_it() {
    let mut bench = Bench::new(AsyncOptions::ordered());
    for record in [2, 4] {
        bench.calls.answer(record, Answer::Output(10 * record));
    }
    bench.push([1, 2]);
    assert_eq!(bench.take_all(), [0_u64; 0]);
    bench.complete(1);
    assert_eq!(bench.take_all(), [10, 20]);
    bench.push([3, 4]);
    bench.answer(3, Answer::Output(30));
    assert_eq!(bench.take_all(), [30, 40]);
}

#[test]
fn a05_capacity_bounds_requests_in_flight_plus_results_not_taken() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let mut bench = Bench::new(options.capacity(3));
        bench.push(1..=10);
        assert_eq!(bench.calls.made(), [1, 2, 3]);
        bench.complete(1);
        bench.complete(2);
        assert_eq!(bench.calls.made(), [1, 2, 3], "results count until taken");
        assert_eq!(
            bench.feed.left(),
            7,
            "no record is taken out of a full stage's input"
        );
        assert_eq!(bench.take_one(), Some(10));
        assert_eq!(bench.calls.made(), [1, 2, 3, 4], "one place, one record");
        assert_eq!(bench.take_one(), Some(20));
        assert_eq!(bench.calls.made(), [1, 2, 3, 4, 5]);
        (3..=10).for_each(|record| bench.complete(record));
        bench.end();
        let rest: Vec<u64> = (3..=10).map(|record| 10 * record).collect();
        assert_eq!(bench.take_all(), rest, "no record is lost");
        bench.assert_over();
    }
}

#[test]
fn a05_a_skipped_record_gives_its_place_back() {
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let bench = Bench::new(options.capacity(2));
    bench.push(1..=4);
    bench.answer(1, Answer::Refused);
    bench.answer(2, Answer::Refused);
    assert_eq!(bench.calls.made(), [1, 2, 3, 4]);
}

#[test]
fn a05_in_ordered_mode_results_behind_a_slow_head_keep_their_places() {
    let options = AsyncOptions::ordered().on_error(OnError::Skip);
    let mut bench = Bench::new(options.capacity(3));
    bench.push(1..=6);
    bench.complete(2);
    bench.answer(3, Answer::Refused);
    assert_eq!(bench.calls.made(), [1, 2, 3]);
    bench.complete(1);
    assert_eq!(
        bench.calls.made(),
        [1, 2, 3, 4],
        "the skipped record left too"
    );
    assert_eq!(bench.take_all(), [10, 20]);
}

#[test]
fn a06_a_full_stage_handles_completions_and_timeouts() {
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let mut bench = Bench::new(options.capacity(3).timeout(ms(10)));
    bench.push(1..=9);
    bench.complete(2);
    bench.complete(3);
    bench.advance(10);
    assert_eq!(
        bench.calls.made(),
        [1, 2, 3, 4],
        "1 timed out, and made room"
    );
    assert_eq!(bench.calls.live(), [4]);
    assert_eq!(bench.take_all(), [20, 30]);
}

/// As `async_map`, with the answer `n` standing for `n` outputs of the record.
fn flat_stage(
    world: &World,
    source: impl Stream<Item = u64> + Send + 'static,
    calls: Calls,
) -> Tap<impl Stream<Item = u64>> {
    let outputs = move |record: u64| {
        let request = calls.call(record);
        async move { request.await.map(|n| vec![record; n as usize]) }
    };
    let stage = source.async_flat_map(world, "flat", outputs, AsyncOptions::ordered().capacity(2));
    Tap::new(futures_lite::StreamExt::map(stage, Result::unwrap))
}

#[test]
fn a07_a_record_has_any_number_of_outputs_and_one_place() {
    let (world, calls) = (World::new(), Calls::new());
    let (feed, source) = Feed::new();
    let mut out = flat_stage(&world, source, calls.clone());
    (1..=5).for_each(|record| feed.push(record));
    world.run();
    calls.answer(2, Answer::Output(2));
    calls.answer(1, Answer::Output(0));
    world.run();
    assert_eq!(calls.made(), [1, 2]);
    assert_eq!(out.next_now(), Some(2), "1 has no output");
    world.run();
    assert_eq!(calls.made(), [1, 2, 3], "1 has left, 2 has not");
    assert_eq!(out.next_now(), Some(2));
    world.run();
    assert_eq!(calls.made(), [1, 2, 3, 4], "2 left with its last output");
    for record in 3..=5 {
        calls.answer(record, Answer::Output(1));
    }
    feed.end();
    world.run();
    for record in 3..=5 {
        assert_eq!(out.next_now(), Some(record));
        world.run();
    }
    assert!(out.is_over());
    assert_eq!(world.tasks(), 0);
}

#[test]
fn a09_stages_chain_in_any_order_and_pass_the_first_error_on() {
    let world = World::new();
    let (feed, source) = Feed::new();
    let (first, second) = (Calls::new(), Calls::new());
    let (f, g) = (first.clone(), second.clone());
    let stage = source
        .async_map(
            &world,
            "first",
            move |n| f.call(n),
            AsyncOptions::unordered(),
        )
        .try_async_map(
            &world,
            "second",
            move |n| g.call(n),
            AsyncOptions::ordered(),
        );
    let mut out = Tap::new(stage);
    (1..=3).for_each(|record| feed.push(record));
    world.run();
    first.answer(2, Answer::Output(2));
    first.answer(1, Answer::Output(1));
    world.run();
    first.answer(3, Answer::Refused);
    world.run();
    assert_eq!(second.made(), [2, 1]);
    second.answer(1, Answer::Output(100));
    world.run();
    assert!(out.next_now().is_none());
    second.answer(2, Answer::Output(200));
    world.run();
    assert_eq!(out.next_now().unwrap().unwrap(), 200);
    assert_eq!(out.next_now().unwrap().unwrap(), 100);
    let error = out.next_now().unwrap().unwrap_err();
    assert_eq!((error.stage(), error.record()), ("first", Some(3)));
    assert!(out.is_over());
    assert_eq!(world.tasks(), 0);
}

/// Records whose last digit is their key.
const KEYED: [u64; 6] = [1, 2, 11, 3, 12, 21];

fn last_digit(record: &u64) -> u64 {
    record % 10
}

/// What comes out of two stages in a row. The first has all its answers before the second has any; of the requests in flight the
/// youngest is answered first.
fn chained<P, Q>(first: AsyncOptions<P>, second: AsyncOptions<Q>) -> Vec<u64>
where
    P: StagePolicies<u64, u64, Refused>,
    Q: StagePolicies<u64, u64, Refused>,
{
    let world = World::new();
    let calls = [Calls::new(), Calls::new()];
    let [f, g] = calls.clone();
    let stage = futures_lite::stream::iter(KEYED)
        .async_map(&world, "first", move |n| f.call(n), first)
        .try_async_map(&world, "second", move |n| g.call(n), second);
    let (mut out, mut outputs) = (Tap::new(stage), Vec::new());
    loop {
        world.run();
        while let Some(output) = out.next_now() {
            outputs.push(output.unwrap());
            world.run();
        }
        let youngest = |calls: &Calls| Some((calls.clone(), calls.live().pop()?));
        let Some((calls, record)) = calls.iter().find_map(youngest) else {
            assert!(out.is_over());
            assert_eq!(world.tasks(), 0);
            return outputs;
        };
        calls.answer(record, Answer::Output(record));
    }
}

/// A stage with these options, and behind it one of each mode.
fn check_behind<P: StagePolicies<u64, u64, Refused>>(
    first: impl Fn() -> AsyncOptions<P>,
    emitted: [u64; 6],
    by_key: [u64; 6],
) {
    assert_eq!(chained(first(), AsyncOptions::ordered()), emitted);
    let mut reversed = emitted;
    reversed.reverse();
    assert_eq!(chained(first(), AsyncOptions::unordered()), reversed);
    let keyed = AsyncOptions::key_ordered(last_digit);
    assert_eq!(chained(first(), keyed), by_key);
}

#[test]
fn a09_stages_of_all_modes_chain_in_any_order() {
    // The last is what a stage by key makes of the one before: the youngest key first, and each key in its order.
    check_behind(AsyncOptions::ordered, KEYED, [3, 2, 12, 1, 11, 21]);
    check_behind(
        AsyncOptions::unordered,
        [21, 12, 3, 11, 2, 1],
        [3, 12, 2, 21, 11, 1],
    );
    check_behind(
        || AsyncOptions::key_ordered(last_digit),
        [3, 2, 12, 1, 11, 21],
        [1, 11, 21, 2, 12, 3],
    );
}

#[test]
fn a10_the_end_of_input_drains_in_the_modes_order() {
    let cases = [
        (AsyncOptions::ordered(), [10, 20, 30]),
        (AsyncOptions::unordered(), [30, 20, 10]),
    ];
    for (options, outputs) in cases {
        let mut bench = Bench::new(options);
        bench.push(1..=3);
        bench.end();
        assert!(bench.feed.is_dropped(), "an input that has ended is let go");
        assert_eq!(bench.calls.live(), [1, 2, 3], "its records are not");
        for record in [3, 2, 1] {
            assert_eq!(bench.world.tasks(), 1, "it has not ended");
            bench.complete(record);
        }
        assert_eq!(bench.take_all(), outputs);
        bench.assert_over();
    }
}

#[test]
fn a10_an_empty_input_ends_at_once() {
    let mut bench = Bench::new(AsyncOptions::ordered());
    bench.end();
    bench.assert_over();
    assert_eq!(
        bench.out.stream().metrics(),
        peu_operators::Metrics::default()
    );
}

#[test]
fn a11_dropping_the_consumer_cancels_every_request_and_ends_the_task() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let bench = Bench::new(options.timeout(ms(10)));
        bench.push(1..=4);
        bench.complete(2);
        assert_eq!(bench.calls.live(), [1, 3, 4]);
        drop(bench.out);
        bench.world.run();
        assert_eq!(bench.calls.live(), [0_u64; 0]);
        assert!(bench.feed.is_dropped());
        assert_eq!(bench.world.tasks(), 0);
        assert_eq!(bench.world.sleeps(), 0);
        bench.calls.wake(1);
        assert!(!bench.world.poll_one(), "a stale wake-up is harmless");
    }
}

#[test]
fn a11_outputs_that_were_not_taken_are_dropped_with_the_consumer() {
    let world = World::new();
    let held = Arc::new(());
    let output = Arc::clone(&held);
    let stage = futures_lite::stream::iter(0..5).async_map(
        &world,
        "held",
        move |_| {
            let output = Arc::clone(&output);
            async move { Ok::<_, Infallible>(output) }
        },
        AsyncOptions::unordered().capacity(3),
    );
    world.run();
    assert_eq!(
        Arc::strong_count(&held),
        5,
        "the function's, and three outputs"
    );
    drop(stage);
    assert_eq!(Arc::strong_count(&held), 2, "at once, before the task runs");
    world.run();
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn a12_a_consumer_that_stops_reading_does_not_stop_requests() {
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let mut bench = Bench::new(options.capacity(4).timeout(ms(10)));
    bench.push(1..=6);
    // From here on nobody polls the outputs.
    bench.calls.wake(1);
    bench.world.run();
    assert_eq!(bench.calls.polls(1), 2, "requests go on");
    bench.advance(10);
    assert_eq!(
        bench.calls.live(),
        [5, 6],
        "timers fire, and the next records are accepted"
    );
    bench.complete(5);
    bench.complete(6);
    assert_eq!(bench.take_all(), [50, 60]);
}

#[test]
fn a12_attempts_go_on_up_to_the_capacity_while_nobody_reads() {
    let options = AsyncOptions::unordered().capacity(2);
    let mut bench = Bench::new(options.retry(Retry::fixed(ms(10))));
    bench.push(1..=3);
    bench.answer(1, Answer::Refused);
    bench.advance(10);
    assert_eq!(bench.calls.made(), [1, 2, 1], "its back-off has ended");
    bench.complete(1);
    bench.complete(2);
    assert_eq!(bench.calls.made(), [1, 2, 1], "both places are taken");
    assert_eq!(bench.take_all(), [10, 20]);
    assert_eq!(bench.calls.made(), [1, 2, 1, 3]);
}

/// A future that wakes itself `left` times before it is ready.
fn restless(mut left: usize) -> impl Future<Output = Result<usize, Infallible>> {
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(Ok(0));
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

#[test]
fn a12_requests_that_keep_waking_themselves_starve_nobody() {
    let world = World::new();
    let mut out = Tap::new(futures_lite::stream::iter(0..300).async_map(
        &world,
        "restless",
        |n: usize| restless(if n < 299 { usize::MAX } else { 3 }),
        AsyncOptions::unordered().capacity(300),
    ));
    // 300 records in turns of 128, each in a round with those that wake themselves; then a few rounds for the last.
    for _ in 0..2_000 {
        assert!(world.poll_one(), "a poll is bounded, and the task goes on");
        if out.next_now().is_some() {
            return;
        }
    }
    panic!("the last record was starved");
}

#[test]
fn a12_one_poll_of_a_stage_is_bounded() {
    let world = World::new();
    let mut out = Tap::new(futures_lite::stream::repeat(1).async_map(
        &world,
        "endless",
        |n: u64| async move { Ok::<_, Infallible>(n) },
        AsyncOptions::unordered().capacity(usize::MAX),
    ));
    assert!(world.poll_one());
    assert_eq!(out.stream().metrics().queued, 128);
    assert!(out.next_now().is_some());
    assert!(world.poll_one(), "it goes on");
}
