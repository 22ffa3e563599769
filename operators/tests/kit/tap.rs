use futures_core::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A consumer that polls when the test says so, and counts how often it is woken.
pub(crate) struct Tap<S> {
    stream: Pin<Box<S>>,
    wakes: Arc<Count>,
}

impl<S: Stream> Tap<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream: Box::pin(stream),
            wakes: Arc::default(),
        }
    }

    pub(crate) fn poll(&mut self) -> Poll<Option<S::Item>> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.stream
            .as_mut()
            .poll_next(&mut Context::from_waker(&waker))
    }

    /// The next item, if one is there.
    pub(crate) fn next_now(&mut self) -> Option<S::Item> {
        match self.poll() {
            Poll::Ready(item) => item,
            Poll::Pending => None,
        }
    }

    pub(crate) fn is_over(&mut self) -> bool {
        matches!(self.poll(), Poll::Ready(None))
    }

    /// How often it was woken since last asked.
    pub(crate) fn wakes(&self) -> usize {
        self.wakes.take()
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }
}

/// Counts its wake-ups.
#[derive(Default)]
pub(crate) struct Count(AtomicUsize);

impl Count {
    pub(crate) fn add(&self) {
        // ORDERING: Relaxed, tests that count wake-ups have one thread.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn take(&self) -> usize {
        // ORDERING: Relaxed, as above.
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.add();
    }
}
