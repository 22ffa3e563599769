//! Tasks, one thread at a time: every order of dropping, panics everywhere, and counters that show that everything is
//! dropped once. The models in loom-tests do the same with threads; Miri runs this file.

use super::testing::TestScheduler;
use super::*;
use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts its drops.
#[derive(Clone, Default)]
struct Counter(std::sync::Arc<AtomicUsize>);

impl Counter {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn token(&self) -> Token {
        Token(self.clone())
    }
}

struct Token(Counter);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Panics when it is dropped, after the token is counted.
struct Bomb(#[allow(dead_code, reason = "held for its drop")] Token);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the bomb");
    }
}

#[derive(Default)]
struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl CountWakes {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn counting_waker() -> (std::sync::Arc<CountWakes>, Waker) {
    let wakes = std::sync::Arc::new(CountWakes::default());
    (wakes.clone(), Waker::from(wakes))
}

fn poll_once<T>(handle: &mut JoinHandle<T>) -> Poll<Result<T, JoinError>> {
    Pin::new(handle).poll(&mut Context::from_waker(Waker::noop()))
}

fn result<T>(mut handle: JoinHandle<T>) -> Result<T, JoinError> {
    match poll_once(&mut handle) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the task is not complete"),
    }
}

/// Where a test finds the waker of the task that it made.
#[derive(Clone, Default)]
struct WakerSlot(std::sync::Arc<StdMutex<Option<Waker>>>);

impl WakerSlot {
    fn put(&self, waker: &Waker) {
        let old = self.0.lock().unwrap().replace(waker.clone());
        drop(old);
    }

    fn take(&self) -> Waker {
        self.0.lock().unwrap().take().expect("the task was polled")
    }
}

/// Pending for as many polls, leaving its waker behind.
fn after_polls(mut polls: usize, slot: &WakerSlot) -> impl Future<Output = ()> + Send + use<> {
    let slot = slot.clone();
    poll_fn(move |cx| {
        slot.put(cx.waker());
        if polls == 0 {
            return Poll::Ready(());
        }
        polls -= 1;
        Poll::Pending
    })
}

fn both_schedulers(test: impl Fn(TestScheduler)) {
    test(TestScheduler::new());
    test(TestScheduler::inside());
}

#[test]
fn a_task_runs_and_hands_over_its_result() {
    both_schedulers(|scheduler| {
        let handle = scheduler.spawn(async { String::from("done") });
        assert!(!handle.is_finished());
        assert_eq!(scheduler.alive(), 1);
        scheduler.run_all();
        assert!(handle.is_finished());
        assert_eq!(scheduler.alive(), 0);
        assert_eq!(result(handle).unwrap(), "done");
        assert_eq!(scheduler.holders(), 1, "the task is freed");
    });
}

#[test]
fn wakes_coalesce_and_each_way_of_waking_works() {
    both_schedulers(|scheduler| {
        let slot = WakerSlot::default();
        let handle = scheduler.spawn(after_polls(3, &slot));
        scheduler.run_all();
        let waker = slot.take();
        waker.wake_by_ref();
        waker.wake_by_ref();
        let other = waker.clone();
        other.wake();
        assert_eq!(scheduler.scheduled(), 1);
        scheduler.run_all();
        drop(waker);
        slot.take().wake();
        assert_eq!(scheduler.scheduled(), 1);
        scheduler.run_all();
        assert!(!handle.is_finished());
        slot.take().wake();
        scheduler.run_all();
        assert!(handle.is_finished());
        let late = slot.take();
        late.wake_by_ref();
        late.wake();
        assert_eq!(scheduler.scheduled(), 0);
        drop(handle);
        assert_eq!(scheduler.holders(), 1);
    });
}

#[test]
fn a_wake_during_the_poll_asks_for_another() {
    both_schedulers(|scheduler| {
        let mut polls = 0;
        let handle = scheduler.spawn(poll_fn(move |cx| {
            polls += 1;
            match polls {
                1 => cx.waker().wake_by_ref(),
                2 => {
                    let waker = cx.waker().clone();
                    waker.wake();
                }
                _ => return Poll::Ready(polls),
            }
            Poll::Pending
        }));
        scheduler.run_all();
        assert_eq!(result(handle).unwrap(), 3);
        assert_eq!(scheduler.rescheduled(), 2);
        assert_eq!(scheduler.holders(), 1);
    });
}

