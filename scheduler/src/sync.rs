//! Where this crate takes its atomics, locks, cells and threads from: the standard library and `parking_lot`, or the
//! doubles of an *explorer*, which decides who goes on at each of their operations. There are two: under `cfg(loom)` a small
//! model tries every interleaving; under `cfg(shuttle)` a whole runtime tries a great many chosen by chance.
//!
//! Code reads the same with all three. Two differences are smoothed over here: a [`Mutex`] locks without a `Result` (no
//! poisoning: a panic of user code never happens under one of our locks), and an [`UnsafeCell`] hands its pointer to a
//! closure, so that loom can see where an access begins and ends. shuttle has no cell: what it explores is the order of
//! steps, each seen by all at once, and not what a weaker ordering or a racing access would let a thread see.

#![allow(
    unused_imports,
    reason = "one list for the whole crate, the same with and without an explorer"
)]

// The standard one for models too: loom's can't hold a `dyn` nor be a method's receiver, and no protocol of this crate
// rests on what an Arc's count orders.
pub(crate) use std::sync::Arc;

/// For numbers that order nothing. The standard one for models too, which would only get more interleavings of it.
pub(crate) use std::sync::atomic::AtomicUsize as AtomicCount;

#[cfg(loom)]
pub(crate) use loom as explorer;
#[cfg(shuttle)]
pub(crate) use shuttle as explorer;

#[cfg(not(loom))]
pub(crate) use cell::UnsafeCell;
#[cfg(any(loom, shuttle))]
pub use model::clock;
#[cfg(any(loom, shuttle))]
pub(crate) use model::*;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use real::*;

#[cfg(not(any(loom, shuttle)))]
mod real {
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    pub(crate) use std::{thread, thread_local};
}

#[cfg(not(loom))]
mod cell {
    /// [`std::cell::UnsafeCell`] with loom's interface.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> UnsafeCell<T> {
            UnsafeCell(std::cell::UnsafeCell::new(value))
        }

        /// Shared access for as long as `f` runs; the caller vouches that nobody writes meanwhile.
        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// Exclusive access for as long as `f` runs; the caller vouches that nobody else reads or writes meanwhile.
        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(any(loom, shuttle))]
mod model {
    use super::{Arc, explorer};
    pub(crate) use explorer::hint::spin_loop;
    pub(crate) use explorer::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    #[cfg(loom)]
    pub(crate) use loom::cell::UnsafeCell;
    use std::fmt;
    use std::ops::{Deref, DerefMut};
    use std::time::{Duration, Instant};

    /// The explorer's thread-locals with the standard one's `const`.
    macro_rules! model_local {
        ($(#[$attribute:meta])* static $name:ident: $type:ty = const $value:block;) => {
            $crate::sync::explorer::thread_local! { $(#[$attribute])* static $name: $type = $value; }
        };
    }
    pub(crate) use model_local as thread_local;

    /// The explorer's threads, with a park token of our own: loom's is lost when the thread meets a contended mutex before
    /// it parks, and ringing one that waits for a mutex breaks that mutex; and shuttle's bounded sleep never ends by itself.
    pub(crate) mod thread {
        use super::{Arc, Condvar, Mutex, explorer};
        pub(crate) use explorer::thread::{Builder, JoinHandle, ThreadId, spawn, yield_now};
        use std::time::Duration;

        #[derive(Clone)]
        pub(crate) struct Thread(Arc<Token>);

        struct Token {
            id: ThreadId,
            rung: Mutex<bool>,
            changed: Condvar,
        }

        explorer::thread_local! {
            static CURRENT: Thread = Thread(Arc::new(Token {
                id: explorer::thread::current().id(),
                rung: Mutex::new(false),
                changed: Condvar::new(),
            }));
        }

        pub(crate) fn current() -> Thread {
            CURRENT.with(Thread::clone)
        }

        impl Thread {
            pub(crate) fn id(&self) -> ThreadId {
                self.0.id
            }

            pub(crate) fn unpark(&self) {
                *self.0.rung.lock() = true;
                self.0.changed.notify_one();
            }
        }

        pub(crate) fn park() {
            let token = current().0;
            let mut rung = token.rung.lock();
            while !*rung {
                token.changed.wait(&mut rung);
            }
            *rung = false;
        }

        /// A time that may be over at any moment: others go on, then it is.
        pub(crate) fn park_timeout(timeout: Duration) {
            let token = current().0;
            if !std::mem::take(&mut *token.rung.lock()) {
                sleep(timeout);
                *token.rung.lock() = false;
            }
        }

        /// A sleep, too, lasts until others have gone on.
        pub(crate) fn sleep(time: Duration) {
            super::clock::sleep(time);
        }
    }

    /// The time of a model, which passes in bounded sleeps and nowhere else.
    #[allow(unreachable_pub, reason = "the driver of loom-tests reads it")]
    pub mod clock {
        use super::{Ordering, explorer, fence};
        use std::cell::Cell;
        use std::sync::OnceLock;
        use std::time::{Duration, Instant};

        std::thread_local! {
            // An explorer runs all threads of a model on one of the system's.
            static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
        }

        /// For a new run of the model: from the same moment, so that it is the same run again.
        pub fn restart() {
            PASSED.set(Duration::ZERO);
        }

        /// Passes the time, and lets others go on meanwhile. Within milliseconds every store is seen by everybody, hence
        /// the fences; without them loom would find somebody who looks again and again and always sees the past.
        pub fn sleep(time: Duration) {
            PASSED.set(PASSED.get() + time);
            // ORDERING: SeqCst fences pair with those of whoever else sleeps: what was stored before one sleep is seen
            // after another.
            fence(Ordering::SeqCst);
            explorer::thread::yield_now();
            fence(Ordering::SeqCst);
        }

        /// The time of the run.
        pub fn now() -> Instant {
            static START: OnceLock<Instant> = OnceLock::new();
            *START.get_or_init(Instant::now) + PASSED.get()
        }
    }

    /// The explorer's mutex with `parking_lot`'s interface.
    #[derive(Default)]
    pub(crate) struct Mutex<T>(explorer::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(explorer::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.lock_inner()), self)
        }

        fn lock_inner(&self) -> explorer::sync::MutexGuard<'_, T> {
            self.0
                .lock()
                .expect("a model that panicked has failed already")
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0
                .get_mut()
                .expect("a model that panicked has failed already")
        }
    }

