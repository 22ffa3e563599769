//! The traits and types that most programs need: `use peu::prelude::*;`.

pub use crate::operators::{AsyncOptions, OnError, StreamExt as _};
pub use crate::{Handle, LocalRuntime, Runtime};
pub use futures_core::Stream;
pub use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};
