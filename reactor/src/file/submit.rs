//! How a call is handed to a tier, how it comes back, and how it is cancelled.

use super::call::{Answer, Call, What};
use super::now::LONGEST_NOW;
use super::ring::{PATIENCE, Pushed, Ring};
use super::stage::{Landed, Landing, Over, Pending};
use super::{Files, Tiers};
use crate::builder::Offload;
use crate::events::{Event, Key};
use crate::place::Place;
use crate::reactor::{Inner, Reactor};
use crate::{error, turn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

impl Reactor {
    /// Hands a call to the first tier that may and can do it without blocking this thread. `told` is called exactly once,
    /// with the call, its buffer in it, and the answer: by the thread that takes a turn, by one that may block, or by this
    /// one, when it is refused or [cancelled](Self::cancel).
    ///
    /// None: `told` was called already. A callback that panics is counted in [`Metrics::panics`](crate::Metrics::panics).
    ///
    /// # Errors
    /// Its answer: the system's error; one of kind [`Interrupted`](io::ErrorKind::Interrupted) when it was cancelled; and
    /// when the reactor is closed, or has no thread for what needs one.
    ///
    /// # Examples
    /// ```
    /// use peu_reactor::Reactor;
    /// use peu_reactor::file::{Answer, Call};
    /// use std::sync::{Arc, mpsc};
    ///
    /// let reactor = Reactor::new()?;
    /// let file = Arc::new(std::fs::File::open("Cargo.toml")?);
    /// let (told, answer) = mpsc::channel();
    /// reactor.submit_call(Call::read(file, vec![0; 9], 0, Some(0)), move |call, answer| {
    ///     told.send((call.into_buffer(), answer)).unwrap();
    /// });
    /// let (buffer, answer) = loop {
    ///     if let Ok(answer) = answer.try_recv() {
    ///         break answer;
    ///     }
    ///     reactor.turn(None)?;
    /// };
    /// match answer {
    ///     Ok(Answer::Bytes(count)) => assert_eq!(&buffer[..count], b"[package]"),
    ///     Ok(answer) => panic!("{answer:?}"),
    ///     Err(error) => eprintln!("no io_uring here, and this reactor has no threads: {error}"),
    /// }
    /// reactor.close();
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Cost
    /// Two allocations and, if it is the only one that this turn submits, a system call; or a hand-over to a thread.
    pub fn submit_call(
        &self,
        call: Call,
        told: impl FnOnce(Call, io::Result<Answer>) + Send + 'static,
    ) -> Option<Key> {
        let inner = self.inner();
        let ring = inner.ring_for(&call);
        let pending = Box::new(Pending::new(call, told));
        match ring {
            Some(ring) => match inner.enter_ring(ring, pending) {
                Ok(key) => Some(key),
                Err(pending) => self.onto_pool(pending),
            },
            None => self.onto_pool(pending),
        }
    }

    /// The future of [`submit_call`](Self::submit_call). Dropping it cancels the call: what nobody has begun is not done any
    /// more, and the kernel ends what it can. What can't be ended goes on to its end, with its paths and buffers, which
    /// it owns.
    pub async fn perform(&self, call: Call) -> (Call, io::Result<Answer>) {
        let place = Place::new();
        let answer = place.clone();
        let opens = matches!(call.what(), What::Open { .. });
        let threads = opens.then(|| self.inner().threads()).flatten();
        let key = self.submit_call(call, move |call, outcome| {
            answer.leave(Left {
                answered: Some((call, outcome)),
                threads,
            });
        });
        let mut pending = CancelOnDrop { reactor: self, key };
        let mut left = place.take().await;
        pending.key = None;
        left.answered.take().expect("only this takes it")
    }

    /// Tells the kernel of the calls that wait for the next turn. For a thread that goes to sleep elsewhere than in one, and
    /// leaves the next turn to others, who may be busy.
    ///
    /// # Cost
    /// A lock, where there is a ring; a system call, if a call waits.
    pub fn flush(&self) {
        self.inner().flush();
    }

    fn onto_pool(&self, pending: Box<Pending>) -> Option<Key> {
        let inner = self.inner();
        if !inner.has_threads() && !self.is_closed() {
            return inner.refuse(pending, error::no_threads());
        }
        let is_mandatory = pending.is_mandatory();
        let mut events = inner.events.lock();
        if let Err(error) = events.room() {
            drop(events);
            return inner.refuse(pending, error);
        }
        let key = events.insert(Event::CallWaiting(pending));
        drop(events);
        let key = key.ok()?;
        self.send_thread(key, is_mandatory);
        Some(key)
    }

    /// Has a thread do the call of this key.
    pub(crate) fn send_thread(&self, key: Key, is_mandatory: bool) {
        let inner = self.inner();
        if !inner.has_threads() {
            let unrun = inner.events.lock().take_waiting(key);
            let over = unrun.map(|pending| Over::new(pending, Err(error::no_threads())));
            return over.into_iter().for_each(|over| inner.tell(over));
        }
        inner.files.pool.add(1);
        let errand = Errand {
            reactor: self.clone(),
            key,
        };
        let job = Box::new(move || errand.run());
        // A pool that refuses drops the errand, which tells.
        let _ = if is_mandatory {
            self.offload_mandatory(job)
        } else {
            self.offload(job)
        };
    }
}

/// What a call has brought, until somebody takes it.
struct Left {
    answered: Option<(Call, io::Result<Answer>)>,
    /// Of a call that opens a file.
    threads: Option<Arc<dyn Offload>>,
}

/// A file of which nobody will hear may be a server's: no turn, and no task that drops a future, is to wait until it is closed.
/// Threads that refuse have ended, or are none: then it is closed here.
impl Drop for Left {
    fn drop(&mut self) {
        if let Some((_, Ok(Answer::File(file)))) = self.answered.take()
            && let Some(threads) = &self.threads
        {
            let _ = threads.offload(Box::new(move || drop(file)));
        }
    }
}

struct CancelOnDrop<'a> {
    reactor: &'a Reactor,
    key: Option<Key>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.reactor.cancel(key);
        }
    }
}

