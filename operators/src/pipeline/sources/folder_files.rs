//! What a folder has: its listing, and whether that is still what a checkpoint speaks of.

use crate::error::BoxError;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirEntry, Metadata};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// A file, as it was when the folder was listed, or when it was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) name: String,
    length: u64,
    /// Its last change, since 1970.
    changed: Duration,
}

/// A file, and how far it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileAt<P> {
    pub(super) found: Found,
    pub(super) at: At<P>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum At<P> {
    Unread,
    Within(P),
    End,
}

/// The files whose names `keeps` holds for, in the order of their names.
pub(super) fn list(folder: &Path, keeps: &dyn Fn(&str) -> bool) -> Result<Vec<Found>, BoxError> {
    let cannot = |error| format!("cannot list {}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        files.extend(found(&entry.map_err(cannot)?, keeps)?);
    }
    files.sort_unstable_by(|one: &Found, other| one.name.cmp(&other.name));
    Ok(files)
}

/// None: it is not to be read.
fn found(entry: &DirEntry, keeps: &dyn Fn(&str) -> bool) -> Result<Option<Found>, BoxError> {
    let path = entry.path();
    let name = entry.file_name().into_string().map_err(|name| {
        format!(
            "the name of {} is no UTF-8: {name:?}; rename it, or put it elsewhere",
            path.display()
        )
    })?;
    if name.starts_with('.') || !keeps(&name) {
        return Ok(None);
    }
    let metadata = metadata(&path)?;
    let is_file = metadata.is_file();
    Ok(is_file.then(|| Found::new(name, &metadata)))
}

/// The file as it is now.
pub(super) fn look(folder: &Path, name: String) -> Result<Found, BoxError> {
    let metadata = metadata(&folder.join(&name))?;
    Ok(Found::new(name, &metadata))
}

impl Found {
    fn new(name: String, metadata: &Metadata) -> Self {
        Self {
            name,
            length: metadata.len(),
            changed: changed(metadata),
        }
    }
}

/// Of what a link leads to.
fn metadata(path: &Path) -> Result<Metadata, BoxError> {
    let metadata = fs::metadata(path);
    metadata.map_err(|error| format!("cannot look at {}: {error}", path.display()).into())
}

/// Where the system does not know, the length must do.
fn changed(metadata: &Metadata) -> Duration {
    let at = metadata.modified().ok();
    at.and_then(|at| at.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default()
}

/// The file of this name, if it is among these, which are in the order of their names.
pub(super) fn find<'a>(found: &'a [Found], name: &str) -> Option<&'a Found> {
    let place = found.binary_search_by(|found| found.name.as_str().cmp(name));
    place.ok().map(|place| &found[place])
}

/// An error that names each file which stands in the way of going on. Both are in the order of their names.
pub(super) fn refuse_differences<P>(
    folder: &Path,
    then: &[FileAt<P>],
    now: &[Found],
) -> Result<(), BoxError> {
    let known = |found: &&Found| {
        let place = then.binary_search_by(|file| file.found.name.cmp(&found.name));
        place.is_ok()
    };
    let added = now.iter().filter(|found| !known(found));
    let added = added.map(|found| format!("{} was added", found.name));
    let differences = then.iter().filter_map(|file| difference(file, now));
    let differences: Vec<String> = differences.chain(added).collect();
    match differences.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "the files in {} are not those of the checkpoint: {}; put them back as they were, or begin anew, with \
             another folder of checkpoints",
            folder.display(),
            differences.join("; ")
        )
        .into()),
    }
}

fn difference<P>(file: &FileAt<P>, now: &[Found]) -> Option<String> {
    let name = &file.found.name;
    let now = find(now, name);
    match (now, &file.at) {
        (None, At::End) | (Some(_), At::Unread) => None,
        (None, _) => Some(format!("{name} is gone, and was not read to its end")),
        (Some(now), _) if *now == file.found => None,
        (Some(now), _) => Some(format!(
            "{name} was changed since it was read (it had {} bytes, and has {})",
            file.found.length, now.length
        )),
    }
}
