//! Runs the whole runtimes of loom-tests/scenarios in a great many orders, and shows that each scenario can fail.
//!
//! A scenario names its *twins*, as a model does (`//! twin: ring-steal-unverified`): the code with one rule removed, which
//! some order must bring to a failed assertion, a deadlock, a run without an end, or a crash, as broken `unsafe` code may come
//! to. Where a rule is an ordering of memory it is loom's to see, for here each step is seen by all at once.
//!
//! An order that fails is printed, and kept in a file. It is a whole run: which thread went on at each step, and the seed of
//! the scenario's own choices. To run it again, under a debugger say:
//!
//! ```text
//! cargo xtask shuttle --replay target/shuttle/logs/tree.schedule tree
//! cargo xtask shuttle --replay target/shuttle/logs/tree.idle-no-last-look.schedule tree idle-no-last-look
//! ```

use crate::Result;
use crate::cargo::{root, target};
use crate::explorer::{self, is_crash, panics};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

/// Orders of each kind for each scenario, unless the caller says otherwise: minutes on two cores.
const SCHEDULES: usize = 100_000;

/// How many times as many a twin has. Chance may miss the one order that it fails in, however many there are: of twenty
/// runs of `park-leave-by-store` in `tree`, which is caught latest, eight found nothing in 100,000. A twin that is caught
/// ends there, so that the others cost nothing.
const TWINS_TIMES: usize = 20;

/// A scenario: one file of loom-tests/scenarios with tests in it.
#[derive(Debug, PartialEq)]
struct Scenario {
    name: String,
    twins: Vec<String>,
}

/// How a run ended.
#[derive(Debug, PartialEq)]
enum Verdict {
    Passed,
    /// By a panic with this message, or a crash.
    Failed(String),
    /// Not by anything that a scenario may fail by.
    Unclear,
}

/// `[--schedules N] [SCENARIO…]`, or `--replay FILE SCENARIO [TWIN]`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    match *arguments {
        ["--replay", file, scenario] => replay(file, scenario, None),
        ["--replay", file, scenario, twin] => replay(file, scenario, Some(twin)),
        ["--schedules", schedules, ref only @ ..] => {
            let schedules = schedules.parse().ok().filter(|&number| number > 0);
            let schedules = schedules.ok_or("what follows --schedules is no number of orders")?;
            explore(schedules, only)
        }
        ref only => explore(SCHEDULES, only),
    }
}

/// Runs the scenarios named in `only`, or all of them, and prints a row for each run.
fn explore(schedules: usize, only: &[&str]) -> Result<()> {
    let scenarios = chosen(scenarios()?, only)?;
    let program = build()?;
    let logs = target("shuttle").join("logs");
    fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;
    println!(
        "at most {schedules} orders by chance and as many by priorities, of twins {TWINS_TIMES} times as many"
    );
    println!("{:<40} {:>8}  verdict", "scenario, twin", "seconds");
    let mut wrong = 0;
    for scenario in &scenarios {
        let twins = scenario.twins.iter().map(|twin| Some(twin.as_str()));
        for twin in std::iter::once(None).chain(twins) {
            let right = explore_one(&program, &scenario.name, twin, schedules, &logs)?;
            wrong += usize::from(!right);
        }
    }
    match wrong {
        0 => Ok(()),
        wrong => Err(format!("{wrong} runs did not end as they must")),
    }
}

/// One run of a scenario, as it is or as one of its twins; whether it ended as it must.
fn explore_one(
    program: &Path,
    scenario: &str,
    twin: Option<&str>,
    schedules: usize,
    logs: &Path,
) -> Result<bool> {
    let begin = Instant::now();
    let schedules = match twin {
        Some(_) => schedules.saturating_mul(TWINS_TIMES),
        None => schedules,
    };
    let output = start(program, scenario, twin)
        .env("PEU_SCHEDULES", schedules.to_string())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    let (verdict, text) = (judge(&output), text(&output));
    let right = match verdict {
        Verdict::Passed => twin.is_none(),
        Verdict::Failed(_) => twin.is_some(),
        Verdict::Unclear => false,
    };
    let name = twin.map_or(scenario.to_owned(), |twin| format!("{scenario}, {twin}"));
    let told = match &verdict {
        Verdict::Passed => "passed",
        // All who are blocked at a deadlock are a long list.
        Verdict::Failed(why) => why.split(" blocked tasks").next().unwrap_or(why),
        Verdict::Unclear => "failed without a panic",
    };
    let mark = if right { "ok" } else { "WRONG" };
    let seconds = begin.elapsed().as_secs_f64();
    println!("{name:<40} {seconds:>8.1}  {mark}: {told}");
    if !right {
        eprintln!("{text}");
    }
    if let Some(schedule) = failing_schedule(&text) {
        let file = logs.join(format!("{}.schedule", name.replace(", ", ".")));
        fs::write(&file, schedule).map_err(|error| format!("{}: {error}", file.display()))?;
        if !right {
            let again = format!("{} {scenario} {}", file.display(), twin.unwrap_or_default());
            eprintln!("To run it again: cargo xtask shuttle --replay {again}");
        }
    }
    Ok(right)
}

