//! Family X: defects of the reference, absent here.

mod kit;

use kit::{Answer, Bench, ms};
use peu_operators::{AsyncOptions, Fallback, OnError, Retry};

#[test]
fn x1_the_end_of_input_makes_no_second_call_beside_a_running_one() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let mut bench = Bench::new(options.retry(Retry::fixed(ms(10))));
        bench.push([1]);
        bench.answer(1, Answer::Refused);
        bench.advance(10);
        assert_eq!(bench.calls.live(), [1], "its second attempt is under way");
        bench.end();
        bench.advance(1_000);
        assert_eq!(bench.calls.live(), [1]);
        assert_eq!(bench.calls.made(), [1, 1]);
        bench.complete(1);
        assert_eq!(bench.take_all(), [10]);
        bench.assert_over();
    }
}

#[test]
fn x2_a_record_that_times_out_in_its_back_off_is_never_called_again() {
    let fallback = |_: &u64| Fallback::Output(111);
    let options = AsyncOptions::unordered().timeout_with(ms(10), fallback);
    let mut bench = Bench::new(options.retry(Retry::fixed(ms(20))));
    bench.push([1]);
    bench.answer(1, Answer::Refused);
    bench.advance(10);
    assert_eq!(bench.take_all(), [111]);
    assert_eq!(bench.world.sleeps(), 0, "the back-off is gone");
    bench.advance(10);
    bench.end();
    assert_eq!(bench.calls.made(), [1]);
    bench.assert_over();
}

#[test]
fn x3_records_do_not_share_a_delay() {
    let bench = Bench::new(AsyncOptions::unordered().retry(Retry::exponential(ms(10)..ms(80))));
    bench.push([1]);
    for delay in [10, 20, 40] {
        bench.answer(1, Answer::Refused);
        bench.advance(delay);
    }
    assert_eq!(bench.calls.made(), [1, 1, 1, 1]);
    bench.push([2]);
    bench.answer(2, Answer::Refused);
    bench.advance(10);
    assert_eq!(bench.calls.made(), [1, 1, 1, 1, 2, 2], "2 begins anew");
}

#[test]
fn x4_a_timeout_that_races_a_retry_loses_no_result() {
    // Timeout and back-off end together, then one before the other; the stage looks when both are past.
    for (delay, calls) in [(10, 1), (9, 1), (11, 1)] {
        let fallback = |_: &u64| Fallback::Output(111);
        let options = AsyncOptions::ordered().timeout_with(ms(10), fallback);
        let mut bench = Bench::new(options.retry(Retry::fixed(ms(delay))));
        bench.push([1, 2]);
        bench.answer(1, Answer::Refused);
        bench.calls.answer(2, Answer::Output(20));
        bench.advance(11);
        assert_eq!(bench.take_all(), [111, 20]);
        assert_eq!(bench.calls.made().len(), calls + 1);
        bench.end();
        bench.assert_over();
    }
}

#[test]
fn x4_a_result_of_a_retry_that_is_there_when_time_is_up_wins() {
    let options = AsyncOptions::unordered().timeout(ms(10));
    let mut bench = Bench::new(options.retry(Retry::fixed(ms(5))));
    bench.push([1]);
    bench.answer(1, Answer::Refused);
    bench.advance(5);
    bench.world.advance(ms(5));
    bench.calls.answer(1, Answer::Output(10));
    bench.world.run();
    assert_eq!(bench.take_all(), [10]);
    assert_eq!(bench.out.stream().metrics().timed_out, 0);
}

#[test]
fn x9_a_request_that_timed_out_does_not_go_on_running() {
    let fallback = |_: &u64| Fallback::Output(111);
    let mut bench = Bench::new(AsyncOptions::ordered().timeout_with(ms(10), fallback));
    bench.push([1, 2]);
    bench.advance(10);
    assert_eq!(bench.calls.live(), [0_u64; 0], "its future is dropped");
    let polls = bench.calls.polls(1);
    bench.calls.wake(1);
    bench.world.run();
    assert_eq!(bench.calls.polls(1), polls, "and never polled again");
    assert_eq!(bench.take_all(), [111, 111]);
}

#[test]
fn x10_an_error_at_once_is_retried_like_a_later_one() {
    let bench = Bench::new(AsyncOptions::unordered().retry(Retry::fixed(ms(10))));
    bench.calls.answer(1, Answer::Refused);
    bench.push([1, 2]);
    bench.answer(2, Answer::Refused);
    bench.advance(10);
    assert_eq!(bench.calls.made(), [1, 2, 1, 2]);
    assert_eq!(bench.calls.live(), [1, 2]);
}

