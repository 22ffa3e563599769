//! A model proves something only if it can fail: each has twins, and each twin is a rule that the code can leave out.
//!
//! `cargo xtask loom` and `cargo xtask shuttle` run them. Here only the names are compared, so that neither side is forgotten;
//! and a model is run by loom-tests/src/explore.rs, which counts, and says why if it has a bound of its own.

use crate::tree::{self, File};
use crate::{assert_caught, assert_clean};

fn findings(files: &[File]) -> Vec<String> {
    let models: Vec<&File> = files.iter().filter(|file| is_model(file)).collect();
    let core = files.iter().filter(|file| file.is_core());
    // What only models call is not what they prove: a rule left out there shows nothing.
    let core: Vec<&File> = core.filter(|file| !is_for_models(file)).collect();
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
    let uncounted = models
        .iter()
        .filter(|model| model.text.contains("loom::model"))
        .map(|model| {
            format!(
                "{}: run it by what loom-tests/src/explore.rs has, which counts",
                model.path
            )
        });
    let unreasoned = models
        .iter()
        .filter(|model| calls_bounded(model) && !model.text.contains("\n//! bound: "))
        .map(|model| {
            format!(
                "{}: a bound of its own, and no `//! bound: reason`",
                model.path
            )
        });
    bare.chain(unasked)
        .chain(unlisted)
        .chain(uncounted)
        .chain(unreasoned)
        .collect()
}

/// A door into a crate that only models open.
fn is_for_models(file: &File) -> bool {
    file.path.ends_with("/modelling.rs")
}

/// Whether it calls `bounded(…)` or `bounded_from_explore(…)`.
fn calls_bounded(model: &File) -> bool {
    ["bounded(", "bounded_from_explore("]
        .iter()
        .any(|call| model.text.contains(call))
}

/// A model of loom's, or a scenario of shuttle's.
fn is_model(file: &File) -> bool {
    let name = file.path.strip_prefix("loom-tests/tests/");
    let is_model = name.is_some_and(|name| name.ends_with(".rs") && !name.contains('/'));
    let is_part = file.path.starts_with("loom-tests/scenarios/");
    is_model || (is_part && file.text.contains("\ncrate::scenario!("))
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
    let door = File::sample("scheduler/src/modelling.rs", "twin(\"a\")");
    assert_caught(
        &findings(&[model("//! twin: a\n"), door]),
        "no code asks for the twin a",
    );
    let scenario = "//! A storm.\n\ncrate::scenario!(storm);\n";
    let scenario = File::sample("loom-tests/scenarios/storm.rs", scenario);
    assert_caught(&findings(&[scenario]), "proves nothing");
    assert_clean(&findings(&[
        model("//! twin: a\n"),
        code("if twin(\"a\") {}"),
    ]));
}

#[test]
fn a_model_that_is_not_counted_or_has_an_unreasoned_bound_is_caught() {
    let found = |model: &str| {
        let model = format!("//! twin: a\n{model}");
        findings(&[
            File::sample("loom-tests/tests/ring.rs", &model),
            File::sample("scheduler/src/ring.rs", "twin(\"a\")"),
        ])
    };
    assert_caught(&found("loom::model(|| ());"), "which counts");
    assert_caught(
        &found("loom::model::Builder::new().check(|| ());"),
        "which counts",
    );
    assert_caught(&found("bounded(2, || ());"), "a bound of its own");
    assert_clean(&found("//! bound: three take an hour.\nbounded(2, || ());"));
    assert_clean(&found("model(|| ());"));
}
