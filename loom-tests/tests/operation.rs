//! Operations of a whole reactor: turns that perform them against cancelling, closing, and each other.
//!
//! Whatever the order: the callback is called once, by one side, with the operation and its buffer, whether it was performed,
//! cancelled before or during an attempt, or closed; and operations on one source are performed in their order.
//!
//! The reactor is the real one, on real descriptors; its turns don't wait, and no descriptor ever changes, so that each
//! run of an interleaving is the same.
//!
//! bound: the model of two turns has four preemptions, one more than usual, for it takes less than a second with them.
//!
//! twin: operation-cancel-unmarked
//! twin: operation-two-at-once

#![cfg(loom)]

use loom::sync::Mutex;
use loom::thread;
use peu_loom_tests::{bounded, model};
use peu_reactor::{Async, Direction, Operation, Reactor, Source, Turned};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What happened.
#[derive(Clone)]
struct Log {
    /// Not an atomic of loom's, which would only add interleavings.
    calls: Arc<AtomicUsize>,
    /// This one is loom's, so that it tries attempts in every order.
    performed: Arc<Mutex<Vec<usize>>>,
    /// Held by each operation, as its buffer.
    buffer: Arc<()>,
}

impl Log {
    fn new() -> Log {
        Log {
            calls: Arc::default(),
            performed: Arc::new(Mutex::new(Vec::new())),
            buffer: Arc::default(),
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

struct Probe {
    stream: Arc<Async<UnixStream>>,
    number: usize,
    /// Attempts that would block before one succeeds.
    blocks: usize,
    log: Log,
    _buffer: Arc<()>,
}

impl Operation for Probe {
    type Output = ();

    fn source(&self) -> &Source {
        self.stream.source()
    }

    fn direction(&self) -> Direction {
        Direction::Read
    }

    fn execute(&mut self) -> io::Result<()> {
        let mut performed = self.log.performed.lock().unwrap();
        if self.blocks > 0 {
            self.blocks -= 1;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        performed.push(self.number);
        Ok(())
    }
}

struct Setting {
    reactor: Reactor,
    stream: Arc<Async<UnixStream>>,
    _peer: UnixStream,
    log: Log,
}

impl Setting {
    fn new() -> Setting {
        let reactor = Reactor::new().unwrap();
        let (stream, peer) = UnixStream::pair().unwrap();
        let stream = Arc::new(Async::with_reactor(stream, &reactor).unwrap());
        // The edges that come with registering, so that the runs have none.
        reactor.turn(Some(Duration::ZERO)).unwrap();
        Setting {
            reactor,
            stream,
            _peer: peer,
            log: Log::new(),
        }
    }

    fn submit(&self, number: usize, blocks: usize) -> peu_reactor::Key {
        let (log, buffer) = (self.log.clone(), self.log.buffer.clone());
        let probe = Probe {
            stream: self.stream.clone(),
            number,
            blocks,
            log,
            _buffer: buffer,
        };
        let told = |probe: Probe, _| _ = probe.log.calls.fetch_add(1, Ordering::SeqCst);
        self.reactor.submit(probe, told).unwrap()
    }

    /// A thread that takes a turn.
    fn turner(&self) -> thread::JoinHandle<()> {
        let reactor = self.reactor.clone();
        thread::spawn(move || {
            // Closed, claimed or taken: all of it is allowed.
            let _turned = reactor.turn(Some(Duration::ZERO));
        })
    }

    /// Whoever holds an operation has dropped it with its buffer.
    fn end(self, operations: usize) {
        self.reactor.close();
        assert_eq!(self.log.calls(), operations);
        assert_eq!(Arc::strong_count(&self.log.buffer), 1, "a buffer is left");
    }
}

/// It is called back by the one who cancels, or by the turn, which has ended.
fn cancelled(blocks: usize) {
    model(move || {
        let setting = Setting::new();
        let key = setting.submit(0, blocks);
        let turner = setting.turner();
        let by_me = setting.reactor.cancel(key);
        assert!(!by_me || setting.log.calls() == 1);
        turner.join().unwrap();
        assert_eq!(setting.log.calls(), 1, "called once, by one side");
        setting.end(1);
    });
}

#[test]
fn cancelled_against_a_turn_that_performs_it() {
    cancelled(0);
}

#[test]
fn cancelled_against_a_turn_that_finds_nothing() {
    cancelled(1);
}

#[test]
fn closed_against_a_turn() {
    model(|| {
        let setting = Setting::new();
        setting.submit(0, 1);
        let turner = setting.turner();
        setting.reactor.close();
        turner.join().unwrap();
        setting.end(1);
    });
}

/// Two turns at the same time, each with its batch.
#[test]
fn two_turns_keep_the_order() {
    bounded(4, || {
        let setting = Setting::new();
        setting.submit(0, 0);
        let first = setting.turner();
        setting.submit(1, 0);
        let second = setting.turner();
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(
            setting.reactor.turn(Some(Duration::ZERO)).ok(),
            Some(Turned::Done(0))
        );
        assert_eq!(*setting.log.performed.lock().unwrap(), [0, 1]);
        setting.end(2);
    });
}
