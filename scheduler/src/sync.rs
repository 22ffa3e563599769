//! Where this crate takes its atomics, locks, cells and threads from: the standard library and `parking_lot`, or, under
//! `cfg(loom)`, loom's doubles, which let a model try every interleaving.
//!
//! Code reads the same with both. Two differences are smoothed over here: a [`Mutex`] locks without a `Result` (no
//! poisoning: a panic of user code never happens under one of our locks), and an [`UnsafeCell`] hands its pointer to a
//! closure, so that loom can see where an access begins and ends.

#![allow(
    unused_imports,
    reason = "one list for the whole crate, the same with and without loom"
)]

// The standard one for models too: loom's can't hold a `dyn` nor be a method's receiver, and no protocol of this crate
// rests on what an Arc's count orders.
pub(crate) use std::sync::Arc;

/// For numbers that order nothing. The standard one for models too, which would only get more interleavings of it.
pub(crate) use std::sync::atomic::AtomicUsize as AtomicCount;

#[cfg(not(loom))]
pub(crate) use real::*;

#[cfg(loom)]
pub use model::clock;
#[cfg(loom)]
pub(crate) use model::*;

#[cfg(not(loom))]
mod real {
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    pub(crate) use std::{thread, thread_local};

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

#[cfg(loom)]
mod model {
    use super::Arc;
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    use std::fmt;
    use std::ops::{Deref, DerefMut};
    use std::time::{Duration, Instant};

    /// loom's thread-locals with the standard one's `const`.
    macro_rules! model_local {
        ($(#[$attribute:meta])* static $name:ident: $type:ty = const $value:block;) => {
            loom::thread_local! { $(#[$attribute])* static $name: $type = $value; }
        };
    }
    pub(crate) use model_local as thread_local;

    /// loom's threads, with a park token of our own: loom's is lost when the thread meets a contended mutex before it
    /// parks, and ringing one that waits for a mutex breaks that mutex.
    pub(crate) mod thread {
        use super::{Arc, Condvar, Mutex};
        pub(crate) use loom::thread::{Builder, ThreadId, spawn, yield_now};
        use std::time::Duration;

        #[derive(Clone)]
        pub(crate) struct Thread(Arc<Token>);

        struct Token {
            id: ThreadId,
            rung: Mutex<bool>,
            changed: Condvar,
        }

        loom::thread_local! {
            static CURRENT: Thread = Thread(Arc::new(Token {
                id: loom::thread::current().id(),
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
        use super::{Ordering, fence};
        use std::cell::Cell;
        use std::sync::OnceLock;
        use std::time::{Duration, Instant};

        std::thread_local! {
            // loom runs all threads of a model on one of the system's.
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
            loom::thread::yield_now();
            fence(Ordering::SeqCst);
        }

        /// The time of the run.
        pub fn now() -> Instant {
            static START: OnceLock<Instant> = OnceLock::new();
            *START.get_or_init(Instant::now) + PASSED.get()
        }
    }

    /// loom's mutex with `parking_lot`'s interface.
    #[derive(Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.lock_inner()), self)
        }

        fn lock_inner(&self) -> loom::sync::MutexGuard<'_, T> {
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
    pub(crate) struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>, &'a Mutex<T>);

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

    /// loom's condition variable with `parking_lot`'s interface.
    #[derive(Debug)]
    pub(crate) struct Condvar {
        inner: loom::sync::Condvar,
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
                inner: loom::sync::Condvar::new(),
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
#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn twin(_name: &str) -> bool {
    false
}

#[cfg(loom)]
pub(crate) fn twin(name: &str) -> bool {
    static ON: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    ON.get_or_init(|| std::env::var("PEU_TWIN").ok()).as_deref() == Some(name)
}
