//! Where the watch sleeps between two looks, so that a worker that moves can put the next look off.
//!
//! A look is a timed wake-up, which costs more than many a request. Most looks find nothing, and a worker that comes out
//! of the driver's turn could have said so beforehand: it alone is awake, it moves, the driver was turned just now, and
//! the injector is empty. So when the watch is due soon, that worker puts its look off, to a full nap from now. It
//! costs it one read per turn, and one system call in every half nap, and the watch wakes up only when nobody has come
//! out of the driver for that long: everybody sleeps, or somebody is stuck.
//!
//! The place to sleep in is an [`Alarm`], the driver's if it has one. Without it the watch sleeps on its parker, and
//! nobody puts anything off.
//!
//! # Protocol
//!
//! One lock, and under it where the watch is: away, asleep, or rung for. Four calls:
//!
//! | call                      | when away           | when asleep         | when rung for    |
//! |---------------------------|---------------------|---------------------|------------------|
//! | the watch falls asleep    | asleep, end in a nap | (there is one watch) | the end stays    |
//! | the watch wakes up        | away                | away                | away             |
//! | a waker rings             | rung for, end now   | rung for, end now   | rung for, end now |
//! | a worker puts off the end | nothing             | end in a nap from now | nothing          |
//!
//! No ring is lost. A waker rings because the watch's parker says `ON_LOOKOUT`, so the watch is between that
//! announcement and the swap that takes it back, and will sleep in the alarm, sleeps in it, or has slept. The ring sets
//! the alarm to now; from there to the moment when the watch says that it is awake, no other call sets the alarm. So a
//! watch that will sleep, or sleeps, wakes up at once. One that has slept finds the notification in its parker. If the ring comes
//! later than that, it ends the next sleep early, whosever it is: a look too many, no more.
//!
//! An alarm that is waited for was always set before: by the one who falls asleep, or by the ring that kept it from
//! that, whose end nobody has slept through, for whoever wakes up leaves "away" behind.

#![allow(unreachable_pub, reason = "the models of loom-tests drive this module")]

use crate::driver::Alarm;
use crate::park::Parker;
use crate::sync::{AtomicUsize, Mutex, Ordering, twin};
use crate::watch::SLOW;
use std::time::Duration;

/// A look is put off when it is due within half a nap: then there are at most two system calls in a nap, and a worker
/// that comes by twice in one never lets the look happen.
const SOON: usize = (SLOW.as_micros() / 2) as usize;

/// `due`: nobody sleeps, or not such that it could be put off.
const NEVER: usize = usize::MAX;

/// The place where the watch sleeps.
pub struct Lookout {
    alarm: Option<Box<dyn Alarm>>,
    /// The stamp, in microseconds, at which the watch will look, if that may be put off. Written under the lock.
    due: AtomicUsize,
    place: Mutex<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Away,
    Asleep,
    RungFor,
}

impl Lookout {
    /// With the driver's alarm, if it has one.
    pub fn new(alarm: Option<Box<dyn Alarm>>) -> Self {
        Lookout {
            alarm,
            due: AtomicUsize::new(NEVER),
            place: Mutex::new(Place::Away),
        }
    }

    /// The watch's sleep: for `nap`, or for as long as others put off its end, if it says the stamp at which it is
    /// `due`. Says whether the watch was notified.
    pub fn sleep(&self, parker: &Parker, nap: Duration, due: Option<usize>) -> bool {
        let Some(alarm) = &self.alarm else {
            return parker.park(Some(nap));
        };
        if !parker.enter_lookout() {
            return true;
        }
        self.fall_asleep(&**alarm, nap, due);
        alarm.wait();
        let notified = parker.leave();
        self.wake_up();
        notified
    }

    fn fall_asleep(&self, alarm: &dyn Alarm, nap: Duration, due: Option<usize>) {
        let mut place = self.place.lock();
        if *place == Place::Away || twin("lookout-ring-unheeded") {
            *place = Place::Asleep;
            // ORDERING: Relaxed: whoever acts on it reads it again under the lock.
            self.due.store(due.unwrap_or(NEVER), Ordering::Relaxed);
            alarm.set(nap);
        }
    }

    fn wake_up(&self) {
        let mut place = self.place.lock();
        *place = Place::Away;
        // ORDERING: Relaxed, as in `fall_asleep`.
        self.due.store(NEVER, Ordering::Relaxed);
    }

    /// Wakes the watch, which has announced that it sleeps here.
    pub fn ring(&self) {
        let alarm = self.alarm.as_ref().expect("who sleeps here has an alarm");
        let mut place = self.place.lock();
        *place = Place::RungFor;
        alarm.set(Duration::ZERO);
    }

    /// Whether the watch is due so soon after the stamp `now` that its look is to be put off, if all is well.
    pub fn is_due_soon(&self, now: usize) -> bool {
        // ORDERING: Relaxed: a hint; `put_off` makes sure.
        self.due.load(Ordering::Relaxed).wrapping_sub(now) < SOON
    }

