//! Who does the work.

use crate::work::Case;
use peu::fs::Tiers;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Tasks at once, where there are tasks.
pub(crate) const TASKS: usize = 64;
/// What one read of a large file asks for.
pub(crate) const CHUNK: usize = 256 * 1024;

pub(crate) trait Candidate {
    fn name(&self) -> &str;
    /// Whether it has the calls for it.
    fn can(&self, _: Case) -> bool {
        true
    }
    /// 4 KiB at each offset.
    fn read_at(&self, path: &Path, offsets: Vec<u64>);
    /// Whole files.
    fn read(&self, paths: Vec<PathBuf>);
    /// A file from beginning to end, by one task. Returns its length.
    fn read_through(&self, path: &Path) -> u64;
    /// New files of 4 KiB, each synced.
    fn write(&self, paths: Vec<PathBuf>);
    /// Every entry of the folders. Returns how many there are.
    fn look(&self, folders: Vec<PathBuf>) -> usize;
}

pub(crate) fn candidates() -> io::Result<Vec<Box<dyn Candidate>>> {
    let mut all: Vec<Box<dyn Candidate>> = vec![
        Box::new(Threads(1, "one thread")),
        Box::new(Threads(2, "2 threads")),
        Box::new(Threads(64, "64 threads")),
    ];
    let tiers = [
        ("peu now", Tiers::NOW),
        ("peu ring", Tiers::RING),
        ("peu pool", Tiers::POOL),
        ("peu", Tiers::ALL),
    ];
    for (name, tiers) in tiers {
        let runtime = peu::Runtime::builder()
            .workers(2)
            .file_tiers(tiers)
            .build()?;
        all.push(Box::new(Tasks(name, Peu(runtime))));
    }
    let tokio = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
    };
    all.push(Box::new(Tasks("tokio fs", Tokio(tokio()?))));
    all.push(Box::new(Tasks(
        "tokio spawn_blocking",
        TokioBlocking(tokio()?),
    )));
    all.push(Box::new(Tasks("smol", Smol)));
    #[cfg(feature = "ring-peers")]
    all.extend(crate::per_core::candidates());
    Ok(all)
}

pub(crate) fn each<T>(items: Vec<T>) -> Arc<Mutex<VecDeque<T>>> {
    Arc::new(Mutex::new(items.into()))
}

pub(crate) fn next<T>(items: &Mutex<VecDeque<T>>) -> Option<T> {
    items.lock().unwrap().pop_front()
}

fn write_sync(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&[7; 4096])?;
    file.sync_all()
}

