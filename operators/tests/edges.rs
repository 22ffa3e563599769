//! Where a stage begins and ends, and what else can go wrong around it.

mod kit;

use kit::{Answer, Bench, Calls, Feed, Tap, World, ms};
use peu_operators::{AsyncOptions, Cause, OnError, Spawn, StreamExt as _, Timer};
use std::convert::Infallible;
use std::future::{Future, Pending, pending, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

#[test]
fn an_input_that_panics_ends_the_stage_behind_what_it_gave() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let mut bench = Bench::new(options);
        bench.push([1]);
        bench.feed.panic();
        bench.world.run();
        assert!(bench.feed.is_dropped());
        assert_eq!(bench.calls.live(), [1], "it is drained, as at any end");
        bench.complete(1);
        assert_eq!(bench.take_all(), [10]);
        let error = bench.take_error();
        assert_eq!(error.record(), None);
        assert!(matches!(error.cause(), Cause::InputPanicked(_)));
        assert_eq!(
            error.to_string(),
            "stage `stage`: its input panicked: scripted panic of the input"
        );
    }
}

#[test]
fn an_input_that_fails_ends_the_stage_behind_what_it_gave() {
    let world = World::new();
    let input = [Ok(1), Err(io::Error::other("torn")), Ok(2)];
    let double = |n: u64| async move { Ok::<_, Infallible>(2 * n) };
    let options = AsyncOptions::unordered();
    let stage = futures_lite::stream::iter(input).try_async_map(&world, "double", double, options);
    let mut out = Tap::new(stage);
    world.run();
    assert_eq!(out.next_now().unwrap().unwrap(), 2);
    let error = out.next_now().unwrap().unwrap_err();
    assert!(matches!(error.cause(), Cause::Input(_)));
    assert_eq!(error.to_string(), "stage `double`: its input failed: torn");
    assert!(out.is_over());
}

#[test]
fn a_failure_outranks_an_end_of_input_that_comes_behind_it() {
    let mut bench = Bench::new(AsyncOptions::ordered());
    bench.push([1, 2]);
    bench.feed.panic();
    bench.answer(2, Answer::Refused);
    bench.complete(1);
    assert_eq!(bench.take_all(), [10]);
    assert_eq!(bench.take_error().record(), Some(2));
}

#[test]
fn a_runtime_that_drops_the_task_is_told_to_the_consumer() {
    let mut bench = Bench::new(AsyncOptions::unordered().timeout(ms(10)));
    bench.push([1, 2]);
    bench.complete(1);
    assert!(bench.out.poll().is_ready());
    assert!(bench.out.poll().is_pending());
    bench.complete(2);
    bench.push([3]);
    let _ = bench.out.wakes();
    bench.world.close();
    assert_eq!(bench.calls.live(), [0_u64; 0]);
    assert_eq!(bench.take_one(), Some(20), "what was finished is kept");
    assert!(matches!(bench.take_error().cause(), Cause::Cancelled));
}

#[test]
fn a_waiting_consumer_is_woken_when_the_task_is_dropped() {
    let mut bench = Bench::new(AsyncOptions::unordered());
    bench.push([1]);
    assert!(bench.out.poll().is_pending());
    bench.world.close();
    assert_eq!(bench.out.wakes(), 1);
    assert!(matches!(bench.take_error().cause(), Cause::Cancelled));
}

#[test]
fn a_runtime_that_is_gone_is_told_to_the_consumer() {
    let world = World::new();
    world.close();
    let (_feed, source) = Feed::new();
    let calls = Calls::new();
    let stage = source.async_map(
        &world,
        "late",
        move |n| calls.call(n),
        AsyncOptions::ordered(),
    );
    let mut out = Tap::new(stage);
    let error = out.next_now().unwrap().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("stage `late`: its task was dropped")
    );
    assert!(out.is_over());
}

/// A future whose `drop` panics; ready when it has an output.
struct Grudge(Option<u64>);

impl Future for Grudge {
    type Output = Result<u64, Infallible>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0
            .map_or(Poll::Pending, |output| Poll::Ready(Ok(output)))
    }
}

impl Drop for Grudge {
    fn drop(&mut self) {
        panic!("a grudge");
    }
}

#[test]
fn a_future_that_panics_when_dropped_harms_nobody() {
    let world = World::new();
    let mut out = Tap::new(
        futures_lite::stream::iter(1..=4).async_map(
            &world,
            "grudge",
            |n: u64| Grudge(n.is_multiple_of(2).then_some(n)),
            AsyncOptions::unordered()
                .timeout(ms(10))
                .on_error(OnError::Skip),
        ),
    );
    world.run();
    assert_eq!(out.next_now().unwrap().unwrap(), 2);
    assert_eq!(out.next_now().unwrap().unwrap(), 4);
    world.advance(ms(10));
    world.run();
    assert!(out.is_over());
    assert_eq!(world.tasks(), 0);
}

