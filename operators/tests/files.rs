//! Files as sources and sinks, across crashes: row s06, and the positions of row c01.

mod kit;

use futures_lite::future::block_on;
use kit::jobs::{Disk, outcome, start};
use kit::{World, ms};
use peu_operators::pipeline::{
    CsvFile, CsvWriter, Job, JsonLines, Lines, LinesWriter, Operator, PartitionedFiles, Pipeline,
    PipelineError, ReadAhead, Reader, Report, Running, Sink, every, generate, iterate,
};
use peu_operators::{AsyncOptions, Offload, Spawn, Timer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    number: u64,
    text: String,
}

/// A text with all that makes a CSV file's rows longer than a line.
fn row(number: u64) -> Row {
    let text = format!("line {number},\n\"quoted\", äöü");
    Row { number, text }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

/// Lets a job run until its first checkpoint is complete, and crashes.
fn crash_behind_a_checkpoint(folder: &Folder, job: impl Fn(&World) -> Running) {
    let world = World::new();
    let running = job(&world);
    world.advance(ms(100));
    while fs::read_dir(folder.path("state")).unwrap().count() == 0 {
        assert!(world.poll_one(), "the checkpoint comes");
    }
    world.close();
    drop(running);
}

/// A few polls of every task, so that a job is under way.
fn begin(world: &World) {
    while world.sleeps() == 0 {
        assert!(world.poll_one());
    }
}

/// Runs the job to its end.
fn finish(job: impl Fn(&World) -> Running) {
    let world = World::new();
    let mut running = job(&world);
    assert!(!running.restored().unwrap().is_last, "it crashed half-way");
    world.run();
    outcome(&mut running).unwrap().unwrap();
}

fn without_running<O, K>(world: &World, job: peu_operators::pipeline::Job<O, K>) -> Running
where
    O: Operator,
    K: peu_operators::pipeline::Sink<O::Item>,
{
    let running = futures_lite::future::block_on(job.start(world)).unwrap();
    begin(world);
    running
}

#[test]
fn c01_a_csv_file_is_read_on_behind_the_last_row_even_if_rows_span_lines() {
    let folder = Folder::new();
    let mut writer = csv::Writer::from_path(folder.path("rows.csv")).unwrap();
    (0..2_000).for_each(|number| writer.serialize(row(number)).unwrap());
    writer.flush().unwrap();
    let disk = Disk::new();
    let job = |world: &World| {
        let rows = Pipeline::source(CsvFile::<Row>::open(folder.path("rows.csv")));
        let job = rows.sink(disk.sink());
        without_running(
            world,
            job.checkpoint(every(ms(100)).restore(), folder.path("state")),
        )
    };
    crash_behind_a_checkpoint(&folder, job);
    assert!((1..2_000).contains(&disk.visible().len()));
    finish(job);
    assert_eq!(disk.visible(), (0..2_000).map(row).collect::<Vec<_>>());
}

#[test]
fn c01_a_text_file_is_read_on_behind_the_last_line_whatever_ends_it() {
    let folder = Folder::new();
    let lines: Vec<String> = (0..2_000).map(|n| format!("{n}: äöü")).collect();
    fs::write(folder.path("lines.txt"), lines.join("\r\n")).unwrap();
    let disk = Disk::new();
    let job = |world: &World| {
        let lines = Pipeline::source(Lines::open(folder.path("lines.txt")));
        let job = lines.sink(disk.sink());
        without_running(
            world,
            job.checkpoint(every(ms(100)).restore(), folder.path("state")),
        )
    };
    crash_behind_a_checkpoint(&folder, job);
    assert!((1..2_000).contains(&disk.visible().len()));
    finish(job);
    assert_eq!(disk.visible(), lines);
}

#[test]
fn a_source_that_cannot_go_on_says_where() {
    let folder = Folder::new();
    let world = World::new();
    let missing = Pipeline::source(Lines::open(folder.path("missing.txt")));
    let mut running = start(&world, missing.sink(Disk::new().sink())).unwrap();
    let error = outcome(&mut running).unwrap().unwrap_err().to_string();
    assert!(
        error.starts_with("stage `source`: its input failed: cannot open "),
        "{error}"
    );

    fs::write(folder.path("bad.txt"), b"good\nb\xffd\n").unwrap();
    let disk = Disk::new();
    let bad = Pipeline::source(Lines::open(folder.path("bad.txt")));
    let mut running = start(&world, bad.sink(disk.sink())).unwrap();
    let error = outcome(&mut running).unwrap().unwrap_err().to_string();
    assert!(error.contains("cannot read line 2 of "), "{error}");
    assert_eq!(disk.written(), ["good"], "what was before it went on");

    fs::write(folder.path("bad.csv"), "number,text\n1,one\ntwo,2\n").unwrap();
    let bad = Pipeline::source(CsvFile::<Row>::open(folder.path("bad.csv")));
    let mut running = start(&world, bad.sink(Disk::new().sink())).unwrap();
    let error = outcome(&mut running).unwrap().unwrap_err().to_string();
    assert!(
        error.contains("bad.csv") && error.contains("line: 3"),
        "{error}"
    );
    assert_eq!(world.tasks(), 0);
}

#[test]
fn a_line_of_a_file_has_a_bound_whatever_its_end() {
    let folder = Folder::new();
    let path = folder.path("lines.txt");
    for (text, is_line) in [
        ("1234\n5", true),
        ("1234\r\n5", true),
        ("1234", true),
        ("12345\n", false),
        ("12345\r\n", false),
        ("123456789", false),
    ] {
        fs::write(&path, text).unwrap();
        let (world, disk) = (World::new(), Disk::new());
        let lines = Pipeline::source(Lines::open(&path).longest_line(4));
        match outcome(&mut start(&world, lines.sink(disk.sink())).unwrap()).unwrap() {
            Ok(_) => assert!(is_line && disk.visible()[0] == "1234", "{text:?}"),
            Err(error) => {
                let told = format!(
                    "cannot read line 1 of {}: it has more than 4 bytes: allow more with `longest_line`, or it is no text",
                    path.display()
                );
                assert!(!is_line && error.to_string().contains(&told), "{error}");
            }
        }
    }
}

/// Behind a quote that is not closed all that follows is one row.
#[test]
fn a_row_of_a_csv_file_has_a_bound() {
    let folder = Folder::new();
    let path = folder.path("rows.csv");
    let long = |length: usize| format!("number,text\n1,one\n2,\"{}", "\n".repeat(length));
    for (text, longest, written) in [
        (long(90_000) + "\"\n3,three\n", 100_000, Some(3)),
        (long(90_000), 100_000, Some(2)),
        (long(200_000), 100_000, None),
        (long(17 << 20), 16 << 20, None),
    ] {
        fs::write(&path, &text).unwrap();
        let (world, disk) = (World::new(), Disk::new());
        let rows = CsvFile::<Row>::open(&path);
        let rows = match longest {
            100_000 => rows.longest_row(longest),
            _ => rows,
        };
        let job = Pipeline::source(rows).sink(disk.sink());
        match outcome(&mut start(&world, job).unwrap()).unwrap() {
            Ok(report) => assert_eq!(Some(report.written), written),
            Err(error) => {
                let told = format!(
                    "cannot read the row at line 3 of {}: it has more than {longest} bytes: allow more with `longest_row`, or a quote is not closed",
                    path.display()
                );
                assert!(
                    written.is_none() && error.to_string().contains(&told),
                    "{error}"
                );
                let one = Row {
                    number: 1,
                    text: "one".to_owned(),
                };
                assert_eq!(disk.written(), [one]);
            }
        }
    }
}

/// What has no end has no lines, and is not taken into memory to find that out.
#[cfg(unix)]
#[test]
fn what_has_no_lines_is_told() {
    let world = World::new();
    let job = Pipeline::source(Lines::open("/dev/zero")).sink(Disk::new().sink());
    let ended = outcome(&mut start(&world, job).unwrap()).unwrap();
    let error = ended.unwrap_err();
    let told = "cannot read line 1 of /dev/zero: it has more than 1048576 bytes";
    assert!(error.to_string().contains(told), "{error}");
}

#[test]
fn e03_a_reader_that_panics_ends_the_job_with_its_message() {
    struct Broken;
    impl Reader for Broken {
        type Item = u64;
        type Position = u64;

        fn open(&mut self, _from: Option<&u64>) -> Result<(), Box<dyn Error + Send + Sync>> {
            Ok(())
        }

        fn read(&mut self) -> Result<Option<(u64, u64)>, Box<dyn Error + Send + Sync>> {
            panic!("broken reader")
        }
    }
    let world = World::new();
    let job = Pipeline::source(ReadAhead::new(Broken)).sink(Disk::new().sink());
    let mut running = start(&world, job).unwrap();
    let error = outcome(&mut running).unwrap().unwrap_err().to_string();
    assert!(error.ends_with("panicked: broken reader"), "{error}");
}

/// Writes some thousand rows to both kinds of file.
fn json_job(folder: &Folder) -> impl Fn(&World) -> Running {
    let (output, state) = (folder.path("rows.jsonl"), folder.path("state"));
    move |world| {
        let rows = Pipeline::source(generate(|n| (n < 5_000).then(|| row(n))));
        let pass = |row: Row| async move { Ok::<_, Infallible>(row) };
        let rows = rows.async_map("pass", pass, AsyncOptions::ordered());
        let job = rows.sink(JsonLines::create(&output));
        without_running(world, job.checkpoint(every(ms(100)).restore(), &state))
    }
}

fn expected_json() -> String {
    let line = |number| serde_json::to_string(&row(number)).unwrap() + "\n";
    (0..5_000).map(line).collect()
}

#[test]
fn s06_after_a_crash_each_record_is_in_the_file_once_and_the_name_comes_last() {
    let folder = Folder::new();
    crash_behind_a_checkpoint(&folder, json_job(&folder));
    assert!(!folder.path("rows.jsonl").exists());
    // As if more had been written before the crash, and torn.
    let part = folder.read("rows.jsonl.part");
    fs::write(
        folder.path("rows.jsonl.part"),
        part + "{\"number\": 1, \"te",
    )
    .unwrap();
    finish(json_job(&folder));
    assert!(folder.read("rows.jsonl") == expected_json());
    assert!(!folder.path("rows.jsonl.part").exists());
}

/// In a process of its own, of which `strace` tells what it asks the system for. Where there is none, or it may not, nothing is shown.
#[test]
#[cfg(target_os = "linux")]
fn s06_a_file_is_on_the_disk_before_the_checkpoint_and_that_before_the_name() {
    const FOLDER: &str = "PEU_FILES_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let path = |name| Path::new(&folder).join(name);
        let world = World::new();
        let job = Pipeline::source(iterate(0..10)).sink(JsonLines::create(path("rows.jsonl")));
        let mut running = start(&world, job.checkpoint(every(ms(100)), path("state"))).unwrap();
        world.run();
        outcome(&mut running).unwrap().unwrap();
        return;
    }
    let folder = Folder::new();
    let name = "s06_a_file_is_on_the_disk_before_the_checkpoint_and_that_before_the_name";
    let traced = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=fsync,fdatasync,/^rename"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--test-threads=1"])
        .env(FOLDER, folder.path(""))
        .output();
    let Some(traced) = traced.ok().filter(|traced| !traced.stdout.is_empty()) else {
        eprintln!(
            "no strace that may look: in which order files are synced and renamed is not shown"
        );
        return;
    };
    let calls = String::from_utf8(traced.stderr).unwrap();
    assert!(traced.status.success(), "{calls}");
    let calls: Vec<&str> = calls.lines().collect();
    // The first from this place on.
    let find = |from: usize, call: &str, of: &str, whole: bool| {
        let end = if whole { ">)" } else { "" };
        let of = format!("{}{end}", folder.path(of).display());
        let is_it = |told: &&str| told.contains(call) && told.contains(of.trim_end_matches('/'));
        let found = calls[from..].iter().position(is_it);
        found.unwrap_or_else(|| panic!("no {call} of {of} behind {from}: {calls:#?}")) + from
    };
    let synced = find(0, "sync(", "rows.jsonl.part", true);
    let checkpoint = find(synced, "rename", "state/checkpoint-", false);
    let before = calls[checkpoint - 1];
    assert!(
        before.contains("sync(") && before.contains("/state/"),
        "{calls:#?}"
    );
    let kept = find(checkpoint, "sync(", "state", true);
    let renamed = find(kept, "rename", "rows.jsonl.part", false);
    let first = find(0, "rename", "rows.jsonl.part", false);
    assert_eq!(first, renamed, "{calls:#?}");
    assert!(
        calls[renamed + 1].contains("sync("),
        "its folder: {calls:#?}"
    );
}

