//! Who knows whom: the directions between the crates, and what a user's dependency tree gets.

use crate::tree::{self, File};
use crate::{assert_caught, assert_clean};
use std::collections::BTreeSet;
use std::process::Command;

/// What a manifest must not name, in any of its dependency tables.
const MUST_NOT_KNOW: [(&str, &[&str]); 3] = [
    (
        "reactor/Cargo.toml",
        &["peu", "peu-scheduler", "peu-operators"],
    ),
    (
        "scheduler/Cargo.toml",
        &[
            "peu",
            "peu-reactor",
            "peu-operators",
            "mio",
            "libc",
            "socket2",
        ],
    ),
    (
        "operators/Cargo.toml",
        &[
            "peu",
            "peu-reactor",
            "peu-scheduler",
            "mio",
            "libc",
            "socket2",
        ],
    ),
];

/// The only packages that may name both the reactor and the scheduler: the one that joins them, and the models of both.
const MAY_JOIN: [&str; 2] = ["Cargo.toml", "loom-tests/Cargo.toml"];

/// The most crates that `cargo tree -e normal -p peu` may list: what a reader can still look through in an afternoon.
const MOST_CRATES: usize = 20;

fn direction_findings(manifest: &File) -> Vec<String> {
    let names = dependencies(&manifest.text);
    let mut findings: Vec<String> = MUST_NOT_KNOW
        .iter()
        .filter(|(path, _)| *path == manifest.path)
        .flat_map(|(_, forbidden)| forbidden.iter().filter(|name| names.contains(**name)))
        .map(|name| format!("{}: must not know {name}", manifest.path))
        .collect();
    let joins = names.contains("peu-reactor") && names.contains("peu-scheduler");
    if joins && !MAY_JOIN.contains(&manifest.path.as_str()) {
        findings.push(format!(
            "{}: only the root package joins the reactor and the scheduler",
            manifest.path
        ));
    }
    findings
}

/// The names in the dependency tables of a manifest (normal, dev, build, per target), the workspace's own table aside.
fn dependencies(manifest: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            inside = table.ends_with("dependencies") && !table.starts_with("workspace");
            // A dependency may have a table of its own: [dependencies.mio].
            if let Some((parent, name)) = table
                .rsplit_once('.')
                .filter(|(parent, _)| parent.ends_with("dependencies"))
            {
                names.extend((!parent.starts_with("workspace")).then_some(name));
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            names.extend(line.split(['.', '=', ' ']).next());
        }
    }
    names
}

fn inheritance_findings(manifest: &File) -> Vec<String> {
    let has_package = manifest.text.lines().any(|line| line == "[package]");
    [
        "edition.workspace = true",
        "rust-version.workspace = true",
        "license.workspace = true",
        "[lints]\nworkspace = true",
    ]
    .iter()
    .filter(|line| has_package && !manifest.text.contains(**line))
    .map(|line| {
        format!(
            "{}: the workspace decides this: write {line:?}",
            manifest.path
        )
    })
    .collect()
}

/// `tree` is the output of `cargo tree --prefix none`: one crate a line, repeats marked by a star.
fn tree_findings(tree: &str) -> Vec<String> {
    let crates: BTreeSet<&str> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    let mut findings = Vec::new();
    if crates.len() > MOST_CRATES {
        findings.push(format!(
            "a user gets {} crates, at most {MOST_CRATES} are allowed:\n{tree}",
            crates.len()
        ));
    }
    if crates.iter().any(|name| name.starts_with("tokio")) {
        findings.push("a user's tree must not contain tokio".to_owned());
    }
    findings
}

fn manifests() -> impl Iterator<Item = File> {
    tree::files()
        .into_iter()
        .filter(|file| file.path.ends_with("Cargo.toml"))
}

#[test]
fn each_crate_knows_only_what_it_may() {
    assert_clean(
        &manifests()
            .flat_map(|manifest| direction_findings(&manifest))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_package_inherits_from_the_workspace() {
    assert_clean(
        &manifests()
            .flat_map(|manifest| inheritance_findings(&manifest))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn a_user_gets_few_crates_and_never_tokio() {
    let cargo = std::env::var("CARGO").expect("cargo sets CARGO for the tests that it runs");
    let arguments = [
        "tree",
        "-e",
        "normal",
        "-p",
        "peu",
        "--prefix",
        "none",
        "--offline",
        "--locked",
    ];
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(tree::root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8(output.stdout).expect("cargo tree writes UTF-8");
    assert!(tree.starts_with("peu v"), "the tree starts at peu: {tree}");
    assert_clean(&tree_findings(&tree));
}

#[test]
fn a_forbidden_dependency_is_caught_in_every_kind_of_table() {
    for table in [
        "[dependencies]\nmio = \"1\"",
        "[dev-dependencies]\nmio.workspace = true",
        "[dependencies.mio]\nversion = \"1\"",
        "[target.'cfg(loom)'.dependencies]\nmio = { version = \"1\" }",
    ] {
        assert_caught(
            &direction_findings(&File::sample("scheduler/Cargo.toml", table)),
            "must not know mio",
        );
    }
    let description =
        "[package]\ndescription = \"no mio here\"\n[workspace.dependencies]\nmio = \"1\"\n";
    assert_clean(&direction_findings(&File::sample(
        "scheduler/Cargo.toml",
        description,
    )));
}

#[test]
fn a_second_joiner_is_caught() {
    let manifest = "[dependencies]\npeu-reactor.workspace = true\npeu-scheduler.workspace = true\n";
    assert_caught(
        &direction_findings(&File::sample("benches/Cargo.toml", manifest)),
        "joins",
    );
}

#[test]
fn a_package_with_an_edition_of_its_own_is_caught() {
    let manifest = "[package]\nedition = \"2021\"\nrust-version.workspace = true\nlicense.workspace = true\n[lints]\nworkspace = true\n";
    assert_caught(
        &inheritance_findings(&File::sample("reactor/Cargo.toml", manifest)),
        "edition",
    );
}

#[test]
fn a_long_tree_and_tokio_are_caught() {
    let long: String = (0..=MOST_CRATES)
        .map(|n| format!("crate{n} v1.0.0\ncrate{n} v1.0.0 (*)\n"))
        .collect();
    assert_caught(&tree_findings(&long), "21 crates");
    assert_caught(&tree_findings("peu v0.1.0\ntokio v1.0.0\n"), "tokio");
}
