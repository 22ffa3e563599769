//! The reactor: one struct, shared by everyone who uses it.

use crate::builder::{Builder, Offload};
use crate::deadline::Timers;
use crate::error;
use crate::events::{Event, Events, Key};
use crate::file::Files;
use crate::handle::Handle;
use crate::metrics::{Counters, Metrics};
use crate::os::{Alarm, Clock};
use crate::park::Parking;
use crate::state::Runnable;
use crate::sync::Mutex;
use crate::turn::{self, Buffers};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::Waker;

/// A reactor: it waits for the OS on behalf of everyone who waits for I/O or for time, and tells them.
///
/// This is a handle, cheap to clone; all clones are the same reactor. It runs no thread of its own: somebody takes
/// [turns](Self::turn). A runtime does, or a host's own loop, or a thread that has nothing else to do.
#[derive(Clone)]
pub struct Reactor {
    handle: Handle,
}

/// What all handles share. No two of these locks are ever held together, but for a source's own, which is taken under
/// that of the events, and that of the events under the ring's line's; and no foreign code runs under any of them.
pub(crate) struct Inner {
    /// The OS's queue of events. To hold this lock is to have the claim: it is only ever tried, never waited for, and
    /// held while the OS is asked.
    pub(crate) poll: Mutex<mio::Poll>,
    /// A second handle of that queue, for registering while a turn sleeps in it.
    pub(crate) registry: mio::Registry,
    /// All pending events.
    pub(crate) events: Mutex<Events>,
    /// Operations that can be performed although no event will say so.
    pub(crate) runnable: Mutex<Vec<Runnable>>,
    /// All timers, and the alarm that ends a sleep for them.
    pub(crate) timers: Mutex<Timers>,
    /// By which the timers count.
    pub(crate) clock: Clock,
    /// Whether a turn sleeps and whether it was told to wake up.
    pub(crate) parking: Parking,
    /// Ends the sleep of a turn.
    pub(crate) waker: mio::Waker,
    /// The buffers of [`Reactor::turn`] while nobody takes one.
    pub(crate) spare: Mutex<Option<Buffers>>,
    /// Asked before each attempt at I/O whether the task may go on.
    pub(crate) budget: fn() -> bool,
    offload: Option<Arc<dyn Offload>>,
    pub(crate) files: Files,
    pub(crate) metrics: Counters,
}

impl Reactor {
    /// A reactor with the defaults of its [builder](Self::builder).
    ///
    /// # Errors
    /// When the system refuses one of the three descriptors that it needs; mostly because the process has too many open.
    pub fn new() -> io::Result<Reactor> {
        Reactor::builder().build()
    }

