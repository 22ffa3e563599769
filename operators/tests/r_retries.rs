//! Family R: retries.

mod kit;

use kit::{Answer, Bench, Refused, ms};
use peu_operators::{
    AsyncOptions, Budgeted, Cause, Fallback, Jitter, OnError, Retry, RetryBudget, RetryPolicy,
    StagePolicies,
};
use std::time::Duration;

/// Refuses each attempt of record 1, and returns the delays in milliseconds after which it was called again.
fn delays<P: RetryPolicy<u64, Refused>>(policy: P, retries: usize) -> Vec<u64> {
    let bench = Bench::new(AsyncOptions::unordered().retry(policy));
    bench.push([1]);
    let delays = (1..=retries).map(|retry| {
        bench.answer(1, Answer::Refused);
        let mut delay = 0;
        while bench.calls.made().len() == retry {
            assert!(delay < 10_000, "the retry is lost");
            bench.advance(1);
            delay += 1;
        }
        delay
    });
    delays.collect()
}

/// A stage whose only record is refused as often as it asks, how often it was called, and the error at its end.
fn refused<P>(options: AsyncOptions<P>) -> (usize, peu_operators::StageError)
where
    P: StagePolicies<u64, u64, Refused>,
{
    let mut bench = Bench::new(options);
    (0..50).for_each(|_| bench.calls.answer(1, Answer::Refused));
    bench.push([1]);
    for _ in 0..50 {
        bench.advance(1_000);
    }
    (bench.calls.made().len(), bench.take_error())
}

#[test]
fn r01_a_fixed_delay() {
    assert_eq!(delays(Retry::fixed(ms(7)), 3), [7, 7, 7]);
}

#[test]
fn r01_an_exponential_delay_with_a_cap() {
    let retry = Retry::exponential(ms(10)..ms(50)).max_retries(5);
    assert_eq!(delays(retry, 5), [10, 20, 40, 50, 50]);
}

#[test]
fn r01_jitter_shortens_delays_within_its_bounds() {
    let retry = |jitter| {
        Retry::fixed(ms(1_000))
            .jitter(jitter)
            .seed(1)
            .max_retries(20)
    };
    assert_eq!(delays(retry(Jitter::None), 3), [1_000; 3]);
    let full = delays(retry(Jitter::Full), 20);
    assert!(full.iter().all(|delay| *delay <= 1_000), "{full:?}");
    assert!(full.iter().any(|delay| *delay < 500), "{full:?}");
    let equal = delays(retry(Jitter::Equal), 20);
    assert!(
        equal.iter().all(|delay| (500..=1_000).contains(delay)),
        "{equal:?}"
    );
    assert!(equal.iter().any(|delay| *delay != equal[0]), "{equal:?}");
}

#[test]
fn r01_a_custom_delay() {
    let policy = |retry: u32, _: &Result<u64, Refused>| Some(ms(u64::from(retry * retry)));
    assert_eq!(delays(policy, 4), [1, 4, 9, 16]);
}

#[test]
fn r01_calls_are_max_retries_and_one() {
    for max_retries in [0, 1, 4] {
        let retry = Retry::fixed(ms(10)).max_retries(max_retries);
        let (calls, error) = refused(AsyncOptions::ordered().retry(retry));
        assert_eq!(calls as u32, max_retries + 1);
        assert_eq!(error.attempt(), Some(max_retries + 1));
    }
    let (calls, _) = refused(AsyncOptions::ordered().retry(Retry::fixed(ms(10))));
    assert_eq!(calls, 4, "3 retries by default");
    let (calls, _) = refused(AsyncOptions::ordered());
    assert_eq!(calls, 1, "none unless told otherwise");
}

#[test]
fn r01_no_delay_at_all_is_one() {
    let retry = Retry::fixed(Duration::ZERO).max_retries(10);
    let (calls, error) = refused(AsyncOptions::unordered().retry(retry));
    assert_eq!((calls, error.attempt()), (11, Some(11)));
}

