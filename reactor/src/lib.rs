//! peu-reactor.
