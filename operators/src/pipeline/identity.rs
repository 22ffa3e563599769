//! Which file it is, whatever it is called.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// A file's number, and that of its file system: no two files that exist have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    device: u64,
    pub(crate) inode: u64,
}

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

impl Display for Identity {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "inode {}", self.inode)
    }
}