#[test]
fn r01_delays_that_no_clock_gets_to_are_waited_for_until_time_is_up_or_the_input_ends() {
    let retry = || Retry::fixed(Duration::MAX);
    let (calls, error) = refused(AsyncOptions::ordered().timeout(ms(10)).retry(retry()));
    assert_eq!(calls, 1);
    assert!(matches!(error.cause(), Cause::TimedOut(_)));

    let mut bench = Bench::new(AsyncOptions::ordered().retry(retry()));
    bench.push([1]);
    bench.answer(1, Answer::Refused);
    assert_eq!(bench.world.sleeps(), 0);
    bench.end();
    bench.complete(1);
    assert_eq!(bench.take_all(), [10]);
    bench.assert_over();
}

#[test]
fn r02_only_a_chosen_error_is_retried() {
    let retry = |wanted| Retry::fixed(ms(10)).when(move |_: &Refused| wanted);
    let (calls, _) = refused(AsyncOptions::unordered().retry(retry(true)));
    assert_eq!(calls, 4);
    let (calls, error) = refused(AsyncOptions::unordered().retry(retry(false)));
    assert_eq!((calls, error.attempt()), (1, Some(1)));
}

#[test]
fn r02_a_result_is_retried_on_demand() {
    let retry = Retry::fixed(ms(10)).when_result(|output: &u64| *output == 0);
    let mut bench = Bench::new(AsyncOptions::ordered().retry(retry));
    bench.push([1, 2]);
    bench.answer(1, Answer::Output(0));
    bench.answer(2, Answer::Refused);
    bench.advance(10);
    assert_eq!(bench.calls.live(), [1, 2], "and errors are still");
    bench.complete(1);
    bench.complete(2);
    assert_eq!(bench.take_all(), [10, 20]);
}

#[test]
fn r02_a_function_that_fails_at_once_is_retried_like_one_that_fails_later() {
    let retry = Retry::fixed(ms(10));
    let mut bench = Bench::new(AsyncOptions::ordered().retry(retry));
    bench.calls.answer(1, Answer::Refused);
    bench.calls.answer(1, Answer::Refused);
    bench.push([1, 2]);
    bench.answer(2, Answer::Refused);
    assert_eq!(bench.calls.made(), [1, 2]);
    bench.advance(10);
    assert_eq!(bench.calls.made(), [1, 2, 1, 2]);
    bench.complete(2);
    assert_eq!(bench.take_all(), [0_u64; 0], "1 failed at once again");
    bench.advance(10);
    bench.complete(1);
    assert_eq!(bench.take_all(), [10, 20]);
}

#[test]
fn r02_a_panic_is_a_defect_and_not_retried() {
    for panic in [Answer::Panic, Answer::PanicInCall] {
        let mut bench = Bench::new(AsyncOptions::unordered().retry(Retry::fixed(ms(10))));
        bench.calls.answer(1, Answer::Refused);
        bench.calls.answer(1, panic);
        bench.push([1]);
        bench.advance(10);
        let error = bench.take_error();
        assert!(matches!(error.cause(), Cause::Panicked(_)));
        assert_eq!(error.attempt(), Some(2));
    }
}

#[test]
fn r02_a_condition_that_panics_has_failed_its_record() {
    let condition = |_: &Refused| -> bool { panic!("no condition") };
    let (calls, error) =
        refused(AsyncOptions::unordered().retry(Retry::fixed(ms(10)).when(condition)));
    assert_eq!(calls, 1);
    assert!(matches!(error.cause(), Cause::Panicked(said) if said == "no condition"));
    assert_eq!(error.record(), Some(1));
}

#[test]
fn r02_a_condition_that_panics_ends_no_other_record_also_of_those_that_are_ready_at_once() {
    let condition = |_: &Refused| -> bool { panic!("no condition") };
    let retry = Retry::fixed(ms(10)).when(condition);
    let options = AsyncOptions::ordered().retry(retry);
    let mut bench = Bench::new(options.on_error(OnError::Skip));
    bench.calls.answer(1, Answer::Refused);
    bench.calls.answer(2, Answer::Output(20));
    bench.push([1, 2]);
    assert_eq!(bench.take_all(), [20]);
}

