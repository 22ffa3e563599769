//! A pipeline with its sink: what can be run.

use super::checkpoint::{Checkpoint, CheckpointError, Requests, Store, differences};
use super::drive::{Counts, Drive, ask_every};
use super::error::PipelineError;
use super::host::{Host, Runtime};
use super::metrics::{OperatorMonitor, Tally};
use super::opening::{Opening, Trouble, name_of};
use super::operator::Operator;
use super::report::{Report, Restored};
use super::side_output::{Attach, SideRecords};
use super::sink::Sink;
use super::sinks::WithSide;
use crate::metrics::Monitor;
use futures_channel::oneshot;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// As many as let a job outlive a bad file and the one before it.
const DEFAULT_KEPT: usize = 3;

/// How often checkpoints are made, how many are kept, and whether the job goes on from one.
///
/// # Examples
///
/// See [`Job::checkpoint`].
#[derive(Clone, Copy, Debug)]
#[must_use = "checkpoints are made when a job has them"]
pub struct Checkpoints {
    interval: Duration,
    keep: usize,
    restore: bool,
}

/// A checkpoint is begun when so much time has passed since the last was complete. The last 3 are kept, and the job begins
/// anew, unless told otherwise.
pub fn every(interval: Duration) -> Checkpoints {
    Checkpoints {
        interval,
        keep: DEFAULT_KEPT,
        restore: false,
    }
}

impl Checkpoints {
    /// Keeps the last `count` checkpoints. When the newest turns out damaged, the one before it is used.
    ///
    /// # Panics
    ///
    /// If `count` is 0: then none would be there to go on from.
    #[track_caller]
    pub fn keep(mut self, count: usize) -> Self {
        assert!(count > 0, "at least 1 checkpoint must be kept");
        self.keep = count;
        self
    }

    /// Goes on from the newest checkpoint in the folder, if there is one. Without this, a folder that has checkpoints is refused:
    /// they may be worth something to someone.
    pub fn restore(mut self) -> Self {
        self.restore = true;
        self
    }
}

/// A pipeline with its sink: what [`Pipeline::sink`](super::Pipeline::sink) makes.
#[must_use = "a job does nothing until it is run"]
pub struct Job<O, K> {
    operator: O,
    sink: K,
    /// Of the side sinks, which are part of the sink.
    sides: Vec<(Attach, OperatorMonitor)>,
    checkpoints: Option<(Checkpoints, PathBuf)>,
}

