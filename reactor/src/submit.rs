//! Owned operations in the queue: submitting, performing and cancelling them.
//!
//! # Each callback is called exactly once
//!
//! An operation and its callback are one box, a [`Job`], and the box has one owner at a time: the queue of its source, or
//! the turn that performs it, or whoever cancels it. It changes owner under the lock of the source, and calling the
//! callback consumes it. So a completion and a cancellation can't both have it.
//!
//! # No operation is slept through
//!
//! An operation whose source is not ready is found by the event that makes it ready (see [`State`]). One whose source is
//! ready already would wait in vain for an event, so [`Reactor::submit`] puts its source on the list of what is runnable
//! and *then* unparks: a turn that is asleep returns, one that is about to sleep does not, and either takes the list
//! afterwards. That a turn takes the list only after it has consumed the notification is the order of the calls in
//! `turn.rs`.

use crate::events::{Event, Key};
use crate::file::stage::CancelledCall;
use crate::operation::Operation;
use crate::reactor::{Inner, Reactor};
use crate::state::{Cancelled, Enqueued, Runnable};
use crate::{error, turn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// An operation and what to do with its outcome, whatever their types.
pub(crate) trait Job: Send {
    /// Makes one attempt.
    fn execute(&mut self) -> Attempt;

    /// Calls the callback. One that was never performed is a cancelled one.
    fn complete(self: Box<Self>);
}

/// How an attempt ended.
pub(crate) enum Attempt {
    Done,
    WouldBlock,
}

struct Submitted<O: Operation, C> {
    operation: O,
    callback: C,
    outcome: Option<io::Result<O::Output>>,
}

impl<O, C> Job for Submitted<O, C>
where
    O: Operation,
    C: FnOnce(O, io::Result<O::Output>) + Send,
{
    fn execute(&mut self) -> Attempt {
        loop {
            let outcome = catch_unwind(AssertUnwindSafe(|| self.operation.execute()))
                .unwrap_or_else(|_| Err(error::panicked()));
            match &outcome {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Attempt::WouldBlock;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                _ => {}
            }
            self.outcome = Some(outcome);
            return Attempt::Done;
        }
    }

    fn complete(self: Box<Self>) {
        let Submitted {
            operation,
            callback,
            outcome,
        } = *self;
        callback(
            operation,
            outcome.unwrap_or_else(|| Err(error::cancelled())),
        );
    }
}

impl Reactor {
    /// Hands an operation to the reactor, which performs it as soon as its source is ready and then calls `callback`
    /// with the operation, its buffers in it, and the outcome. No futures are involved.
    ///
    /// The callback is called exactly once, by the thread that takes the turn, with no lock held: it may submit, cancel
    /// and register. When the operation is [cancelled](Self::cancel) or the reactor [closed](Self::close), it is called
    /// with an error of kind [`Interrupted`](io::ErrorKind::Interrupted). Operations on the same direction of the same
    /// source are performed in the order in which they were submitted. A callback that panics is counted in
    /// [`Metrics::panics`](crate::Metrics::panics) and stops nothing.
    ///
    /// A pending operation keeps its source alive, and its source the reactor. End with [`close`](Self::close).
    ///
    /// # Errors
    /// When the reactor is closed, or the operation's source belongs to another reactor. The operation and the callback
    /// are dropped, without a call.
    ///
    /// # Cost
    /// One allocation, for the operation with its callback. No syscall, unless another thread sleeps in a turn and has to
    /// be woken because the source is ready.
    ///
    /// # Examples
    /// ```
    /// use peu_reactor::{Async, Reactor, operation::Read};
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    /// use std::sync::{Arc, mpsc};
    ///
    /// let reactor = Reactor::new()?;
    /// let (here, mut there) = UnixStream::pair()?;
    /// let here = Arc::new(Async::with_reactor(here, &reactor)?);
    ///
    /// let (told, outcome) = mpsc::channel();
    /// reactor.submit(Read::new(here, vec![0; 16]), move |read, count| {
    ///     told.send((read.into_buffer(), count)).unwrap();
    /// })?;
    ///
    /// there.write_all(b"hello")?;
    /// let (buffer, count) = loop {
    ///     reactor.turn(None)?;
    ///     if let Ok(outcome) = outcome.try_recv() {
    ///         break outcome;
    ///     }
    /// };
    /// assert_eq!(&buffer[..count?], b"hello");
    /// reactor.close();
    /// # std::io::Result::Ok(())
    /// ```
    pub fn submit<O: Operation>(
        &self,
        operation: O,
        callback: impl FnOnce(O, io::Result<O::Output>) + Send + 'static,
    ) -> io::Result<Key> {
        let source = operation.source();
        if !source.belongs_to(self) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "cannot submit an operation on a source of another reactor: submit it to the one its source was registered with",
            ));
        }
        let (state, direction) = (Arc::clone(source.state()), operation.direction());
        let job = Box::new(Submitted {
            operation,
            callback,
            outcome: None,
        });

        let event = Event::Operation(Arc::clone(&state), direction);
        let key = self.inner().events.lock().insert(event)?;
        match state.enqueue(direction, key, job) {
            Enqueued::Waiting => {}
            Enqueued::Runnable => self.inner().announce((state, direction)),
            Enqueued::Refused(job) => {
                drop(job);
                return Err(error::gone());
            }
        }
        self.inner().metrics.submitted.add(1);
        Ok(key)
    }

    /// Takes an operation back before it is performed.
    ///
    /// `true`: its callback has been called, on this thread, with the operation and an error of kind
    /// [`Interrupted`](io::ErrorKind::Interrupted). `false`: it has finished, or a turn on another thread is performing it at
    /// this moment. That turn calls the callback, with the outcome if the operation succeeds or fails, and as cancelled
    /// if it would have to wait again. A [call on a file](Self::submit_call) that the kernel performs is ended if the kernel
    /// can; a turn calls the callback then, and the answer is `false` as well.
    pub fn cancel(&self, key: Key) -> bool {
        let found = match self.inner().events.lock().get(key) {
            Some(Event::Operation(state, direction)) => Some((Arc::clone(state), *direction)),
            Some(Event::Source(_)) | None => return false,
            Some(_) => None,
        };
        let Some((state, direction)) = found else {
            return self.cancel_call(key);
        };
        match state.cancel(direction, key) {
            Cancelled::Taken(job) => {
                let event = self.inner().events.lock().remove(key);
                drop(event);
                self.inner().complete(job);
                true
            }
            Cancelled::Executing | Cancelled::Finished => false,
        }
    }
}

