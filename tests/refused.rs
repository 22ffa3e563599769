//! What the compiler refuses, because it would be a data race, or memory used after its end.
//!
//! Each file of tests/refused is two programs in one: without the lines marked `wrong` it must compile; without those marked
//! `right` it must be refused, on a line marked `here`, with what the file says of the reason. So no case fails by a typing
//! error, or for another reason than the one that it is there for. The compiler's whole text is not compared: it changes with
//! each version, and says no more.
//!
//! ```text
//! //! refused: cannot be sent between threads safely
//! …
//!     let shared = std::sync::Arc::new(1); // right
//!     let shared = std::rc::Rc::new(1); // wrong
//!     runtime.spawn(async move { drop(shared) }); // here
//! ```

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file of tests/refused.
struct Case {
    name: String,
    /// What the errors must say.
    phrases: Vec<String>,
    lines: Vec<String>,
}

/// An error of the compiler: about which program, its text, and on which of its lines.
#[derive(Debug)]
struct Refusal {
    program: String,
    text: String,
    lines: Vec<usize>,
}

impl Case {
    fn parse(name: &str, text: &str) -> Case {
        let phrase = |line: &str| line.strip_prefix("//! refused: ").map(str::to_owned);
        let phrases: Vec<String> = text.lines().filter_map(phrase).collect();
        assert!(!phrases.is_empty(), "{name} says why it is refused");
        Case {
            name: name.to_owned(),
            phrases,
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    /// The program without the lines that have this mark. They stay as empty lines, so that the others keep their numbers.
    fn without(&self, mark: &str) -> String {
        let kept = |line: &String| !marks(line).any(|found| found == mark);
        let lines = self
            .lines
            .iter()
            .map(|line| if kept(line) { line } else { "" });
        lines.collect::<Vec<_>>().join("\n") + "\n"
    }

    /// What is wrong with what the compiler said of both programs.
    fn findings(&self, refusals: &[Refusal]) -> Vec<String> {
        let name = &self.name;
        let of = |what: &str| -> Vec<&Refusal> {
            let program = format!("{name}_{what}");
            refusals
                .iter()
                .filter(|refusal| refusal.program == program)
                .collect()
        };
        let mut findings = Vec::new();
        for refusal in of("right") {
            findings.push(format!("{name}: it must compile: {refusal:#?}"));
        }
        let wrong = of("wrong");
        for refusal in wrong.iter().filter(|refusal| !self.is_here(refusal)) {
            findings.push(format!("{name}: refused elsewhere: {refusal:#?}"));
        }
        let says = |phrase: &&String| wrong.iter().any(|refusal| refusal.text.contains(*phrase));
        for phrase in self.phrases.iter().filter(|phrase| !says(phrase)) {
            findings.push(format!("{name}: not refused with {phrase:?}: {wrong:#?}"));
        }
        findings
    }

    fn is_here(&self, refusal: &Refusal) -> bool {
        let is_marked = |&line: &usize| marks(&self.lines[line - 1]).any(|mark| mark == "here");
        refusal.lines.iter().any(is_marked)
    }
}

/// The words in a comment at the end of a line.
fn marks(line: &str) -> impl Iterator<Item = &str> {
    let comment = line.split_once(" // ").map(|(_, comment)| comment);
    comment.into_iter().flat_map(|comment| comment.split(", "))
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused");
    let mut cases: Vec<Case> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| {
            let path = entry.expect("a readable folder").path();
            let name = path.file_stem().and_then(|stem| stem.to_str());
            let text = fs::read_to_string(&path).expect("a readable file");
            Case::parse(name.expect("a plain name"), &text)
        })
        .collect();
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    cases
}

/// Writes a package with two programs per case, and has it checked. What the compiler refuses of it.
fn check(name: &str, cases: &[Case]) -> Vec<Refusal> {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    write_package(&package, cases);
    let output = Command::new(std::env::var_os("CARGO").expect("cargo runs the tests"))
        .args(["check", "--bins", "--keep-going", "--offline", "--quiet"])
        .arg("--message-format=json")
        .current_dir(&package)
        .env("CARGO_TARGET_DIR", package.with_file_name("refused-target"))
        .stderr(Stdio::piped())
        .output()
        .expect("cargo can be run");
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let messages: Vec<Value> = messages.collect();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!messages.is_empty(), "cargo has checked nothing: {told}");
    messages.iter().filter_map(refusal).collect()
}

fn write_package(package: &Path, cases: &[Case]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs = package.join("src/bin");
    // A case that is gone must not be checked any more.
    let _ = fs::remove_dir_all(&programs);
    fs::create_dir_all(&programs).expect("a writable folder");
    let manifest = format!(
        "[package]\nname = \"refused\"\nedition = \"2024\"\n\n[dependencies]\npeu.path = {root:?}\n\n[workspace]\n"
    );
    let write = |path: PathBuf, text: String| fs::write(path, text).expect("a writable folder");
    write(package.join("Cargo.toml"), manifest);
    // The same dependencies as everywhere else, which are there already.
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).expect("it is locked");
    for case in cases {
        let program = |what: &str| programs.join(format!("{}_{what}.rs", case.name));
        write(program("right"), case.without("wrong"));
        write(program("wrong"), case.without("right"));
    }
}

/// One of cargo's messages, if it is an error.
fn refusal(message: &Value) -> Option<Refusal> {
    let (target, message) = (&message["target"], &message["message"]);
    let spans = message["spans"].as_array()?;
    // The last line of the compiler only counts the errors.
    if message["level"] != "error" || spans.is_empty() {
        return None;
    }
    let primary = spans.iter().filter(|span| span["is_primary"] == true);
    let line = |span: &Value| span["line_start"].as_u64().map(|line| line as usize);
    Some(Refusal {
        program: target["name"].as_str()?.to_owned(),
        text: message["rendered"].as_str()?.to_owned(),
        lines: primary.filter_map(line).collect(),
    })
}

#[test]
fn what_is_unsound_is_refused_for_that_reason() {
    let cases = cases();
    let refusals = check("refused", &cases);
    let findings: Vec<String> = cases
        .iter()
        .flat_map(|case| case.findings(&refusals))
        .collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// A case that compiles, one that is refused for another reason, on another line, there as well, or in its right form.
#[test]
fn a_case_that_proves_nothing_is_caught() {
    let case = |name: &str, body: &str| {
        let head = "//! refused: mismatched types\n";
        Case::parse(name, &format!("{head}fn main() {{\n{body}\n}}\n"))
    };
    let cases = [
        case(
            "good",
            "let _: u8 = 1; // right\nlet _: u8 = 'a'; // wrong, here",
        ),
        case("compiles", "let _: u8 = 1; // wrong, here"),
        case("other_reason", "let _: u8 = one; // wrong, here"),
        case(
            "other_line",
            "let _ = 'a'; // here\nlet _: u8 = 'a'; // wrong",
        ),
        case(
            "there_as_well",
            "let _: u8 = 'a'; // wrong, here\nlet _: u8 = 'b'; // wrong",
        ),
        case("never", "let _: u8 = 'a'; // here"),
    ];
    let refusals = check("refused-twins", &cases);
    let caught = |case: &&Case| !case.findings(&refusals).is_empty();
    let caught: Vec<&str> = cases
        .iter()
        .filter(caught)
        .map(|case| case.name.as_str())
        .collect();
    assert_eq!(
        caught,
        [
            "compiles",
            "other_reason",
            "other_line",
            "there_as_well",
            "never"
        ]
    );
}
