//! What a reactor gets from the runtime around it.

use crate::file::Tiers;
use crate::{Reactor, error};
use std::fmt;
use std::io;
use std::sync::Arc;

/// A place for jobs that block, such as a pool of threads. The reactor has none of its own.
pub trait Offload: Send + Sync {
    /// Takes a job, to run it soon on a thread that may block.
    ///
    /// # Errors
    /// When it can't be run: no thread can be started, or the pool is shutting down.
    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()>;

    /// Takes a job that somebody was told is done, such as a write that was accepted. A place that drops jobs when it ends
    /// does this one before. Unless it is implemented, it is [`offload`](Self::offload).
    ///
    /// # Errors
    /// Those of [`offload`](Self::offload).
    fn offload_mandatory(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.offload(job)
    }
}

/// Makes a [`Reactor`]; from [`Reactor::builder`].
///
/// # Examples
/// ```
/// use peu_reactor::{Offload, Reactor};
/// use std::{io, sync::Arc, thread};
///
/// struct Threads;
///
/// impl Offload for Threads {
///     fn offload(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
///         thread::Builder::new().spawn(job).map(drop)
///     }
/// }
///
/// let reactor = Reactor::builder().offload(Arc::new(Threads)).build()?;
/// reactor.offload(Box::new(|| { /* look up a name */ }))?;
/// # io::Result::Ok(())
/// ```
#[must_use = "a builder does nothing until build is called"]
pub struct Builder {
    pub(crate) offload: Option<Arc<dyn Offload>>,
    pub(crate) budget: fn() -> bool,
    pub(crate) file_tiers: Tiers,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder {
            offload: None,
            budget: || true,
            file_tiers: Tiers::ALL,
        }
    }

    /// Where jobs that block go. Without it, host names can't be looked up.
    pub fn offload(mut self, offload: Arc<dyn Offload>) -> Builder {
        self.offload = Some(offload);
        self
    }

    /// Asked before each attempt at I/O whether the task that polls may go on. `false`: the task is woken and told to
    /// come again, so that one whose sources are always ready still lets others run. Without it, tasks always may.
    ///
    /// It is not asked when a wait has to begin anyway, so that what a task spends always brings it forward.
    pub fn budget(mut self, budget: fn() -> bool) -> Builder {
        self.budget = budget;
        self
    }

    /// The tiers that operations on files may use: all that the system has, unless restricted.
    pub fn file_tiers(mut self, tiers: Tiers) -> Builder {
        self.file_tiers = tiers;
        self
    }

    /// Makes the reactor.
    ///
    /// # Errors
    /// When the system refuses one of the descriptors that it needs; mostly because the process has too many open.
    pub fn build(self) -> io::Result<Reactor> {
        mio::Poll::new()
            .and_then(|poll| Reactor::from_parts(poll, self))
            .map_err(|error| error::cannot("make a reactor", error))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("offload", &self.offload.is_some())
            .field("file_tiers", &self.file_tiers)
            .finish_non_exhaustive()
    }
}
