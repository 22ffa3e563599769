//! A source: turns that deliver events against tasks that attempt, find nothing, and wait.
//!
//! Whatever the order: what has arrived is taken by somebody, because an event that comes during an attempt is not cleared
//! by that attempt's end, and one that comes while a task begins to wait is seen by its second look, or finds its waker: the
//! one that it came with last.
//!
//! bound: three tasks and a turn on one word have 400,000 interleavings with two preemptions, which take half a minute; that
//! model has two.
//!
//! twin: readiness-tick-not-compared
//! twin: readiness-short-tick-not-compared
//! twin: readiness-change-by-store
//! twin: state-event-last
//! twin: state-no-second-look
//! twin: state-waker-kept

#![cfg(loom)]

use loom::sync::atomic::AtomicUsize;
use loom::sync::atomic::Ordering::{self, SeqCst};
use loom::thread;
use peu_loom_tests::{bounded, model};
use peu_reactor::Direction::{self, Read, Write};
use peu_reactor::internals::ModelSource;
use peu_scheduler::block_on;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

/// The kernel's part of a descriptor: how much has arrived. Its edge is reported once.
#[derive(Clone)]
struct Socket {
    source: ModelSource,
    arrived: Arc<AtomicUsize>,
}

impl Socket {
    fn new() -> Socket {
        let source = ModelSource::new();
        source.exhaust();
        Socket {
            source,
            arrived: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Something arrives, and a turn delivers the edge.
    fn arrive(&self, direction: Direction) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        self.source.event(direction);
    }

    /// The system call: takes one, or would block.
    fn take(&self) -> bool {
        let less = |arrived: usize| arrived.checked_sub(1);
        self.arrived
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
            .is_ok()
    }

    /// Waits, and takes all there is. It has asked for more, so nothing is left, and the attempt that would block is spared.
    async fn read_all(&self, direction: Direction) -> usize {
        loop {
            let seen = self.source.wait(direction).await;
            match self.arrived.swap(0, Ordering::AcqRel) {
                0 => self.source.blocked(seen, direction),
                taken => {
                    self.source.short(seen, direction);
                    return taken;
                }
            }
        }
    }

    /// Waits and attempts until something was taken.
    async fn read(&self, direction: Direction) {
        loop {
            let seen = self.source.wait(direction).await;
            if self.take() {
                return;
            }
            self.source.blocked(seen, direction);
        }
    }

    fn reader(&self, direction: Direction) -> thread::JoinHandle<()> {
        let socket = self.clone();
        thread::spawn(move || block_on(socket.read(direction)))
    }
}

/// Counts its wakes. Not an atomic of loom's, which would only add interleavings.
#[derive(Default)]
struct Wakes(std::sync::atomic::AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn two_arrivals_for_one_reader() {
    model(|| {
        let socket = Socket::new();
        let reader = thread::spawn({
            let socket = socket.clone();
            move || {
                block_on(socket.read(Read));
                block_on(socket.read(Read));
            }
        });
        socket.arrive(Read);
        socket.arrive(Read);
        reader.join().unwrap();
    });
}

/// A second arrival may come between the first's short read and what that says about readiness.
#[test]
fn two_arrivals_for_one_reader_of_more() {
    model(|| {
        let socket = Socket::new();
        let reader = thread::spawn({
            let socket = socket.clone();
            move || {
                let mut taken = 0;
                while taken < 2 {
                    taken += block_on(socket.read_all(Read));
                }
            }
        });
        socket.arrive(Read);
        socket.arrive(Read);
        reader.join().unwrap();
    });
}

/// All at once, on one word: the directions do not disturb each other, and each reader gets one of two arrivals.
#[test]
fn two_readers_and_a_writer() {
    bounded(2, || {
        let (socket, other) = (Socket::new(), Socket::new());
        let other = Socket {
            source: socket.source.clone(),
            ..other
        };
        let tasks = [
            socket.reader(Read),
            socket.reader(Read),
            other.reader(Write),
        ];
        socket.arrive(Read);
        other.arrive(Write);
        socket.arrive(Read);
        for task in tasks {
            task.join().unwrap();
        }
    });
}

#[test]
fn two_readers_and_two_arrivals() {
    model(|| {
        let socket = Socket::new();
        let readers = [socket.reader(Read), socket.reader(Read)];
        socket.arrive(Read);
        socket.arrive(Read);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

/// The two directions share a word: what one clears does not touch the other.
#[test]
fn a_reader_and_a_writer() {
    model(|| {
        let (socket, other) = (Socket::new(), Socket::new());
        // The other direction of the same source, with something of its own to take.
        let other = Socket {
            source: socket.source.clone(),
            ..other
        };
        let tasks = [socket.reader(Read), other.reader(Write)];
        socket.arrive(Read);
        other.arrive(Write);
        for task in tasks {
            task.join().unwrap();
        }
    });
}

/// A task begins to wait with one waker and goes on with another, in either of the two ways to wait. The event wakes the
/// last.
fn the_last_waker_is_woken(by_poll: bool) {
    model(move || {
        let socket = Socket::new();
        let mut wait = pin!(socket.source.wait(Read));
        let mut poll = |context: &mut Context<'_>| {
            if by_poll {
                socket.source.poll(Read, context)
            } else {
                wait.as_mut().poll(context)
            }
        };
        assert!(poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let turn = thread::spawn({
            let socket = socket.clone();
            move || socket.arrive(Read)
        });
        block_on(poll_fn(|context| poll(context).map(drop)));
        assert!(socket.take());
        turn.join().unwrap();
    });
}

#[test]
fn the_last_waker_of_a_future_is_woken() {
    the_last_waker_is_woken(false);
}

#[test]
fn the_last_waker_of_a_poll_is_woken() {
    the_last_waker_is_woken(true);
}

/// Two tasks share the one place of the `poll_*` functions: who loses it is woken, as is who has it when the event comes.
#[test]
fn two_tasks_in_one_place() {
    model(|| {
        let socket = Socket::new();
        let wakes = [Arc::new(Wakes::default()), Arc::new(Wakes::default())];
        let tasks = wakes.each_ref().map(|wakes| {
            let (socket, waker) = (socket.clone(), Waker::from(wakes.clone()));
            thread::spawn(move || {
                let context = &mut Context::from_waker(&waker);
                socket.source.poll(Read, context).is_ready()
            })
        });
        socket.source.event(Read);
        let ready = tasks.map(|task| task.join().unwrap());
        for (wakes, ready) in wakes.iter().zip(ready) {
            assert!(ready || wakes.0.load(SeqCst) == 1, "one was forgotten");
        }
    });
}

/// One of two waiting futures is dropped while the event comes: the other is woken.
#[test]
fn a_waiter_that_leaves() {
    model(|| {
        let socket = Socket::new();
        let leaver = thread::spawn({
            let socket = socket.clone();
            move || {
                let mut wait = Box::pin(socket.source.wait(Read));
                let context = &mut Context::from_waker(Waker::noop());
                let _ = wait.as_mut().poll(context).is_ready();
                drop(wait);
            }
        });
        let reader = socket.reader(Read);
        socket.arrive(Read);
        leaver.join().unwrap();
        reader.join().unwrap();
    });
}
