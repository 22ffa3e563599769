//! Peers with a runtime of its own on each core, whose tasks never leave it: compio, glommio and monoio, all on `io_uring`.
//!
//! Two threads have a runtime each, as long as the program runs, and half of the tasks. The calls are what a user of each would
//! write. None of them lists a folder, so that is a blocking call; glommio looks at no path either, and is left out there.

use crate::candidates::{CHUNK, Candidate, TASKS, each, next};
use crate::work::Case;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::thread;

const GLOMMIO: &str = "glommio";

/// Threads, as the other runtimes have workers.
const CORES: usize = 2;

pub(crate) fn candidates() -> Vec<Box<dyn Candidate>> {
    vec![
        Box::new(PerCore::new::<Compio>("compio")),
        Box::new(PerCore::new::<Monoio>("monoio")),
        Box::new(PerCore::new::<Glommio>(GLOMMIO)),
    ]
}

type Work = Pin<Box<dyn Future<Output = usize>>>;

/// What the runtimes differ in.
trait OneCore: 'static {
    type File: 'static;
    fn new() -> Self;
    /// Runs tasks side by side, and returns the sum of what they return.
    fn all(&self, work: Vec<Work>) -> usize;
    async fn open(path: PathBuf) -> Self::File;
    async fn read_at(file: &Self::File, buffer: Vec<u8>, offset: u64) -> (usize, Vec<u8>);
    async fn read(path: PathBuf) -> usize;
    async fn write_sync(path: PathBuf);
    async fn look(path: PathBuf) -> bool;
}

/// What each of a candidate's tasks does, whatever the runtime.
#[derive(Clone)]
enum Job {
    ReadAt(PathBuf, Queue<u64>),
    Read(Queue<PathBuf>),
    ReadThrough(PathBuf),
    Write(Queue<PathBuf>),
    Look(Queue<PathBuf>),
}

type Queue<T> = Arc<std::sync::Mutex<std::collections::VecDeque<T>>>;

impl Job {
    async fn run<C: OneCore>(self) -> usize {
        let mut sum = 0;
        match self {
            Job::ReadAt(path, offsets) => {
                let file = C::open(path).await;
                while let Some(offset) = next(&offsets) {
                    assert_eq!(C::read_at(&file, vec![0; 4096], offset).await.0, 4096);
                }
            }
            Job::Read(paths) => {
                while let Some(path) = next(&paths) {
                    assert_eq!(C::read(path).await, 4096);
                }
            }
            Job::ReadThrough(path) => {
                let (file, mut buffer) = (C::open(path).await, vec![0; CHUNK]);
                loop {
                    let count;
                    (count, buffer) = C::read_at(&file, buffer, sum as u64).await;
                    if count == 0 {
                        break;
                    }
                    sum += count;
                }
            }
            Job::Write(paths) => {
                while let Some(path) = next(&paths) {
                    C::write_sync(path).await;
                }
            }
            Job::Look(folders) => {
                while let Some(folder) = next(&folders) {
                    for entry in std::fs::read_dir(folder).unwrap() {
                        assert!(C::look(entry.unwrap().path()).await);
                        sum += 1;
                    }
                }
            }
        }
        sum
    }
}

/// Threads with a runtime each, and where they leave their sums.
struct PerCore {
    name: &'static str,
    threads: Vec<mpsc::Sender<(Job, usize)>>,
    sums: mpsc::Receiver<usize>,
}

impl PerCore {
    fn new<C: OneCore>(name: &'static str) -> PerCore {
        let (tell, sums) = mpsc::channel();
        let threads = (0..CORES).map(|_| {
            let (job, jobs) = mpsc::channel::<(Job, usize)>();
            let tell = tell.clone();
            thread::spawn(move || {
                let runtime = C::new();
                for (job, tasks) in jobs {
                    let work = (0..tasks).map(|_| Box::pin(job.clone().run::<C>()) as Work);
                    let _ = tell.send(runtime.all(work.collect()));
                }
            });
            job
        });
        PerCore {
            name,
            threads: threads.collect(),
            sums,
        }
    }

    fn all(&self, job: &Job) -> usize {
        for thread in &self.threads {
            thread.send((job.clone(), TASKS / CORES)).unwrap();
        }
        self.sums.iter().take(CORES).sum()
    }
}

impl Candidate for PerCore {
    fn name(&self) -> &str {
        self.name
    }

    fn can(&self, case: Case) -> bool {
        self.name != GLOMMIO || case != Case::Tree
    }

    fn read_at(&self, path: &Path, offsets: Vec<u64>) {
        self.all(&Job::ReadAt(path.to_owned(), each(offsets)));
    }

    fn read(&self, paths: Vec<PathBuf>) {
        self.all(&Job::Read(each(paths)));
    }

