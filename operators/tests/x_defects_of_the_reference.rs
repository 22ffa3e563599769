//! Family X: defects of the reference, absent here.

mod kit;

use kit::{Answer, Bench, ms};
use peu_operators::{AsyncOptions, Fallback, OnError};

#[test]
fn x9_a_request_that_timed_out_does_not_go_on_running() {
    let fallback = |_: &u64| Fallback::Output(111);
    let mut bench = Bench::new(AsyncOptions::ordered().timeout_with(ms(10), fallback));
    bench.push([1, 2]);
    bench.advance(10);
    assert_eq!(bench.calls.live(), [], "its future is dropped");
    let polls = bench.calls.polls(1);
    bench.calls.wake(1);
    bench.world.run();
    assert_eq!(bench.calls.polls(1), polls, "and never polled again");
    assert_eq!(bench.take_all(), [111, 111]);
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
