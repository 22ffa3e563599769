//! Row c04 of the contract: a job that is killed, with SIGKILL, at any instant and however often, writes what one does that
//! is left alone. The job is the example `04_pipeline`, as a process of its own.
//!
//! The long test takes the flights of the whole year, where they are: the repository has January alone, and makes a year of that
//! where they are not.
//!
//! Nothing here depends on how fast the machine is: the server that the job asks answers so many requests in each of the
//! job's lives, and no more; then, or soon after, the job is killed. So the number of lives has a lower bound.

mod example;
#[path = "example/random.rs"]
mod random;

use example::example;
use random::Random;
use std::fs;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// SIGKILL's number.
const KILL: i32 = 9;

/// Long enough for a loaded machine, short enough to tell that a job hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the flights of the year are, seen from the project, on machines that have them.
const BESIDE: &str = "../shared/data/nycflights13/flights.csv.zip";

#[test]
fn c04_killed_again_and_again_the_output_is_that_of_an_undisturbed_run() {
    let input = fs::read_to_string("examples/data/flights.csv").unwrap();
    let input: String = input.split_inclusive('\n').take(2_001).collect();
    for ordered in [true, false] {
        survives(&input, ordered, 8);
    }
}

#[test]
#[ignore = "takes minutes, so .ci/run runs it: 50 kills over a year of flights, in each mode"]
fn c04_fifty_kills_over_a_year_of_flights() {
    let (input, what) = year();
    let mut flights: Vec<&str> = input.lines().skip(1).collect();
    let count = flights.len();
    assert!(count > 300_000, "{what}: {count} flights");
    flights.sort_unstable();
    flights.dedup();
    assert_eq!(flights.len(), count, "{what}: no two are the same");
    // Not captured, as what is printed is: whoever reads the log of a run sees what was shown.
    writeln!(io::stderr(), "{count} flights: {what}").unwrap();
    for ordered in [true, false] {
        survives(&input, ordered, 50);
    }
}

/// A year of flights, and where it is from: a file that the environment names, or the data set beside the project, or January.
fn year() -> (String, String) {
    if let Some(path) = std::env::var_os("PEU_FLIGHTS") {
        let year = fs::read_to_string(&path).unwrap();
        return (year, format!("those of {}", path.display()));
    }
    let zip = Path::new(env!("CARGO_MANIFEST_DIR")).join(BESIDE);
    match unzipped(&zip) {
        Some(year) => (year, "those of 2013".to_owned()),
        None => (
            twelve_januaries(),
            "those of January, on the days of each month".to_owned(),
        ),
    }
}

