//! The example `clean`, as a process of its own: its answer, counted by other code; and that it survives its death.
//!
//! The mess is made here, always the same, of January's flights: a file for each day, in the style of one hand of five, and among the
//! rows some that are damaged.

mod example;
#[path = "example/lives.rs"]
mod lives;
#[path = "../examples/clean/repair.rs"]
mod repair;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use example::example;
use lives::{live, newest};
use repair::{Kind, column_name, repair};
use serde_json::Value;
use tempfile::TempDir;

/// Some rows in each hundred of a file are damaged, each in its way.
const DAMAGES: [(usize, &str); 4] = [
    (17, "cut"),
    (41, "carrier"),
    (67, "distance"),
    (93, "bytes"),
];

type Row = Vec<String>;

struct January {
    columns: Vec<String>,
    days: BTreeMap<String, Vec<Row>>,
}

impl January {
    fn read() -> January {
        let mut reader = csv::Reader::from_path("examples/data/flights.csv").unwrap();
        let texts = |record: &csv::StringRecord| record.iter().map(ToOwned::to_owned).collect();
        let columns = texts(reader.headers().unwrap());
        let mut days: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for row in reader.records() {
            let row: Row = texts(&row.unwrap());
            let day = format!("2013-01-{:02}", row[2].parse::<u32>().unwrap());
            days.entry(day).or_default().push(row);
        }
        January { columns, days }
    }

    fn value<'a>(&self, row: &'a Row, column: &str) -> &'a str {
        let index = self.columns.iter().position(|name| name == column);
        &row[index.unwrap()]
    }

    /// Whether a row that is not damaged is a possible flight: it has not departed, or nothing of it is missing.
    fn is_flight(&self, row: &Row) -> bool {
        let of_flown = ["dep_delay", "arr_time", "arr_delay", "air_time", "tailnum"];
        let departed = self.value(row, "dep_time") != "NA";
        !departed
            || of_flown
                .iter()
                .all(|column| self.value(row, column) != "NA")
    }

    /// Each flight that should be in the output, by its file, in the few values that tell it from all others.
    fn flights(&self) -> BTreeMap<String, Vec<String>> {
        let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (day, rows) in &self.days {
            let whole = rows
                .iter()
                .enumerate()
                .filter(|(index, _)| damage(*index).is_none());
            for (_, row) in whole.filter(|(_, row)| self.is_flight(row)) {
                let value = |column: &str| self.value(row, column);
                let told = [
                    "carrier",
                    "flight",
                    "tailnum",
                    "dest",
                    "distance",
                    "arr_delay",
                    "time_hour",
                ];
                let told = told.map(value).join(" ");
                let file = format!("{}/{day}.jsonl", value("origin"));
                files.entry(file).or_default().push(told);
            }
        }
        files.values_mut().for_each(|lines| lines.sort_unstable());
        files
    }

    /// How many rows of each file should be rejected.
    fn rejected(&self) -> BTreeMap<String, usize> {
        let is_bad =
            |(index, row): &(usize, &Row)| damage(*index).is_some() || !self.is_flight(row);
        let days = self.days.iter();
        let counts = days.map(|(day, rows)| {
            (
                format!("rejected/{day}.csv.jsonl"),
                rows.iter().enumerate().filter(is_bad).count(),
            )
        });
        counts.collect()
    }

    /// Writes the messy files.
    fn scatter(&self, folder: &Path) {
        fs::create_dir(folder).unwrap();
        for (number, (day, rows)) in self.days.iter().enumerate() {
            let hand = HANDS[number % HANDS.len()];
            fs::write(folder.join(format!("{day}.csv")), self.file(rows, hand)).unwrap();
        }
        fs::write(folder.join("README"), "Not a table.").unwrap();
    }

    fn file(&self, rows: &[Row], hand: Hand) -> Vec<u8> {
        let mut order: Vec<usize> = (0..self.columns.len()).collect();
        order.rotate_left(hand.rotated);
        let line = |values: Vec<String>| values.join(hand.delimiter) + hand.end;
        let mut file = hand.begin.as_bytes().to_vec();
        let names = order.iter().map(|index| (hand.name)(&self.columns[*index]));
        file.extend(line(names.collect()).into_bytes());
        for (number, row) in rows.iter().enumerate() {
            let value = |index: &usize| {
                let (column, value) = (&*self.columns[*index], &*row[*index]);
                match (damage(number), column) {
                    (Some("carrier"), "carrier") => "??".to_owned(),
                    (Some("distance"), "distance") => "-5".to_owned(),
                    (Some("bytes"), "dest") => "\u{1}".to_owned(),
                    _ => (hand.value)(column, value),
                }
            };
            let values = order.iter().map(value);
            let kept = match damage(number) {
                Some("cut") => 7,
                _ => order.len(),
            };
            let text = line(values.take(kept).collect());
            // A byte that no UTF-8 has.
            file.extend(text.bytes().map(|byte| if byte == 1 { 0xff } else { byte }));
        }
        file
    }
}

