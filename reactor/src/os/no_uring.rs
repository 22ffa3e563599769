//! Where there is no ring: the same names, and types that have no values.

use crate::events::Key;
use crate::file::call::What;
use std::convert::Infallible;
use std::io;
use std::time::Duration;

/// There is none.
#[derive(Clone)]
pub(crate) struct Entry(Infallible);
/// There is none.
pub(crate) struct Submission(Infallible);
/// There is none.
pub(crate) struct Completion(Infallible);
/// There is none.
pub(crate) struct Bell(Infallible);

pub(crate) fn ring(_: &mio::Registry, _: u32) -> io::Result<(Submission, Completion)> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Submission {
    /// # Safety
    /// It is never called.
    pub(crate) unsafe fn push(&mut self, _: &Entry, _: bool) -> bool {
        match self.0 {}
    }

    pub(crate) fn pending(&mut self) -> usize {
        match self.0 {}
    }

    pub(crate) fn keeps_reports(&mut self) -> bool {
        match self.0 {}
    }

    pub(crate) fn bell(&self) -> Bell {
        match self.0 {}
    }
}

impl Bell {
    pub(crate) fn ring(&self) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn wait(&self, _: Duration) {
        match self.0 {}
    }
}

impl Completion {
    pub(crate) fn collect(&mut self, _: &mut Vec<(Key, i32)>) -> usize {
        match self.0 {}
    }
}

impl Entry {
    pub(crate) fn of(_: &mut What) -> Option<Entry> {
        None
    }

    pub(crate) fn cancel(_: Key) -> Entry {
        unreachable!("nothing is in flight where there is no ring")
    }

    pub(crate) fn with_key(self, _: Key) -> Entry {
        match self.0 {}
    }

    pub(crate) fn key(&self) -> Key {
        match self.0 {}
    }

    pub(crate) fn bytes(&self) -> usize {
        match self.0 {}
    }
}
