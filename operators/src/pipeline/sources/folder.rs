//! The files of a folder, each with a source of its own, one after the other or some at a time.
//!
//! The folder is listed once, when the first record is asked for: these files are what the job reads. The first few of
//! those that are not at their end, in the order of their names, are read; they take turns, and one that has nothing ready
//! is passed over. A file is looked at once more just before it is begun, for it may have changed since the folder was listed, and what
//! a checkpoint says of it must be what was read. (`folder_files.rs` has the listing, and what a restart makes of files that are no longer
//! what they were.)

use super::folder_files::{At, FileAt, Found, find, list, look, refuse_differences};
use crate::error::BoxError;
use crate::pipeline::host::{Host, Offloaded};
use crate::pipeline::source::Source;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::mem;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// How many records a file gives before the next has its turn: enough that going from one to the next costs nothing, and
/// few enough that all are used up at about the same pace.
const TURN: usize = 64;

/// The records of all files of a folder, each read by a source that `open` makes: [`CsvFile::open`](super::CsvFile::open),
/// [`Lines::open`](super::Lines::open), or a [`Reader`](super::Reader) of yours behind [`ReadAhead`](super::ReadAhead).
///
/// Files are read one after the other, in the order of their names (by their bytes), unless
/// [`readers`](Folder::readers) says otherwise. Files in folders inside the folder are not read, nor those whose names begin
/// with a dot.
///
/// # Restarts
///
/// A checkpoint holds for each file how far it was read, some 50 bytes and the file's name. The folder belongs to the job
/// until that has ended: a job that goes on from a checkpoint ends with an error that names each file that was added since; that was
/// changed (by its length or its time of change) after it had been begun; or that is gone before it was read to its
/// end. Files that were read to their end may be removed, and those that were not begun may change.
///
/// # Errors
///
/// The job ends if the folder can't be listed, if a file's name is no UTF-8, and if the source of a file fails.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::pipeline::{Folder, Lines, Pipeline, collect};
///
/// # let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("1.txt"), "poll\n")?;
/// std::fs::write(folder.path().join("2.txt"), "execute\nupdate\n")?;
/// std::fs::write(folder.path().join("notes"), "not for us")?;
/// let (sink, words) = collect();
/// let files = Folder::open(folder.path(), Lines::open).matching(|name| name.ends_with(".txt"));
/// block_on(Pipeline::source(files).sink(sink).run_on(&Threads))?;
/// assert_eq!(words.take(), ["poll", "execute", "update"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Folder<S: Source, F> {
    opener: Opener<F>,
    keeps: Arc<Keeps>,
    readers: usize,
    state: State<S>,
}

type Keeps = dyn Fn(&str) -> bool + Send + Sync;

/// How far the files of a [`Folder`] were read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderPosition<P> {
    /// None: the folder was not listed yet.
    files: Option<Vec<FileAt<P>>>,
}

enum State<S: Source> {
    /// With what the job goes on from.
    Unlisted(FolderPosition<S::Position>),
    Listing(Listing, FolderPosition<S::Position>),
    Reading(Files<S>),
    Over,
}

type Listing = Offloaded<Result<Vec<Found>, BoxError>>;

