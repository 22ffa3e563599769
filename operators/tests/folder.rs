//! A folder of files as a source: all records whatever the number of readers, restored at each record, and what is wrong
//! with the files said.

mod kit;

use kit::jobs::{outcome, start};
use kit::{World, ms};
use peu_operators::pipeline::{
    Collected, CsvFile, Folder, Host, Lines, Pipeline, PipelineError, Running, Source, collect,
    every,
};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// Files of such names with so many lines each.
const FILES: [(&str, usize); 5] = [("a", 3), ("b", 0), ("c", 70), ("d", 1), ("e", 9)];

const RECORDS: usize = 83;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        fs::create_dir(files.path("in")).unwrap();
        for (name, lines) in FILES {
            files.write(name, lines);
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, lines: usize) {
        let lines: String = expected(&[(name, lines)]).join("\n");
        fs::write(self.path("in").join(name), lines).unwrap();
    }
}

fn expected(files: &[(&str, usize)]) -> Vec<String> {
    let lines = files
        .iter()
        .flat_map(|(name, lines)| (0..*lines).map(move |line| format!("{name}{line}")));
    lines.collect()
}

/// A source that says nothing more after so many records, and is not at its end.
struct Stopping<S> {
    source: S,
    left: usize,
}

impl<S: Source> Source for Stopping<S> {
    type Item = S::Item;
    type Position = S::Position;
    type Error = S::Error;

    fn open(&mut self, host: &Host, from: Option<S::Position>) {
        self.source.open(host, from);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<S::Item, S::Error>>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Poll::Pending;
        };
        let polled = self.source.poll_next(cx);
        if matches!(polled, Poll::Ready(Some(_))) {
            self.left = left;
        }
        polled
    }

    fn position(&self) -> S::Position {
        self.source.position()
    }

    fn reads(&self) -> Option<String> {
        self.source.reads()
    }
}

/// Starts a job that reads all lines, or so many of them.
fn job(
    world: &World,
    files: &Files,
    readers: usize,
    left: usize,
) -> Result<(Running, Collected<String>), PipelineError> {
    let (sink, lines) = collect();
    let source = Folder::open(files.path("in"), Lines::open).readers(readers);
    let job = Pipeline::source(Stopping { source, left }).sink(sink);
    let job = job.checkpoint(every(ms(100)).restore(), files.path("state"));
    Ok((start(world, job)?, lines))
}

/// Reads so many lines, makes a checkpoint, and crashes.
fn crash_behind(files: &Files, readers: usize, records: usize) -> Vec<String> {
    let world = World::new();
    let (running, lines) = job(&world, files, readers, records).unwrap();
    world.run();
    world.advance(ms(100));
    world.run();
    assert_eq!(fs::read_dir(files.path("state")).unwrap().count(), 1);
    world.close();
    drop(running);
    lines.take()
}

/// Goes on to the end.
fn finish(files: &Files, readers: usize) -> Result<Vec<String>, PipelineError> {
    let world = World::new();
    let (mut running, lines) = job(&world, files, readers, usize::MAX)?;
    outcome(&mut running).unwrap()?;
    Ok(lines.take())
}

#[test]
fn c01_files_are_read_in_the_order_of_their_names() {
    let files = Files::new();
    fs::create_dir(files.path("in/folder")).unwrap();
    fs::write(files.path("in/folder/file"), "not read").unwrap();
    fs::write(files.path("in/.hidden"), "not read").unwrap();
    assert_eq!(finish(&files, 1).unwrap(), expected(&FILES));
}

#[test]
fn c01_restored_behind_any_record_all_lines_come_once() {
    for (readers, then) in [(1, 1), (9, 9), (3, 1), (1, 3)] {
        for records in 0..=RECORDS {
            let files = Files::new();
            let mut lines = crash_behind(&files, readers, records);
            assert_eq!(lines.len(), records);
            lines.extend(finish(&files, then).unwrap());
            if (readers, then) != (1, 1) {
                lines.sort_unstable();
                let mut all = expected(&FILES);
                all.sort_unstable();
                assert_eq!(lines, all, "{readers} readers, {records} records");
            } else {
                assert_eq!(lines, expected(&FILES), "{records} records");
            }
        }
    }
}