    impl<T> fmt::Debug for Mutex<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Mutex { .. }")
        }
    }

    /// The guard of a [`Mutex`]; empty only inside the waits of [`Condvar`].
    pub(crate) struct MutexGuard<'a, T>(Option<explorer::sync::MutexGuard<'a, T>>, &'a Mutex<T>);

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().expect("full outside wait")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("full outside wait")
        }
    }

    /// The explorer's condition variable with `parking_lot`'s interface.
    #[derive(Debug)]
    pub(crate) struct Condvar {
        inner: explorer::sync::Condvar,
        bounded: std::sync::Mutex<Bounded>,
    }

    /// Those that wait with a bound: how many, and how many of them have been notified.
    #[derive(Debug, Default)]
    struct Bounded {
        waiting: usize,
        notified: usize,
    }

    /// Whether the time was over before a notification came.
    pub(crate) struct WaitTimeoutResult(bool);

    impl WaitTimeoutResult {
        pub(crate) fn timed_out(&self) -> bool {
            self.0
        }
    }

    impl Condvar {
        pub(crate) fn new() -> Condvar {
            Condvar {
                inner: explorer::sync::Condvar::new(),
                bounded: std::sync::Mutex::default(),
            }
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let inner = guard.0.take().expect("full outside wait");
            guard.0 = Some(
                self.inner
                    .wait(inner)
                    .expect("a model that panicked has failed already"),
            );
        }

        /// A time that may be over at any moment: others go on, then it is, unless one of them has notified. The
        /// longest time is never over.
        pub(crate) fn wait_for<T>(
            &self,
            guard: &mut MutexGuard<'_, T>,
            timeout: Duration,
        ) -> WaitTimeoutResult {
            if timeout == Duration::MAX {
                self.wait(guard);
                return WaitTimeoutResult(false);
            }
            self.bounded().waiting += 1;
            drop(guard.0.take());
            thread::yield_now();
            let timed_out = self.leave_bounded();
            guard.0 = Some(guard.1.lock_inner());
            WaitTimeoutResult(timed_out)
        }

        /// The end of a wait, before the lock is taken again: whoever notifies later finds nobody.
        fn leave_bounded(&self) -> bool {
            let mut bounded = self.bounded();
            bounded.waiting -= 1;
            let timed_out = bounded.notified == 0;
            bounded.notified -= usize::from(!timed_out);
            timed_out
        }

        pub(crate) fn wait_until<T>(
            &self,
            guard: &mut MutexGuard<'_, T>,
            _deadline: Instant,
        ) -> WaitTimeoutResult {
            self.wait_for(guard, Duration::ZERO)
        }

        pub(crate) fn notify_one(&self) {
            let mut bounded = self.bounded();
            if bounded.notified < bounded.waiting {
                bounded.notified += 1;
                return;
            }
            drop(bounded);
            self.inner.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            let mut bounded = self.bounded();
            bounded.notified = bounded.waiting;
            drop(bounded);
            self.inner.notify_all();
        }

        fn bounded(&self) -> std::sync::MutexGuard<'_, Bounded> {
            self.bounded
                .lock()
                .expect("a model that panicked has failed already")
        }
    }
}

/// Whether the calibration twin `name` is on: a build for models can break one named rule, to prove that its model sees
/// it. Always `false` outside of models, where the compiler removes the branch.
#[cfg(not(any(loom, shuttle)))]
#[inline(always)]
pub(crate) const fn twin(_name: &str) -> bool {
    false
}

#[cfg(any(loom, shuttle))]
pub(crate) fn twin(name: &str) -> bool {
    static ON: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    ON.get_or_init(|| std::env::var("PEU_TWIN").ok()).as_deref() == Some(name)
}
