//! Runs the models of loom-tests/tests, and shows that each of them can fail.
//!
//! A model explores every interleaving of a protocol's threads (up to a bound of preemptions). A model that passes proves
//! nothing by itself: it may look in the wrong place. So each names its *twins* at the top of its file:
//!
//! ```text
//! //! twin: ring-relaxed-publish
//! //! limit: 300
//! ```
//!
//! A twin is the protocol with one rule removed, and the model must catch it. The code asks `sync::twin("…")`, which
//! only exists under `cfg(loom)` and reads the environment, so that all twins are one build. A twin counts as caught
//! when a test fails by a panic: an assertion, or loom's report of a deadlock, a leak or a data race. A crash, exploring
//! without an end, running into the time limit or passing is no catch; nor is a name that no code asks for, since then
//! nothing changes.

mod report;

use crate::Result;
use crate::cargo::{root, target};
use crate::explorer::build;
use report::{Explored, Verdict, judge};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long one run of a model may take unless its file says otherwise: on two cores, all of them stay within minutes.
const LIMIT: Duration = Duration::from_secs(120);

/// How often a running model is looked at. Coarse, because it competes with the model for the same cores.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A model: one file of loom-tests/tests.
#[derive(Debug, PartialEq)]
struct Model {
    name: String,
    twins: Vec<String>,
    limit: Duration,
}

/// Runs the models named in `only`, or all of them, and prints a row for each run.
pub(crate) fn run(only: &[&str]) -> Result<()> {
    let models = chosen(models()?, only)?;
    let binaries = build("loom", "--tests")?;
    let logs = target("loom").join("logs");
    fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;

    println!(
        "{:<40} {:>13} {:>11} {:>8}  verdict",
        "model, twin", "interleavings", "preemptions", "seconds"
    );
    let mut wrong = 0;
    for model in &models {
        let binary = find(&binaries, &model.name)?;
        let runs = std::iter::once(None).chain(model.twins.iter().map(Some));
        for twin in runs {
            wrong += usize::from(!run_one(model, twin, binary, &logs)?);
        }
    }
    match wrong {
        0 => Ok(()),
        wrong => Err(format!(
            "{wrong} runs did not end as they must; their output is in {}",
            logs.display()
        )),
    }
}

/// One run of a model, as it is or as one of its twins; whether it ended as it must.
fn run_one(model: &Model, twin: Option<&String>, binary: &Path, logs: &Path) -> Result<bool> {
    let name = twin.map_or(model.name.clone(), |twin| format!("{}, {twin}", model.name));
    let log = logs.join(format!("{}.log", name.replace(", ", ".")));
    let begin = Instant::now();
    let status = finish(start(binary, twin, &log)?, model.limit, &log)?;
    let seconds = begin.elapsed();
    let text = fs::read_to_string(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let verdict = judge(
        status.as_ref().map(ExitStatus::success),
        status.and_then(|status| status.signal()),
        &text,
    );
    let right = matches!(
        (&verdict, twin),
        (Verdict::Passed, None) | (Verdict::Caught(_), Some(_))
    );
    let mark = if right { "ok" } else { "WRONG" };
    let (interleavings, preemptions) =
        Explored::of(&text, matches!(verdict, Verdict::Passed)).columns();
    println!(
        "{name:<40} {interleavings:>13} {preemptions:>11} {:>8.1}  {mark}: {verdict}",
        seconds.as_secs_f64()
    );
    Ok(right)
}

fn start(binary: &Path, twin: Option<&String>, log: &Path) -> Result<Child> {
    let cannot = |error| format!("cannot run {}: {error}", binary.display());
    let output = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let mut command = Command::new(binary);
    command
        .arg("--nocapture")
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(cannot)?)
        .stderr(output);
    command
        .env_remove("PEU_TWIN")
        .envs(twin.map(|twin| ("PEU_TWIN", twin)));
    command.spawn().map_err(cannot)
}