/// What the one file in an archive is; none if there is no archive, or no `gzip`, which knows such archives too.
fn unzipped(zip: &Path) -> Option<String> {
    let zip = File::open(zip).ok()?;
    let output = Command::new("gzip").arg("-dc").stdin(zip).output().ok()?;
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// January's flights on the days of each month, without the last column, a time that is in another month for some, and that the job does not
/// read. No two are the same: their key is the date, the carrier, the flight and its origin.
fn twelve_januaries() -> String {
    let days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let january = fs::read_to_string("examples/data/flights.csv").unwrap();
    let mut rows = january.lines().map(|row| row.rsplit_once(',').unwrap().0);
    let mut year = format!("{}\n", rows.next().unwrap());
    let rows: Vec<&str> = rows
        .map(|row| row.strip_prefix("2013,1,").unwrap())
        .collect();
    for (month, days) in (1..).zip(days) {
        for row in &rows {
            let (day, _) = row.split_once(',').unwrap();
            if day.parse::<u32>().unwrap() <= days {
                year += &format!("2013,{month},{row}\n");
            }
        }
    }
    year
}

/// Runs the job undisturbed, and then with at least so many kills.
fn survives(input: &str, ordered: bool, kills: u64) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("flights.csv"), input).unwrap();
    let rows = input.lines().count() as u64 - 1;
    let server = Server::start();

    server.allow(u64::MAX);
    let mut undisturbed = Job::start(folder.path(), "undisturbed", server.address, ordered);
    assert!(undisturbed.process.wait().unwrap().success());

    let mut random = Random(rows ^ u64::from(ordered));
    let (mut killed, mut restored, mut answers) = (0, 0, 0);
    loop {
        assert!(killed < 50 * kills, "it makes no progress");
        // Even if no answer were ever asked for twice, there would be so many lives that end before their time, and the last.
        let quota = random.up_to(rows / (kills + 1));
        server.allow(quota);
        let mut job = Job::start(folder.path(), "killed", server.address, ordered);
        if quota.is_multiple_of(8) {
            // Before it has done anything, or while it opens its files.
            thread::sleep(Duration::from_micros(random.up_to(20_000)));
        } else {
            restored += u64::from(job.first_line().starts_with("goes on from"));
            server.wait_for_the_last_answer(&mut job.process);
            // Time for a checkpoint to be begun, or completed, or neither.
            thread::sleep(Duration::from_micros(random.up_to(20_000)));
        }
        answers += server.answered();
        // If it has ended meanwhile, this does nothing.
        job.process.kill().unwrap();
        match job.process.wait().unwrap() {
            status if status.signal() == Some(KILL) => killed += 1,
            status => {
                assert!(status.success(), "{status}");
                break;
            }
        }
        assert!(!folder.path().join("killed.jsonl").exists() || answers >= rows);
    }
    assert!(
        killed >= kills && restored > 0,
        "killed {killed} times, restored {restored} times"
    );
    assert!(answers < rows * (killed + 1), "it began anew each time");
    let [undisturbed, survivor] = ["undisturbed", "killed"]
        .map(|name| fs::read_to_string(folder.path().join(name).with_extension("jsonl")).unwrap());
    assert_eq!(undisturbed.lines().count() as u64, rows);
    let same = match ordered {
        true => undisturbed == survivor,
        false => sorted(&undisturbed) == sorted(&survivor),
    };
    assert!(
        same,
        "{} lines became {} after {killed} kills",
        undisturbed.lines().count(),
        survivor.lines().count()
    );
    println!("{rows} flights, {killed} kills, {restored} restores, {answers} answers");
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// One life of the job.
struct Job {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Job {
    fn start(folder: &Path, name: &str, server: SocketAddr, ordered: bool) -> Self {
        let path = |end: &str| folder.join(format!("{name}.{end}"));
        let mut command = Command::new(example("04_pipeline"));
        command
            .args(["--every", "5", "--server", &server.to_string()])
            .args([PathBuf::from("--input"), folder.join("flights.csv")])
            .args([PathBuf::from("--output"), path("jsonl")])
            .args([PathBuf::from("--state"), path("state")])
            .args(ordered.then_some("--ordered"))
            .stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    /// It is told once everything is open.
    fn first_line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // It has ended already, unless the test has failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Answers each line with itself, doubled, as often as it is allowed to.
struct Server {
    address: SocketAddr,
    answers: Arc<Answers>,
}

#[derive(Default)]
struct Answers {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Default)]
struct Counts {
    /// Which life of the job asks.
    life: u64,
    left: u64,
    given: u64,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::new(Answers::default());
        let shared = Arc::clone(&answers);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, answers) = (stream.unwrap(), Arc::clone(&shared));
                // A client that is killed ends its connection.
                thread::spawn(move || drop(answers.serve(&stream)));
            }
        });
        Self { address, answers }
    }

    /// Answers so many requests of the job's next life, and none of those before.
    fn allow(&self, left: u64) {
        let mut counts = self.answers.counts.lock().unwrap();
        let life = counts.life + 1;
        let given = 0;
        *counts = Counts { life, left, given };
        self.answers.changed.notify_all();
    }

    /// How many it has answered since `allow`.
    fn answered(&self) -> u64 {
        self.answers.counts.lock().unwrap().given
    }

    /// Returns when it may answer no more, or the job has ended.
    fn wait_for_the_last_answer(&self, job: &mut Child) {
        let begin = Instant::now();
        let mut counts = self.answers.counts.lock().unwrap();
        while counts.left > 0 && job.try_wait().unwrap().is_none() {
            assert!(
                begin.elapsed() < PATIENCE,
                "the job hangs: {} answers are left",
                counts.left
            );
            let look_again = Duration::from_millis(10);
            counts = self
                .answers
                .changed
                .wait_timeout(counts, look_again)
                .unwrap()
                .0;
        }
    }
}

impl Answers {
    fn serve(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        let life = self.counts.lock().unwrap().life;
        while lines.read_line(&mut line)? > 0 {
            let counts = self.counts.lock().unwrap();
            let waits = |counts: &mut Counts| counts.left == 0 && counts.life == life;
            let mut counts = self.changed.wait_while(counts, waits).unwrap();
            if counts.life != life {
                return Ok(());
            }
            counts.left -= 1;
            counts.given += 1;
            if counts.left == 0 {
                self.changed.notify_all();
            }
            drop(counts);
            let code = line.trim_end();
            stream.write_all(format!("{code}{code}\n").as_bytes())?;
            line.clear();
        }
        Ok(())
    }
}
