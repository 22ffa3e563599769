//! What operators with a state have in common: it goes into the checkpoint, and most need event times.

use crate::element::Mark;
use crate::error::{Cause, StageError};
use serde::Serialize;
use std::sync::Arc;

/// Puts the state into the checkpoint if this mark is a barrier, and the operator is open, so has a name.
pub(super) fn save(
    mark: &Mark,
    name: Option<&Arc<str>>,
    state: &impl Serialize,
) -> Result<(), StageError> {
    if let (Mark::Checkpoint(barrier), Some(name)) = (mark, name) {
        let state = postcard::to_stdvec(state).map_err(|error| {
            StageError::of_stage(Arc::clone(name), Cause::Snapshot(error.into()))
        })?;
        barrier.put(name, state);
    }
    Ok(())
}

/// A record came to this operator without event time. `what` it is in front of which event times are missing.
pub(super) fn without_time(name: Option<&Arc<str>>, what: &str) -> StageError {
    let why = format!("a record has no event time; put `event_time` in front of the {what}");
    let name = name.cloned().unwrap_or_else(|| Arc::from(what));
    StageError::of_stage(name, Cause::Input(why.into()))
}