    fn read_through(&self, path: &Path) -> u64 {
        let job = Job::ReadThrough(path.to_owned());
        self.threads[0].send((job, 1)).unwrap();
        self.sums.recv().unwrap() as u64
    }

    fn write(&self, paths: Vec<PathBuf>) {
        self.all(&Job::Write(each(paths)));
    }

    fn look(&self, folders: Vec<PathBuf>) -> usize {
        self.all(&Job::Look(each(folders)))
    }
}

struct Compio(compio::runtime::Runtime);

impl OneCore for Compio {
    type File = compio::fs::File;

    fn new() -> Compio {
        Compio(compio::runtime::Runtime::new().unwrap())
    }

    fn all(&self, work: Vec<Work>) -> usize {
        self.0.block_on(async {
            let tasks: Vec<_> = work.into_iter().map(compio::runtime::spawn).collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            sum
        })
    }

    async fn open(path: PathBuf) -> compio::fs::File {
        compio::fs::File::open(path).await.unwrap()
    }

    async fn read_at(
        file: &compio::fs::File,
        mut buffer: Vec<u8>,
        offset: u64,
    ) -> (usize, Vec<u8>) {
        buffer.clear();
        let compio::BufResult(count, buffer) =
            compio::io::AsyncReadAt::read_at(file, buffer, offset).await;
        (count.unwrap(), buffer)
    }

    async fn read(path: PathBuf) -> usize {
        compio::fs::read(path).await.unwrap().len()
    }

    async fn write_sync(path: PathBuf) {
        let mut file = compio::fs::File::create(path).await.unwrap();
        let written = compio::io::AsyncWriteAtExt::write_all_at(&mut file, vec![7; 4096], 0).await;
        written.0.unwrap();
        file.sync_all().await.unwrap();
        file.close().await.unwrap();
    }

    async fn look(path: PathBuf) -> bool {
        compio::fs::symlink_metadata(path).await.unwrap().is_file()
    }
}

struct Monoio(std::cell::RefCell<monoio::Runtime<monoio::IoUringDriver>>);

impl OneCore for Monoio {
    type File = monoio::fs::File;

    fn new() -> Monoio {
        let builder = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new();
        Monoio(builder.build().unwrap().into())
    }

    fn all(&self, work: Vec<Work>) -> usize {
        self.0.borrow_mut().block_on(async {
            let tasks: Vec<_> = work.into_iter().map(monoio::spawn).collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await;
            }
            sum
        })
    }

    async fn open(path: PathBuf) -> monoio::fs::File {
        monoio::fs::File::open(path).await.unwrap()
    }

    async fn read_at(file: &monoio::fs::File, buffer: Vec<u8>, offset: u64) -> (usize, Vec<u8>) {
        let (count, buffer) = file.read_at(buffer, offset).await;
        (count.unwrap(), buffer)
    }

    async fn read(path: PathBuf) -> usize {
        monoio::fs::read(path).await.unwrap().len()
    }

    async fn write_sync(path: PathBuf) {
        let file = monoio::fs::File::create(path).await.unwrap();
        file.write_all_at(vec![7; 4096], 0).await.0.unwrap();
        file.sync_all().await.unwrap();
        file.close().await.unwrap();
    }

    async fn look(path: PathBuf) -> bool {
        monoio::fs::symlink_metadata(path).await.unwrap().is_file()
    }
}

struct Glommio(glommio::LocalExecutor);

impl OneCore for Glommio {
    type File = glommio::io::BufferedFile;

    fn new() -> Glommio {
        Glommio(glommio::LocalExecutorBuilder::default().make().unwrap())
    }

    fn all(&self, work: Vec<Work>) -> usize {
        self.0.run(async {
            let tasks: Vec<_> = work.into_iter().map(glommio::spawn_local).collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await;
            }
            sum
        })
    }

    async fn open(path: PathBuf) -> glommio::io::BufferedFile {
        glommio::io::BufferedFile::open(path).await.unwrap()
    }

    /// It has buffers of its own.
    async fn read_at(
        file: &glommio::io::BufferedFile,
        buffer: Vec<u8>,
        offset: u64,
    ) -> (usize, Vec<u8>) {
        let read = file.read_at(offset, buffer.len()).await.unwrap();
        (read.len(), buffer)
    }

    async fn read(path: PathBuf) -> usize {
        let file = Self::open(path).await;
        let size = file.file_size().await.unwrap();
        let contents = file.read_at(0, size as usize).await.unwrap().to_vec();
        file.close().await.unwrap();
        contents.len()
    }

    async fn write_sync(path: PathBuf) {
        let file = glommio::io::BufferedFile::create(path).await.unwrap();
        file.write_at(vec![7; 4096], 0).await.unwrap();
        file.fdatasync().await.unwrap();
        file.close().await.unwrap();
    }

    async fn look(path: PathBuf) -> bool {
        unreachable!("it has no way to look at {}", path.display())
    }
}
