//! A barrier: what cuts a stream into what a checkpoint holds and what it doesn't.

use crate::sync::Mutex;
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

/// Stands in a stream where a checkpoint cuts it, and collects on its way what the operators hold.
///
/// Only pipelines make any; their module says what a barrier proves. Clones are the same barrier, on its way through several branches.
#[derive(Clone)]
pub struct CheckpointBarrier {
    pub(crate) number: u64,
    pub(crate) states: Arc<Mutex<States>>,
}

/// The bytes of each operator, by its name.
pub(crate) type States = BTreeMap<Arc<str>, Vec<u8>>;

impl CheckpointBarrier {
    /// The number of the checkpoint. Each has a higher one than those before.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The operator of this name has passed the barrier, with this state.
    pub(crate) fn put(&self, name: &Arc<str>, state: Vec<u8>) {
        self.states.lock().insert(Arc::clone(name), state);
    }

    /// As `put`, behind what the operator of this name has put already.
    #[cfg(feature = "pipeline")]
    pub(crate) fn put_behind(&self, name: &Arc<str>, state: &[u8]) {
        let mut states = self.states.lock();
        states.entry(Arc::clone(name)).or_default().extend(state);
    }
}

impl PartialEq for CheckpointBarrier {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number && Arc::ptr_eq(&self.states, &other.states)
    }
}

impl Eq for CheckpointBarrier {}

impl Debug for CheckpointBarrier {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CheckpointBarrier")
            .field(&self.number)
            .finish()
    }
}
