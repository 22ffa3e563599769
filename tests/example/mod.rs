//! Where the examples are that tests run as processes of their own.

use std::path::PathBuf;

/// Examples are built beside the folder of this test's own program.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(
        program.exists(),
        "{} is not built; `cargo build --example {name}` builds it",
        program.display()
    );
    program
}
