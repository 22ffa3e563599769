#![forbid(unsafe_code)]
//! peu-operators.
