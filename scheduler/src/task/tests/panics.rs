//! Panics everywhere.

use super::*;
use std::future::pending;
use std::pin::Pin;

#[test]
fn a_panic_is_the_result() {
    both_schedulers(|scheduler| {
        let drops = Counter::default();
        let token = drops.token();
        let handle = scheduler.spawn(async move {
            let _token = token;
            panic!("out of {}", std::hint::black_box("luck"));
        });
        let id = handle.id();
        scheduler.run_all();
        assert_eq!(drops.get(), 1);
        let error = result(handle).unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert_eq!(error.id(), id);
        assert_eq!(
            error.to_string(),
            format!("task {id} panicked: out of luck")
        );
        assert_eq!(
            *error.into_panic().downcast::<String>().unwrap(),
            "out of luck"
        );
        assert_eq!(scheduler.holders(), 1);
    });
}

#[test]
fn a_panic_without_text_is_told_without_text() {
    let scheduler = TestScheduler::new();
    let handle = scheduler.spawn(async { std::panic::panic_any(7_u8) });
    let id = handle.id();
    scheduler.run_all();
    let error = result::<()>(handle).unwrap_err();
    assert_eq!(error.to_string(), format!("task {id} panicked"));
    assert_eq!(
        *error.try_into_panic().unwrap().downcast::<u8>().unwrap(),
        7
    );
}

#[test]
fn a_panic_nobody_waits_for_is_dropped() {
    both_schedulers(|scheduler| {
        drop(scheduler.spawn(async { panic!("unheard") }));
        scheduler.run_all();
        assert_eq!((scheduler.alive(), scheduler.holders()), (0, 1));
    });
}

/// Ready at once, and panics when dropped.
struct ReadyBomb(
    Option<Token>,
    #[allow(dead_code, reason = "held for its drop")] Bomb,
);

impl Future for ReadyBomb {
    type Output = Token;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Token> {
        Poll::Ready(self.0.take().expect("polled once"))
    }
}

#[test]
fn a_future_that_panics_when_dropped_has_panicked() {
    both_schedulers(|scheduler| {
        let (futures, results) = (Counter::default(), Counter::default());
        let handle = scheduler.spawn(ReadyBomb(Some(results.token()), Bomb(futures.token())));
        scheduler.run_all();
        assert!(result(handle).map(drop).unwrap_err().is_panic());
        assert_eq!((futures.get(), results.get()), (1, 1));
        assert_eq!(scheduler.holders(), 1);
    });
}

#[test]
fn a_panic_while_cancelling_is_told_as_a_panic() {
    type Way = fn(&TestScheduler, &JoinHandle<()>);
    let ways: [Way; 4] = [
        |_, handle| handle.abort(),
        |_, handle| handle.abort_handle().cancel_now(),
        |scheduler, _| assert!(scheduler.drop_one()),
        |scheduler, _| scheduler.shutdown(),
    ];
    for way in ways {
        let scheduler = TestScheduler::new();
        let drops = Counter::default();
        let bomb = Bomb(drops.token());
        let handle = scheduler.spawn(async move {
            let _bomb = bomb;
            pending().await
        });
        way(&scheduler, &handle);
        scheduler.run_all();
        assert!(result(handle).unwrap_err().is_panic());
        assert_eq!((drops.get(), scheduler.holders()), (1, 1));
    }
}

#[test]
fn a_result_that_panics_when_dropped_kills_nobody() {
    both_schedulers(|scheduler| {
        let drops = Counter::default();
        let bomb = Bomb(drops.token());
        drop(scheduler.spawn(async move { bomb }));
        scheduler.run_all();
        assert_eq!(drops.get(), 1, "dropped by the worker");

        let bomb = Bomb(drops.token());
        let handle = scheduler.spawn(async move { bomb });
        scheduler.run_all();
        drop(handle);
        assert_eq!(drops.get(), 2, "dropped by the handle");
        assert_eq!(scheduler.holders(), 1);
    });
}

#[test]
fn a_panic_payload_that_panics_when_dropped_kills_nobody() {
    let scheduler = TestScheduler::new();
    let drops = Counter::default();
    let bomb = Bomb(drops.token());
    drop(scheduler.spawn(async move { std::panic::panic_any(bomb) }));
    scheduler.run_all();
    assert_eq!((drops.get(), scheduler.holders()), (1, 1));
}

#[test]
fn a_join_waker_that_panics_kills_nobody() {
    struct Explode;
    impl Wake for Explode {
        fn wake(self: std::sync::Arc<Self>) {
            panic!("a waker");
        }
    }
    let scheduler = TestScheduler::new();
    let mut handle = scheduler.spawn(async { 5 });
    let waker = Waker::from(std::sync::Arc::new(Explode));
    assert!(
        Pin::new(&mut handle)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    scheduler.run_all();
    assert_eq!(result(handle).unwrap(), 5);
    assert_eq!(scheduler.holders(), 1);
}