#[test]
fn s06_a_crash_between_the_last_checkpoint_and_the_rename_is_made_good() {
    let folder = Folder::new();
    let job = json_job(&folder);
    let world = World::new();
    let mut running = job(&world);
    world.run();
    outcome(&mut running).unwrap().unwrap();
    fs::rename(folder.path("rows.jsonl"), folder.path("rows.jsonl.part")).unwrap();
    for _ in 0..2 {
        let world = World::new();
        let job = || {
            let rows = Pipeline::source(generate(|n| (n < 5_000).then(|| row(n))));
            let pass = |row: Row| async move { Ok::<_, Infallible>(row) };
            rows.async_map("pass", pass, AsyncOptions::ordered())
                .sink(JsonLines::create(folder.path("rows.jsonl")))
                .checkpoint(every(ms(100)).restore(), folder.path("state"))
        };
        let mut running = start(&world, job()).unwrap();
        assert!(running.restored().unwrap().is_last);
        assert_eq!(outcome(&mut running).unwrap().unwrap().written, 0);
        assert!(
            folder.read("rows.jsonl") == expected_json(),
            "also the second time"
        );
    }
}

/// A world in which what blocks may be late.
#[derive(Clone)]
struct Busy {
    world: World,
    /// What waits. None: all is done at once.
    late: Late,
}

