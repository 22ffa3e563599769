//! A future that several requests wait for, and that none of them owns.
//!
//! Whoever of its passengers is polled drives it. It belongs to no task, so nothing has to be spawned; and when the one
//! that drove it leaves, because its record timed out or its stage ended, another drives on. With the last passenger
//! the future is dropped.
//!
//! # Why nobody waits for ever
//!
//! The future's waker is the flight itself. When it is called, the flight is *due*, until somebody takes the future to
//! poll it. All of it is under one mutex, so these hold whenever that is free, until the flight lands or is cancelled:
//!
//! 1. **The future is in its place, or one passenger drives it**, who puts it back or lands, whatever the future does: a
//!    panic is caught. Nobody leaves while it drives, because it leaves by a drop of what it polls.
//! 2. **Who is due is looked for.** If the flight is due and nobody drives, some passenger is awake: it was woken, or has
//!    never been polled, and will therefore be polled or leave.
//!    - A wake-up makes the flight due and takes a sleeper's waker in one step, and calls it. If nobody sleeps and nobody
//!      drives, all are awake. If the flight is due already, this held before.
//!    - An awake passenger that is polled finds it due and drives, which ends it; unless somebody drives already.
//!    - An awake passenger that leaves finds it due, and wakes another.
//!    - A wake-up while somebody drives leaves the flight due, and whoever drives sees that when it puts the future back:
//!      it wakes itself, and is one that will be polled or leave.
//! 3. **A passenger that sleeps when the flight lands is woken**: it left its waker under the mutex under which it saw that
//!    the flight had not landed, and landing takes all wakers in one step.
//!
//! So as long as somebody waits and polls when woken, the future is polled after each of its wake-ups. A passenger that is
//! woken, and is neither polled nor dropped, holds up the others until another one is polled: a stage polls its requests
//! whenever they are woken, even if it has no room for what they give.
//!
//! Foreign code runs while the mutex is not held: wakers are cloned, called and dropped outside of it, futures are polled
//! and dropped there, and what came of the flight is shared, so that each passenger makes its own copy there.

use crate::panics::caught;
use crate::sync::{Mutex, twin};
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
    landed: Option<Arc<Landed<Out>>>,
    /// The last passenger left before it landed.
    is_cancelled: bool,
    seats: Vec<Seat>,
    /// The indices of those that nobody has: a key that everybody asks for may have thousands of passengers, and none of them looks at the others'.
    free: Vec<usize>,
}

enum Seat {
    Free,
    /// Its passenger has been woken, or was never polled.
    Awake,
    Asleep(Waker),
}

