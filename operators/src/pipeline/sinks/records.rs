//! Which record it is that a file can't take.

use crate::error::BoxError;
use std::path::PathBuf;

/// Counts the records of a run, so that the one which is none for its file is named with it.
#[derive(Debug, Default)]
pub(super) struct Records(u64);

impl Records {
    /// The next record was written to the memory of the file with this path, or can't be.
    #[inline]
    pub(super) fn next<E: Into<BoxError>>(
        &mut self,
        written: Result<(), E>,
        path: impl FnOnce() -> PathBuf,
    ) -> Result<(), BoxError> {
        self.0 += 1;
        written.map_err(|error| {
            let (number, path, error) = (self.0, path(), error.into());
            format!(
                "cannot write record {number} of this run to {}: {error}",
                path.display()
            )
            .into()
        })
    }
}
