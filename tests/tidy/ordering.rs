//! Each atomic operation says what it pairs with.
//!
//! The rule, as STYLE.md states it: an `// ORDERING:` comment stands on the operation's own lines, or above it in the
//! same paragraph with at most [`REACH`] lines of code between. A counter that is only ever Relaxed may say so once, at
//! its field, its static or its struct. Tests are exempt.

use crate::rust::{self, Line};
use crate::tree::{self, File};
use crate::{assert_caught, assert_clean};
use std::collections::{BTreeMap, BTreeSet};

/// How many lines of code a comment reaches over: a load, a test of it and the compare-exchange that follows.
const REACH: usize = 6;

const METHODS: [&str; 6] = [
    ".load",
    ".store",
    ".swap",
    ".fetch_",
    ".compare_exchange",
    ".compare_and_swap",
];
const FENCES: [&str; 2] = ["fence", "compiler_fence"];
const ORDERINGS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

/// One atomic operation in a file.
struct Operation {
    /// Index of its first line and of the line that closes its arguments.
    first: usize,
    last: usize,
    /// The field, static or variable that it is called on; empty for a fence.
    on: String,
    relaxed_only: bool,
}

fn findings(file: &File, counters: &BTreeSet<String>) -> Vec<String> {
    let lines = rust::lines(&file.text);
    let lines = rust::without_unit_tests(&lines);
    operations(lines)
        .iter()
        .filter(|operation| !(operation.relaxed_only && counters.contains(&operation.on)))
        .filter(|operation| !says_why(lines, operation))
        .map(|operation| {
            format!(
                "{}:{}: atomic operation without an ORDERING comment that names its partner",
                file.path,
                operation.first + 1
            )
        })
        .collect()
}

fn operations(lines: &[Line]) -> Vec<Operation> {
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        for at in calls(&line.code) {
            let (arguments, length) = arguments(&lines[first..], at);
            let named: Vec<&str> = ORDERINGS
                .into_iter()
                .filter(|name| rust::words(&arguments, name).next().is_some())
                .collect();
            // An ordering chosen before (`let order = …`) counts as one.
            let chosen = ["order", "ordering"]
                .iter()
                .any(|name| rust::words(&arguments, name).next().is_some());
            if !named.is_empty() || chosen {
                let relaxed_only = named == ["Relaxed"] && !chosen;
                found.push(Operation {
                    first,
                    last: first + length,
                    on: receiver(lines, first, at),
                    relaxed_only,
                });
            }
        }
    }
    found
}

/// Where the names of the calls in `code` begin that may be atomic operations.
fn calls(code: &str) -> Vec<usize> {
    let methods = METHODS
        .iter()
        .flat_map(|name| code.match_indices(name).map(|(at, _)| at));
    let fences = FENCES.iter().flat_map(|name| rust::words(code, name));
    methods
        .chain(fences)
        .filter(|&at| {
            let name = code[at..].trim_start_matches('.');
            name.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
                .starts_with('(')
        })
        .collect()
}

/// The text between the parentheses of the call at `at` in the first line, and how many lines further it ends.
fn arguments(lines: &[Line], at: usize) -> (String, usize) {
    let (mut text, mut depth) = (String::new(), 0);
    for (index, line) in lines.iter().enumerate() {
        for c in line.code[if index == 0 { at } else { 0 }..].chars() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            if c == ')' && depth == 0 {
                return (text, index);
            }
            text.push(c);
        }
        text.push(' ');
    }
    (text, lines.len() - 1)
}

/// The last name before the call: `turns` in `self.counters.turns.fetch_add(…)`, on this line or at the end of the one above.
fn receiver(lines: &[Line], first: usize, at: usize) -> String {
    let before = &lines[first].code[..at];
    let before = match before.trim() {
        "" if first > 0 => &lines[first - 1].code,
        _ => before,
    };
    let name = before
        .trim_end()
        .rsplit(|c: char| !(c.is_alphanumeric() || c == '_'))
        .next();
    name.unwrap_or_default().to_owned()
}

fn says_why(lines: &[Line], operation: &Operation) -> bool {
    let marked = |line: &Line| line.comment.contains("ORDERING:");
    if lines[operation.first..=operation.last].iter().any(marked) {
        return true;
    }
    let mut reach = REACH;
    for pair in lines[..=operation.first].windows(2).rev() {
        let (above, below) = (&pair[0], &pair[1]);
        let begins_function = rust::words(&below.code, "fn").next().is_some();
        if begins_function || above.is_blank() {
            return false;
        }
        if marked(above) {
            return true;
        }
        if !above.is_comment() {
            if reach == 0 {
                return false;
            }
            reach -= 1;
        }
    }
    false
}

