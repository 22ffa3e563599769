//! What models of the scheduler are made of.

use loom::sync::{Condvar, Mutex};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

/// Something that a thread blocks for, as a task must not and sometimes does.
#[derive(Clone)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    #[expect(
        clippy::new_without_default,
        reason = "it exists only inside of a model, and says so by a call"
    )]
    pub fn new() -> Gate {
        Gate(Arc::new((Mutex::new(false), Condvar::new())))
    }

    /// Lets all pass who wait.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Blocks the thread until the gate is open.
    pub fn wait(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }
}

/// Whoever is woken with it opens the gate.
impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.open();
    }
}

/// Where a task waits until a model takes its waker and wakes it. Not a lock of loom's, which would only add interleavings.
#[derive(Clone, Default)]
pub struct Bed(Arc<std::sync::Mutex<Option<Waker>>>);

impl Bed {
    /// Waits, once.
    pub async fn rest(&self) {
        let mut rested = false;
        poll_fn(|context| {
            if std::mem::replace(&mut rested, true) {
                return Poll::Ready(());
            }
            *self.0.lock().unwrap() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The waker of the task that rests here, if it does.
    pub fn waker(&self) -> Option<Waker> {
        self.0.lock().unwrap().take()
    }
}