impl<S, F> Folder<S, F>
where
    S: Source,
    F: FnMut(PathBuf) -> S + Send + 'static,
{
    /// The folder is listed when the pipeline runs; `open` is called for each file when it is its turn.
    pub fn open(path: impl Into<PathBuf>, open: F) -> Self {
        Self {
            opener: Opener {
                folder: path.into(),
                open,
                host: None,
            },
            keeps: Arc::new(|_| true),
            readers: 1,
            state: State::Unlisted(FolderPosition { files: None }),
        }
    }

    /// Reads only the files whose names `keeps` holds for.
    pub fn matching(mut self, keeps: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.keeps = Arc::new(keeps);
        self
    }

    /// Reads so many files at a time. Records of one file stay in order, and those of different files mix, so where
    /// they have event times, [`Watermarks::bounded`](crate::pipeline::Watermarks::bounded) must allow for all that such files
    /// span. A restored job may have another number of readers.
    ///
    /// # Panics
    ///
    /// If `count` is 0.
    #[track_caller]
    pub fn readers(mut self, count: usize) -> Self {
        assert!(count > 0, "a folder must have at least 1 reader");
        self.readers = count;
        self
    }

    /// Lists the folder, in the background.
    fn begin(&self, host: &Host) -> Listing {
        let (folder, keeps) = (self.opener.folder.clone(), Arc::clone(&self.keeps));
        host.offload(move || list(&folder, &*keeps))
    }

    /// The files as they were at the checkpoint, or from their starts.
    fn files(
        &mut self,
        found: Vec<Found>,
        from: FolderPosition<S::Position>,
    ) -> Result<Files<S>, BoxError> {
        let Some(from) = from.files else {
            let all = found.into_iter().map(|found| (found, Progress::Unread));
            return Ok(Files::new(all.collect(), self.readers));
        };
        refuse_differences(&self.opener.folder, &from, &found)?;
        let restored = from.into_iter().map(|file| {
            let progress = match file.at {
                At::Unread => Progress::Unread,
                At::Within(position) => {
                    Progress::Open(self.opener.source(&file.found, Some(position)))
                }
                At::End => Progress::End,
            };
            // One that was not begun may have changed.
            let now = find(&found, &file.found.name);
            (now.cloned().unwrap_or(file.found), progress)
        });
        let restored = restored.collect();
        Ok(Files::new(restored, self.readers))
    }
}

