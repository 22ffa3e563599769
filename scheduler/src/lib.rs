//! peu-scheduler.
