//! Measurements of peu beside blocking I/O, a bare mio loop and tokio. The method is in benches/README.md.
//!
//! | program | question |
//! |---|---|
//! | `echo` | what does a request cost the server, in CPU time, and how long does it take? |
//! | `tasks` | what do tasks and timers cost that do little? |
//! | `idle` | does a runtime with nothing to do stay asleep? |
//! | `files` | what does work on files cost, by each tier, by blocking threads, by peers? |
//! | `scale` | how does cost grow with the number of tasks, timers, sources, connections, stages? |
//! | `report` | where does reactive I/O win, where blocking? Writes a page of charts |
//! | `flink` | how much async work does a stage get done, beside Flink? |
//! | `costs` | how many instructions, locked lines, system calls, allocations and bytes does each thing take? |
//! | `hello` | how many HTTP requests does a second of CPU serve, by hyper on peu and on tokio? |

pub mod load;
pub mod operators;
pub mod os;
pub mod peers;
pub mod process;
pub mod ratio;
pub mod serve;
pub mod stats;
pub mod step;
