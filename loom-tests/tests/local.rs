//! The single-threaded scheduler: a push from another thread against falling asleep in the driver.
//!
//! Whatever the order: the thread finds the task in its injector, or the pusher finds the thread asleep and rings. If it
//! were not so, the thread would sleep with its task queued, and loom would find everybody blocked.
//!
//! twin: local-push-no-fence
//! twin: local-sleep-no-fence
//! twin: local-leave-no-fence
//! twin: local-no-last-look

#![cfg(loom)]

use loom::sync::Mutex;
use peu_loom_tests::driver::ModelDriver;
use peu_loom_tests::model;
use peu_scheduler::{Builder, Driver, LocalScheduler};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// Set by a task, waited for by another.
#[derive(Default)]
struct Flag {
    set: bool,
    waker: Option<Waker>,
}

fn start() -> LocalScheduler {
    LocalScheduler::new(
        Arc::new(ModelDriver::new()),
        Builder::new().blocking_pool().unwrap(),
    )
}

async fn wait(flag: &Mutex<Flag>) {
    poll_fn(|cx| {
        let mut flag = flag.lock().unwrap();
        if flag.set {
            return Poll::Ready(());
        }
        flag.waker = Some(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

fn set(flag: &Mutex<Flag>) {
    let mut flag = flag.lock().unwrap();
    flag.set = true;
    let waker = flag.waker.take();
    drop(flag);
    waker.into_iter().for_each(Waker::wake);
}

#[test]
fn a_task_from_another_thread() {
    model(|| {
        let local = start();
        let flag = Arc::new(Mutex::new(Flag::default()));
        let (handle, there) = (local.handle(), flag.clone());
        let pusher = loom::thread::spawn(move || drop(handle.spawn(async move { set(&there) })));
        local.block_on(wait(&flag));
        pusher.join().unwrap();
    });
}

#[test]
fn a_wake_of_the_main_future_from_another_thread() {
    model(|| {
        let local = start();
        let flag = Arc::new(Mutex::new(Flag::default()));
        let there = flag.clone();
        let waker = loom::thread::spawn(move || set(&there));
        local.block_on(wait(&flag));
        waker.join().unwrap();
    });
}

/// Between two turns a host waits for the driver alone, as its own loop has it. The push may come at the end of a turn: too
/// late for that one's last look.
#[test]
fn a_push_between_two_turns_of_a_host() {
    model(|| {
        let driver = ModelDriver::new();
        let local = LocalScheduler::new(
            Arc::new(driver.clone()),
            Builder::new().blocking_pool().unwrap(),
        );
        let handle = local.handle();
        let pusher = loom::thread::spawn(move || handle.spawn(async {}));
        let mut polls = 0;
        while polls == 0 {
            let turn = local.turn(1);
            polls += turn.polls;
            if polls == 0 && !turn.more {
                let _ = driver.turns().poll(None, &|| true);
            }
        }
        drop(pusher.join().unwrap());
    });
}
