//! Where every row ends, in both modes: counted, written to the output or to the dead letters, shown on the bar.
//!
//! The sink works on the thread that called it, and its writes block. In event-loop mode that is the program's main
//! thread, which is no worker: look-ups go on while it writes.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::ProgressBar;

use crate::failure::Failure;
use crate::join::Outcome;
use crate::output::Output;
use crate::report::{Report, Run, Tally};

/// Takes the outcome of each row.
pub(crate) struct Sink {
    output: Output,
    dead_letters: Output,
    tally: Tally,
    bar: ProgressBar,
    started: Instant,
}

impl Sink {
    /// Makes both files. Neither may be one of the `inputs`, which it would replace.
    pub(crate) fn create(
        output: &Path,
        dead_letters: &Path,
        inputs: &[PathBuf],
        bar: ProgressBar,
    ) -> Result<Sink, Failure> {
        refuse_inputs(output, inputs)?;
        refuse_inputs(dead_letters, inputs)?;
        let (output, dead_letters) = (Output::create(output)?, Output::create(dead_letters)?);
        if output.path() == dead_letters.path() {
            return Err(Failure::new(format!(
                "the output and the dead letters are the same file, {}: give one of them another name",
                output.path().display()
            )));
        }
        Ok(Sink {
            output,
            dead_letters,
            tally: Tally::new()?,
            bar,
            started: Instant::now(),
        })
    }

    /// Writes what became of a row.
    pub(crate) fn take(&mut self, outcome: &Outcome) -> Result<(), Failure> {
        self.tally.count(outcome);
        self.bar.inc(1);
        match outcome {
            Outcome::Record { record, .. } => self.output.write(record.row, record),
            Outcome::DeadLetter(letter) => self.dead_letters.write(letter.row, letter),
        }
    }

    /// All rows were taken. When both files are on the disk they get their names, the dead letters first: an output that
    /// is new has its dead letters beside it. Should it get no name, an earlier output stays, and the failure says so.
    pub(crate) fn finish(self, run: Run) -> Result<Report, Failure> {
        let dead_letters = self.dead_letters.complete()?;
        let output = self.output.complete()?;
        let beside = dead_letters.path().to_owned();
        dead_letters.publish()?;
        output.publish().map_err(|failure| {
            Failure::new(format!(
                "{failure}; {} is of this run already",
                beside.display()
            ))
        })?;
        self.bar.finish_and_clear();
        Ok(self.tally.report(run, self.started.elapsed()))
    }
}

fn refuse_inputs(output: &Path, inputs: &[PathBuf]) -> Result<(), Failure> {
    let Some(replaced) = identity(output) else {
        return Ok(());
    };
    match inputs
        .iter()
        .find(|input| identity(input) == Some(replaced))
    {
        None => Ok(()),
        Some(input) => Err(Failure::new(format!(
            "cannot write {}: the job reads it, as {}; give the output another name",
            output.display(),
            input.display()
        ))),
    }
}

/// What a file is known by, whichever of its names is used. Nothing replaces a device, so it may be read and written.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = path.metadata().ok().filter(Metadata::is_file)?;
    Some((file.dev(), file.ino()))
}
