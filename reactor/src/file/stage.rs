//! Calls in the slab of events: who has one, and when.
//!
//! # Each callback is called exactly once
//!
//! A call and its callback are one box, [`Pending`], and the box has one owner at a time. While it waits for a thread the
//! slab has it, and whoever takes it out owns it: the thread, or the one who cancels. A thread that performs it leaves a
//! mark in its place. While the kernel has it, it stays in the slab, and only a turn that has the kernel's report takes
//! it out; before that, who has taken it out of the line (`ring.rs`).

use super::call::{Answer, Call, Step};
use crate::error;
use crate::events::{Event, Events, Key};
use crate::os::Entry;
use std::io;

/// A call and whom to tell.
pub(crate) struct Pending {
    call: Call,
    told: Box<dyn FnOnce(Call, io::Result<Answer>) + Send>,
    /// Somebody has asked the kernel to end it.
    cancelled: bool,
}

/// A call that is over, and what came of it.
pub(crate) struct Over(Box<Pending>, io::Result<Answer>);

/// What a turn has learnt from the kernel's reports.
#[derive(Default)]
pub(crate) struct Landed {
    /// The reports, as they were collected.
    pub(crate) reports: Vec<(Key, i32)>,
    /// Calls whose callbacks are to be called.
    pub(crate) over: Vec<Over>,
    /// Calls that have to be done by a thread after all.
    pub(crate) astray: Vec<Key>,
}

/// What a report of the kernel means.
pub(crate) enum Landing {
    Over(Over),
    /// There is more to do.
    Again,
    /// The kernel has ended it unasked; mostly because the thread that had submitted it has ended.
    Astray,
}

impl Pending {
    pub(crate) fn new(
        call: Call,
        told: impl FnOnce(Call, io::Result<Answer>) + Send + 'static,
    ) -> Pending {
        Pending {
            call,
            told: Box::new(told),
            cancelled: false,
        }
    }

    pub(crate) fn is_mandatory(&self) -> bool {
        self.call.is_mandatory()
    }

    pub(crate) fn perform(&mut self) -> io::Result<Answer> {
        self.call.perform()
    }

    /// `Err`: it is over, with this answer.
    fn land(&mut self, answer: i32) -> Result<Landing, io::Result<Answer>> {
        if is_no_answer(answer) && !self.cancelled {
            return Ok(Landing::Astray);
        }
        match self.call.conclude(answer) {
            Step::Over(answer) => Err(answer),
            Step::Again => Ok(Landing::Again),
        }
    }
}

impl Over {
    pub(crate) fn new(pending: Box<Pending>, answer: io::Result<Answer>) -> Over {
        Over(pending, answer)
    }

    pub(crate) fn cancelled(pending: Box<Pending>) -> Over {
        Over(pending, Err(error::cancelled()))
    }

    /// The kernel can't be made to let go of it: its memory is never freed, and who waits gets an empty call.
    pub(crate) fn abandoned(mut pending: Box<Pending>) -> Over {
        let empty = Call::job(|| ());
        std::mem::forget(std::mem::replace(&mut pending.call, empty));
        Over::cancelled(pending)
    }

    /// Calls the callback.
    pub(crate) fn tell(self) {
        let Over(pending, answer) = self;
        let Pending {
            call,
            told,
            cancelled,
        } = *pending;
        match answer {
            Err(_) if cancelled => told(call, Err(error::cancelled())),
            answer => told(call, answer),
        }
    }
}

/// The kernel has ended a call, or a part of it, for a reason that is not the call's. 512 to 516 are the kernel's own
/// marks for "make this call again", which no system call shows; an open that waits for the other end of a pipe shows
/// them here. Out of memory, or of whatever it lacks for the moment, it may be for the ring's sake alone.
fn is_no_answer(answer: i32) -> bool {
    matches!(
        -answer,
        libc::ECANCELED | libc::EINTR | libc::EAGAIN | libc::ENOMEM | 512..=516
    )
}

