//! The example `recommend`: its recommendations are those of a plain loop over the bookings, though the profiles live in a store that answers
//! late, and many travellers are dealt with at a time; and where the store hangs, they are the fallback; and
//! they are the same however often the job is killed.

mod example;
#[path = "example/lives.rs"]
mod lives;

use example::example;
use lives::{live, newest};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde::Deserialize;

/// Enough for aircraft that come twice within what is dealt with at a time.
const ROWS: usize = 4_000;

/// No destination has more to say.
const ALL: usize = usize::MAX;

#[test]
fn the_recommendations_are_those_of_a_plain_loop() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(folder.path(), &["--delay", "5", "--timeout", "100000"]);
    let (bookings, written) = (bookings(), written(folder.path()));
    let told = format!("made {} recommendations, 0 of them", bookings.len());
    assert!(said.contains(&told), "{said}");
    let plain = Plain::learn(&bookings);
    let expected = plain.recommend(&bookings, |step| (plain.likes(step), false));
    assert_eq!(by_traveller(written), expected);
    let loads = said.split_once("waited, ").unwrap().1;
    let loads: usize = loads.split_once(' ').unwrap().0.parse().unwrap();
    let destinations: BTreeSet<&str> = bookings.iter().map(|b| b.to.as_str()).collect();
    assert!(loads <= destinations.len(), "the cache asks once: {said}");
}

#[test]
fn where_the_store_hangs_it_is_what_everybody_likes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start("similar:BOS");
    let address = store.address.to_string();
    run(folder.path(), &["--store", &address, "--timeout", "300"]);
    let (bookings, written) = (bookings(), by_traveller(written(folder.path())));
    let plain = Plain::learn(&bookings);
    let best = plain.recommend(&bookings, |step| (plain.likes(step), false));
    let fallback = plain.recommend(&bookings, |step| (plain.popular(step), true));
    let boston = plain.recommend(&bookings, |step| (Vec::new(), asks_for(step, "BOS")));
    let (mut hung, mut well) = (0, 0);
    for (traveller, likes) in &written {
        assert_eq!(likes.len(), best[traveller].len());
        for (at, like) in likes.iter().enumerate() {
            // On a busy machine another may have no time either.
            let has_hung = boston[traveller][at].1;
            let expected = match has_hung || like.1 {
                true => &fallback[traveller][at],
                false => &best[traveller][at],
            };
            assert_eq!(like, expected, "number {at} of {traveller}");
            hung += usize::from(has_hung);
            well += usize::from(!like.1);
        }
    }
    assert!(hung > 50 && well > 0, "{hung} hung, {well} did not");
}

#[test]
fn c04_killed_again_and_again_its_recommendations_are_those_of_a_plain_loop() {
    let folder = tempfile::tempdir().unwrap();
    let (store, state) = (Store::start("nothing"), folder.path().join("state"));
    let job = || {
        let mut command = recommend(folder.path());
        command
            .args(["--store", &store.address.to_string()])
            .args(["--timeout", "100000", "--every", "20"])
            .args([PathBuf::from("--state"), state.clone()]);
        command
    };
    // Behind a checkpoint and so many requests more: the store is then ahead of the job.
    let life = || {
        let (checkpoint, mut puts) = (newest(&state) + 1, 0);
        live(job(), || match newest(&state) < checkpoint {
            true => {
                puts = store.puts() + 250;
                false
            }
            false => store.puts() >= puts,
        })
    };
    let killed = (0..12).take_while(|_| life()).count();
    assert!(killed >= 3, "it was killed {killed} times");
    let output = job().output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("goes on from"), "{said}");
    let (bookings, written) = (bookings(), by_traveller(written(folder.path())));
    let plain = Plain::learn(&bookings);
    let expected = plain.recommend(&bookings, |step| (plain.likes(step), false));
    assert!(written == expected, "after {killed} kills");
}

#[test]
fn what_is_wrong_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("flights.csv");
    let says = |arguments: &[&str], expected: &str| {
        let output = recommend(folder.path()).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(said.contains(expected), "{said}");
        assert!(!folder.path().join("likes.jsonl").exists());
    };
    says(&["--input", "no/such.csv"], "cannot read no/such.csv");
    // A port that no one has without being root, and that nobody uses.
    says(&["--store", "127.0.0.1:1"], "cannot connect to 127.0.0.1:1");
    says(&["--state", "state"], "--store <HOST:PORT>");
    says(&["--output", "/dev/null/likes"], "cannot create /dev/null");
    fs::write(&input, "tailnum,origin\nN1,JFK\n").unwrap();
    says(
        &["--input", input.to_str().unwrap()],
        "missing field `dest`",
    );
    fs::write(&input, "tailnum,origin,dest\nN 1,JFK,BOS\n").unwrap();
    says(
        &["--input", input.to_str().unwrap()],
        "\"profile:N 1\" is no key",
    );
}

