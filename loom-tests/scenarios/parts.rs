//! What scenarios are made of.

use crate::driver::ModelDriver;
use peu_scheduler::internals::Workers;
use shuttle::rand::Rng;
use shuttle::rand::thread_rng;
use shuttle::sync::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// From 0 to `bound - 1`, by the chance that belongs to the order and is replayed with it.
pub(crate) fn below(bound: usize) -> usize {
    thread_rng().gen_range(0..bound)
}

pub(crate) fn one_in(bound: usize) -> bool {
    below(bound) == 0
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with a lock")
}

/// A runtime, and the count of futures that must be gone when it is.
pub(crate) struct World {
    pub(crate) driver: ModelDriver,
    pub(crate) living: Living,
    pub(crate) workers: Workers,
}

impl World {
    pub(crate) fn new(workers: usize) -> World {
        let driver = ModelDriver::new();
        World {
            workers: Workers::start(workers, Arc::new(driver.clone())),
            living: Living::default(),
            driver,
        }
    }

    /// Ends the runtime. Nothing may be left: no future, no timer, nor anything that holds the scheduler.
    pub(crate) fn end(self) {
        self.workers.shutdown();
        assert_eq!(self.living.count(), 0, "a future is left");
        assert_eq!(self.driver.timers(), 0, "a timer is left");
        assert_eq!(self.driver.holders(), 1, "the scheduler is left");
    }
}

/// A token per future that lives. Not of shuttle's making: it is no part of what is tried.
#[derive(Clone, Default)]
pub(crate) struct Living(Arc<()>);

impl Living {
    pub(crate) fn count(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// Something that a thread blocks for, as a task must not and sometimes does.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    pub(crate) fn wait(&self) {
        let mut open = lock(&self.0.0);
        while !*open {
            open = self.0.1.wait(open).expect("nobody panics with it");
        }
    }
}

/// Whoever is woken with it opens the gate.
impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.open();
    }
}

/// A thread gives way to others for a while, in which a runtime may come to rest.
pub(crate) fn pause() {
    for _ in 0..below(30) {
        shuttle::thread::yield_now();
    }
}

/// Gives way to others a few times.
pub(crate) async fn step_aside() {
    for _ in 0..below(3) {
        peu_scheduler::yield_now().await;
    }
}

/// A queue with a bound, between tasks and threads. The simplest there is: every change wakes all who wait.
pub(crate) struct Channel<T>(Arc<Mutex<Queue<T>>>);

struct Queue<T> {
    items: VecDeque<T>,
    room: usize,
    waiting: Vec<Waker>,
}

impl<T> Channel<T> {
    pub(crate) fn new(room: usize) -> Channel<T> {
        Channel(Arc::new(Mutex::new(Queue {
            items: VecDeque::new(),
            room,
            waiting: Vec::new(),
        })))
    }

    pub(crate) async fn send(&self, item: T) {
        let mut item = Some(item);
        poll_fn(|context| self.change(context, |queue| queue.push(&mut item))).await;
    }

    pub(crate) async fn receive(&self) -> T {
        poll_fn(|context| self.poll_receive(context)).await
    }

    pub(crate) fn poll_receive(&self, context: &mut Context<'_>) -> Poll<T> {
        self.change(context, |queue| queue.items.pop_front())
    }

    /// Changes the queue, and wakes who waits for a change; or waits for one.
    fn change<R>(
        &self,
        context: &mut Context<'_>,
        change: impl FnOnce(&mut Queue<T>) -> Option<R>,
    ) -> Poll<R> {
        let mut queue = lock(&self.0);
        let Some(changed) = change(&mut queue) else {
            queue.waiting.push(context.waker().clone());
            return Poll::Pending;
        };
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        for waker in waiting {
            if one_in(2) {
                waker.wake();
            } else {
                waker.wake_by_ref();
            }
        }
        Poll::Ready(changed)
    }
}

impl<T> Queue<T> {
    fn push(&mut self, item: &mut Option<T>) -> Option<()> {
        (self.items.len() < self.room).then(|| self.items.extend(item.take()))
    }
}

impl<T> Clone for Channel<T> {
    fn clone(&self) -> Channel<T> {
        Channel(self.0.clone())
    }
}
