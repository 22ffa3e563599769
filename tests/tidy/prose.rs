//! Words that can rot: links, paths, commands and words in prose and comments, and how long a file may be.

use crate::rust;
use crate::tree::{self, File};
use crate::{assert_caught, assert_clean};
use std::collections::BTreeSet;
use std::path::Path;

/// The most lines of a source file of a core crate, its unit tests aside: about what can be read at one sitting.
const MOST_LINES: usize = 500;

/// Endings by which a word in backticks is taken for a file of this repository.
const ENDINGS: [&str; 4] = [".rs", ".md", ".toml", ".yml"];

/// What finished work does not say. Spelled in halves, because this file is under the law as well.
const BANNED: [&str; 10] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("issue", " #"),
    concat!("/wo", "rk/"),
    concat!("/tm", "p/"),
];

/// What the repository holds, as links and paths see it.
struct Known {
    paths: BTreeSet<String>,
}

impl Known {
    fn tree() -> Known {
        Known {
            paths: tree::files().into_iter().map(|file| file.path).collect(),
        }
    }

    /// Whether `path`, seen from the folder of `from` or from one of its parents up to the root, is a file or a folder.
    fn has(&self, from: &str, path: &str) -> bool {
        Path::new(from)
            .ancestors()
            .skip(1)
            .any(|folder| self.at(&folder.join(path)))
    }

    /// Data files are no part of the walk, so the disk is asked as well.
    fn at(&self, path: &Path) -> bool {
        let path = normal(path);
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.paths.contains(&path)
            || self.paths.iter().any(|known| known.starts_with(&folder))
            || tree::root().join(&path).exists()
    }

    fn has_name(&self, name: &str) -> bool {
        self.paths
            .iter()
            .any(|path| path == name || path.ends_with(&format!("/{name}")))
    }

    fn has_top_folder(&self, path: &str) -> bool {
        path.split_once('/').is_some_and(|(top, _)| {
            self.paths
                .iter()
                .any(|known| known.starts_with(&format!("{top}/")))
        })
    }
}

/// Takes `.` and `..` out of a relative path.
fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.to_str().unwrap_or_default().split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn markdown_findings(file: &File, known: &Known) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in prose_lines(&file.text) {
        let links = links(line).filter(|link| !link_leads(file, link, known));
        findings.extend(
            links.map(|link| format!("{}:{number}: the link {link:?} leads nowhere", file.path)),
        );
        let paths =
            spans(line).filter(|span| is_path(span, known) && !names_a_file(file, span, known));
        findings
            .extend(paths.map(|path| format!("{}:{number}: there is no file `{path}`", file.path)));
    }
    findings
}

/// The lines outside of fenced code, numbered from 1.
fn prose_lines(markdown: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    markdown
        .lines()
        .enumerate()
        .filter_map(move |(index, line)| {
            let is_fence = line.trim_start().starts_with("```");
            fenced ^= is_fence;
            (!fenced && !is_fence).then_some((index + 1, line))
        })
}

/// The targets of `[text](target)` in a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next())
}

fn link_leads(file: &File, link: &str, known: &Known) -> bool {
    if link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
    let target = match path {
        "" => file.text.clone(),
        path if !known.at(&folder.join(path)) => return false,
        path => std::fs::read_to_string(tree::root().join(folder).join(path)).unwrap_or_default(),
    };
    anchor.is_empty()
        || prose_lines(&target).any(|(_, line)| line.starts_with('#') && slug(line) == anchor)
}

/// The anchor of a heading, as GitHub and rustdoc's readers make it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// The words in single backticks of a line.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Whether a word in backticks means a file or folder of this repository.
fn is_path(span: &str, known: &Known) -> bool {
    let plain = span
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let named = ENDINGS
        .iter()
        .any(|ending| span.len() > ending.len() && span.ends_with(ending));
    plain && !span.starts_with('/') && (named || known.has_top_folder(span))
}

fn names_a_file(file: &File, span: &str, known: &Known) -> bool {
    known.has(&file.path, span) || (!span.contains('/') && known.has_name(span))
}

/// Comments may speak of files of other projects, so only a path that begins with a folder of ours is checked.
fn comment_findings(file: &File, known: &Known) -> Vec<String> {
    let mut findings = Vec::new();
    for (index, line) in rust::lines(&file.text).iter().enumerate() {
        let paths =
            spans(&line.comment).filter(|span| is_path(span, known) && known.has_top_folder(span));
        let dead = paths.filter(|path| !known.has(&file.path, path));
        findings.extend(
            dead.map(|path| format!("{}:{}: there is no file `{path}`", file.path, index + 1)),
        );
    }
    findings
}

fn word_findings(file: &File) -> Vec<String> {
    let lines = file.text.lines().enumerate();
    lines
        .flat_map(|(index, line)| {
            let banned = BANNED.iter().filter(move |word| stands_alone(line, word));
            banned.map(move |word| {
                format!(
                    "{}:{}: {word:?} does not belong into finished work",
                    file.path,
                    index + 1
                )
            })
        })
        .collect()
}

/// A word is none when letters stand before it; one that ends in a letter, none when letters follow.
fn stands_alone(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let glued_after =
            word.ends_with(char::is_alphabetic) && after.is_some_and(char::is_alphanumeric);
        !before.is_some_and(|c| c.is_alphanumeric() || c == '.') && !glued_after
    })
}

fn length_finding(file: &File) -> Option<String> {
    let lines = rust::lines(&file.text);
    let count = rust::without_unit_tests(&lines).len();
    (count > MOST_LINES).then(|| {
        format!(
            "{}: {count} lines, at most {MOST_LINES}: split it by what it is for",
            file.path
        )
    })
}

