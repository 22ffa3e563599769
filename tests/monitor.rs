//! The example `monitor`: the alerts that it delivers are those that a plain look at the tables gives, whatever the webhook does, and
//! however often the job is killed. Some come twice then; none is missing.

mod example;
#[path = "example/random.rs"]
mod random;

use example::example;
use random::Random;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// SIGKILL's number.
const KILL: i32 = 9;

/// Long enough for a loaded machine, short enough to tell that a job hangs.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_webhook_that_takes_everything_gets_each_alert_once() {
    let folder = tempfile::tempdir().unwrap();
    let webhook = Webhook::start(|_| Answer::Take);
    let output = monitor(folder.path(), webhook.address).output().unwrap();
    let said = success(&output);
    let expected = alerts();
    assert!(expected.len() > 100, "{} alerts", expected.len());
    let told = format!(
        "raised {0} alerts: {0} posts, 0 dead letters",
        expected.len()
    );
    assert!(said.contains(&told), "{said}");
    assert!(said.contains("; 0 events came too late"), "{said}");
    assert_eq!(webhook.posts(), expected.len());
    assert_eq!(webhook.taken(), expected);
    assert!(dead_letters(folder.path()).is_empty());
}

#[test]
fn killed_again_and_again_beside_a_bad_webhook_every_alert_arrives_or_is_a_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(2013);
    let webhook = Webhook::start(move |alert| match random.up_to(10) {
        _ if is_refused(alert) => Answer::Refuse,
        1 | 2 => Answer::TooEarly,
        3 => Answer::HangUp,
        4 => Answer::TakeAndHangUp,
        _ => Answer::Take,
    });
    let (mut killed, mut restored) = (0, 0);
    let mut random = Random(1);
    loop {
        let quota = if killed < 8 {
            random.up_to(20)
        } else {
            u64::MAX
        };
        webhook.allow(quota);
        let mut command = monitor(folder.path(), webhook.address);
        command.arg("--state").arg(folder.path().join("state"));
        let mut job = Job(command.args(["--every", "5"]).spawn().unwrap());
        webhook.wait_for_the_last_answer(&mut job.0);
        if killed == 0 {
            wait_for_a_checkpoint(&folder.path().join("state"));
        }
        // Time for a checkpoint to be begun, or completed, or neither.
        thread::sleep(Duration::from_micros(random.up_to(20_000)));
        if quota < u64::MAX {
            // If it has ended meanwhile, this does nothing.
            job.0.kill().unwrap();
        }
        let mut said = String::new();
        let stdout = job.0.stdout.as_mut().unwrap();
        stdout.read_to_string(&mut said).unwrap();
        restored += u64::from(said.starts_with("goes on from"));
        match job.0.wait().unwrap() {
            status if status.signal() == Some(KILL) => killed += 1,
            status => {
                assert!(status.success(), "{status}: {said}");
                break;
            }
        }
    }
    assert!(
        killed > 0 && restored > 0,
        "{killed} kills, {restored} restores"
    );

    let (refused, expected): (BTreeMap<_, _>, BTreeMap<_, _>) = alerts()
        .into_iter()
        .partition(|(_, alert)| is_refused(alert));
    assert!(!refused.is_empty() && !expected.is_empty());
    assert_eq!(webhook.taken(), expected);
    let letters = dead_letters(folder.path());
    let dead: BTreeMap<String, Value> = letters
        .iter()
        .map(|letter| by_id(&letter["alert"]))
        .collect();
    assert_eq!(dead, refused);
    for letter in letters {
        let cause = letter["cause"].as_str().unwrap();
        assert_eq!(cause, "the answer was 422 Unprocessable unheard of");
    }
    println!(
        "{killed} kills, {restored} restores, {} posts",
        webhook.posts()
    );
}

#[test]
fn a_webhook_that_is_not_there_leaves_only_dead_letters() {
    let folder = tempfile::tempdir().unwrap();
    // A port that no one has without being root, and that nobody uses.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut command = monitor(folder.path(), nobody);
    let output = command.args(["--retries", "1"]).output().unwrap();
    let (said, expected) = (success(&output), alerts());
    assert!(
        said.contains(&format!("{} dead letters", expected.len())),
        "{said}"
    );
    let letters = dead_letters(folder.path());
    assert_eq!(letters.len(), expected.len());
    for letter in letters {
        assert_eq!(letter["attempts"], 2);
        assert!(
            letter["cause"].as_str().unwrap().contains("refused"),
            "{letter}"
        );
    }
}

