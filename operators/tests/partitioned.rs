//! Records in many files: row s06, across crashes at any access to the disk, and what is refused.

mod kit;

use kit::jobs::{Log, outcome, start};
use kit::{World, ms};
use peu_operators::pipeline::{
    Job, Operator, PartitionedFiles, Pipeline, PipelineError, Report, Sink, every, generate,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    number: u64,
    text: String,
}

fn row(number: u64) -> Row {
    let text = format!("line {number}, \"äöü\"");
    Row { number, text }
}

const ROWS: u64 = 1_000;

/// Seven files, in three folders.
fn file_of(row: &Row) -> String {
    let remainder = row.number % 7;
    format!("{}/{remainder}.csv", remainder % 3)
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// All files beneath a folder, by their paths in it.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match path.is_dir() {
            true => files.extend(
                self::files(&path)
                    .into_iter()
                    .map(|(inner, text)| (format!("{name}/{inner}"), text)),
            ),
            false => {
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

/// What is to be in the files, by a way of its own.
fn expected() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for number in 0..ROWS {
        let file: &mut String = files.entry(file_of(&row(number))).or_default();
        if file.is_empty() {
            file.push_str("number,text\n");
        }
        file.push_str(&format!("{number},\"line {number}, \"\"äöü\"\"\"\n"));
    }
    files
}

type Partition = fn(&Row) -> String;

fn job(folder: &Folder) -> Job<impl Operator<Item = Row>, PartitionedFiles<Partition>> {
    let rows = Pipeline::source(generate(|n| (n < ROWS).then(|| row(n))));
    let sink = PartitionedFiles::csv(folder.path("out"), file_of as Partition);
    rows.sink(sink)
        .checkpoint(every(ms(100)).restore(), folder.path("state"))
}

/// Runs a job to its end, or to that of the world, with a checkpoint now and then.
fn run<O: Operator, K: Sink<O::Item>>(
    world: &World,
    job: Job<O, K>,
) -> Option<Result<Report, PipelineError>> {
    let mut running = match futures_lite::future::block_on(job.start(world)) {
        Ok(running) => running,
        Err(error) => return Some(Err(error)),
    };
    while world.poll_one() {
        world.advance(ms(100));
    }
    let end = outcome(&mut running);
    world.close();
    end
}

fn refused<O: Operator, K: Sink<O::Item>>(job: Job<O, K>) -> String {
    match run(&World::new(), job).unwrap() {
        Ok(_) => panic!("it ends well"),
        Err(error) => error.to_string(),
    }
}

/// A job that was killed behind a checkpoint.
fn killed() -> Folder {
    let folder = Folder::new();
    let world = World::new();
    world.close_with_offload(6, true);
    assert!(!matches!(run(&world, job(&folder)), Some(Ok(_))));
    assert!(fs::read_dir(folder.path("state")).unwrap().count() > 0);
    assert!(!files(&folder.path("out.part")).is_empty());
    folder
}

#[test]
fn s06_all_files_become_visible_at_once_and_are_right() {
    let folder = Folder::new();
    let report = run(&World::new(), job(&folder)).unwrap().unwrap();
    assert!(report.checkpoints > 2, "{report:?}");
    assert_eq!(files(&folder.path("out")), expected());
    assert!(!folder.path("out.part").exists());
    let report = run(&World::new(), job(&folder)).unwrap().unwrap();
    assert_eq!(report.written, 0, "there is nothing left to do");
    assert_eq!(files(&folder.path("out")), expected());
}

#[test]
fn c04_killed_before_or_behind_any_access_to_a_file_the_output_is_the_same() {
    for runs in [false, true] {
        let mut number = 0;
        loop {
            let folder = Folder::new();
            let world = World::new();
            world.close_with_offload(number, runs);
            let first = run(&world, job(&folder));
            let is_over = matches!(first, Some(Ok(_)));
            run(&World::new(), job(&folder)).expect("it ends").unwrap();
            assert_eq!(files(&folder.path("out")), expected(), "{number}, {runs}");
            if is_over {
                assert!(number > 8, "{number}");
                break;
            }
            number += 1;
        }
    }
}

#[test]
fn s06_what_was_written_since_the_checkpoint_is_gone_also_whole_files() {
    let folder = killed();
    fs::write(
        folder.path("out.part/late.csv"),
        "of a partition that does not come again",
    )
    .unwrap();
    let of_zero = folder.path("out.part/0/0.csv");
    let text = fs::read_to_string(&of_zero).unwrap();
    fs::write(&of_zero, text + "more").unwrap();
    run(&World::new(), job(&folder)).unwrap().unwrap();
    assert_eq!(files(&folder.path("out")), expected());
}

#[test]
fn s06_files_that_were_changed_or_are_gone_are_named() {
    let folder = killed();
    let file = folder.path("out.part/0/0.csv");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("line", "LINE", 1)).unwrap();
    let error = refused(job(&folder));
    assert!(
        error.contains("out.part/0/0.csv") && error.contains("changed since"),
        "{error}"
    );
    fs::remove_file(&file).unwrap();
    let error = refused(job(&folder));
    assert!(error.contains("out.part/0/0.csv: No such file"), "{error}");
    fs::remove_dir_all(folder.path("out.part")).unwrap();
    let error = refused(job(&folder));
    assert!(error.contains("out.part: it is gone"), "{error}");

    let folder = Folder::new();
    run(&World::new(), job(&folder)).unwrap().unwrap();
    fs::write(folder.path("out/0/0.csv"), "").unwrap();
    let error = refused(job(&folder));
    assert!(error.contains("out/0/0.csv: it has 0 bytes"), "{error}");
}