/// Blocking calls on so many threads.
struct Threads(usize, &'static str);

impl Threads {
    fn all<T: Send>(&self, items: Vec<T>, work: impl Fn(T) + Sync) {
        if self.0 == 1 {
            return items.into_iter().for_each(work);
        }
        let items = Mutex::new(VecDeque::from(items));
        std::thread::scope(|scope| {
            for _ in 0..self.0 {
                scope.spawn(|| {
                    while let Some(item) = next(&items) {
                        work(item);
                    }
                });
            }
        });
    }
}

impl Candidate for Threads {
    fn name(&self) -> &str {
        self.1
    }

    fn read_at(&self, path: &Path, offsets: Vec<u64>) {
        let file = File::open(path).unwrap();
        self.all(offsets, |offset| {
            file.read_exact_at(&mut [0; 4096], offset).unwrap()
        });
    }

    fn read(&self, paths: Vec<PathBuf>) {
        self.all(paths, |path| {
            assert_eq!(fs::read(path).unwrap().len(), 4096)
        });
    }

    fn read_through(&self, path: &Path) -> u64 {
        let (mut file, mut buffer, mut sum) = (File::open(path).unwrap(), vec![0; CHUNK], 0);
        loop {
            match file.read(&mut buffer).unwrap() {
                0 => return sum,
                count => sum += count as u64,
            }
        }
    }

    fn write(&self, paths: Vec<PathBuf>) {
        self.all(paths, |path| write_sync(&path).unwrap());
    }

    fn look(&self, folders: Vec<PathBuf>) -> usize {
        let sum = AtomicUsize::new(0);
        self.all(folders, |folder| {
            for entry in fs::read_dir(folder).unwrap() {
                assert!(entry.unwrap().metadata().unwrap().is_file());
                // ORDERING: Relaxed. It is read when the threads have ended.
                sum.fetch_add(1, Ordering::Relaxed);
            }
        });
        sum.into_inner()
    }
}

type Work = Pin<Box<dyn Future<Output = usize> + Send>>;

/// What the runtimes differ in.
trait Fs: Sync {
    type File: Send + Sync + 'static;
    /// Runs tasks side by side, and returns the sum of what they return.
    fn all(&self, work: Vec<Work>) -> usize;
    fn open(path: PathBuf) -> impl Future<Output = Self::File> + Send;
    fn read_at(file: &mut Self::File, offset: u64) -> impl Future<Output = usize> + Send;
    fn read_some(
        file: &mut Self::File,
        buffer: Vec<u8>,
    ) -> impl Future<Output = (usize, Vec<u8>)> + Send;
    fn read(path: PathBuf) -> impl Future<Output = Vec<u8>> + Send;
    fn write_sync(path: PathBuf) -> impl Future<Output = ()> + Send;
    fn look(folder: PathBuf) -> impl Future<Output = usize> + Send;
}

/// Work spread over tasks.
struct Tasks<F>(&'static str, F);

impl<F: Fs + 'static> Candidate for Tasks<F> {
    fn name(&self) -> &str {
        self.0
    }

    fn read_at(&self, path: &Path, offsets: Vec<u64>) {
        let (offsets, path) = (each(offsets), path.to_owned());
        self.1.all(
            (0..TASKS)
                .map(|_| {
                    let (offsets, path) = (offsets.clone(), path.clone());
                    Box::pin(async move {
                        let mut file = F::open(path).await;
                        while let Some(offset) = next(&offsets) {
                            assert_eq!(F::read_at(&mut file, offset).await, 4096);
                        }
                        0_usize
                    }) as Work
                })
                .collect(),
        );
    }

    fn read(&self, paths: Vec<PathBuf>) {
        let paths = each(paths);
        self.1.all(
            (0..TASKS)
                .map(|_| {
                    let paths = paths.clone();
                    Box::pin(async move {
                        while let Some(path) = next(&paths) {
                            assert_eq!(F::read(path).await.len(), 4096);
                        }
                        0_usize
                    }) as Work
                })
                .collect(),
        );
    }

    fn read_through(&self, path: &Path) -> u64 {
        let path = path.to_owned();
        self.1.all(vec![Box::pin(async move {
            let (mut file, mut buffer, mut sum) = (F::open(path).await, vec![0; CHUNK], 0);
            loop {
                let count;
                (count, buffer) = F::read_some(&mut file, buffer).await;
                if count == 0 {
                    return sum;
                }
                sum += count;
            }
        })]) as u64
    }

    fn write(&self, paths: Vec<PathBuf>) {
        let paths = each(paths);
        self.1.all(
            (0..TASKS)
                .map(|_| {
                    let paths = paths.clone();
                    Box::pin(async move {
                        while let Some(path) = next(&paths) {
                            F::write_sync(path).await;
                        }
                        0_usize
                    }) as Work
                })
                .collect(),
        );
    }

    fn look(&self, folders: Vec<PathBuf>) -> usize {
        let folders = each(folders);
        self.1.all(
            (0..TASKS)
                .map(|_| {
                    let folders = folders.clone();
                    Box::pin(async move {
                        let mut sum = 0;
                        while let Some(folder) = next(&folders) {
                            sum += F::look(folder).await;
                        }
                        sum
                    }) as Work
                })
                .collect(),
        )
    }
}

struct Peu(peu::Runtime);

impl Fs for Peu {
    type File = peu::fs::File;

    fn all(&self, work: Vec<Work>) -> usize {
        self.0.block_on(async {
            let tasks: Vec<_> = work.into_iter().map(peu::spawn).collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            sum
        })
    }

    async fn open(path: PathBuf) -> peu::fs::File {
        peu::fs::File::open(path).await.unwrap()
    }

    async fn read_at(file: &mut peu::fs::File, offset: u64) -> usize {
        file.read_at(vec![0; 4096], offset).await.unwrap().0
    }

    async fn read_some(file: &mut peu::fs::File, mut buffer: Vec<u8>) -> (usize, Vec<u8>) {
        let count = futures_lite::AsyncReadExt::read(file, &mut buffer).await;
        (count.unwrap(), buffer)
    }

    async fn read(path: PathBuf) -> Vec<u8> {
        peu::fs::read(path).await.unwrap()
    }

    async fn write_sync(path: PathBuf) {
        let file = peu::fs::File::create(path).await.unwrap();
        file.write_all_at(vec![7; 4096], 0).await.unwrap();
        file.sync_all().await.unwrap();
    }

    async fn look(folder: PathBuf) -> usize {
        let mut entries = peu::fs::read_dir(folder).await.unwrap();
        let mut sum = 0;
        while let Some(entry) = futures_lite::StreamExt::next(&mut entries).await {
            assert!(entry.unwrap().metadata().await.unwrap().is_file());
            sum += 1;
        }
        sum
    }
}

struct Tokio(tokio::runtime::Runtime);

fn all_on_tokio(runtime: &tokio::runtime::Runtime, work: Vec<Work>) -> usize {
    runtime.block_on(async {
        let tasks: Vec<_> = work.into_iter().map(tokio::spawn).collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        sum
    })
}

impl Fs for Tokio {
    type File = tokio::fs::File;

    fn all(&self, work: Vec<Work>) -> usize {
        all_on_tokio(&self.0, work)
    }

    async fn open(path: PathBuf) -> tokio::fs::File {
        tokio::fs::File::open(path).await.unwrap()
    }

    async fn read_at(file: &mut tokio::fs::File, offset: u64) -> usize {
        use tokio::io::{AsyncReadExt, AsyncSeekExt};
        file.seek(io::SeekFrom::Start(offset)).await.unwrap();
        file.read_exact(&mut [0; 4096]).await.unwrap()
    }

    async fn read_some(file: &mut tokio::fs::File, mut buffer: Vec<u8>) -> (usize, Vec<u8>) {
        let count = tokio::io::AsyncReadExt::read(file, &mut buffer).await;
        (count.unwrap(), buffer)
    }

    async fn read(path: PathBuf) -> Vec<u8> {
        tokio::fs::read(path).await.unwrap()
    }

    async fn write_sync(path: PathBuf) {
        let mut file = tokio::fs::File::create(path).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut file, &[7; 4096])
            .await
            .unwrap();
        file.sync_all().await.unwrap();
    }

    async fn look(folder: PathBuf) -> usize {
        let mut entries = tokio::fs::read_dir(folder).await.unwrap();
        let mut sum = 0;
        while let Some(entry) = entries.next_entry().await.unwrap() {
            assert!(entry.metadata().await.unwrap().is_file());
            sum += 1;
        }
        sum
    }
}

