//! Models of peu's concurrent protocols; empty unless built with `--cfg loom`.

#![forbid(unsafe_code)]

#[cfg(loom)]
pub mod driver;
#[cfg(loom)]
mod explore;
#[cfg(loom)]
pub mod parts;
#[cfg(loom)]
pub mod stages;

#[cfg(loom)]
pub use explore::{bounded, bounded_from_explore, model};