/// One such panic after the other, while the first is under way, would end the process.
#[test]
fn a_runtime_that_drops_the_task_drops_all_futures_whatever_they_do_then() {
    let world = World::new();
    let records = futures_lite::stream::iter(0_u64..3);
    let stage = records.async_map(&world, "grudge", |_| Grudge(None), AsyncOptions::ordered());
    let mut out = Tap::new(stage);
    world.run();
    world.close();
    let error = out.next_now().unwrap().unwrap_err();
    assert!(matches!(error.cause(), Cause::Cancelled), "{error}");
}

/// Panics when it has been polled so often, and when it is dropped.
struct Fury {
    polls: u32,
}

impl Future for Fury {
    type Output = Result<u64, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(self.polls > 0, "a fury");
        self.polls -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Fury {
    fn drop(&mut self) {
        panic!("a fury to the end");
    }
}

#[test]
fn e03_a_future_that_has_panicked_may_panic_again_when_dropped() {
    for polls in [0, 1] {
        let world = World::new();
        let options = AsyncOptions::unordered().on_error(OnError::Skip);
        let records = futures_lite::stream::iter(0..3);
        let fury = move |_: u64| Fury { polls };
        let stage = records.async_map(&world, "fury", fury, options);
        let monitor = stage.monitor();
        let mut out = Tap::new(stage);
        world.run();
        assert!(out.is_over());
        assert_eq!(monitor.metrics().skipped, 3);
    }
}

/// What a panic brings along, and panics itself when it is dropped.
struct Poison;

impl Drop for Poison {
    fn drop(&mut self) {
        std::panic::panic_any("poison");
    }
}

#[test]
fn e03_what_a_panic_brings_along_may_panic_when_dropped() {
    let world = World::new();
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let poison = |n: u64| async move {
        if n == 1 {
            std::panic::panic_any(Poison);
        }
        Ok::<_, Infallible>(n)
    };
    let records = futures_lite::stream::iter([1, 2]);
    let mut out = Tap::new(records.async_map(&world, "poison", poison, options));
    world.run();
    assert_eq!(out.next_now().unwrap().unwrap(), 2);
    assert!(out.is_over());
}

/// A record of which the fifth can't be cloned.
#[derive(Debug)]
struct Fragile(u64);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert_ne!(self.0, 5, "it broke");
        Self(self.0)
    }
}

#[test]
fn a_panic_among_requests_that_are_ready_at_once_is_of_whom_it_is() {
    for fifth_comes in [false, true] {
        let world = World::new();
        let records = (1..=5).map(move |n| {
            assert!(n < 5 || fifth_comes, "no more");
            Fragile(n)
        });
        let double = |Fragile(n): Fragile| {
            assert_ne!(n, 2, "not this one");
            ready(Ok::<_, Infallible>(2 * n))
        };
        let options = AsyncOptions::unordered().on_error(OnError::Skip);
        let doubled =
            futures_lite::stream::iter(records).async_map(&world, "double", double, options);
        let monitor = doubled.monitor();
        let mut out = Tap::new(doubled);
        world.run();
        let doubles = [(); 3].map(|()| out.next_now().unwrap().unwrap());
        assert_eq!(doubles, [2, 6, 8]);
        let error = out.next_now().unwrap().unwrap_err();
        let is_of_the_input = matches!(error.cause(), Cause::InputPanicked(_));
        assert_eq!(is_of_the_input, !fifth_comes);
        assert_eq!(error.record(), fifth_comes.then_some(5));
        assert!(out.is_over());
        let metrics = monitor.metrics();
        let came = if fifth_comes { 5 } else { 4 };
        assert_eq!((metrics.accepted, metrics.attempts), (came, came));
        assert_eq!((metrics.completed, metrics.skipped), (3, 1));
    }
}

/// A world without a clock.
#[derive(Clone)]
struct Clockless(World);

impl Spawn for Clockless {
    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
        self.0.spawn(task);
    }
}

impl Timer for Clockless {
    type Sleep = Pending<()>;

    fn now(&self) -> Instant {
        panic!("no clock")
    }

    fn sleep_until(&self, _: Instant) -> Pending<()> {
        pending()
    }
}

