//! Family D: how many calls run at the same time, and how many in a second.

mod kit;

use kit::{Answer, Bench, Refused, Tap, World, ms};
use peu_operators::{
    Aimd, AsyncOptions, FixedLimit, Gradient, Guard, OnError, RateLimit, Retry, StageError,
    StreamExt as _, Timer,
};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[test]
fn d01_a_fixed_limit_bounds_calls_apart_from_the_capacity() {
    let options = AsyncOptions::ordered()
        .capacity(5)
        .guard(FixedLimit::new(2));
    let mut bench = Bench::new(options);
    bench.push(1..=6);
    assert_eq!(bench.calls.made(), [1, 2]);
    assert_eq!(
        bench.feed.left(),
        3,
        "one more is at hand, the others are not taken"
    );
    bench.complete(2);
    bench.complete(3);
    assert_eq!(bench.calls.made(), [1, 2, 3, 4], "2 and 3 wait for 1");
    let metrics = bench.out.stream().metrics();
    assert_eq!((metrics.running, metrics.limit), (2, Some(2)));
    bench.complete(1);
    assert_eq!(bench.take_all(), [10, 20, 30]);
    assert_eq!(bench.calls.made(), [1, 2, 3, 4, 5]);
    bench.complete(4);
    bench.complete(5);
    bench.complete(6);
    bench.end();
    assert_eq!(bench.take_all(), [40, 50, 60]);
    bench.assert_over();
}

#[test]
fn d01_a_retry_goes_ahead_of_new_records() {
    let options = AsyncOptions::unordered().capacity(5);
    let bench = Bench::new(
        options
            .guard(FixedLimit::new(1))
            .retry(Retry::fixed(ms(10))),
    );
    bench.push(1..=3);
    bench.answer(1, Answer::Refused);
    assert_eq!(bench.calls.made(), [1, 2], "1 is in its back-off");
    bench.advance(50);
    assert_eq!(bench.calls.made(), [1, 2], "it is over, but 2 runs");
    assert_eq!(bench.world.sleeps(), 0, "and no clock helps");
    bench.complete(2);
    assert_eq!(bench.calls.made(), [1, 2, 1]);
    bench.complete(1);
    assert_eq!(bench.calls.made(), [1, 2, 1, 3]);
}

#[test]
fn d01_a_call_that_timed_out_or_panicked_makes_way() {
    let options = AsyncOptions::unordered().on_error(OnError::Skip);
    let options = options.timeout(ms(10)).guard(FixedLimit::new(1));
    let bench = Bench::new(options);
    bench.push(1..=4);
    bench.advance(10);
    assert_eq!(bench.calls.made(), [1, 2]);
    bench.answer(2, Answer::Panic);
    assert_eq!(bench.calls.made(), [1, 2, 3]);
    bench.calls.answer(4, Answer::PanicInCall);
    bench.complete(3);
    bench.push([5]);
    assert_eq!(bench.calls.made(), [1, 2, 3, 4, 5]);
}

#[test]
fn d01_the_strictest_of_several_guards_counts() {
    let options = AsyncOptions::unordered()
        .guard(FixedLimit::new(3))
        .guard(RateLimit::per_second(100.0).burst(2))
        .guard(FixedLimit::new(5));
    let bench = Bench::new(options);
    bench.push(1..=9);
    assert_eq!(bench.calls.made(), [1, 2]);
    bench.advance(10);
    assert_eq!(bench.calls.made(), [1, 2, 3]);
    bench.advance(100);
    assert_eq!(bench.calls.made(), [1, 2, 3]);
    assert_eq!(bench.out.stream().metrics().limit, Some(3));
}

#[test]
fn d04_a_rate_and_a_burst() {
    let limit = RateLimit::per_second(100.0).burst(3);
    let mut bench = Bench::new(AsyncOptions::unordered().capacity(50).guard(limit));
    for record in 1..=9 {
        bench.calls.answer(record, Answer::Output(record));
    }
    bench.push(1..=9);
    assert_eq!(bench.take_all(), [1, 2, 3]);
    assert_eq!(bench.world.sleeps(), 1);
    bench.advance(9);
    assert_eq!(bench.take_all(), [0_u64; 0]);
    bench.advance(1);
    assert_eq!(bench.take_all(), [4]);
    bench.advance(30);
    assert_eq!(bench.take_all(), [5, 6, 7]);
    bench.end();
    bench.advance(20);
    assert_eq!(bench.take_all(), [8, 9]);
    bench.advance(10);
    bench.assert_over();
}

#[test]
fn d04_the_time_of_a_record_that_waits_does_not_run() {
    let options = AsyncOptions::ordered().timeout(ms(10));
    let bench = Bench::new(options.guard(RateLimit::per_second(10.0).burst(1)));
    bench.calls.answer(1, Answer::Output(1));
    bench.push([1, 2]);
    bench.advance(100);
    assert_eq!(bench.calls.live(), [2]);
    bench.advance(9);
    assert_eq!(bench.calls.live(), [2]);
    bench.advance(1);
    assert_eq!(bench.calls.live(), [0_u64; 0]);
}

