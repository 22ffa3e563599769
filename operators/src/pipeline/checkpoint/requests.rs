//! Who asks for checkpoints, and who answers.
//!
//! A timer asks; the sources answer, each with a barrier as its next element; whoever has no room for records hears of it too, and
//! asks for the barrier alone. The sink tells when the checkpoint is complete: there is at most one at a time,
//! so slow checkpoints come less often and never pile up.
//!
//! A source looks at one number for each record. Everything else is under the lock.
//!
//! # Why nobody sleeps on
//!
//! Whoever is about to sleep leaves its waker under the lock under which it saw nothing to do, and whatever ends the wait takes the
//! wakers under that lock:
//!
//! - A source without records, or whoever has no room for them, waits while the barrier is the one that it has passed. A
//!   new one takes the wakers. The number without the lock may be an old one; who believes it looks again under the lock
//!   before it sleeps.
//! - A stage is woken each time, because it never says that it waits. It has a signal of its own for that, which carries what
//!   came before it (`signals.rs`): so the stage, once it is woken, sees the number.
//! - Who waits for the checkpoint to be complete, or for the end, is woken by both. After the end nobody waits: each looks for that
//!   first. What waits for a barrier then ends because its consumer has.

use crate::barrier::{CheckpointBarrier, States};
use crate::element::Mark;
use crate::sync::{AtomicU64, Mutex, Ordering, twin};
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub(in crate::pipeline) struct Requests {
    /// The number of the newest barrier that was asked for. It changes under the lock, and orders nothing: who sees it
    /// changed takes the lock for the barrier, and who is about to sleep looks again under the lock.
    newest: AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// The barrier that the sources are to send, or have sent.
    barrier: CheckpointBarrier,
    /// It has not reached the sink yet, or the checkpoint is not complete.
    under_way: bool,
    /// Sources that wait for records.
    sources: Vec<Waker>,
    /// Stages, which may wait for room.
    stages: Vec<Waker>,
    /// Sources that have ended, and where.
    ended: States,
    /// The pipeline has ended.
    is_over: bool,
    /// Whoever waits for a checkpoint to be complete, or for the end.
    waiting: Vec<Waker>,
}

impl Requests {
    /// The first barrier gets the number after `number`.
    pub(in crate::pipeline) fn after(number: u64) -> Self {
        let state = State {
            barrier: CheckpointBarrier {
                number,
                states: Arc::default(),
            },
            under_way: false,
            sources: Vec::new(),
            stages: Vec::new(),
            ended: States::new(),
            is_over: false,
            waiting: Vec::new(),
        };
        Self {
            newest: AtomicU64::new(number),
            state: Mutex::new(state),
        }
    }

    /// The number of the newest barrier.
    pub(in crate::pipeline) fn newest(&self) -> u64 {
        // ORDERING: Relaxed, as the field says.
        self.newest.load(Ordering::Relaxed)
    }

    /// The newest barrier.
    pub(in crate::pipeline) fn barrier(&self) -> CheckpointBarrier {
        self.state.lock().barrier.clone()
    }

    /// The newest barrier, if its number is not this one.
    pub(in crate::pipeline) fn newer(&self, passed: u64) -> Option<Mark> {
        (self.newest() != passed).then(|| Mark::Checkpoint(self.barrier()))
    }

    /// Asks for a checkpoint.
    pub(in crate::pipeline) fn ask(&self) {
        let wakers = {
            let mut state = self.state.lock();
            let number = state.barrier.number + 1;
            state.barrier = CheckpointBarrier {
                number,
                states: Arc::default(),
            };
            state.under_way = true;
            // ORDERING: Relaxed, as the field says.
            self.newest.store(number, Ordering::Relaxed);
            let mut wakers = mem::take(&mut state.sources);
            wakers.extend(state.stages.iter().cloned());
            wakers
        };
        if !twin("requests-ask-unrung") {
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// A source that has no record waits, or a router that has no room: true, and it is woken when a barrier is asked for. False: one newer than `seen`
    /// was.
    #[must_use]
    pub(in crate::pipeline) fn wait(&self, seen: u64, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if state.barrier.number != seen && !twin("requests-wait-unlooked") {
            return false;
        }
        if !state.sources.iter().any(|other| other.will_wake(waker)) {
            state.sources.push(waker.clone());
        }
        true
    }

    /// Wakes a stage, from now on, when a barrier is asked for.
    pub(in crate::pipeline) fn add_stage(&self, waker: Waker) {
        self.state.lock().stages.push(waker);
    }

    /// A source has ended in this position.
    pub(in crate::pipeline) fn source_ended(&self, name: &Arc<str>, position: Vec<u8>) {
        self.state.lock().ended.insert(Arc::clone(name), position);
    }

    /// The positions of the sources that have ended.
    pub(in crate::pipeline) fn ended(&self) -> States {
        self.state.lock().ended.clone()
    }

    /// The checkpoint is complete.
    pub(in crate::pipeline) fn complete(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.under_way = false;
            mem::take(&mut state.waiting)
        };
        if !twin("requests-complete-unrung") {
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// The pipeline has ended: there are no more checkpoints.
    pub(in crate::pipeline) fn close(&self) {
        let (waiting, forgotten) = {
            let mut state = self.state.lock();
            state.is_over = true;
            let forgotten = (mem::take(&mut state.sources), mem::take(&mut state.stages));
            (mem::take(&mut state.waiting), forgotten)
        };
        drop(forgotten);
        if !twin("requests-close-unrung") {
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Ready once no checkpoint is under way; true: nor will one be.
    pub(in crate::pipeline) fn poll_rest(&self, cx: &Context<'_>) -> Poll<bool> {
        let mut state = self.state.lock();
        match state.is_over || !state.under_way {
            true => Poll::Ready(state.is_over),
            false => state.wait(cx).map(|()| true),
        }
    }

    /// Ready once the pipeline has ended.
    pub(in crate::pipeline) fn poll_end(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        match state.is_over {
            true => Poll::Ready(()),
            false => state.wait(cx),
        }
    }
}

impl State {
    fn wait(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.waiting.iter().any(|other| other.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}
