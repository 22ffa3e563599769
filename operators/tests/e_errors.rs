//! Family E: errors.

mod kit;

use kit::{Answer, Bench};
use peu_operators::{AsyncOptions, Cause, OnError};

#[test]
fn e01_fail_is_the_default() {
    let mut bench = Bench::new(AsyncOptions::unordered());
    bench.push(1..=3);
    bench.answer(2, Answer::Refused);
    assert_eq!(bench.take_error().record(), Some(2));
}

#[test]
fn e01_skip_leaves_the_record_out_and_counts_it() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let mut bench = Bench::new(options.on_error(OnError::Skip));
        bench.calls.answer(4, Answer::Refused);
        bench.push(1..=5);
        bench.answer(1, Answer::Refused);
        for record in [2, 3, 5] {
            bench.complete(record);
        }
        bench.end();
        assert_eq!(bench.take_all(), [20, 30, 50]);
        bench.assert_over();
        let metrics = bench.out.stream().metrics();
        assert_eq!((metrics.failed, metrics.skipped), (2, 2));
        assert_eq!((metrics.accepted, metrics.completed), (5, 3));
    }
}

#[test]
fn e02_a_failure_names_stage_record_attempt_and_cause() {
    let mut bench = Bench::new(AsyncOptions::unordered());
    bench.push([7, 8]);
    bench.answer(8, Answer::Refused);
    let error = bench.take_error();
    assert_eq!(error.stage(), "stage");
    assert_eq!(error.record(), Some(2));
    assert_eq!(error.record_debug(), Some("8"));
    assert_eq!(error.attempt(), Some(1));
    assert!(matches!(error.cause(), Cause::Failed(_)));
    assert_eq!(
        error.to_string(),
        "stage `stage`, record 2 (8), attempt 1: refused"
    );
}

#[test]
fn e02_in_ordered_mode_the_entries_before_it_are_emitted_first() {
    let mut bench = Bench::new(AsyncOptions::ordered());
    bench.push(1..=6);
    bench.complete(1);
    bench.complete(5);
    bench.answer(4, Answer::Refused);
    assert_eq!(
        bench.calls.live(),
        [2, 3],
        "what comes behind it is cancelled"
    );
    assert!(bench.feed.is_dropped(), "and nothing more is accepted");
    assert_eq!(bench.take_all(), [10]);
    bench.complete(3);
    bench.complete(2);
    assert_eq!(bench.take_all(), [20, 30]);
    assert_eq!(bench.take_error().record(), Some(4));
}

#[test]
fn e02_in_ordered_mode_the_first_failure_in_input_order_is_the_one_that_is_told() {
    let mut bench = Bench::new(AsyncOptions::ordered());
    bench.push(1..=3);
    bench.answer(3, Answer::Refused);
    bench.answer(2, Answer::Refused);
    bench.complete(1);
    assert_eq!(bench.take_all(), [10]);
    assert_eq!(bench.take_error().record(), Some(2));
}

#[test]
fn e02_in_unordered_mode_what_was_emitted_before_is_kept_and_the_rest_cancelled() {
    let mut bench = Bench::new(AsyncOptions::unordered());
    bench.push(1..=4);
    bench.complete(3);
    bench.answer(2, Answer::Refused);
    assert_eq!(bench.calls.live(), []);
    assert_eq!(
        bench.world.tasks(),
        0,
        "the task does not wait for its consumer"
    );
    assert_eq!(bench.take_all(), [30]);
    assert_eq!(bench.take_error().record(), Some(2));
}

#[test]
fn e03_a_panic_is_a_failure_of_that_record() {
    let cases = [
        (Answer::Panic, "scripted panic of the future"),
        (Answer::PanicInCall, "scripted panic of the function"),
    ];
    for (answer, message) in cases {
        let mut bench = Bench::new(AsyncOptions::ordered());
        bench.calls.answer(2, answer);
        bench.push(1..=3);
        bench.complete(1);
        assert_eq!(bench.take_all(), [10]);
        let error = bench.take_error();
        assert_eq!(error.record(), Some(2));
        assert!(matches!(error.cause(), Cause::Panicked(said) if said == message));

        let mut bench = Bench::new(AsyncOptions::ordered().on_error(OnError::Skip));
        bench.calls.answer(2, answer);
        bench.push(1..=3);
        bench.complete(1);
        bench.complete(3);
        assert_eq!(bench.take_all(), [10, 30]);
        assert_eq!(bench.out.stream().metrics().failed, 1);
    }
}

#[test]
fn e03_a_future_that_panics_later_does_too() {
    let mut bench = Bench::new(AsyncOptions::unordered().on_error(OnError::Skip));
    bench.push([1, 2]);
    bench.answer(1, Answer::Panic);
    bench.complete(2);
    assert_eq!(bench.take_all(), [20]);
    assert_eq!(bench.calls.live(), []);
}

#[test]
fn e03_a_fallback_that_panics_has_failed_its_record() {
    let fallback = |_: &u64| -> peu_operators::Fallback<u64> { panic!("no fallback") };
    let options = AsyncOptions::unordered().timeout_with(kit::ms(10), fallback);
    let mut bench = Bench::new(options);
    bench.push([1]);
    bench.advance(10);
    let error = bench.take_error();
    assert!(matches!(error.cause(), Cause::Panicked(said) if said == "no fallback"));
}