#[test]
fn d04_retries_count_and_wait_even_at_the_end_of_input() {
    let options = AsyncOptions::unordered().guard(RateLimit::per_second(10.0).burst(1));
    let mut bench = Bench::new(options.retry(Retry::fixed(ms(10))));
    bench.push([1]);
    bench.answer(1, Answer::Refused);
    bench.end();
    bench.advance(99);
    assert_eq!(bench.calls.made(), [1]);
    bench.advance(1);
    assert_eq!(bench.calls.made(), [1, 1]);
    bench.complete(1);
    assert_eq!(bench.take_all(), [10]);
    bench.assert_over();
}

#[test]
fn d04_a_retry_that_had_to_wait_goes_ahead_of_new_records() {
    let options = AsyncOptions::unordered().guard(RateLimit::per_second(10.0).burst(1));
    let bench = Bench::new(options.retry(Retry::fixed(ms(10))));
    bench.push([1, 2]);
    bench.answer(1, Answer::Refused);
    bench.advance(100);
    assert_eq!(bench.calls.made(), [1, 1]);
    bench.advance(100);
    assert_eq!(bench.calls.made(), [1, 1, 2]);
}

#[test]
fn d04_a_rate_holds_with_keys_too() {
    let options = AsyncOptions::key_ordered(|record: &u64| record % 2);
    let bench = Bench::new(options.guard(RateLimit::per_second(100.0).burst(1)));
    for record in 1..=4 {
        bench.calls.answer(record, Answer::Output(record));
    }
    bench.push([2, 4, 1, 3]);
    for made in 1..=4 {
        assert_eq!(bench.calls.made().len(), made);
        bench.advance(10);
    }
    assert_eq!(bench.calls.made(), [2, 4, 1, 3]);
}

/// A service of so many servers with one queue, in simulated time. Calls beyond `most` are refused at once.
#[derive(Clone)]
struct Service {
    world: World,
    servers: Arc<Mutex<Servers>>,
}

struct Servers {
    /// When each is free.
    free: Vec<Instant>,
    most: usize,
    running: usize,
    chance: u64,
    served: usize,
    refused: usize,
    waited: Duration,
}

/// How long a server needs for a call, on average. Each takes anything between half and one and a half of it.
const SERVICE: Duration = Duration::from_millis(20);

impl Service {
    fn new(world: &World, servers: usize, most: usize) -> Self {
        Self {
            world: world.clone(),
            servers: Arc::new(Mutex::new(Servers {
                free: vec![world.now(); servers],
                most,
                running: 0,
                chance: 7,
                served: 0,
                refused: 0,
                waited: Duration::ZERO,
            })),
        }
    }

    async fn call(self) -> Result<(), Refused> {
        let now = self.world.now();
        let done = {
            let mut servers = self.servers.lock().unwrap();
            if servers.running >= servers.most {
                servers.refused += 1;
                return Err(Refused);
            }
            servers.running += 1;
            servers.chance = servers.chance.wrapping_mul(6_364_136_223_846_793_005) + 1;
            let share = 0.5 + (servers.chance >> 40) as f64 / (1_u64 << 24) as f64;
            let next = servers.free.iter_mut().min().expect("there is a server");
            *next = now.max(*next) + SERVICE.mul_f64(share);
            *next
        };
        self.world.sleep_until(done).await;
        let mut servers = self.servers.lock().unwrap();
        servers.running -= 1;
        servers.served += 1;
        servers.waited += done - now;
        Ok(())
    }

    /// Served, refused, and the mean latency, since last asked.
    fn measure(&self) -> (usize, usize, Duration) {
        let mut servers = self.servers.lock().unwrap();
        let served = std::mem::take(&mut servers.served);
        let refused = std::mem::take(&mut servers.refused);
        let waited = std::mem::take(&mut servers.waited);
        (served, refused, waited / served.max(1) as u32)
    }
}

/// What a service did within so many simulated seconds, after as many to settle in; and the limits that were seen then.
fn simulate<G: Guard<(), Refused>>(
    servers: usize,
    most: usize,
    guard: G,
    seconds: u64,
) -> ((usize, usize, Duration), Vec<usize>) {
    let world = World::new();
    let service = Service::new(&world, servers, most);
    let function = {
        let service = service.clone();
        move |_: u64| service.clone().call()
    };
    let options = AsyncOptions::unordered().capacity(1_000).guard(guard);
    let records = futures_lite::stream::iter(0_u64..);
    let stage = records.async_map(&world, "stage", function, options.on_error(OnError::Skip));
    let mut out = Tap::new(stage);
    let mut limits = Vec::new();
    for millisecond in 0..2_000 * seconds {
        if millisecond == 1_000 * seconds {
            let _ = service.measure();
            limits.clear();
        }
        world.advance(ms(1));
        // A stage whose calls are refused at once never rests, so it gets its share and no more.
        for _ in 0..4 {
            if !world.poll_one() {
                break;
            }
        }
        while let Some(output) = out.next_now() {
            let _: Result<(), StageError> = output;
        }
        limits.extend(out.stream().metrics().limit);
    }
    (service.measure(), limits)
}

