//! The results as tables, and what is asked of peu beside them.

use crate::Result;
use crate::work::Case;
use peu_benches::stats::{median, quantile, table};
use std::fmt::Write as _;

const TIERS: [&str; 3] = ["peu now", "peu ring", "peu pool"];
const BLOCKING: [&str; 3] = ["one thread", "2 threads", "64 threads"];

/// The results of one case.
pub(crate) struct Results<'a>(pub(crate) Case, pub(crate) &'a [Result]);

impl<'a> Results<'a> {
    /// The fastest of those that are meant.
    fn fastest(&self, is_meant: impl Fn(&str) -> bool) -> Option<&'a Result> {
        let meant = self.1.iter().filter(|result| is_meant(&result.candidate));
        meant.min_by(|a, b| median(&a.wall).total_cmp(&median(&b.wall)))
    }

    fn named(&self, name: &str) -> Option<&'a Result> {
        self.fastest(|candidate| candidate == name)
    }

    fn best_tier(&self) -> Option<&'a Result> {
        self.fastest(|name| TIERS.contains(&name))
    }

    /// What peu is compared with in this case, and the most that the ratio may be.
    fn goals(&self) -> Vec<(&'static str, Option<&'a Result>, f64)> {
        let is_peer = |name: &str| !name.starts_with("peu");
        let is_async = |name: &str| is_peer(name) && !BLOCKING.contains(&name);
        let (any, other) = (self.fastest(is_peer), self.fastest(is_async));
        let one = self.named("one thread");
        let mut goals = match self.0 {
            Case::RandomCached => vec![("one thread", one, 1.25), ("async peers", other, 1.0)],
            Case::WholeCached => vec![("one thread", one, 1.2), ("async peers", other, 1.0)],
            Case::SequentialCached | Case::SequentialCold => vec![("the best", any, 1.1)],
            Case::Tree => vec![("async peers", other, 1.0)],
            Case::RandomCold | Case::WholeCold | Case::WriteSync => {
                vec![("all peers", any, 1.0), ("async peers", other, 1.0)]
            }
        };
        goals.push(("peu's best tier", self.best_tier(), 1.1));
        goals
    }
}

/// In each round, so that both have met the same minute.
fn ratios(result: &Result, to: &Result) -> Vec<f64> {
    let pairs = result.wall.iter().zip(&to.wall);
    pairs.map(|(a, b)| a / b).collect()
}

/// One case for a terminal. The ratios are to one blocking thread, and to the fastest tier of peu alone.
pub(crate) fn text(results: &Results<'_>) -> String {
    let ratio = |result: &Result, to: Option<&Result>| match to {
        Some(to) => format!("{:.2}", median(&ratios(result, to))),
        None => String::new(),
    };
    let (one, best) = (results.named("one thread"), results.best_tier());
    let rows = results.1.iter().map(|result| {
        vec![
            result.candidate.clone(),
            format!("{:.2}", median(&result.wall)),
            format!("{:.2}", median(&result.cpu)),
            ratio(result, one),
            ratio(result, best),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let headline = [
        "candidate",
        "µs",
        "CPU µs",
        "to one thread",
        "to the best tier",
    ];
    format!(
        "{:?}, per operation\n{}",
        results.0,
        table(&headline, &rows, 1)
    )
}

/// All cases as a page.
pub(crate) fn page(all: &[Result], system: &str) -> String {
    let of = |case: Case| -> Vec<Result> {
        let of_case = all.iter().filter(|result| result.case == case);
        of_case.cloned().collect()
    };
    let cases: Vec<(Case, Vec<Result>)> = Case::ALL.map(|case| (case, of(case))).into();
    let rounds: Vec<usize> = all.iter().map(|result| result.wall.len()).collect();
    let mut page = format!(
        "# What work on files costs\n\n`cargo xtask files` writes this page; how it measures, is told in [README.md](README.md). \
         Seen on {system}.\n\nMedians of {}.\n\n",
        counted(&rounds)
    );
    page += "## What is asked of the policy\n\nWall time of `peu` divided by that of the fastest of those named, in the same round: the \
             median, and the quartiles in brackets.\n\n| case | beside | the fastest | ratio | at most | |\n|---|---|---|---:|---:|---|\n";
    for (case, results) in &cases {
        page += &goals(&Results(*case, results));
    }
    page += "\n## Microseconds per operation: wall time / CPU time of the process\n\nSequential reads: per MiB.\n\n";
    page + &figures(&cases)
}

fn counted(rounds: &[usize]) -> String {
    match (rounds.iter().min(), rounds.iter().max()) {
        (Some(few), Some(many)) if few != many => format!("{few} to {many} rounds"),
        (few, _) => format!("{} rounds", few.unwrap_or(&0)),
    }
}

fn goals(results: &Results<'_>) -> String {
    let mut lines = String::new();
    let Some(peu) = results.named("peu") else {
        return lines;
    };
    for (beside, other, most) in results.goals() {
        let Some(other) = other else { continue };
        let ratios = ratios(peu, other);
        let met = if median(&ratios) <= most {
            "met"
        } else {
            "**missed**"
        };
        let _ = writeln!(
            lines,
            "| {} | {beside} | {} | {:.2} [{:.2} {:.2}] | {most} | {met} |",
            results.0.name(),
            other.candidate,
            median(&ratios),
            quantile(&ratios, 0.25),
            quantile(&ratios, 0.75),
        );
    }
    lines
}

fn figures(cases: &[(Case, Vec<Result>)]) -> String {
    let names = cases.iter().map(|(case, _)| format!(" {} |", case.name()));
    let mut lines = format!(
        "| |{}\n|---|{}\n",
        names.collect::<String>(),
        "---:|".repeat(cases.len())
    );
    let Some((_, first)) = cases.first() else {
        return lines;
    };
    for candidate in first {
        let cells = cases.iter().map(|(case, results)| {
            match Results(*case, results).named(&candidate.candidate) {
                Some(found) => format!(" {:.2} / {:.2} |", median(&found.wall), median(&found.cpu)),
                None => " |".to_owned(),
            }
        });
        let _ = writeln!(
            lines,
            "| {} |{}",
            candidate.candidate,
            cells.collect::<String>()
        );
    }
    lines
}
