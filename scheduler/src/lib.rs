//! peu-scheduler.

mod sync;
pub mod task;
