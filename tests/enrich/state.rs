//! Runs with `--state`: killed, at any instant and however often, and started again, they write what one does that is left
//! alone.

use std::fs;
use std::process::Output;

use crate::broken::assert_says;
use crate::job::{Done, Job, data, failure, files};
use crate::lives::{live, newest};
use crate::whole::sorted;

const KILLS: u64 = 10;

/// Rows enough for all those lives at the pace that they get.
const ROWS: &str = "3000";

/// Eight rows in 20 ms: a life of some checkpoints does a few dozen.
const SLOWLY: [&str; 4] = ["--capacity", "8", "--delay", "20ms"];

#[test]
fn c04_killed_again_and_again_a_run_writes_what_one_does_that_is_left_alone() {
    for order in ["--ordered", "--unordered"] {
        let undisturbed = Job::new(&["--limit", ROWS, order]).run();
        let job = with_state(Job::new(&["--limit", ROWS, order, "--every", "5ms"]));
        for life in 0..KILLS {
            live_and_be_killed(&job, life);
            let left = files(&job.out());
            assert!(
                left.iter()
                    .all(|path| path.extension().is_some_and(|end| end == "part"))
            );
        }
        let (said, done) = end(&job);
        assert_says(&said, &["enrich: goes on from ", "checkpoint-", " behind "]);
        assert!(done.count("/rows_before") > 0);
        match order {
            "--ordered" => assert!(done.output == undisturbed.output),
            _ => assert!(sorted(&done.output) == sorted(&undisturbed.output)),
        }
        assert_eq!(
            sorted(&done.dead_letters),
            sorted(&undisturbed.dead_letters)
        );
        for count in [
            "rows",
            "records",
            "cancelled",
            "dead_letters_by_rule",
            "lookups",
        ] {
            assert_eq!(done.report[count], undisturbed.report[count], "{count}");
        }
    }
}

#[test]
fn a_run_that_has_ended_has_nothing_left_to_do() {
    let job = with_state(Job::new(&["--limit", "500"]));
    let (said, first) = end(&job);
    assert_eq!(said, "", "it begins anew");
    let (said, second) = end(&job);
    assert_says(
        &said,
        &["nothing left to do", "checkpoint-", "with 500 rows"],
    );
    assert!(second.output == first.output && second.dead_letters == first.dead_letters);
    assert_eq!(second.report["records"], first.report["records"]);
    assert_eq!(second.count("/rows_before"), 500);
}

#[test]
fn a_run_does_not_go_on_with_what_another_has_begun() {
    let job = with_state(Job::new(&["--limit", ROWS, "--every", "5ms"]));
    live_and_be_killed(&job, 0);
    let line = failure(&run(&with_state_of(&job, Job::new(&["--limit", "400"]))));
    assert_says(
        &line,
        &[
            "another pipeline",
            "the first 3000 rows of ",
            "the first 400 rows of ",
        ],
    );
    let elsewhere = job.path("elsewhere").to_str().unwrap().to_owned();
    let other = Job::new(&["--limit", ROWS, "--output", &elsewhere]);
    let line = failure(&run(&with_state_of(&job, other)));
    assert_says(&line, &["another pipeline", "elsewhere; dead letters"]);
    let (said, _) = end(&job);
    assert_says(&said, &["goes on from "]);
}

#[test]
fn an_input_that_was_cut_is_refused() {
    let flights = fs::read_to_string(data("flights.csv")).unwrap();
    let rows: Vec<&str> = flights.lines().skip(1).take(3000).collect();
    let job = with_state(Job::new(&["--every", "5ms"]).with_rows(&rows));
    live_and_be_killed(&job, 0);
    let input = job.path("flights.csv");
    let file = fs::File::options().write(true).open(&input).unwrap();
    file.set_len(2000).unwrap();
    let output = run(&job);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_says(
        said.lines().last().unwrap(),
        &["flights.csv has 2000 bytes", "it was changed since"],
    );
}

#[test]
fn what_can_not_be_gone_on_with_is_refused_at_once() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path().to_str().unwrap();
    let line = Job::new(&["--state", state, "--output", "/dev/full"]).fail();
    assert_says(&line, &["cannot create /dev/full", "--state", "no file"]);
    let job = Job::new(&["--state", state]);
    let line = job.expect_failure(&job.start_piped().wait_with_output().unwrap());
    assert_says(&line, &["--state", "/dev/stdin is no file"]);
    let flights = data("flights.csv");
    let line = Job::new(&["--state", state, "--output", flights.to_str().unwrap()]).fail();
    assert_says(&line, &["cannot write", "reads it"]);
    let same = [
        "--output",
        "target/same",
        "--dead-letters",
        "target/../target/same",
    ];
    let line = Job::new(&["--state", state]).with(&same).fail();
    assert_says(&line, &["the same file"]);
}

fn with_state(job: Job) -> Job {
    let state = job.path("state").to_str().unwrap().to_owned();
    job.with(&["--state", &state])
}

/// With the folder of another's checkpoints.
fn with_state_of(other: &Job, job: Job) -> Job {
    let state = other.path("state").to_str().unwrap().to_owned();
    job.with(&["--state", &state])
}

/// Starts it, and kills it when it has made some checkpoints, more in each life.
fn live_and_be_killed(job: &Job, life: u64) {
    let state = job.path("state");
    let enough = newest(&state) + 10 + life;
    let mut command = job.command();
    command.args(SLOWLY);
    let is_killed = live(command, || newest(&state) >= enough);
    assert!(is_killed, "it ends by itself");
}

fn run(job: &Job) -> Output {
    job.command().output().unwrap()
}

/// Runs to a good end: what it says on standard error, and what it wrote.
fn end(job: &Job) -> (String, Done) {
    let output = run(job);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let read = |name| fs::read_to_string(job.out().join(name)).unwrap();
    let done = Done {
        report: serde_json::from_slice(&output.stdout).unwrap(),
        output: read("flights.jsonl"),
        dead_letters: read("dead-letters.jsonl"),
    };
    (said, done)
}
