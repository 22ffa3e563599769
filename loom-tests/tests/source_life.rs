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
use std::sync::Arc;

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
