//! The job against a real Redis: started here on a free port, and stopped.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::job::{Job, is_installed};

#[test]
fn a_real_redis_gives_the_same_records() {
    if !is_installed("redis-server") {
        assert!(
            std::env::var_os("PEU_REQUIRE_REDIS").is_none(),
            "redis-server is not installed, and PEU_REQUIRE_REDIS asks for it"
        );
        eprintln!("redis-server is not installed: the job was not run against a real Redis");
        return;
    }
    let redis = Redis::start();
    let embedded = Job::new(&["--limit", "3000"]).run();
    for mode in ["event-loop", "blocking"] {
        let real = Job::new(&["--limit", "3000", "--mode", mode, "--redis", &redis.address]).run();
        assert_eq!(real.report["server"], redis.address);
        assert!(real.output == embedded.output, "{mode}: the records differ");
        assert_eq!(real.dead_letters, embedded.dead_letters);
        assert_eq!(real.report["lookups"], embedded.report["lookups"]);
    }
}

/// A Redis that keeps nothing on the disk. It ends with this.
struct Redis {
    process: Child,
    address: String,
    _folder: TempDir,
}

impl Redis {
    /// A port that was free may be taken a moment later: then another is tried.
    fn start() -> Redis {
        (0..10)
            .find_map(|_| Redis::try_start(free_port()))
            .expect("redis-server does not start on any of ten ports")
    }

    fn try_start(port: u16) -> Option<Redis> {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
            ])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = lines.any(|line| line.unwrap().contains("eady to accept connections"));
        let redis = Redis {
            process,
            address: format!("127.0.0.1:{port}"),
            _folder: folder,
        };
        // What it says later goes nowhere, and must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        ready.then_some(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself: then the test has failed already, or another port is tried.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
