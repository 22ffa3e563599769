//! Aborting, cancelling, shutting down, and futures that must stay on their thread.

use super::*;
use std::cell::Cell;
use std::future::{pending, ready};
use std::rc::Rc;

#[test]
fn abort_before_during_and_after() {
    both_schedulers(|scheduler| {
        // Before the first poll.
        let drops = Counter::default();
        let token = drops.token();
        let handle = scheduler.spawn(async move { drop(token) });
        handle.abort();
        assert_eq!(drops.get(), 0, "a worker drops the future, not who aborts");
        scheduler.run_all();
        assert_eq!(drops.get(), 1);
        let error = result(handle).unwrap_err();
        assert!(error.is_cancelled() && !error.is_panic());
        assert_eq!(
            error.to_string(),
            format!("task {} was cancelled", error.id())
        );
        assert!(error.try_into_panic().is_err());

        // At rest.
        let handle = scheduler.spawn(pending::<()>());
        scheduler.run_all();
        assert_eq!(scheduler.scheduled(), 0);
        handle.abort();
        handle.abort();
        assert_eq!(scheduler.scheduled(), 1);
        scheduler.run_all();
        assert!(result(handle).unwrap_err().is_cancelled());

        // After it has finished: too late.
        let handle = scheduler.spawn(ready(3));
        scheduler.run_all();
        handle.abort();
        assert_eq!(result(handle).unwrap(), 3);
        assert_eq!(scheduler.holders(), 1);
    });
}

/// Spawns a task that does `stop` to itself in its first poll, and then is ready or not.
fn stops_itself(
    scheduler: &TestScheduler,
    stop: fn(AbortHandle),
    ready: bool,
    drops: &Counter,
) -> JoinHandle<()> {
    let own = std::sync::Arc::new(StdMutex::new(None::<AbortHandle>));
    let token = drops.token();
    let handle = scheduler.spawn({
        let own = own.clone();
        poll_fn(move |_| {
            let _ = &token;
            stop(own.lock().unwrap().take().expect("polled once"));
            if ready {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    });
    *own.lock().unwrap() = Some(handle.abort_handle());
    handle
}

#[test]
fn a_task_that_stops_itself_ends_after_the_poll_unless_it_is_ready() {
    let ways: [fn(AbortHandle); 2] = [|handle| handle.abort(), AbortHandle::cancel_now];
    for stop in ways {
        let scheduler = TestScheduler::new();
        let drops = Counter::default();
        let handle = stops_itself(&scheduler, stop, false, &drops);
        scheduler.run_one();
        assert_eq!(drops.get(), 1);
        assert!(result(handle).unwrap_err().is_cancelled());
        let handle = stops_itself(&scheduler, stop, true, &drops);
        scheduler.run_one();
        assert!(result(handle).is_ok(), "finishing first wins");
        assert_eq!((drops.get(), scheduler.holders()), (2, 1));
    }
}

#[test]
fn cancel_now_drops_the_future_at_rest_and_scheduled() {
    for run in [false, true] {
        let scheduler = TestScheduler::new();
        let drops = Counter::default();
        let token = drops.token();
        let handle = scheduler.spawn(async move {
            let _token = token;
            pending::<()>().await;
        });
        if run {
            scheduler.run_all();
        }
        handle.abort_handle().cancel_now();
        assert_eq!(drops.get(), 1);
        assert!(handle.is_finished());
        assert_eq!(scheduler.scheduled(), usize::from(!run));
        scheduler.run_all();
        assert!(result(handle).unwrap_err().is_cancelled());
        assert_eq!(scheduler.holders(), 1);
    }
}

#[test]
fn a_runnable_that_is_never_run_cancels_its_task() {
    let scheduler = TestScheduler::new();
    let handle = scheduler.spawn(async {});
    assert!(scheduler.drop_one());
    assert!(result(handle).unwrap_err().is_cancelled());
    assert_eq!((scheduler.alive(), scheduler.holders()), (0, 1));
}

#[test]
fn a_closed_list_cancels_at_once() {
    let scheduler = TestScheduler::new();
    scheduler.shutdown();
    let drops = Counter::default();
    let token = drops.token();
    let handle = scheduler.spawn(async move { drop(token) });
    assert_eq!(drops.get(), 1);
    assert!(result(handle).unwrap_err().is_cancelled());
    assert_eq!(scheduler.holders(), 1);
}

#[test]
fn shutdown_drops_every_future_and_leaves_wakers_and_handles_harmless() {
    let scheduler = TestScheduler::new();
    let drops = Counter::default();
    let slots: Vec<WakerSlot> = (0..5).map(|_| WakerSlot::default()).collect();
    let spawn = |slot| {
        let (token, wait) = (drops.token(), after_polls(1, slot));
        scheduler.spawn(async move {
            let _token = token;
            wait.await;
        })
    };
    let handles: Vec<_> = slots.iter().map(spawn).collect();
    scheduler.run_all();
    let wakers: Vec<_> = slots.iter().map(WakerSlot::take).collect();
    wakers[0].wake_by_ref();
    wakers[1].wake_by_ref();
    scheduler.shutdown();
    assert_eq!((drops.get(), scheduler.alive()), (5, 0));
    assert_eq!(
        scheduler.holders(),
        6,
        "handles and wakers keep the tasks' memory"
    );
    let scheduler_is_gone = scheduler;
    drop(scheduler_is_gone);
    for (waker, handle) in wakers.into_iter().zip(handles) {
        waker.wake_by_ref();
        assert!(result(handle).unwrap_err().is_cancelled());
        waker.wake();
    }
}

#[test]
fn a_destructor_that_spawns_during_shutdown_spawns_a_cancelled_task() {
    struct Spawns(TestScheduler, Counter);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let token = self.1.token();
            let handle = self.0.spawn(async move { drop(token) });
            assert!(result(handle).unwrap_err().is_cancelled());
        }
    }
    let scheduler = TestScheduler::new();
    let drops = Counter::default();
    let spawns = Spawns(scheduler.clone(), drops.clone());
    let handle = scheduler.spawn(async move {
        let _spawns = spawns;
        pending::<()>().await;
    });
    scheduler.run_all();
    scheduler.shutdown();
    assert_eq!(drops.get(), 1);
    drop(handle);
    assert_eq!(scheduler.holders(), 1);
}

#[test]
fn tasks_leave_the_list_from_any_place() {
    let scheduler = TestScheduler::new();
    let spawn = || scheduler.spawn(pending::<()>()).abort_handle();
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut tasks = [Some(spawn()), Some(spawn()), Some(spawn())];
        for (left, index) in (0..3).rev().zip(order) {
            tasks[index].take().unwrap().cancel_now();
            assert_eq!(scheduler.alive(), left);
        }
    }
    scheduler.run_all();
    assert_eq!(scheduler.holders(), 1);
}

