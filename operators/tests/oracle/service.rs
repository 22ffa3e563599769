//! The user's function, scripted: each call by its number.

use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Display, Formatter};
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// What comes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The record's output, that came to be in this way.
    Output(u64),
    Refused,
    /// The future panics.
    Panic,
    /// The function panics, before there is a future.
    PanicInCall,
}

#[derive(Debug)]
pub(super) struct Refused;

impl Display for Refused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

#[derive(Clone, Default)]
pub(super) struct Service(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    calls: Vec<Scripted>,
    /// For each record, what its next calls have at their first polls.
    at_once: HashMap<u64, VecDeque<Option<Answer>>>,
}

struct Scripted {
    record: u64,
    answer: Option<Answer>,
    waker: Option<Waker>,
    is_live: bool,
}

impl Service {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic is scripted under this lock")
    }

    pub(super) fn script(&self, record: u64, at_once: &[Option<Answer>]) {
        let at_once = at_once.iter().copied().collect();
        self.state().at_once.insert(record, at_once);
    }

    pub(super) fn call(&self, record: u64) -> Request {
        let mut state = self.state();
        let answer = state
            .at_once
            .get_mut(&record)
            .and_then(VecDeque::pop_front)
            .flatten();
        let panics = answer == Some(Answer::PanicInCall);
        state.calls.push(Scripted {
            record,
            answer,
            waker: None,
            is_live: !panics,
        });
        let number = state.calls.len() - 1;
        drop(state);
        if panics {
            panic_quietly("scripted panic of the function");
        }
        let service = self.clone();
        Request { service, number }
    }

    pub(super) fn answer(&self, call: usize, answer: Answer) {
        let waker = {
            let mut state = self.state();
            state.calls[call].answer = Some(answer);
            state.calls[call].waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The record of each call, in the order in which they were made.
    pub(super) fn made(&self) -> Vec<u64> {
        self.state().calls.iter().map(|call| call.record).collect()
    }

    /// The calls whose futures exist, each with its record.
    pub(super) fn live(&self) -> Vec<(usize, u64)> {
        let state = self.state();
        let calls = state.calls.iter().enumerate();
        let live = calls.filter(|(_, call)| call.is_live);
        live.map(|(number, call)| (number, call.record)).collect()
    }
}

/// The future of one call.
pub(super) struct Request {
    service: Service,
    number: usize,
}

impl Future for Request {
    type Output = Result<u64, Refused>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.service.state();
        let call = &mut state.calls[self.number];
        let record = call.record;
        match call.answer.take() {
            Some(Answer::Output(how)) => Poll::Ready(Ok(super::output(record, how))),
            Some(Answer::Refused) => Poll::Ready(Err(Refused)),
            Some(Answer::Panic | Answer::PanicInCall) => {
                drop(state);
                panic_quietly("scripted panic of the future")
            }
            None => {
                call.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.service.state().calls[self.number].is_live = false;
    }
}

/// Thousands of panics that everybody expects are not to be reported.
fn panic_quietly(message: &'static str) -> ! {
    resume_unwind(Box::new(message))
}
