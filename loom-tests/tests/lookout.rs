//! The watch sleeps in an alarm, a waker rings it, and a worker that moves puts its end off, all at once.
//!
//! Whatever the order: the ring ends the sleep, or keeps it from beginning, and the one who was woken sees what its waker
//! wrote before. The alarm of these models never ends by itself, so a ring that is lost is a sleep for ever.
//!
//! twin: lookout-ring-put-off
//! twin: lookout-ring-unheeded

#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::thread;
use peu_loom_tests::driver::{ModelAlarm, ModelDriver};
use peu_loom_tests::model;
use peu_scheduler::Alarm;
use peu_scheduler::internals::{Lookout, Parker};
use std::sync::Arc;
use std::time::Duration;

/// An alarm whose ends are rings, or never.
struct Endless(ModelAlarm);

impl Alarm for Endless {
    fn set(&self, after: Duration) {
        self.0.set(if after.is_zero() {
            after
        } else {
            Duration::MAX
        });
    }

    fn wait(&self) {
        self.0.wait();
    }
}

/// The watch, its place, and something that its waker writes before it wakes. loom fails the model if the watch's look is
/// not ordered after that.
struct Post {
    driver: ModelDriver,
    parker: Parker,
    lookout: Lookout,
    message: UnsafeCell<usize>,
}

// SAFETY: loom checks every access to the cell.
unsafe impl Send for Post {}
// SAFETY: as above.
unsafe impl Sync for Post {}

impl Post {
    fn new() -> Arc<Post> {
        let post = Post {
            driver: ModelDriver::new(),
            parker: Parker::new(),
            lookout: Lookout::new(Some(Box::new(Endless(ModelAlarm::default())))),
            message: UnsafeCell::new(0),
        };
        post.parker.bind();
        Arc::new(post)
    }

    fn sleep(&self) -> bool {
        self.lookout
            .sleep(&self.parker, Duration::from_millis(8), Some(8_000))
    }

    fn wake_with(&self, message: usize) {
        // SAFETY: checked by loom.
        self.message.with_mut(|place| unsafe { *place = message });
        self.parker.unpark(&self.driver, &self.lookout);
    }

    fn message(&self) -> usize {
        // SAFETY: checked by loom.
        self.message.with(|place| unsafe { *place })
    }

    fn put_off(self: &Arc<Self>) -> thread::JoinHandle<()> {
        let post = self.clone();
        thread::spawn(move || {
            if post.lookout.is_due_soon(5_000) {
                post.lookout.put_off(5_000);
            }
        })
    }
}

#[test]
fn a_ring_against_a_worker_that_puts_off() {
    model(|| {
        let post = Post::new();
        let worker = post.put_off();
        let waker = thread::spawn({
            let post = post.clone();
            move || post.wake_with(1)
        });
        assert!(post.sleep());
        assert_eq!(post.message(), 1);
        worker.join().unwrap();
        waker.join().unwrap();
    });
}

/// The first ring may be late, and end the second sleep, for which there is a ring of its own.
#[test]
fn two_rings_against_two_sleeps() {
    model(|| {
        let post = Post::new();
        let wake = |message| {
            let post = post.clone();
            thread::spawn(move || post.wake_with(message))
        };
        for message in [1, 2] {
            let waker = wake(message);
            while !post.sleep() {}
            assert_eq!(post.message(), message);
            waker.join().unwrap();
        }
    });
}