fn damage(number: usize) -> Option<&'static str> {
    let damage = DAMAGES.iter().find(|(place, _)| number % 100 == *place);
    damage.map(|(_, what)| *what)
}

/// How somebody writes a table.
#[derive(Clone, Copy)]
struct Hand {
    begin: &'static str,
    delimiter: &'static str,
    end: &'static str,
    rotated: usize,
    name: fn(&str) -> String,
    value: fn(&str, &str) -> String,
}

const HANDS: [Hand; 5] = [
    Hand {
        begin: "",
        delimiter: ",",
        end: "\n",
        rotated: 0,
        name: |name| name.to_owned(),
        value: |_, value| value.to_owned(),
    },
    // A spreadsheet.
    Hand {
        begin: "\u{feff}",
        delimiter: ";",
        end: "\r\n",
        rotated: 0,
        name: |name| name.replace('_', " ").to_uppercase(),
        value: |_, value| match value {
            "NA" => String::new(),
            value => format!(" {value} "),
        },
    },
    // Somebody in a hurry.
    Hand {
        begin: "",
        delimiter: "\t",
        end: "\n",
        rotated: 5,
        name: |name| name.replace('_', "-"),
        value: |column, value| match column {
            _ if value == "NA" => "-".to_owned(),
            "dep_time" | "sched_dep_time" | "arr_time" | "sched_arr_time" => {
                let clock: u32 = value.parse().unwrap();
                format!("{:02}:{:02}", clock / 100, clock % 100)
            }
            _ => value.to_lowercase(),
        },
    },
    // A program that knows only numbers with a point.
    Hand {
        begin: "",
        delimiter: ",",
        end: "\n",
        rotated: 11,
        name: |name| format!(" {name}"),
        value: |column, value| match column {
            _ if value == "NA" => "null".to_owned(),
            "distance" | "air_time" | "dep_delay" | "arr_delay" => format!("{value}.0"),
            "time_hour" => value.replace('T', " ").replace('Z', ""),
            _ => value.to_owned(),
        },
    },
    // One that quotes everything, and sets thousands apart.
    Hand {
        begin: "",
        delimiter: ",",
        end: "\n",
        rotated: 1,
        name: |name| format!("\"{name}\""),
        value: |column, value| match column {
            "distance" if value.len() == 4 => format!("\"{},{}\"", &value[..1], &value[1..]),
            "dep_time" | "sched_dep_time" if value != "NA" => format!("\"{value:0>4}\""),
            _ => format!("\"{value}\""),
        },
    },
];

/// A run to be, and the folder that its files are in.
struct Job(TempDir);

