//! Row a08: key-ordered mode. The key of a record is its last digit.

mod kit;

use kit::{Answer, Bench, ms};
use peu_operators::{AsyncOptions, Cause, FailOnTimeout, KeyOf, NoRetry, OnError, Policies, Retry};

type Keyed<F> = AsyncOptions<Policies<FailOnTimeout, NoRetry, OnError, KeyOf<F>>>;

fn key_ordered() -> Keyed<impl FnMut(&u64) -> u64> {
    AsyncOptions::key_ordered(|record: &u64| record % 10)
}

#[test]
fn a08_a_key_has_one_request_in_flight_and_its_outputs_in_input_order() {
    let mut bench = Bench::new(key_ordered());
    bench.push([1, 11, 21, 2, 12]);
    assert_eq!(bench.calls.live(), [1, 2]);
    bench.complete(2);
    assert_eq!(bench.calls.live(), [1, 12]);
    bench.complete(1);
    bench.complete(11);
    bench.complete(12);
    bench.complete(21);
    assert_eq!(bench.take_all(), [20, 10, 110, 120, 210]);
    assert_eq!(bench.calls.made(), [1, 2, 12, 11, 21]);
}

#[test]
fn a08_keys_are_independent() {
    let mut bench = Bench::new(key_ordered());
    bench.push([1, 11, 21, 2, 3]);
    bench.complete(3);
    bench.complete(2);
    bench.push([12, 13]);
    bench.complete(12);
    bench.complete(13);
    assert_eq!(bench.take_all(), [30, 20, 120, 130], "1 is still in flight");
    assert_eq!(bench.calls.live(), [1]);
}

#[test]
fn a08_a_hot_key_does_not_fill_the_stage() {
    let mut bench = Bench::new(key_ordered().capacity(2).waiting(5));
    bench.push([1, 11, 21, 31, 41, 2, 12]);
    assert_eq!(bench.calls.live(), [1, 2], "four wait, and take no place");
    let metrics = bench.out.stream().metrics();
    assert_eq!((metrics.accepted, metrics.in_flight), (2, 2));
    assert_eq!(metrics.waiting, 4, "12 is not taken: there is no room");
    assert_eq!(bench.feed.left(), 1);
    bench.complete(2);
    assert_eq!(bench.take_all(), [20]);
    assert_eq!(bench.calls.live(), [1, 12]);
}

#[test]
fn a08_what_waits_has_a_bound_of_its_own() {
    let bench = Bench::new(key_ordered().capacity(10).waiting(2));
    bench.push([1, 11, 21, 31, 2]);
    assert_eq!(bench.calls.live(), [1]);
    assert_eq!(bench.out.stream().metrics().waiting, 2);
    assert_eq!(bench.feed.left(), 2, "no more is taken, whatever its key");
    bench.complete(1);
    assert_eq!(bench.calls.live(), [11]);
    assert_eq!(bench.feed.left(), 1, "one place in the lines, one record");
    bench.complete(11);
    assert_eq!(bench.calls.live(), [21, 2]);
}

#[test]
fn a08_a_record_that_waits_needs_a_place_when_its_turn_comes() {
    let mut bench = Bench::new(key_ordered().capacity(1));
    bench.push([1, 11, 21]);
    bench.end();
    bench.complete(1);
    assert_eq!(
        bench.calls.live(),
        [0_u64; 0],
        "the output of 1 has the place"
    );
    assert_eq!(bench.take_one(), Some(10));
    assert_eq!(bench.calls.live(), [11]);
    bench.complete(11);
    assert_eq!(bench.take_one(), Some(110));
    bench.complete(21);
    assert_eq!(bench.take_one(), Some(210));
    bench.assert_over();
}

#[test]
fn a08_a_key_is_busy_in_its_back_offs() {
    let mut bench = Bench::new(key_ordered().retry(Retry::fixed(ms(10))));
    bench.push([1, 11]);
    bench.answer(1, Answer::Refused);
    assert_eq!(bench.calls.made(), [1]);
    bench.advance(10);
    bench.complete(1);
    bench.complete(11);
    assert_eq!(bench.calls.made(), [1, 1, 11]);
    assert_eq!(bench.take_all(), [10, 110]);
}

#[test]
fn a08_a_record_that_is_left_out_frees_its_key() {
    let options = key_ordered().timeout(ms(10)).on_error(OnError::Skip);
    let mut bench = Bench::new(options);
    bench.push([1, 11, 21]);
    bench.answer(1, Answer::Refused);
    assert_eq!(bench.calls.live(), [11]);
    bench.advance(10);
    assert_eq!(bench.calls.live(), [21]);
    bench.advance(9);
    bench.complete(21);
    assert_eq!(
        bench.take_all(),
        [210],
        "its time began when it was accepted"
    );
    assert_eq!(bench.out.stream().metrics().timed_out, 1);
}

#[test]
fn a08_a_failure_ends_the_stage_and_drops_what_waits() {
    let mut bench = Bench::new(key_ordered());
    bench.push([1, 11, 2]);
    bench.answer(1, Answer::Refused);
    assert_eq!(bench.take_error().record(), Some(1));
    assert_eq!(bench.calls.made(), [1, 2]);
    assert_eq!(bench.out.stream().metrics().waiting, 0);
}

#[test]
fn a08_a_key_that_panics_has_failed_its_record() {
    let options = || AsyncOptions::key_ordered(|record: &u64| 7 / (record - 1));
    let mut bench = Bench::new(options());
    bench.push([2, 1]);
    let error = bench.take_error();
    assert_eq!((error.record(), error.attempt()), (Some(2), Some(0)));
    assert!(matches!(error.cause(), Cause::Panicked(said) if said.contains("zero")));

    let mut bench = Bench::new(options().on_error(OnError::Skip));
    bench.push([2, 1, 3]);
    bench.complete(3);
    bench.complete(2);
    assert_eq!(bench.calls.made(), [2, 3]);
    assert_eq!(bench.take_all(), [30, 20]);
}

#[test]
fn a10_the_end_of_input_drains_the_lines_too() {
    let mut bench = Bench::new(key_ordered());
    bench.push([1, 11, 2, 21]);
    bench.end();
    assert!(bench.feed.is_dropped());
    for record in [1, 11, 2, 21] {
        assert_eq!(bench.world.tasks(), 1, "it has not ended");
        bench.complete(record);
    }
    assert_eq!(bench.take_all(), [10, 110, 20, 210]);
    bench.assert_over();
}

#[test]
fn a11_dropping_the_consumer_drops_what_waits() {
    let bench = Bench::new(key_ordered());
    bench.push([1, 11, 21]);
    drop(bench.out);
    bench.world.run();
    assert_eq!(bench.calls.live(), [0_u64; 0]);
    assert_eq!((bench.calls.made(), bench.world.tasks()), (vec![1], 0));
}

#[test]
fn x5_a_key_that_was_idle_begins_anew() {
    let mut bench = Bench::new(key_ordered());
    for record in [1, 11, 21] {
        bench.push([record]);
        assert_eq!(bench.calls.live(), [record], "nothing holds it back");
        bench.complete(record);
    }
    assert_eq!(bench.calls.made(), [1, 11, 21], "each once");
    assert_eq!(bench.take_all(), [10, 110, 210]);
    assert_eq!(bench.out.stream().metrics().waiting, 0);
}

#[test]
#[should_panic(expected = "must let at least 1 record wait")]
fn lines_of_none_are_refused() {
    let _ = key_ordered().waiting(0);
}
