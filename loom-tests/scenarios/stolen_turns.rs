//! Workers that are stuck in a poll: what waits behind them, an event of the driver or a task in their queue, is
//! found by another, and what they wait for may be just that.
//!
//! How soon it is found is asked of loom, whose threads are held up seldom enough to tell time; here it is whether at all.
//!
//! twin: turn-not-stolen
//! twin: watch-not-left

use crate::driver::ModelDriver;
use crate::parts::{Gate, Living, World, one_in, pause, step_aside};
use peu_scheduler::{Handle, block_on};
use std::sync::Arc;

crate::scenario!(get_stuck);

/// Of three workers two get stuck, while tasks between them come and go, and the third must see to both. Then, when all
/// may have come to rest, again.
fn get_stuck() {
    let world = World::new(3);
    let handle = world.workers.handle();
    for _ in 0..2 {
        let (driver, living) = (world.driver.clone(), world.living.clone());
        let mut tasks = vec![handle.spawn(until_event(driver.clone(), living.clone()))];
        tasks.push(if one_in(2) {
            handle.spawn(until_event(driver.clone(), living.clone()))
        } else {
            let task = until_task(handle.clone(), driver.clone(), living.clone());
            handle.spawn(task)
        });
        tasks.push(handle.spawn(step_aside()));
        tasks.push(handle.spawn(async move {
            let _living = living;
            step_aside().await;
            driver.ready().await;
        }));
        for task in tasks {
            block_on(task).expect("it ends well");
        }
        pause();
    }
    drop(handle);
    world.end();
}

/// Keeps its thread until an event comes, which it does at once, if somebody looks.
async fn until_event(driver: ModelDriver, living: Living) {
    let _living = living;
    let gate = Arc::new(Gate::default());
    driver.event(gate.clone().into());
    gate.wait();
    driver.ready().await;
}

/// Keeps its thread until a task has run that is behind it in its own worker's queue.
async fn until_task(handle: Handle, driver: ModelDriver, living: Living) {
    let _living = living.clone();
    // Woken by the driver, so that its worker comes out of it just now.
    driver.ready().await;
    let gate = Gate::default();
    let key = gate.clone();
    let opener = handle.spawn(async move {
        let _living = living;
        key.open();
    });
    gate.wait();
    opener.await.expect("it ends well");
}
