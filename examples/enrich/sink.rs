//! Where every row ends: counted, and written to the output or to the dead letters.
//!
//! | outcomes of | end in | a killed run |
//! |---|---|---|
//! | blocking mode | [`Files`], directly | leaves nothing |
//! | the event loop | [`Files`] behind [`Unnamed`], a sink of the pipeline | leaves nothing |
//! | the event loop, with `--state` | [`Kept`], a sink of the pipeline | leaves both as `.part`, and the next goes on with them |

use std::error::Error;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use peu::pipeline::{Host, LinesWriter, PreparedFile, Sink};
use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure};
use crate::join::{Kind, Outcome};
use crate::output::{self, Output};
use crate::report::{Counts, Totals};

/// Both files, in the making.
pub(crate) struct Files {
    output: Output,
    dead_letters: Output,
}

impl Files {
    /// Makes both files. Neither may be one of the `inputs`, which it would replace.
    pub(crate) fn create(
        output: &Path,
        dead_letters: &Path,
        inputs: &[PathBuf],
    ) -> Result<Files, Failure> {
        refuse_inputs(output, inputs)?;
        refuse_inputs(dead_letters, inputs)?;
        let (output, dead_letters) = (Output::create(output)?, Output::create(dead_letters)?);
        refuse_same(output.path(), dead_letters.path())?;
        Ok(Files {
            output,
            dead_letters,
        })
    }

    /// Writes what became of a row.
    pub(crate) fn write(&mut self, outcome: &Outcome) -> Result<(), Failure> {
        self.append(outcome)?;
        match self.is_full() {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn append(&mut self, outcome: &Outcome) -> Result<(), Failure> {
        let file = match outcome.kind {
            Kind::Record { .. } => &mut self.output,
            Kind::DeadLetter(_) => &mut self.dead_letters,
        };
        file.append(outcome.row, &outcome.line)
    }

    fn is_full(&self) -> bool {
        self.output.is_full() || self.dead_letters.is_full()
    }

    fn flush(&mut self) -> Result<(), Failure> {
        [&mut self.dead_letters, &mut self.output]
            .into_iter()
            .filter(|file| file.is_full())
            .try_for_each(Output::flush)
    }

    /// All rows were written. When both files are on the disk they get their names, the dead letters first: an output that
    /// is new has its dead letters beside it. Should it get no name, an earlier output stays, and the failure says so.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let dead_letters = self.dead_letters.complete()?;
        let output = self.output.complete()?;
        let beside = dead_letters.path().to_owned();
        dead_letters.publish()?;
        output.publish().map_err(|failure| {
            Failure::new(format!(
                "{failure}; {} is of this run already",
                beside.display()
            ))
        })
    }
}

/// [`Files`] at the end of a pipeline: what blocks is done where that harms no look-up.
pub(crate) struct Unnamed {
    totals: Totals,
    files: Option<Files>,
    host: Option<Host>,
}

impl Unnamed {
    pub(crate) fn new(files: Files, totals: Totals) -> Unnamed {
        Unnamed {
            totals,
            files: Some(files),
            host: None,
        }
    }

    /// Takes the files to where it may block.
    async fn with_files<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(Files) -> Result<T, Failure> + Send + 'static,
    ) -> Result<Option<T>, Failure> {
        let (Some(host), Some(files)) = (&self.host, self.files.take()) else {
            return Ok(None);
        };
        let done = host.offload(move || work(files)).await;
        done.context(|| "cannot write".to_owned())?.map(Some)
    }
}

impl Sink<Outcome> for Unnamed {
    type Prepared = ();
    type Error = Failure;

    async fn open(&mut self, host: &Host, _restored: Option<&()>) -> Result<(), Failure> {
        self.host = Some(host.clone());
        Ok(())
    }

    async fn write(&mut self, outcome: Outcome) -> Result<(), Failure> {
        self.totals.count(&outcome);
        let Some(files) = &mut self.files else {
            return Ok(());
        };
        files.append(&outcome)?;
        if files.is_full() {
            let flush = |mut files: Files| files.flush().map(|()| files);
            self.files = self.with_files(flush).await?;
        }
        Ok(())
    }

