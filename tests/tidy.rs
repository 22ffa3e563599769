//! The style law: what STYLE.md and ARCHITECTURE.md state, checked on every file of the repository.
//!
//! A rule is a function from text to findings (`file:line: what is wrong, what to do`). Each rule has two tests: the
//! real tree has no finding, and a small bad sample has one, because a rule that can't fail proves nothing.
//!
//! | module | the rules in it |
//! |---|---|
//! | `tree` | which files there are |
//! | `rust` | code, comments and strings told apart, line by line |
//! | `dependencies` | who knows whom; how many crates a user gets |
//! | `unsafety` | where `unsafe` lives, and that each use says why it holds |
//! | `ordering` | that each atomic operation says what it pairs with |
//! | `models` | that each model can fail |
//! | `contract` | that each row of the operators' contract has a test |
//! | `ledger` | that whatever threads share has a protocol and a model, or a reason for none |
//! | `prose` | links, paths, words, commands and lengths of files |

#[path = "tidy/contract.rs"]
mod contract;
#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/ledger.rs"]
mod ledger;
#[path = "tidy/models.rs"]
mod models;
#[path = "tidy/ordering.rs"]
mod ordering;
#[path = "tidy/prose.rs"]
mod prose;
#[path = "tidy/rust.rs"]
mod rust;
#[path = "tidy/tree.rs"]
mod tree;
#[path = "tidy/unsafety.rs"]
mod unsafety;

/// Fails with every finding at once, so that one run shows all there is to mend.
#[track_caller]
fn assert_clean(findings: &[String]) {
    assert!(
        findings.is_empty(),
        "{} findings:\n  {}",
        findings.len(),
        findings.join("\n  ")
    );
}

/// Asserts that a bad sample has exactly one finding, and that the finding speaks of `about`.
#[track_caller]
fn assert_caught(findings: &[String], about: &str) {
    assert!(
        findings.len() == 1 && findings[0].contains(about),
        "expected one finding about {about:?}: {findings:#?}"
    );
}