type Late = Arc<Mutex<Option<Vec<Box<dyn FnOnce() + Send>>>>>;

impl Spawn for Busy {
    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
        self.world.spawn(task);
    }
}

impl Offload for Busy {
    fn offload<F: FnOnce() + Send + 'static>(&self, job: F) {
        match &mut *self.late.lock().unwrap() {
            Some(late) => late.push(Box::new(job)),
            None => job(),
        }
    }
}

impl Timer for Busy {
    type Sleep = <World as Timer>::Sleep;

    fn now(&self) -> Instant {
        self.world.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        self.world.sleep_until(deadline)
    }
}

#[test]
fn s06_a_late_write_of_a_job_that_was_dropped_does_not_land_in_the_file_of_the_next() {
    let folder = Folder::new();
    let job = || {
        let rows = Pipeline::source(generate(|n| (n < 5_000).then(|| row(n))));
        let pass = |row: Row| async move { Ok::<_, Infallible>(row) };
        rows.async_map("pass", pass, AsyncOptions::ordered())
            .sink(JsonLines::create(folder.path("rows.jsonl")))
            .checkpoint(every(ms(100)).restore(), folder.path("state"))
    };
    let (world, late) = (World::new(), Late::default());
    let busy = Busy {
        world: world.clone(),
        late: Arc::clone(&late),
    };
    let running = block_on(job().start(&busy)).unwrap();
    begin(&world);
    world.advance(ms(100));
    while fs::read_dir(folder.path("state")).unwrap().count() == 0 {
        assert!(world.poll_one(), "the checkpoint comes");
    }
    *late.lock().unwrap() = Some(Vec::new());
    world.run();
    drop(running);
    world.run();
    assert_eq!(world.tasks(), 0);
    let waiting = late.lock().unwrap().take().unwrap();
    assert_eq!(waiting.len(), 1, "a write");

    let refused = start(&World::new(), job()).err().unwrap().to_string();
    assert!(
        refused.contains("rows.jsonl.part: another job does"),
        "{refused}"
    );
    waiting.into_iter().for_each(|write| write());
    let world = World::new();
    let mut running = start(&world, job()).unwrap();
    outcome(&mut running).unwrap().unwrap();
    assert!(folder.read("rows.jsonl") == expected_json());
}

