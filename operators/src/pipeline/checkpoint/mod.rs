//! Checkpoints: what a job needs to go on after it was killed, as if it had not been.
//!
//! # What a barrier proves
//!
//! A checkpoint begins with a [barrier](crate::CheckpointBarrier) that every source puts into its stream, behind the last record that it
//! gave, and with its position there. The barrier stays between those records and the ones behind them, in every
//! channel, and an operator that has several inputs waits until it has the barrier from each: it takes nothing from an input
//! whose barrier came, until the others' came too. (An input that has ended has given all it had, and the checkpoint says that of a
//! source: it stays ended when the job goes on from there.) So when the barrier
//! reaches an operator, that has seen all records before the barrier, and none behind it; and what it then holds, it
//! gives to the barrier. An async stage gives the records that it works on, and those that wait in the queue behind it, in front of which
//! it puts the barrier: so the barrier waits for none of them. A stage whose input is over makes the barrier itself.
//!
//! When the barrier reaches the sink, it has passed everything. It has the positions of all sources, and for each
//! record before these positions either the sink has what came of it, or some operator held it and the barrier has it from
//! there. Nothing is missing, and nothing is there twice.
//!
//! # Why exactly once
//!
//! What the sink wrote must become visible together with the checkpoint that says so, or not at all. Two places can't be
//! changed at once, so it takes two phases:
//!
//! 1. The sink *prepares*: what it has written up to the barrier is safe, but not visible. What it needs to make it
//!    visible, whatever happens, goes into the checkpoint.
//! 2. The checkpoint is written, and gets its name by a rename. From this instant on it counts.
//! 3. The sink *commits*.
//!
//! Killed before 2, the job goes on from the checkpoint before: what was prepared since is not visible, and is cut off.
//! Killed after 2, it goes on from this one, and commits first, perhaps a second time: so a commit must be idempotent.
//! In both cases the visible output is that of the checkpoint, and what follows comes once. Calls to services are
//! another matter: a request that was unfinished at the barrier is made again after a restart, so calls are made *at least*
//! once.
//!
//! # Files
//!
//! A checkpoint is one file of a folder, `checkpoint-00000000000000000007`. It is written beside its name, synced, renamed,
//! and then the folder is synced; the last few are kept (`store.rs`). It begins with a magic number, a version, its length
//! and a checksum (`format.rs`): one that is torn, truncated or flipped is found, and the one before is used. When there
//! are checkpoints and none is usable the job does not begin, and nothing is overwritten.
//!
//! States are written by `postcard`, which is compact because it writes no names: a record type may be any that `serde`
//! can write and read again without them, which leaves out `#[serde(flatten)]`, `untagged` and `skip_serializing_if`. Nor does it
//! write types, so a state is read as whatever type asks for it. What finds that the program has changed is the list of parts, which is
//! compared as text, with the fields and variants that their states are made of (`form.rs`), and that no byte of a state may be left over.

mod error;
mod format;
mod requests;
mod store;

pub use error::{CheckpointError, Refused};
pub(super) use format::read;
pub(super) use requests::Requests;
pub(super) use store::{Store, folder_of, sync_folder};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All that is in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) number: u64,
    /// It is the last: all input was read, and all output prepared.
    pub(super) is_last: bool,
    /// The pipeline that it is of.
    pub(super) parts: Vec<Part>,
    /// What each part gave, by its name.
    pub(super) states: BTreeMap<String, Vec<u8>>,
}

/// An operator that takes part in checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) name: String,
    /// Its kind, the types of its records, and what it reads or writes, as text.
    pub(super) what: String,
    /// What its state is made of.
    pub(super) form: Vec<String>,
}

/// Of what the states of a part are made of, what is different.
fn difference_in_form(theirs: &Part, ours: &Part) -> String {
    let only_in = |one: &Part, other: &Part| {
        let entries = one.form.iter().filter(|entry| !other.form.contains(entry));
        let entries: Vec<&str> = entries.map(String::as_str).collect();
        match entries.is_empty() {
            true => "less".to_owned(),
            false => entries.join(", "),
        }
    };
    format!(
        "its `{}` keeps {}, and that of this pipeline {}",
        theirs.name,
        only_in(theirs, ours),
        only_in(ours, theirs)
    )
}

/// What has to change for a checkpoint of `theirs` to be one of `ours`. Empty: nothing.
pub(super) fn differences(theirs: &[Part], ours: &[Part]) -> Vec<String> {
    let find = |parts: &[Part], name: &str| parts.iter().find(|part| part.name == name).cloned();
    let mut differences = Vec::new();
    for part in theirs {
        match find(ours, &part.name) {
            None => differences.push(format!(
                "it has `{}` ({}), which this pipeline has not",
                part.name, part.what
            )),
            Some(own) if own.what != part.what => differences.push(format!(
                "its `{}` is {}, and that of this pipeline {}",
                part.name, part.what, own.what
            )),
            Some(own) if own.form != part.form => {
                differences.push(difference_in_form(part, &own));
            }
            Some(_) => {}
        }
    }
    let missing = ours
        .iter()
        .filter(|part| find(theirs, &part.name).is_none());
    differences.extend(missing.map(|part| format!("it has no `{}` ({})", part.name, part.what)));
    differences
}
