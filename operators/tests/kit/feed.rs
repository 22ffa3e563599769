use futures_core::Stream;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// The test's end of a scripted input.
#[derive(Clone)]
pub(crate) struct Feed(Arc<Mutex<State>>);

/// The stage's end.
pub(crate) struct Source(Feed);

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    waker: Option<Waker>,
    over: bool,
    dropped: bool,
}

#[derive(Clone, Copy)]
enum Item {
    Record(u64),
    End,
    Panic,
}

impl Feed {
    pub(crate) fn new() -> (Self, Source) {
        let feed = Self(Arc::default());
        (feed.clone(), Source(feed))
    }

    pub(crate) fn push(&self, record: u64) {
        self.add(Item::Record(record));
    }

    pub(crate) fn end(&self) {
        self.add(Item::End);
    }

    pub(crate) fn panic(&self) {
        self.add(Item::Panic);
    }

    fn add(&self, item: Item) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            state.items.push_back(item);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How many records the stage has not taken.
    pub(crate) fn left(&self) -> usize {
        self.0.lock().unwrap().items.len()
    }

    /// Whether the stage has let go of its input.
    pub(crate) fn is_dropped(&self) -> bool {
        self.0.lock().unwrap().dropped
    }
}

impl Stream for Source {
    type Item = u64;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let item = {
            let mut state = self.0.0.lock().unwrap();
            assert!(!state.over, "the input was polled after its end");
            let item = state.items.pop_front();
            match item {
                None => state.waker = Some(cx.waker().clone()),
                Some(Item::Record(_)) => {}
                Some(_) => state.over = true,
            }
            item
        };
        match item {
            None => Poll::Pending,
            Some(Item::Record(record)) => Poll::Ready(Some(record)),
            Some(Item::End) => Poll::Ready(None),
            Some(Item::Panic) => panic!("scripted panic of the input"),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().dropped = true;
    }
}