#[test]
fn s06_a_file_that_was_cut_since_the_checkpoint_is_refused() {
    let folder = Folder::new();
    crash_behind_a_checkpoint(&folder, json_job(&folder));
    fs::write(folder.path("rows.jsonl.part"), "").unwrap();
    let rows = Pipeline::source(generate(|n| (n < 5_000).then(|| row(n))));
    let pass = |row: Row| async move { Ok::<_, Infallible>(row) };
    let job = rows
        .async_map("pass", pass, AsyncOptions::ordered())
        .sink(JsonLines::create(folder.path("rows.jsonl")))
        .checkpoint(every(ms(100)).restore(), folder.path("state"));
    let error = start(&World::new(), job).err().unwrap();
    assert!(matches!(error, PipelineError::Sink(_)));
    assert!(
        error.to_string().contains("it was changed since"),
        "{error}"
    );
}

/// A whole job: from a file to a file, through a stage, with checkpoints.
fn file_job(folder: &Folder) -> Job<impl Operator<Item = Row>, JsonLines> {
    let pass = |row: Row| async move { Ok::<_, Infallible>(row) };
    Pipeline::source(CsvFile::<Row>::open(folder.path("rows.csv")))
        .async_map("pass", pass, AsyncOptions::ordered())
        .sink(JsonLines::create(folder.path("rows.jsonl")))
        .checkpoint(every(ms(100)).restore(), folder.path("state"))
}