#[test]
fn r03_each_record_waits_for_itself() {
    let bench = Bench::new(AsyncOptions::unordered().retry(Retry::exponential(ms(8)..ms(64))));
    bench.push([1]);
    bench.answer(1, Answer::Refused);
    bench.advance(8);
    bench.answer(1, Answer::Refused);
    bench.push([2]);
    bench.answer(2, Answer::Refused);
    assert_eq!(
        bench.world.sleeps(),
        1,
        "one sleep, for the earlier of the two"
    );
    bench.advance(8);
    assert_eq!(
        bench.calls.made(),
        [1, 1, 2, 2],
        "8 ms for 2, whose first it is"
    );
    bench.advance(8);
    assert_eq!(bench.calls.made(), [1, 1, 2, 2, 1], "16 ms for 1");
}

#[test]
fn r03_a_record_in_back_off_keeps_its_place() {
    let bench = Bench::new(
        AsyncOptions::unordered()
            .capacity(1)
            .retry(Retry::fixed(ms(10))),
    );
    bench.push([1, 2]);
    bench.answer(1, Answer::Refused);
    bench.advance(9);
    assert_eq!(bench.calls.made(), [1]);
    bench.advance(1);
    assert_eq!(bench.calls.made(), [1, 1]);
}

#[test]
fn r04_out_of_retries_the_last_outcome_is_final() {
    let retry = || {
        Retry::fixed(ms(10))
            .max_retries(1)
            .when_result(|output: &u64| *output == 0)
    };
    let mut bench = Bench::new(AsyncOptions::ordered().retry(retry()));
    bench.push([1]);
    bench.answer(1, Answer::Refused);
    bench.advance(10);
    bench.answer(1, Answer::Output(0));
    assert_eq!(bench.take_all(), [0], "a result is an output");
    bench.push([2]);
    bench.answer(2, Answer::Output(0));
    bench.advance(10);
    bench.answer(2, Answer::Refused);
    let error = bench.take_error();
    assert_eq!(
        error.to_string(),
        "stage `stage`, record 2 (2), attempt 2: refused"
    );
}

#[test]
fn r04_the_error_policy_sees_only_the_last_failure() {
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let mut bench = Bench::new(options.retry(Retry::fixed(ms(10)).max_retries(2)));
    bench.push([1]);
    for _ in 0..3 {
        bench.answer(1, Answer::Refused);
        bench.advance(10);
    }
    bench.end();
    assert_eq!(bench.take_all(), [0_u64; 0]);
    bench.assert_over();
    let metrics = bench.out.stream().metrics();
    assert_eq!(
        (metrics.failed, metrics.skipped, metrics.attempts),
        (1, 1, 3)
    );
}

#[test]
fn r05_at_the_end_of_input_a_back_off_ends_at_once_and_its_attempt_is_the_last() {
    let options = AsyncOptions::ordered().on_error(OnError::Skip);
    let mut bench = Bench::new(options.retry(Retry::fixed(ms(10)).max_retries(9)));
    bench.push(1..=3);
    bench.answer(1, Answer::Refused);
    bench.answer(2, Answer::Refused);
    bench.end();
    assert_eq!(
        bench.calls.made(),
        [1, 2, 3, 1, 2],
        "at once, 3 is not doubled"
    );
    bench.answer(1, Answer::Refused);
    bench.complete(2);
    bench.complete(3);
    bench.advance(1_000);
    assert_eq!(bench.calls.made(), [1, 2, 3, 1, 2], "1 had its last");
    assert_eq!(bench.take_all(), [20, 30]);
    bench.assert_over();
}

#[test]
fn r05_an_attempt_that_fails_after_the_end_of_input_has_one_more_at_once() {
    let mut bench = Bench::new(AsyncOptions::ordered().retry(Retry::fixed(ms(10)).max_retries(9)));
    bench.push([1]);
    bench.end();
    assert_eq!(bench.calls.made(), [1]);
    bench.answer(1, Answer::Refused);
    assert_eq!(bench.calls.made(), [1, 1]);
    bench.answer(1, Answer::Refused);
    assert_eq!(bench.take_error().attempt(), Some(2));
}

#[test]
fn r05_the_end_of_input_grants_no_attempt_beyond_max_retries() {
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let mut bench = Bench::new(options.retry(Retry::fixed(ms(10)).max_retries(1)));
    bench.push([1]);
    bench.answer(1, Answer::Refused);
    bench.advance(10);
    bench.end();
    bench.answer(1, Answer::Refused);
    bench.assert_over();
    let metrics = bench.out.stream().metrics();
    assert_eq!((metrics.attempts, metrics.retries), (2, 1));
}

