//! Row r08: a second call for a record whose first takes long.

mod kit;

use futures_lite::StreamExt as _;
use kit::{Answer, Bench, Calls, Refused, Tap, World, ms};
use peu_operators::pipeline::{Pipeline, iterate};
use peu_operators::{
    Admission, AsyncMap, AsyncOptions, Call, Cause, Ending, FixedLimit, Guard, Hedge, OnError,
    Retry, StagePolicies, StreamExt as _,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A stage over the numbers from 1 on, whose calls have names of their own: the first call for record 7 is 7, the second
/// 107, the third 207. Records that are not answered in time are called for again.
struct Hedged {
    world: World,
    calls: Calls,
    out: Tap<AsyncMap<u64>>,
}

impl Hedged {
    fn new<P>(records: u64, options: AsyncOptions<P>) -> Self
    where
        P: StagePolicies<u64, u64, Refused>,
    {
        let (world, calls) = (World::new(), Calls::new());
        let mut made = HashMap::new();
        let function = {
            let calls = calls.clone();
            move |record| {
                let earlier = made.entry(record).or_insert(0);
                let call = record + 100 * *earlier;
                *earlier += 1;
                calls.call(call)
            }
        };
        let records =
            futures_lite::stream::iter(1..=records).chain(futures_lite::stream::pending());
        let out = Tap::new(records.async_map(&world, "stage", function, options));
        world.run();
        Self { world, calls, out }
    }

    fn answer(&self, call: u64, answer: Answer) {
        self.calls.answer(call, answer);
        self.world.run();
    }

    fn complete(&self, call: u64) {
        self.answer(call, Answer::Output(call));
    }

    fn advance(&self, milliseconds: u64) {
        self.world.advance(ms(milliseconds));
        self.world.run();
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
fn r08_after_a_delay_a_second_call_is_made_and_the_first_answer_wins() {
    let options = AsyncOptions::ordered().hedge(Hedge::after(ms(10)));
    let mut bench = Hedged::new(2, options);
    bench.complete(2);
    bench.advance(9);
    assert_eq!(bench.calls.live(), [1]);
    bench.advance(1);
    assert_eq!(bench.calls.live(), [1, 101], "2 has its answer");
    bench.complete(101);
    assert_eq!(bench.calls.live(), [0_u64; 0], "the other is dropped");
    assert_eq!(bench.take_all(), [101, 2]);
    assert_eq!(bench.world.sleeps(), 0);
    let metrics = bench.out.stream().metrics();
    assert_eq!((metrics.attempts, metrics.hedges), (3, 1));
    assert_eq!((metrics.hedges_won, metrics.retries), (1, 0));
}

#[test]
fn r08_the_first_call_may_still_win() {
    let mut bench = Hedged::new(1, AsyncOptions::unordered().hedge(Hedge::after(ms(10))));
    bench.advance(10);
    bench.complete(1);
    assert_eq!(bench.calls.live(), [0_u64; 0]);
    assert_eq!(bench.take_all(), [1]);
    assert_eq!(bench.out.stream().metrics().hedges_won, 0);
}

#[test]
fn r08_one_second_call_for_each_attempt() {
    let bench = Hedged::new(1, AsyncOptions::unordered().hedge(Hedge::after(ms(10))));
    bench.advance(10);
    bench.advance(100);
    assert_eq!(bench.calls.live(), [1, 101]);
    assert_eq!(bench.world.sleeps(), 0);
}

#[test]
fn r08_an_error_counts_only_when_both_have_failed() {
    let retry = Retry::fixed(ms(5)).max_retries(1);
    let options = AsyncOptions::ordered().hedge(Hedge::after(ms(10)));
    let mut bench = Hedged::new(1, options.retry(retry));
    bench.advance(10);
    bench.answer(1, Answer::Refused);
    assert_eq!(bench.calls.live(), [101]);
    bench.answer(101, Answer::Refused);
    assert_eq!(bench.calls.live(), [0_u64; 0], "now it is in its back-off");
    bench.advance(5);
    assert_eq!(bench.calls.live(), [201]);
    bench.advance(10);
    assert_eq!(bench.calls.live(), [201, 301], "each attempt has its hedge");
    bench.answer(301, Answer::Refused);
    bench.answer(201, Answer::Refused);
    let error = bench.out.next_now().expect("an error").unwrap_err();
    assert_eq!(error.attempt(), Some(4), "calls of the function");
    assert!(matches!(error.cause(), Cause::Failed(_)));
}

#[test]
fn r08_both_answers_at_once_are_one() {
    let mut bench = Hedged::new(1, AsyncOptions::unordered().hedge(Hedge::after(ms(10))));
    bench.advance(10);
    bench.calls.answer(101, Answer::Output(101));
    bench.calls.answer(1, Answer::Refused);
    bench.world.run();
    assert_eq!(bench.take_all(), [101]);
    assert_eq!(bench.calls.live(), [0_u64; 0]);
}

#[test]
fn r08_a_panic_of_either_is_the_records() {
    for call in [1, 101] {
        let options = AsyncOptions::unordered().hedge(Hedge::after(ms(10)));
        let mut bench = Hedged::new(1, options);
        bench.calls.answer(101, Answer::PanicInCall);
        if call == 1 {
            bench.answer(1, Answer::Panic);
        }
        bench.advance(10);
        let error = bench.out.next_now().expect("an error").unwrap_err();
        assert!(matches!(error.cause(), Cause::Panicked(_)));
        assert_eq!(bench.calls.live(), [0_u64; 0]);
    }
}

#[test]
fn r08_the_timeout_covers_both() {
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let options = options.timeout(ms(15)).hedge(Hedge::after(ms(10)));
    let bench = Hedged::new(1, options);
    bench.advance(10);
    bench.advance(4);
    assert_eq!(bench.calls.live(), [1, 101]);
    bench.advance(1);
    assert_eq!(bench.calls.live(), [0_u64; 0]);
    assert_eq!(bench.out.stream().metrics().timed_out, 1);
}

#[test]
fn r08_there_are_never_more_calls_than_places() {
    let options = AsyncOptions::ordered()
        .capacity(3)
        .hedge(Hedge::after(ms(10)));
    let mut bench = Hedged::new(9, options);
    bench.advance(10);
    assert_eq!(bench.calls.live(), [1, 2, 3]);
    bench.complete(2);
    assert_eq!(bench.calls.live(), [1, 3, 101], "the oldest first");
    bench.complete(3);
    assert_eq!(bench.calls.live(), [1, 101], "2 and 3 keep their places");
    bench.complete(101);
    assert_eq!(bench.take_all(), [101, 2, 3]);
    assert_eq!(bench.calls.live(), [4, 5, 6]);
}

#[test]
fn r08_a_guard_is_asked_and_told_of_both() {
    let options = AsyncOptions::unordered()
        .capacity(9)
        .guard(FixedLimit::new(3))
        .hedge(Hedge::after(ms(10)));
    let bench = Hedged::new(4, options);
    bench.advance(10);
    assert_eq!(bench.calls.live(), [1, 2, 3]);
    bench.complete(1);
    assert_eq!(bench.calls.live(), [2, 3, 102], "ahead of 4");
    bench.complete(2);
    assert_eq!(bench.calls.live(), [3, 103, 4], "two have ended");
    assert_eq!(bench.out.stream().metrics().running, 3);
}

/// Counts the calls that it was told have begun, and notes how each has ended, with the milliseconds that it took.
#[derive(Default)]
struct Ledger {
    begun: Arc<AtomicUsize>,
    ended: Arc<Mutex<Vec<(u128, &'static str)>>>,
}

impl Guard<u64, Refused> for Ledger {
    fn admit(&mut self, _now: Instant, _running: usize) -> Admission {
        Admission::Go
    }

    fn begin(&mut self, _now: Instant) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&mut self, call: &Call<'_, u64, Refused>) {
        let ending = match call.ending {
            Ending::Panicked => "panicked",
            Ending::Dropped => "dropped",
            _ => "otherwise",
        };
        let mut ended = self.ended.lock().unwrap();
        ended.push((call.took().as_millis(), ending));
    }
}

#[test]
fn r08_a_guard_is_told_of_each_call_how_it_ended_when_one_panics() {
    for (number, answer, first, second) in [
        (1, Answer::Panic, "panicked", "dropped"),
        (101, Answer::Panic, "dropped", "panicked"),
        // Before there is a future.
        (101, Answer::PanicInCall, "dropped", "panicked"),
    ] {
        let ledger = Ledger::default();
        let (begun, ended) = (Arc::clone(&ledger.begun), Arc::clone(&ledger.ended));
        let options = AsyncOptions::unordered().hedge(Hedge::after(ms(10)));
        let options = options.guard(ledger).on_error(OnError::Skip);
        let stage = Hedged::new(1, options);
        let is_in_call = matches!(answer, Answer::PanicInCall);
        if is_in_call {
            stage.calls.answer(number, answer);
            stage.advance(10);
        } else {
            stage.advance(10);
            stage.advance(5);
            stage.calls.answer(number, answer);
            stage.world.run();
        }
        assert_eq!(stage.calls.made(), [1, 101]);
        assert_eq!(begun.load(Ordering::Relaxed), 2);
        let mut ended = ended.lock().unwrap().clone();
        ended.sort_unstable();
        let took = if is_in_call { 0 } else { 5 };
        assert_eq!(ended, [(took, second), (took + 10, first)]);
    }
}

#[test]
fn r08_after_a_percentile_of_the_calls_before() {
    let options = AsyncOptions::unordered().capacity(500);
    let mut bench = Hedged::new(201, options.hedge(Hedge::percentile(0.9)));
    // Calls take 1 to 100 ms, and then some take longer.
    for call in 1..=100 {
        bench.advance(1);
        bench.complete(call);
    }
    assert_eq!(bench.take_all().len(), 100);
    assert_eq!(bench.out.stream().metrics().hedges, 0, "nothing was known");
    drop(bench);

    let hedge = Hedge::percentile(0.9);
    let options = AsyncOptions::unordered().capacity(1 + 100).hedge(hedge);
    let bench = Hedged::new(200, options);
    bench.advance(20);
    (1..=100).for_each(|call| bench.calls.answer(call, Answer::Output(call)));
    bench.world.run();
    let mut bench = bench;
    assert_eq!(bench.take_all().len(), 100);
    assert_eq!(bench.calls.live().len(), 100, "101 to 200");
    bench.advance(19);
    assert_eq!(bench.out.stream().metrics().hedges, 0);
    bench.advance(8);
    assert!(
        bench.out.stream().metrics().hedges > 0,
        "a quarter later at most"
    );
}

#[test]
fn r08_dropping_the_consumer_drops_both() {
    let bench = Hedged::new(1, AsyncOptions::unordered().hedge(Hedge::after(ms(10))));
    bench.advance(10);
    assert_eq!(bench.calls.live(), [1, 101]);
    drop(bench.out);
    bench.world.run();
    assert_eq!(bench.calls.live(), [0_u64; 0]);
    assert_eq!(bench.world.tasks(), 0);
}

#[test]
#[should_panic(expected = "would never be made, for a request has 10ms")]
fn r08_a_delay_beyond_the_timeout_is_refused() {
    let options = AsyncOptions::ordered().timeout(ms(10));
    let _ = Bench::new(options.hedge(Hedge::after(ms(10))));
}

#[test]
#[should_panic(expected = "leaves no place for a second call")]
fn r08_a_capacity_of_one_is_refused() {
    let options = AsyncOptions::ordered().capacity(1);
    let _ = Bench::new(options.hedge(Hedge::percentile(0.5)));
}

#[test]
#[should_panic(expected = "would never be made, for a request has 1s")]
fn r08_a_pipeline_refuses_a_hedge_behind_the_timeout_when_it_is_built() {
    let options = AsyncOptions::ordered()
        .timeout(ms(1_000))
        .hedge(Hedge::after(ms(2_000)));
    let pass = |n: u64| async move { Ok::<_, std::io::Error>(n) };
    let _never_run = Pipeline::source(iterate([1])).async_map("stage", pass, options);
}

#[test]
#[should_panic(expected = "leaves no place for a second call")]
fn r08_a_pipeline_refuses_a_hedge_without_a_place_when_it_is_built() {
    let options = AsyncOptions::ordered()
        .capacity(1)
        .hedge(Hedge::after(ms(1)));
    let repeat = |n: u64| async move { Ok::<_, std::io::Error>(vec![n, n]) };
    let _never_run = Pipeline::source(iterate([1])).async_flat_map("stage", repeat, options);
}