/// Blocking calls, one hand-over for each operation.
struct TokioBlocking(tokio::runtime::Runtime);

async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(job).await.unwrap()
}

impl Fs for TokioBlocking {
    type File = Arc<File>;

    fn all(&self, work: Vec<Work>) -> usize {
        all_on_tokio(&self.0, work)
    }

    async fn open(path: PathBuf) -> Arc<File> {
        Arc::new(blocking(|| File::open(path)).await.unwrap())
    }

    async fn read_at(file: &mut Arc<File>, offset: u64) -> usize {
        let file = file.clone();
        blocking(move || file.read_at(&mut [0; 4096], offset).unwrap()).await
    }

    async fn read_some(file: &mut Arc<File>, mut buffer: Vec<u8>) -> (usize, Vec<u8>) {
        let file = file.clone();
        blocking(move || ((&*file).read(&mut buffer).unwrap(), buffer)).await
    }

    async fn read(path: PathBuf) -> Vec<u8> {
        blocking(|| fs::read(path)).await.unwrap()
    }

    async fn write_sync(path: PathBuf) {
        blocking(move || write_sync(&path)).await.unwrap();
    }

    async fn look(folder: PathBuf) -> usize {
        let entries: Vec<_> = blocking(|| fs::read_dir(folder).unwrap().collect()).await;
        let mut sum = 0;
        for entry in entries {
            let entry: fs::DirEntry = Result::unwrap(entry);
            assert!(blocking(move || entry.metadata()).await.unwrap().is_file());
            sum += 1;
        }
        sum
    }
}

/// On its one global executor, with two threads.
struct Smol;

impl Fs for Smol {
    type File = smol::fs::File;

    fn all(&self, work: Vec<Work>) -> usize {
        let executor = smol::Executor::new();
        let (end, ended) = smol::channel::unbounded::<()>();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| smol::block_on(executor.run(ended.recv())));
            }
            let tasks: Vec<_> = work.into_iter().map(|work| executor.spawn(work)).collect();
            let sum = smol::block_on(async {
                let mut sum = 0;
                for task in tasks {
                    sum += task.await;
                }
                sum
            });
            drop(end);
            sum
        })
    }

    async fn open(path: PathBuf) -> smol::fs::File {
        smol::fs::File::open(path).await.unwrap()
    }

    async fn read_at(file: &mut smol::fs::File, offset: u64) -> usize {
        use smol::io::{AsyncReadExt, AsyncSeekExt};
        file.seek(io::SeekFrom::Start(offset)).await.unwrap();
        file.read_exact(&mut [0; 4096]).await.unwrap();
        4096
    }

    async fn read_some(file: &mut smol::fs::File, mut buffer: Vec<u8>) -> (usize, Vec<u8>) {
        let count = smol::io::AsyncReadExt::read(file, &mut buffer).await;
        (count.unwrap(), buffer)
    }

    async fn read(path: PathBuf) -> Vec<u8> {
        smol::fs::read(path).await.unwrap()
    }

    async fn write_sync(path: PathBuf) {
        smol::unblock(move || write_sync(&path)).await.unwrap();
    }

    async fn look(folder: PathBuf) -> usize {
        let mut entries = smol::fs::read_dir(folder).await.unwrap();
        let mut sum = 0;
        while let Some(entry) = smol::stream::StreamExt::next(&mut entries).await {
            assert!(entry.unwrap().metadata().await.unwrap().is_file());
            sum += 1;
        }
        sum
    }
}
