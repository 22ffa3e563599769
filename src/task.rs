//! Tasks: what [`spawn`] returns, sets and groups of tasks, and letting others run.

pub use crate::{spawn, spawn_blocking};
pub use peu_scheduler::task::*;
pub use peu_scheduler::{YieldNow, spawn_local, yield_now};
