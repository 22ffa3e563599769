//! The job on real rows, in both modes and in every setting.

use std::io::Read;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::job::{Done, FED, Job, data, feed, json_lines};
use crate::truth::{self, Tables};

/// Enough rows for several blocks of output and for every kind of miss; few enough for the blocking mode.
const SOME: &str = "3000";

#[test]
fn all_of_january_comes_out_as_it_should() {
    let done = Job::new(&[]).run();
    check(&done, 27_004);
    assert_eq!(done.count("/records"), 26_919);
    assert_eq!(done.count("/cancelled"), 521);
    assert_eq!(done.count("/dead_letters"), 85);
    let numbers: Vec<u64> = done
        .records()
        .iter()
        .map(|record| record["row"].as_u64().unwrap())
        .collect();
    assert!(numbers.is_sorted(), "the default is the order of the input");
}

#[test]
fn both_modes_write_the_same() {
    let event_loop = Job::new(&["--limit", SOME]).run();
    check(&event_loop, 3000);
    assert_eq!(event_loop.report["mode"], "event-loop");
    // 7 does not divide the number of rows, so that not all threads have as many.
    for threads in ["1", "2", "7"] {
        let blocking = Job::new(&["--limit", SOME, "--mode", "blocking", "--threads", threads]);
        let blocking = blocking.run();
        assert_eq!(blocking.report["mode"], "blocking");
        assert_equal(&event_loop, &blocking);
        for count in [
            "rows",
            "records",
            "cancelled",
            "dead_letters",
            "dead_letters_by_rule",
            "lookups",
        ] {
            assert_eq!(event_loop.report[count], blocking.report[count], "{count}");
        }
    }
}

#[test]
fn the_order_of_completion_writes_the_same_records() {
    let ordered = Job::new(&["--limit", SOME, "--delay", "1ms"]).run();
    let mut unordered = Job::new(&[
        "--limit",
        SOME,
        "--delay",
        "1ms",
        "--unordered",
        "--capacity",
        "256",
    ])
    .run();
    unordered.output = sorted(&unordered.output);
    unordered.dead_letters = sorted(&unordered.dead_letters);
    assert_equal(&unordered, &ordered);
}

#[test]
fn the_narrowest_setting_writes_the_same() {
    let wide = Job::new(&["--limit", "500"]).run();
    let narrow = Job::new(&[
        "--limit",
        "500",
        "--capacity",
        "1",
        "--connections",
        "1",
        "--workers",
        "1",
    ])
    .run();
    assert_equal(&narrow, &wide);
}

/// What makes the event loop fifty times as fast and more: so many look-ups wait together. The delay is long enough for any
/// machine to ask for all that may be under way before the first answer comes.
#[test]
fn look_ups_wait_together() {
    let at_once = |arguments: &[&str]| {
        let done = Job::new(&["--limit", "600"]).with(arguments).run();
        check(&done, 600);
        done.count("/peak_in_flight")
    };
    assert_eq!(at_once(&["--mode", "blocking"]), 1);
    let threads = at_once(&["--mode", "blocking", "--threads", "16", "--delay", "20ms"]);
    assert!((2..=16).contains(&threads), "{threads}");
    assert!(at_once(&["--capacity", "1"]) <= 4);
    // Of the four look-ups of a row, that of the aircraft may be missing; of the rows, a few are dead letters.
    let wide = at_once(&["--capacity", "300", "--delay", "1s"]);
    assert!((800..=1200).contains(&wide), "{wide}");
}

#[test]
fn an_output_that_is_a_pipe_is_written_to() {
    let job = Job::new(&["--limit", "300", "--output", "/dev/stdout", "--quiet"]);
    let mut command = job.command();
    let output = command.output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let (lines, report) = text.split_at(text.find("\n{\n").unwrap() + 1);
    assert_eq!(
        json_lines(lines).len() as u64,
        serde_json::from_str::<serde_json::Value>(report).unwrap()["records"]
    );
}