/// Waits until the model ends, until its first test fails (the others have nothing to add), or until the limit, which
/// is `None`.
fn finish(mut model: Child, limit: Duration, log: &Path) -> Result<Option<ExitStatus>> {
    let begin = Instant::now();
    loop {
        if let Some(status) = model.try_wait().map_err(|error| error.to_string())? {
            return Ok(Some(status));
        }
        let failed = fs::read_to_string(log).is_ok_and(|text| report::has_failed(&text));
        if failed || begin.elapsed() > limit {
            // It may have ended in between: then there is nothing to kill, and its status is its own.
            let _ = model.kill();
            let status = model.wait().map_err(|error| error.to_string())?;
            return Ok(failed.then_some(status));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// The program of the model `name`: cargo names it `<name>-<hash>`.
fn find<'a>(binaries: &'a [PathBuf], name: &str) -> Result<&'a PathBuf> {
    let is_it = |path: &&PathBuf| {
        let file = path
            .file_name()
            .and_then(|file| file.to_str())
            .unwrap_or_default();
        file.rsplit_once('-').is_some_and(|(stem, _)| stem == name)
    };
    binaries
        .iter()
        .find(is_it)
        .ok_or_else(|| format!("cargo built no program for the model {name}"))
}

/// Every model, by the files in loom-tests/tests.
fn models() -> Result<Vec<Model>> {
    let folder = root().join("loom-tests/tests");
    let entries =
        fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    paths.sort();
    paths.iter().map(|path| model(path)).collect()
}

fn model(path: &Path) -> Result<Model> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let name = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    parse(name, &text).map_err(|why| format!("{}: {why}", path.display()))
}

fn parse(name: &str, text: &str) -> Result<Model> {
    let values = |key: &'static str| {
        text.lines().filter_map(move |line| {
            line.strip_prefix("//! ")?
                .strip_prefix(key)?
                .strip_prefix(": ")
                .map(str::trim)
        })
    };
    let twins: Vec<String> = values("twin").map(str::to_owned).collect();
    if twins.is_empty() {
        return Err("a model without a twin (`//! twin: name`) proves nothing".to_owned());
    }
    let limit = match values("limit").next() {
        None => LIMIT,
        Some(seconds) => Duration::from_secs(
            seconds
                .parse()
                .map_err(|_| format!("{seconds:?} are no seconds"))?,
        ),
    };
    Ok(Model {
        name: name.to_owned(),
        twins,
        limit,
    })
}

fn chosen(models: Vec<Model>, only: &[&str]) -> Result<Vec<Model>> {
    if let Some(unknown) = only
        .iter()
        .find(|name| !models.iter().any(|model| model.name == **name))
    {
        return Err(format!("there is no model {unknown} in loom-tests/tests"));
    }
    Ok(models
        .into_iter()
        .filter(|model| only.is_empty() || only.contains(&model.name.as_str()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_names_its_twins_and_its_limit() {
        let text =
            "#![cfg(loom)]\n//! The ring.\n//!\n//! twin: one\n//! limit: 300\n//! twin: two\n";
        let twins = vec!["one".to_owned(), "two".to_owned()];
        assert_eq!(
            parse("ring", text),
            Ok(Model {
                name: "ring".to_owned(),
                twins,
                limit: Duration::from_secs(300)
            })
        );
    }

    #[test]
    fn a_model_without_a_twin_or_with_a_strange_limit_is_refused() {
        assert!(
            parse("ring", "//! The ring.")
                .unwrap_err()
                .contains("proves nothing")
        );
        assert!(
            parse("ring", "//! twin: a\n//! limit: soon")
                .unwrap_err()
                .contains("no seconds")
        );
    }

    #[test]
    fn an_unknown_model_is_refused() {
        assert!(
            chosen(Vec::new(), &["ring"])
                .unwrap_err()
                .contains("no model ring")
        );
    }

    #[test]
    fn a_program_is_found_by_its_whole_name() {
        let binaries = [
            PathBuf::from("/t/deps/ring_steal-0a"),
            PathBuf::from("/t/deps/ring-1b"),
        ];
        assert_eq!(find(&binaries, "ring"), Ok(&binaries[1]));
        assert!(find(&binaries, "steal").is_err());
    }
}