#[test]
fn what_is_wrong_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "origin,time_hour,minute,dep_delay\nJFK,2013-02-30T10:00:00Z,5,NA\n";
    let flights = folder.path().join("flights.csv");
    fs::write(&flights, rows).unwrap();
    let flights = flights.to_str().unwrap();
    let says = |arguments: &[&str], expected: &str| {
        let webhook = SocketAddr::from(([127, 0, 0, 1], 1));
        let output = monitor(folder.path(), webhook)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(said.contains(expected), "{said}");
    };
    says(&["--flights", flights], "line: 2");
    says(
        &["--flights", flights],
        "\"2013-02-30T10:00:00Z\" is no time",
    );
    says(&["--weather", "no/such.csv"], "cannot read no/such.csv");
    says(
        &["--dead-letters", "/dev/null/letters"],
        "cannot write dead letters",
    );
    says(
        &["--dead-letters", "/dev/full", "--retries", "0"],
        "its dead letter was not written: No space left",
    );
}

#[test]
fn a_webhook_that_is_none_is_refused() {
    for (url, reason) in [
        ("https://localhost/", "no TLS"),
        ("http:///alerts", "names no host"),
        ("http://localhost:http/", "its port"),
        ("http://localhost/a b", "blanks"),
    ] {
        let mut command = Command::new(example("monitor"));
        let output = command.args(["--webhook", url]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains(reason) && said.contains("--webhook"),
            "{said}"
        );
    }
}

/// The alerts that there are to be, by id, computed without a thought for order or memory.
fn alerts() -> BTreeMap<String, Value> {
    let (flights, weather) = (by_hour("flights.csv"), by_hour("weather.csv"));
    let mut alerts = BTreeMap::new();
    for until in 0..33 * 24 {
        for airport in ["EWR", "JFK", "LGA"] {
            let within = |rows: &ByHour| -> Vec<Row> {
                let key = |hour| (airport.to_owned(), hour);
                let rows = (until - 3..until).filter_map(|hour| rows.get(&key(hour)));
                rows.flatten().cloned().collect()
            };
            let (flights, weather) = (within(&flights), within(&weather));
            let is_cancelled = |row: &&Row| row["dep_delay"] == "NA";
            let is_late = |row: &&Row| row["dep_delay"].parse::<i32>().is_ok_and(|m| m >= 60);
            let cancelled = flights.iter().filter(is_cancelled).count();
            let late = flights.iter().filter(is_late).count();
            if flights.len() < 10 || 4 * (late + cancelled) < flights.len() {
                continue;
            }
            let all = |column: &str| {
                let values = weather.iter().filter_map(|row| row[column].parse().ok());
                let mut values: Vec<f64> = values.collect();
                values.sort_by(f64::total_cmp);
                values
            };
            let id = format!("{airport}/{}", text(until));
            let alert = json!({
                "id": id,
                "airport": airport,
                "from": text(until - 3),
                "until": text(until),
                "departures": flights.len(),
                "late": late,
                "cancelled": cancelled,
                "gust": all("wind_gust").last(),
                "visibility": all("visib").first(),
                "rain": all("precip").last(),
            });
            alerts.insert(id, alert);
        }
    }
    alerts
}

type Row = HashMap<String, String>;
type ByHour = HashMap<(String, i64), Vec<Row>>;

fn by_hour(name: &str) -> ByHour {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let mut by_hour = ByHour::new();
    for row in csv::Reader::from_path(folder.join(name))
        .unwrap()
        .deserialize()
    {
        let row: Row = row.unwrap();
        let key = (row["origin"].clone(), hour(&row["time_hour"]));
        by_hour.entry(key).or_default().push(row);
    }
    by_hour
}

/// Counted from the start of January 2013: `2013-01-02T03:00:00Z` is 27. Some is of the day after January.
fn hour(text: &str) -> i64 {
    let number = |at: usize| text[at..at + 2].parse::<i64>().unwrap();
    assert!(
        text.starts_with("2013-0") && text.ends_with(":00:00Z"),
        "{text}"
    );
    ((number(5) - 1) * 31 + number(8) - 1) * 24 + number(11)
}

fn text(hour: i64) -> String {
    let (day, hour) = (hour.div_euclid(24), hour.rem_euclid(24));
    format!(
        "2013-{:02}-{:02}T{hour:02}:00:00Z",
        day / 31 + 1,
        day % 31 + 1
    )
}

fn by_id(alert: &Value) -> (String, Value) {
    (alert["id"].as_str().unwrap().to_owned(), alert.clone())
}

