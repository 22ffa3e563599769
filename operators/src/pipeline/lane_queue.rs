//! The bounded queue between a router and one of its lanes.
//!
//! Only records need places. A mark comes in always: there are few, and a barrier must not wait. Nor does it wait in the queue
//! until the lane has room: a lane that has none asks for the barrier alone, and is given what stands in front of it, for the
//! router can't put that into the checkpoint. But the places stay taken until the lane, which then has room, asks for the next
//! element. So what is in the queue and what was taken so are together never more than there are places, and what the
//! router could not leave where it was.
//!
//! A router that is dropped before it has told an end tells that it was: else its lanes would take a part of the
//! input for all of it.
//!
//! # Why nobody sleeps on
//!
//! All of it is under one mutex, and whoever is about to sleep leaves its waker under the lock under which it saw nothing to do.
//! So whatever ends the wait comes before that look, which then sees it, or finds the waker:
//!
//! - The lane finds no element and no end. Each element that is put in, a mark as well, and the end take its waker.
//! - The router has no place, and fetches none. A lane that gives one back takes its waker, and so does one that leaves, which no
//!   router waits for again: it looks for that first. Places that stay taken wake nobody, for the router could do nothing with
//!   the news.
//!
//! The router alone counts the places that it has left, and fetches under the lock what was given back. So a place is free
//! once for each record that was taken.

use super::operator::{Ask, Step};
use crate::element::Element;
use crate::error::{Cause, StageError};
use crate::sync::{Mutex, twin};
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A queue with so many places.
pub(super) fn lane_queue<T>(places: usize) -> (Entry<T>, Exit<T>) {
    let queue = Arc::new(Mutex::new(Queue {
        elements: VecDeque::new(),
        returned: 0,
        borrowed: 0,
        end: End::NotYet,
        has_left: false,
        router: None,
        lane: None,
    }));
    let entry = Entry {
        queue: Arc::clone(&queue),
        places: places as isize,
    };
    (entry, Exit(queue))
}

struct Queue<T> {
    elements: VecDeque<Element<T>>,
    /// Places given back by the lane, and not yet fetched by the router.
    returned: usize,
    /// Records that were taken, and keep their places.
    borrowed: usize,
    end: End,
    /// The lane was dropped.
    has_left: bool,
    /// While it waits for places.
    router: Option<Waker>,
    /// While it waits for elements.
    lane: Option<Waker>,
}

enum End {
    NotYet,
    /// To be told once, behind the last element.
    Failed(StageError),
    Told,
}

/// The router's end.
pub(super) struct Entry<T> {
    queue: Arc<Mutex<Queue<T>>>,
    /// Free places, as far as the router has fetched them; less than none if it had to put a record in all the same.
    places: isize,
}

/// Nobody listens in this lane any more.
pub(super) struct LaneClosed;

impl<T> Entry<T> {
    /// Ready when there is a place for a record.
    pub(super) fn poll_place(&mut self, cx: &Context<'_>) -> Poll<Result<(), LaneClosed>> {
        if self.places > 0 {
            return Poll::Ready(Ok(()));
        }
        let mut queue = self.queue.lock();
        if queue.has_left {
            return Poll::Ready(Err(LaneClosed));
        }
        self.places += mem::take(&mut queue.returned) as isize;
        if self.places > 0 {
            return Poll::Ready(Ok(()));
        }
        if twin("lane-router-late") {
            drop(queue);
            queue = self.queue.lock();
        }
        let replaced = queue.router.replace(cx.waker().clone());
        drop(queue);
        drop(replaced);
        Poll::Pending
    }

    /// Puts an element in, whether or not there is a place.
    pub(super) fn put(&mut self, element: Element<T>) {
        if !element.is_mark() {
            self.places -= 1;
        }
        let mut queue = self.queue.lock();
        let refused = match queue.has_left {
            true => Some(element),
            false => {
                queue.elements.push_back(element);
                None
            }
        };
        let lane = queue.lane.take();
        drop(queue);
        drop(refused);
        if let Some(lane) = lane
            && !twin("lane-element-unrung")
        {
            lane.wake();
        }
    }

    /// There is no more, and why, if that is not the end of the input.
    pub(super) fn end(self, end: Result<(), StageError>) {
        self.tell(match end {
            Ok(()) => End::Told,
            Err(error) => End::Failed(error),
        });
    }

    fn tell(&self, end: End) {
        let mut queue = self.queue.lock();
        if !matches!(queue.end, End::NotYet) {
            return;
        }
        queue.end = end;
        let lane = queue.lane.take();
        drop(queue);
        if let Some(lane) = lane
            && !twin("lane-end-unrung")
        {
            lane.wake();
        }
    }
}

impl<T> Drop for Entry<T> {
    fn drop(&mut self) {
        let stage = Arc::from("parallelism");
        self.tell(End::Failed(StageError::of_stage(stage, Cause::Cancelled)));
    }
}

/// The lane's end.
pub(super) struct Exit<T>(Arc<Mutex<Queue<T>>>);

impl<T> Exit<T> {
    pub(super) fn poll_take(&self, cx: &Context<'_>, ask: Ask) -> Poll<Step<T>> {
        let mut queue = self.0.lock();
        let element = queue.elements.pop_front();
        let is_record = element.as_ref().is_some_and(|element| !element.is_mark());
        queue.borrowed += usize::from(is_record);
        let router = match ask {
            Ask::Next => queue.give_back(),
            Ask::OnlyBarrier if twin("lane-borrowed-returned") => queue.give_back(),
            Ask::OnlyBarrier => None,
        };
        let step = match element {
            Some(element) => Poll::Ready(Some(Ok(element))),
            None => queue.poll_end(),
        };
        if step.is_pending() && twin("lane-taker-late") {
            drop(queue);
            queue = self.0.lock();
        }
        let replaced = match step.is_pending() {
            true => queue.lane.replace(cx.waker().clone()),
            false => None,
        };
        drop(queue);
        drop(replaced);
        if let Some(router) = router
            && !twin("lane-place-unrung")
        {
            router.wake();
        }
        step
    }
}

impl<T> Queue<T> {
    /// Gives back the places of all that was taken. The router, if it waits for one.
    fn give_back(&mut self) -> Option<Waker> {
        let more = mem::take(&mut self.borrowed);
        self.returned += more;
        match self.returned > 0 {
            true => self.router.take(),
            false => None,
        }
    }

    fn poll_end(&mut self) -> Poll<Step<T>> {
        match mem::replace(&mut self.end, End::Told) {
            End::Failed(error) => Poll::Ready(Some(Err(error))),
            End::Told => Poll::Ready(None),
            End::NotYet => {
                self.end = End::NotYet;
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Exit<T> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.has_left = true;
        let elements = mem::take(&mut queue.elements);
        let wakers = (queue.router.take(), queue.lane.take());
        drop(queue);
        drop(elements);
        if let (Some(router), _) = wakers
            && !twin("lane-leave-unrung")
        {
            router.wake();
        }
    }
}