#[test]
fn the_waker_is_the_task_and_nothing_else() {
    let scheduler = TestScheduler::new();
    let slots = [WakerSlot::default(), WakerSlot::default()];
    let handles = slots
        .each_ref()
        .map(|slot| scheduler.spawn(after_polls(1, slot)));
    scheduler.run_all();
    let [one, other] = slots.each_ref().map(WakerSlot::take);
    assert!(one.will_wake(&one.clone()));
    assert!(!one.will_wake(&other));
    one.wake();
    other.wake();
    scheduler.run_all();
    assert!(handles.iter().all(JoinHandle::is_finished));
}

/// One step in the life of a task's references; every order of them must drop everything once.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    Run,
    Wake,
    DropWaker,
    DropHandle,
    DropAbortHandle,
    Abort,
    Join,
    Shutdown,
}

const STEPS: [Step; 8] = [
    Step::Run,
    Step::Wake,
    Step::DropWaker,
    Step::DropHandle,
    Step::DropAbortHandle,
    Step::Abort,
    Step::Join,
    Step::Shutdown,
];

/// Calls `visit` with every order of `STEPS` (under Miri, which is slow: with one in 97 of them).
fn permutations(visit: &mut dyn FnMut(&[Step])) {
    fn recurse(steps: &mut [Step; 8], from: usize, visit: &mut dyn FnMut(&[Step])) {
        if from == steps.len() {
            return visit(steps);
        }
        for other in from..steps.len() {
            steps.swap(from, other);
            recurse(steps, from + 1, visit);
            steps.swap(from, other);
        }
    }
    let mut index = 0;
    let every = if cfg!(miri) { 997 } else { 1 };
    recurse(&mut STEPS.clone(), 0, &mut |steps| {
        if index % every == 0 {
            visit(steps);
        }
        index += 1;
    });
}