impl<O, K> Job<O, K>
where
    O: Operator,
    K: Sink<O::Item>,
{
    pub(super) fn new(operator: O, sink: K) -> Self {
        Self {
            operator,
            sink,
            sides: Vec::new(),
            checkpoints: None,
        }
    }

    /// A sink of its own for the records of a [`side_output`](super::side_output), committed with the main one. What the [`Report`] counts
    /// as written are the main sink's records.
    ///
    /// # Errors
    ///
    /// The job does not begin if the other end of the side output is with no operator of this pipeline.
    pub fn side_sink<T, S: Sink<T>>(
        mut self,
        records: SideRecords<T>,
        sink: S,
    ) -> Job<O, WithSide<K, S, T>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let attach = records.attach();
        let sink = WithSide::new(self.sink, records, sink);
        self.sides.push((attach, sink.side_counters()));
        Job {
            operator: self.operator,
            sink,
            sides: self.sides,
            checkpoints: self.checkpoints,
        }
    }

    /// Makes checkpoints in `folder`, so that a job which was killed can go on: see [the module](super#checkpoints). The
    /// folder is this job's alone as long as it runs: another that would use it does not start.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::future::block_on;
    /// use peu_operators::pipeline::{JsonLines, Pipeline, every, iterate};
    /// use std::time::Duration;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = |name| folder.path().join(name);
    /// let job = || {
    ///     let checkpoints = every(Duration::from_secs(1)).restore();
    ///     let numbers = Pipeline::source(iterate(0..1_000));
    ///     numbers.sink(JsonLines::create(path("numbers.jsonl"))).checkpoint(checkpoints, path("state"))
    /// };
    /// let report = block_on(job().run_on(&Threads))?;
    /// assert_eq!((report.restored, report.written), (None, 1_000));
    ///
    /// // It has ended well; run again, it goes on from there.
    /// let report = block_on(job().run_on(&Threads))?;
    /// assert!(report.restored.is_some_and(|restored| restored.is_last));
    /// assert_eq!(report.written, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checkpoint(mut self, checkpoints: Checkpoints, folder: impl Into<PathBuf>) -> Self {
        self.checkpoints = Some((checkpoints, folder.into()));
        self
    }

    /// Runs the job to its end: [`start`](Job::start), and wait.
    ///
    /// # Errors
    ///
    /// If it can't begin, or does not come to its end.
    pub async fn run_on<R: Runtime>(self, runtime: &R) -> Result<Report, PipelineError> {
        self.start(runtime).await?.await
    }

    /// Opens everything, and then starts the tasks, the sink's first: no record is read before every operator is ready for it, and
    /// restored.
    ///
    /// # Errors
    ///
    /// If it can't begin: a name is there twice, the sink does not open, or there is something wrong with the checkpoints. Nothing
    /// was read or overwritten then.
    pub async fn start<R: Runtime>(mut self, runtime: &R) -> Result<Running, PipelineError> {
        let host = Host::new(runtime.clone());
        let (store, found) = look_for_checkpoints(self.checkpoints.as_ref(), &host).await?;
        let (checkpoint, mut restored) = (found.checkpoint, found.restored);
        let requests = Arc::new(Requests::after(found.highest));
        let states = checkpoint
            .as_ref()
            .map(|checkpoint| checkpoint.states.clone());
        let mut opening = Opening::new(host.clone(), Arc::clone(&requests), states);
        let (attaches, of_sides): (Vec<Attach>, Vec<_>) = self.sides.drain(..).unzip();
        attaches.into_iter().for_each(|attach| attach(&host));
        self.operator.open(&mut opening);
        let name = opening.enter_unnamed("sink", what_sink::<O::Item, K>(&self.sink));
        let prepared: Option<K::Prepared> = opening.state(&name);
        let tally = Tally::new();
        opening.tally(&name, &tally);
        opening.side_sinks(of_sides);
        for (name, monitor) in self.sink.monitors() {
            opening.sink_monitor(name, monitor);
        }
        refuse_trouble(&opening, checkpoint.as_ref(), restored.as_ref())?;

        self.open_sink(&host, prepared).await?;
        let running = Running {
            end: None,
            restored: restored.take(),
            monitors: std::mem::take(&mut opening.monitors),
            operators: std::mem::take(&mut opening.operators),
        };
        if running
            .restored
            .as_ref()
            .is_some_and(|restored| restored.is_last)
        {
            return Ok(running);
        }
        let (waits, end) = oneshot::channel();
        let drive = Drive {
            input: self.operator,
            sink: self.sink,
            name,
            host: host.clone(),
            passed: requests.newest(),
            requests: Arc::clone(&requests),
            store,
            parts: opening.parts,
            sources: opening.sources,
            checkpoints: 0,
            tally,
            is_asking: false,
        };
        host.spawn(Box::pin(drive.run(waits)));
        for task in opening.tasks.into_iter().rev() {
            host.spawn(task);
        }
        if let Some((checkpoints, _)) = self.checkpoints {
            let asks = ask_every(checkpoints.interval, host.clone(), requests);
            host.spawn(Box::pin(asks));
        }
        Ok(Running {
            end: Some(end),
            ..running
        })
    }

    /// What was prepared is committed, perhaps a second time: nobody knows whether the crash came before or after.
    async fn open_sink(
        &mut self,
        host: &Host,
        prepared: Option<K::Prepared>,
    ) -> Result<(), PipelineError> {
        let open = async {
            self.sink.open(host, prepared.as_ref()).await?;
            match &prepared {
                Some(prepared) => self.sink.commit(prepared).await,
                None => Ok(()),
            }
        };
        open.await
            .map_err(|error| PipelineError::Sink(error.into()))
    }
}

/// The sink in the list of parts: with the type of what it prepares, for that is its state.
fn what_sink<T, K: Sink<T>>(sink: &K) -> String {
    let into = sink.writes().map(|what| format!(" into {what}"));
    let (item, into, prepared) = (
        name_of::<T>(),
        into.unwrap_or_default(),
        name_of::<K::Prepared>(),
    );
    format!("a sink of {item}{into}, which prepares {prepared}")
}

/// What the folder of checkpoints has for this run.
#[derive(Default)]
struct Found {
    checkpoint: Option<Checkpoint>,
    restored: Option<Restored>,
    /// The number of the newest checkpoint, usable or not.
    highest: u64,
}

