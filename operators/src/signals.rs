//! Who woke the stage, and why: only what was woken is polled.
//!
//! A stage waits for many things at once: its input, its timer, room in its outlet, and every request in flight. Each
//! has a [`Signal`], which is a waker with a token. Waking it puts the token on a list that all signals share, and
//! wakes the stage's task. The task takes the list over, and looks at those tokens and at nothing else.
//!
//! # Why no wake-up is lost
//!
//! The shared list and the task's waker are under one mutex, and a signal's flag says whether its token is listed.
//!
//! 1. A wake-up that finds the flag clear lists the token. Either the task has yet to [`park`](Signals::park), and
//!    then sees the token there and does not; or it has parked, and left its waker, which is called.
//! 2. A wake-up that finds the flag set does nothing. Then the token is listed, here or in the stage's own queue, and
//!    has not been looked at, for [`next`](Signals::next) clears the flag before the stage looks. So the stage will
//!    look, and what the waker's thread did before is seen (the pair of orderings below).
//!
//! What the stage lists itself, because it has more to do for a token, is in its own queue and nowhere else, and has a mark there: no atomic is
//! touched for it, which counts, as it happens for every record. A wake-up that comes meanwhile lists the token once more.
//!
//! The task's waker is called after the mutex is released. A stale wake-up, for a request that is long gone, costs one
//! look at an empty slot, or one needless poll of the slot's next request: every future must bear that anyway.

use crate::sync::{AtomicBool, Mutex, Ordering, twin};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Wake, Waker};

/// What a signal stands for: one of these, or a request's slot, counted from `FIRST_REQUEST`.
pub(crate) type Token = usize;
pub(crate) const INPUT: Token = 0;
pub(crate) const TIMER: Token = 1;
pub(crate) const ROOM: Token = 2;
pub(crate) const FIRST_REQUEST: Token = 3;

/// The mark of a token that the stage has listed itself.
const RAISED: Token = 1 << (Token::BITS - 1);

/// The stage's end: every signal, and the queue of those that are due.
pub(crate) struct Signals {
    shared: Arc<Shared>,
    /// By token; made when first asked for, then reused by each request that gets the slot.
    signals: Vec<(Arc<Signal>, Waker)>,
    /// Which of the first few tokens are in the queue with the mark `RAISED`.
    raised: [bool; FIRST_REQUEST],
    /// Tokens that the stage has taken over and not yet looked at, oldest first; those that it raised have the mark `RAISED`.
    queue: VecDeque<Token>,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::new(Shared::default()),
            signals: Vec::new(),
            raised: [false; FIRST_REQUEST],
            queue: VecDeque::new(),
        }
    }

    /// The waker that lists `token`.
    pub(crate) fn waker(&mut self, token: Token) -> &Waker {
        if self.signals.len() <= token {
            self.add_up_to(token);
        }
        &self.signals[token].1
    }

    /// The wakers that list these two tokens.
    pub(crate) fn wakers(&mut self, tokens: [Token; 2]) -> [&Waker; 2] {
        let last = tokens[0].max(tokens[1]);
        if self.signals.len() <= last {
            self.add_up_to(last);
        }
        tokens.map(|token| &self.signals[token].1)
    }

    #[cold]
    fn add_up_to(&mut self, token: Token) {
        while self.signals.len() <= token {
            let signal = Arc::new(Signal {
                token: self.signals.len(),
                listed: AtomicBool::new(false),
                shared: Arc::clone(&self.shared),
            });
            self.signals
                .push((Arc::clone(&signal), Waker::from(signal)));
        }
    }

    /// Takes over what was woken since, behind what is still queued.
    pub(crate) fn gather(&mut self) {
        self.queue.extend(self.shared.state.lock().woken.drain(..));
    }

    /// Whether requests were woken, fewer than so many, and nothing else was.
    pub(crate) fn are_few_requests(&self, few: usize) -> bool {
        let is_request = |token: &Token| token & !RAISED >= FIRST_REQUEST;
        (1..few).contains(&self.queue.len()) && self.queue.iter().all(is_request)
    }

    /// Whether no token waits to be looked at.
    pub(crate) fn is_quiet(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next token to look at.
    pub(crate) fn next(&mut self) -> Option<Token> {
        let token = self.queue.pop_front()?;
        if token & RAISED != 0 {
            let token = token & !RAISED;
            self.raised[token] = false;
            return Some(token);
        }
        let listed = &self.signals[token].0.listed;
        if twin("signals-clear-by-store") {
            // ORDERING: the calibration twin: a store in place of the swap acquires nothing.
            listed.store(false, Ordering::Relaxed);
            return Some(token);
        }
        // ORDERING: Acquire, pairs with the Release of `Signal::wake_by_ref`: what happened before a wake-up that
        // found the flag set is seen by the look that follows.
        listed.swap(false, Ordering::Acquire);
        Some(token)
    }

    /// Queues `token`, which is no request's, from inside the stage: there is more to do for it.
    pub(crate) fn raise(&mut self, token: Token) {
        if !std::mem::replace(&mut self.raised[token], true) {
            self.queue.push_back(token | RAISED);
        }
    }

    /// True: nothing is due, and `task` is woken when something is. False: something is due already.
    #[must_use]
    pub(crate) fn park(&mut self, task: &Waker) -> bool {
        if !self.queue.is_empty() {
            return false;
        }
        let task = task.clone();
        let mut state = self.shared.state.lock();
        if !state.woken.is_empty() && !twin("signals-park-unlooked") {
            return false;
        }
        let replaced = state.task.replace(task);
        drop(state);
        drop(replaced);
        true
    }
}

