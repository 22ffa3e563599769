//! A future that several requests wait for, and that none of them owns.
//!
//! Whoever of its passengers is polled drives it. It belongs to no task, so nothing has to be spawned; and when the one
//! that drove it leaves, because its record timed out or its stage ended, another drives on. With the last passenger
//! the future is dropped.
//!
//! # Why nobody waits for ever
//!
//! The future's waker is the flight itself. When it is called, the flight is `due`, and one passenger's waker is taken
//! and called; that passenger polls, finds the flight due and drives it. Should it leave instead, it finds the flight due
//! while it leaves, and wakes another. A wake-up that comes while somebody drives leaves the flight due, and whoever
//! drives sees that when it puts the future back. When the future is ready, every passenger is woken that is not the
//! one who sees it.
//!
//! All of it is under one mutex. Wakers are called, and futures polled and dropped, while it is not held.

use crate::panics::caught;
use crate::sync::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// A future of any type.
pub(crate) type BoxFuture<Out> = Pin<Box<dyn Future<Output = Out> + Send>>;

/// What came of a flight; the message, if it panicked.
pub(crate) type Landed<Out> = Result<Out, String>;

pub(crate) struct Flight<Out> {
    state: Mutex<State<Out>>,
}

struct State<Out> {
    /// None: somebody polls it, or it has landed.
    future: Option<BoxFuture<Out>>,
    /// The future was woken, or never polled.
    due: bool,
    landed: Option<Landed<Out>>,
    /// The last passenger left before it landed.
    is_cancelled: bool,
    seats: Vec<Seat>,
}

enum Seat {
    Free,
    /// Its passenger has been woken, or was never polled.
    Awake,
    Asleep(Waker),
}

