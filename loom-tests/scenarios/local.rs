//! A runtime of one thread: others give it tasks and wake them while it sleeps, runs, or is between two turns of a host.
//!
//! twin: local-no-last-look
//! twin: shutdown-local-push-unseen
//! twin: blocking-end-unrung

use crate::driver::ModelDriver;
use crate::parts::{Channel, Living, one_in, step_aside};
use peu_scheduler::internals::blocking_pool;
use peu_scheduler::{Handle, LocalScheduler, block_on};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

crate::scenario!(alone_among_others);

fn alone_among_others() {
    let (driver, living) = (ModelDriver::new(), Living::default());
    // Its threads stay until the end.
    let pool = blocking_pool(1, Duration::MAX);
    let local = LocalScheduler::new(Arc::new(driver.clone()), pool);
    let channel = Channel::new(1);
    let strangers: Vec<_> = (0..2)
        .map(|_| {
            let (handle, channel, living) = (local.handle(), channel.clone(), living.clone());
            shuttle::thread::spawn(move || visit(&handle, &channel, living))
        })
        .collect();
    for _ in 0..2 {
        local.turn(1);
    }
    let own = Rc::new(living.clone());
    local.block_on(async {
        let task = local.spawn_local({
            let (driver, own) = (driver.clone(), own.clone());
            async move {
                driver.ready().await;
                drop(own);
            }
        });
        for _ in 0..strangers.len() {
            channel.receive().await;
        }
        task.await.expect("it ends well");
        let job = local.handle().spawn_blocking(|| 1);
        assert_eq!(job.await.expect("it ends well"), 1);
    });
    drop(own);
    drop(local);
    for stranger in strangers {
        stranger.join().expect("it gets an answer");
    }
    drop(channel);
    assert_eq!(living.count(), 0, "a future is left");
    assert_eq!(driver.holders(), 1, "the scheduler is left");
}

/// Has a task send there, and asks for another one, perhaps too late.
fn visit(handle: &Handle, channel: &Channel<()>, living: Living) {
    let sender = handle.spawn({
        let (channel, living) = (channel.clone(), living.clone());
        async move {
            let _living = living;
            step_aside().await;
            channel.send(()).await;
        }
    });
    if one_in(2) {
        block_on(sender).expect("it is received");
    }
    let late = handle.spawn(async move { drop(living) });
    drop(block_on(late));
}