/// Runs one scenario in the one order that is in a file, and shows what it prints.
fn replay(file: &str, scenario: &str, twin: Option<&str>) -> Result<()> {
    chosen(scenarios()?, &[scenario])?;
    let file = fs::canonicalize(file).map_err(|error| format!("{file}: {error}"))?;
    let status = start(&build()?, &format!("{scenario}::by_chance"), twin)
        .env("PEU_REPLAY", file)
        .status()
        .map_err(|error| format!("cannot run the scenario: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{scenario} has failed in this order: {status}"))
}

fn start(program: &Path, tests: &str, twin: Option<&str>) -> Command {
    let mut command = Command::new(program);
    command
        .args([tests, "--nocapture"])
        .stdin(Stdio::null())
        .env_remove("PEU_TWIN")
        .env_remove("PEU_REPLAY")
        .envs(twin.map(|twin| ("PEU_TWIN", twin)));
    command
}

/// The program that has all scenarios.
fn build() -> Result<PathBuf> {
    let programs = explorer::build("shuttle", "--test=scenarios")?;
    let program = programs.into_iter().next();
    program.ok_or_else(|| "cargo built no program for the scenarios".to_owned())
}

fn judge(output: &Output) -> Verdict {
    let text = text(output);
    if output.status.success() {
        // A run of no tests would prove nothing.
        let ran = !text.contains("running 0 tests");
        return if ran {
            Verdict::Passed
        } else {
            Verdict::Unclear
        };
    }
    let signal = output.status.signal().filter(|&signal| is_crash(signal));
    panics(&text)
        .next()
        .map(str::to_owned)
        .or(signal.map(|signal| format!("crashed: signal {signal}")))
        .map_or(Verdict::Unclear, Verdict::Failed)
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(err).into_owned() + &String::from_utf8_lossy(out)
}

/// The first order that shuttle has printed, as it wants it back.
fn failing_schedule(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("failing schedule:\n\"\n")?;
    rest.split_once("\n\"").map(|(schedule, _)| schedule)
}

/// Every scenario, by the files in loom-tests/scenarios.
fn scenarios() -> Result<Vec<Scenario>> {
    let folder = root().join("loom-tests/scenarios");
    let cannot = |error| format!("{}: {error}", folder.display());
    let mut scenarios = Vec::new();
    for entry in fs::read_dir(&folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let text = fs::read_to_string(&path).map_err(cannot)?;
        let name = path.file_stem().and_then(|stem| stem.to_str());
        scenarios.extend(name.and_then(|name| scenario(name, &text)));
    }
    scenarios.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(scenarios)
}

/// `None` for a file that has no tests, but parts for those that do.
fn scenario(name: &str, text: &str) -> Option<Scenario> {
    let twins = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! twin: "))
        .map(str::to_owned);
    text.contains("\ncrate::scenario!(").then(|| Scenario {
        name: name.to_owned(),
        twins: twins.collect(),
    })
}

fn chosen(mut scenarios: Vec<Scenario>, only: &[&str]) -> Result<Vec<Scenario>> {
    let is_there = |name: &str| scenarios.iter().any(|scenario| scenario.name == name);
    if let Some(unknown) = only.iter().find(|name| !is_there(name)) {
        return Err(format!(
            "there is no scenario {unknown} in loom-tests/scenarios"
        ));
    }
    scenarios.retain(|scenario| only.is_empty() || only.contains(&scenario.name.as_str()));
    Ok(scenarios)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::ExitStatus;

    const FAILED: &str = "test panicked in task 'a'\nfailing schedule:\n\"\n9102\n0a\n\"\npass that string\n\nthread 'a' panicked at a.rs:1:2:\ndeadlock!\n";

    fn ended(raw: i32, printed: &str) -> Verdict {
        judge(&Output {
            status: ExitStatus::from_raw(raw),
            stdout: Vec::new(),
            stderr: printed.into(),
        })
    }

    #[test]
    fn a_run_is_judged_by_its_panic_or_its_crash() {
        assert_eq!(ended(0, "running 3 tests"), Verdict::Passed);
        assert_eq!(
            ended(101 << 8, FAILED),
            Verdict::Failed("deadlock!".to_owned())
        );
        assert_eq!(
            ended(11, ""),
            Verdict::Failed("crashed: signal 11".to_owned())
        );
        assert_eq!(ended(9, ""), Verdict::Unclear);
        assert_eq!(ended(101 << 8, ""), Verdict::Unclear);
        assert_eq!(ended(0, "running 0 tests"), Verdict::Unclear);
    }

    #[test]
    fn the_order_that_failed_is_kept() {
        assert_eq!(failing_schedule(FAILED), Some("9102\n0a"));
        assert_eq!(failing_schedule("all is well"), None);
    }

    #[test]
    fn a_scenario_is_a_file_with_tests() {
        let found = scenario(
            "tree",
            "//! Trees.\n//! twin: a\n\ncrate::scenario!(grow);\n",
        );
        let tree = Scenario {
            name: "tree".to_owned(),
            twins: vec!["a".to_owned()],
        };
        assert_eq!(found, Some(tree));
        assert_eq!(scenario("parts", "//! Parts.\n"), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(run(&["--schedules", "many"]).is_err_and(|why| why.contains("is no number")));
        assert!(chosen(Vec::new(), &["tree"]).is_err_and(|why| why.contains("no scenario tree")));
        assert!(run(&["--replay", "nowhere", "tree"]).is_err_and(|why| why.contains("nowhere")));
    }
}
