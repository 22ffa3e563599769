use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// The user's function, scripted: what it was called with, and what its requests answer, when.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    made: Vec<u64>,
    live: Vec<u64>,
    /// For each record, what its next attempts answer.
    answers: HashMap<u64, VecDeque<Answer>>,
    wakers: HashMap<u64, Waker>,
    polls: HashMap<u64, usize>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Output(u64),
    Refused,
    /// The future panics.
    Panic,
    /// The function panics, before there is a future. Counts only before the call.
    PanicInCall,
}

#[derive(Debug)]
pub(crate) struct Refused;

impl Display for Refused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl Error for Refused {}

impl State {
    fn next_answer(&self, record: u64) -> Option<Answer> {
        self.answers.get(&record)?.front().copied()
    }

    fn take_answer(&mut self, record: u64) -> Option<Answer> {
        self.answers.get_mut(&record)?.pop_front()
    }
}

impl Calls {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic is scripted under this lock")
    }

    /// The user's function.
    pub(crate) fn call(&self, record: u64) -> Request {
        let mut state = self.state();
        state.made.push(record);
        if state.next_answer(record) == Some(Answer::PanicInCall) {
            let _ = state.take_answer(record);
            drop(state);
            panic!("scripted panic of the function");
        }
        state.live.push(record);
        drop(state);
        Request {
            calls: self.clone(),
            record,
        }
    }

    /// Gives an attempt its answer, and wakes it. Before the call is made: it will be ready at its first poll. Answers that
    /// come before one was fetched are for the attempts that follow.
    pub(crate) fn answer(&self, record: u64, answer: Answer) {
        let mut state = self.state();
        state.answers.entry(record).or_default().push_back(answer);
        drop(state);
        self.wake(record);
    }

    /// Wakes a request, with or without an answer, and even when it is long gone.
    pub(crate) fn wake(&self, record: u64) {
        let waker = self.state().wakers.get(&record).cloned();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The records that the function was called with, in order.
    pub(crate) fn made(&self) -> Vec<u64> {
        self.state().made.clone()
    }

    /// The records whose futures exist, in the order of their calls.
    pub(crate) fn live(&self) -> Vec<u64> {
        self.state().live.clone()
    }

    /// How often the request of a record was polled.
    pub(crate) fn polls(&self, record: u64) -> usize {
        self.state().polls.get(&record).copied().unwrap_or(0)
    }
}

/// The future of one call.
pub(crate) struct Request {
    calls: Calls,
    record: u64,
}

impl Future for Request {
    type Output = Result<u64, Refused>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.calls.state();
        *state.polls.entry(self.record).or_default() += 1;
        match state.take_answer(self.record) {
            Some(Answer::Output(output)) => Poll::Ready(Ok(output)),
            Some(Answer::Refused) => Poll::Ready(Err(Refused)),
            Some(Answer::Panic | Answer::PanicInCall) => {
                drop(state);
                panic!("scripted panic of the future");
            }
            None => {
                let waker = cx.waker().clone();
                state.wakers.insert(self.record, waker);
                Poll::Pending
            }
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = self.calls.state();
        let this = state.live.iter().position(|live| *live == self.record);
        state.live.remove(this.expect("a call that was made"));
    }
}
