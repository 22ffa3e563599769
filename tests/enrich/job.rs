//! Runs the example with files of its own, and reads what it wrote.

use crate::example::example;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The project's root, where the example finds its data.
pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Rows that a run is fed through a pipe: four times what the pipe holds.
pub(crate) const FED: usize = 3000;

/// Writes the first rows of January, below their header.
pub(crate) fn feed(pipe: &mut impl Write, rows: usize) {
    let flights = fs::read_to_string(data("flights.csv")).unwrap();
    let some: String = flights.split_inclusive('\n').take(1 + rows).collect();
    pipe.write_all(some.as_bytes()).unwrap();
}

/// A run to be, and the folder that its files are in.
pub(crate) struct Job {
    folder: TempDir,
    arguments: Vec<String>,
}

impl Job {
    pub(crate) fn new(arguments: &[&str]) -> Job {
        Job {
            folder: tempfile::tempdir().unwrap(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
        }
    }

    pub(crate) fn with(mut self, arguments: &[&str]) -> Job {
        self.arguments
            .extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// With these rows below the usual header as its input.
    pub(crate) fn with_rows(self, rows: &[&str]) -> Job {
        let header = fs::read_to_string(data("flights.csv")).unwrap();
        let header = header.lines().next().unwrap();
        self.with_input(&format!("{header}\n{}\n", rows.join("\n")))
    }

    /// With this text as its input.
    pub(crate) fn with_input(self, text: &str) -> Job {
        let input = self.path("flights.csv");
        fs::write(&input, text).unwrap();
        let input = input.to_str().unwrap().to_owned();
        self.with(&["--input", &input])
    }

    /// A file of this job.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder that the outputs go to, unless an argument says otherwise.
    pub(crate) fn out(&self) -> PathBuf {
        self.path("out")
    }

    /// The command, not yet run.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(example("enrich"));
        command
            .current_dir(ROOT)
            .stdin(Stdio::null())
            .arg("--json")
            .args(self.file_argument("--output", "flights.jsonl"))
            .args(self.file_argument("--dead-letters", "dead-letters.jsonl"))
            .args(&self.arguments);
        command
    }

    fn file_argument(&self, option: &str, name: &str) -> Vec<String> {
        match self.arguments.iter().any(|argument| argument == option) {
            true => Vec::new(),
            false => vec![
                option.to_owned(),
                self.out().join(name).to_str().unwrap().to_owned(),
            ],
        }
    }

    /// Runs in a shell that has done something before.
    pub(crate) fn run_in_shell(&self, before: &str) -> Output {
        Command::new("sh")
            .args(["-c", &format!("{before}; exec \"$0\" \"$@\"")])
            .arg(example("enrich"))
            .args(self.command().get_args())
            .current_dir(ROOT)
            .output()
            .unwrap()
    }

    /// Runs with a pipe as its input, and feeds it [`FED`] rows. They don't fit the pipe, so when this returns the run has
    /// its outputs and works on rows. The pipe stays open.
    pub(crate) fn start_fed(&self) -> Child {
        let mut child = self.start_piped();
        feed(child.stdin.as_mut().unwrap(), FED);
        child
    }

    /// Runs with a pipe as its input.
    pub(crate) fn start_piped(&self) -> Child {
        self.command()
            .args(["--input", "/dev/stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs to a good end.
    pub(crate) fn run(self) -> Done {
        let output = self.command().output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{:?}: {errors}", self.arguments);
        assert_eq!(errors, "", "a good run says nothing on standard error");
        Done {
            report: serde_json::from_slice(&output.stdout).unwrap(),
            output: fs::read_to_string(self.out().join("flights.jsonl")).unwrap(),
            dead_letters: fs::read_to_string(self.out().join("dead-letters.jsonl")).unwrap(),
        }
    }

    /// Runs to a bad end: one line, exit code 1, and no file that was not there. Returns the line.
    pub(crate) fn fail(&self) -> String {
        self.expect_failure(&self.command().output().unwrap())
    }

    /// As [`fail`](Self::fail), for a command that was run already.
    pub(crate) fn expect_failure(&self, output: &Output) -> String {
        let line = failure(output);
        assert_eq!(
            files(&self.out()),
            Vec::<PathBuf>::new(),
            "nothing is left behind by {:?}: {line}",
            self.arguments
        );
        line
    }
}

/// The line that a failed run says.
#[track_caller]
pub(crate) fn failure(output: &Output) -> String {
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert_eq!(errors.lines().count(), 1, "one line, not: {errors}");
    assert_eq!(output.stdout, b"", "no report of a run that failed");
    errors
        .strip_prefix("enrich: ")
        .expect(&errors)
        .trim_end()
        .to_owned()
}

/// What a run wrote.
pub(crate) struct Done {
    pub(crate) report: Value,
    pub(crate) output: String,
    pub(crate) dead_letters: String,
}

impl Done {
    pub(crate) fn records(&self) -> Vec<Value> {
        json_lines(&self.output)
    }

    pub(crate) fn dead_letters(&self) -> Vec<Value> {
        json_lines(&self.dead_letters)
    }

    /// A number of the report.
    pub(crate) fn count(&self, pointer: &str) -> u64 {
        self.report
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("no {pointer}: {}", self.report))
    }
}

pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A file of January's data.
pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(ROOT).join("examples/data").join(name)
}

/// All files of a folder, if there is one: hidden ones too.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Whether a program is installed.
pub(crate) fn is_installed(program: impl AsRef<OsStr>) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}
