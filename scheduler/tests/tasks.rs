//! Spawning, waking, fairness, shutdown: what a user sees of the scheduler.

mod support;

use peu_scheduler::{
    Builder, Driver, Handle, Polled, Scheduler, Turns, block_on, spawn_local, yield_now,
};
use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Waker;
use std::time::{Duration, Instant};
use support::{LONG, Posts, build, event, eventually, local_scheduler, scheduler};

/// Counts how often it is dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_tree_of_tasks_is_counted_out() {
    fn tree(handle: Handle, depth: u32) -> std::pin::Pin<Box<dyn Future<Output = u64> + Send>> {
        Box::pin(async move {
            if depth == 0 {
                return 1;
            }
            let children: Vec<_> = (0..4)
                .map(|_| handle.spawn(tree(handle.clone(), depth - 1)))
                .collect();
            let mut sum = 1;
            for child in children {
                sum += child.await.unwrap();
            }
            sum
        })
    }
    for workers in [1, 2, 4, 8] {
        let (scheduler, _posts) = scheduler(workers);
        let handle = scheduler.handle();
        assert_eq!(
            block_on(handle.spawn(tree(handle.clone(), 6))).unwrap(),
            5461
        );
    }
}

#[test]
fn more_tasks_than_a_ring_holds() {
    let (scheduler, _posts) = scheduler(2);
    let handle = scheduler.handle();
    let inner = handle.clone();
    let sum = block_on(handle.spawn(async move {
        let tasks: Vec<_> = (0..10_000u64)
            .map(|n| inner.spawn(async move { n }))
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        sum
    }));
    assert_eq!(sum.unwrap(), 49_995_000);
}

