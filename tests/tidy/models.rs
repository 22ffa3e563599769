//! A model proves something only if it can fail: each has twins, and each twin is a rule that the code can leave out.
//!
//! `cargo xtask loom` runs them. Here only the names are compared, so that neither side is forgotten.

use crate::tree::{self, File};
use crate::{assert_caught, assert_clean};

fn findings(files: &[File]) -> Vec<String> {
    let models: Vec<&File> = files.iter().filter(|file| is_model(file)).collect();
    let core: Vec<&File> = files.iter().filter(|file| file.is_core()).collect();
    let listed: Vec<(&str, &str)> = models
        .iter()
        .flat_map(|model| twins(model).map(|twin| (model.path.as_str(), twin)))
        .collect();
    let asked: Vec<(&str, &str)> = core
        .iter()
        .flat_map(|file| questions(file).map(|twin| (file.path.as_str(), twin)))
        .collect();

    let bare = models
        .iter()
        .filter(|model| twins(model).next().is_none())
        .map(|model| {
            format!(
                "{}: a model without a twin (`//! twin: name`) proves nothing",
                model.path
            )
        });
    let unasked = listed
        .iter()
        .filter(|(_, twin)| !asked.iter().any(|(_, name)| name == twin))
        .map(|(path, twin)| format!("{path}: no code asks for the twin {twin}"));
    let unlisted = asked
        .iter()
        .filter(|(_, twin)| !listed.iter().any(|(_, name)| name == twin))
        .map(|(path, twin)| format!("{path}: no model lists the twin {twin}"));
    bare.chain(unasked).chain(unlisted).collect()
}

fn is_model(file: &File) -> bool {
    let name = file.path.strip_prefix("loom-tests/tests/");
    name.is_some_and(|name| name.ends_with(".rs") && !name.contains('/'))
}

fn twins(model: &File) -> impl Iterator<Item = &str> {
    model
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("//! twin: "))
}

/// The names in `twin("…")`.
fn questions(file: &File) -> impl Iterator<Item = &str> {
    file.text
        .split("twin(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
}

#[test]
fn each_model_has_twins_and_each_twin_a_model() {
    assert_clean(&findings(&tree::files()));
}

#[test]
fn a_model_or_a_twin_that_stands_alone_is_caught() {
    let model = |twins: &str| File::sample("loom-tests/tests/ring.rs", twins);
    let code = |code: &str| File::sample("scheduler/src/ring.rs", code);
    assert_caught(&findings(&[model("//! The ring.")]), "proves nothing");
    assert_caught(
        &findings(&[model("//! twin: a\n"), code("fn f() {}")]),
        "no code asks for the twin a",
    );
    assert_caught(
        &findings(&[model("//! twin: a\n"), code("twin(\"a\") || twin(\"b\")")]),
        "no model lists the twin b",
    );
    assert_clean(&findings(&[
        model("//! twin: a\n"),
        code("if twin(\"a\") {}"),
    ]));
}
