//! Bad input: each ends the run with one clear line (what, where, which row) and exit code 1, and leaves no file that
//! was not there. [`Job::fail`] checks all of that; here it is what the line says.

use std::fs;
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::double::{self, Misdeed};
use crate::job::{Job, data, feed};

pub(crate) const MODES: [&str; 2] = ["event-loop", "blocking"];

/// Rows enough that the first block of output is written before the last look-up.
pub(crate) const SOME: &str = "2000";

#[track_caller]
pub(crate) fn assert_says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "`{part}` is not in: {line}");
    }
}

/// That it begins with its row, names it once, and has no word on how rows are worked on.
#[track_caller]
fn assert_names_its_row(line: &str) {
    let (row, rest) = line.split_once(": ").expect(line);
    let number = row.strip_prefix("row ").expect(line);
    assert!(number.parse::<u64>().is_ok(), "{line}");
    for word in [row, "stage", "record", "attempt"] {
        assert!(!rest.contains(word), "`{word}` is one too many in: {line}");
    }
}

#[test]
fn a_missing_file() {
    let line = Job::new(&["--input", "no/such/file.csv"]).fail();
    assert_says(&line, &["no/such/file.csv", "No such file"]);
    let line = Job::new(&["--input", "src"]).fail();
    assert_says(&line, &["src", "Is a directory"]);
}

#[test]
fn a_missing_table() {
    let job = Job::new(&[]);
    fs::copy(data("planes.csv"), job.path("planes.csv")).unwrap();
    let folder = job.path("").to_str().unwrap().to_owned();
    let flights = data("flights.csv");
    let line = job
        .with(&["--data", &folder, "--input", flights.to_str().unwrap()])
        .fail();
    assert_says(&line, &["airports.csv", "No such file"]);
}

#[test]
fn a_table_with_a_value_that_can_not_be() {
    let job = Job::new(&[]);
    for table in [
        "planes.csv",
        "airports.csv",
        "airlines.csv",
        "weather.csv",
        "flights.csv",
    ] {
        fs::copy(data(table), job.path(table)).unwrap();
    }
    let planes =
        fs::read_to_string(data("planes.csv"))
            .unwrap()
            .replacen(",2004,", ",long ago,", 1);
    fs::write(job.path("planes.csv"), planes).unwrap();
    let folder = job.path("").to_str().unwrap().to_owned();
    assert_says(
        &job.with(&["--data", &folder]).fail(),
        &["row 1 of", "planes.csv"],
    );
}

#[test]
fn a_row_with_too_few_columns() {
    let flights = fs::read_to_string(data("flights.csv")).unwrap();
    let rows: Vec<&str> = flights.lines().skip(1).take(1500).collect();
    for mode in MODES {
        let mut rows = rows.clone();
        rows[1299] = "2013,1,1,517";
        let line = Job::new(&["--mode", mode]).with_rows(&rows).fail();
        assert!(line.starts_with("row 1300 (line 1301) of "), "{line}");
        assert_says(&line, &["flights.csv", "has 4 columns", "19"]);
    }
}

#[test]
fn a_row_that_is_not_text() {
    let job = Job::new(&[]).with_rows(&[]);
    let mut bytes = fs::read(job.path("flights.csv")).unwrap();
    bytes.extend_from_slice(
        b"2013,1,1,517,515,2,830,819,11,UA,1545,N\xff,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z\n",
    );
    fs::write(job.path("flights.csv"), bytes).unwrap();
    assert_says(&job.fail(), &["row 1 ", "flights.csv", "not UTF-8"]);
}

#[test]
fn a_file_without_a_column() {
    let line = Job::new(&[])
        .with_input("year,month,day\n2013,1,1\n")
        .fail();
    assert_says(&line, &["flights.csv", "no column `dep_time`"]);
    let line = Job::new(&[]).with_input("").fail();
    assert_says(&line, &["flights.csv", "it is empty"]);
}

#[test]
fn a_file_with_a_column_twice() {
    let flights = fs::read_to_string(data("flights.csv")).unwrap();
    let two_days = flights.replacen(",minute,", ",day,", 1);
    let line = Job::new(&[]).with_input(&two_days).fail();
    assert_says(&line, &["flights.csv", "2 columns `day`"]);
}

