//! What most programs need: `use peu::prelude::*;`.
//!
//! Helpers such as `read_exact` and `write_all` are not among them: they are the same for all runtimes, and
//! the crate `futures-lite` has them for every [`AsyncRead`] and [`AsyncWrite`].

pub use crate::operators::{AsyncOptions, OnError, StreamExt as _};
#[cfg(feature = "pipeline")]
pub use crate::pipeline::{Pipeline, Run as _};
pub use crate::task::JoinSet;
pub use crate::{Handle, LocalRuntime, Runtime, spawn, spawn_blocking};
pub use futures_core::Stream;
pub use futures_io::{AsyncRead, AsyncWrite};
