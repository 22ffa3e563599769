//! A runtime that ends in the middle of everything: tasks that run, rest, sleep and are stolen, threads that spawn, wake
//! and wait, closures that block. Who waits gets an answer; and whatever came too late, nothing is left.
//!
//! twin: shutdown-push-unseen
//! twin: shutdown-worker-undrained

use crate::parts::{Channel, Living, World, step_aside};
use peu_scheduler::{Handle, block_on};
use std::time::Duration;

crate::scenario!(end_in_the_middle);

fn end_in_the_middle() {
    let world = World::new(2);
    let handle = world.workers.handle();
    let channel = Channel::new(1);
    for _ in 0..2 {
        let (handle, living) = (handle.clone(), world.living.clone());
        let task = start(handle, channel.clone(), living);
        drop(world.workers.handle().spawn(task));
    }
    let sleeper = {
        let (driver, living) = (world.driver.clone(), world.living.clone());
        handle.spawn(async move {
            let _living = living;
            driver.sleep(Duration::from_millis(3)).elapsed().await;
        })
    };
    let stranger = shuttle::thread::spawn({
        let (handle, living, channel) = (handle.clone(), world.living.clone(), channel.clone());
        move || {
            // Wakes who waits for the channel, now or when the runtime is gone.
            block_on(channel.send(()));
            drop(block_on(handle.spawn(async move { drop(living) })));
        }
    });
    drop(handle);
    let World {
        driver,
        living,
        workers,
    } = world;
    workers.shutdown();
    drop(block_on(sleeper));
    stranger.join().expect("it gets an answer");
    drop(channel);
    assert_eq!(living.count(), 0, "a future is left");
    assert_eq!(driver.timers(), 0, "a timer is left");
    assert_eq!(driver.holders(), 1, "the scheduler is left");
}

/// A task with children, one of which blocks a thread, and one of which waits for a stranger.
async fn start(handle: Handle, channel: Channel<()>, living: Living) {
    let _living = living.clone();
    let child = handle.spawn({
        let living = living.clone();
        async move {
            let _living = living;
            channel.receive().await;
        }
    });
    let job = handle.spawn_blocking({
        let living = living.clone();
        move || drop(living)
    });
    drop(handle.spawn(async move {
        let _living = living;
        step_aside().await;
    }));
    drop(job.await);
    drop(child.await);
}
