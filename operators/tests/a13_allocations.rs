//! Row a13, and what a stage costs in memory: counted by an allocator that counts.

mod kit;

use kit::{Tap, World};
use peu_operators::{
    AsyncMap, AsyncOptions, CircuitBreaker, Element, EventTime, Gradient, Jitter, Mark, RateLimit,
    Retry, Spawn, StagePolicies, StreamExt as _, Timer,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::mem::size_of;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The system's allocator, which counts for each thread: tests run side by side.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

fn count(allocations: usize, bytes: isize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + allocations);
    BYTES.set(BYTES.get() + bytes);
}

// SAFETY: every call is passed on as it is to the system's allocator, which keeps the contract. Counting neither
// allocates nor unwinds: the cells are constants with nothing to drop, so they exist as long as their thread runs code.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: the caller keeps `alloc`'s contract, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: the caller keeps `dealloc`'s contract, and `block` came from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations `code` makes on this thread.
fn allocations(code: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    code();
    ALLOCATIONS.get() - before
}

/// How many bytes more are in use after `code` than before, and what it returned.
fn bytes<V>(code: impl FnOnce() -> V) -> (isize, V) {
    let before = BYTES.get();
    let value = code();
    (BYTES.get() - before, value)
}

/// A world whose clock stands still: what the stage allocates is all there is.
#[derive(Clone)]
struct Timeless(World, Instant);

impl Timeless {
    fn new() -> Self {
        Self(World::new(), Instant::now())
    }
}

impl Spawn for Timeless {
    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
        self.0.spawn(task);
    }
}

impl Timer for Timeless {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.1
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep(deadline <= self.1)
    }
}

/// Over before it began, or never.
struct Sleep(bool);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// Ready at its first poll, or only after it has woken itself.
struct Double {
    record: u64,
    yields: usize,
}

impl Future for Double {
    type Output = Result<u64, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.yields == 0 {
            return Poll::Ready(Ok(2 * self.record));
        }
        self.yields -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn doubles<P: StagePolicies<u64, u64, Infallible>>(
    runtime: &Timeless,
    options: AsyncOptions<P>,
    yields: usize,
) -> Tap<AsyncMap<u64>> {
    let records = futures_lite::stream::iter(0_u64..);
    let double = move |record| Double { record, yields };
    Tap::new(records.async_map(runtime, "double", double, options))
}

/// Takes outputs until there have been `wanted`.
fn take(world: &World, out: &mut Tap<AsyncMap<u64>>, wanted: usize) {
    let mut taken = 0;
    while taken < wanted {
        match out.next_now() {
            Some(output) => {
                let _: u64 = output.expect("nothing fails");
                taken += 1;
            }
            None => assert!(world.poll_one(), "there is always more"),
        }
    }
}

fn all_options() -> [AsyncOptions; 4] {
    let (ordered, unordered) = (AsyncOptions::ordered(), AsyncOptions::unordered());
    let limit = Duration::from_secs(1);
    [
        ordered.clone(),
        unordered.clone(),
        ordered.timeout(limit),
        unordered.timeout(limit),
    ]
}

#[test]
fn a13_a_request_that_is_ready_at_its_first_poll_allocates_nothing() {
    for options in all_options() {
        let runtime = Timeless::new();
        let mut out = doubles(&runtime, options.capacity(64), 0);
        take(&runtime.0, &mut out, 1_000);
        assert_eq!(allocations(|| take(&runtime.0, &mut out, 10_000)), 0);
    }
}

#[test]
fn a13_nor_does_one_that_has_to_wait_once_the_stage_is_warm() {
    for options in all_options() {
        let runtime = Timeless::new();
        let mut out = doubles(&runtime, options.capacity(64), 3);
        take(&runtime.0, &mut out, 1_000);
        assert_eq!(allocations(|| take(&runtime.0, &mut out, 10_000)), 0);
    }
}

#[test]
fn a13_nor_with_retries_whether_they_are_needed_or_not() {
    for options in all_options() {
        let retry = Retry::exponential(Duration::from_millis(1)..Duration::from_secs(1));
        let runtime = Timeless::new();
        let mut out = doubles(&runtime, options.capacity(64).retry(retry), 0);
        take(&runtime.0, &mut out, 1_000);
        assert_eq!(allocations(|| take(&runtime.0, &mut out, 10_000)), 0);
    }
    for options in all_options() {
        // The clock stands still, so only a retry without delay is ever made. Each record needs one.
        let retry = Retry::fixed(Duration::ZERO)
            .jitter(Jitter::Full)
            .max_retries(1)
            .when_result(|_: &u64| true);
        let runtime = Timeless::new();
        let mut out = doubles(&runtime, options.capacity(64).retry(retry), 3);
        take(&runtime.0, &mut out, 1_000);
        assert_eq!(allocations(|| take(&runtime.0, &mut out, 10_000)), 0);
        let metrics = out.stream().metrics();
        assert!(metrics.retries >= 11_000);
    }
}

#[test]
fn a13_nor_with_guards() {
    for yields in [0, 3] {
        let options = AsyncOptions::unordered()
            .capacity(64)
            .guard(RateLimit::per_second(1e9).burst(1_000_000))
            .guard(CircuitBreaker::new(0.5, Duration::from_secs(1)))
            .guard(Gradient::between(40..=50));
        let runtime = Timeless::new();
        let mut out = doubles(&runtime, options, yields);
        take(&runtime.0, &mut out, 1_000);
        assert_eq!(allocations(|| take(&runtime.0, &mut out, 10_000)), 0);
    }
}

#[test]
fn a13_nor_with_keys_whether_they_wait_or_not() {
    for yields in [0, 3] {
        let options = AsyncOptions::key_ordered(|record: &u64| record % 7).capacity(64);
        let runtime = Timeless::new();
        let mut out = doubles(&runtime, options, yields);
        take(&runtime.0, &mut out, 1_000);
        assert_eq!(allocations(|| take(&runtime.0, &mut out, 10_000)), 0);
        let waiting = out.stream().metrics().waiting;
        assert_eq!(waiting > 0, yields > 0, "{waiting} wait");
    }
}

#[test]
fn a13_a_request_that_is_ready_at_its_first_poll_needs_no_second_wake_up() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let runtime = Timeless::new();
        let records = futures_lite::stream::iter(0..100);
        let double = |record| Double { record, yields: 0 };
        let options = options.capacity(101);
        let mut out = Tap::new(records.async_map(&runtime, "double", double, options));
        assert!(out.poll().is_pending());
        assert!(runtime.0.poll_one());
        assert_eq!(
            runtime.0.tasks(),
            0,
            "the stage did all in the poll that began it"
        );
        assert_eq!(out.wakes(), 1, "and its consumer hears of it once");
        for record in 0..100 {
            assert_eq!(out.next_now().unwrap().unwrap(), 2 * record);
        }
        assert!(out.is_over());
    }
}