fn with_csv(rows: u64) -> Folder {
    let folder = Folder::new();
    let mut writer = csv::Writer::from_path(folder.path("rows.csv")).unwrap();
    (0..rows).for_each(|number| writer.serialize(row(number)).unwrap());
    writer.flush().unwrap();
    folder
}

/// Runs the job to its end, or to that of the world, with a checkpoint now and then.
fn run(world: &World, folder: &Folder) -> Option<Result<Report, PipelineError>> {
    let mut running = match futures_lite::future::block_on(file_job(folder).start(world)) {
        Ok(running) => running,
        Err(error) => return Some(Err(error)),
    };
    let mut polls = 0;
    while world.poll_one() {
        polls += 1;
        if polls % 2 == 0 {
            world.advance(ms(100));
        }
    }
    let end = outcome(&mut running);
    world.close();
    end
}

#[test]
fn c04_killed_before_or_behind_any_access_to_a_file_the_output_is_the_same() {
    let rows = 1_000;
    let line = |number| serde_json::to_string(&row(number)).unwrap() + "\n";
    let expected: String = (0..rows).map(line).collect();
    for runs in [false, true] {
        let mut number = 0;
        loop {
            let folder = with_csv(rows);
            let world = World::new();
            world.close_with_offload(number, runs);
            let first = run(&world, &folder);
            let is_over = matches!(first, Some(Ok(_)));
            let checkpoints = match &first {
                Some(Ok(report)) => report.checkpoints,
                _ => 0,
            };
            assert!(is_over || !folder.path("rows.jsonl").exists() || runs);
            run(&World::new(), &folder).expect("it ends").unwrap();
            assert!(folder.read("rows.jsonl") == expected, "{number}, {runs}");
            if is_over {
                assert!(checkpoints > 3, "{checkpoints}");
                break;
            }
            number += 1;
        }
    }
}

fn refused(folder: &Folder) -> String {
    let started = start(&World::new(), file_job(folder));
    started.err().expect("it does not begin").to_string()
}

/// A job that was killed behind a checkpoint, half-way.
fn killed() -> Folder {
    let folder = with_csv(5_000);
    crash_behind_a_checkpoint(&folder, |world| without_running(world, file_job(&folder)));
    folder
}

/// A job that has ended.
fn ended() -> Folder {
    let folder = with_csv(1_000);
    run(&World::new(), &folder).unwrap().unwrap();
    folder
}

#[test]
fn s06_what_another_job_has_written_is_not_gone_on_with() {
    let folder = killed();
    let part = folder.path("rows.jsonl.part");
    let others = "x".repeat(fs::metadata(&part).unwrap().len() as usize + 100);
    fs::write(&part, &others).unwrap();
    let error = refused(&folder);
    assert!(
        error.contains("bytes are not those of the checkpoint"),
        "{error}"
    );
    assert!(folder.read("rows.jsonl.part") == others, "it is left alone");
}