    /// All is well at the stamp `now`: the watch looks a nap from now, if it still sleeps, and in such a way.
    pub fn put_off(&self, now: usize) {
        let Some(alarm) = &self.alarm else { return };
        let place = self.place.lock();
        // ORDERING: Relaxed: written under the lock that we hold.
        let may = *place == Place::Asleep && self.due.load(Ordering::Relaxed) != NEVER;
        if may || twin("lookout-ring-put-off") {
            let due = now.wrapping_add(SLOW.as_micros() as usize);
            // ORDERING: Relaxed, as in `fall_asleep`.
            self.due.store(due, Ordering::Relaxed);
            alarm.set(SLOW);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::driver::testing::NoDriver;
    use std::sync::{Arc, Condvar, Mutex};

    /// Ends only when it is set to now; remembers what it was set to.
    #[derive(Default)]
    struct Script {
        ends: Mutex<Vec<Duration>>,
        changed: Condvar,
    }

    impl Alarm for Arc<Script> {
        fn set(&self, after: Duration) {
            self.ends.lock().unwrap().push(after);
            self.changed.notify_all();
        }

        fn wait(&self) {
            let is_set = |ends: &mut Vec<Duration>| ends.last() != Some(&Duration::ZERO);
            let ends = self.ends.lock().unwrap();
            drop(self.changed.wait_while(ends, is_set).unwrap());
        }
    }

    fn with_script() -> (Arc<Script>, Lookout) {
        let script = Arc::new(Script::default());
        let lookout = Lookout::new(Some(Box::new(script.clone())));
        (script, lookout)
    }

    /// Wakes the watch when it is dropped.
    struct Ring<'a>(&'a Parker, &'a Lookout);

    impl Drop for Ring<'_> {
        fn drop(&mut self) {
            self.0.unpark(&NoDriver, self.1);
        }
    }

    /// What the alarm was set to while a watch slept whose look was due at that stamp.
    fn ends_while_asleep(due: Option<usize>, meanwhile: impl FnOnce(&Lookout)) -> Vec<Duration> {
        let (script, lookout) = with_script();
        let parker = Parker::new();
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| lookout.sleep(&parker, SLOW, due));
            // However this ends: the scope waits for the watch.
            let ring = Ring(&parker, &lookout);
            let ends = script.ends.lock().unwrap();
            let asleep = script.changed.wait_while(ends, |ends| ends.is_empty());
            drop(asleep.unwrap());
            meanwhile(&lookout);
            drop(ring);
            assert!(watch.join().unwrap(), "it was notified");
        });
        script.ends.lock().unwrap().clone()
    }

    #[test]
    fn a_look_that_is_due_soon_is_put_off() {
        let due = 100_000;
        let ends = ends_while_asleep(Some(due), |lookout| {
            assert!(!lookout.is_due_soon(due - SOON));
            assert!(lookout.is_due_soon(due - SOON + 1));
            assert!(
                !lookout.is_due_soon(due + 1),
                "it is late: it looks by itself"
            );
            lookout.put_off(due - 10);
            assert!(!lookout.is_due_soon(due - 10));
            assert!(lookout.is_due_soon(due - 10 + 2 * SOON - 1));
        });
        assert_eq!(ends, [SLOW, SLOW, Duration::ZERO]);
    }

    #[test]
    fn a_close_look_is_not_put_off() {
        let ends = ends_while_asleep(None, |lookout| {
            assert!(!lookout.is_due_soon(100_000));
            lookout.put_off(100_000);
        });
        assert_eq!(ends, [SLOW, Duration::ZERO]);
    }

    #[test]
    fn nobody_puts_off_what_has_not_begun() {
        let (script, lookout) = with_script();
        lookout.put_off(100_000);
        assert!(script.ends.lock().unwrap().is_empty());
        // A notification that comes first keeps the sleep from beginning.
        let parker = Parker::new();
        parker.unpark(&NoDriver, &lookout);
        assert!(lookout.sleep(&parker, SLOW, Some(100_000)));
        assert!(script.ends.lock().unwrap().is_empty());
    }

    /// The watch would sleep for ever in an alarm that nobody has set since it went off.
    #[test]
    fn a_sleep_after_a_ring_sets_the_alarm_anew() {
        let (script, lookout) = with_script();
        lookout.ring();
        let notified = lookout.sleep(&Parker::new(), SLOW, Some(100_000));
        assert!(!notified, "the ring was for a sleep before this one");
        lookout.fall_asleep(&script, SLOW, Some(200_000));
        assert_eq!(*script.ends.lock().unwrap(), [Duration::ZERO, SLOW]);
    }

    #[test]
    fn nobody_puts_off_what_is_over() {
        let (script, lookout) = with_script();
        lookout.fall_asleep(&script, SLOW, Some(100_000));
        lookout.wake_up();
        assert!(!lookout.is_due_soon(100_000 - 10));
        lookout.put_off(100_000 - 10);
        assert_eq!(*script.ends.lock().unwrap(), [SLOW]);
        lookout.fall_asleep(&script, SLOW, Some(200_000));
        assert_eq!(*script.ends.lock().unwrap(), [SLOW, SLOW]);
    }
}