/// Two records, then a watermark, and so on.
fn marked() -> impl futures_core::Stream<Item = Element<u64>> + Send + 'static {
    futures_lite::stream::iter((0_u64..).map(|n| match n % 3 {
        2 => Element::Mark(Mark::Watermark(EventTime::from_millis(n as i64))),
        _ => Element::Record(n, None),
    }))
}

#[test]
fn a13_x6_nor_do_watermarks_whether_they_wait_or_not() {
    for yields in [0, 3] {
        for options in all_options() {
            let runtime = Timeless::new();
            let double = move |record| Double { record, yields };
            let options = options.capacity(64);
            let mut out =
                Tap::new(marked().async_map_elements(&runtime, "double", double, options));
            let mut take = |wanted: usize| {
                let mut taken = 0;
                while taken < wanted {
                    match out.next_now() {
                        Some(element) => {
                            element.expect("nothing fails");
                            taken += 1;
                        }
                        None => assert!(runtime.0.poll_one(), "there is always more"),
                    }
                }
            };
            take(3_000);
            assert_eq!(allocations(|| take(10_000)), 0);
        }
    }
}

/// A stage with this capacity that holds `records` requests which never end, and the bytes that it takes.
fn held(capacity: usize, records: usize) -> isize {
    let world = World::new();
    let (bytes, _stage) = bytes(|| {
        let stage = futures_lite::stream::iter(0..records as u64).async_map(
            &world,
            "held",
            |record| Double {
                record,
                yields: usize::MAX,
            },
            AsyncOptions::unordered().capacity(capacity),
        );
        world.poll_one();
        stage
    });
    bytes
}

#[test]
fn x6_memory_follows_what_is_in_flight_not_the_capacity() {
    assert_eq!(held(10, 3), held(1_000_000, 3));
}

#[test]
fn memory_per_request_in_flight_is_bounded() {
    // A slot, its signal, and their places in the lists of the slab, up to twice as they grow by doubling.
    const BOUND: isize = 256;
    let per_request = (held(128, 128) - held(128, 0)) / 128;
    let overhead = per_request - size_of::<Option<Double>>() as isize;
    assert!(
        overhead <= BOUND,
        "{overhead} bytes beyond the future itself"
    );
}
