//! Family E: errors.

mod kit;

use kit::{Answer, Bench, ms};
use peu_operators::{
    Admission, AsyncOptions, Call, Cause, DeadLetters, Failure, Fallback, Guard, OnError, Recovery,
    Retry, StageError,
};
use std::sync::mpsc;
use std::time::Instant;

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
fn e01_dead_letters_are_kept_with_record_attempts_and_cause() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let (dead, letters) = mpsc::channel();
        let keep = move |failure: Failure<u64>| dead.send(failure).expect("they are read below");
        let retry = Retry::fixed(ms(5)).max_retries(1);
        let options = options.timeout(ms(10)).retry(retry);
        let mut bench = Bench::new(options.on_error(DeadLetters(keep)));
        bench.push([7, 8, 9]);
        bench.answer(8, Answer::Refused);
        assert!(letters.try_recv().is_err(), "8 has another attempt");
        bench.advance(5);
        bench.answer(8, Answer::Refused);
        let letter = letters
            .try_recv()
            .expect("it is there at once, in any mode");
        assert_eq!((letter.record, letter.number, letter.attempts), (8, 2, 2));
        assert!(matches!(letter.cause, Cause::Failed(_)));
        bench.complete(9);
        bench.advance(5);
        let letter = letters.try_recv().expect("the dead letter of 7");
        assert_eq!((letter.record, letter.attempts), (7, 1));
        assert_eq!(
            StageError::from(letter).to_string(),
            "stage `stage`, record 1 (7), attempt 1: no result within 10ms"
        );
        bench.end();
        assert_eq!(bench.take_all(), [90], "the stage goes on");
        bench.assert_over();
        assert!(letters.try_recv().is_err(), "each failure is one letter");
        let metrics = bench.out.stream().metrics();
        assert_eq!((metrics.dead_letters, metrics.skipped), (2, 2));
        assert_eq!((metrics.failed, metrics.timed_out), (1, 1));
    }
}

#[test]
fn e01_a_timeout_that_its_fallback_decides_is_no_dead_letter() {
    let fallback = |record: &u64| match record {
        1 => Fallback::Skip,
        _ => Fallback::Fail,
    };
    let (dead, letters) = mpsc::channel();
    let keep = move |failure: Failure<u64>| dead.send(failure.record).expect("they are read below");
    let options = AsyncOptions::unordered().timeout_with(ms(10), fallback);
    let bench = Bench::new(options.on_error(DeadLetters(keep)));
    bench.push([1, 2]);
    bench.advance(10);
    assert_eq!(letters.try_iter().collect::<Vec<_>>(), [2]);
    let metrics = bench.out.stream().metrics();
    assert_eq!((metrics.dead_letters, metrics.skipped), (1, 2));
}

#[test]
fn e01_a_failure_can_be_mapped_to_an_output() {
    let policy = |failure: Failure<u64>| match failure.cause {
        Cause::Failed(_) => Recovery::Output(failure.record + 7_000),
        Cause::TimedOut(_) => Recovery::Skip,
        _ => Recovery::Fail(failure),
    };
    let mut bench = Bench::new(AsyncOptions::ordered().timeout(ms(10)).on_error(policy));
    bench.push(1..=4);
    bench.complete(3);
    bench.answer(1, Answer::Refused);
    bench.advance(10);
    assert_eq!(bench.take_all(), [7_001, 30], "in its place");
    let metrics = bench.out.stream().metrics();
    assert_eq!((metrics.completed, metrics.failed), (2, 1));
    assert_eq!((metrics.skipped, metrics.dead_letters), (2, 0));
    bench.push([5]);
    bench.answer(5, Answer::Panic);
    let error = bench.take_error();
    assert_eq!((error.record(), error.attempt()), (Some(5), Some(1)));
    assert!(matches!(error.cause(), Cause::Panicked(_)));
}

#[test]
fn e01_a_record_out_of_order_is_judged_when_it_fails_and_leaves_in_its_place() {
    let policy = |failure: Failure<u64>| Recovery::Output(failure.record + 7_000);
    let mut bench = Bench::new(AsyncOptions::ordered().on_error(policy));
    bench.push(1..=3);
    bench.answer(2, Answer::Refused);
    assert_eq!(bench.take_all(), [0_u64; 0]);
    bench.complete(1);
    assert_eq!(bench.take_all(), [10, 7_002]);
}

#[test]
fn e03_a_policy_that_panics_ends_the_stage_and_names_its_record() {
    let policy = |_: Failure<u64>| -> Recovery<u64, u64> { panic!("no policy") };
    let mut bench = Bench::new(AsyncOptions::unordered().on_error(policy));
    bench.push([1, 2]);
    bench.answer(2, Answer::Refused);
    let error = bench.take_error();
    assert_eq!(error.record(), Some(2));
    assert!(matches!(error.cause(), Cause::Panicked(said) if said == "no policy"));
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
    assert_eq!(bench.calls.live(), [0_u64; 0]);
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
    assert_eq!(bench.calls.live(), [0_u64; 0]);
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

#[test]
fn e03_a_panic_of_a_guard_ends_the_stage_with_its_message() {
    struct Broken;
    impl<Out, E> Guard<Out, E> for Broken {
        fn admit(&mut self, _now: Instant, _running: usize) -> Admission {
            panic!("broken guard")
        }
        fn begin(&mut self, _now: Instant) {}
        fn end(&mut self, _call: &Call<'_, Out, E>) {}
    }
    let mut bench = Bench::new(AsyncOptions::unordered().guard(Broken));
    bench.push([1]);
    let error = bench.take_error().to_string();
    assert!(error.ends_with("panicked: broken guard"), "{error}");
}