#[test]
fn every_order_of_steps_drops_future_and_result_once() {
    permutations(&mut |steps| {
        let scheduler = TestScheduler::new();
        let (futures, results) = (Counter::default(), Counter::default());
        let slot = WakerSlot::default();
        let (future, output) = (futures.token(), results.token());
        let wait = after_polls(1, &slot);
        let handle = scheduler.spawn(async move {
            let _future = future;
            wait.await;
            output
        });
        let mut abort_handle = Some(handle.abort_handle());
        let mut handle = Some(handle);
        // The first poll, so that there is a waker; the steps begin with the task at rest.
        scheduler.run_all();
        let mut waker = Some(slot.take());
        for step in steps {
            match step {
                Step::Run => scheduler.run_all(),
                Step::Wake => waker.iter().for_each(Waker::wake_by_ref),
                Step::DropWaker => waker = None,
                Step::DropHandle => handle = None,
                Step::DropAbortHandle => abort_handle = None,
                Step::Abort => abort_handle.iter().for_each(AbortHandle::abort),
                Step::Join => {
                    // A poll after the result was returned panics; here each handle is joined once.
                    let _ = handle.as_mut().map(poll_once);
                }
                Step::Shutdown => scheduler.shutdown(),
            }
        }
        drop(slot);
        assert_eq!(futures.get(), 1, "{steps:?}");
        assert_eq!(results.get(), 1, "{steps:?}");
        assert_eq!(scheduler.alive(), 0, "{steps:?}");
        assert_eq!(scheduler.holders(), 1, "{steps:?}");
    });
}

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
fn the_join_waker_is_woken_once_replaced_and_dropped() {
    let scheduler = TestScheduler::new();
    let slot = WakerSlot::default();
    let mut handle = scheduler.spawn(after_polls(1, &slot));
    scheduler.run_all();
    let (first, first_waker) = counting_waker();
    let (second, second_waker) = counting_waker();
    for waker in [&first_waker, &first_waker, &second_waker] {
        assert!(
            Pin::new(&mut handle)
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
    }
    drop((first_waker, second_waker));
    assert_eq!(
        std::sync::Arc::strong_count(&first),
        1,
        "a replaced waker is dropped"
    );
    assert_eq!(std::sync::Arc::strong_count(&second), 2);
    slot.take().wake();
    scheduler.run_all();
    assert_eq!((first.get(), second.get()), (0, 1));
    assert_eq!(std::sync::Arc::strong_count(&second), 1);
    assert!(result(handle).is_ok());
}

#[test]
fn a_handle_dropped_while_it_waits_drops_its_waker() {
    let scheduler = TestScheduler::new();
    let slot = WakerSlot::default();
    let mut handle = scheduler.spawn(after_polls(1, &slot));
    let (wakes, waker) = counting_waker();
    assert!(
        Pin::new(&mut handle)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    drop(handle);
    assert_eq!(std::sync::Arc::strong_count(&wakes), 1);
    scheduler.run_all();
    slot.take().wake();
    scheduler.run_all();
    drop(slot);
    assert_eq!(
        (wakes.get(), scheduler.alive(), scheduler.holders()),
        (0, 0, 1)
    );
}

#[test]
fn polling_a_handle_again_is_a_clear_panic() {
    let scheduler = TestScheduler::new();
    let mut handle = scheduler.spawn(async {});
    scheduler.run_all();
    assert!(poll_once(&mut handle).is_ready());
    assert!(handle.is_finished());
    let again = catch_unwind(AssertUnwindSafe(|| poll_once(&mut handle))).unwrap_err();
    let message = again.downcast_ref::<&str>().unwrap();
    assert!(message.contains("after it had returned"), "{message}");
}

#[test]
fn an_id_names_its_task_inside_and_out() {
    let scheduler = TestScheduler::new();
    assert_eq!(try_id(), None);
    assert!(catch_unwind(id).is_err());
    let handles = [
        scheduler.spawn(async { id() }),
        scheduler.spawn(async { id() }),
    ];
    scheduler.run_all();
    let ids = handles.each_ref().map(JoinHandle::id);
    assert!(ids[0] < ids[1]);
    for (handle, id) in handles.into_iter().zip(ids) {
        assert_eq!(handle.abort_handle().id(), id);
        assert_eq!(result(handle).unwrap(), id);
    }
    assert_eq!(try_id(), None);
}

#[test]
fn a_thread_numbers_its_tasks_in_order() {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let scheduler = TestScheduler::new();
                let ids: Vec<Id> = (0..10).map(|_| scheduler.spawn(async {}).id()).collect();
                scheduler.run_all();
                ids
            })
        })
        .collect();
    for thread in threads {
        let ids = thread.join().unwrap();
        assert!(ids.is_sorted_by(|one, next| one < next));
    }
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

#[test]
fn threads_wake_run_abort_and_drop_at_once() {
    let rounds = if cfg!(miri) { 20 } else { 2_000 };
    for round in 0..rounds {
        let scheduler = TestScheduler::new();
        let drops = Counter::default();
        let slot = WakerSlot::default();
        let (token, wait) = (drops.token(), after_polls(2, &slot));
        let handle = scheduler.spawn(async move {
            let _token = token;
            wait.await;
        });
        scheduler.run_one();
        let waker = slot.take();
        let abort_handle = handle.abort_handle();
        std::thread::scope(|scope| {
            scope.spawn(|| scheduler.run_all());
            scope.spawn(|| scheduler.run_all());
            scope.spawn(move || waker.wake());
            scope.spawn(move || match round % 3 {
                0 => abort_handle.abort(),
                1 => abort_handle.cancel_now(),
                _ => drop(abort_handle),
            });
            scope.spawn(move || drop(handle));
        });
        scheduler.shutdown();
        drop(slot);
        assert_eq!((drops.get(), scheduler.holders()), (1, 1));
    }
}

#[test]
fn a_task_is_small() {
    let bytes = cell::bytes::<std::future::Ready<()>, testing::Queue>();
    assert!(
        bytes <= 88,
        "{bytes} bytes for a task with a future of up to 24"
    );
    assert_eq!(size_of::<JoinHandle<[u8; 100]>>(), 16);
    assert_eq!(size_of::<Option<AbortHandle>>(), 8);
}

#[test]
fn handles_are_sent_and_shared_when_their_results_may_be() {
    fn send_and_sync<T: Send + Sync + std::panic::UnwindSafe + Unpin>() {}
    send_and_sync::<JoinHandle<Cell<u8>>>();
    send_and_sync::<AbortHandle>();
    fn shared<T: Send + Sync + std::error::Error>() {}
    shared::<JoinError>();
}