fn is_refused(alert: &Value) -> bool {
    alert["until"].as_str().unwrap().contains("T20:")
}

fn dead_letters(folder: &Path) -> Vec<Value> {
    let letters = fs::read_to_string(folder.join("dead.jsonl")).unwrap();
    letters
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The job, with all its files in a folder, and more patience than the webhook needs.
fn monitor(folder: &Path, webhook: SocketAddr) -> Command {
    let mut command = Command::new(example("monitor"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--webhook", &format!("http://{webhook}/alerts")])
        .args([PathBuf::from("--dead-letters"), folder.join("dead.jsonl")])
        .args(["--retries", "1000", "--timeout", "100000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn success(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn wait_for_a_checkpoint(folder: &Path) {
    let begin = Instant::now();
    let is_checkpoint = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.unwrap().file_name();
        name.to_str().unwrap().starts_with("checkpoint-")
    };
    while !fs::read_dir(folder).is_ok_and(|mut entries| entries.any(is_checkpoint)) {
        assert!(begin.elapsed() < PATIENCE, "there is no checkpoint");
        thread::sleep(Duration::from_millis(1));
    }
}

/// One life of the job.
struct Job(Child);

impl Drop for Job {
    fn drop(&mut self) {
        // It has ended already, unless the test has failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the webhook does with a post.
enum Answer {
    Take,
    TakeAndHangUp,
    HangUp,
    TooEarly,
    Refuse,
}

/// A webhook with one thread for each connection.
struct Webhook {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    decide: Box<dyn FnMut(&Value) -> Answer + Send>,
    taken: BTreeMap<String, Value>,
    posts: usize,
    /// Which life of the job posts.
    life: u64,
    /// How many more posts have an answer in this life.
    left: u64,
}

impl Webhook {
    fn start(decide: impl FnMut(&Value) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            decide: Box::new(decide),
            taken: BTreeMap::new(),
            posts: 0,
            life: 0,
            left: u64::MAX,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, server) = (stream.unwrap(), Arc::clone(&server));
                // A client that is killed ends its connection.
                thread::spawn(move || drop(server.serve(&stream)));
            }
        });
        Self { address, shared }
    }

    fn taken(&self) -> BTreeMap<String, Value> {
        self.shared.state.lock().unwrap().taken.clone()
    }

    fn posts(&self) -> usize {
        self.shared.state.lock().unwrap().posts
    }

    /// Answers so many posts of the job's next life, and none of those before.
    fn allow(&self, left: u64) {
        let mut state = self.shared.state.lock().unwrap();
        state.life += 1;
        state.left = left;
        self.shared.changed.notify_all();
    }

    /// Returns when it may answer no more, or the job has ended.
    fn wait_for_the_last_answer(&self, job: &mut Child) {
        let begin = Instant::now();
        let mut state = self.shared.state.lock().unwrap();
        while state.left > 0 && job.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < PATIENCE, "the job hangs");
            let look_again = Duration::from_millis(10);
            state = self
                .shared
                .changed
                .wait_timeout(state, look_again)
                .unwrap()
                .0;
        }
    }
}

impl Shared {
    fn serve(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let life = self.state.lock().unwrap().life;
        let alert = post(&mut BufReader::new(stream))?;
        let state = self.state.lock().unwrap();
        let waits = |state: &mut State| state.left == 0 && state.life == life;
        let mut state = self.changed.wait_while(state, waits).unwrap();
        if state.life != life {
            return Ok(());
        }
        state.left -= 1;
        state.posts += 1;
        self.changed.notify_all();
        let answer = (state.decide)(&alert);
        if let Answer::Take | Answer::TakeAndHangUp = answer {
            let (id, alert) = by_id(&alert);
            let before = state.taken.insert(id, alert.clone());
            assert!(
                before.is_none_or(|before| before == alert),
                "one id, one alert"
            );
        }
        drop(state);
        stream.write_all(match answer {
            // Some servers say this first, and it is no answer.
            Answer::Take => {
                b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            }
            Answer::TakeAndHangUp | Answer::HangUp => b"HTTP/1.1 2",
            Answer::TooEarly => b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
            Answer::Refuse => b"HTTP/1.1 422 Unprocessable\r\n\r\nunheard\r\nof",
        })
    }
}

/// Reads a request, and what it brings.
fn post(stream: &mut impl BufRead) -> std::io::Result<Value> {
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line)?;
    assert_eq!(line, "POST /alerts HTTP/1.1\r\n");
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line)?;
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim_end().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}
