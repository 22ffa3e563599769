//! Look-ups that fail and are made once more, rows that are put aside, and look-ups that a cache spares.

use std::collections::HashSet;

use crate::broken::assert_says;
use crate::double::{self, Misdeed};
use crate::job::{Job, data};
use crate::truth;

const ROWS: usize = 500;

#[test]
fn a_connection_that_is_lost_is_made_anew_and_its_rows_are_looked_up_again() {
    let rows = ROWS.to_string();
    let run = |misdeed| {
        let address = double::start(400, misdeed);
        let few = ["--capacity", "16", "--retries", "50"];
        Job::new(&["--limit", &rows, "--redis", &address])
            .with(&few)
            .run()
    };
    let hung_up = run(Misdeed::HangsUp);
    // An answer that says nothing is what each of them gives.
    let patient = run(Misdeed::Says(b"$-1\r\n"));
    assert!(hung_up.count("/retries") > 0);
    assert_eq!(patient.count("/retries"), 0);
    assert!(hung_up.output == patient.output);
    assert_eq!(hung_up.report["lookups"], patient.report["lookups"]);
}

#[test]
fn without_retries_a_connection_that_is_lost_ends_the_run() {
    let address = double::start(400, Misdeed::HangsUp);
    let line = Job::new(&["--redis", &address, "--retries", "0"]).fail();
    assert_says(&line, &["row ", "cannot look up ", &address, "in flight"]);
}

#[test]
fn rows_without_answers_are_put_aside_if_that_is_asked_for() {
    let address = double::start(400, Misdeed::Says(b"-ERR out of order\r\n"));
    let rows = ROWS.to_string();
    // On one connection, so that the good answers are those of the first rows.
    let one = ["--keep-going", "--connections", "1"];
    let done = Job::new(&["--limit", &rows, "--redis", &address])
        .with(&one)
        .run();
    let unanswered = done.count("/dead_letters_by_rule/unanswered");
    assert!(unanswered > 0);
    assert!(done.count("/records") > 0);
    assert_eq!(
        done.count("/records") + done.count("/dead_letters"),
        ROWS as u64
    );
    let letters = done.dead_letters();
    let letters = letters
        .iter()
        .filter(|letter| letter["rule"] == "unanswered");
    let reasons: Vec<&str> = letters
        .map(|letter| letter["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons.len() as u64, unanswered);
    assert!(
        reasons.iter().all(
            |reason| reason.contains("cannot look up ") && reason.ends_with("ERR out of order")
        )
    );
}

/// The server answers as often as there are different keys, and then dies.
#[test]
fn a_cache_asks_once_for_what_many_ask() {
    let flights = truth::rows(&data("flights.csv"));
    let flights = flights[..ROWS]
        .iter()
        .filter(|flight| !truth::is_dead_letter(flight));
    let keys: HashSet<[&str; 3]> = flights
        .flat_map(|flight| {
            let column = |name: &str| flight[name].as_str();
            [
                ["plane", column("tailnum"), ""],
                ["airport", column("dest"), ""],
                ["airline", column("carrier"), ""],
                ["weather", column("origin"), column("time_hour")],
            ]
        })
        .filter(|key| key[1] != "NA")
        .collect();
    let rows = ROWS.to_string();
    let address = double::start(keys.len(), Misdeed::Dies);
    let job = Job::new(&["--limit", &rows, "--redis", &address, "--cache", "10000"]);
    let cached = job.run();
    let without = double::start(usize::MAX, Misdeed::Dies);
    let without = Job::new(&["--limit", &rows, "--redis", &without]).run();
    assert!(cached.output == without.output);
    assert_eq!(cached.report["lookups"], without.report["lookups"]);
    let asked = |table: &str| without.count(&format!("/lookups/{table}/asked"));
    let asked: u64 = ["plane", "airport", "airline", "weather"]
        .map(asked)
        .iter()
        .sum();
    assert_eq!(cached.count("/spared"), asked - keys.len() as u64);
    assert_eq!(without.count("/spared"), 0);
}
