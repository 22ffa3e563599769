//! A thread that runs one future, against wakes between its poll and its sleep.
//!
//! Whatever the order: a wake leads to one more poll, which sees what the waker wrote before it.
//!
//! twin: block-on-cleared-late
//! twin: block-on-relaxed-wake

#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use peu_loom_tests::model;
use peu_scheduler::block_on;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A message that is not atomic: loom fails the model if reading it is not ordered after writing it.
struct Message {
    written: AtomicUsize,
    text: UnsafeCell<usize>,
}

// SAFETY: loom checks every access to the cell.
unsafe impl Send for Message {}
// SAFETY: as above.
unsafe impl Sync for Message {}

impl Message {
    fn new() -> Arc<Message> {
        Arc::new(Message {
            written: AtomicUsize::new(0),
            text: UnsafeCell::new(0),
        })
    }

    fn write_and_wake(self: &Arc<Self>, waker: &Waker) -> thread::JoinHandle<()> {
        let (message, waker) = (self.clone(), waker.clone());
        thread::spawn(move || {
            // SAFETY: checked by loom.
            message.text.with_mut(|text| unsafe { *text = 1 });
            // Relaxed: only the wake that comes after it makes the text visible.
            message.written.fetch_add(1, Ordering::Relaxed);
            waker.wake();
        })
    }
}

#[test]
fn a_wake_makes_visible_what_came_before_it() {
    model(|| {
        let message = Message::new();
        let mut thread = None;
        block_on(poll_fn(|cx: &mut Context<'_>| {
            if thread.is_none() {
                thread = Some(message.write_and_wake(cx.waker()));
                return Poll::Pending;
            }
            // Nobody else wakes: this poll is the wake's.
            // SAFETY: checked by loom.
            assert_eq!(message.text.with(|text| unsafe { *text }), 1);
            Poll::Ready(())
        }));
        thread.unwrap().join().unwrap();
    });
}

/// The second wake may find the first not taken yet, and rings no bell; it is not lost all the same.
#[test]
fn two_wakes_during_one_poll() {
    model(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let mut threads = Vec::new();
        block_on(poll_fn(|cx: &mut Context<'_>| {
            if threads.is_empty() {
                threads.extend([0, 1].map(|_| {
                    let (count, waker) = (count.clone(), cx.waker().clone());
                    thread::spawn(move || {
                        count.fetch_add(1, Ordering::Relaxed);
                        waker.wake();
                    })
                }));
            }
            if count.load(Ordering::Relaxed) == 2 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        for thread in threads {
            thread.join().unwrap();
        }
    });
}