#[test]
fn r05_a_failure_that_ends_the_stage_ends_the_back_offs_before_it() {
    let mut bench = Bench::new(AsyncOptions::ordered().retry(Retry::fixed(ms(10)).max_retries(1)));
    bench.calls.answer(2, Answer::Refused);
    bench.push([1, 2]);
    bench.advance(5);
    bench.answer(1, Answer::Refused);
    bench.advance(5);
    bench.answer(2, Answer::Refused);
    assert_eq!(bench.calls.made(), [1, 2, 2, 1]);
    bench.complete(1);
    assert_eq!(bench.take_all(), [10]);
    assert_eq!(bench.take_error().record(), Some(2));
}

#[test]
fn r05_dropping_the_consumer_makes_no_further_attempt() {
    let bench = Bench::new(AsyncOptions::ordered().retry(Retry::fixed(ms(10))));
    bench.push([1]);
    bench.answer(1, Answer::Refused);
    drop(bench.out);
    bench.world.run();
    bench.world.advance(ms(10));
    bench.world.run();
    assert_eq!(bench.calls.made(), [1]);
    assert_eq!((bench.world.tasks(), bench.world.sleeps()), (0, 0));
}

/// Refuses every attempt of `records` records, and returns how many retries were made and how many the budget refused.
fn storm<P: RetryPolicy<u64, Refused>>(policy: P, records: u64) -> (u64, u64) {
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let bench = Bench::new(options.retry(policy));
    for record in 1..=records {
        (0..10).for_each(|_| bench.calls.answer(record, Answer::Refused));
        bench.push([record]);
        (0..10).for_each(|_| bench.advance(10));
    }
    let metrics = bench.out.stream().metrics();
    assert_eq!(metrics.skipped, records, "each has its final outcome");
    (metrics.retries, metrics.over_budget)
}

#[test]
fn r06_a_budget_bounds_retries_to_a_share_of_the_records() {
    let retry = || Retry::fixed(ms(10)).max_retries(3);
    assert_eq!(storm(retry(), 100), (300, 0), "without a budget");
    let budget = RetryBudget::share(0.25).reserve(10);
    let (retries, refused) = storm(retry().budget(budget), 100);
    // The bucket is full when the first record comes, so what that adds is lost.
    assert_eq!(retries, 10 + 99 / 4);
    assert!(refused >= 66, "{refused} outcomes were final too early");
}

#[test]
fn r06_a_budget_that_is_used_up_makes_the_outcome_final_at_once() {
    let budget = RetryBudget::share(0.0).reserve(1);
    let options = AsyncOptions::ordered().retry(Retry::fixed(ms(10)).budget(budget));
    let mut bench = Bench::new(options);
    bench.push([1, 2]);
    bench.answer(1, Answer::Refused);
    bench.answer(2, Answer::Refused);
    assert_eq!(bench.calls.made(), [1, 2, 1]);
    bench.complete(1);
    assert_eq!(bench.take_all(), [10], "the one retry there was");
    let error = bench.take_error();
    assert_eq!((error.record(), error.attempt()), (Some(2), Some(1)));
}

#[test]
fn r06_what_would_not_be_tried_again_costs_nothing() {
    let retry = || Retry::fixed(ms(10)).when(|_: &Refused| false);
    let budget = || RetryBudget::share(0.0).reserve(1);
    assert_eq!(storm(retry().budget(budget()), 20), (0, 0));
}

#[test]
fn r06_a_policy_of_ones_own_has_a_budget_too() {
    let policy = |_: u32, _: &Result<u64, Refused>| Some(ms(10));
    let budget = RetryBudget::share(0.0).reserve(7);
    assert_eq!(storm(Budgeted::new(policy, budget), 20), (7, 20));
}

#[test]
fn r06_the_attempt_at_the_end_of_input_was_paid_for() {
    let budget = RetryBudget::share(0.0).reserve(1);
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let mut bench = Bench::new(options.retry(Retry::fixed(ms(10)).budget(budget)));
    bench.push([1, 2]);
    bench.answer(1, Answer::Refused);
    bench.end();
    assert_eq!(bench.calls.made(), [1, 2, 1], "it was in back-off");
    bench.answer(2, Answer::Refused);
    assert_eq!(bench.calls.made(), [1, 2, 1], "nothing is left for 2");
    bench.complete(1);
    assert_eq!(bench.take_all(), [10]);
    bench.assert_over();
}

