//! Family T: timeouts.

mod kit;

use kit::{Answer, Bench, Calls, Refused, ms};
use peu_operators::{AsyncOptions, Cause, DeadLetters, Fallback, OnError, Retry, StagePolicies};
use std::time::Duration;

#[test]
fn t01_the_timeout_starts_when_the_record_is_accepted() {
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let bench = Bench::new(options.capacity(1).timeout(ms(10)));
    bench.push([1, 2]);
    bench.advance(9);
    assert_eq!(bench.calls.live(), [1]);
    bench.advance(1);
    assert_eq!(bench.calls.live(), [2], "2 waited 10 ms to be accepted");
    bench.advance(9);
    assert_eq!(bench.calls.live(), [2], "and has its own 10 ms");
    bench.advance(1);
    assert_eq!(bench.calls.live(), [0_u64; 0]);
    assert_eq!(bench.out.stream().metrics().timed_out, 2);
}

#[test]
fn t01_waiting_for_emission_is_not_part_of_it() {
    let options = AsyncOptions::ordered().on_error(OnError::Skip);
    let mut bench = Bench::new(options.timeout(ms(10)));
    bench.push([1]);
    bench.advance(5);
    bench.push([2]);
    bench.complete(2);
    bench.advance(1_000);
    assert_eq!(bench.out.stream().metrics().timed_out, 1, "only 1");
    bench.advance(1_000);
    assert_eq!(
        bench.take_all(),
        [20],
        "and no wait for the consumer either"
    );
}

#[test]
fn t01_it_covers_every_attempt_and_every_back_off() {
    let retry = Retry::fixed(ms(3)).max_retries(9);
    let mut bench = Bench::new(AsyncOptions::unordered().timeout(ms(10)).retry(retry));
    bench.push([1]);
    for _ in 0..2 {
        bench.advance(1);
        bench.answer(1, Answer::Refused);
        bench.advance(3);
    }
    assert_eq!(bench.calls.made(), [1, 1, 1]);
    bench.advance(1);
    assert_eq!(bench.calls.live(), [1], "9 ms: two back-offs, and it runs");
    bench.advance(1);
    let error = bench.take_error();
    assert!(matches!(error.cause(), Cause::TimedOut(limit) if *limit == ms(10)));
    assert_eq!(error.attempt(), Some(3));
}

#[test]
fn t01_a_back_off_that_is_longer_than_the_rest_of_the_time_ends_with_it() {
    let options = AsyncOptions::unordered().timeout(ms(10));
    let mut bench = Bench::new(options.retry(Retry::fixed(ms(1_000))));
    bench.push([1]);
    bench.answer(1, Answer::Refused);
    bench.advance(9);
    assert_eq!(bench.out.stream().metrics().in_flight, 1);
    bench.advance(1);
    let error = bench.take_error();
    assert!(matches!(error.cause(), Cause::TimedOut(_)));
    assert_eq!((error.attempt(), bench.calls.made().len()), (Some(1), 1));
}

#[test]
fn t03_the_late_result_of_an_earlier_attempt_changes_nothing() {
    let mut bench = Bench::new(AsyncOptions::unordered().retry(Retry::fixed(ms(10))));
    bench.push([1]);
    bench.answer(1, Answer::Refused);
    bench.calls.wake(1);
    bench.world.run();
    assert_eq!(
        bench.calls.live(),
        [0_u64; 0],
        "nothing is polled in a back-off"
    );
    bench.advance(10);
    bench.complete(1);
    bench.complete(1);
    assert_eq!(bench.take_all(), [10], "once");
    assert_eq!(bench.out.stream().metrics().completed, 1);
}

#[test]
fn t02_on_timeout_the_request_is_dropped_then_the_fallback_decides() {
    let calls = Calls::new();
    let fallback = {
        let calls = calls.clone();
        move |record: &u64| {
            assert!(!calls.live().contains(record), "its request still exists");
            match *record {
                1 => Fallback::Output(111),
                2 => Fallback::Skip,
                _ => Fallback::Fail,
            }
        }
    };
    let options = AsyncOptions::ordered().timeout_with(ms(10), fallback);
    let mut bench = Bench::with_calls(calls, options);
    bench.push([1, 2]);
    bench.advance(10);
    assert_eq!(bench.calls.live(), [0_u64; 0]);
    assert_eq!(bench.take_all(), [111]);
    bench.push([3, 4]);
    bench.advance(10);
    let error = bench.take_error();
    assert_eq!(error.record(), Some(3));
    assert!(matches!(error.cause(), Cause::TimedOut(limit) if *limit == ms(10)));
    assert_eq!(
        error.to_string(),
        "stage `stage`, record 3 (3), attempt 1: no result within 10ms"
    );
    let metrics = bench.out.stream().metrics();
    assert_eq!(
        (metrics.timed_out, metrics.skipped, metrics.completed),
        (3, 1, 1)
    );
    assert_eq!(metrics.failed, 0, "no request returned an error");
}