/// A job without checkpoints.
fn lines(
    folder: &Folder,
    file_of: Partition,
) -> Job<impl Operator<Item = Row>, PartitionedFiles<Partition>> {
    let rows = Pipeline::source(generate(|n| (n < ROWS).then(|| row(n))));
    rows.sink(PartitionedFiles::json_lines(folder.path("out"), file_of))
}

#[test]
fn s06_a_folder_that_is_there_is_not_mixed_with_another() {
    let folder = Folder::new();
    fs::create_dir(folder.path("out")).unwrap();
    run(&World::new(), lines(&folder, |_| "all".to_owned()))
        .unwrap()
        .unwrap();
    let all = files(&folder.path("out"));
    assert_eq!(all["all"].lines().count() as u64, ROWS);
    assert_eq!(
        serde_json::from_str::<Row>(all["all"].lines().last().unwrap()).unwrap(),
        row(ROWS - 1)
    );
    let error = refused(lines(&folder, |_| "all".to_owned()));
    assert!(
        error.contains("out: it is there already") && error.contains("name another"),
        "{error}"
    );
    assert_eq!(files(&folder.path("out")), all);

    let folder = Folder::new();
    fs::write(folder.path("out"), "a file").unwrap();
    let error = refused(lines(&folder, |_| "all".to_owned()));
    assert!(
        error.contains("cannot write ") && error.contains("out: Not a directory"),
        "{error}"
    );
}

#[test]
fn s06_two_jobs_never_write_to_the_same_folder() {
    let folder = Folder::new();
    let unfinished = || {
        let input: Log<Row> = Log::new();
        input.add(row(0));
        let sink = PartitionedFiles::json_lines(folder.path("out"), file_of as Partition);
        (input.clone(), Pipeline::source(input.reader()).sink(sink))
    };
    let world = World::new();
    let (input, job) = unfinished();
    let mut first = start(&world, job).unwrap();
    let error = refused(unfinished().1);
    assert!(error.contains("out.part: another job does"), "{error}");
    input.add(row(1));
    input.end();
    world.run();
    outcome(&mut first).unwrap().unwrap();
    let lines = files(&folder.path("out"));
    assert_eq!(
        lines
            .values()
            .map(|file| file.lines().count())
            .sum::<usize>(),
        2
    );
}

#[test]
fn s06_what_an_earlier_run_has_left_is_removed_and_a_failed_one_leaves_nothing() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("out.part/of")).unwrap();
    fs::write(folder.path("out.part/of/before"), "left").unwrap();
    run(&World::new(), lines(&folder, |_| "all".to_owned()))
        .unwrap()
        .unwrap();
    assert_eq!(files(&folder.path("out")).len(), 1);

    let folder = Folder::new();
    let outside = |row: &Row| {
        if row.number < 500 {
            "in".to_owned()
        } else {
            "../out".to_owned()
        }
    };
    let error = refused(lines(&folder, outside));
    assert!(
        error.contains("\"../out\"") && error.contains("inside of the folder"),
        "{error}"
    );
    assert!(!folder.path("out.part").exists() && !folder.path("out").exists());
}

#[test]
fn s06_only_paths_inside_of_the_folder_are_files() {
    for name in ["", ".", "..", "a/../b", "/a", "a/", "./a", "a//b", "a/./b"] {
        let folder = Folder::new();
        let rows = Pipeline::source(generate(|n| (n < 3).then(|| row(n))));
        let sink = PartitionedFiles::json_lines(folder.path("out"), move |_: &Row| name.to_owned());
        let error = refused(rows.sink(sink));
        assert!(error.contains(&format!("{name:?}")), "{error}");
    }
}

/// More than a process may have open, and more bytes than are gathered at once.
#[test]
fn s06_there_may_be_thousands_of_files() {
    let folder = Folder::new();
    let rows = Pipeline::source(generate(|n| (n < 7_500).then(|| (n, "x".repeat(200)))));
    let sink = PartitionedFiles::json_lines(folder.path("out"), |row: &(u64, String)| {
        format!("{}/{}", row.0 % 10, row.0 % 1_500)
    });
    run(&World::new(), rows.sink(sink)).unwrap().unwrap();
    let all = files(&folder.path("out"));
    assert_eq!(all.len(), 1_500);
    assert!(all.values().all(|file| file.lines().count() == 5));
}