#[test]
fn r07_a_record_in_back_off_may_give_its_place_back() {
    let retry = Retry::fixed(ms(10)).without_place(5);
    let mut bench = Bench::new(AsyncOptions::unordered().capacity(2).retry(retry));
    bench.push(1..=5);
    bench.answer(1, Answer::Refused);
    assert_eq!(bench.calls.live(), [2, 3], "3 has the place of 1");
    bench.answer(2, Answer::Refused);
    assert_eq!(bench.calls.live(), [3, 4]);
    assert_eq!(bench.out.stream().metrics().in_flight, 4);
    bench.advance(10);
    assert_eq!(bench.calls.live(), [3, 4], "capacity bounds real attempts");
    bench.complete(3);
    assert_eq!(bench.calls.live(), [4, 1], "1 goes ahead of 5");
    bench.complete(4);
    assert_eq!(bench.calls.live(), [1, 2], "and so does 2");
    assert_eq!(bench.take_all(), [30, 40]);
    assert_eq!(bench.calls.live(), [1, 2]);
    bench.complete(1);
    bench.complete(2);
    assert_eq!(bench.take_all(), [10, 20]);
    bench.complete(5);
    bench.end();
    assert_eq!(bench.take_all(), [50]);
    bench.assert_over();
}

#[test]
fn r07_those_without_a_place_have_a_bound_of_their_own() {
    let retry = Retry::fixed(ms(10)).without_place(1);
    let bench = Bench::new(AsyncOptions::unordered().capacity(1).retry(retry));
    bench.push(1..=3);
    bench.answer(1, Answer::Refused);
    bench.answer(2, Answer::Refused);
    assert_eq!(bench.calls.made(), [1, 2]);
    assert_eq!(bench.feed.left(), 1, "2 keeps its place");
    bench.advance(10);
    assert_eq!(bench.calls.made(), [1, 2, 1], "one call at a time");
    bench.complete(1);
    assert_eq!(bench.calls.made(), [1, 2, 1, 2]);
}

#[test]
fn r07_in_order_results_that_wait_keep_no_record_from_coming_back() {
    let retry = Retry::fixed(ms(10)).without_place(5);
    let mut bench = Bench::new(AsyncOptions::ordered().capacity(2).retry(retry));
    bench.push(1..=5);
    bench.answer(1, Answer::Refused);
    bench.complete(2);
    bench.complete(3);
    assert_eq!(
        bench.calls.live(),
        [0_u64; 0],
        "two results have the two places"
    );
    bench.advance(10);
    assert_eq!(bench.calls.live(), [1]);
    bench.complete(1);
    assert_eq!(bench.take_one(), Some(10));
    assert_eq!(bench.calls.live(), [0_u64; 0], "the place of 1 was none");
    assert_eq!(bench.take_one(), Some(20));
    assert_eq!(bench.calls.live(), [4]);
    assert_eq!(bench.take_all(), [30]);
    assert_eq!(bench.calls.live(), [4, 5]);
}

#[test]
fn r07_a_record_that_times_out_without_a_place_leaves_through_one() {
    let retry = Retry::fixed(ms(50)).without_place(5);
    let options = AsyncOptions::unordered().capacity(1).retry(retry);
    let fallback = |record: &u64| Fallback::Output(record + 100);
    let mut bench = Bench::new(options.timeout_with(ms(10), fallback));
    bench.push([1, 2, 3]);
    bench.answer(1, Answer::Refused);
    bench.answer(2, Answer::Refused);
    assert_eq!(bench.calls.live(), [3]);
    bench.push([4]);
    bench.advance(10);
    assert_eq!(bench.calls.made(), [1, 2, 3], "three results, one place");
    assert_eq!(bench.take_one(), Some(101));
    assert_eq!(bench.take_one(), Some(102));
    assert_eq!(bench.calls.made(), [1, 2, 3]);
    assert_eq!(bench.take_one(), Some(103));
    assert_eq!(bench.calls.made(), [1, 2, 3, 4]);
}