/// The names of fields and statics that are declared, with one ORDERING comment, as only ever Relaxed.
fn counters(file: &File) -> BTreeSet<String> {
    let lines = rust::lines(&file.text);
    let says_relaxed = |at: usize| {
        let above = lines[..at]
            .iter()
            .rev()
            .take_while(|line| line.is_comment() || line.is_attribute());
        let comment: String = above.map(|line| line.comment.as_str()).collect();
        comment.contains("ORDERING:") && comment.contains("Relaxed")
    };
    let mut names = BTreeSet::new();
    let mut struct_says = false;
    for (at, line) in lines.iter().enumerate() {
        if rust::words(&line.code, "struct").next().is_some() {
            struct_says = says_relaxed(at);
        } else if line.code.starts_with('}') {
            struct_says = false;
        }
        if let Some(name) = declared_atomic(&line.code).filter(|_| struct_says || says_relaxed(at))
        {
            names.insert(name.to_owned());
        }
    }
    names
}

/// The name in a declaration such as `pub turns: AtomicU64,` or `static NEXT: AtomicU64 = …`.
fn declared_atomic(code: &str) -> Option<&str> {
    let (name, rest) = code.split_once(": ")?;
    let name = name.trim().rsplit(' ').next()?;
    rest.contains("Atomic").then_some(name)
}

#[test]
fn each_atomic_operation_says_what_it_pairs_with() {
    let core: Vec<File> = tree::files().into_iter().filter(File::is_core).collect();
    let crate_of = |file: &File| file.path.split('/').next().unwrap_or_default().to_owned();
    let mut counters_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in &core {
        counters_of
            .entry(crate_of(file))
            .or_default()
            .extend(counters(file));
    }
    assert_clean(
        &core
            .iter()
            .flat_map(|file| findings(file, &counters_of[&crate_of(file)]))
            .collect::<Vec<_>>(),
    );
}

fn found(text: &str) -> Vec<String> {
    let file = File::sample("a.rs", text);
    findings(&file, &counters(&file))
}

#[test]
fn an_atomic_operation_without_a_partner_is_caught() {
    for bad in [
        "fn f() {\n    self.state.load(Acquire);\n}",
        "fn f() {\n    fence(Ordering::SeqCst);\n}",
        "fn f() {\n    state\n        .compare_exchange(\n            a,\n            b,\n            AcqRel,\n            Acquire,\n        );\n}",
        "fn f() {\n    let order = pick();\n    state.store(1, order);\n}",
        "fn f() {\n    // ORDERING: of another paragraph.\n    a();\n\n    state.swap(1, AcqRel);\n}",
        "// ORDERING: of the function.\nfn f() {\n    state.swap(1, AcqRel);\n}",
        "fn f() {\n    // ORDERING: too far.\n    a();\n    a();\n    a();\n    a();\n    a();\n    a();\n    a();\n    state.load(Acquire);\n}",
        "// ORDERING: Relaxed, a counter.\nstruct A {\n    n: AtomicU64,\n}\nfn f() { a.n.load(Acquire) }",
        "struct A {\n    n: AtomicU64,\n}\nfn f() { a.n.load(Relaxed) }",
    ] {
        assert_caught(&found(bad), "without an ORDERING comment");
    }
}

#[test]
fn explained_operations_counters_and_tests_are_clean() {
    for good in [
        "fn f() {\n    // ORDERING: pairs with the store in g.\n    self.state.load(Acquire);\n}",
        "fn f() {\n    self.state.load(Acquire); // ORDERING: pairs with g.\n}",
        "fn f() {\n    // ORDERING: both pair with g.\n    let a = self.head.load(Acquire);\n    let b = self.tail.load(Acquire);\n}",
        "// ORDERING: Relaxed, counters that order nothing.\nstruct A {\n    n: AtomicU64,\n}\nfn f() { a.n.load(Relaxed) }",
        "// ORDERING: Relaxed, only unique.\nstatic NEXT: AtomicU64 = AtomicU64::new(1);\nfn f() { NEXT.fetch_add(1, Relaxed) }",
        "#[cfg(test)]\nmod tests {\n    fn f() { a.load(SeqCst) }\n}",
        "fn f() { slots.swap(1, 2); config.load(path); }",
    ] {
        assert_clean(&found(good));
    }
}