/// A thread's way to a call and back.
struct Errand {
    reactor: Reactor,
    key: Key,
}

impl Errand {
    fn run(self) {
        let inner = self.reactor.inner();
        // None: it was cancelled before its turn came.
        let begun = inner.events.lock().begin_call(self.key);
        if let Some(mut pending) = begun {
            let answer = catch_unwind(AssertUnwindSafe(|| pending.perform()))
                .unwrap_or_else(|_| Err(error::panicked()));
            let mark = inner.events.lock().remove(self.key);
            drop(mark);
            inner.tell(Over::new(pending, answer));
        }
    }
}

/// Dropped without having run: the pool is closed, or can't start a thread.
impl Drop for Errand {
    fn drop(&mut self) {
        let inner = self.reactor.inner();
        let unrun = inner.events.lock().take_waiting(self.key);
        if let Some(pending) = unrun {
            inner.tell(Over::new(pending, Err(error::not_run())));
        }
    }
}

impl Files {
    /// Whether the ring is the better of the two that can do this.
    ///
    /// A read that has to wait costs 7 µs of CPU through the ring and 20 through a thread (4 KiB at random, cold, 64 at a
    /// time). All other calls the ring hands to threads of the kernel's, at about the price of our own: measured, making, writing
    /// and syncing a file costs the same both ways. There the pool is preferred, because it has a bound. See
    /// `benches/README.md`.
    ///
    /// A long read or write is one copy, which takes a thread whoever does it.
    fn ring_pays(&self, call: &Call) -> bool {
        let alone = !self.tiers.contains(Tiers::POOL);
        match call.what() {
            What::Read(transfer) => transfer.left() <= LONGEST_NOW,
            What::Write(transfer) => alone && transfer.left() <= LONGEST_NOW,
            _ => alone,
        }
    }
}

impl Inner {
    /// The ring, if this call is for it.
    fn ring_for(&self, call: &Call) -> Option<&Ring> {
        let (files, has_threads) = (&self.files, self.has_threads());
        let is_for_it = files.tiers.contains(Tiers::RING)
            && (!has_threads || files.ring_pays(call))
            && call.suits_ring(files);
        if !is_for_it {
            return None;
        }
        let ring = self.made_ring().or_else(|| self.make_ring())?;
        (!has_threads || !ring.is_crowded()).then_some(ring)
    }

    fn make_ring(&self) -> Option<&Ring> {
        if self.files.ring.get().is_none() {
            let made = Ring::new(&self.registry);
            let made = made.map_err(|error| error.raw_os_error().unwrap_or(0));
            // No descriptor is left: another call may find one, and all others work without.
            if let Err(libc::EMFILE | libc::ENFILE) = made {
                return None;
            }
            // If another thread was faster, its ring is the one.
            drop(self.files.ring.set(made));
        }
        self.made_ring()
    }

    /// The ring, if it was ever needed.
    fn made_ring(&self) -> Option<&Ring> {
        self.files.ring.get()?.as_ref().ok()
    }

    /// `Err`: the ring is closed, or the slab has no place for it.
    fn enter_ring(&self, ring: &Ring, pending: Box<Pending>) -> Result<Key, Box<Pending>> {
        // Both under the line's lock, so that a reactor that closes finds the ring open and the call in the slab, or
        // neither.
        let mut outside = Some(pending);
        let enter = || {
            let entered = self.events.lock().enter_ring(&mut outside).ok();
            let entry = entered.as_ref().map(|(_, entry)| entry.clone());
            (entry, entered.map(|(key, _)| key))
        };
        if let Some((pushed, Some(key))) = ring.push(&self.parking, enter) {
            self.files.to_ring.add(1);
            self.after_push(&pushed);
            return Ok(key);
        }
        Err(outside.expect("what did not enter is still outside"))
    }

    fn after_push(&self, pushed: &Pushed) {
        if *pushed == Pushed::ToSubmit {
            self.flush();
        }
    }

    /// A turn that is asleep does not know that it has to try again soon.
    fn flush(&self) {
        if self.submit_calls() {
            self.unpark();
        }
    }

