//! Tasks that are joined, aborted and dropped by several at once, while they run, wake each other, and start blocking
//! closures: who joins always gets an answer, and no future is left.
//!
//! twin: task-cancel-claims-running
//! twin: join-swap-in-place
//! twin: join-publish-no-recheck
//! twin: blocking-end-unlooked

use crate::parts::{Channel, Living, World, below, one_in, step_aside};
use peu_scheduler::task::{JoinError, JoinHandle, JoinSet};
use peu_scheduler::{Handle, block_on};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

crate::scenario!(storm);

fn storm() {
    let world = World::new(2);
    let handle = world.workers.handle();
    let storms: Vec<_> = (0..2)
        .map(|_| handle.spawn(rage(handle.clone(), world.living.clone())))
        .collect();
    let aborts: Vec<_> = storms.iter().map(JoinHandle::abort_handle).collect();
    let stranger = shuttle::thread::spawn(move || {
        if one_in(3) {
            aborts.into_iter().for_each(|abort| abort.abort());
        }
    });
    for storm in storms {
        calm(block_on(storm));
    }
    stranger.join().expect("it ends well");
    drop(handle);
    world.end();
}

/// Starts victims, and does to each what chance says.
async fn rage(handle: Handle, living: Living) {
    let _living = living.clone();
    let mut set = JoinSet::new();
    for _ in 0..3 {
        let channel = Channel::new(1);
        let victim = handle.spawn(victim(channel.clone(), living.clone()));
        match below(5) {
            0 => victim.abort(),
            1 => drop(victim),
            2 => drop(set.insert(victim)),
            3 => pass_on(victim, &handle).await,
            _ => {
                channel.send(()).await;
                calm(victim.await);
            }
        }
    }
    if one_in(2) {
        let job = handle.spawn_blocking(move || drop(living));
        job.abort();
        calm(job.await);
    }
    step_aside().await;
    set.abort_all();
    while let Some(ended) = set.join_next().await {
        calm(ended);
    }
}

/// Rests until somebody sends, or for good.
async fn victim(channel: Channel<()>, living: Living) {
    let _living = living;
    step_aside().await;
    channel.receive().await;
}

/// Waits for the victim here for a moment, then lets another task wait for it, so that its join waker changes while it
/// is being aborted.
async fn pass_on(mut victim: JoinHandle<()>, handle: &Handle) {
    let polled = poll_fn(|context| Poll::Ready(Pin::new(&mut victim).poll(context))).await;
    if let Poll::Ready(ended) = polled {
        return calm(ended);
    }
    let abort = victim.abort_handle();
    let heir = handle.spawn(async { calm(victim.await) });
    step_aside().await;
    abort.abort();
    heir.await.expect("nobody aborts it");
}

fn calm(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        assert!(error.is_cancelled(), "{error}");
    }
}
