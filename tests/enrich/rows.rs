//! Each rule of cleaning, by rows that break it and rows that nearly do.

use crate::job::{Done, Job};

/// A flight that breaks no rule, as its columns.
const GOOD: [&str; 19] = [
    "2013",
    "1",
    "1",
    "517",
    "515",
    "2",
    "830",
    "819",
    "11",
    "UA",
    "1545",
    "N14228",
    "EWR",
    "IAH",
    "227",
    "1400",
    "5",
    "15",
    "2013-01-01T10:00:00Z",
];

/// What a row changes in the good flight, the rule that it breaks, and a part of the reason.
type Case = (
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

/// The good flight with other values in some columns, as a row.
fn row(changes: &[(&str, &str)]) -> String {
    let names = [
        "year",
        "month",
        "day",
        "dep_time",
        "sched_dep_time",
        "dep_delay",
        "arr_time",
        "sched_arr_time",
        "arr_delay",
        "carrier",
        "flight",
        "tailnum",
        "origin",
        "dest",
        "air_time",
        "distance",
        "hour",
        "minute",
        "time_hour",
    ];
    let mut values = GOOD;
    for (name, value) in changes {
        values[names.iter().position(|known| known == name).unwrap()] = value;
    }
    values.join(",")
}

fn run(rows: &[String], mode: &str) -> Done {
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    Job::new(&["--mode", mode]).with_rows(&rows).run()
}

#[test]
fn a_row_that_breaks_a_rule_is_put_aside_with_the_rule_and_the_reason() {
    let cases: &[Case] = &[
        (&[("dep_time", "soon")], "unreadable", "dep_time is `soon`"),
        (&[("flight", "-1")], "unreadable", "flight is `-1`"),
        (&[("distance", "")], "unreadable", "distance is ``"),
        (&[("carrier", "ua")], "unreadable", "carrier is `ua`"),
        (&[("origin", "NEWARK")], "unreadable", "origin is `NEWARK`"),
        (&[("dest", "I H")], "unreadable", "dest is `I H`"),
        (
            &[("tailnum", "N14228X")],
            "unreadable",
            "tailnum is `N14228X`",
        ),
        (
            &[("time_hour", "2013-01-01 10:00")],
            "unreadable",
            "time_hour is",
        ),
        (
            &[("time_hour", "2013-01-01T10:30:00Z")],
            "unreadable",
            "no full hour",
        ),
        (
            &[("time_hour", "9999-99-99T99:00:00Z")],
            "impossible",
            "`9999-99-99T99:00:00Z`, no full hour",
        ),
        (
            &[("time_hour", "2013-01-01T24:00:00Z")],
            "impossible",
            "no full hour",
        ),
        (
            &[("time_hour", "2012-05-01T10:00:00Z")],
            "contradictory",
            "time_hour is 2012-05-01T10:00:00Z, but the flight was due on 2013-01-01",
        ),
        (
            &[("time_hour", "2013-01-03T00:00:00Z")],
            "contradictory",
            "due on 2013-01-01",
        ),
        (
            &[("time_hour", "2012-12-30T23:00:00Z")],
            "contradictory",
            "due on 2013-01-01",
        ),
        (&[("year", "NA")], "missing", "year is NA"),
        (&[("dest", "NA")], "missing", "dest is NA"),
        (
            &[("sched_dep_time", "NA")],
            "missing",
            "sched_dep_time is NA",
        ),
        (
            &[("tailnum", "NA")],
            "missing",
            "the flight departed, but has no tailnum",
        ),
        (
            &[("arr_delay", "NA"), ("air_time", "NA")],
            "missing",
            "has no arr_delay, no air_time",
        ),
        (
            &[("dep_time", "NA")],
            "unexpected",
            "never departed, but has dep_delay, arr_time, arr_delay, air_time",
        ),
        (&[("dep_time", "2401")], "impossible", "dep_time is 2401"),
        (&[("dep_time", "-5")], "impossible", "dep_time is -5"),
        (
            &[("sched_arr_time", "860")],
            "impossible",
            "sched_arr_time is 860",
        ),
        (&[("distance", "-1400")], "impossible", "distance is -1400"),
        (&[("distance", "0")], "impossible", "distance is 0"),
        (&[("air_time", "-227")], "impossible", "air_time is -227"),
        (&[("air_time", "0")], "impossible", "air_time is 0"),
        (
            &[("air_time", "119")],
            "impossible",
            "1400 miles in 119 minutes is 706 mph",
        ),
        (&[("day", "32")], "impossible", "2013-1-32"),
        (&[("month", "2"), ("day", "29")], "impossible", "2013-2-29"),
        (
            &[("dep_delay", "3")],
            "contradictory",
            "dep_delay is 3, but the flight was 05:17 for 05:15",
        ),
        (&[("arr_delay", "-11")], "contradictory", "arr_delay is -11"),
    ];
    let rows: Vec<String> = cases.iter().map(|(changes, ..)| row(changes)).collect();
    let done = run(&rows, "event-loop");
    assert_eq!(done.output, "");
    assert_eq!(
        done.count("/lookups/plane/asked"),
        0,
        "a dead letter asks for nothing"
    );
    let letters = done.dead_letters();
    assert_eq!(letters.len(), cases.len());
    for (letter, (_, rule, reason)) in letters.iter().zip(cases) {
        assert_eq!(letter["rule"], *rule, "{letter}");
        assert!(
            letter["reason"].as_str().unwrap().contains(reason),
            "{reason}: {letter}"
        );
    }
    assert_eq!(run(&rows, "blocking").dead_letters, done.dead_letters);
}

#[test]
fn a_row_that_is_unusual_but_possible_is_a_record() {
    let rows = [
        row(&[]),
        // Midnight, as the source writes it, on either side.
        row(&[
            ("dep_time", "2400"),
            ("sched_dep_time", "2355"),
            ("dep_delay", "5"),
        ]),
        row(&[
            ("arr_time", "2400"),
            ("sched_arr_time", "1"),
            ("arr_delay", "-1"),
        ]),
        // A day late; early over midnight.
        row(&[("dep_delay", "1442")]),
        row(&[
            ("dep_time", "2359"),
            ("sched_dep_time", "4"),
            ("dep_delay", "-5"),
        ]),
        row(&[("air_time", "120")]),
        row(&[
            ("year", "2012"),
            ("month", "2"),
            ("day", "29"),
            ("time_hour", "2012-03-01T00:00:00Z"),
        ]),
        // The day before in UTC, over the end of a year.
        row(&[("time_hour", "2012-12-31T23:00:00Z")]),
        row(&[("tailnum", "N1")]),
        // Known nowhere: misses, not errors.
        row(&[
            ("tailnum", "N0"),
            ("dest", "QQQ"),
            ("carrier", "QQ"),
            ("year", "1999"),
            ("time_hour", "1999-01-01T10:00:00Z"),
        ]),
    ];
    for mode in ["event-loop", "blocking"] {
        let done = run(&rows, mode);
        assert_eq!(done.dead_letters, "");
        let records = done.records();
        assert_eq!(records.len(), rows.len());
        assert_eq!(records[1]["dep_time"], "24:00");
        for table in ["plane", "airport", "airline", "weather"] {
            assert!(records[0][table].is_object(), "{table} of {}", records[0]);
            assert!(records[9][table].is_null(), "{table} of {}", records[9]);
        }
    }
}

#[test]
fn a_cancelled_flight_is_a_record_even_without_an_aircraft() {
    let times = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"];
    let mut changes = times.map(|column| (column, "NA")).to_vec();
    let with_aircraft = row(&changes);
    changes.push(("tailnum", "NA"));
    let done = run(&[with_aircraft, row(&changes)], "event-loop");
    assert_eq!((done.count("/records"), done.count("/cancelled")), (2, 2));
    assert_eq!(
        (
            done.count("/lookups/plane/asked"),
            done.count("/lookups/plane/missed")
        ),
        (1, 0)
    );
    let records = done.records();
    assert!(records[0]["plane"].is_object() && records[1]["plane"].is_null());
    assert!(
        records
            .iter()
            .all(|record| record["status"] == "cancelled" && record.get("dep_time").is_none())
    );
}

#[test]
fn columns_may_come_in_any_order_and_among_others() {
    let text = "dest,year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,remark,carrier,flight,tailnum,\
                origin,air_time,distance,time_hour\n\
                IAH,2013,1,1,517,515,2,830,819,11,\"a remark, quoted\",UA,1545,N14228,EWR,227,1400,2013-01-01T10:00:00Z\n";
    let other = Job::new(&[]).with_input(text).run();
    assert_eq!(other.output, run(&[row(&[])], "event-loop").output);
}

#[test]
fn an_input_without_rows_is_an_output_without_lines() {
    for mode in ["event-loop", "blocking"] {
        let done = Job::new(&["--mode", mode, "--limit", "0"]).run();
        assert_eq!(
            (
                done.output.as_str(),
                done.dead_letters.as_str(),
                done.count("/rows")
            ),
            ("", "", 0)
        );
    }
}