impl<Out: Send + Sync + 'static> Flight<Out> {
    pub(crate) fn new(future: BoxFuture<Out>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                future: Some(future),
                due: true,
                landed: None,
                is_cancelled: false,
                seats: Vec::new(),
                free: Vec::new(),
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
        if let Some(seat) = state.free.pop() {
            state.seats[seat] = Seat::Awake;
            return Some(seat);
        }
        state.seats.push(Seat::Awake);
        Some(state.seats.len() - 1)
    }

    pub(crate) fn poll(self: &Arc<Self>, seat: usize, cx: &Context<'_>) -> Poll<Arc<Landed<Out>>> {
        let asleep = Seat::Asleep(cx.waker().clone());
        let mut state = self.state.lock();
        if let Some(landed) = &state.landed {
            return Poll::Ready(Arc::clone(landed));
        }
        let before = std::mem::replace(&mut state.seats[seat], asleep);
        let future = match state.due {
            true => state.future.take(),
            false => None,
        };
        state.due &= future.is_none();
        drop(state);
        let _ = caught(|| drop(before));
        match future {
            Some(future) => self.drive(future, seat, cx),
            None => Poll::Pending,
        }
    }

    fn drive(
        self: &Arc<Self>,
        mut future: BoxFuture<Out>,
        seat: usize,
        cx: &Context<'_>,
    ) -> Poll<Arc<Landed<Out>>> {
        let waker = Waker::from(Arc::clone(self));
        let polled = caught(|| future.as_mut().poll(&mut Context::from_waker(&waker)));
        let landed = match polled {
            Ok(Poll::Pending) => {
                let mut state = self.state.lock();
                state.future = Some(future);
                let is_due = state.due && !twin("flight-driver-unlooked");
                drop(state);
                if is_due {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            Ok(Poll::Ready(output)) => Ok(output),
            Err(message) => Err(message),
        };
        let _ = caught(|| drop(future));
        let landed = Arc::new(landed);
        self.land(Arc::clone(&landed), seat);
        Poll::Ready(landed)
    }

    /// Wakes everybody but the one who drove. A waker that panics keeps no other from being called.
    fn land(&self, landed: Arc<Landed<Out>>, driver: usize) {
        let mut state = self.state.lock();
        state.landed = Some(landed);
        let driver = std::mem::replace(&mut state.seats[driver], Seat::Awake);
        let asleep: Vec<Waker> = state.seats.iter_mut().filter_map(Seat::wake).collect();
        drop(state);
        let _ = caught(|| drop(driver));
        for waker in asleep {
            let _ = caught(|| match twin("flight-landing-unrung") {
                true => drop(waker),
                false => waker.wake(),
            });
        }
    }

    /// Gives a seat back. If the flight has not landed, and no one is left, its future is dropped.
    pub(crate) fn leave(&self, seat: usize) {
        let (left, future, next) = self.state.lock().vacate(seat);
        let _ = caught(|| drop(future));
        if let Some(next) = next {
            next.wake();
        }
        drop(left);
    }
}

impl<Out> State<Out> {
    /// Gives a seat back. What is to be done once the mutex is free: what was on the seat is dropped, and the future if
    /// nobody is left; and another passenger is woken.
    fn vacate(&mut self, seat: usize) -> (Seat, Option<BoxFuture<Out>>, Option<Waker>) {
        let left = std::mem::replace(&mut self.seats[seat], Seat::Free);
        self.free.push(seat);
        if self.landed.is_some() {
            return (left, None, None);
        }
        self.is_cancelled = self.free.len() == self.seats.len();
        if self.is_cancelled {
            return (left, self.future.take(), None);
        }
        let next = match self.due && !twin("flight-leave-unlooked") {
            true => self.seats.iter_mut().find_map(Seat::wake),
            false => None,
        };
        (left, None, next)
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

impl<Out: Send + Sync + 'static> Wake for Flight<Out> {
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
    use std::collections::BTreeSet;
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
        flight.leave(seats[0]);
        assert_eq!(taken(&other), 1, "it was due");
        let landed = flight.poll(seats[1], &Context::from_waker(&waker_of_other));
        assert_eq!(landed, Poll::Ready(Arc::new(Ok(7))));
        flight.leave(seats[1]);
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
        flight.leave(seats[0]);
        assert_eq!(Arc::strong_count(&gate), 2);
        flight.leave(seats[1]);
        assert_eq!(Arc::strong_count(&gate), 1, "its future is dropped");
        assert_eq!(flight.board(), None);
    }

    #[test]
    fn a_seat_is_one_passengers_at_a_time_and_then_anothers() {
        let (flight, _gate) = gated();
        let mut seats: Vec<usize> = (0..1_000).filter_map(|_| flight.board()).collect();
        for round in 1..=3 {
            seats.drain(..500).for_each(|seat| flight.leave(seat));
            seats.extend((0..500).filter_map(|_| flight.board()));
            let taken: BTreeSet<usize> = seats.iter().copied().collect();
            assert_eq!(taken.len(), 1_000, "round {round}");
            assert!(taken.into_iter().eq(0..1_000), "none is new");
        }
        seats.into_iter().for_each(|seat| flight.leave(seat));
        assert_eq!(flight.board(), None);
    }

    #[test]
    fn a_panic_is_told_to_every_passenger() {
        let flight: Arc<Flight<u64>> = Flight::new(Box::pin(async { panic!("lost") }));
        let (_, waker) = passenger();
        for seat in [(); 2].map(|()| flight.board().expect("nobody left")) {
            let landed = flight.poll(seat, &Context::from_waker(&waker));
            assert_eq!(landed, Poll::Ready(Arc::new(Err("lost".into()))));
        }
    }

    /// A waker that leaves a flight when it is dropped: as the last handle of a task does that waits for the flight.
    struct Leaves(Arc<Flight<u64>>, usize);

    impl Wake for Leaves {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Leaves {
        fn drop(&mut self) {
            self.0.leave(self.1);
        }
    }

    #[test]
    fn a_waker_whose_drop_leaves_the_same_flight_is_dropped_without_the_lock() {
        let (_, waker) = passenger();
        for step in 0..3 {
            let (flight, gate) = gated();
            let [seat, other] = [(); 2].map(|()| flight.board().expect("nobody left"));
            let leaves = Waker::from(Arc::new(Leaves(Arc::clone(&flight), other)));
            assert!(
                flight
                    .poll(seat, &Context::from_waker(&leaves))
                    .is_pending()
            );
            drop(leaves);
            match step {
                0 => assert!(flight.poll(seat, &Context::from_waker(&waker)).is_pending()),
                1 => flight.leave(seat),
                _ => {
                    gate.lock().0 = true;
                    let due = gate.lock().1.take().expect("it was polled");
                    due.wake();
                    let landed = flight.poll(seat, &Context::from_waker(&waker));
                    assert!(landed.is_ready());
                }
            }
            assert_eq!(flight.board(), [Some(1), None, Some(1)][step]);
            // Else the gate keeps the flight, and that the gate.
            drop(gate.lock().1.take());
        }
    }

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker");
        }
    }

    #[test]
    fn a_waker_that_panics_keeps_no_other_from_being_called() {
        let (flight, gate) = gated();
        let (other, waker_of_other) = passenger();
        let (_, waker_of_driver) = passenger();
        let seats = [(); 3].map(|()| flight.board().expect("nobody left"));
        let wakers = [
            waker_of_driver.clone(),
            Waker::from(Arc::new(Panics)),
            waker_of_other,
        ];
        for (seat, waker) in seats.into_iter().zip(&wakers) {
            assert!(flight.poll(seat, &Context::from_waker(waker)).is_pending());
        }
        gate.lock().0 = true;
        let due = gate.lock().1.take().expect("it was polled");
        due.wake();
        let landed = flight.poll(seats[0], &Context::from_waker(&waker_of_driver));
        assert!(landed.is_ready());
        assert_eq!(taken(&other), 1);
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
                                    Poll::Ready(Arc::new(Ok(round)))
                                }
                                polled => polled,
                            }
                        }));
                        flight.leave(seat);
                        assert_eq!(*landed, Ok(round));
                    });
                }
            });
        }
    }
}