impl<S, F> Source for Folder<S, F>
where
    S: Source,
    S::Position: Clone + Send,
    F: FnMut(PathBuf) -> S + Send + 'static,
{
    type Item = S::Item;
    type Position = FolderPosition<S::Position>;
    type Error = BoxError;

    fn open(&mut self, host: &Host, from: Option<Self::Position>) {
        self.opener.host = Some(host.clone());
        self.state = State::Unlisted(from.unwrap_or(FolderPosition { files: None }));
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<S::Item, BoxError>>> {
        loop {
            if let State::Reading(files) = &mut self.state {
                return files.poll_next(cx, &mut self.opener);
            }
            self.state = match mem::replace(&mut self.state, State::Over) {
                State::Unlisted(from) => match &self.opener.host {
                    Some(host) => State::Listing(self.begin(host), from),
                    None => State::Over,
                },
                State::Listing(mut listing, from) => match Pin::new(&mut listing).poll(cx) {
                    Poll::Pending => {
                        self.state = State::Listing(listing, from);
                        return Poll::Pending;
                    }
                    Poll::Ready(found) => match found.unwrap_or_else(|gone| Err(gone.into())) {
                        Ok(found) => State::Reading(self.files(found, from)?),
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    },
                },
                State::Reading(_) | State::Over => return Poll::Ready(None),
            };
        }
    }

    fn position(&self) -> Self::Position {
        match &self.state {
            State::Unlisted(from) | State::Listing(_, from) => from.clone(),
            State::Reading(files) => files.position(),
            State::Over => FolderPosition { files: None },
        }
    }

    fn reads(&self) -> Option<String> {
        Some(format!("the files in {}", self.opener.folder.display()))
    }
}

/// Makes the sources of files.
struct Opener<F> {
    folder: PathBuf,
    open: F,
    host: Option<Host>,
}

impl<F> Opener<F> {
    fn source<S>(&mut self, file: &Found, from: Option<S::Position>) -> S
    where
        S: Source,
        F: FnMut(PathBuf) -> S,
    {
        let mut source = (self.open)(self.folder.join(&file.name));
        if let Some(host) = &self.host {
            source.open(host, from);
        }
        source
    }

    /// What a file that is begun goes through first.
    fn begin<S>(&mut self, file: &Found) -> Progress<S>
    where
        S: Source,
        F: FnMut(PathBuf) -> S,
    {
        let Some(host) = &self.host else {
            return Progress::Open(self.source(file, None));
        };
        let (folder, name) = (self.folder.clone(), file.name.clone());
        Progress::Beginning(host.offload(move || look(&folder, name)))
    }
}

/// The files of a folder, in the order of their names.
struct Files<S> {
    all: Vec<(Found, Progress<S>)>,
    readers: usize,
    /// Those that are read now, by their places in `all`: the first that are not at their end.
    active: Vec<usize>,
    /// The first that was never active.
    next: usize,
    /// Whose turn it is, of the active ones, and how many records it has given in it.
    turn: usize,
    given: usize,
}

enum Progress<S> {
    Unread,
    /// It is looked at, to be opened then.
    Beginning(Offloaded<Result<Found, BoxError>>),
    Open(S),
    End,
}

/// The next record of a file, or its end.
fn poll_file<S, F>(
    (found, progress): &mut (Found, Progress<S>),
    cx: &mut Context<'_>,
    opener: &mut Opener<F>,
) -> Poll<Option<Result<S::Item, BoxError>>>
where
    S: Source,
    F: FnMut(PathBuf) -> S,
{
    loop {
        *progress = match progress {
            Progress::Unread => opener.begin(found),
            Progress::Beginning(look) => {
                *found = ready!(Pin::new(look).poll(cx))??;
                Progress::Open(opener.source(found, None))
            }
            Progress::Open(source) => {
                let polled = source.poll_next(cx);
                return polled.map(|record| record.map(|record| record.map_err(Into::into)));
            }
            Progress::End => return Poll::Ready(None),
        };
    }
}

impl<S: Source> Files<S> {
    fn new(all: Vec<(Found, Progress<S>)>, readers: usize) -> Self {
        Self {
            all,
            readers,
            active: Vec::new(),
            next: 0,
            turn: 0,
            given: 0,
        }
    }

    /// As many as may be are active, if there are as many.
    fn fill(&mut self) {
        while self.active.len() < self.readers && self.next < self.all.len() {
            if !matches!(self.all[self.next].1, Progress::End) {
                self.active.push(self.next);
            }
            self.next += 1;
        }
    }

    fn next_turn(&mut self) {
        self.turn = (self.turn + 1) % self.active.len();
        self.given = 0;
    }

    /// The next record of the first file in turn that has one ready.
    fn poll_next<F>(
        &mut self,
        cx: &mut Context<'_>,
        opener: &mut Opener<F>,
    ) -> Poll<Option<Result<S::Item, BoxError>>>
    where
        F: FnMut(PathBuf) -> S,
    {
        let mut pending = 0;
        loop {
            self.fill();
            let Some(index) = self.active.get(self.turn) else {
                return Poll::Ready(None);
            };
            let file = &mut self.all[*index];
            match poll_file(file, cx, opener) {
                Poll::Ready(Some(record)) => {
                    self.given += 1;
                    if self.given == TURN {
                        self.next_turn();
                    }
                    return Poll::Ready(Some(record));
                }
                Poll::Ready(None) => {
                    file.1 = Progress::End;
                    self.active.remove(self.turn);
                    self.fill();
                    self.turn = self.turn.checked_rem(self.active.len()).unwrap_or(0);
                    (self.given, pending) = (0, 0);
                }
                Poll::Pending => {
                    pending += 1;
                    self.next_turn();
                    if pending == self.active.len() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn position(&self) -> FolderPosition<S::Position> {
        let at = |progress: &Progress<S>| match progress {
            Progress::Unread | Progress::Beginning(_) => At::Unread,
            Progress::Open(source) => At::Within(source.position()),
            Progress::End => At::End,
        };
        let files = self.all.iter().map(|(found, progress)| FileAt {
            found: found.clone(),
            at: at(progress),
        });
        FolderPosition {
            files: Some(files.collect()),
        }
    }
}