#[test]
fn s06_an_output_that_is_gone_or_cut_does_not_pass_for_complete() {
    let folder = ended();
    fs::write(folder.path("rows.jsonl"), "").unwrap();
    let error = refused(&folder);
    assert!(error.contains("it has 0 bytes, and had "), "{error}");
    fs::remove_file(folder.path("rows.jsonl")).unwrap();
    let error = refused(&folder);
    assert!(error.contains("cannot open "), "{error}");
}

#[test]
fn c06_s06_with_the_last_checkpoint_damaged_a_complete_output_is_left_alone_and_it_is_said() {
    let folder = ended();
    let output = folder.read("rows.jsonl");
    let entries = fs::read_dir(folder.path("state")).unwrap();
    let newest = entries.map(|entry| entry.unwrap().path()).max().unwrap();
    fs::write(newest, "").unwrap();
    let error = refused(&folder);
    assert!(error.contains("a job has completed it"), "{error}");
    assert!(folder.read("rows.jsonl") == output);
}

#[test]
fn c07_a_position_in_one_file_is_not_used_in_another() {
    let folder = killed();
    fs::copy(folder.path("rows.csv"), folder.path("others.csv")).unwrap();
    let pass = |row: Row| async move { Ok::<_, Infallible>(row) };
    let job = Pipeline::source(CsvFile::<Row>::open(folder.path("others.csv")))
        .async_map("pass", pass, AsyncOptions::ordered())
        .sink(JsonLines::create(folder.path("rows.jsonl")))
        .checkpoint(every(ms(100)).restore(), folder.path("state"));
    let error = start(&World::new(), job).err().unwrap().to_string();
    assert!(
        error.contains("rows.csv") && error.contains("others.csv"),
        "{error}"
    );
}

#[test]
fn c07_a_source_that_was_cut_does_not_pass_for_one_at_its_end() {
    let folder = killed();
    fs::write(folder.path("rows.csv"), "number,text\n0,cut\n").unwrap();
    let world = World::new();
    let mut running = start(&world, file_job(&folder)).unwrap();
    let error = outcome(&mut running).unwrap().unwrap_err().to_string();
    assert!(
        error.contains("rows.csv") && error.contains("it was changed since"),
        "{error}"
    );

    let folder = Folder::new();
    fs::write(folder.path("lines"), "one\n".repeat(5_000)).unwrap();
    let job = || {
        Pipeline::source(Lines::open(folder.path("lines")))
            .sink(JsonLines::create(folder.path("rows.jsonl")))
            .checkpoint(every(ms(100)).restore(), folder.path("state"))
    };
    crash_behind_a_checkpoint(&folder, |world| without_running(world, job()));
    fs::write(folder.path("lines"), "one\n").unwrap();
    let mut running = start(&World::new(), job()).unwrap();
    let error = outcome(&mut running).unwrap().unwrap_err().to_string();
    assert!(error.contains("lines: it has 4 bytes"), "{error}");
}

#[test]
fn s06_lines_are_written_as_they_are_and_survive_a_crash() {
    let folder = Folder::new();
    let job = |world: &World| {
        let texts = generate(|n| (n < 5_000).then(|| format!("line {n}, äöü\r")));
        let job = Pipeline::source(texts).sink(LinesWriter::create(folder.path("lines")));
        without_running(
            world,
            job.checkpoint(every(ms(100)).restore(), folder.path("state")),
        )
    };
    crash_behind_a_checkpoint(&folder, job);
    assert!(!folder.path("lines").exists());
    finish(job);
    let expected: String = (0..5_000).map(|n| format!("line {n}, äöü\r\n")).collect();
    assert!(folder.read("lines") == expected);
}

#[test]
fn s06_a_text_of_two_lines_is_refused() {
    let folder = Folder::new();
    let texts = Pipeline::source(generate(|n| Some(if n < 3 { "a" } else { "b\nc" })));
    let job = texts.sink(LinesWriter::create(folder.path("lines")));
    let mut running = start(&World::new(), job).unwrap();
    let error = outcome(&mut running).unwrap().unwrap_err().to_string();
    assert!(
        error.contains("line break") && error.contains("b\\nc"),
        "{error}"
    );
    assert!(!folder.path("lines").exists() && !folder.path("lines.part").exists());
}