/// The job, with its output in a folder.
fn recommend(folder: &Path) -> Command {
    let mut command = Command::new(example("recommend"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--limit", &ROWS.to_string()])
        .args([PathBuf::from("--output"), folder.join("likes.jsonl")]);
    command
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = recommend(folder).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Booking {
    traveller: String,
    from: String,
    to: String,
}

#[derive(Deserialize)]
struct Written {
    booking: Booking,
    likes: Vec<String>,
    is_fallback: bool,
}

/// For each traveller the recommendations, in order, and whether they are the fallback.
type ByTraveller = BTreeMap<String, Vec<(Vec<String>, bool)>>;

fn bookings() -> Vec<Booking> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/flights.csv");
    let mut rows = csv::Reader::from_path(path).unwrap();
    let rows = rows.deserialize().take(ROWS);
    let bookings = rows.map(|row: Result<HashMap<String, String>, _>| {
        let row = row.unwrap();
        Booking {
            traveller: row["tailnum"].clone(),
            from: row["origin"].clone(),
            to: row["dest"].clone(),
        }
    });
    bookings
        .filter(|booking| booking.traveller != "NA")
        .collect()
}

fn written(folder: &Path) -> Vec<Written> {
    let text = fs::read_to_string(folder.join("likes.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn by_traveller(written: Vec<Written>) -> ByTraveller {
    let mut by_traveller = ByTraveller::new();
    let bookings = bookings();
    assert_eq!(written.len(), bookings.len());
    let mut expected: BTreeMap<&str, std::vec::IntoIter<&Booking>> = BTreeMap::new();
    for traveller in bookings.iter().map(|booking| booking.traveller.as_str()) {
        let own = bookings.iter().filter(|b| b.traveller == traveller);
        let own = || own.collect::<Vec<_>>().into_iter();
        expected.entry(traveller).or_insert_with(own);
    }
    for Written {
        booking,
        likes,
        is_fallback,
    } in written
    {
        let next = expected.get_mut(&*booking.traveller).unwrap().next();
        assert_eq!(
            next,
            Some(&booking),
            "a traveller's bookings keep their order"
        );
        by_traveller
            .entry(booking.traveller)
            .or_default()
            .push((likes, is_fallback));
    }
    by_traveller
}

/// How often the traveller was where, the present booking included.
type Visits = BTreeMap<String, u32>;

/// Where a traveller was most often.
fn favourites(visits: &Visits) -> Vec<(&String, &u32)> {
    let mut visits: Vec<_> = visits.iter().collect();
    visits.sort_by_key(|(to, count)| (u32::MAX - **count, *to));
    visits.truncate(3);
    visits
}

fn asks_for(visits: &Visits, destination: &str) -> bool {
    favourites(visits).iter().any(|(to, _)| *to == destination)
}

/// The recommender as a loop.
struct Plain {
    /// Which travellers were there.
    visitors: BTreeMap<String, BTreeSet<String>>,
}

impl Plain {
    fn learn(bookings: &[Booking]) -> Self {
        let mut visitors = BTreeMap::<String, BTreeSet<String>>::new();
        for booking in bookings {
            let visitors = visitors.entry(booking.to.clone()).or_default();
            visitors.insert(booking.traveller.clone());
        }
        Self { visitors }
    }

    fn recommend(
        &self,
        bookings: &[Booking],
        rule: impl Fn(&Visits) -> (Vec<String>, bool),
    ) -> ByTraveller {
        let mut visits = BTreeMap::<&str, Visits>::new();
        let mut recommended = ByTraveller::new();
        for booking in bookings {
            let visits = visits.entry(&booking.traveller).or_default();
            *visits.entry(booking.to.clone()).or_default() += 1;
            recommended
                .entry(booking.traveller.clone())
                .or_default()
                .push(rule(visits));
        }
        recommended
    }

    fn likes(&self, visits: &Visits) -> Vec<String> {
        let mut scores = BTreeMap::<&str, usize>::new();
        for (favourite, count) in favourites(visits) {
            let there = &self.visitors[favourite];
            let others = self.visitors.iter().filter(|(to, _)| *to != favourite);
            let common =
                others.map(|(to, visitors)| (to.as_str(), visitors.intersection(there).count()));
            for (to, common) in best(common.filter(|(_, common)| *common > 0), 20) {
                *scores.entry(to).or_default() += common * *count as usize;
            }
        }
        new(visits, best(scores.into_iter(), ALL))
    }

    fn popular(&self, visits: &Visits) -> Vec<String> {
        let counts = self.visitors.iter();
        new(
            visits,
            best(
                counts.map(|(to, visitors)| (to.as_str(), visitors.len())),
                ALL,
            ),
        )
    }
}

fn best<'a>(scores: impl Iterator<Item = (&'a str, usize)>, most: usize) -> Vec<(&'a str, usize)> {
    let mut scores: Vec<_> = scores.collect();
    scores.sort_by_key(|(to, score)| (usize::MAX - score, *to));
    scores.truncate(most);
    scores
}

fn new(visits: &Visits, best: Vec<(&str, usize)>) -> Vec<String> {
    let new = best.into_iter().map(|(to, _)| to.to_owned());
    new.filter(|to| !visits.contains_key(to)).take(3).collect()
}

/// A store with one thread for each connection, which never answers a GET of one key.
struct Store {
    address: SocketAddr,
    values: Arc<Values>,
}

#[derive(Default)]
struct Values {
    by_key: Mutex<HashMap<String, String>>,
    puts: AtomicUsize,
}

impl Store {
    fn start(hangs: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let values = Arc::<Values>::default();
        let served = Arc::clone(&values);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, values) = (stream.unwrap(), Arc::clone(&served));
                // A client that leaves ends its connection.
                thread::spawn(move || drop(serve(&stream, &values, hangs)));
            }
        });
        Self { address, values }
    }

    /// How many PUTs it has done.
    fn puts(&self) -> usize {
        self.values.puts.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: &TcpStream, values: &Values, hangs: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next().transpose()? {
        let answer = match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
            // Until the client hangs up.
            ["GET", key] if key == hangs => continue,
            ["GET", key] => {
                let value = values.by_key.lock().unwrap().get(key).cloned();
                value.unwrap_or_else(|| "none".to_owned())
            }
            ["PUT", key, value] => {
                values.puts.fetch_add(1, Ordering::Relaxed);
                values
                    .by_key
                    .lock()
                    .unwrap()
                    .insert(key.to_owned(), value.to_owned());
                "done".to_owned()
            }
            _ => panic!("{line:?} is no request"),
        };
        stream.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}
