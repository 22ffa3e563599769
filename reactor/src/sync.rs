//! Where this crate gets its locks and atomics: `parking_lot` and `std`, or loom's twins of them under `cfg(loom)`, so that
//! the models explore the very code that runs.

#[cfg(not(loom))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

#[cfg(loom)]
pub(crate) use self::model::Mutex;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// For numbers that order nothing. The standard one for models too, which would only get more interleavings of it.
pub(crate) use std::sync::atomic::AtomicU64 as AtomicCount;

/// For counts of references, as an `Arc` has them, which is the standard one for models too.
pub(crate) use std::sync::atomic::AtomicUsize;

#[cfg(loom)]
pub(crate) use self::model::thread_local;
#[cfg(not(loom))]
pub(crate) use std::thread_local;

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

#[cfg(loom)]
mod model {
    /// loom's thread-locals with the standard one's `const`: it runs all threads of a model on one of the system's.
    macro_rules! model_local {
        (static $name:ident: $type:ty = const $value:block;) => {
            loom::thread_local! { static $name: $type = $value; }
        };
    }
    pub(crate) use model_local as thread_local;

    use loom::sync::{Mutex as Inner, MutexGuard};

    /// loom's mutex with the interface of `parking_lot`'s: no poisoning.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(Inner<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(Inner::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(|poison| poison.into_inner())
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Mutex<T> {
            Mutex::new(T::default())
        }
    }
}