#[test]
fn a_refused_connection() {
    // A port that was just free, and is again.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    for mode in MODES {
        let line = Job::new(&["--mode", mode, "--redis", &address]).fail();
        assert_says(&line, &["cannot reach", &address, "onnection refused"]);
    }
}

#[test]
fn an_address_that_is_none() {
    assert_says(
        &Job::new(&["--redis", "localhost"]).fail(),
        &["cannot reach", "localhost"],
    );
}

/// The first connection of a run stores the tables; those after it are the event loop's.
#[test]
fn a_connection_that_is_not_answered() {
    for accepted in [0, 1] {
        let address = double::start_and_accept(accepted);
        assert_eq!(
            Job::new(&["--redis", &address, "--patience", "1s"]).fail(),
            format!("cannot reach the look-up server {address}: no answer within 1s")
        );
    }
}

#[test]
fn a_server_that_falls_silent() {
    let address = double::start(0, Misdeed::StoresSaying(b""));
    assert_eq!(
        Job::new(&["--redis", &address, "--patience", "1s"]).fail(),
        format!("cannot store the tables at {address}: no answer within 1s")
    );
    for mode in MODES {
        let address = double::start(100, Misdeed::Says(b""));
        let job = Job::new(&["--mode", mode, "--redis", &address, "--patience", "1s"]);
        let line = job.fail();
        assert_names_its_row(&line);
        assert!(line.contains("cannot look up "), "{line}");
        assert!(
            line.ends_with(&format!(" at {address}: no answer within 1s")),
            "{line}"
        );
    }
}

/// Who sends and who receives both notice, at about the same time: the second must not speak over the first.
#[test]
fn a_server_that_resets_a_connection() {
    for _ in 0..4 {
        let address = double::start(1000, Misdeed::Resets);
        let job = Job::new(&["--limit", SOME, "--redis", &address, "--connections", "1"]);
        let line = job.fail();
        assert_names_its_row(&line);
        assert_says(&line, &["cannot look up ", &address, " in flight"]);
        assert!(!line.contains(" 0 requests"), "{line}");
    }
}

#[test]
fn a_server_that_dies_in_the_middle() {
    for mode in MODES {
        let address = double::start(3000, Misdeed::Dies);
        let line = Job::new(&["--mode", mode, "--limit", SOME, "--redis", &address]).fail();
        assert_names_its_row(&line);
        assert_says(&line, &["cannot look up ", &address, "in flight"]);
    }
}

/// The failure does not wait for more of the input.
#[test]
fn a_server_that_dies_while_the_input_is_silent() {
    let address = double::start(100, Misdeed::Dies);
    let job = Job::new(&["--redis", &address, "--workers", "1"]);
    let mut child = job.start_piped();
    let mut silent = child.stdin.take().unwrap();
    feed(&mut silent, 500);
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    let output = ended.recv_timeout(Duration::from_secs(60));
    drop(silent);
    let line = job.expect_failure(&output.expect("it waits for the pipe"));
    assert_says(&line, &["cannot look up ", &address, "in flight"]);
}

#[test]
fn a_server_that_dies_in_the_middle_of_an_answer() {
    for mode in MODES {
        let address = double::start(1000, Misdeed::DiesSaying(b"$100\r\n{\"tailnum\":"));
        let line = Job::new(&["--mode", mode, "--limit", SOME, "--redis", &address]).fail();
        assert_names_its_row(&line);
        assert_says(&line, &["cannot look up ", &address, "in flight"]);
    }
}

