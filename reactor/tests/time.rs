//! Sleeps, timeouts and intervals, on a reactor that the test itself turns.

mod support;

use peu_reactor::Reactor;
use peu_reactor::time::{
    Elapsed, Interval, Sleep, Timeout, interval, interval_at, sleep, sleep_until, timeout,
    timeout_at,
};
use std::cell::Cell;
use std::future::{Future, pending, ready};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use support::{Wakes, block_on, panic_message, turn};

const MILLISECOND: Duration = Duration::from_millis(1);
/// Longer than any test may take.
const HOUR: Duration = Duration::from_secs(3600);

fn poll_once<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn a_sleep_is_never_early() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    for micros in [1, 50, 300, 1_000, 1_700, 4_300, 20_000] {
        let duration = Duration::from_micros(micros);
        let start = Instant::now();
        block_on(&reactor, sleep(duration));
        assert!(
            start.elapsed() >= duration,
            "{duration:?} took {:?}",
            start.elapsed()
        );
    }
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn a_sleep_of_nothing_is_ready_at_once_and_sets_no_timer() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    for mut nap in [
        sleep(Duration::ZERO),
        sleep_until(Instant::now() - MILLISECOND),
    ] {
        assert!(poll_once(&mut nap, Waker::noop()).is_ready());
    }
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn a_sleep_sets_its_timer_when_polled_and_cancels_it_when_dropped() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let mut nap = sleep(HOUR);
    assert_eq!(reactor.next_deadline(), None);
    assert!(poll_once(&mut nap, Waker::noop()).is_pending());
    assert_eq!(reactor.next_deadline(), Some(nap.deadline()));
    drop(nap);
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn the_longest_sleep_is_no_overflow() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let mut nap = sleep(Duration::MAX);
    assert!(nap.deadline() > Instant::now() + 1000 * HOUR);
    assert!(poll_once(&mut nap, Waker::noop()).is_pending());
    let limited = block_on(&reactor, timeout(MILLISECOND, timeout(Duration::MAX, nap)));
    assert!(limited.is_err());
}

#[test]
fn a_sleep_is_ready_again_after_it_was_ready() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let mut nap = sleep(MILLISECOND);
    block_on(&reactor, &mut nap);
    assert!(nap.is_elapsed());
    assert!(poll_once(&mut nap, Waker::noop()).is_ready());
}

#[test]
fn a_sleep_that_is_over_is_ready_although_nobody_has_turned() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    // Longer than what a rough look at the clock is enough for.
    let mut nap = sleep(80 * MILLISECOND);
    assert!(poll_once(&mut nap, Waker::noop()).is_pending());
    while !nap.is_elapsed() {
        assert!(reactor.next_deadline().is_some());
    }
    assert!(poll_once(&mut nap, Waker::noop()).is_ready());
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn only_the_last_waker_is_woken() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let (first, last) = (Wakes::new(), Wakes::new());
    let mut nap = sleep(HOUR);
    assert!(poll_once(&mut nap, &first.waker()).is_pending());
    assert!(poll_once(&mut nap, &last.waker()).is_pending());
    nap.reset(Instant::now() + MILLISECOND);
    last.turn_until_woken(&reactor);
    assert_eq!((first.count(), last.count()), (0, 1));
    assert!(poll_once(&mut nap, &last.waker()).is_ready());
}

#[test]
fn a_reset_sleep_wakes_its_task_at_the_new_deadline_without_a_poll() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let wakes = Wakes::new();
    let mut nap = sleep(HOUR);
    assert!(poll_once(&mut nap, &wakes.waker()).is_pending());
    let sooner = Instant::now() + MILLISECOND;
    nap.reset(sooner);
    wakes.turn_until_woken(&reactor);
    assert!(Instant::now() >= sooner);
    assert!(poll_once(&mut nap, &wakes.waker()).is_ready());

    nap.reset(Instant::now() + HOUR);
    assert!(!nap.is_elapsed());
    assert_eq!(reactor.next_deadline(), None, "no task waits for it");
    assert!(poll_once(&mut nap, &wakes.waker()).is_pending());
}

