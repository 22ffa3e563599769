//! The main job, run as a user runs it: both modes, real data, and everything that can be wrong with what it is given.
//!
//! | module | what is in it |
//! |---|---|
//! | `job` | runs the example and reads what it wrote |
//! | `truth` | what the job should write, computed from the CSV files by other code |
//! | `whole` | January, both modes, every setting: equal records, true counts |
//! | `rows` | each rule of cleaning, by a row that breaks it |
//! | `redis` | a real Redis, where one is installed |
//! | `broken` | bad input: a clear line, exit code 1, nothing half-written |
//! | `files` | outputs that are whole or not there, whatever comes |
//! | `double` | servers that misbehave |
//! | `protocol` | frames that are cut, too long, or nested |

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
#[path = "enrich/truth.rs"]
mod truth;
#[path = "enrich/whole.rs"]
mod whole;

// The example's own protocol and errors, for `protocol` and `double`.
#[path = "../examples/enrich/failure.rs"]
mod failure;
#[allow(dead_code, reason = "the example has more use for it")]
#[path = "../examples/enrich/resp.rs"]
mod resp;