    /// Tells the kernel of what waits in the line. `true`: it has not taken all, and is to be told again soon.
    pub(crate) fn submit_calls(&self) -> bool {
        let Some(ring) = self.made_ring() else {
            return false;
        };
        let submitted = ring.submit();
        self.files.submissions.add(submitted.calls);
        submitted.again
    }

    /// Collects the kernel's reports. `true`: there are some.
    pub(crate) fn collect_calls(&self, landed: &mut Landed) -> bool {
        self.made_ring()
            .is_some_and(|ring| ring.collect(&mut landed.reports))
    }

    /// Finds out what the reports mean. No foreign code runs.
    pub(crate) fn land(&self, landed: &mut Landed) {
        let Some(ring) = self.made_ring() else { return };
        let count = landed.reports.len();
        if count == 0 {
            return;
        }
        let has_room = ring.land(count, || {
            for key in self.land_all(landed) {
                self.push_rest(ring, key, landed);
            }
        });
        if has_room {
            self.submit_calls();
        }
    }

    /// Takes what is over out of the slab. Returns what is to be handed in once more.
    fn land_all(&self, landed: &mut Landed) -> Vec<Key> {
        let mut again = Vec::new();
        let mut events = self.events.lock();
        for (key, answer) in landed.reports.drain(..) {
            match events.land_call(key, answer) {
                Some(Landing::Over(over)) => landed.over.push(over),
                Some(Landing::Astray) => landed.astray.push(key),
                Some(Landing::Again) => again.push(key),
                None => {}
            }
        }
        again
    }

    /// Hands in the rest of a call that the kernel has done in part. It is over if it was cancelled meanwhile, or the ring
    /// is closed; and goes astray if the kernel is not to be told any more.
    fn push_rest(&self, ring: &Ring, key: Key, landed: &mut Landed) {
        // Under the line's lock, where who cancels looks for it after he has marked it.
        let pushed = ring.push(&self.parking, || {
            let rest = self.events.lock().rest_of_call(key);
            let is_in = rest.is_some();
            (rest, is_in)
        });
        if let Some((pushed, true)) = pushed {
            return self.after_push(&pushed);
        }
        let mut events = self.events.lock();
        if pushed.is_none() && ring.is_refused() && events.send_astray(key) {
            landed.astray.push(key);
        } else {
            let ended = events.take_from_ring(key);
            landed.over.extend(ended.map(Over::cancelled));
        }
    }

    /// Ends a call that is in the ring. `true`: the kernel had not heard of it, and its callback was called. Else the kernel
    /// is made to end it, and reports it, sooner or later.
    ///
    /// At once, not with the next turn: a worker that ends drops its tasks, and takes no turn after that. The kernel keeps
    /// a thread that exits until the calls that it has submitted, and that a thread of the kernel's works on, are over.
    pub(crate) fn end_call(&self, key: Key) -> bool {
        let Some(ring) = self.made_ring() else {
            return false;
        };
        match ring.take(key, || self.events.lock().take_from_ring(key)) {
            Some(pending) => self.tell(Over::cancelled(pending)),
            None => {
                ring.end(&[key]);
                return false;
            }
        }
        true
    }

    /// Calls a callback, with no lock held. A panic stops here.
    pub(crate) fn tell(&self, over: Over) {
        turn::contain(&self.metrics, || over.tell());
    }

    fn refuse(&self, pending: Box<Pending>, error: io::Error) -> Option<Key> {
        self.tell(Over::new(pending, Err(error)));
        None
    }

    /// Ends what is in the ring, and waits for the kernel to let go of it. Who comes second does not wait: it may be a
    /// callback that the first one calls.
    pub(crate) fn close_ring(&self) {
        let Some(ring) = self.made_ring() else { return };
        let Some(unsent) = ring.close() else { return };
        let mut events = self.events.lock();
        let unsent = unsent.into_iter().map(|key| events.take_from_ring(key));
        let unsent: Vec<_> = unsent.flatten().collect();
        let keys = events.cancel_ring();
        drop(events);
        ring.end(&keys);
        self.tell_cancelled(unsent);
        let (mut landed, begin) = (Landed::default(), Instant::now());
        while ring.in_flight() > 0 && begin.elapsed() < PATIENCE {
            ring.submit();
            if !ring.collect(&mut landed.reports) {
                // In steps, because another thread's turn may collect what this one waits for.
                ring.wait(PATIENCE / 100);
            }
            self.land(&mut landed);
            landed.over.drain(..).for_each(|over| self.tell(over));
        }
        // The kernel may still write to the buffers of the others, so they can't be freed.
        for key in keys {
            let left = self.events.lock().take_from_ring(key);
            left.into_iter()
                .for_each(|pending| self.tell(Over::abandoned(pending)));
        }
    }

    pub(crate) fn tell_cancelled(&self, calls: impl IntoIterator<Item = Box<Pending>>) {
        let cancelled = calls.into_iter().map(Over::cancelled);
        cancelled.for_each(|over| self.tell(over));
    }
}

/// A reactor that nobody has closed still owes the kernel its memory, and those who wait a word.
impl Drop for Inner {
    fn drop(&mut self) {
        self.close_ring();
    }
}