async fn look_for_checkpoints(
    checkpoints: Option<&(Checkpoints, PathBuf)>,
    host: &Host,
) -> Result<(Option<Store>, Found), PipelineError> {
    let Some((checkpoints, folder)) = checkpoints else {
        return Ok((None, Found::default()));
    };
    let (folder, keep) = (folder.clone(), checkpoints.keep);
    let opened = host.offload(move || {
        let store = Store::open(folder, keep)?;
        let found = store.find()?;
        Ok::<_, CheckpointError>((store, found))
    });
    let (store, found) = opened.await.map_err(|_| PipelineError::Cancelled)??;
    let Some((checkpoint, path)) = found.newest else {
        return Ok((Some(store), Found::default()));
    };
    if !checkpoints.restore {
        let folder = store.folder().to_owned();
        return Err(CheckpointError::NotAsked { folder }.into());
    }
    let restored = Restored {
        checkpoint: checkpoint.number,
        path,
        is_last: checkpoint.is_last,
        refused: found.refused,
    };
    let found = Found {
        checkpoint: Some(checkpoint),
        restored: Some(restored),
        highest: found.highest,
    };
    Ok((Some(store), found))
}

/// Whether the job can't begin. That the checkpoint is of another pipeline explains all else that is wrong with it.
fn refuse_trouble(
    opening: &Opening,
    checkpoint: Option<&Checkpoint>,
    restored: Option<&Restored>,
) -> Result<(), PipelineError> {
    let misbuilt = opening.trouble.iter().find_map(|trouble| match trouble {
        Trouble::SameName(name) => Some(PipelineError::SameName(name.to_string())),
        Trouble::NoSideSink(name) => Some(PipelineError::NoSideSink(name.to_string())),
        Trouble::State(..) => None,
    });
    if let Some(misbuilt) = misbuilt {
        return Err(misbuilt);
    }
    if let (Some(checkpoint), Some(restored)) = (checkpoint, restored) {
        let differences = differences(&checkpoint.parts, &opening.parts);
        if !differences.is_empty() {
            let path = restored.path.clone();
            return Err(CheckpointError::OtherPipeline { path, differences }.into());
        }
    }
    let unreadable = opening.trouble.iter().find_map(|trouble| match trouble {
        Trouble::State(name, error) => Some(CheckpointError::State {
            name: name.to_string(),
            error: error.to_string().into(),
        }),
        Trouble::SameName(_) | Trouble::NoSideSink(_) => None,
    });
    unreadable.map_or(Ok(()), |error| Err(error.into()))
}

/// A job that runs: a future of its end. Dropping it stops the job, without draining it: what was committed stays.
#[must_use = "dropping a running job stops it"]
pub struct Running {
    /// None: there was nothing left to do.
    end: Option<oneshot::Receiver<Result<Counts, PipelineError>>>,
    restored: Option<Restored>,
    monitors: Vec<(Arc<str>, Monitor)>,
    operators: Vec<(Arc<str>, OperatorMonitor)>,
}

impl Running {
    /// The checkpoint that the job went on from; none if it began anew.
    #[must_use]
    pub fn restored(&self) -> Option<&Restored> {
        self.restored.as_ref()
    }

    /// The counters of each async stage, and of the sink if it has some, by name: to be read while the job runs.
    #[must_use]
    pub fn monitors(&self) -> &[(Arc<str>, Monitor)] {
        &self.monitors
    }

    /// The counters of all other operators that count, by name, from the sources to the sink: to be read while the job runs. Names are those in
    /// errors and checkpoints: `source`, `event time`, `windows`, `sessions`, `interval join`, `reduce`, `sink`, `side sink`; the second of a
    /// kind has a 2 behind it, and those in parallel lanes `lane 0: ` in front.
    #[must_use]
    pub fn operators(&self) -> &[(Arc<str>, OperatorMonitor)] {
        &self.operators
    }

    fn report(&mut self, counts: Counts) -> Report {
        let (stages, operators) = (self.monitors.iter(), self.operators.iter());
        Report {
            written: counts.written,
            checkpoints: counts.checkpoints,
            restored: self.restored.clone(),
            stages: stages
                .map(|(name, monitor)| (Arc::clone(name), monitor.metrics()))
                .collect(),
            operators: operators
                .map(|(name, monitor)| (Arc::clone(name), monitor.metrics()))
                .collect(),
        }
    }
}

impl Future for Running {
    type Output = Result<Report, PipelineError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(end) = &mut self.end else {
            return Poll::Ready(Ok(self.report(Counts::default())));
        };
        Pin::new(end).poll(cx).map(|end| match end {
            Ok(outcome) => outcome.map(|counts| self.report(counts)),
            Err(_) => Err(PipelineError::Cancelled),
        })
    }
}
