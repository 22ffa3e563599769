//! Every lock and atomic of this crate comes from here, so that there is one place to exchange them.
//!
//! `Arc` stays the standard one: [`std::task::Wake`] is defined for no other.

pub(crate) use parking_lot::Mutex;
#[cfg(any(feature = "cache", feature = "pipeline"))]
pub(crate) use std::sync::atomic::AtomicU64;
pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
