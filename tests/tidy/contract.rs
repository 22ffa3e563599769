//! The operators' contract is a list of behaviours, each with an id, and each is shown by tests that have the id in their names.
//!
//! The rows themselves are told where they are tested. Here are only their ids, so that no change takes a test away unseen.

use crate::tree::{self, File};
use crate::{assert_caught, assert_clean};

/// Each family and how many rows it has: order, timeouts, retries, errors, checkpoints, look-up cache, batches, sinks, adaptive
/// concurrency, and defects of the reference.
const FAMILIES: [(&str, u32); 10] = [
    ("a", 14),
    ("t", 6),
    ("r", 8),
    ("e", 4),
    ("c", 7),
    ("l", 5),
    ("b", 5),
    ("s", 6),
    ("d", 4),
    ("x", 12),
];

fn ids() -> impl Iterator<Item = String> {
    FAMILIES.iter().flat_map(|(family, rows)| {
        (1..=*rows).map(move |row| match *family {
            "x" => format!("x{row}_"),
            _ => format!("{family}{row:02}_"),
        })
    })
}

/// The names of functions right behind `#[test]`, or behind further attributes.
fn tests(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[test]").skip(1).filter_map(|behind| {
        let (_, name) = behind.split_once("fn ")?;
        name.split('(').next()
    })
}

fn findings(files: &[File]) -> Vec<String> {
    let names: Vec<&str> = files
        .iter()
        .filter(|file| file.path.starts_with("operators/") || file.path.starts_with("tests/"))
        .flat_map(|file| tests(&file.text))
        .collect();
    let shows = |name: &str, id: &str| name.starts_with(id) || name.contains(&format!("_{id}"));
    ids()
        .filter(|id| !names.iter().any(|name| shows(name, id)))
        .map(|id| {
            format!(
                "no test shows row {}: name one fn {id}…",
                id.trim_end_matches('_')
            )
        })
        .collect()
}

#[test]
fn each_row_of_the_operators_contract_has_a_test() {
    assert_clean(&findings(&tree::files()));
}

#[test]
fn a_row_without_a_test_is_found() {
    let all: String = ids()
        .map(|id| format!("#[test]\nfn {id}holds() {{\n"))
        .collect();
    let findings_in = |text: String| findings(&[File::sample("operators/tests/rows.rs", &text)]);
    assert_clean(&findings_in(all.clone()));
    assert_clean(&findings_in(all.replace("fn x8_", "fn c03_x8_")));
    assert_caught(&findings_in(all.replace("fn t06_", "fn ")), "t06");
    assert_caught(&findings_in(all.replace("fn x1_", "fn x11_")), "x1");
}