#[test]
fn t02_failure_is_the_default() {
    let mut bench = Bench::new(AsyncOptions::unordered().timeout(ms(10)));
    bench.push([1]);
    bench.advance(10);
    assert!(matches!(bench.take_error().cause(), Cause::TimedOut(_)));
}

#[test]
fn t03_a_result_after_the_timeout_changes_nothing() {
    let fallback = |_: &u64| Fallback::Output(111);
    let mut bench = Bench::new(AsyncOptions::unordered().timeout_with(ms(10), fallback));
    bench.push([1]);
    bench.advance(10);
    bench.complete(1);
    bench.push([2]);
    bench.calls.wake(1);
    bench.world.run();
    assert_eq!(bench.take_all(), [111]);
    assert_eq!(bench.calls.live(), [2], "whose slot was that of 1");
    let metrics = bench.out.stream().metrics();
    assert_eq!((metrics.completed, metrics.timed_out), (1, 1));
}

#[test]
fn t04_a_completed_record_leaves_no_timer_behind() {
    let mut bench = Bench::new(AsyncOptions::unordered().timeout(ms(10)));
    bench.push(1..=3);
    assert_eq!(bench.world.sleeps(), 1, "one sleep for the whole stage");
    bench.complete(2);
    bench.complete(1);
    assert_eq!(bench.world.sleeps(), 1);
    bench.complete(3);
    assert_eq!(bench.world.sleeps(), 0);
    bench.advance(1_000);
    assert_eq!(bench.take_all(), [20, 10, 30]);
    assert_eq!(bench.out.stream().metrics().timed_out, 0);
}

#[test]
fn t04_a_sleep_set_for_a_record_that_completed_ends_no_other() {
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let mut bench = Bench::new(options.timeout(ms(10)));
    bench.push([1]);
    bench.advance(6);
    bench.push([2]);
    bench.complete(1);
    bench.advance(4);
    assert_eq!(bench.calls.live(), [2]);
    bench.advance(5);
    assert_eq!(bench.calls.live(), [2]);
    bench.advance(1);
    assert_eq!(bench.calls.live(), [0_u64; 0]);
    assert_eq!(bench.take_all(), [10]);
}

#[test]
fn t05_a_result_that_is_there_when_the_timer_fires_wins() {
    let mut bench = Bench::new(AsyncOptions::unordered().timeout(ms(10)));
    bench.push([1, 2]);
    bench.calls.answer(2, Answer::Output(20));
    bench.world.advance(ms(10));
    bench.calls.answer(1, Answer::Output(10));
    bench.world.run();
    let mut outputs = bench.take_all();
    outputs.sort_unstable();
    assert_eq!(outputs, [10, 20]);
    assert_eq!(bench.out.stream().metrics().timed_out, 0);
}

#[test]
fn limits_at_the_ends_of_their_range_are_limits() {
    let mut bench = Bench::new(AsyncOptions::unordered().timeout(Duration::MAX));
    bench.push([1]);
    assert_eq!(bench.world.sleeps(), 0, "no clock gets there");
    bench.complete(1);
    assert_eq!(bench.take_all(), [10]);

    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let mut bench = Bench::new(options.timeout(Duration::ZERO));
    bench.calls.answer(2, Answer::Output(20));
    bench.push([1, 2]);
    assert_eq!(
        bench.take_all(),
        [20],
        "ready at its first poll, and the only one"
    );
    assert_eq!(bench.calls.live(), [0_u64; 0]);
}

/// Options whose fallback is scripted, and has 20 ms after the 10 ms that a request has.
fn scripted_fallback(fallbacks: &Calls) -> AsyncOptions<impl StagePolicies<u64, u64, Refused>> {
    let fallbacks = fallbacks.clone();
    let fallback = move |record: u64| {
        let call = fallbacks.call(record);
        async move {
            match call.await {
                Ok(0) => Fallback::Skip,
                Ok(output) => Fallback::Output(output),
                Err(Refused) => Fallback::Fail,
            }
        }
    };
    AsyncOptions::ordered()
        .capacity(4)
        .timeout_then(ms(10), ms(20), fallback)
        .on_error(DeadLetters(|_| {}))
}