#[test]
fn c01_lines_of_a_file_stay_in_order_and_files_take_turns() {
    let files = Files::new();
    files.write("a", 1_000);
    files.write("c", 1_000);
    let lines = finish(&files, 5).unwrap();
    for name in ["a", "c"] {
        let of_file: Vec<&String> = lines.iter().filter(|line| line.starts_with(name)).collect();
        let numbers = of_file
            .iter()
            .map(|line| line[1..].parse::<usize>().unwrap());
        assert!(numbers.eq(0..1_000), "{name}");
    }
    let first_of_c = lines.iter().position(|line| line == "c0").unwrap();
    assert!(first_of_c < 500, "{first_of_c}");
}

#[test]
fn c01_a_checkpoint_before_the_folder_is_listed_begins_at_the_start() {
    let files = Files::new();
    let world = World::new();
    let (running, lines) = job(&world, &files, 1, 0).unwrap();
    world.advance(ms(100));
    world.run();
    world.close();
    drop(running);
    assert!(lines.take().is_empty());
    files.write("f", 2);
    let mut all = expected(&FILES);
    all.extend(expected(&[("f", 2)]));
    assert_eq!(finish(&files, 1).unwrap(), all);
}

/// What a job says that goes on behind `records` records, when something was done to the files.
fn said(records: usize, change: impl FnOnce(&Path)) -> Option<String> {
    let files = Files::new();
    crash_behind(&files, 1, records);
    change(&files.path("in"));
    finish(&files, 1).err().map(|error| error.to_string())
}

fn append(file: PathBuf) {
    let text = fs::read_to_string(&file).unwrap();
    fs::write(file, text + "and more").unwrap();
}

#[test]
fn c07_a_file_that_was_added_is_named() {
    let error = said(10, |folder| fs::write(folder.join("bb"), "new").unwrap()).unwrap();
    assert!(
        error.contains("bb was added") && error.contains("begin anew"),
        "{error}"
    );
}

#[test]
fn c07_a_file_that_is_gone_is_named_unless_it_was_read_to_its_end() {
    // All of `a` was read, a part of `c`, and nothing of `e`. That `a` is at its end was seen only with the record behind it.
    let remove =
        |name: &'static str| move |folder: &Path| fs::remove_file(folder.join(name)).unwrap();
    assert_eq!(said(10, remove("a")), None);
    assert_eq!(said(10, remove("b")), None);
    for name in ["c", "e"] {
        let error = said(10, remove(name)).unwrap();
        let gone = format!("{name} is gone, and was not read to its end");
        assert!(error.contains(&gone), "{error}");
    }
    let error = said(3, remove("a")).unwrap();
    assert!(error.contains("a is gone"), "{error}");
}

#[test]
fn c07_a_file_that_was_changed_is_named_unless_it_was_not_begun() {
    let change = |name: &'static str| move |folder: &Path| append(folder.join(name));
    for name in ["a", "c"] {
        let error = said(10, change(name)).unwrap();
        assert!(
            error.contains(&format!("{name} was changed since it was read")),
            "{error}"
        );
    }
    let files = Files::new();
    crash_behind(&files, 1, 10);
    files.write("e", 20);
    let rest = finish(&files, 1).unwrap();
    assert_eq!(rest.len(), RECORDS - 10 + 11, "it is read as it is now");
}

#[test]
fn c07_a_file_that_changed_between_the_listing_and_its_first_record_is_what_it_was_then() {
    let files = Files::new();
    let e = files.path("in/e");
    let twenty = expected(&[("e", 20)]).join("\n");
    // The folder is listed by then, and `e` comes last.
    let change_e = move |path: PathBuf| {
        if path.ends_with("c") {
            fs::write(&e, &twenty).unwrap();
        }
        Lines::open(path)
    };
    let (sink, _) = collect::<String>();
    let source = Folder::open(files.path("in"), change_e);
    let job = Pipeline::source(Stopping { source, left: 80 }).sink(sink);
    let job = job.checkpoint(every(ms(100)), files.path("state"));
    let world = World::new();
    let running = start(&world, job).unwrap();
    world.advance(ms(100));
    world.run();
    world.close();
    drop(running);
    let rest = finish(&files, 1).unwrap();
    let expected: Vec<String> = (6..20).map(|line| format!("e{line}")).collect();
    assert_eq!(rest, expected);
}

#[test]
fn c07_a_file_of_the_same_length_that_was_written_anew_is_named() {
    let error = said(10, |folder| {
        let file = fs::File::options()
            .write(true)
            .open(folder.join("c"))
            .unwrap();
        file.set_modified(std::time::SystemTime::now() + ms(10_000))
            .unwrap();
    });
    assert!(error.unwrap().contains("c was changed"));
}