#[test]
fn a_timer_set_by_another_thread_ends_a_turn_that_has_begun() {
    let reactor = Reactor::new().unwrap();
    let wakes = Wakes::new();
    let waker = wakes.waker();
    let mut nap = Sleep::with_reactor(Instant::now() + HOUR, &reactor);
    let setter = std::thread::spawn(move || {
        let pending = poll_once(&mut nap, &waker).is_pending();
        nap.reset(Instant::now() + MILLISECOND);
        (nap, pending)
    });
    wakes.turn_until_woken(&reactor);
    assert!(setter.join().unwrap().1);
}

#[test]
fn sleeps_fire_in_the_order_of_their_deadlines() {
    /// Writes down which deadline it was woken for.
    struct Logged(u32, Arc<Mutex<Vec<u32>>>);

    impl Wake for Logged {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let log = Arc::default();
    let start = Instant::now();
    let naps = [9, 3, 7, 1, 5].map(|after| {
        let mut nap = sleep(HOUR);
        let waker = Arc::new(Logged(after, Arc::clone(&log))).into();
        assert!(poll_once(&mut nap, &waker).is_pending());
        nap.reset(start + after * MILLISECOND);
        nap
    });
    while log.lock().unwrap().len() < naps.len() {
        turn(&reactor);
    }
    assert_eq!(*log.lock().unwrap(), [1, 3, 5, 7, 9]);
}

#[test]
fn thousands_of_sleeps_all_fire_and_none_is_early() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let wakes = Wakes::new();
    let waker = wakes.waker();
    let mut naps: Vec<_> = (0..5_000)
        .map(|n| sleep(Duration::from_micros(n * 7919 % 30_000)))
        .collect();
    naps.retain_mut(|nap| poll_once(nap, &waker).is_pending());
    while !naps.is_empty() {
        turn(&reactor);
        naps.retain_mut(|nap| {
            let ready = poll_once(nap, &waker).is_ready();
            assert!(!ready || Instant::now() >= nap.deadline());
            !ready
        });
    }
}

#[test]
fn a_timer_outside_a_runtime_says_what_to_do() {
    for make in [
        || drop(sleep(HOUR)),
        || drop(timeout(HOUR, ready(()))),
        || drop(interval(HOUR)),
    ] {
        let message = panic_message(catch_unwind(make));
        assert!(message.contains("no current runtime"), "{message}");
        assert!(message.contains("Reactor::enter"), "{message}");
    }
}

#[test]
fn closing_the_reactor_wakes_a_sleep_and_the_next_poll_says_runtime_gone() {
    let reactor = Reactor::new().unwrap();
    let wakes = Wakes::new();
    let mut nap = Sleep::with_reactor(Instant::now() + HOUR, &reactor);
    assert!(poll_once(&mut nap, &wakes.waker()).is_pending());
    reactor.close();
    assert_eq!(wakes.count(), 1);
    let message = panic_message(catch_unwind(AssertUnwindSafe(|| {
        poll_once(&mut nap, Waker::noop())
    })));
    assert!(message.contains("runtime gone"), "{message}");

    nap.reset(Instant::now());
    assert!(
        poll_once(&mut nap, Waker::noop()).is_ready(),
        "its time has come, runtime or not"
    );
}

#[test]
fn a_sleep_that_is_over_still_asks_the_budget_and_a_timeout_does_not() {
    thread_local! { static LEFT: Cell<u32> = const { Cell::new(1) } }
    fn spend() -> bool {
        LEFT.replace(LEFT.get().saturating_sub(1)) > 0
    }

    let reactor = Reactor::builder().budget(spend).build().unwrap();
    let _entered = reactor.enter();
    let wakes = Wakes::new();
    let mut naps = [sleep(Duration::ZERO), sleep(Duration::ZERO)];
    let ready = naps
        .each_mut()
        .map(|nap| poll_once(nap, &wakes.waker()).is_ready());
    assert_eq!(ready, [true, false]);
    assert_eq!(wakes.count(), 1, "the second one comes again");

    let mut limited = timeout(Duration::ZERO, pending::<()>());
    assert!(poll_once(&mut limited, Waker::noop()).is_ready());
    LEFT.set(1);
    assert!(poll_once(&mut naps[1], Waker::noop()).is_ready());
}

#[test]
fn a_timeout_of_a_ready_future_sets_no_timer() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let mut quick = timeout(HOUR, ready(1));
    assert_eq!(poll_once(&mut quick, Waker::noop()), Poll::Ready(Ok(1)));
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn a_ready_future_is_never_late() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let mut late = timeout_at(Instant::now() - HOUR, ready(1));
    assert_eq!(poll_once(&mut late, Waker::noop()), Poll::Ready(Ok(1)));
}

