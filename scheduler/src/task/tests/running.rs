//! Running, waking and joining.

use super::*;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
fn a_result_is_taken_once_when_it_is_there() {
    both_schedulers(|scheduler| {
        let mut handle = scheduler.spawn(async { 7 });
        assert!(handle.take_if_finished().is_none(), "not yet");
        scheduler.run_all();
        assert_eq!(handle.take_if_finished().unwrap().unwrap(), 7);
        assert!(handle.take_if_finished().is_none(), "not again");
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