#[test]
fn c07_another_folder_is_refused() {
    let files = Files::new();
    crash_behind(&files, 1, 10);
    let (sink, _) = collect::<String>();
    let source = Folder::open(files.path("other"), Lines::open);
    let job = Pipeline::source(Stopping { source, left: 0 }).sink(sink);
    let job = job.checkpoint(every(ms(100)).restore(), files.path("state"));
    let error = start(&World::new(), job).err().unwrap().to_string();
    assert!(
        error.contains("the files in ") && error.contains("other"),
        "{error}"
    );
}

#[test]
fn e02_what_is_wrong_with_a_folder_or_a_file_is_said() {
    let (sink, _) = collect::<String>();
    let nowhere = Pipeline::source(Folder::open("no/such/folder", Lines::open)).sink(sink);
    let error = run(nowhere);
    assert!(
        error.contains("cannot list no/such/folder: No such file"),
        "{error}"
    );

    let files = Files::new();
    std::os::unix::fs::symlink("nowhere", files.path("in/link")).unwrap();
    let (sink, _) = collect::<String>();
    let error = run(Pipeline::source(Folder::open(files.path("in"), Lines::open)).sink(sink));
    assert!(
        error.contains("cannot look at ") && error.contains("in/link"),
        "{error}"
    );

    fs::remove_file(files.path("in/link")).unwrap();
    fs::write(files.path("in/c"), [b'\n', 0xff, b'\n']).unwrap();
    let (sink, lines) = collect::<String>();
    let error = run(Pipeline::source(Folder::open(files.path("in"), Lines::open)).sink(sink));
    assert!(
        error.contains("line 2 of ") && error.contains("in/c"),
        "{error}"
    );
    assert_eq!(lines.take(), ["a0", "a1", "a2", ""], "what came before it");
}

#[cfg(target_os = "linux")]
#[test]
fn e02_a_name_that_is_no_text_is_said() {
    use std::os::unix::ffi::OsStrExt;
    let files = Files::new();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    fs::write(files.path("in").join(name), "").unwrap();
    let (sink, _) = collect::<String>();
    let error = run(Pipeline::source(Folder::open(files.path("in"), Lines::open)).sink(sink));
    assert!(
        error.contains("no UTF-8") && error.contains("caf"),
        "{error}"
    );
}

fn run<O, K>(job: peu_operators::pipeline::Job<O, K>) -> String
where
    O: peu_operators::pipeline::Operator,
    K: peu_operators::pipeline::Sink<O::Item>,
{
    let mut running = start(&World::new(), job).unwrap();
    outcome(&mut running).unwrap().unwrap_err().to_string()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: u32,
    y: u32,
}

/// No more files are open than there are readers.
#[test]
fn no_more_files_are_begun_than_there_are_readers() {
    let files = Files::new();
    for name in ["a", "b", "c", "d", "e"] {
        let rows: String = (0..600).map(|x| format!("{x},{}\n", 2 * x)).collect();
        fs::write(files.path("in").join(name), format!("x,y\n{rows}")).unwrap();
    }
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let open = move |path: PathBuf| {
        counted.fetch_add(1, Ordering::Relaxed);
        CsvFile::<Point>::open(path)
    };
    let (sink, points) = collect();
    let source = Folder::open(files.path("in"), open).readers(2);
    let world = World::new();
    let stopping = Stopping {
        source,
        left: 1_000,
    };
    let _running = start(&world, Pipeline::source(stopping).sink(sink)).unwrap();
    assert_eq!(points.take().len(), 1_000);
    assert_eq!(begun.load(Ordering::Relaxed), 2);
}

#[test]
fn a_folder_without_files_is_read_to_its_end() {
    let files = Files::new();
    let (sink, lines) = collect::<String>();
    let source = Folder::open(files.path("in"), Lines::open).matching(|_| false);
    let mut running = start(&World::new(), Pipeline::source(source).sink(sink)).unwrap();
    assert_eq!(outcome(&mut running).unwrap().unwrap().written, 0);
    assert!(lines.take().is_empty());
}

#[test]
#[should_panic(expected = "at least 1 reader")]
fn no_readers_are_refused() {
    let _ = Folder::open("in", Lines::open).readers(0);
}