/// While a pipe is silent, what came before goes on: all but the rows of a block that is not full (256), and the bytes of
/// one (64 KiB). A worker that waited for the pipe would hold up the look-ups of a thousand rows.
#[test]
fn a_pipe_that_falls_silent_holds_up_no_look_up() {
    let before = Job::new(&["--limit", &(FED - 256).to_string()])
        .run()
        .output;
    let before = before.as_bytes()[..before.len() - 64 * 1024].to_owned();
    let job = Job::new(&[
        "--workers",
        "1",
        "--delay",
        "200ms",
        "--output",
        "/dev/stdout",
    ]);
    let mut child = job.start_piped();
    let mut pipe = child.stdout.take().unwrap();
    let (sender, written) = mpsc::channel();
    let mut bytes = vec![0; before.len()];
    thread::spawn(move || sender.send(pipe.read_exact(&mut bytes).map(|()| bytes)));
    feed(child.stdin.as_mut().unwrap(), FED);
    let written = written.recv_timeout(Duration::from_secs(60));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(written.expect("it waits for the pipe").unwrap() == before);
}

#[test]
fn the_report_is_for_people_unless_json_is_asked_for() {
    let job = Job::new(&["--limit", "100"]);
    let arguments = job
        .command()
        .get_args()
        .filter(|argument| *argument != "--json")
        .map(ToOwned::to_owned)
        .collect::<Vec<_>>();
    let output = std::process::Command::new(crate::example::example("enrich"))
        .current_dir(crate::job::ROOT)
        .args(arguments)
        .output()
        .unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    for part in [
        "rows",
        "records",
        "dead letters",
        "plane",
        "weather",
        "p99.9",
        "in flight",
        "wall time",
        "records/s",
    ] {
        assert!(report.contains(part), "{part} is not in: {report}");
    }
}

/// Each row of the input became the record or the dead letter that it should, once.
fn check(done: &Done, limit: usize) {
    let flights = truth::rows(&data("flights.csv"));
    let flights = &flights[..limit];
    let tables = Tables::load();
    let expected = |dead: bool| {
        let numbered = (1_u64..).zip(flights);
        numbered
            .filter(|(_, flight)| truth::is_dead_letter(flight) == dead)
            .collect::<Vec<_>>()
    };
    let records = done.records();
    assert_eq!(records.len(), expected(false).len());
    for (record, (number, flight)) in records.iter().zip(expected(false)) {
        assert_eq!(record["row"], number);
        truth::check(&floats(record), flight, &tables);
    }
    let letters = done.dead_letters();
    assert_eq!(letters.len(), expected(true).len());
    for (letter, (number, flight)) in letters.iter().zip(expected(true)) {
        assert_eq!(
            (&letter["row"], &letter["line"]),
            (&number.into(), &(number + 1).into())
        );
        assert_eq!(letter["rule"], "missing");
        assert_eq!(letter["flight"], serde_json::to_value(flight).unwrap());
    }
    check_counts(done, limit, &expected(false), &tables);
}

fn check_counts(done: &Done, rows: usize, expected: &[(u64, &truth::Row)], tables: &Tables) {
    assert_eq!(done.count("/rows"), rows as u64);
    assert_eq!(done.count("/records"), expected.len() as u64);
    assert_eq!(done.count("/dead_letters"), (rows - expected.len()) as u64);
    let cancelled = expected
        .iter()
        .filter(|(_, flight)| truth::is_cancelled(flight))
        .count();
    assert_eq!(done.count("/cancelled"), cancelled as u64);
    for name in ["plane", "airport", "airline", "weather"] {
        let answers: Vec<bool> = expected
            .iter()
            .filter_map(|(_, flight)| tables.of(flight).get(name).map(Option::is_some))
            .collect();
        let missed = answers.iter().filter(|found| !**found).count();
        assert_eq!(
            done.count(&format!("/lookups/{name}/asked")),
            answers.len() as u64,
            "{name}"
        );
        assert_eq!(
            done.count(&format!("/lookups/{name}/missed")),
            missed as u64,
            "{name}"
        );
    }
}

/// The numbers of a record as `truth` has them; its row's number is none of the data.
fn floats(record: &serde_json::Value) -> serde_json::Value {
    let fields = record.as_object().unwrap().iter();
    fields
        .map(|(name, value)| {
            (
                name.clone(),
                value.as_f64().map_or_else(|| value.clone(), Into::into),
            )
        })
        .collect()
}

fn assert_equal(left: &Done, right: &Done) {
    for (left, right) in left.output.lines().zip(right.output.lines()) {
        assert_eq!(left, right);
    }
    assert_eq!(left.output.lines().count(), right.output.lines().count());
    assert_eq!(left.dead_letters, right.dead_letters);
}

/// The lines in the order of their rows.
pub(crate) fn sorted(lines: &str) -> String {
    let row = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["row"]
            .as_u64()
            .unwrap()
    };
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_by_key(|line| row(line));
    lines.join("\n") + "\n"
}