#[test]
fn x11_a_stage_has_metrics() {
    let options = AsyncOptions::ordered().on_error(OnError::Skip);
    let mut bench = Bench::new(options.timeout(ms(10)));
    let monitor = bench.out.stream().monitor();
    bench.push([1]);
    bench.advance(5);
    bench.push(2..=6);
    bench.complete(2);
    bench.complete(3);
    bench.answer(4, Answer::Refused);
    let metrics = monitor.metrics();
    assert_eq!((metrics.accepted, metrics.in_flight), (6, 3));
    assert_eq!(metrics.queued, 3, "2, 3 and the gap of 4 wait behind 1");
    bench.advance(5);
    bench.complete(5);
    let metrics = monitor.metrics();
    assert_eq!(
        (metrics.in_flight, metrics.queued),
        (1, 3),
        "2, 3 and 5 wait for the consumer"
    );
    assert_eq!((metrics.completed, metrics.failed), (3, 1));
    assert_eq!((metrics.skipped, metrics.timed_out), (2, 1));
    assert_eq!(bench.take_all(), [20, 30, 50]);
    assert_eq!(monitor.metrics().queued, 0);
    drop(bench.out);
    bench.world.run();
    assert_eq!(monitor.metrics().accepted, 6, "it outlives the stage");
    assert_eq!(monitor.metrics().in_flight, 0);
}

#[test]
fn x12_a_timeout_blocks_no_thread() {
    // The only thread there is runs on while a hundred timeouts are pending, and needs one sleep for them.
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let mut bench = Bench::new(options.timeout(ms(10)));
    bench.push(1..=100);
    assert_eq!(bench.world.sleeps(), 1);
    bench.complete(100);
    assert_eq!(bench.take_all(), [1_000]);
    let polls = bench.world.polls();
    bench.advance(10);
    assert_eq!(bench.out.stream().metrics().timed_out, 99);
    assert_eq!(bench.world.polls(), polls + 1, "all in one go");
}

#[test]
fn x12_a_back_off_blocks_no_thread() {
    let mut bench = Bench::new(AsyncOptions::unordered().retry(Retry::fixed(ms(10))));
    bench.push(1..=100);
    (1..100).for_each(|record| bench.calls.answer(record, Answer::Refused));
    bench.world.run();
    assert_eq!(bench.world.sleeps(), 1, "99 wait, on one sleep");
    bench.complete(100);
    assert_eq!(bench.take_all(), [1_000], "and what has an answer leaves");
    bench.advance(10);
    assert_eq!(bench.calls.live().len(), 99);
    assert_eq!(bench.world.sleeps(), 0);
}

#[test]
fn x11_attempts_and_retries_are_counted() {
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let bench = Bench::new(options.retry(Retry::fixed(ms(10)).max_retries(1)));
    bench.push([1, 2]);
    bench.answer(1, Answer::Refused);
    let metrics = bench.out.stream().metrics();
    assert_eq!((metrics.attempts, metrics.retries), (2, 0));
    assert_eq!(
        (metrics.in_flight, metrics.failed),
        (2, 0),
        "1 has no outcome yet"
    );
    bench.advance(10);
    bench.answer(1, Answer::Refused);
    let metrics = bench.out.stream().metrics();
    assert_eq!((metrics.attempts, metrics.retries), (3, 1));
    assert_eq!((metrics.in_flight, metrics.failed), (1, 1));
}

#[test]
fn x11_latencies_are_measured_from_acceptance_to_outcome() {
    let options = AsyncOptions::ordered().on_error(OnError::Skip);
    let bench = Bench::new(options.timeout(ms(50)).retry(Retry::fixed(ms(10))));
    let monitor = bench.out.stream().monitor();
    bench.calls.answer(1, Answer::Output(10));
    bench.push(1..=4);
    bench.advance(10);
    bench.complete(2);
    bench.answer(3, Answer::Refused);
    bench.advance(10);
    bench.complete(3);
    bench.advance(30);
    let latencies = monitor.latencies();
    assert_eq!(latencies.count(), 4);
    assert_eq!(latencies.sum(), ms(10 + 20 + 50), "1 took no time at all");
    let median = latencies.percentile(0.5).expect("there are some");
    assert!(ms(10) <= median && median <= ms(13), "{median:?}");
    let buckets: Vec<u64> = latencies.buckets().map(|(_, up_to)| up_to).collect();
    assert_eq!(buckets, [1, 2, 3, 4]);
    assert_eq!(bench.out.stream().metrics().timed_out, 1);
}
