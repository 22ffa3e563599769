//! Where `unsafe` lives, and that each use says why it holds.
//!
//! ARCHITECTURE.md has a table `| file | why |` under the heading "Where unsafe lives". A file with `unsafe` is in it, a
//! file in it has `unsafe`, and a crate without any forbids it at its root.

use crate::rust::{self, Line};
use crate::tree::{self, File};
use crate::{assert_caught, assert_clean};
use std::collections::BTreeMap;

const HEADING: &str = "Where unsafe lives";

fn place_findings(files: &[File], architecture: &str) -> Vec<String> {
    let listed = listed(architecture);
    let users: Vec<&str> = files
        .iter()
        .filter(|file| uses_unsafe(file))
        .map(|file| file.path.as_str())
        .collect();
    let unlisted = users
        .iter()
        .filter(|path| !listed.contains_key(**path))
        .map(|path| {
            format!("{path}: has unsafe code, and no row in ARCHITECTURE.md under {HEADING:?}")
        });
    let stale = listed
        .keys()
        .filter(|path| !users.contains(path))
        .map(|path| {
            format!("ARCHITECTURE.md: {path} has no unsafe code, or is gone: remove its row")
        });
    let unreasoned = listed
        .iter()
        .filter(|(_, why)| why.is_empty())
        .map(|(path, _)| format!("ARCHITECTURE.md: the row of {path} says no reason"));
    unlisted.chain(stale).chain(unreasoned).collect()
}

/// The rows of the table: path and reason.
fn listed(architecture: &str) -> BTreeMap<&str, &str> {
    let section = architecture
        .lines()
        .skip_while(|line| !(line.starts_with('#') && line.ends_with(HEADING)))
        .skip(1);
    section
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(path, why)| (path, why.trim_end_matches('|').trim()))
        .collect()
}

fn uses_unsafe(file: &File) -> bool {
    // The plain search spares most files the lexer.
    file.is_rust()
        && file.text.contains("unsafe")
        && rust::lines(&file.text)
            .iter()
            .any(|line| rust::words(&line.code, "unsafe").next().is_some())
}

/// A crate's root must forbid what no file of the crate needs.
fn forbid_findings(files: &[File]) -> Vec<String> {
    let is_root =
        |file: &&File| file.path.ends_with("src/lib.rs") || file.path.ends_with("src/main.rs");
    let needs_none = |root: &&File| {
        let folder = root.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        !files
            .iter()
            .any(|file| file.path.starts_with(&format!("{folder}/")) && uses_unsafe(file))
    };
    files
        .iter()
        .filter(is_root)
        .filter(needs_none)
        .filter(|root| !root.text.contains("#![forbid(unsafe_code)]"))
        .map(|root| {
            format!(
                "{}: needs no unsafe code: say #![forbid(unsafe_code)]",
                root.path
            )
        })
        .collect()
}

fn comment_findings(file: &File) -> Vec<String> {
    let lines = rust::lines(&file.text);
    let uses = (0..lines.len()).filter(|&at| needs_a_reason(&lines[at].code));
    uses.filter(|&at| !says_why(&lines, at))
        .map(|at| {
            format!(
                "{}:{}: unsafe without a SAFETY comment (or a # Safety section) directly above",
                file.path,
                at + 1
            )
        })
        .collect()
}

/// A block, an impl, a trait and a function that others may call are claims. The type of a function pointer is none, and
/// a private function has its callers in sight: what it does itself stands in blocks, each with a reason of its own.
fn needs_a_reason(code: &str) -> bool {
    rust::words(code, "unsafe").any(|at| {
        let after = code[at + "unsafe".len()..].trim_start();
        let is_function = rust::words(after, "fn").next() == Some(0);
        let is_attribute = after.starts_with('(');
        if is_function {
            code.trim_start().starts_with("pub") && !is_pointer(after)
        } else {
            !is_attribute
        }
    })
}

