//! The requests of an async sink that are in flight.

use super::async_answers::Answers;
use super::async_buffer::Entry;
use crate::flight::BoxFuture;
use crate::panics::caught;
use std::time::Instant;

/// Requests by their places. A place is that of one request until it is taken; then it is used again.
pub(super) struct Requests<T>(Vec<Option<Request<T>>>);

pub(super) struct Request<T> {
    pub(super) entries: Vec<Entry<T>>,
    pub(super) future: BoxFuture<Answers>,
    /// When it has failed for want of an answer.
    pub(super) deadline: Option<Instant>,
}

impl<T> Requests<T> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn put(&mut self, request: Request<T>) -> usize {
        let free = self.0.iter().position(Option::is_none);
        let place = free.unwrap_or(self.0.len());
        match free {
            Some(place) => self.0[place] = Some(request),
            None => self.0.push(Some(request)),
        }
        place
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Request<T>> {
        self.0.get_mut(place)?.as_mut()
    }

    pub(super) fn take(&mut self, place: usize) -> Option<Request<T>> {
        self.0.get_mut(place)?.take()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all().count()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry<T>> {
        self.all().flat_map(|request| &request.entries)
    }

    pub(super) fn deadlines(&self) -> impl Iterator<Item = Instant> {
        self.all().filter_map(|request| request.deadline)
    }

    /// The places of those whose deadline has come.
    pub(super) fn expired(&self, now: Instant) -> Vec<usize> {
        let places = self.0.iter().enumerate();
        let is_expired = |request: &Request<T>| request.deadline.is_some_and(|at| at <= now);
        places
            .filter(|(_, request)| request.as_ref().is_some_and(is_expired))
            .map(|(place, _)| place)
            .collect()
    }

    /// Drops them, each caught: while a first one panics, a second would end the process.
    pub(super) fn clear(&mut self) {
        for request in self.0.drain(..).flatten() {
            drop(request.end());
        }
    }

    fn all(&self) -> impl Iterator<Item = &Request<T>> {
        self.0.iter().flatten()
    }
}

impl<T> Drop for Requests<T> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<T> Request<T> {
    /// Drops the future; a panic of its `drop` ends here.
    pub(super) fn end(self) -> Vec<Entry<T>> {
        let Self {
            entries, future, ..
        } = self;
        let _ = caught(|| drop(future));
        entries
    }
}
