//! Tasks that sleep, one of which changes its mind: none wakes too early, none sleeps on, and no timer is left. A timer is
//! set by a worker, or a thread that is none, while another sleeps in the driver without a bound.
//!
//! twin: turn-notified-unheeded
//! twin: turn-tried-at-once

use crate::driver::ModelDriver;
use crate::parts::{World, below, one_in};
use peu_scheduler::block_on;
use peu_scheduler::internals::clock;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

crate::scenario!(sleep_and_rise);

fn sleep_and_rise() {
    let world = World::new(2);
    let handle = world.workers.handle();
    let sleepers: Vec<_> = (0..3)
        .map(|_| handle.spawn(nap(world.driver.clone(), world.living.clone())))
        .collect();
    let given_up = handle.spawn(nap(world.driver.clone(), world.living.clone()));
    block_on(nap(world.driver.clone(), world.living.clone()));
    given_up.abort();
    for sleeper in sleepers {
        block_on(sleeper).expect("it ends well");
    }
    drop(block_on(given_up));
    drop(handle);
    world.end();
}

/// Sleeps for a time, perhaps after it has begun to sleep for another.
async fn nap(driver: ModelDriver, living: crate::parts::Living) {
    let _living = living;
    let mut sleep = driver.sleep(time());
    if one_in(2) {
        poll_fn(|context| Poll::Ready(sleep.poll(context).is_ready())).await;
        sleep.reset(time());
    }
    sleep.elapsed().await;
    assert!(clock::now() >= sleep.deadline(), "too early");
}

/// Around the times that the watch sleeps.
fn time() -> Duration {
    Duration::from_micros(500 * below(40) as u64)
}
