//! The main job, run as a user runs it: both modes, real data, and everything that can be wrong with what it is given.
//!
//! | module | what is in it |
//! |---|---|
//! | `job` | runs the example and reads what it wrote |
//! | `truth` | what the job should write, computed from the CSV files by other code |
//! | `whole` | January, both modes, every setting: equal records, true counts |
//! | `rows` | each rule of cleaning, by a row that breaks it |
//! | `redis` | a real Redis, where one is installed |
//! | `state` | runs that are killed, and go on |
//! | `again` | look-ups that are made once more, put aside, or spared |
//! | `broken` | bad input: a clear line, exit code 1, nothing half-written |
//! | `files` | outputs that are whole or not there, whatever comes |
//! | `double` | servers that misbehave |
//! | `protocol` | frames that are cut, too long, or nested |

#[path = "enrich/again.rs"]
mod again;
#[path = "enrich/broken.rs"]
mod broken;
#[path = "enrich/double.rs"]
mod double;
#[path = "enrich/files.rs"]
mod files;
#[path = "enrich/job.rs"]
mod job;
#[path = "enrich/protocol.rs"]
mod protocol;
#[path = "enrich/redis.rs"]
mod redis;
#[path = "enrich/rows.rs"]
mod rows;
#[path = "enrich/state.rs"]
mod state;
#[path = "enrich/truth.rs"]
mod truth;
#[path = "enrich/whole.rs"]
mod whole;

mod example;
#[path = "example/lives.rs"]
mod lives;

// The example's own calendar; and its protocol and errors, for `protocol` and `double`.
#[allow(dead_code, reason = "the example has more use for it")]
#[path = "../examples/enrich/date.rs"]
mod date;
#[allow(dead_code, reason = "the example has more use for it")]
#[path = "../examples/enrich/failure.rs"]
mod failure;
#[allow(dead_code, reason = "the example has more use for it")]
#[path = "../examples/enrich/resp.rs"]
mod resp;

#[test]
fn days_are_counted_from_1970() {
    let days = |year, month, day| date::Date::new(year, month, day).unwrap().days_since_1970();
    assert_eq!(days(1970, 1, 1), 0);
    assert_eq!(days(1969, 12, 31), -1);
    assert_eq!(days(2000, 2, 29), 11_016);
    assert_eq!(days(2013, 1, 31), 15_736);
    assert_eq!(days(2100, 3, 1) - days(2100, 2, 28), 1);
    assert_eq!(days(1, 1, 1), -719_162);
    assert_eq!(days(0, 12, 31), -719_163);
}