#[test]
fn c06_a_checkpoint_that_cannot_be_read_is_as_a_damaged_one_and_one_that_cannot_be_removed_stays() {
    let folder = killed();
    let newest = "state/checkpoint-00000000000000000099";
    let oldest = "state/checkpoint-00000000000000000000";
    for name in [newest, oldest] {
        fs::create_dir(folder.path(name)).unwrap();
    }
    let world = World::new();
    let mut running = start(&world, file_job(&folder)).unwrap();
    let restored = running.restored().unwrap();
    assert_eq!(restored.refused.len(), 1);
    assert!(restored.refused[0].why.starts_with("it cannot be read: "));
    outcome(&mut running).unwrap().unwrap();
    assert!(folder.path(oldest).exists());
}

#[test]
fn s06_a_csv_file_names_its_columns_once_however_often_the_job_crashes() {
    let folder = Folder::new();
    let job = |world: &World| {
        let rows = Pipeline::source(generate(|n| (n < 5_000).then(|| row(n))));
        let job = rows.sink(CsvWriter::create(folder.path("rows.csv")));
        without_running(
            world,
            job.checkpoint(every(ms(100)).restore(), folder.path("state")),
        )
    };
    crash_behind_a_checkpoint(&folder, job);
    finish(job);
    let mut reader = csv::Reader::from_path(folder.path("rows.csv")).unwrap();
    let rows: Vec<Row> = reader.deserialize().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows, (0..5_000).map(row).collect::<Vec<_>>());
}

#[test]
fn s06_a_failed_job_without_checkpoints_leaves_nothing_behind_and_keeps_what_was_there() {
    let folder = Folder::new();
    fs::write(folder.path("rows.jsonl"), "of an earlier run").unwrap();
    let world = World::new();
    let rows = Pipeline::source(generate(|n| {
        assert!(n < 3, "no more rows");
        Some(row(n))
    }));
    let mut running = start(
        &world,
        rows.sink(JsonLines::create(folder.path("rows.jsonl"))),
    )
    .unwrap();
    let error = outcome(&mut running).unwrap().unwrap_err().to_string();
    assert!(error.ends_with("no more rows"), "{error}");
    assert_eq!(folder.read("rows.jsonl"), "of an earlier run");
    assert!(!folder.path("rows.jsonl.part").exists());
}

/// Why a job ends whose last record is none for its sink.
fn refused_by<T, K>(records: [T; 3], sink: K) -> String
where
    T: Clone + Send + 'static,
    K: Sink<T>,
{
    let job = Pipeline::source(iterate(records)).sink(sink);
    let mut running = start(&World::new(), job).unwrap();
    outcome(&mut running).unwrap().unwrap_err().to_string()
}

#[test]
fn e02_a_record_that_is_none_for_its_file_is_named_with_it() {
    let folder = Folder::new();
    let path = folder.path("out");
    let third = |path: &Path| {
        let path = path.display();
        format!("the sink failed: cannot write record 3 of this run to {path}: ")
    };
    // In JSON only texts are keys, and in CSV all rows are equally long.
    let maps = [
        BTreeMap::new(),
        BTreeMap::new(),
        BTreeMap::from([((1, 2), 3)]),
    ];
    let partitions = |_: &BTreeMap<(u8, u8), u8>| "a/b.jsonl".to_owned();
    for (error, expected) in [
        (
            refused_by(maps.clone(), JsonLines::create(&path)),
            third(&path) + "key must be a string",
        ),
        (
            refused_by([vec![1], vec![2], vec![3, 4]], CsvWriter::create(&path)),
            third(&path) + "CSV error: ",
        ),
        (
            refused_by(["a", "b", "c\nd"], LinesWriter::create(&path)),
            third(&path) + "it has a line break",
        ),
        (
            refused_by(maps, PartitionedFiles::json_lines(&path, partitions)),
            third(&path.join("a/b.jsonl")) + "key must be",
        ),
    ] {
        assert!(error.starts_with(&expected), "{error}, not {expected}");
    }
}
