//! Files, on each way that an operation may take: all tests run with every tier, and with each of them alone.
//!
//! | module | what it tests |
//! |---|---|
//! | `ahead` | reading ahead, writing behind, and their failures |
//! | `calls` | each function, and the text of its error |
//! | `elsewhere` | a file system that is a program: it is silent, interrupts, does things by halves |
//! | `file` | an open file: positions, sequences, dropped futures |
//! | `faults` | a full disk, a file that shrinks, a runtime that ends |
//! | `program` | that program: the kernel asks it what a disk would be asked (FUSE) |
//! | `ring` | stuck workers, ends in the middle, and what they must not leave |
//! | `tiers` | which tier served, and how they are restricted |
//! | `whole` | files that are read whole, and what turns out not to be one |

#[path = "fs/ahead.rs"]
mod ahead;
#[path = "fs/calls.rs"]
mod calls;
#[path = "fs/elsewhere.rs"]
mod elsewhere;
#[path = "fs/faults.rs"]
mod faults;
#[path = "fs/file.rs"]
mod file;
#[path = "fs/program.rs"]
mod program;
#[path = "fs/ring.rs"]
mod ring;
#[path = "fs/tiers.rs"]
mod tiers;
#[path = "fs/whole.rs"]
mod whole;

use peu::Runtime;
use peu::fs::Tiers;
use std::io;
use std::path::Path;
use tempfile::TempDir;

/// A folder on the disk that the build is on: the system's folder for temporary files may be a tmpfs.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn runtime(tiers: Tiers) -> Runtime {
    let builder = Runtime::builder().workers(2).max_blocking_threads(2);
    builder.file_tiers(tiers).build().unwrap()
}

/// All tiers together, and each alone: what one can't do goes to the pool.
const SETS: [Tiers; 4] = [Tiers::ALL, Tiers::NOW, Tiers::RING, Tiers::POOL];

/// Runs a test on each tier, in a new folder.
fn on_each_tier(test: impl AsyncFn(&Path)) {
    for tiers in SETS {
        let folder = folder();
        runtime(tiers).block_on(test(folder.path()));
    }
}

/// The error must be of this kind, begin with what was tried, and name the path.
#[track_caller]
fn assert_error<T>(result: io::Result<T>, kind: io::ErrorKind, tried: &str, path: &Path) {
    let Err(error) = result else {
        panic!("expected an error: {tried} {}", path.display());
    };
    let expected = format!("{tried} {}: ", path.display());
    let text = error.to_string();
    assert!(
        error.kind() == kind && text.starts_with(&expected),
        "expected {kind:?}, \"{expected}..\": {error:?}"
    );
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The system's number, which an error keeps as its source.
fn errno_of(error: &io::Error) -> Option<i32> {
    let cause = error.get_ref()?.source()?;
    cause.downcast_ref::<io::Error>()?.raw_os_error()
}
