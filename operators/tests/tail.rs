//! The tailing file source, on a scripted clock: what is added is given at the next look, rotation and truncation lose nothing that can be
//! found, and a restored job goes on in the file in which it was, whatever that is called by then.

mod kit;

use kit::jobs::{Disk, outcome, start};
use kit::{World, ms};
use peu_operators::pipeline::{Pipeline, Running, Tail, every};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Between two looks that find nothing.
const LOOK: u64 = 100;

/// A folder with a log, and the job that follows it, which may crash and come back.
struct Bench {
    folder: tempfile::TempDir,
    disk: Disk<String>,
    tail: fn(Tail) -> Tail,
    life: Option<(World, Running)>,
    /// Seconds: no two files are written at the same,
    clock: u64,
    /// unless it stands still.
    stands: bool,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            disk: Disk::new(),
            tail: |tail| tail,
            life: None,
            clock: 0,
            stands: false,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&mut self) {
        let world = World::new();
        let tail = (self.tail)(Tail::follow(self.path("log")).every(ms(LOOK)));
        let job = Pipeline::source(tail).sink(self.disk.sink());
        let checkpoints = every(ms(10 * LOOK)).restore();
        let job = job.checkpoint(checkpoints, self.path("state"));
        let running = start(&world, job).unwrap();
        self.life = Some((world, running));
    }

    fn started() -> Self {
        let mut bench = Self::new();
        bench.start();
        bench
    }

    fn world(&self) -> &World {
        &self.life.as_ref().unwrap().0
    }

    /// So many looks.
    fn look(&self, times: usize) {
        for _ in 0..times {
            self.world().advance(ms(LOOK));
            self.world().run();
        }
    }

    /// Until a checkpoint has all that was looked at; and then the job is killed.
    fn crash_behind_a_checkpoint(&mut self) {
        self.look(22);
        self.crash();
    }

    fn crash(&mut self) {
        let (world, running) = self.life.take().unwrap();
        world.close();
        drop(running);
    }

    fn written(&self) -> Vec<String> {
        self.disk.written()
    }

    /// The error that has ended the job.
    fn error(&mut self) -> String {
        let (_, running) = self.life.as_mut().unwrap();
        outcome(running).unwrap().unwrap_err().to_string()
    }

    fn append(&mut self, name: &str, text: &str) {
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(self.path(name))
            .unwrap();
        log.write_all(text.as_bytes()).unwrap();
        self.clock += u64::from(!self.stands);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + self.clock);
        log.set_modified(time).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn copy_and_truncate(&mut self, copy: &str) {
        let text = fs::read_to_string(self.path("log")).unwrap();
        self.append(copy, &text);
        self.truncate();
    }

    fn truncate(&self) {
        let log = File::options().write(true).open(self.path("log"));
        log.unwrap().set_len(0).unwrap();
    }
}

#[test]
fn what_is_added_is_given_at_the_next_look_and_a_line_when_its_end_is_there() {
    let mut bench = Bench::started();
    bench.look(3);
    assert!(bench.written().is_empty(), "there is no file yet");
    bench.append("log", "poll\nexec");
    bench.world().advance(ms(LOOK - 1));
    bench.world().run();
    assert!(bench.written().is_empty(), "it is not time yet");
    bench.world().advance(ms(1));
    bench.world().run();
    assert_eq!(bench.written(), ["poll"]);
    bench.append("log", "ute\r");
    bench.look(1);
    assert_eq!(bench.written(), ["poll"]);
    bench.append("log", "\nupdate\n");
    bench.look(1);
    assert_eq!(bench.written(), ["poll", "execute", "update"]);
}

#[test]
fn a_long_file_is_read_at_once() {
    let mut bench = Bench::new();
    let lines: Vec<String> = (0..50_000).map(|number| format!("line {number}")).collect();
    bench.append("log", &(lines.join("\n") + "\n"));
    bench.start();
    assert_eq!(bench.written(), lines);
}