#[test]
fn a_future_that_must_stay_is_dropped_at_home() {
    let scheduler = TestScheduler::local();
    let drops = Rc::new(Cell::new(0));
    struct Home(Rc<Cell<usize>>);
    impl Drop for Home {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let slot = WakerSlot::default();
    let (home, wait) = (Home(drops.clone()), after_polls(1, &slot));
    let handle = scheduler.spawn_local(async move {
        let _home = home;
        wait.await;
    });
    scheduler.run_all();
    let waker = slot.take();
    let abort_handle = handle.abort_handle();
    let away = scheduler.clone();
    std::thread::spawn(move || {
        waker.wake();
        assert!(away.drop_one(), "a queue thrown away on the wrong thread");
        abort_handle.cancel_now();
        drop(handle);
    })
    .join()
    .unwrap();
    assert_eq!((drops.get(), scheduler.alive()), (0, 1));
    scheduler.shutdown();
    assert_eq!(
        (drops.get(), scheduler.alive(), scheduler.holders()),
        (1, 0, 1)
    );
}

#[test]
fn cancelling_from_away_is_done_at_home() {
    let scheduler = TestScheduler::local();
    let token = Rc::new(());
    let handle = scheduler.spawn_local({
        let token = token.clone();
        async move {
            let _token = token;
            pending::<()>().await;
        }
    });
    scheduler.run_all();
    let abort_handle = handle.abort_handle();
    std::thread::spawn(move || abort_handle.cancel_now())
        .join()
        .unwrap();
    assert_eq!(Rc::strong_count(&token), 2);
    scheduler.run_all();
    assert_eq!(Rc::strong_count(&token), 1);
    assert!(result(handle).unwrap_err().is_cancelled());
}
