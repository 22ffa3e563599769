//! The cases, and the files that they need.

use crate::candidates::Candidate;
use clap::ValueEnum;
use serde::Serialize;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Reads of 4 KiB at random, per run: enough for tens of milliseconds.
const CACHED_READS: usize = 20_000;
/// Fewer, because each takes ten times as long.
const COLD_READS: usize = 5_000;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
pub(crate) enum Case {
    /// 4 KiB each, from all over a file of 256 MiB that is in the page cache.
    RandomCached,
    /// The same, with an empty page cache.
    RandomCold,
    /// Files of 4 KiB, each as a whole, cached.
    WholeCached,
    /// The same, with empty caches.
    WholeCold,
    /// A large file from its beginning to its end; an operation is a MiB.
    SequentialCached,
    /// The same, with an empty page cache.
    SequentialCold,
    /// Files of 4 KiB are made, written and synced.
    WriteSync,
    /// A tree is listed, and each entry looked at.
    Tree,
}

impl Case {
    pub(crate) const ALL: [Case; 8] = [
        Case::RandomCached,
        Case::RandomCold,
        Case::WholeCached,
        Case::WholeCold,
        Case::SequentialCached,
        Case::SequentialCold,
        Case::WriteSync,
        Case::Tree,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::RandomCached => "random 4 KiB, cached",
            Case::RandomCold => "random 4 KiB, cold",
            Case::WholeCached => "whole files, cached",
            Case::WholeCold => "whole files, cold",
            Case::SequentialCached => "in sequence, cached",
            Case::SequentialCold => "in sequence, cold",
            Case::WriteSync => "make, write, sync",
            Case::Tree => "tree, a look each",
        }
    }

    fn is_cold(self) -> bool {
        matches!(
            self,
            Case::RandomCold | Case::WholeCold | Case::SequentialCold
        )
    }
}

/// What the cases work on; made once and kept for the next run. A run may be interrupted at any time: what it has made by halves the
/// next one makes again.
pub(crate) struct Files {
    random: PathBuf,
    sequential: PathBuf,
    size: u64,
    whole: Vec<PathBuf>,
    written: PathBuf,
    folders: Vec<PathBuf>,
    entries: usize,
}

impl Files {
    pub(crate) fn make(
        folder: &Path,
        size: u64,
        files: usize,
        entries: usize,
    ) -> io::Result<Files> {
        fs::create_dir_all(folder)?;
        // As a service's paths are: absolute.
        let folder = &folder.canonicalize()?;
        let whole = folder.join("whole");
        let tree = folder.join(format!("tree-{entries}"));
        fs::create_dir_all(&whole)?;
        let files = Files {
            random: folder.join("random"),
            sequential: folder.join(format!("sequential-{size}")),
            size,
            whole: (0..files).map(|n| whole.join(n.to_string())).collect(),
            written: folder.join("written"),
            folders: (0..entries.div_ceil(500))
                .map(|n| tree.join(n.to_string()))
                .collect(),
            entries,
        };
        fill(&files.random, 256)?;
        fill(&files.sequential, size)?;
        for path in &files.whole {
            if !has_length(path, 4096) {
                fs::write(path, [7; 4096])?;
            }
        }
        files.make_tree()?;
        Ok(files)
    }

    fn make_tree(&self) -> io::Result<()> {
        for (number, folder) in self.folders.iter().enumerate() {
            if folder.exists() {
                continue;
            }
            // Its name says that it is complete.
            let unfinished = folder.with_extension("unfinished");
            fs::create_dir_all(&unfinished)?;
            for entry in (number * 500)..(number * 500 + 500).min(self.entries) {
                fs::write(unfinished.join(entry.to_string()), "")?;
            }
            fs::rename(unfinished, folder)?;
        }
        Ok(())
    }

    /// Fills the cache or empties it, and removes what was written.
    pub(crate) fn prepare(&self, case: Case) -> io::Result<()> {
        match case {
            Case::RandomCached => drop(fs::read(&self.random)?),
            Case::SequentialCached => drop(io::copy(
                &mut fs::File::open(&self.sequential)?,
                &mut io::sink(),
            )?),
            Case::WholeCached => self
                .whole
                .iter()
                .try_for_each(|path| fs::read(path).map(drop))?,
            Case::WriteSync => {
                if self.written.exists() {
                    fs::remove_dir_all(&self.written)?;
                }
                fs::create_dir(&self.written)?;
            }
            Case::Tree => drop(
                self.folders
                    .iter()
                    .map(fs::read_dir)
                    .collect::<io::Result<Vec<_>>>()?,
            ),
            _ => {}
        }
        if case.is_cold() {
            let dropped = fs::File::options()
                .write(true)
                .open("/proc/sys/vm/drop_caches");
            let dropped = dropped.and_then(|mut caches| caches.write_all(b"3"));
            dropped.map_err(|error| io::Error::new(error.kind(), format!("cannot empty the system's caches, which needs root: {error}; leave the cold cases out with --cases")))?;
        }
        Ok(())
    }

    /// Returns how many operations it was.
    pub(crate) fn run(&self, case: Case, candidate: &dyn Candidate) -> usize {
        match case {
            Case::RandomCached | Case::RandomCold => {
                let reads = if case.is_cold() {
                    COLD_READS
                } else {
                    CACHED_READS
                };
                candidate.read_at(&self.random, offsets(reads));
                reads
            }
            Case::WholeCached | Case::WholeCold => {
                candidate.read(self.whole.clone());
                self.whole.len()
            }
            Case::SequentialCached | Case::SequentialCold => {
                assert_eq!(candidate.read_through(&self.sequential), self.size << 20);
                self.size as usize
            }
            Case::WriteSync => {
                let count = self.whole.len().div_ceil(5);
                candidate.write(
                    (0..count)
                        .map(|n| self.written.join(n.to_string()))
                        .collect(),
                );
                count
            }
            Case::Tree => {
                assert_eq!(candidate.look(self.folders.clone()), self.entries);
                self.entries
            }
        }
    }
}

fn fill(path: &Path, mib: u64) -> io::Result<()> {
    if has_length(path, mib << 20) {
        return Ok(());
    }
    let mut file = fs::File::create(path)?;
    for number in 0..mib {
        file.write_all(&vec![number as u8; 1 << 20])?;
    }
    file.sync_all()
}

fn has_length(path: &Path, length: u64) -> bool {
    fs::metadata(path).is_ok_and(|about| about.len() == length)
}

/// The same for every candidate.
fn offsets(count: usize) -> Vec<u64> {
    let mut random = 1_u64;
    let next = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % (1 << 16) * 4096
    };
    std::iter::repeat_with(next).take(count).collect()
}
