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

#[cfg(test)]
mod tests {
    use super::super::operator::{Ask, Step};
    use super::{Entry, Exit, lane_queue};
    use crate::element::{Element, Mark};
    use crate::error::Cause;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    /// Counts how often its waker is called.
    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wakes {
        /// Since the last time.
        fn count(&self) -> usize {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    struct Ends {
        entry: Entry<u32>,
        exit: Exit<u32>,
        router: Arc<Wakes>,
        lane: Arc<Wakes>,
    }

    impl Ends {
        fn with_places(places: usize) -> Ends {
            let (entry, exit) = lane_queue(places);
            Ends {
                entry,
                exit,
                router: Arc::default(),
                lane: Arc::default(),
            }
        }

        fn has_place(&mut self) -> bool {
            let waker = Waker::from(Arc::clone(&self.router));
            let place = self.entry.poll_place(&Context::from_waker(&waker));
            place.map(|place| assert!(place.is_ok())).is_ready()
        }

        fn put(&mut self, record: u32) {
            self.entry.put(Element::Record(record, None));
        }

        fn poll(&self, ask: Ask) -> Poll<Step<u32>> {
            let waker = Waker::from(Arc::clone(&self.lane));
            self.exit.poll_take(&Context::from_waker(&waker), ask)
        }

        /// The record that is next.
        fn take(&self, ask: Ask) -> Option<u32> {
            match self.poll(ask) {
                Poll::Ready(Some(Ok(Element::Record(record, _)))) => Some(record),
                _ => None,
            }
        }
    }

    #[test]
    fn there_are_as_many_places_as_it_was_given_again_and_again() {
        let mut ends = Ends::with_places(2);
        for round in 0..3 {
            for record in 0..2 {
                assert!(ends.has_place());
                ends.put(2 * round + record);
            }
            assert!(!ends.has_place());
            assert_eq!(ends.take(Ask::Next), Some(2 * round));
            assert_eq!(ends.router.count(), 1, "there is a place");
            assert_eq!(ends.take(Ask::Next), Some(2 * round + 1));
            assert_eq!(ends.router.count(), 0, "it knows already");
        }
    }

    #[test]
    fn a_place_stays_taken_until_there_is_room_for_the_next() {
        let mut ends = Ends::with_places(1);
        ends.put(1);
        assert!(!ends.has_place());
        assert_eq!(ends.take(Ask::OnlyBarrier), Some(1));
        assert_eq!(ends.router.count(), 0);
        assert!(!ends.has_place());
        assert!(ends.poll(Ask::Next).is_pending());
        assert_eq!(ends.router.count(), 1);
        assert!(ends.has_place());
    }

    #[test]
    fn what_comes_in_without_a_place_takes_one_later() {
        let mut ends = Ends::with_places(1);
        (0..3).for_each(|record| ends.put(record));
        for record in 0..2 {
            assert_eq!(ends.take(Ask::Next), Some(record));
            assert!(!ends.has_place(), "it is owed");
        }
        assert_eq!(ends.take(Ask::Next), Some(2));
        assert!(ends.has_place());
    }

    #[test]
    fn a_mark_takes_no_place_and_wakes_the_lane() {
        let mut ends = Ends::with_places(1);
        assert!(ends.poll(Ask::Next).is_pending());
        ends.entry.put(Element::Mark(Mark::Idle));
        assert_eq!(ends.lane.count(), 1);
        assert!(ends.has_place());
        let mark = ends.poll(Ask::Next);
        assert!(matches!(
            mark,
            Poll::Ready(Some(Ok(Element::Mark(Mark::Idle))))
        ));
        assert!(ends.has_place());
        ends.put(1);
        assert!(!ends.has_place(), "the mark gave none back");
    }

    #[test]
    fn the_end_comes_behind_everything_and_goes_on() {
        let mut ends = Ends::with_places(1);
        ends.put(1);
        let Ends {
            entry, exit, lane, ..
        } = ends;
        let waker = Waker::from(Arc::clone(&lane));
        let cx = Context::from_waker(&waker);
        assert!(matches!(
            exit.poll_take(&cx, Ask::Next),
            Poll::Ready(Some(Ok(_)))
        ));
        assert!(exit.poll_take(&cx, Ask::Next).is_pending());
        entry.end(Ok(()));
        assert_eq!(lane.count(), 1);
        for _ in 0..2 {
            assert!(matches!(exit.poll_take(&cx, Ask::Next), Poll::Ready(None)));
        }
    }

    #[test]
    fn a_router_that_is_dropped_is_told_once() {
        let Ends {
            entry, exit, lane, ..
        } = Ends::with_places(1);
        let waker = Waker::from(Arc::clone(&lane));
        let cx = Context::from_waker(&waker);
        assert!(exit.poll_take(&cx, Ask::Next).is_pending());
        drop(entry);
        assert_eq!(lane.count(), 1);
        let Poll::Ready(Some(Err(error))) = exit.poll_take(&cx, Ask::Next) else {
            panic!("it has ended without a word")
        };
        assert!(matches!(error.cause(), Cause::Cancelled), "{error}");
        assert!(matches!(exit.poll_take(&cx, Ask::Next), Poll::Ready(None)));
    }

    #[test]
    fn a_lane_that_leaves_wakes_the_router_and_drops_what_comes() {
        let held = Arc::new(());
        let (mut entry, exit) = lane_queue(1);
        let record = || Element::Record(Arc::clone(&held), None);
        let router = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&router));
        let cx = Context::from_waker(&waker);
        entry.put(record());
        assert!(entry.poll_place(&cx).is_pending());
        drop(exit);
        assert_eq!(router.count(), 1);
        assert!(matches!(entry.poll_place(&cx), Poll::Ready(Err(_))));
        entry.put(record());
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