impl Job {
    fn new() -> Job {
        Job(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, readers: usize, every: u32) -> Command {
        let mut command = Command::new(example("clean"));
        command.arg("--input").arg(self.path("in"));
        command.arg("--output").arg(self.path("out"));
        command.arg("--state").arg(self.path("state"));
        command.args([
            "--readers",
            &readers.to_string(),
            "--every",
            &every.to_string(),
        ]);
        command
    }

    fn end(&self, readers: usize) -> String {
        let output = self.command(readers, 1_000).output().unwrap();
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        said
    }

    /// The lines of each file of the output, sorted: how many readers' rows mix is nobody's to say.
    fn lines(&self) -> BTreeMap<String, Vec<String>> {
        let mut files = BTreeMap::new();
        for folder in fs::read_dir(self.path("out")).unwrap() {
            let folder = folder.unwrap().path();
            for file in fs::read_dir(&folder).unwrap() {
                let file = file.unwrap().path();
                let mut lines: Vec<String> = fs::read_to_string(&file)
                    .unwrap()
                    .lines()
                    .map(ToOwned::to_owned)
                    .collect();
                lines.sort_unstable();
                let name = file.strip_prefix(self.path("out")).unwrap();
                files.insert(name.to_str().unwrap().to_owned(), lines);
            }
        }
        files
    }
}

fn text(output: &Output) -> String {
    let of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    of(&output.stderr) + &of(&output.stdout)
}

/// A flight of the output, in the words of [`January::flights`].
fn told(line: &str) -> String {
    let flight: Value = serde_json::from_str(line).unwrap();
    let told = [
        "carrier",
        "flight",
        "tailnum",
        "dest",
        "distance",
        "arr_delay",
        "time_hour",
    ];
    let told = told.map(|column| match &flight[column] {
        Value::Null => "NA".to_owned(),
        Value::String(text) => text.clone(),
        number => number.to_string(),
    });
    told.join(" ")
}

#[test]
fn each_flight_is_in_the_file_of_its_airport_and_day_and_the_rest_is_rejected() {
    let january = January::read();
    let job = Job::new();
    january.scatter(&job.path("in"));
    let said = job.end(8);
    assert!(said.starts_with("wrote 27004 rows"), "{said}");

    let (rejected, flights): (BTreeMap<_, _>, BTreeMap<_, _>) = job
        .lines()
        .into_iter()
        .partition(|(name, _)| name.starts_with("rejected/"));
    let counts: BTreeMap<String, usize> = rejected
        .iter()
        .map(|(name, lines)| (name.clone(), lines.len()))
        .collect();
    assert_eq!(counts, january.rejected());
    let expected = january.flights();
    assert_eq!(
        flights.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    for (name, lines) in &flights {
        let mut lines: Vec<String> = lines.iter().map(|line| told(line)).collect();
        lines.sort_unstable();
        assert_eq!(lines, expected[name], "{name}");
    }
    check_reasons(&rejected["rejected/2013-01-02.csv.jsonl"]);
}

/// A file of the second hand: each damage is told with its row.
fn check_reasons(lines: &[String]) {
    let letters: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let at = |number: usize| {
        let row = number as u64 + 1;
        let letter = letters.iter().find(|letter| letter["row"] == row);
        let letter = letter.unwrap_or_else(|| panic!("row {row} is not rejected"));
        assert_eq!(letter["file"], "2013-01-02.csv");
        letter["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(at(17), "the row has 7 columns where the header has 19");
    assert_eq!(at(141), "carrier is `??`, no such code");
    assert_eq!(at(167), "distance is -5");
    assert!(at(193).starts_with("dest is `\u{fffd}`"), "{}", at(193));
}

#[test]
fn c04_killed_again_and_again_it_writes_what_one_does_that_is_left_alone() {
    let mut january = January::read();
    january.days = january.days.into_iter().take(10).collect();
    let (undisturbed, job) = (Job::new(), Job::new());
    january.scatter(&undisturbed.path("in"));
    undisturbed.end(1);
    january.scatter(&job.path("in"));
    let mut killed = 0;
    let state = job.path("state");
    let life = || {
        let enough = newest(&state) + 2;
        live(job.command(4, 1), || newest(&state) >= enough)
    };
    while life() {
        killed += 1;
        // There is nothing yet; or it was killed behind its last step, and there is all.
        assert!(!job.path("out").exists() || job.lines() == undisturbed.lines());
        assert!(killed < 1_000, "it makes no progress");
    }
    assert!(killed >= 3, "it was killed {killed} times");
    assert!(job.lines() == undisturbed.lines());
    assert!(
        job.end(8).contains("goes on from"),
        "and it knows that it has ended"
    );
}

#[test]
fn a_file_that_is_no_table_of_flights_is_named() {
    let job = Job::new();
    fs::create_dir(job.path("in")).unwrap();
    fs::write(job.path("in/a.csv"), "year,month\n2013,1\n").unwrap();
    let output = job.command(2, 1_000).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(said.contains("in/a.csv: it has no column `day`"), "{said}");
    assert!(!job.path("out").exists() && !job.path("out.part").exists());
}

#[test]
fn behind_a_quote_that_is_not_closed_the_file_and_the_row_are_named() {
    let mut january = January::read();
    january.days = january.days.into_iter().take(1).collect();
    let (day, rows) = january.days.first_key_value().unwrap();
    let job = Job::new();
    january.scatter(&job.path("in"));
    let file = job.path("in").join(format!("{day}.csv"));
    let mut text = fs::read(&file).unwrap();
    text.extend(b"\"2013");
    text.extend(b",1\n".repeat(6 << 20));
    fs::write(&file, text).unwrap();
    let output = job.command(2, 1_000).output().unwrap();
    let (code, said) = (output.status.code(), self::text(&output));
    assert_eq!(code, Some(1), "{said}");
    let row = rows.len() + 1;
    let expected = format!("in/{day}.csv: row {row}: it has more than 16777216 bytes");
    assert!(said.contains(&expected), "{said}");
    assert!(!job.path("out").exists());
}

#[test]
fn values_are_repaired_and_not_guessed() {
    let cases = [
        (Kind::Code, " ua ", "UA"),
        (Kind::Code, "n/a", "NA"),
        (Kind::Code, "u a", "U A"),
        (Kind::Clock, "5:17", "517"),
        (Kind::Clock, "0517", "517"),
        (Kind::Clock, "00:05", "5"),
        (Kind::Clock, "5:7", "5:7"),
        (Kind::Clock, "5:17:00", "5:17:00"),
        (Kind::Clock, "5:1.", "5:1."),
        (Kind::Clock, "1,2:34", "1,2:34"),
        (Kind::Clock, "-5:17", "-5:17"),
        (Kind::Clock, ":17", ":17"),
        (Kind::Number, "+2", "2"),
        (Kind::Number, "-2.00", "-2"),
        (Kind::Number, "2.5", "2.5"),
        (Kind::Number, "1,400", "1400"),
        (Kind::Number, "-1,400.0", "-1400"),
        (Kind::Number, "1,40", "1,40"),
        (Kind::Number, "0,042", "0,042"),
        (Kind::Number, ",400", ",400"),
        (Kind::Number, "1234,567", "1234,567"),
        (Kind::Number, "+-2", "+-2"),
        (Kind::Number, "++2", "++2"),
        (Kind::Number, "two", "two"),
        (Kind::Number, "NULL", "NA"),
        (Kind::Hour, "2013-01-01 10:00:00", "2013-01-01T10:00:00Z"),
        (Kind::Hour, "2013-01-01t10:00z", "2013-01-01T10:00:00Z"),
        (Kind::Hour, "yesterday", "YESTERDAYZ"),
        (Kind::Other, " any thing ", "any thing"),
    ];
    for (kind, value, repaired) in cases {
        assert_eq!(repair(value, kind), repaired, "{kind:?} {value:?}");
    }
    assert_eq!(column_name("\u{feff}Dep Time "), "dep_time");
    assert_eq!(Kind::of("tailnum"), Kind::Code);
}
