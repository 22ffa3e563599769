//! A source that goes and one that takes its slot, against a turn that still has an event for the first.
//!
//! Whatever the order: an event reaches the source that it was reported for, or nobody; never the newcomer. And what is
//! taken out is freed.
//!
//! twin: events-generation-ignored

#![cfg(loom)]

use loom::thread;
use peu_loom_tests::model;
use peu_reactor::Direction::Read;
use peu_reactor::internals::{ModelEvents, ModelSource};
use peu_reactor::{Async, Reactor};
use std::io::{ErrorKind, Write, pipe};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

fn source() -> ModelSource {
    let source = ModelSource::new();
    source.exhaust();
    source
}

#[test]
fn a_late_event_and_a_newcomer() {
    model(|| {
        let events = Arc::new(ModelEvents::new());
        let first = source();
        let key = events.register(&first);
        let turn = thread::spawn({
            let events = events.clone();
            move || events.deliver(key, Read)
        });
        events.deregister(key);
        let second = source();
        let second_key = events.register(&second);
        let delivered = turn.join().unwrap();
        assert_eq!(first.is_ready(Read), delivered);
        assert!(!second.is_ready(Read), "a stale key reached the newcomer");
        assert!(events.deliver(second_key, Read) && second.is_ready(Read));
        assert_eq!(first.holders(), 1, "what was taken out is freed");
    });
}

/// Two sources come and go on two threads, through the same slots, and each has an event under way.
#[test]
fn two_owners_and_a_turn() {
    model(|| {
        let events = Arc::new(ModelEvents::new());
        let first = source();
        let key = events.register(&first);
        let owner = thread::spawn({
            let events = events.clone();
            move || {
                let own = source();
                let key = events.register(&own);
                events.deregister(key);
                assert!(!own.is_ready(Read), "nobody reported an event for it");
            }
        });
        let turn = thread::spawn({
            let events = events.clone();
            move || events.deliver(key, Read)
        });
        events.deregister(key);
        owner.join().unwrap();
        assert_eq!(turn.join().unwrap(), first.is_ready(Read));
        assert_eq!(first.holders(), 1, "what was taken out is freed");
    });
}

/// All of it real, descriptors too: the one that goes has an event in the kernel, which the turn has, or not, when the newcomer gets its
/// place. The turn doesn't wait, so that each run of an interleaving is the same. Pipes, because a socket would be writable, and so have an
/// event of its own.
#[test]
fn a_source_is_dropped_against_a_turn() {
    model(|| {
        let reactor = Reactor::new().unwrap();
        let [(first, mut writer), (second, _writer)] = [(); 2].map(|()| pipe().unwrap());
        let first = Async::with_reactor(first, &reactor).unwrap();
        writer.write_all(b"for the first").unwrap();
        let turn = thread::spawn({
            let reactor = reactor.clone();
            move || reactor.turn(Some(Duration::ZERO)).unwrap()
        });
        drop(first);
        let second = Async::with_reactor(second, &reactor).unwrap();
        let nothing = second.try_read_with(|_| Err::<(), _>(ErrorKind::WouldBlock.into()));
        assert_eq!(nothing.unwrap_err().kind(), ErrorKind::WouldBlock);
        turn.join().unwrap();
        let ready = second.poll_readable(&mut Context::from_waker(Waker::noop()));
        assert!(ready.is_pending(), "a stale key reached the newcomer");
        reactor.close();
    });
}