    /// Without checkpoints this comes once, at the end, and a commit follows at once.
    async fn prepare(&mut self, _is_last: bool) -> Result<(), Failure> {
        Ok(())
    }

    async fn commit(&mut self, _prepared: &()) -> Result<(), Failure> {
        self.with_files(Files::finish).await.map(drop)
    }

    /// What has no name vanishes.
    async fn abort(&mut self) {
        self.files = None;
    }
}

/// Both files, of a job with checkpoints: a killed one goes on with what is in them.
pub(crate) struct Kept {
    totals: Totals,
    output: LinesWriter,
    dead_letters: LinesWriter,
}

/// What a checkpoint holds of them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Prepared {
    output: PreparedFile,
    dead_letters: PreparedFile,
    counts: Counts,
}

impl Kept {
    /// Makes no file yet. Neither may be one of the `inputs`.
    pub(crate) fn new(
        output: &Path,
        dead_letters: &Path,
        inputs: &[PathBuf],
        totals: Totals,
    ) -> Result<Kept, Failure> {
        let place = |path: &Path| {
            refuse_inputs(path, inputs)?;
            let resolved = output::resolve(path);
            let cannot = || format!("cannot create {} for a run with --state", path.display());
            resolved.context(cannot)
        };
        let (output, dead_letters) = (place(output)?, place(dead_letters)?);
        refuse_same(&output, &dead_letters)?;
        Ok(Kept {
            totals,
            output: LinesWriter::create(output),
            dead_letters: LinesWriter::create(dead_letters),
        })
    }
}

impl Sink<Outcome> for Kept {
    type Prepared = Prepared;
    type Error = Box<dyn Error + Send + Sync>;

    async fn open(&mut self, host: &Host, restored: Option<&Prepared>) -> Result<(), Self::Error> {
        let files = restored.map(|restored| (&restored.output, &restored.dead_letters));
        let (output, dead_letters) = files.unzip();
        Sink::<String>::open(&mut self.output, host, output).await?;
        Sink::<String>::open(&mut self.dead_letters, host, dead_letters).await?;
        if let Some(restored) = restored {
            self.totals.go_on_from(restored.counts.clone());
        }
        Ok(())
    }

    async fn write(&mut self, outcome: Outcome) -> Result<(), Self::Error> {
        self.totals.count(&outcome);
        let line = outcome.line.to_text()?;
        match outcome.kind {
            Kind::Record { .. } => self.output.write(line).await,
            Kind::DeadLetter(_) => self.dead_letters.write(line).await,
        }
    }

    async fn prepare(&mut self, is_last: bool) -> Result<Prepared, Self::Error> {
        Ok(Prepared {
            output: Sink::<String>::prepare(&mut self.output, is_last).await?,
            dead_letters: Sink::<String>::prepare(&mut self.dead_letters, is_last).await?,
            counts: self.totals.counts(),
        })
    }

    /// The dead letters first, as in [`Files::finish`].
    async fn commit(&mut self, prepared: &Prepared) -> Result<(), Self::Error> {
        Sink::<String>::commit(&mut self.dead_letters, &prepared.dead_letters).await?;
        Sink::<String>::commit(&mut self.output, &prepared.output).await
    }

    /// A checkpoint of a run into other files is refused.
    fn writes(&self) -> Option<String> {
        let output = Sink::<String>::writes(&self.output)?;
        let dead_letters = Sink::<String>::writes(&self.dead_letters)?;
        Some(format!("{output}; dead letters: {dead_letters}"))
    }

    async fn abort(&mut self) {
        Sink::<String>::abort(&mut self.dead_letters).await;
        Sink::<String>::abort(&mut self.output).await;
    }
}

fn refuse_same(output: &Path, dead_letters: &Path) -> Result<(), Failure> {
    match output == dead_letters {
        false => Ok(()),
        true => Err(Failure::new(format!(
            "the output and the dead letters are the same file, {}: give one of them another name",
            output.display()
        ))),
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