#[test]
fn a_server_that_does_not_answer_with_values() {
    let cases: [(&'static [u8], &str); 7] = [
        (
            b"-LOADING the data are not there yet\r\n",
            "LOADING the data are not there yet",
        ),
        (b"-LOADING\n\x1b[2Jwait\r\n", "answered: LOADING  [2Jwait"),
        (b":42\r\n", "no value but :42"),
        (b"+OK\r\n", "no value but +OK"),
        (b"*1\r\n$2\r\nOK\r\n", "no value but an array of 1"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not Redis's protocol"),
        (b"$3\r\n{,}\r\n", "not such a row as JSON"),
    ];
    for (bytes, reason) in cases {
        for mode in MODES {
            let address = double::start(100, Misdeed::Says(bytes));
            let line = Job::new(&["--mode", mode, "--limit", SOME, "--redis", &address]).fail();
            assert_names_its_row(&line);
            assert_says(&line, &[reason]);
        }
    }
}

#[test]
fn a_server_that_does_not_store() {
    let address = double::start(0, Misdeed::StoresSaying(b"+QUEUED\r\n"));
    assert_eq!(
        Job::new(&["--redis", &address]).fail(),
        format!("cannot store the tables at {address}: it answered +QUEUED")
    );
}

#[test]
fn a_server_that_answers_more_than_it_was_asked() {
    let address = double::start(100, Misdeed::Says(b"$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n"));
    let line = Job::new(&["--limit", "40", "--redis", &address, "--capacity", "1"]).fail();
    assert_says(&line, &[&address, "more than it was asked"]);
    // What another look-up's answer would pass for.
    let address = double::start(100, Misdeed::Says(b"$-1\r\n$-1\r\n"));
    let line = Job::new(&["--limit", "40", "--redis", &address, "--mode", "blocking"]).fail();
    assert_names_its_row(&line);
    assert_says(
        &line,
        &["cannot look up ", &address, "more than it was asked"],
    );
}

/// A row that any table could have, if it had that key.
#[test]
fn a_server_that_answers_with_another_row() {
    let other = r#"{"tailnum":"N0","faa":"N0","carrier":"N0","origin":"N0","time_hour":"0","name":"","lat":0,"lon":0,"alt":0}"#;
    let answer = format!("${}\r\n{other}\r\n", other.len()).leak();
    for mode in MODES {
        let address = double::start(100, Misdeed::Says(answer.as_bytes()));
        let line = Job::new(&["--mode", mode, "--limit", SOME, "--redis", &address]).fail();
        assert_names_its_row(&line);
        assert_says(&line, &["the answer to its look-up of ", ":N0"]);
    }
}

/// One that fails ends those that wait for a row, for an answer, and for the one who writes.
#[test]
fn a_failure_on_one_of_many_threads() {
    for number in ["2", "16"] {
        let address = double::start(100, Misdeed::Says(b"$-1\r\n$-1\r\n"));
        let threads = ["--mode", "blocking", "--threads", number];
        let line = Job::new(&["--limit", SOME, "--redis", &address])
            .with(&threads)
            .fail();
        assert_names_its_row(&line);
        assert_says(&line, &[&address, "more than it was asked"]);
    }
}

#[test]
fn an_option_that_blocking_has_no_use_for() {
    let cases: [&[&str]; 8] = [
        &["--connections", "2"],
        &["--capacity", "2"],
        &["--unordered"],
        &["--workers", "2"],
        &["--state", "state"],
        &["--retries", "2"],
        &["--keep-going"],
        &["--cache", "2"],
    ];
    for option in cases {
        let errors = misused(Job::new(&["--mode", "blocking", "--limit", "1"]).with(option));
        assert_says(&errors, &[option[0], "--mode blocking"]);
    }
}

#[test]
fn threads_that_the_event_loop_has_no_use_for() {
    let errors = misused(Job::new(&["--threads", "2", "--limit", "1"]));
    assert_says(&errors, &["--threads", "--mode blocking"]);
    for number in ["0", "257"] {
        let errors = misused(Job::new(&["--mode", "blocking", "--threads", number]));
        assert_says(&errors, &[number, "--threads", "1..=256"]);
    }
}

#[test]
fn connections_that_no_process_can_have() {
    for number in ["0", "257", "1000000"] {
        let errors = misused(Job::new(&["--connections", number, "--limit", "1"]));
        assert_says(&errors, &[number, "--connections", "1..=256"]);
    }
}

/// Not all of these get a file. What it says is what was tried, once.
#[test]
fn connections_that_this_process_can_not_have() {
    let job = Job::new(&["--connections", "100", "--patience", "20s"]);
    let line = job.expect_failure(&job.run_in_shell("ulimit -n 60"));
    assert_says(
        &line,
        &["cannot reach the look-up server", "Too many open files"],
    );
    assert_eq!(
        line.matches("cannot").count(),
        2,
        "to reach it: to connect: {line}"
    );
}

/// What a command line that makes no sense is answered.
fn misused(job: Job) -> String {
    let output = job.command().output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    errors
}

#[test]
fn a_delay_that_no_clock_can_count() {
    for delay in ["18446744073709551615s", "1e300s", "3601s", "-1ms"] {
        let errors = misused(Job::new(&[&format!("--delay={delay}"), "--limit", "1"]));
        assert_says(&errors, &[delay, "--delay", "0s to 3600s"]);
    }
}
