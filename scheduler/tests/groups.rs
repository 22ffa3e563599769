//! Sets and groups of tasks on real schedulers.

mod support;

use peu_scheduler::task::{self, JoinSet, TaskGroup};
use peu_scheduler::{block_on, spawn_local, yield_now};
use std::cell::Cell;
use std::future::{Future, pending};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use support::{LONG, eventually, local_scheduler, scheduler};

/// Pending until the token is dropped with it.
async fn hold(token: Arc<()>) -> io::Result<()> {
    pending::<()>().await;
    drop(token);
    Ok(())
}

#[test]
fn a_set_returns_every_result_once() {
    let (scheduler, _posts) = scheduler(4);
    let tasks = 2_000_u64;
    let sum = block_on(scheduler.handle().spawn(async move {
        let mut set = JoinSet::new();
        for n in 0..tasks {
            set.spawn(async move {
                if n % 3 == 0 {
                    yield_now().await;
                }
                n
            });
        }
        let mut sum = 0;
        while let Some(result) = set.join_next().await {
            sum += result.expect("no panic");
            // Now and then one that has gone before is replaced, in its place.
            if sum % 7 == 0 {
                set.spawn(async { 0 });
            }
        }
        sum
    }));
    assert_eq!(sum.unwrap(), tasks * (tasks - 1) / 2);
}

#[test]
fn a_set_from_outside_and_one_of_local_tasks() {
    let (scheduler, _posts) = scheduler(2);
    let mut set = JoinSet::new();
    for n in 1..=3 {
        set.spawn_on(async move { n }, &scheduler.handle());
    }
    set.insert(scheduler.handle().spawn_blocking(|| 4));
    let results = block_on(set.join_all());
    assert_eq!(results.into_iter().map(Result::unwrap).sum::<i32>(), 10);

    let (local, _posts) = local_scheduler();
    let shared = Rc::new(Cell::new(0));
    let result = local.block_on(task::group(async |group: &TaskGroup<io::Error>| {
        for n in 1..=3 {
            let shared = shared.clone();
            group.insert(spawn_local(async move {
                yield_now().await;
                shared.set(shared.get() + n);
                Ok(())
            }));
        }
        Ok(())
    }));
    result.unwrap();
    assert_eq!((shared.get(), Rc::strong_count(&shared)), (6, 1));
}

#[test]
fn a_group_ends_with_its_first_error() {
    let (scheduler, _posts) = scheduler(4);
    let token = Arc::new(());
    let held = token.clone();
    let result = block_on(scheduler.handle().spawn(task::group(
        async move |group: &TaskGroup<io::Error>| {
            for _ in 0..100 {
                group.spawn(hold(held.clone()));
            }
            group.spawn(async {
                yield_now().await;
                Err(io::Error::other("enough"))
            });
            drop(held);
            pending::<io::Result<()>>().await
        },
    )));
    assert_eq!(result.unwrap().unwrap_err().to_string(), "enough");
    assert_eq!(Arc::strong_count(&token), 1, "nothing of the group is left");
}

#[test]
fn a_dropped_group_leaves_only_what_is_being_polled_to_the_end_of_that_poll() {
    let (scheduler, _posts) = scheduler(2);
    let handle = scheduler.handle();
    let token = Arc::new(());
    let (started, has_started) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let in_poll = token.clone();
    let mut group = Box::pin(task::group(async |group: &TaskGroup<io::Error>| {
        group.spawn_on(
            async move {
                let _in_poll = in_poll;
                started.send(()).unwrap();
                released.lock().unwrap().recv_timeout(LONG).unwrap();
                pending().await
            },
            &handle,
        );
        for _ in 0..10 {
            group.spawn_on(hold(token.clone()), &handle);
        }
        Ok(())
    }));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(group.as_mut().poll(&mut cx).is_pending());
    has_started.recv_timeout(LONG).unwrap();
    // The others may be polled by the other worker just now; once they were all polled, they rest.
    drop(group);
    eventually("polls that were under way", || {
        Arc::strong_count(&token) == 2
    });
    release.send(()).unwrap();
    eventually("the poll that was held", || Arc::strong_count(&token) == 1);
}

#[test]
fn a_shutdown_ends_a_group_that_waits_outside() {
    let (scheduler, _posts) = scheduler(2);
    let handle = scheduler.handle();
    let waiting = std::thread::spawn(move || {
        block_on(task::group(async |group: &TaskGroup<io::Error>| {
            group.spawn_on(hold(Arc::new(())), &handle);
            Ok(())
        }))
    });
    drop(scheduler);
    let error = waiting.join().unwrap().unwrap_err();
    assert!(error.to_string().contains("was cancelled"), "{error}");
}
