//! Row e04: the circuit breaker.

mod kit;

use kit::{Answer, Bench, Refused, ms};
use peu_operators::{
    AsyncOptions, Cause, Circuit, CircuitBreaker, Fallback, OnError, Retry, StagePolicies,
};

/// Opens for 50 ms when half of at least 4 calls within 100 ms have failed; two probes.
fn breaker() -> CircuitBreaker {
    let breaker = CircuitBreaker::new(0.5, ms(100));
    breaker.minimum(4).open_for(ms(50)).probes(2)
}

fn skipping(breaker: CircuitBreaker) -> AsyncOptions<impl StagePolicies<u64, u64, Refused>> {
    AsyncOptions::unordered()
        .on_error(OnError::Skip)
        .guard(breaker)
}

fn circuit(bench: &Bench) -> Circuit {
    bench.out.stream().metrics().circuit
}

/// A bench whose first four records were refused, so that its circuit is open.
fn open() -> Bench {
    let bench = Bench::new(skipping(breaker()));
    bench.push(1..=4);
    (1..=4).for_each(|record| bench.answer(record, Answer::Refused));
    assert_eq!(circuit(&bench), Circuit::Open);
    bench
}

#[test]
fn e04_it_opens_when_the_share_of_failures_is_reached_and_not_before() {
    let bench = Bench::new(skipping(breaker()));
    bench.push(1..=7);
    bench.answer(1, Answer::Refused);
    bench.answer(2, Answer::Refused);
    bench.answer(3, Answer::Panic);
    assert_eq!(circuit(&bench), Circuit::Closed, "three calls say little");
    (4..=6).for_each(|record| bench.complete(record));
    assert_eq!(circuit(&bench), Circuit::Open, "three of four");
    bench.push([8]);
    assert_eq!(
        bench.calls.made(),
        [1, 2, 3, 4, 5, 6, 7],
        "8 has failed at once"
    );
    let metrics = bench.out.stream().metrics();
    assert_eq!((metrics.refused, metrics.circuit_opened), (1, 1));
    assert_eq!((metrics.failed, metrics.skipped), (3, 4));
}

#[test]
fn e04_what_is_older_than_the_window_does_not_count() {
    let bench = Bench::new(skipping(breaker()));
    bench.push(1..=8);
    (1..=3).for_each(|record| bench.answer(record, Answer::Refused));
    bench.advance(100);
    bench.answer(4, Answer::Refused);
    (5..=8).for_each(|record| bench.complete(record));
    assert_eq!(circuit(&bench), Circuit::Closed);
}

#[test]
fn e04_while_open_records_fail_with_a_cause_that_the_policy_sees() {
    let options = AsyncOptions::ordered().guard(breaker().minimum(1));
    let mut bench =
        Bench::new(
            options.on_error(|failure: peu_operators::Failure<u64>| match failure.cause {
                Cause::CircuitOpen => {
                    assert_eq!(failure.attempts, 0);
                    peu_operators::Recovery::Output(503)
                }
                _ => peu_operators::Recovery::Skip,
            }),
        );
    bench.push([1]);
    bench.answer(1, Answer::Refused);
    bench.push([2, 3]);
    assert_eq!(bench.take_all(), [503, 503]);
    assert_eq!(bench.calls.made(), [1]);
}

#[test]
fn e04_by_default_a_record_that_meets_an_open_circuit_fails_the_stage() {
    let retry = Retry::fixed(ms(1_000));
    let options = AsyncOptions::unordered().guard(breaker().minimum(1));
    let mut bench = Bench::new(options.retry(retry));
    bench.push([1]);
    bench.answer(1, Answer::Refused);
    bench.push([2]);
    let error = bench.take_error();
    assert_eq!(error.record(), Some(2));
    assert!(
        error.to_string().contains("the circuit breaker is open"),
        "{error}"
    );
}

#[test]
fn e04_half_open_lets_probes_pass_and_closes_when_all_succeed() {
    let bench = open();
    bench.advance(49);
    bench.push([5]);
    assert_eq!(bench.calls.live(), [0_u64; 0], "still open");
    bench.advance(1);
    bench.push([6, 7, 8]);
    assert_eq!(bench.calls.live(), [6, 7], "8 is one too many");
    assert_eq!(circuit(&bench), Circuit::HalfOpen);
    bench.complete(6);
    bench.push([9]);
    assert_eq!(bench.calls.live(), [7]);
    bench.complete(7);
    assert_eq!(circuit(&bench), Circuit::Closed);
    bench.push([10, 11, 12]);
    assert_eq!(bench.calls.live(), [10, 11, 12]);
}

#[test]
fn e04_a_probe_that_fails_opens_it_again() {
    let bench = open();
    bench.advance(50);
    bench.push([5, 6]);
    bench.complete(5);
    bench.answer(6, Answer::Refused);
    assert_eq!(circuit(&bench), Circuit::Open);
    bench.advance(49);
    bench.push([7]);
    assert_eq!(bench.calls.live(), [0_u64; 0]);
    bench.advance(1);
    bench.push([8]);
    assert_eq!(bench.calls.live(), [8]);
    assert_eq!(bench.out.stream().metrics().circuit_opened, 2);
}

