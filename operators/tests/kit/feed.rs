use futures_core::Stream;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// The test's end of a scripted input.
pub(crate) struct Feed<T = u64>(Arc<Mutex<State<T>>>);

/// The stage's end.
pub(crate) struct Source<T = u64>(Feed<T>);

struct State<T> {
    items: VecDeque<Item<T>>,
    waker: Option<Waker>,
    over: bool,
    dropped: bool,
}

enum Item<T> {
    Record(T),
    End,
    Panic,
}

impl<T> Feed<T> {
    pub(crate) fn new() -> (Self, Source<T>) {
        let state = Arc::new(Mutex::new(State {
            items: VecDeque::new(),
            waker: None,
            over: false,
            dropped: false,
        }));
        (Self(Arc::clone(&state)), Source(Self(state)))
    }

    pub(crate) fn push(&self, record: T) {
        self.add(Item::Record(record));
    }

    pub(crate) fn end(&self) {
        self.add(Item::End);
    }

    pub(crate) fn panic(&self) {
        self.add(Item::Panic);
    }

    fn add(&self, item: Item<T>) {
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

impl<T> Stream for Source<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let item = {
            let mut state = self.0.0.lock().unwrap();
            assert!(!state.over, "the input was polled after its end");
            let item = state.items.pop_front();
            match &item {
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

impl<T> Drop for Source<T> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().dropped = true;
    }
}