/// What is done with calls in the slab, under its lock.
impl Events {
    /// Gives a call that is for the ring its place, and makes what the kernel reads. On an error it stays outside.
    pub(crate) fn enter_ring(
        &mut self,
        outside: &mut Option<Box<Pending>>,
    ) -> io::Result<(Key, Entry)> {
        self.room()?;
        let no_call = || io::Error::other("there is no call, or none that the kernel can do");
        let entry = outside.as_mut().and_then(|pending| pending.call.entry());
        let (entry, pending) = entry.zip(outside.take()).ok_or_else(no_call)?;
        let key = self.insert(Event::CallInRing(pending))?;
        Ok((key, entry.with_key(key)))
    }

    /// A thread begins a call. None: it was cancelled.
    pub(crate) fn begin_call(&mut self, key: Key) -> Option<Box<Pending>> {
        let event = self.get_mut(key)?;
        match std::mem::replace(event, Event::CallOnThread) {
            Event::CallWaiting(pending) => Some(pending),
            other => {
                *event = other;
                None
            }
        }
    }

    /// Takes a call out that waits for a thread.
    pub(crate) fn take_waiting(&mut self, key: Key) -> Option<Box<Pending>> {
        let pending = self.begin_call(key)?;
        self.remove(key);
        Some(pending)
    }

    /// Somebody cancels a call.
    pub(crate) fn cancel_call(&mut self, key: Key) -> CancelledCall {
        if let Some(pending) = self.take_waiting(key) {
            return CancelledCall::Taken(Over::cancelled(pending));
        }
        match self.get_mut(key) {
            Some(Event::CallInRing(pending)) => {
                pending.cancelled = true;
                CancelledCall::InRing
            }
            _ => CancelledCall::TooLate,
        }
    }

    /// The kernel has reported.
    pub(crate) fn land_call(&mut self, key: Key, answer: i32) -> Option<Landing> {
        let event = self.get_mut(key)?;
        let Event::CallInRing(pending) = event else {
            return None;
        };
        let landed = pending.land(answer);
        if let Ok(Landing::Again) = landed {
            return Some(Landing::Again);
        }
        let Event::CallInRing(pending) = std::mem::replace(event, Event::CallOnThread) else {
            return None;
        };
        match landed {
            Err(answer) => {
                self.remove(key);
                Some(Landing::Over(Over(pending, answer)))
            }
            Ok(landing) => {
                *event = Event::CallWaiting(pending);
                Some(landing)
            }
        }
    }

    /// The rest of a call that the kernel has done in part. None: it was cancelled meanwhile.
    pub(crate) fn rest_of_call(&mut self, key: Key) -> Option<Entry> {
        match self.get_mut(key)? {
            Event::CallInRing(pending) if !pending.cancelled => {
                Some(pending.call.entry()?.with_key(key))
            }
            _ => None,
        }
    }

    /// A call that is in the ring waits for a thread from now on, unless it was cancelled.
    pub(crate) fn send_astray(&mut self, key: Key) -> bool {
        let Some(event) = self.get_mut(key) else {
            return false;
        };
        match std::mem::replace(event, Event::CallOnThread) {
            Event::CallInRing(pending) if !pending.cancelled => {
                *event = Event::CallWaiting(pending);
                true
            }
            other => {
                *event = other;
                false
            }
        }
    }

    /// Takes a call out that is in the ring, for who may: see `ring.rs`.
    pub(crate) fn take_from_ring(&mut self, key: Key) -> Option<Box<Pending>> {
        let Event::CallInRing(_) = self.get(key)? else {
            return None;
        };
        match self.remove(key)? {
            Event::CallInRing(pending) => Some(pending),
            _ => None,
        }
    }