impl Drop for Signals {
    /// Signals that outlive the stage wake nobody, and do not keep its task in memory.
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        let task = state.task.take();
        drop(state);
        drop(task);
    }
}

/// What all signals of a stage share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Tokens listed since the stage last gathered, in the order of their wake-ups.
    woken: Vec<Token>,
    /// The stage's task, while it is parked.
    task: Option<Waker>,
}

impl Shared {
    fn list(&self, token: Token) {
        let task = {
            let mut state = self.state.lock();
            state.woken.push(token);
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// One thing that a stage waits for.
struct Signal {
    token: Token,
    /// Whether the token is listed by a wake-up, in `State::woken` or in `Signals::queue`: it never is twice.
    listed: AtomicBool,
    shared: Arc<Shared>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let order = if twin("signals-relaxed-wake") {
            Ordering::Relaxed
        } else {
            Ordering::Release
        };
        // ORDERING: the calibration twin: a load in place of the swap, where the flag is set.
        if twin("signals-wake-by-load") && self.listed.load(Ordering::Relaxed) {
            return;
        }
        // ORDERING: Release, pairs with the Acquire of `Signals::next`. A swap, not a load and a store: the look that
        // clears the flag after this one must read from it, or from a later read-modify-write.
        if !self.listed.swap(true, order) {
            self.shared.list(self.token);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{INPUT, ROOM, Signals, TIMER};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            // ORDERING: Relaxed, a count read by the same thread.
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn task() -> (Arc<Counter>, Waker) {
        let counter = Arc::new(Counter::default());
        (Arc::clone(&counter), Waker::from(counter))
    }

    fn count(counter: &Counter) -> usize {
        // ORDERING: Relaxed, a count read by the same thread.
        counter.0.load(Ordering::Relaxed)
    }

    #[test]
    fn tokens_come_in_the_order_of_their_wake_ups_each_once() {
        let mut signals = Signals::new();
        let (room, input) = (signals.waker(ROOM).clone(), signals.waker(INPUT).clone());
        for waker in [&room, &input, &room] {
            waker.wake_by_ref();
        }
        signals.gather();
        signals.raise(TIMER);
        signals.raise(TIMER);
        assert_eq!(signals.next(), Some(ROOM));
        room.wake_by_ref();
        signals.gather();
        assert_eq!(signals.next(), Some(INPUT));
        assert_eq!(signals.next(), Some(TIMER));
        assert_eq!(signals.next(), Some(ROOM));
        assert_eq!(signals.next(), None);
    }

    #[test]
    fn a_wake_up_is_listed_though_the_stage_has_raised_the_token_itself() {
        let mut signals = Signals::new();
        let input = signals.waker(INPUT).clone();
        signals.raise(INPUT);
        input.wake_by_ref();
        assert_eq!(signals.next(), Some(INPUT));
        signals.gather();
        assert_eq!(signals.next(), Some(INPUT));
        assert_eq!(signals.next(), None);
    }

    #[test]
    fn a_parked_task_is_woken_once_and_a_busy_one_never() {
        let mut signals = Signals::new();
        let (woken, task) = task();
        let (room, input) = (signals.waker(ROOM).clone(), signals.waker(INPUT).clone());
        room.wake_by_ref();
        assert!(!signals.park(&task), "a wake-up came before");
        signals.gather();
        assert!(!signals.park(&task), "a token is queued");
        assert_eq!(signals.next(), Some(ROOM));
        assert!(signals.park(&task));
        room.wake_by_ref();
        input.wake_by_ref();
        assert_eq!(count(&woken), 1);
    }

    #[test]
    fn a_signal_that_outlives_the_stage_is_harmless_and_holds_no_task() {
        let mut signals = Signals::new();
        let (woken, task) = task();
        let room = signals.waker(ROOM).clone();
        assert!(signals.park(&task));
        drop(signals);
        drop(task);
        assert_eq!(Arc::strong_count(&woken), 1);
        room.wake_by_ref();
        assert_eq!(count(&woken), 0);
    }
}
