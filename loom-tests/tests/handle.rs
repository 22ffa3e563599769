//! Handles on a reactor that are made on a thread inside of it, and dropped elsewhere.
//!
//! Whatever the order: the reactor is there as long as somebody has a handle or is inside, and is freed with the last.
//!
//! twin: handle-references-late

#![cfg(loom)]

use loom::thread;
use peu_loom_tests::model;
use peu_reactor::{Offload, Reactor};
use std::io;
use std::sync::Arc;

/// The reactor has one reference to this, as long as it is there.
struct Probe;

impl Offload for Probe {
    fn offload(&self, _: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn probed() -> (Reactor, Arc<Probe>) {
    let probe = Arc::new(Probe);
    let reactor = Reactor::builder().offload(probe.clone()).build().unwrap();
    (reactor, probe)
}

/// Uses the reactor, which lets other threads go on. If it is gone, nobody is to follow a pointer to it any more.
fn check<T>(reactor: &Reactor, probe: &Arc<Probe>, others: T) -> T {
    if Arc::strong_count(probe) == 1 {
        std::mem::forget(others);
        panic!("it is freed while somebody has a handle");
    }
    assert!(!reactor.is_closed());
    others
}

#[test]
fn handles_made_inside_are_dropped_outside() {
    model(|| {
        let (reactor, probe) = probed();
        let reactor = std::mem::ManuallyDrop::new(reactor);
        let mut entered = reactor.enter();
        let handles = [Reactor::clone(&reactor), Reactor::current().unwrap()];
        let dropping = thread::spawn(move || drop(handles));
        entered = check(&reactor, &probe, entered);
        dropping.join().unwrap();
        entered = check(&reactor, &probe, entered);
        drop(entered);
        drop(std::mem::ManuallyDrop::into_inner(reactor));
        assert_eq!(Arc::strong_count(&probe), 1, "it is freed");
    });
}

/// Two threads inside, one of which has the handles of the other: whoever leaves last frees.
#[test]
fn two_threads_inside() {
    model(|| {
        let (reactor, probe) = probed();
        let other = thread::spawn({
            let (reactor, probe) = (reactor.clone(), probe.clone());
            move || {
                let entered = reactor.enter();
                let entered = check(&reactor, &probe, entered);
                let made = Reactor::current().unwrap();
                drop(entered);
                drop(reactor);
                made
            }
        });
        let entered = reactor.enter();
        let mine = Reactor::current().unwrap();
        let entered = check(&reactor, &probe, entered);
        let made = other.join().unwrap();
        drop((mine, made));
        drop(check(&reactor, &probe, entered));
        drop(reactor);
        assert_eq!(Arc::strong_count(&probe), 1, "it is freed");
    });
}