#[test]
fn many_threads_spawn_at_once() {
    let (scheduler, _posts) = scheduler(3);
    let count = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let (handle, count) = (scheduler.handle(), &count);
            scope.spawn(move || {
                for _ in 0..500 {
                    let count = count.clone();
                    block_on(handle.spawn(async move {
                        yield_now().await;
                        count.fetch_add(1, Ordering::SeqCst);
                    }))
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(count.load(Ordering::SeqCst), 4000);
}

#[test]
fn a_task_that_never_stops_yielding_starves_neither_events_nor_others() {
    let (scheduler, posts) = scheduler(1);
    let handle = scheduler.handle();
    let spinner = handle.spawn(async {
        loop {
            yield_now().await;
        }
    });
    let (give, wakers) = mpsc::channel::<Waker>();
    let task = handle.spawn(async move { event(|waker| give.send(waker).unwrap()).await });
    posts.post(
        wakers
            .recv_timeout(LONG)
            .expect("the injector is looked at"),
    );
    block_on(task).unwrap();
    spinner.abort();
    assert!(block_on(spinner).unwrap_err().is_cancelled());
}

#[test]
fn a_task_that_awaits_finished_tasks_only_still_lets_others_run() {
    let (scheduler, _posts) = scheduler(1);
    let handle = scheduler.handle();
    let finished: Vec<_> = (0..1000).map(|_| handle.spawn(async {})).collect();
    eventually("all are finished", || {
        finished.iter().all(|task| task.is_finished())
    });
    let polls = block_on(handle.spawn(async move {
        let mut polls = 0;
        let mut awaiting = Box::pin(async {
            for task in finished {
                task.await.unwrap();
            }
        });
        std::future::poll_fn(|cx| {
            polls += 1;
            awaiting.as_mut().poll(cx)
        })
        .await;
        polls
    }));
    assert!(
        polls.unwrap() >= 1000 / 128,
        "the budget sends it behind the others"
    );
}

#[test]
fn two_tasks_that_wake_each_other_do_not_starve_a_third() {
    let (scheduler, _posts) = scheduler(1);
    let handle = scheduler.handle();
    let (inner, stop) = (handle.clone(), Arc::new(AtomicUsize::new(0)));
    let seen = stop.clone();
    block_on(handle.spawn(async move {
        let (give, take) = mpsc::channel::<Waker>();
        let ping = inner.spawn({
            let stop = stop.clone();
            async move {
                while stop.load(Ordering::SeqCst) == 0 {
                    event(|waker| give.send(waker).unwrap()).await;
                }
            }
        });
        let pong = inner.spawn(async move {
            while !ping.is_finished() {
                if let Ok(waker) = take.try_recv() {
                    waker.wake();
                }
                yield_now().await;
            }
        });
        inner
            .spawn(async move { stop.store(1, Ordering::SeqCst) })
            .await
            .unwrap();
        pong.await.unwrap();
    }))
    .unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[test]
fn panics_stay_in_their_task() {
    let (scheduler, _posts) = scheduler(1);
    let handle = scheduler.handle();
    let error = block_on(handle.spawn(async { panic!("on purpose") })).unwrap_err();
    assert!(
        error.is_panic() && error.to_string().contains("on purpose"),
        "{error}"
    );
    assert_eq!(
        block_on(handle.spawn(async { 1 })).unwrap(),
        1,
        "the worker lives"
    );
    let error = block_on(handle.spawn_blocking(|| panic!("on purpose"))).unwrap_err();
    assert!(error.is_panic());
}

#[test]
fn block_on_inside_a_worker_is_a_clear_panic() {
    let (scheduler, _posts) = scheduler(1);
    let error = block_on(scheduler.handle().spawn(async { block_on(async {}) })).unwrap_err();
    assert!(
        error.to_string().contains("worker thread of a peu runtime"),
        "{error}"
    );
}

#[test]
fn shutdown_drops_every_future() {
    for workers in [1, 2, 4] {
        let (scheduler, _posts) = scheduler(workers);
        let handle = scheduler.handle();
        let dropped = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..100)
            .map(|n| {
                let guard = Dropped(dropped.clone());
                handle.spawn(async move {
                    let _guard = guard;
                    loop {
                        if n % 2 == 0 {
                            pending::<()>().await;
                        }
                        yield_now().await;
                    }
                })
            })
            .collect();
        assert!(scheduler.shutdown(Some(LONG)).is_complete());
        assert_eq!(dropped.load(Ordering::SeqCst), 100);
        assert!(
            tasks
                .into_iter()
                .all(|task| block_on(task).unwrap_err().is_cancelled())
        );
        let late = block_on(handle.spawn(async {})).unwrap_err();
        assert!(
            late.is_cancelled() && late.to_string().contains("runtime is gone"),
            "{late}"
        );
        assert!(
            block_on(handle.spawn(async {})).unwrap_err().is_cancelled(),
            "closed"
        );
    }
}

#[test]
fn shutdown_reports_what_is_stuck() {
    let (scheduler, _posts) = scheduler(2);
    let handle = scheduler.handle();
    let (release, blocked) = mpsc::channel::<()>();
    let (release_too, blocked_too) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let begun_too = begun.clone();
    let stuck = handle.spawn(async move {
        begun.send(()).unwrap();
        let _ = blocked.recv();
    });
    drop(handle.spawn_blocking(move || {
        begun_too.send(()).unwrap();
        let _ = blocked_too.recv();
    }));
    has_begun.recv().unwrap();
    has_begun.recv().unwrap();
    let report = scheduler.shutdown(Some(Duration::from_millis(50)));
    assert_eq!((report.workers.len(), report.closures), (1, 1), "{report}");
    assert!(report.to_string().contains("a poll on peu-"), "{report}");
    drop((release, release_too));
    // The poll returns, and the worker ends in good order although nobody waits for it.
    eventually("the stuck task ends", || stuck.is_finished());
}

/// Nobody has polled them, and nobody else would drop them before the worker is back, which may be never.
#[test]
fn what_waits_behind_a_stuck_worker_is_dropped_by_the_shutdown() {
    let (scheduler, _posts) = scheduler(1);
    let handle = scheduler.handle();
    let (release, blocked) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let token = Arc::new(());
    let behind = token.clone();
    let stuck = scheduler.handle().spawn(async move {
        let spawn = || {
            let held = behind.clone();
            handle.spawn(async move { drop(held) })
        };
        let waiting: Vec<_> = (0..5).map(|_| spawn()).collect();
        drop(behind);
        begun.send(waiting).unwrap();
        let _ = blocked.recv();
    });
    let waiting = has_begun.recv().unwrap();
    let report = scheduler.shutdown(Some(Duration::from_millis(50)));
    assert_eq!(report.workers.len(), 1, "{report}");
    assert_eq!(Arc::strong_count(&token), 1, "a future is left");
    for task in waiting {
        assert!(block_on(task).unwrap_err().is_cancelled());
    }
    drop(release);
    eventually("the stuck task ends", || stuck.is_finished());
}

#[test]
fn a_waker_that_outlives_the_scheduler_is_harmless() {
    let (scheduler, _posts) = scheduler(2);
    let (give, wakers) = mpsc::channel::<Waker>();
    let handle = scheduler.handle();
    let task = handle.spawn(async move { event(|waker| give.send(waker).unwrap()).await });
    let waker = wakers.recv().unwrap();
    drop(scheduler);
    waker.wake_by_ref();
    waker.wake();
    assert!(block_on(task).unwrap_err().is_cancelled());
}

#[test]
fn dropped_on_its_own_worker_it_does_not_wait_for_itself() {
    let (scheduler, _posts) = scheduler(2);
    let handle = scheduler.handle();
    let (ended, has_ended) = mpsc::channel();
    drop(handle.spawn(async move {
        drop(scheduler);
        ended.send(()).unwrap();
    }));
    has_ended.recv_timeout(LONG).unwrap();
}

#[test]
fn dropped_in_its_own_blocking_closure_it_does_not_wait_for_itself() {
    let (scheduler, _posts) = scheduler(2);
    let (ended, has_ended) = mpsc::channel();
    drop(scheduler.handle().spawn_blocking(move || {
        drop(scheduler);
        ended.send(()).unwrap();
    }));
    has_ended.recv_timeout(LONG).unwrap();
}

#[test]
fn a_hook_that_panics_costs_no_worker() {
    let builder = Builder::new()
        .workers(1)
        .on_thread_start(|| panic!("on purpose"));
    let scheduler = build(builder, &Posts::default()).unwrap();
    assert_eq!(block_on(scheduler.handle().spawn(async { 1 })).unwrap(), 1);
}

/// A driver whose second turn panics, as one does whose descriptor was closed behind its back.
#[test]
fn a_driver_that_panics_ends_the_scheduler_and_hangs_nobody() {
    struct Broken(AtomicUsize);
    struct BrokenTurns;
    impl Driver for Broken {
        fn turns(&self) -> Box<dyn Turns> {
            Box::new(BrokenTurns)
        }
        fn unpark(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        fn now(&self) -> Instant {
            Instant::now()
        }
    }
    impl Turns for BrokenTurns {
        fn poll(&mut self, _: Option<Duration>, _: &dyn Fn() -> bool) -> Polled {
            panic!("on purpose")
        }
        fn update(&mut self) {}
    }
    let builder = Builder::new().workers(2);
    let pool = builder.blocking_pool().unwrap();
    let scheduler = builder
        .build(Arc::new(Broken(AtomicUsize::new(0))), pool)
        .unwrap();
    let task = scheduler.handle().spawn(pending::<()>());
    assert!(block_on(task).unwrap_err().is_cancelled());
    assert!(scheduler.shutdown(Some(LONG)).is_complete());
}

/// A thread that is no worker takes turns of its own, and leaves when all workers have found the driver claimed.
#[test]
fn a_stranger_in_the_driver_does_not_leave_it_to_nobody() {
    let (scheduler, posts) = scheduler(1);
    let handle = scheduler.handle();
    let mut turns = posts.turns();
    for _ in 0..20 {
        let (give, wakers) = mpsc::channel::<Waker>();
        let waiting = handle.spawn(async move { event(|waker| give.send(waker).unwrap()).await });
        let waker = wakers.recv_timeout(LONG).unwrap();
        // The worker falls asleep meanwhile, and finds the driver claimed, or not.
        turns.poll(Some(Duration::from_millis(5)), &|| true);
        posts.post(waker);
        block_on(waiting).unwrap();
    }
}

#[test]
fn schedulers_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Scheduler>();
    shared::<Handle>();
}

#[test]
fn block_on_inside_a_local_scheduler_is_a_clear_panic() {
    let (local, _posts) = local_scheduler();
    let task = local.spawn_local(async { block_on(async {}) });
    let error = local.block_on(task).unwrap_err();
    assert!(
        error.to_string().contains("inside a peu LocalRuntime"),
        "{error}"
    );
    let handle = local.handle();
    let on_own_thread = std::panic::AssertUnwindSafe(|| handle.block_on(async {}));
    assert!(
        std::panic::catch_unwind(on_own_thread).is_err(),
        "it would wait for itself"
    );
}

#[test]
fn local_takes_one_turn_per_event() {
    let (local, posts) = local_scheduler();
    let poster = posts.clone();
    local.block_on(async {
        for _ in 0..100 {
            event(|waker| poster.post(waker)).await;
        }
    });
    assert!(
        posts.polls() <= 110,
        "{} turns for 100 events",
        posts.polls()
    );
}

#[test]
fn builder_refuses_impossible_numbers_of_workers() {
    for workers in [0, 100_000] {
        let error = build(Builder::new().workers(workers), &Posts::default()).unwrap_err();
        assert!(error.to_string().contains(&workers.to_string()), "{error}");
    }
}

#[test]
fn hooks_run_on_each_worker() {
    let count = Arc::new(AtomicUsize::new(0));
    let (start, stop) = (count.clone(), count.clone());
    let builder = Builder::new()
        .workers(3)
        .thread_name("hooked")
        .on_thread_start(move || {
            assert!(
                std::thread::current()
                    .name()
                    .unwrap()
                    .starts_with("hooked-")
            );
            start.fetch_add(1, Ordering::SeqCst);
        })
        .on_thread_stop(move || {
            stop.fetch_add(100, Ordering::SeqCst);
        });
    let scheduler = build(builder, &Posts::default()).unwrap();
    assert!(scheduler.shutdown(None).is_complete());
    assert_eq!(count.load(Ordering::SeqCst), 303);
}

#[test]
fn local_tasks_need_not_be_send_and_go_on_in_the_next_call() {
    let (local, _posts) = local_scheduler();
    let count = Rc::new(Cell::new(0));
    let inner = count.clone();
    let mut task = local.block_on(async move {
        let task = spawn_local(async move {
            for _ in 0..10 {
                inner.set(inner.get() + 1);
                yield_now().await;
            }
            "done"
        });
        yield_now().await;
        vec![task]
    });
    assert!(count.get() < 10);
    assert_eq!(local.block_on(task.remove(0)).unwrap(), "done");
    assert_eq!(count.get(), 10);
}

#[test]
fn local_woken_from_another_thread_and_by_events() {
    let (local, posts) = local_scheduler();
    let handle = local.handle();
    let (give, wakers) = mpsc::channel::<Waker>();
    let poster = std::thread::spawn(move || {
        for waker in wakers {
            posts.post(waker);
        }
        let task = handle.spawn(async { 7 });
        block_on(task).unwrap()
    });
    local.block_on(async {
        for _ in 0..100 {
            event(|waker| give.send(waker).unwrap()).await;
        }
        drop(give);
        // The foreign thread's task runs while this one waits.
        while !poster.is_finished() {
            yield_now().await;
        }
    });
    assert_eq!(poster.join().unwrap(), 7);
}

#[test]
fn local_in_turns_of_a_host() {
    let (local, _posts) = local_scheduler();
    let task = local.spawn_local(async {
        for _ in 0..9 {
            yield_now().await;
        }
    });
    let first = local.turn(4);
    assert!(first.polls == 4 && first.more && !task.is_finished());
    let second = local.turn(100);
    assert!(second.polls == 6 && !second.more && task.is_finished());
}

#[test]
fn local_drop_cancels_on_its_own_thread() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let (local, _posts) = local_scheduler();
    let (guard, not_send) = (Dropped(dropped.clone()), Rc::new(()));
    let task = local.spawn_local(async move {
        let _both = (guard, not_send);
        pending::<()>().await
    });
    local.turn(1);
    drop(local);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    assert!(block_on(task).unwrap_err().is_cancelled());
}

#[test]
fn schedulers_come_and_go() {
    let start = Instant::now();
    for n in 0..300 {
        let (scheduler, _posts) = scheduler(1 + n % 3);
        let handle = scheduler.handle();
        let tasks: Vec<_> = (0..n % 7).map(|_| handle.spawn(yield_now())).collect();
        if n % 2 == 0 {
            tasks.into_iter().for_each(|task| block_on(task).unwrap());
        }
        assert!(start.elapsed() < LONG * 3);
    }
}