#[test]
fn d01_limits_stay_between_their_floor_and_their_ceiling() {
    let (_, limits) = simulate(1_000, 1_000, Aimd::between(3..=17), 5);
    assert!(limits.iter().all(|limit| *limit == 17), "nothing fails");
    let (_, limits) = simulate(1, 0, Aimd::between(3..=17), 1);
    assert!(limits.iter().all(|limit| *limit == 3), "everything fails");
    let (_, limits) = simulate(100, 1_000, Gradient::between(3..=17), 10);
    let reached = limits.iter().filter(|limit| **limit == 17).count();
    assert!(reached > limits.len() * 9 / 10, "there is room for more");
    assert!(limits.iter().all(|limit| (3..=17).contains(limit)));
}

#[test]
fn d02_aimd_adds_a_step_after_a_full_round_and_halves_on_failure() {
    let bench = Bench::new(
        AsyncOptions::unordered()
            .on_error(OnError::Skip)
            .guard(Aimd::between(1..=100).step(2).factor(0.5)),
    );
    let limit = || bench.out.stream().metrics().limit.expect("there is one");
    bench.push(1..=50);
    assert_eq!(bench.calls.live(), [1]);
    bench.complete(1);
    assert_eq!((limit(), bench.calls.live().len()), (3, 3));
    (2..=4).for_each(|record| bench.complete(record));
    assert_eq!((limit(), bench.calls.live().len()), (5, 5));
    bench.advance(1);
    bench.answer(5, Answer::Refused);
    assert_eq!(limit(), 2);
    bench.answer(6, Answer::Refused);
    bench.answer(7, Answer::Panic);
    assert_eq!(limit(), 2, "they ran when 5 failed: the same news");
    assert_eq!(bench.calls.live(), [8, 9]);
    bench.complete(8);
    bench.answer(10, Answer::Refused);
    assert_eq!(limit(), 1);
    bench.advance(1);
    bench.answer(11, Answer::Refused);
    bench.advance(1);
    bench.answer(12, Answer::Refused);
    assert_eq!(limit(), 1, "never below");
}

#[test]
fn d02_aimd_does_not_grow_while_nobody_asks_for_more() {
    let bench = Bench::new(AsyncOptions::unordered().guard(Aimd::between(4..=100)));
    for record in 1..=50 {
        bench.push([record]);
        bench.complete(record);
    }
    assert_eq!(bench.out.stream().metrics().limit, Some(4));
}

#[test]
fn d02_aimd_lowers_its_limit_for_chosen_errors_only() {
    let guard = Aimd::between(1..=10).when(|_: &Refused| false);
    let bench = Bench::new(
        AsyncOptions::unordered()
            .on_error(OnError::Skip)
            .guard(guard),
    );
    bench.push(1..=20);
    bench.complete(1);
    bench.answer(2, Answer::Refused);
    bench.answer(3, Answer::Refused);
    assert_eq!(bench.out.stream().metrics().limit, Some(3));
}

#[test]
fn d02_aimd_swings_between_half_of_a_throttling_services_limit_and_the_limit() {
    let ((served, refused, _), limits) = simulate(200, 40, Aimd::between(1..=500), 20);
    let (least, most) = (limits.iter().min().unwrap(), limits.iter().max().unwrap());
    assert!((18..=22).contains(least), "{least}");
    assert!((40..=42).contains(most), "{most}");
    assert!(refused * 100 < served, "{refused} of {served}");
}

#[test]
fn d03_the_gradient_finds_the_knee_of_a_service() {
    for (servers, seconds) in [(4, 60), (32, 20), (150, 6)] {
        let best = (servers as u64 * seconds) as f64 / SERVICE.as_secs_f64();
        let guard = Gradient::between(3..=1_000);
        let ((served, _, latency), limits) = simulate(servers, usize::MAX, guard, seconds);
        let share = served as f64 / best;
        let mean = limits.iter().sum::<usize>() / limits.len();
        let seen =
            format!("{servers} servers: {share:.2} of the best rate, {latency:?}, limit {mean}");
        assert!(share >= 0.8, "{seen}");
        assert!(latency < 2 * SERVICE, "{seen}");
    }
    let best = 32.0 * 10.0 / SERVICE.as_secs_f64();
    let ((served, _, latency), _) = simulate(32, usize::MAX, FixedLimit::new(500), 10);
    assert!(
        served as f64 > 0.9 * best,
        "a limit that is too high serves"
    );
    assert!(latency > 10 * SERVICE, "but not in time: {latency:?}");
}