#[test]
fn a_future_that_takes_too_long_has_elapsed() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let start = Instant::now();
    let limited: Result<(), Elapsed> = block_on(&reactor, timeout(2 * MILLISECOND, pending()));
    assert!(limited.is_err());
    assert!(start.elapsed() >= 2 * MILLISECOND);

    let first = block_on(&reactor, timeout(HOUR, sleep(MILLISECOND)));
    assert_eq!(first, Ok(()));
    assert_eq!(
        reactor.next_deadline(),
        None,
        "the timer of the timeout went with it"
    );
}

#[test]
fn a_dropped_timeout_drops_its_future_and_its_timer() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let inner = Arc::new(());
    let held = inner.clone();
    let mut limited = Box::pin(timeout(HOUR, async move {
        pending::<()>().await;
        drop(held);
    }));
    assert!(poll_once(&mut limited, Waker::noop()).is_pending());
    assert!(reactor.next_deadline().is_some());
    drop(limited);
    assert_eq!(Arc::strong_count(&inner), 1);
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn a_timeout_gives_its_future_back() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let mut limited = timeout(Duration::ZERO, pending::<u8>());
    assert!(matches!(
        poll_once(&mut limited, Waker::noop()),
        Poll::Ready(Err(_))
    ));
    *limited.get_mut() = pending();
    let _: &std::future::Pending<u8> = limited.get_ref();
    let mut inner: std::future::Pending<u8> = limited.into_inner();
    assert!(poll_once(&mut inner, Waker::noop()).is_pending());
}

#[test]
fn elapsed_is_an_io_error_of_kind_timed_out() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let elapsed = block_on(&reactor, timeout(Duration::ZERO, pending::<()>())).unwrap_err();
    let error = io::Error::from(elapsed);
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.to_string().contains("timed out"));
}

#[test]
fn an_interval_ticks_on_its_grid() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let start = Instant::now() + MILLISECOND;
    let mut every = interval_at(start, 2 * MILLISECOND);
    for tick in 0..5 {
        let due = block_on(&reactor, every.tick());
        assert_eq!(due, start + tick * every.period());
        assert!(Instant::now() >= due);
    }
}

#[test]
fn the_first_tick_of_an_interval_is_at_once() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let before = Instant::now();
    let mut every = interval(HOUR);
    let first = poll_tick(&mut every);
    assert!(matches!(first, Poll::Ready(due) if due >= before && due <= Instant::now()));
    assert!(poll_tick(&mut every).is_pending());
    every.reset_immediately();
    assert!(poll_tick(&mut every).is_ready());
    every.reset();
    assert!(poll_tick(&mut every).is_pending());
}

#[test]
fn a_dropped_tick_is_not_lost() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let wakes = Wakes::new();
    let mut every = interval_at(Instant::now() + HOUR, HOUR);
    let polled = pin!(every.tick()).poll(&mut Context::from_waker(&wakes.waker()));
    assert!(polled.is_pending());
    let due = Instant::now() + MILLISECOND;
    every.reset_at(due);
    wakes.turn_until_woken(&reactor);
    assert_eq!(block_on(&reactor, every.tick()), due);
}

#[test]
fn an_interval_bursts_by_default() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let start = Instant::now() - 10 * HOUR;
    let mut every = interval_at(start, HOUR);
    let ticks: Vec<_> = std::iter::from_fn(|| match poll_tick(&mut every) {
        Poll::Ready(due) => Some(due),
        Poll::Pending => None,
    })
    .collect();
    assert_eq!(
        ticks,
        Vec::from_iter((0..=10).map(|tick| start + tick * HOUR))
    );
}

#[test]
fn an_interval_without_a_period_is_refused() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let message = panic_message(catch_unwind(|| drop(interval(Duration::ZERO))));
    assert!(message.contains("period"), "{message}");
}

fn poll_tick(every: &mut Interval) -> Poll<Instant> {
    every.poll_tick(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn futures_of_time_may_be_sent_and_pinned_freely() {
    fn check<T: Send + Sync + Unpin>() {}
    check::<Sleep>();
    check::<Timeout<Sleep>>();
    check::<Interval>();
}