    /// The keys of all calls that the kernel has, marked as cancelled.
    pub(crate) fn cancel_ring(&mut self) -> Vec<Key> {
        let mut keys = Vec::new();
        for (key, event) in self.iter_mut() {
            if let Event::CallInRing(pending) = event {
                pending.cancelled = true;
                keys.push(key);
            }
        }
        keys
    }
}

/// What cancelling a call found.
#[must_use = "a call that was taken is told, and one in the ring is to be ended"]
pub(crate) enum CancelledCall {
    /// It waited, and is out.
    Taken(Over),
    /// The kernel has it.
    InRing,
    /// It is done, or a thread is at it.
    TooLate,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn read_in_ring(events: &mut Events) -> (Key, Arc<AtomicUsize>) {
        let told = Arc::new(AtomicUsize::new(0));
        let count = told.clone();
        let file = Arc::new(std::fs::File::open("Cargo.toml").unwrap());
        let call = Call::read(file, vec![0; 100], 0, Some(0));
        let told_once = move |_, _| _ = count.fetch_add(1, Ordering::SeqCst);
        let pending = Box::new(Pending::new(call, told_once));
        let key = events.insert(Event::CallInRing(pending));
        (key.unwrap(), told)
    }

    fn is_over(landing: Option<Landing>) -> Option<usize> {
        match landing {
            Some(Landing::Over(Over(_, Ok(Answer::Bytes(count))))) => Some(count),
            _ => None,
        }
    }

    #[test]
    fn a_part_is_followed_by_the_rest() {
        let mut events = Events::default();
        let (key, _) = read_in_ring(&mut events);
        assert!(matches!(events.land_call(key, 60), Some(Landing::Again)));
        assert_eq!(is_over(events.land_call(key, 40)), Some(100));
        assert!(events.land_call(key, 1).is_none(), "it has left");
        let (key, _) = read_in_ring(&mut events);
        assert!(matches!(events.land_call(key, 60), Some(Landing::Again)));
        assert_eq!(
            is_over(events.land_call(key, 0)),
            Some(60),
            "the end of the file"
        );
        let (key, _) = read_in_ring(&mut events);
        assert!(matches!(events.land_call(key, 60), Some(Landing::Again)));
        let error = -libc::EIO;
        assert_eq!(
            is_over(events.land_call(key, error)),
            Some(60),
            "it comes again"
        );
        let (key, _) = read_in_ring(&mut events);
        let Some(Landing::Over(Over(_, Err(error)))) = events.land_call(key, error) else {
            panic!("nothing was read");
        };
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
    }

    /// The marks of the kernel's own as well: an exiting thread's calls bring them.
    #[test]
    fn what_the_kernel_ended_by_itself_waits_for_a_thread() {
        for end in [libc::ECANCELED, libc::EINTR, libc::EAGAIN, 512, 516] {
            let mut events = Events::default();
            let (key, told) = read_in_ring(&mut events);
            assert!(matches!(events.land_call(key, -end), Some(Landing::Astray)));
            let mut pending = events.begin_call(key).expect("a thread takes it");
            let answer = pending.perform();
            assert!(matches!(answer, Ok(Answer::Bytes(100))));
            Over::new(pending, answer).tell();
            assert_eq!(told.load(Ordering::SeqCst), 1);
        }
    }

    #[test]
    fn what_was_cancelled_is_told_as_that() {
        let mut events = Events::default();
        let (key, told) = read_in_ring(&mut events);
        assert!(matches!(events.cancel_call(key), CancelledCall::InRing));
        let Some(Landing::Over(over)) = events.land_call(key, -512) else {
            panic!("it is over");
        };
        over.tell();
        assert_eq!(told.load(Ordering::SeqCst), 1);
        let (key, _) = read_in_ring(&mut events);
        assert!(matches!(events.cancel_call(key), CancelledCall::InRing));
        assert_eq!(
            is_over(events.land_call(key, 100)),
            Some(100),
            "it came too late"
        );
    }
}