/// The commands that the README tells people to run stand in the script that runs on every change.
fn command_findings(readme: &str, script: &str) -> Vec<String> {
    let commands = readme
        .lines()
        .map(|line| line.split(" #").next().unwrap_or(line).trim());
    let promised: BTreeSet<&str> = commands
        .filter(|line| line.starts_with("cargo test") || is_main_job(line))
        .collect();
    let mut findings: Vec<String> = promised
        .iter()
        .filter(|command| !script.contains(**command))
        .map(|command| format!(".ci/run: does not run {command:?} of README.md"))
        .collect();
    let has_both = promised.iter().any(|line| line.starts_with("cargo test"))
        && promised.iter().any(|line| is_main_job(line));
    if !has_both {
        findings.push(
            "README.md: must name the command of the tests and the one of the main job".to_owned(),
        );
    }
    findings
}

/// The main job in its plainest form: with arguments, it is a variation that only people run.
fn is_main_job(command: &str) -> bool {
    command == "cargo run --release --example enrich"
}

#[test]
fn what_markdown_names_exists() {
    let (files, known) = (tree::files(), Known::tree());
    let markdown = files.iter().filter(|file| file.path.ends_with(".md"));
    assert_clean(
        &markdown
            .flat_map(|file| markdown_findings(file, &known))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn what_comments_name_exists() {
    let (files, known) = (tree::files(), Known::tree());
    let rust = files.iter().filter(|file| file.is_rust());
    assert_clean(
        &rust
            .flat_map(|file| comment_findings(file, &known))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn no_file_says_a_banned_word() {
    assert_clean(
        &tree::files()
            .iter()
            .flat_map(word_findings)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn no_source_file_is_too_long() {
    let sources = tree::files().into_iter().filter(|file| file.is_core());
    assert_clean(
        &sources
            .filter_map(|file| length_finding(&file))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn the_readme_s_commands_are_run_on_every_change() {
    assert_clean(&command_findings(
        &tree::text("README.md"),
        &tree::text(".ci/run"),
    ));
}

#[test]
fn the_changelog_speaks_of_this_version() {
    let manifest = tree::text("Cargo.toml");
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    let heading = format!("## {}", version.expect("the workspace has a version"));
    assert!(
        tree::text("CHANGELOG.md").contains(&heading),
        "CHANGELOG.md has no heading {heading:?}"
    );
}

fn sample_tree() -> Known {
    Known {
        paths: ["README.md", "src/lib.rs", "reactor/src/turn.rs"]
            .map(str::to_owned)
            .into(),
    }
}

#[test]
fn a_dead_link_a_dead_anchor_and_a_dead_path_are_caught() {
    let found =
        |text: &str| markdown_findings(&File::sample("sample/page.md", text), &sample_tree());
    assert_caught(&found("[turn](../reactor/src/gone.rs)"), "leads nowhere");
    assert_caught(&found("# One\n[two](#two)"), "leads nowhere");
    assert_caught(
        &found("see `reactor/src/gone.rs`"),
        "no file `reactor/src/gone.rs`",
    );
    assert_caught(&found("see `reactor/gone/`"), "no file `reactor/gone/`");
    assert_caught(&found("see `gone.rs`"), "no file `gone.rs`");
}

#[test]
fn living_links_and_code_are_clean() {
    let found =
        |text: &str| markdown_findings(&File::sample("sample/page.md", text), &sample_tree());
    let links =
        "# One *and* two\n[a](../src/lib.rs) [b](#one-and-two) [c](https://example.org/x.rs)";
    let paths = "`reactor/src/turn.rs` `turn.rs` `src/` `Poll::poll` `/proc/self/stat` `a/b` `reactor/**/x.rs`";
    assert_clean(&found(&format!(
        "{links}\n{paths}\n```text\n`gone.rs` [x](gone.md)\n```\n"
    )));
}

#[test]
fn a_dead_path_in_a_comment_is_caught() {
    let found =
        |text: &str| comment_findings(&File::sample("reactor/src/a.rs", text), &sample_tree());
    assert_caught(&found("//! As `reactor/src/gone.rs` says."), "no file");
    assert_clean(&found(
        "//! As `reactor/src/turn.rs`, `src/turn.rs`, and the `sleep/README.md` of rayon say.\nlet a = \"`src/gone.rs`\";",
    ));
}

#[test]
fn banned_words_are_caught() {
    for word in BANNED {
        assert_caught(
            &word_findings(&File::sample("a.md", &format!("so {word} 1"))),
            "does not belong",
        );
    }
    assert_clean(&word_findings(&File::sample(
        "a.md",
        concat!("HA", "CKNEY, net", "wo", "rk/x, EXX", "X"),
    )));
}

#[test]
fn a_long_file_is_caught() {
    let long = File::sample("reactor/src/a.rs", &"fn f() {}\n".repeat(MOST_LINES));
    assert!(length_finding(&long).is_some());
    let tests = File::sample(
        "reactor/src/a.rs",
        &format!(
            "#[cfg(test)]\nmod tests {{\n{}}}\n",
            "fn f() {}\n".repeat(MOST_LINES)
        ),
    );
    assert!(length_finding(&tests).is_none());
}

#[test]
fn a_command_that_nobody_runs_is_caught() {
    let readme =
        "    cargo run --release --example enrich   # the job\n    cargo test --workspace\n";
    assert_clean(&command_findings(
        readme,
        "step cargo test --workspace\nstep cargo run --release --example enrich -- --json\n",
    ));
    assert_caught(
        &command_findings(readme, "cargo test\ncargo run --release --example enrich\n"),
        "cargo test --workspace",
    );
    assert_caught(
        &command_findings("no commands", ""),
        "must name the command",
    );
}