#[test]
fn a_file_in_which_nothing_happens_costs_a_look_now_and_then() {
    let mut bench = Bench::new();
    bench.append("log", "poll\n");
    bench.start();
    let (polls, sleeps) = (bench.world().polls(), bench.world().sleeps());
    bench.look(5);
    // A poll for each look, those of the checkpoints aside: none is due yet.
    assert_eq!(bench.world().polls(), polls + 5);
    assert_eq!(bench.world().sleeps(), sleeps);
}

#[test]
fn a_renamed_file_is_read_to_its_end_and_then_the_new_one() {
    let mut bench = Bench::started();
    bench.append("log", "1\n2\n");
    bench.look(1);
    bench.append("log", "3\n");
    bench.rename("log", "log.1");
    bench.look(1);
    assert_eq!(bench.written(), ["1", "2", "3"], "there is no other yet");
    bench.append("log", "6\n");
    bench.look(1);
    bench.append("log.1", "4\n5");
    bench.look(1);
    assert_eq!(
        bench.written(),
        ["1", "2", "3", "4"],
        "the writer was not done"
    );
    bench.look(3);
    assert_eq!(bench.written(), ["1", "2", "3", "4", "5", "6"]);
    bench.append("log", "7\n");
    bench.look(1);
    assert_eq!(bench.written().last().unwrap(), "7");
}

#[test]
fn files_rotated_between_two_looks_are_read_in_their_order_also_if_written_at_the_same_time() {
    for stands in [false, true] {
        let mut bench = Bench::started();
        bench.stands = stands;
        bench.append("log", "1\n");
        bench.look(1);
        bench.rename("log", "log.3");
        bench.append("log", "2\n");
        bench.rename("log", "log.2");
        bench.append("log-errors", "none of these\n");
        bench.append("log.2.gz", "nor these\n");
        bench.append("log", "3\n");
        bench.rename("log", "log.1");
        bench.append("log", "4\n");
        bench.look(10);
        assert_eq!(bench.written(), ["1", "2", "3", "4"], "{stands}");
    }
}

#[test]
fn a_truncated_file_is_read_from_its_start_also_if_it_has_grown_since() {
    let mut bench = Bench::started();
    bench.append("log", "a line\nhalf");
    bench.look(1);
    bench.truncate();
    bench.look(2);
    bench.append("log", "2\n");
    bench.look(2);
    assert_eq!(bench.written(), ["a line", "2"]);
    bench.truncate();
    bench.append("log", "longer than what was there before\n");
    bench.look(2);
    assert_eq!(
        bench.written(),
        ["a line", "2", "longer than what was there before"]
    );
}

#[test]
fn what_was_not_read_before_a_truncation_is_read_from_the_copy() {
    let mut bench = Bench::started();
    bench.append("log.2", "0\nof earlier times, and longer than the others\n");
    bench.append("log", "1\n2");
    bench.look(1);
    bench.append("log", "2\n3\n");
    bench.copy_and_truncate("log.1");
    bench.append("log", "4\n");
    bench.look(5);
    assert_eq!(bench.written(), ["1", "22", "3", "4"]);
}

#[test]
fn c01_a_restored_job_goes_on_in_the_file_in_which_it_was() {
    let mut bench = Bench::started();
    bench.append("log", "1\n2\nhalf a ");
    bench.crash_behind_a_checkpoint();
    bench.append("log", "line\n");
    bench.start();
    assert_eq!(bench.written(), ["1", "2", "half a line"]);
}

#[test]
fn c01_a_restored_job_finds_the_file_whatever_it_is_called_and_those_behind_it() {
    let mut bench = Bench::started();
    bench.append("log", "1\n2\n");
    bench.crash_behind_a_checkpoint();
    bench.append("log", "3\n");
    bench.rename("log", "renamed by hand");
    bench.append("log", "4\n");
    bench.rename("log", "log.1");
    bench.append("log", "5\n");
    bench.start();
    bench.look(6);
    assert_eq!(bench.written(), ["1", "2", "3", "4", "5"]);
}

#[test]
fn c01_a_restored_job_finds_the_copy_of_a_truncated_file() {
    let mut bench = Bench::started();
    bench.append("log", "1\n2\n");
    bench.crash_behind_a_checkpoint();
    bench.append("log", "3\n");
    bench.copy_and_truncate("log-20131231");
    bench.append("log", "4\n");
    bench.start();
    bench.look(3);
    assert_eq!(bench.written(), ["1", "2", "3", "4"]);
}

