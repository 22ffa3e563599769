//! Every lock and atomic of this crate comes from here: the usual ones or, under `cfg(loom)`, loom's, so that the models
//! explore the very code that runs.
//!
//! `Arc` stays the standard one: [`std::task::Wake`] is defined for no other.

#[cfg(not(loom))]
pub(crate) use parking_lot::Mutex;
#[cfg(all(any(feature = "cache", feature = "pipeline"), not(loom)))]
pub(crate) use std::sync::atomic::AtomicU64;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[cfg(loom)]
pub(crate) use self::model::Mutex;
#[cfg(all(any(feature = "cache", feature = "pipeline"), loom))]
pub(crate) use loom::sync::atomic::AtomicU64;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
    use loom::sync::{Mutex as Inner, MutexGuard};

    /// loom's mutex with the interface of `parking_lot`'s: no poisoning.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(Inner<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(Inner::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(|poison| poison.into_inner())
        }
    }
}
