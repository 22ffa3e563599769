//! Tasks and threads that hand numbers on through small channels, and so wake each other all the time, some two at once:
//! none is lost, and they keep their order.
//!
//! twin: task-pause-forgets-wake
//! twin: block-on-cleared-late
//! twin: idle-no-last-look

use crate::parts::{Channel, World, one_in, step_aside};
use peu_scheduler::block_on;
use std::future::poll_fn;

crate::scenario!(hand_on);

/// From each of two sources.
const ITEMS: usize = 4;

/// From two threads through two tasks back to a third, with other tasks between that only want their turn. The first task
/// waits for both channels at once.
fn hand_on() {
    let world = World::new(2);
    let handle = world.workers.handle();
    let sources = [Channel::new(1), Channel::new(2)];
    let (middle, end) = (Channel::new(2), Channel::new(1));
    let merged = {
        let (sources, to, living) = (sources.clone(), middle.clone(), world.living.clone());
        async move {
            let _living = living;
            for _ in 0..2 * ITEMS {
                to.send(either(&sources).await).await;
            }
        }
    };
    let passed = {
        let (from, to, living) = (middle, end.clone(), world.living.clone());
        async move {
            let _living = living;
            for _ in 0..2 * ITEMS {
                let item = from.receive().await;
                if one_in(3) {
                    step_aside().await;
                }
                to.send(item).await;
            }
        }
    };
    let tasks = [
        handle.spawn(merged),
        handle.spawn(passed),
        handle.spawn(step_aside()),
    ];
    let senders = sources.map(|source| {
        shuttle::thread::spawn(move || (0..ITEMS).for_each(|item| block_on(source.send(item))))
    });
    let mut next = [0, 0];
    for _ in 0..2 * ITEMS {
        let (source, item) = block_on(end.receive());
        assert_eq!(item, next[source], "in order");
        next[source] += 1;
    }
    for task in tasks {
        block_on(task).expect("it ends well");
    }
    for sender in senders {
        sender.join().expect("it ends well");
    }
    drop(handle);
    world.end();
}

/// What comes first, and from where.
async fn either(sources: &[Channel<usize>; 2]) -> (usize, usize) {
    poll_fn(|context| {
        let first = sources[0].poll_receive(context).map(|item| (0, item));
        if first.is_ready() {
            return first;
        }
        sources[1].poll_receive(context).map(|item| (1, item))
    })
    .await
}
