//! Where an answer is left for one who waits: the answer or the waker, whichever comes first, under one lock.
//!
//! Who waits leaves its waker under the lock under which it saw no answer. So the answer comes before that look, and is seen, or finds
//! the waker.

use crate::sync::{Mutex, twin};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Shared by the one who answers and the one who waits.
pub(crate) struct Place<T>(Arc<Mutex<Contents<T>>>);

struct Contents<T> {
    answer: Option<T>,
    waker: Option<Waker>,
}

impl<T> Place<T> {
    pub(crate) fn new() -> Place<T> {
        Place(Arc::new(Mutex::new(Contents {
            answer: None,
            waker: None,
        })))
    }

    /// Leaves the answer and tells who waits. The first one counts.
    pub(crate) fn leave(&self, answer: T) {
        let mut contents = self.0.lock();
        let late = match contents.answer {
            Some(_) => Some(answer),
            None => {
                contents.answer = Some(answer);
                None
            }
        };
        let waker = contents.waker.take();
        drop(contents);
        drop(late);
        if let Some(waker) = waker
            && !twin("place-answer-unrung")
        {
            waker.wake();
        }
    }

    /// Waits for the answer and takes it.
    pub(crate) async fn take(&self) -> T {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&self, context: &Context<'_>) -> Poll<T> {
        let waker = context.waker().clone();
        let mut contents = self.0.lock();
        if let Some(answer) = contents.answer.take() {
            return Poll::Ready(answer);
        }
        if twin("place-waiter-late") {
            drop(contents);
            contents = self.0.lock();
        }
        let replaced = contents.waker.replace(waker);
        drop(contents);
        drop(replaced);
        Poll::Pending
    }
}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Place<T> {
        Place(Arc::clone(&self.0))
    }
}
