//! How much is measured.

use serde::Serialize;

/// What to measure, and how long.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    /// Rounds of sockets; in each of them every server has its turn.
    pub(crate) rounds: usize,
    /// Seconds of a window of sockets. A quarter of it before is not counted.
    pub(crate) window: f64,
    /// Connections, each in a closed loop of 64 bytes.
    pub(crate) connections: Vec<usize>,
    /// Bytes of a message, on 64 connections.
    pub(crate) sizes: Vec<usize>,
    /// Milliseconds that the far end waits, on 256 connections.
    pub(crate) waits: Vec<u64>,
    /// Arguments of the program that measures files.
    pub(crate) files: Vec<&'static str>,
    /// Milliseconds by which the job's look-ups are answered late, and how many rows blocking look-ups do meanwhile.
    pub(crate) delays: Vec<(u64, usize)>,
    /// Rounds of the job.
    pub(crate) job_rounds: usize,
}

impl Plan {
    /// At most 2 minutes.
    pub(crate) fn quick() -> Plan {
        Plan {
            rounds: 3,
            window: 0.2,
            connections: vec![1, 64, 1000, 9000],
            sizes: vec![64, 16 << 10],
            waits: vec![0, 1, 10],
            files: vec![
                "--cases=random-cached,random-cold,whole-cached",
                "--only=thread,peu,tokio",
                "--rounds=2",
                "--size=1",
                "--files=1000",
                "--entries=500",
            ],
            delays: vec![(0, 2000), (1, 150), (10, 20)],
            job_rounds: 1,
        }
    }

    /// At most 15 minutes.
    pub(crate) fn full() -> Plan {
        Plan {
            rounds: 7,
            window: 0.5,
            connections: vec![1, 8, 64, 512, 2000, 9000],
            sizes: vec![64, 1 << 10, 16 << 10, 64 << 10],
            waits: vec![0, 1, 3, 10],
            files: vec![
                "--cases=random-cached,random-cold,whole-cached,whole-cold,sequential-cached,write-sync",
                "--rounds=3",
                "--size=256",
                "--entries=500",
            ],
            delays: vec![(0, 5000), (1, 300), (3, 100), (10, 30)],
            job_rounds: 3,
        }
    }
}