#[test]
fn c01_a_file_that_is_gone_is_an_error_unless_loss_is_allowed() {
    let gone: [fn(&mut Bench); 3] = [
        |bench| fs::remove_file(bench.path("log")).unwrap(),
        // The same file by its number, and not by what is in it.
        |bench| {
            bench.truncate();
            bench.append("log", "another line\nand more\n");
        },
        |bench| bench.rename("log", "state/elsewhere"),
    ];
    for gone in gone {
        let mut bench = Bench::started();
        bench.append("log", "1\n2\n");
        bench.crash_behind_a_checkpoint();
        gone(&mut bench);
        bench.start();
        let error = bench.error();
        let path = bench.path("log");
        let place = format!(
            "cannot go on with {} at byte 4 of the file with inode",
            path.display()
        );
        assert!(
            error.contains(&place) && error.contains("allow_loss"),
            "{error}"
        );

        bench.tail = |tail| tail.allow_loss();
        bench.start();
        bench.append("log", "new\n");
        bench.look(2);
        assert_eq!(bench.written()[..2], ["1", "2"]);
        assert_eq!(bench.written().last().unwrap(), "new");
    }
}

#[test]
fn what_is_no_line_ends_the_job_behind_those_that_are() {
    let mut bench = Bench::new();
    bench.tail = |tail| tail.longest_line(10);
    bench.append("log", "0123456789\r\n0123456789\n01234567890\n");
    bench.start();
    assert_eq!(bench.written().len(), 2);
    let error = bench.error();
    assert!(
        error.contains("the line at byte 23 of ") && error.contains("more than 10 bytes"),
        "{error}"
    );

    let mut bench = Bench::started();
    fs::write(bench.path("log"), b"text\n\xff\n").unwrap();
    bench.look(1);
    assert_eq!(bench.written(), ["text"]);
    let error = bench.error();
    assert!(
        error.contains("at byte 5 of ") && error.contains("no UTF-8"),
        "{error}"
    );

    let mut bench = Bench::new();
    fs::create_dir(bench.path("log")).unwrap();
    bench.start();
    let error = bench.error();
    assert!(
        error.contains("cannot read ") && error.contains("directory"),
        "{error}"
    );
}

/// Any order of additions, rotations, looks, checkpoints and crashes gives each line once, as long as nothing is removed.
#[test]
fn c01_whatever_happens_each_line_is_given_once_and_in_order() {
    for seed in 1..=40 {
        let mut random = Random(seed);
        let mut bench = Bench::started();
        let (mut text, mut rotated) = ("the beginning\n".to_owned(), 0);
        // What was rotated before the tail has ever seen it is not its business.
        bench.append("log", &text);
        bench.crash_behind_a_checkpoint();
        bench.start();
        for step in 0..60 {
            match random.up_to(12) {
                1..=5 => {
                    let piece = ["one line\n", "two\nlines\n", "a part ", "\n"]
                        [random.up_to(4) as usize - 1];
                    let piece = format!("{step}{piece}");
                    bench.append("log", &piece);
                    text += &piece;
                }
                // Whoever rotates a file in the middle of a line ends that line.
                6 | 7 if bench.path("log").exists() && text.ends_with('\n') => {
                    bench.rename("log", &format!("log.{rotated}"));
                    rotated += 1;
                }
                8 => bench.crash_behind_a_checkpoint(),
                9 => bench.crash(),
                _ => bench.look(random.up_to(12) as usize),
            }
            if bench.life.is_none() {
                bench.start();
            }
        }
        bench.append("log", "\nthe end\n");
        text += "\nthe end\n";
        bench.look(200);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(bench.written(), lines, "seed {seed}");
    }
}

/// Knuth's linear congruential generator: the same orders in each run.
struct Random(u64);

impl Random {
    /// From 1 to `most`.
    fn up_to(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        1 + (self.0 >> 33) % most
    }
}