impl Reactor {
    fn cancel_call(&self, key: Key) -> bool {
        let found = self.inner().events.lock().cancel_call(key);
        match found {
            CancelledCall::Taken(over) => {
                self.inner().tell(over);
                true
            }
            CancelledCall::InRing => self.inner().end_call(key),
            CancelledCall::TooLate => false,
        }
    }
}

impl Inner {
    /// Tells a turn that an operation can be performed, although no event will say so. The list comes before the
    /// notification: see the [module](self).
    fn announce(&self, runnable: Runnable) {
        self.runnable.lock().push(runnable);
        self.unpark();
    }

    /// Performs operations of one direction of a source until one would block or none is left.
    ///
    /// Finished ones go to `completions`, for update; their keys go to `finished`.
    pub(crate) fn execute(
        &self,
        (state, direction): &Runnable,
        completions: &mut Vec<Box<dyn Job>>,
        finished: &mut Vec<Key>,
    ) {
        while let Some((key, mut job, seen)) = state.begin(*direction) {
            let ended = match job.execute() {
                Attempt::Done => {
                    state.finish(*direction);
                    Some(job)
                }
                Attempt::WouldBlock => state.put_back(*direction, seen, job),
            };
            if let Some(job) = ended {
                completions.push(job);
                finished.push(key);
            }
        }
    }

    /// Calls a callback, with no lock held. A panic stops here.
    pub(crate) fn complete(&self, job: Box<dyn Job>) {
        self.metrics.completed.add(1);
        turn::contain(&self.metrics, || job.complete());
    }
}
