//! What operators are given when they are opened: their names, their states, the runtime, and a place for their tasks.

use super::checkpoint::{Part, Requests, read};
use super::form::form_of;
use super::host::Host;
use super::metrics::{OperatorMonitor, Tally};
use crate::error::BoxError;
use crate::metrics::Monitor;
use serde::de::DeserializeOwned;
use std::any::type_name;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Collects what a job is made of while its operators open, one after the other, from the source on.
pub struct Opening {
    pub(super) host: Host,
    pub(super) requests: Arc<Requests>,
    /// In front of every name: which lane it is in.
    scope: String,
    /// What is left of the checkpoint that the job goes on from.
    states: Option<BTreeMap<String, Vec<u8>>>,
    pub(super) parts: Vec<Part>,
    /// The names of the sources.
    pub(super) sources: Vec<Arc<str>>,
    /// Upstream first.
    pub(super) tasks: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pub(super) monitors: Vec<(Arc<str>, Monitor)>,
    /// Of all but async stages, upstream first.
    pub(super) operators: Vec<(Arc<str>, OperatorMonitor)>,
    pub(super) trouble: Vec<Trouble>,
}

/// Why a job can't begin.
pub(super) enum Trouble {
    SameName(Arc<str>),
    /// The state of this operator can't be read.
    State(Arc<str>, BoxError),
    /// This operator was given a side output, and no sink of this job takes the records.
    NoSideSink(Arc<str>),
}

impl Opening {
    pub(super) fn new(
        host: Host,
        requests: Arc<Requests>,
        states: Option<BTreeMap<String, Vec<u8>>>,
    ) -> Self {
        Self {
            host,
            requests,
            scope: String::new(),
            states,
            parts: Vec::new(),
            sources: Vec::new(),
            tasks: Vec::new(),
            monitors: Vec::new(),
            operators: Vec::new(),
            trouble: Vec::new(),
        }
    }

    /// Enters an operator that has a state under the name that the user gave it.
    pub(super) fn enter(&mut self, name: &str, what: String) -> Arc<str> {
        let name: Arc<str> = format!("{}{name}", self.scope).into();
        if self.parts.iter().any(|part| *part.name == *name) {
            self.trouble.push(Trouble::SameName(Arc::clone(&name)));
        }
        self.parts.push(Part {
            name: name.to_string(),
            what,
            form: Vec::new(),
        });
        name
    }

    /// Enters an operator that the user gave no name. The first is called `kind`, the next `kind 2`, and so on.
    pub(super) fn enter_unnamed(&mut self, kind: &str, what: String) -> Arc<str> {
        let is_taken = |name: &str| {
            let name = format!("{}{name}", self.scope);
            self.parts.iter().any(|part| part.name == name)
        };
        let numbered = (2..).map(|number| format!("{kind} {number}"));
        let mut names = std::iter::once(kind.to_owned()).chain(numbered);
        let name = names.find(|name| !is_taken(name)).unwrap_or_default();
        self.enter(&name, what)
    }

    /// The state that the operator had in the checkpoint; none if the job begins anew.
    pub(super) fn state<S: DeserializeOwned>(&mut self, name: &Arc<str>) -> Option<S> {
        self.state_and_bytes(name).map(|(state, _)| state)
    }

    /// As [`state`](Self::state), with the bytes that say the same.
    pub(super) fn state_and_bytes<S: DeserializeOwned>(
        &mut self,
        name: &Arc<str>,
    ) -> Option<(S, Vec<u8>)> {
        if let Some(part) = self.parts.iter_mut().rfind(|part| *part.name == **name) {
            part.form = form_of::<S>();
        }
        let bytes = self.states.as_mut()?.remove(&**name)?;
        match read(&bytes) {
            Ok(state) => Some((state, bytes)),
            Err(error) => {
                self.trouble.push(Trouble::State(Arc::clone(name), error));
                None
            }
        }
    }

    /// Enters the counters of an operator.
    pub(super) fn tally(&mut self, name: &Arc<str>, tally: &Tally) {
        self.operators.push((Arc::clone(name), tally.monitor()));
    }

    /// Enters the counters of the side sinks, which are part of the sink, and have no state of their own.
    pub(super) fn side_sinks(&mut self, monitors: Vec<OperatorMonitor>) {
        let numbered = (2..).map(|number| format!("side sink {number}"));
        let names = std::iter::once("side sink".to_owned()).chain(numbered);
        let named = names.map(Arc::from).zip(monitors);
        self.operators.extend(named);
    }

    /// Enters the counters of a sink, which has no part in the stages' names, but must not share one.
    pub(super) fn sink_monitor(&mut self, name: Arc<str>, monitor: Monitor) {
        if self.monitors.iter().any(|(other, _)| *other == name) {
            self.trouble.push(Trouble::SameName(Arc::clone(&name)));
        }
        self.monitors.push((name, monitor));
    }

    /// Opens operators inside of the lane with this number.
    pub(super) fn in_lane(&mut self, lane: usize, open: impl FnOnce(&mut Self)) {
        let outside = self.scope.clone();
        self.scope = format!("{outside}lane {lane}: ");
        open(self);
        self.scope = outside;
    }

    /// Runs once everything is open.
    pub(super) fn task(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(Box::pin(task));
    }
}

/// The name of a type, for people and for the comparison of pipelines.
pub(super) fn name_of<T: ?Sized>() -> &'static str {
    type_name::<T>()
}