    /// Says what the reactor gets from its runtime.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn from_parts(
        poll: mio::Poll,
        Builder {
            offload,
            budget,
            file_tiers,
        }: Builder,
    ) -> io::Result<Reactor> {
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(&registry, Key::UNPARK.into())?;
        let timers = Timers::new(Alarm::new(&registry)?);
        let inner = Inner {
            poll: Mutex::new(poll),
            registry,
            events: Mutex::default(),
            runnable: Mutex::default(),
            timers: Mutex::new(timers),
            clock: Clock::new(),
            parking: Parking::new(),
            waker,
            spare: Mutex::default(),
            budget,
            offload,
            files: Files::new(file_tiers),
            metrics: Counters::default(),
        };
        Ok(Reactor {
            handle: Handle::new(inner),
        })
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.handle
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn from_handle(handle: Handle) -> Reactor {
        Reactor { handle }
    }

    pub(crate) fn is(&self, other: &Reactor) -> bool {
        self.handle.is(&other.handle)
    }

    /// Makes the turn that sleeps return promptly, or the next one not sleep. Any thread may call it.
    ///
    /// What the caller did before is visible to whoever took that turn, after it. Calls that come before a turn takes
    /// notice count as one.
    ///
    /// # Cost
    /// One atomic operation; a syscall only if a turn sleeps, or a host [watches](Self::arm).
    pub fn unpark(&self) {
        self.inner().unpark();
    }

    /// Prepares for waiting on the reactor's descriptor (its [`AsFd`]) in another event loop: from now until the next
    /// turn, the descriptor becomes readable when a turn has something to do.
    ///
    /// That is when a source becomes ready, an operation can be performed, a timer is due (also one that is added
    /// later), or somebody unparks. Call it after each turn, before each wait. The descriptor is readable as long as there
    /// is something unseen, so it may be watched level-triggered or edge-triggered.
    ///
    /// On other systems than Linux the descriptor does not tell of timers: bound the wait by
    /// [`next_deadline`](Self::next_deadline).
    ///
    /// # Examples
    /// ```
    /// use peu_reactor::Reactor;
    /// use std::os::fd::{AsFd, AsRawFd};
    /// use std::time::Duration;
    ///
    /// let reactor = Reactor::new()?;
    /// reactor.arm();
    /// // The host waits until this descriptor is readable, among others of its own ...
    /// assert!(reactor.as_fd().as_raw_fd() >= 0);
    /// // ... and then takes a turn that does not block.
    /// reactor.turn(Some(Duration::ZERO))?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn arm(&self) {
        self.inner().watch_timers();
        if !self.inner().parking.fall_asleep() {
            self.inner().ring();
        }
        if self.inner().submit_calls() {
            self.inner().ring();
        }
    }

    /// Runs a job that blocks where it does not keep the reactor from its turns.
    ///
    /// # Errors
    /// When the reactor was built without a place for such jobs, or that place refuses the job.
    pub fn offload(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        match &self.inner().offload {
            Some(offload) => offload.offload(job),
            None => Err(error::no_threads()),
        }
    }

    /// The same for a job that somebody was told is done.
    pub(crate) fn offload_mandatory(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        match &self.inner().offload {
            Some(offload) => offload.offload_mandatory(job),
            None => Err(error::no_threads()),
        }
    }

    /// Ends the reactor: whoever waits is woken or called back, and whoever wants to wait from now on is told that the
    /// runtime is gone.
    ///
    /// Waits for readiness end with an error, pending operations are called back as cancelled, on this thread. Calls on
    /// files that the kernel has are ended, which takes as long as the kernel needs, a second at most. Timers are
    /// forgotten, and their tasks woken, to find that out. Sources can still be used without waiting, be taken apart and be dropped.
    /// Wakers, keys and handles that somebody keeps are harmless. To close again changes nothing, and does not wait for who
    /// is about to close.
    pub fn close(&self) {
        self.inner().close_ring();
        let events = self.inner().events.lock().close();
        let (mut wakers, mut jobs, mut calls) = (Vec::new(), Vec::new(), Vec::new());
        for event in events {
            match event {
                Event::Source(state) => state.close(&mut wakers, &mut jobs),
                Event::CallWaiting(call) => calls.push(call),
                Event::Operation(..) | Event::CallOnThread | Event::CallInRing(_) => {}
            }
        }
        let runnable = std::mem::take(&mut *self.inner().runnable.lock());
        self.inner().close_timers(&mut wakers);
        self.inner().unpark();
        self.inner().wake(&mut wakers);
        jobs.into_iter().for_each(|job| self.inner().complete(job));
        self.inner().tell_cancelled(calls);
        drop(runnable);
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.inner().events.lock().is_closed()
    }

    /// How operations on regular files are done here, and what they have cost.
    pub fn files(&self) -> &Files {
        &self.inner().files
    }

    /// What the reactor has done so far.
    pub fn metrics(&self) -> Metrics {
        self.inner().metrics.snapshot()
    }
}

impl Inner {
    pub(crate) fn has_threads(&self) -> bool {
        self.offload.is_some()
    }

    pub(crate) fn threads(&self) -> Option<Arc<dyn Offload>> {
        self.offload.clone()
    }

    pub(crate) fn unpark(&self) {
        if self.parking.unpark() {
            self.ring();
        }
    }

    /// Makes the reactor's descriptor readable, which ends the sleep of whoever waits for it.
    fn ring(&self) {
        // Writing to an eventfd (or a pipe of mio's) that this struct owns fails only if somebody else closed it, and then
        // there is nobody to tell: the turn's own wait fails too.
        let _ = self.waker.wake();
        self.metrics.unparks.add(1);
    }

    /// Calls wakers, with no lock held. A panic of one does not keep the others from being called.
    pub(crate) fn wake(&self, wakers: &mut Vec<Waker>) {
        self.metrics.wakes.add(wakers.len());
        for waker in wakers.drain(..) {
            turn::contain(&self.metrics, || waker.wake());
        }
    }
}

/// The descriptor of the OS's event queue, for waiting on it in another event loop: see [`Reactor::arm`].
impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner().registry.as_fd()
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("pending", &self.inner().events.lock().len())
            .field("timers", &self.inner().timer_count())
            .finish_non_exhaustive()
    }
}
