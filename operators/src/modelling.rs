//! Parts of a stage for models, which drive them without the rest.

#![allow(
    unreachable_pub,
    missing_docs,
    clippy::new_without_default,
    reason = "the models of loom-tests drive this module"
)]

use crate::signals::Signals;
use std::task::Waker;

/// The signals of a stage: what its task does with them, and the wakers that others have.
pub struct ModelSignals(Signals);

impl ModelSignals {
    pub fn new() -> ModelSignals {
        ModelSignals(Signals::new())
    }

    pub fn waker(&mut self, token: usize) -> Waker {
        self.0.waker(token).clone()
    }

    pub fn gather(&mut self) {
        self.0.gather();
    }

    pub fn next(&mut self) -> Option<usize> {
        self.0.next()
    }

    pub fn raise(&mut self, token: usize) {
        self.0.raise(token);
    }

    #[must_use]
    pub fn park(&mut self, task: &Waker) -> bool {
        self.0.park(task)
    }
}