/// `fn(…)`, as opposed to `fn name(…)`.
fn is_pointer(code: &str) -> bool {
    code["fn".len()..].trim_start().starts_with('(')
}

/// Looks at the line itself, then upwards over attributes and the beginning of the same statement to the comment there.
fn says_why(lines: &[Line], at: usize) -> bool {
    let marked =
        |line: &Line| line.comment.contains("SAFETY:") || line.comment.contains("# Safety");
    if marked(&lines[at]) {
        return true;
    }
    let mut above = lines[..at].iter().rev().skip_while(|line| {
        let code = line.code.trim_end();
        line.is_attribute() || !(code.is_empty() || code.ends_with([';', '{', '}', ',']))
    });
    above
        .by_ref()
        .take_while(|line| line.is_comment())
        .any(marked)
}

#[test]
fn unsafe_code_lives_where_the_architecture_says() {
    assert_clean(&place_findings(
        &tree::files(),
        &tree::text("ARCHITECTURE.md"),
    ));
}

#[test]
fn crates_without_unsafe_code_forbid_it() {
    assert_clean(&forbid_findings(&tree::files()));
}

#[test]
fn the_operators_forbid_unsafe_code() {
    assert!(tree::text("operators/src/lib.rs").contains("#![forbid(unsafe_code)]"));
}

#[test]
fn each_unsafe_says_why_it_holds() {
    let rust = tree::files().into_iter().filter(File::is_rust);
    assert_clean(
        &rust
            .flat_map(|file| comment_findings(&file))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn an_unlisted_a_stale_and_an_unreasoned_place_are_caught() {
    let table = |rows: &str| {
        format!(
            "## {HEADING}\n\n| file | why |\n|---|---|\n{rows}\n## Next\n| `b.rs` | not of the table |\n"
        )
    };
    let files = [
        File::sample("a.rs", "fn f() { unsafe { g() } }"),
        File::sample("b.rs", "// no unsafe here"),
    ];
    assert_caught(&place_findings(&files, &table("")), "a.rs: has unsafe code");
    assert_caught(
        &place_findings(&files, &table("| `a.rs` | because |\n| `b.rs` | because |")),
        "b.rs has no unsafe code",
    );
    assert_caught(
        &place_findings(&files, &table("| `a.rs` | |")),
        "says no reason",
    );
    assert_clean(&place_findings(&files, &table("| `a.rs` | because |")));
}

#[test]
fn a_crate_that_could_forbid_unsafe_code_is_caught() {
    let root = File::sample("x/src/lib.rs", "//! A crate.");
    assert_caught(
        &forbid_findings(&[root]),
        "x/src/lib.rs: needs no unsafe code",
    );
    let with_use = [
        File::sample("x/src/lib.rs", ""),
        File::sample("x/src/a.rs", "unsafe fn f() {}"),
    ];
    assert_clean(&forbid_findings(&with_use));
}

#[test]
fn an_unsafe_without_a_reason_is_caught() {
    for bad in [
        "fn f() {\n    unsafe { g() };\n}",
        "// SAFETY: of another statement\nlet a = 1;\nlet b = unsafe { g() };",
        "// SAFETY: too far away\n\nunsafe impl Send for X {}",
        "/// Does things.\npub unsafe fn f() {}",
    ] {
        assert_caught(
            &comment_findings(&File::sample("a.rs", bad)),
            "without a SAFETY comment",
        );
    }
    for good in [
        "// SAFETY: the slot is ours,\n// as the state says.\nunsafe { g() };",
        "// SAFETY: so.\nlet value =\n    unsafe { g() };",
        "/// # Safety\n/// The pointer is valid.\n#[inline]\npub unsafe fn f() {}",
        "struct VTable {\n    pub run: unsafe fn(*const ()),\n}",
        "unsafe fn private() {}",
        "let a = unsafe { g() }; // SAFETY: so.",
    ] {
        assert_clean(&comment_findings(&File::sample("a.rs", good)));
    }
}