/// The clock is asked when a record has a time limit, and when a request has to be waited for, among records that are taken in together.
#[test]
fn a_clock_that_panics_ends_the_stage_and_is_nobody_elses_panic() {
    let options = AsyncOptions::unordered;
    for options in [options(), options().timeout(ms(10))] {
        let world = World::new();
        let wait = |_| pending::<Result<u64, Infallible>>();
        let records = futures_lite::stream::iter(0_u64..3);
        let stage = records.async_map(&Clockless(world.clone()), "wait", wait, options);
        let mut out = Tap::new(stage);
        world.run();
        let error = out.next_now().unwrap().unwrap_err();
        assert_eq!(error.record(), None);
        assert!(matches!(error.cause(), Cause::Panicked(_)), "{error}");
        assert!(out.is_over());
    }
}

#[test]
fn only_requests_that_were_woken_are_polled() {
    let bench = Bench::new(AsyncOptions::unordered());
    bench.push(1..=100);
    bench.complete(50);
    bench.calls.wake(7);
    bench.calls.wake(7);
    bench.world.run();
    assert_eq!(bench.calls.polls(50), 2);
    assert_eq!(
        bench.calls.polls(7),
        2,
        "two wake-ups before a poll are one"
    );
    assert_eq!(bench.calls.polls(49), 1);
}

#[test]
fn a_consumer_is_woken_once_for_all_that_a_pause_of_the_stage_brings() {
    let mut bench = Bench::new(AsyncOptions::unordered());
    bench.push(1..=3);
    assert!(bench.out.poll().is_pending());
    for record in 1..=3 {
        bench.calls.answer(record, Answer::Output(record));
    }
    bench.world.run();
    assert_eq!(bench.out.wakes(), 1);
    assert_eq!(bench.take_all(), [1, 2, 3]);
}

#[test]
fn an_idle_stage_is_not_polled() {
    let mut bench = Bench::new(AsyncOptions::unordered().capacity(2));
    bench.push([1]);
    assert!(bench.out.poll().is_pending());
    let polls = bench.world.polls();
    assert!(
        bench.out.poll().is_pending(),
        "a consumer that polls again wakes nobody"
    );
    bench.world.run();
    assert_eq!(bench.world.polls(), polls);
    bench.complete(1);
    let polls = bench.world.polls();
    assert_eq!(bench.take_one(), Some(10));
    assert_eq!(
        bench.world.polls(),
        polls,
        "a stage that has room is not told of more"
    );
}

#[test]
fn places_that_are_given_back_gather_while_there_is_more_to_take() {
    let mut bench = Bench::new(AsyncOptions::unordered().capacity(8));
    bench.push(1..=12);
    (1..=8).for_each(|record| bench.calls.answer(record, Answer::Output(10 * record)));
    bench.world.run();
    let made = |bench: &Bench| bench.calls.made().len();
    assert_eq!((bench.take_one(), made(&bench)), (Some(10), 8));
    assert_eq!(
        (bench.take_one(), made(&bench)),
        (Some(20), 10),
        "a quarter of the places is worth waking the stage"
    );
}

#[test]
fn one_place_is_enough_when_nothing_is_left_to_take() {
    let mut bench = Bench::new(AsyncOptions::unordered().capacity(8));
    bench.push(1..=9);
    bench.complete(1);
    assert_eq!(bench.take_one(), Some(10));
    assert_eq!(bench.calls.made().last(), Some(&9));
}

#[test]
fn a_stage_that_few_requests_wake_lets_the_others_go_first_once() {
    let bench = Bench::new(AsyncOptions::unordered().capacity(100));
    bench.push(1..=100);
    let polls = bench.world.polls();
    let answer = |record| bench.calls.answer(record, Answer::Output(record));
    answer(1);
    assert!(bench.world.poll_one());
    assert_eq!(bench.out.stream().metrics().completed, 0);
    (2..=10).for_each(answer);
    assert!(bench.world.poll_one());
    assert_eq!(bench.out.stream().metrics().completed, 10);
    assert_eq!(bench.world.polls(), polls + 2);
    assert!(!bench.world.poll_one());
}

#[test]
#[should_panic(expected = "the capacity of an async stage must be at least 1")]
fn a_capacity_of_none_is_refused() {
    let _ = AsyncOptions::ordered().capacity(0);
}

#[test]
fn a_stage_and_its_outputs_may_move_between_threads() {
    fn assert_send<T: Send>(_: &T) {}
    let world = World::new();
    let stage = futures_lite::stream::iter(0..1).async_map(
        &world,
        "sent",
        |_| pending::<Result<std::cell::Cell<u64>, Infallible>>(),
        AsyncOptions::ordered(),
    );
    assert_send(&stage);
}