impl<Out: Clone + Send + 'static> Flight<Out> {
    pub(crate) fn new(future: BoxFuture<Out>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                future: Some(future),
                due: true,
                landed: None,
                is_cancelled: false,
                seats: Vec::new(),
            }),
        })
    }

    /// Takes a seat, which is named by an index; the passenger polls at once, and owes a `leave`. None: everybody left
    /// before it landed, and it never will.
    pub(crate) fn board(&self) -> Option<usize> {
        let mut state = self.state.lock();
        if state.is_cancelled {
            return None;
        }
        let free = state
            .seats
            .iter()
            .position(|seat| matches!(seat, Seat::Free));
        let seat = free.unwrap_or(state.seats.len());
        match free {
            Some(seat) => state.seats[seat] = Seat::Awake,
            None => state.seats.push(Seat::Awake),
        }
        Some(seat)
    }

    pub(crate) fn poll(self: &Arc<Self>, seat: usize, cx: &Context<'_>) -> Poll<Landed<Out>> {
        let mut state = self.state.lock();
        if let Some(landed) = &state.landed {
            return Poll::Ready(landed.clone());
        }
        state.seats[seat] = Seat::Asleep(cx.waker().clone());
        let future = match state.due {
            true => state.future.take(),
            false => None,
        };
        let Some(future) = future else {
            return Poll::Pending;
        };
        state.due = false;
        drop(state);
        self.drive(future, seat, cx)
    }

    fn drive(
        self: &Arc<Self>,
        mut future: BoxFuture<Out>,
        seat: usize,
        cx: &Context<'_>,
    ) -> Poll<Landed<Out>> {
        let waker = Waker::from(Arc::clone(self));
        let polled = caught(|| future.as_mut().poll(&mut Context::from_waker(&waker)));
        let landed = match polled {
            Ok(Poll::Pending) => {
                let mut state = self.state.lock();
                state.future = Some(future);
                if state.due {
                    drop(state);
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            Ok(Poll::Ready(output)) => Ok(output),
            Err(message) => Err(message),
        };
        let _ = caught(|| drop(future));
        self.land(landed.clone(), seat);
        Poll::Ready(landed)
    }

    fn land(&self, landed: Landed<Out>, driver: usize) {
        let mut state = self.state.lock();
        state.landed = Some(landed);
        state.seats[driver] = Seat::Awake;
        let asleep: Vec<Waker> = state.seats.iter_mut().filter_map(Seat::wake).collect();
        drop(state);
        asleep.into_iter().for_each(Waker::wake);
    }

    #[cfg(feature = "cache")]
    pub(crate) fn has_landed(&self) -> bool {
        self.state.lock().landed.is_some()
    }

    /// Gives a seat back. True: the flight has not landed, and no one is left; its future is dropped.
    #[must_use]
    pub(crate) fn leave(&self, seat: usize) -> bool {
        let mut state = self.state.lock();
        let mut left = std::mem::replace(&mut state.seats[seat], Seat::Free);
        if state.landed.is_some() {
            return false;
        }
        let is_empty = state.seats.iter().all(|seat| matches!(seat, Seat::Free));
        state.is_cancelled = is_empty;
        let future = match is_empty {
            true => state.future.take(),
            false => None,
        };
        let next = match state.due {
            true => state.seats.iter_mut().find_map(Seat::wake),
            false => None,
        };
        drop(state);
        let _ = caught(|| drop(future));
        if let Some(next) = next {
            next.wake();
        }
        drop(left.wake());
        is_empty
    }
}

impl Seat {
    /// The waker to call, if the passenger sleeps.
    fn wake(&mut self) -> Option<Waker> {
        match std::mem::replace(self, Self::Awake) {
            Self::Asleep(waker) => Some(waker),
            Self::Awake => None,
            Self::Free => {
                *self = Self::Free;
                None
            }
        }
    }
}

impl<Out: Send + 'static> Wake for Flight<Out> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.landed.is_some() || std::mem::replace(&mut state.due, true) {
            return;
        }
        let driver = state.seats.iter_mut().find_map(Seat::wake);
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Flight;
    use futures_lite::future::{block_on, poll_fn};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            // ORDERING: Relaxed, a count read by the same thread.
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn passenger() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    fn taken(count: &Count) -> usize {
        // ORDERING: Relaxed, a count read by the same thread.
        count.0.swap(0, Ordering::Relaxed)
    }

    /// Whether it is open, and who waits for that.
    type Gate = Arc<parking_lot::Mutex<(bool, Option<Waker>)>>;

    /// A flight whose future is ready once the gate has been told so, and the gate.
    fn gated() -> (Arc<Flight<u64>>, Gate) {
        let gate = Arc::new(parking_lot::Mutex::new((false, None::<Waker>)));
        let seen = Arc::clone(&gate);
        let future = poll_fn(move |cx| {
            let mut gate = seen.lock();
            gate.1 = Some(cx.waker().clone());
            match gate.0 {
                true => Poll::Ready(7),
                false => Poll::Pending,
            }
        });
        (Flight::new(Box::pin(future)), gate)
    }

    #[test]
    fn when_the_one_that_drives_leaves_another_drives_on() {
        let (flight, gate) = gated();
        let (one, waker_of_one) = passenger();
        let (other, waker_of_other) = passenger();
        let seats = [(); 2].map(|()| flight.board().expect("nobody left"));
        assert!(
            flight
                .poll(seats[0], &Context::from_waker(&waker_of_one))
                .is_pending()
        );
        assert!(
            flight
                .poll(seats[1], &Context::from_waker(&waker_of_other))
                .is_pending()
        );
        gate.lock().0 = true;
        let waker = gate.lock().1.clone().expect("it was polled");
        waker.wake();
        assert_eq!((taken(&one), taken(&other)), (1, 0), "one is enough");
        assert!(!flight.leave(seats[0]));
        assert_eq!(taken(&other), 1, "it was due");
        let landed = flight.poll(seats[1], &Context::from_waker(&waker_of_other));
        assert_eq!(landed, Poll::Ready(Ok(7)));
        assert!(!flight.leave(seats[1]));
    }

    #[test]
    fn all_are_woken_when_it_lands_and_the_last_to_leave_cancels() {
        let (flight, gate) = gated();
        let (one, waker) = passenger();
        let seats = [(); 3].map(|()| flight.board().expect("nobody left"));
        for seat in seats {
            assert!(flight.poll(seat, &Context::from_waker(&waker)).is_pending());
        }
        gate.lock().0 = true;
        let due = gate.lock().1.take().expect("it was polled");
        due.wake();
        assert_eq!(taken(&one), 1);
        assert!(
            flight
                .poll(seats[0], &Context::from_waker(&waker))
                .is_ready()
        );
        assert_eq!(taken(&one), 2);

        let (flight, gate) = gated();
        let seats = [(); 2].map(|()| flight.board().expect("nobody left"));
        assert!(!flight.leave(seats[0]));
        assert_eq!(Arc::strong_count(&gate), 2);
        assert!(flight.leave(seats[1]));
        assert_eq!(Arc::strong_count(&gate), 1, "its future is dropped");
        assert_eq!(flight.board(), None);
    }

    #[test]
    fn a_panic_is_told_to_every_passenger() {
        let flight: Arc<Flight<u64>> = Flight::new(Box::pin(async { panic!("lost") }));
        let (_, waker) = passenger();
        for seat in [(); 2].map(|()| flight.board().expect("nobody left")) {
            let landed = flight.poll(seat, &Context::from_waker(&waker));
            assert_eq!(landed, Poll::Ready(Err("lost".into())));
        }
    }

    #[test]
    fn on_threads_every_passenger_arrives_whoever_leaves() {
        for round in 0..200 {
            let mut pauses = 0;
            let flight = Flight::new(Box::pin(poll_fn(move |cx| {
                pauses += 1;
                cx.waker().wake_by_ref();
                match pauses {
                    0..20 => Poll::Pending,
                    _ => Poll::Ready(round),
                }
            })));
            let start = Barrier::new(4);
            thread::scope(|scope| {
                for passenger in 0..4 {
                    let (flight, start) = (&flight, &start);
                    scope.spawn(move || {
                        let seat = flight.board().expect("one that left boarded before");
                        start.wait();
                        let mut polls = 0;
                        let landed = block_on(poll_fn(|cx| {
                            polls += 1;
                            match flight.poll(seat, cx) {
                                Poll::Pending if passenger == 0 && polls > 5 => {
                                    Poll::Ready(Ok(round))
                                }
                                polled => polled,
                            }
                        }));
                        let _ = flight.leave(seat);
                        assert_eq!(landed, Ok(round));
                    });
                }
            });
        }
    }
}