#[test]
fn e04_what_began_before_it_opened_decides_nothing_later() {
    let bench = Bench::new(skipping(breaker()));
    bench.push(1..=6);
    bench.advance(1);
    (1..=4).for_each(|record| bench.answer(record, Answer::Refused));
    bench.advance(50);
    bench.push([7]);
    bench.answer(5, Answer::Refused);
    assert_eq!(circuit(&bench), Circuit::HalfOpen);
    bench.complete(6);
    bench.complete(7);
    assert_eq!(circuit(&bench), Circuit::HalfOpen, "6 was no probe");
}

#[test]
fn e04_a_timeout_is_a_failure() {
    let options = AsyncOptions::unordered().guard(breaker());
    let bench = Bench::new(options.timeout_with(ms(10), |_: &u64| Fallback::Skip));
    bench.push(1..=4);
    bench.advance(10);
    assert_eq!(circuit(&bench), Circuit::Open);
}

#[test]
fn e04_only_chosen_errors_are_failures() {
    let breaker = breaker().when(|_: &Refused| false);
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let bench = Bench::new(options.guard(breaker));
    bench.push(1..=8);
    (1..=4).for_each(|record| bench.answer(record, Answer::Refused));
    assert_eq!(circuit(&bench), Circuit::Closed);
    (5..=8).for_each(|record| bench.answer(record, Answer::Panic));
    assert_eq!(circuit(&bench), Circuit::Open, "a panic always is one");
}

#[test]
fn e04_a_condition_that_panics_has_failed_its_record() {
    let breaker = breaker().when(|_: &Refused| -> bool { panic!("no condition") });
    let mut bench = Bench::new(AsyncOptions::unordered().guard(breaker));
    bench.push([1]);
    bench.answer(1, Answer::Refused);
    let error = bench.take_error();
    assert!(matches!(error.cause(), Cause::Panicked(said) if said == "no condition"));
}

#[test]
fn e04_a_retry_that_meets_an_open_circuit_has_failed() {
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let retry = Retry::fixed(ms(10));
    let bench = Bench::new(options.guard(breaker().minimum(1)).retry(retry));
    bench.push([1]);
    bench.answer(1, Answer::Refused);
    bench.advance(10);
    assert_eq!(bench.calls.made(), [1]);
    let metrics = bench.out.stream().metrics();
    assert_eq!(
        (metrics.refused, metrics.skipped, metrics.in_flight),
        (1, 1, 0)
    );
}

#[test]
fn e04_a_breaker_that_waits_loses_no_record() {
    let retry = Retry::fixed(ms(10)).max_retries(9);
    let options = AsyncOptions::ordered().guard(breaker().wait());
    let mut bench = Bench::new(options.retry(retry));
    bench.push(1..=6);
    (1..=4).for_each(|record| bench.answer(record, Answer::Refused));
    assert_eq!(circuit(&bench), Circuit::Open);
    bench.complete(5);
    bench.complete(6);
    bench.push([7, 8]);
    bench.advance(49);
    assert_eq!(bench.calls.made(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(bench.feed.left(), 1, "7 is at hand, 8 is not taken");
    bench.advance(1);
    assert_eq!(bench.calls.live(), [1, 2], "the probes");
    bench.complete(1);
    bench.complete(2);
    assert_eq!(bench.calls.live(), [3, 4, 7, 8]);
    (3..=8).for_each(|record| bench.complete(record));
    bench.end();
    assert_eq!(bench.take_all(), [10, 20, 30, 40, 50, 60, 70, 80]);
    bench.assert_over();
}

#[test]
fn e04_a_probe_that_is_dropped_makes_way_for_another() {
    let options = AsyncOptions::ordered().guard(breaker().minimum(2).wait());
    let policy = |failure: peu_operators::Failure<u64>| match failure.record {
        4 => peu_operators::Recovery::Fail(failure),
        _ => peu_operators::Recovery::Skip,
    };
    let retry = Retry::fixed(ms(10)).max_retries(9);
    let mut bench = Bench::new(options.retry(retry).on_error(policy));
    bench.push([1, 2]);
    bench.answer(1, Answer::Refused);
    bench.answer(2, Answer::Refused);
    bench.push([3]);
    bench.advance(50);
    assert_eq!(bench.calls.live(), [1, 2]);
    bench.complete(1);
    bench.complete(2);
    bench.push([4, 5]);
    assert_eq!(circuit(&bench), Circuit::Closed);
    // 4 panics, and ends the stage behind 3; 5 is dropped, and nothing waits for it.
    bench.answer(4, Answer::Panic);
    assert_eq!(bench.calls.live(), [3]);
    bench.complete(3);
    assert_eq!(bench.take_all(), [10, 20, 30]);
    assert_eq!(bench.take_error().record(), Some(4));
}