#[test]
fn t06_an_async_fallback_decides_when_it_is_ready() {
    let fallbacks = Calls::new();
    let mut bench = Bench::new(scripted_fallback(&fallbacks));
    bench.push(1..=5);
    bench.complete(4);
    bench.advance(10);
    assert_eq!(bench.calls.live(), [0_u64; 0], "the requests are dropped");
    assert_eq!(fallbacks.live(), [1, 2, 3]);
    assert_eq!(bench.feed.left(), 1, "they keep their places");
    for (record, answer) in [(3, Answer::Output(33)), (1, Answer::Output(11))] {
        fallbacks.answer(record, answer);
        bench.world.run();
    }
    assert_eq!(bench.take_all(), [11]);
    fallbacks.answer(2, Answer::Output(0));
    bench.world.run();
    assert_eq!(bench.take_all(), [33, 40], "2 was skipped");
    let metrics = bench.out.stream().metrics();
    assert_eq!((metrics.timed_out, metrics.skipped), (3, 1));
    assert_eq!((metrics.failed, metrics.attempts), (0, 5));
}

#[test]
fn t06_its_bound_is_its_own_and_exact() {
    let fallbacks = Calls::new();
    let mut bench = Bench::new(scripted_fallback(&fallbacks));
    bench.push([1, 2]);
    bench.advance(10);
    bench.advance(19);
    assert_eq!(fallbacks.live(), [1, 2]);
    assert_eq!(bench.world.sleeps(), 1);
    fallbacks.answer(2, Answer::Output(22));
    bench.world.advance(ms(1));
    bench.world.run();
    assert_eq!(fallbacks.live(), [0_u64; 0], "its future is dropped");
    assert_eq!(bench.take_all(), [22], "a result that is there wins");
    assert_eq!(bench.world.sleeps(), 0);
    let metrics = bench.out.stream().metrics();
    assert_eq!((metrics.dead_letters, metrics.timed_out), (1, 2));
}

#[test]
fn t06_a_fallback_that_is_ready_at_once_needs_no_time() {
    let fallbacks = Calls::new();
    fallbacks.answer(1, Answer::Output(11));
    let mut bench = Bench::new(scripted_fallback(&fallbacks));
    bench.push([1]);
    bench.advance(10);
    assert_eq!(bench.take_all(), [11]);
    bench.end();
    bench.assert_over();
}

#[test]
fn t06_a_fallback_may_fail_or_panic_as_its_record_does() {
    for (answer, failed) in [
        (Answer::Refused, 0),
        (Answer::Panic, 1),
        (Answer::PanicInCall, 1),
    ] {
        let fallbacks = Calls::new();
        fallbacks.answer(1, answer);
        let mut bench = Bench::new(scripted_fallback(&fallbacks));
        bench.push([1]);
        bench.advance(10);
        let metrics = bench.out.stream().metrics();
        assert_eq!((metrics.dead_letters, metrics.failed), (1, failed));
        bench.end();
        bench.assert_over();
    }
}

#[test]
fn t06_the_error_says_that_both_had_their_time() {
    let fallback = |_: u64| std::future::pending::<Fallback<u64>>();
    let options = AsyncOptions::unordered().timeout_then(ms(10), ms(20), fallback);
    let mut bench = Bench::new(options);
    bench.push([1, 2]);
    bench.advance(10);
    bench.end();
    bench.advance(20);
    let error = bench.take_error();
    assert_eq!(
        error.to_string(),
        "stage `stage`, record 1 (1), attempt 1: timed out, and its fallback had no result within 20ms"
    );
}

#[test]
fn t06_fallbacks_end_with_the_stage() {
    let fallbacks = Calls::new();
    let bench = Bench::new(scripted_fallback(&fallbacks));
    bench.push([1, 2]);
    bench.advance(10);
    drop(bench.out);
    bench.world.run();
    assert_eq!(fallbacks.live(), [0_u64; 0]);
    assert_eq!((bench.world.tasks(), bench.world.sleeps()), (0, 0));
}

#[test]
fn t06_a_failure_further_up_drops_the_fallbacks_behind_it() {
    let fallbacks = Calls::new();
    let fallback = {
        let fallbacks = fallbacks.clone();
        move |record: u64| {
            let call = fallbacks.call(record);
            async move { call.await.map_or(Fallback::Fail, Fallback::Output) }
        }
    };
    let options = AsyncOptions::ordered().timeout_then(ms(10), ms(20), fallback);
    let mut bench = Bench::new(options);
    bench.push(1..=3);
    bench.advance(10);
    fallbacks.answer(2, Answer::Refused);
    bench.world.run();
    assert_eq!(fallbacks.live(), [1], "that of 3 is dropped");
    fallbacks.answer(1, Answer::Output(11));
    bench.world.run();
    assert_eq!(bench.take_all(), [11]);
    assert_eq!(bench.take_error().record(), Some(2));
}
