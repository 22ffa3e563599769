//! The async stage beside `buffer_unordered` and `buffered` on tokio.
//!
//! `cargo bench -p peu-benches --bench operators`, with a filter for some of the cases. criterion measures ratios, and a table says
//! what they are of. The method is in benches/README.md; Flink's turn is in benches/flink/README.md.

#![forbid(unsafe_code)]

use criterion::{Criterion, SamplingMode};
use peu_benches::operators::{Load, Work, ours, peers, stall};
use peu_benches::ratio::{Ratio, Rounds, seconds};
use peu_benches::stats::table;
use std::io;
use std::time::Duration;

/// criterion takes no fewer samples, and here each is a round of some tenths of a second.
const ROUNDS: usize = 10;

/// One line of the table.
struct Case {
    name: &'static str,
    ours: fn(Load) -> io::Result<Duration>,
    load: Load,
}

/// With one worker, everything stays on one thread; two are as many cores as the smallest machine has.
const WORKERS: [usize; 2] = [1, 2];

fn cases() -> impl Iterator<Item = Case> {
    let pipeline: fn(Load) -> io::Result<Duration> = ours::pipeline;
    let kinds = [
        (
            "handed over",
            ours::pipeline as fn(Load) -> _,
            Work::HandedOver,
            500_000,
            100,
        ),
        (
            "handed over, stage alone",
            ours::combinator,
            Work::HandedOver,
            500_000,
            100,
        ),
        ("at once", ours::pipeline, Work::AtOnce, 2_000_000, 100),
        (
            "at once, stage alone",
            ours::combinator,
            Work::AtOnce,
            2_000_000,
            100,
        ),
        ("waits, 100", pipeline, Work::Waits, 20_000, 100),
        ("waits, 1000", pipeline, Work::Waits, 200_000, 1_000),
    ];
    kinds
        .into_iter()
        .flat_map(|(name, ours, work, numbers, capacity)| {
            WORKERS.map(|workers| Case {
                name,
                ours,
                load: Load {
                    work,
                    numbers,
                    capacity,
                    workers,
                },
            })
        })
}

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(Ratio)
        .sample_size(ROUNDS)
        .warm_up_time(Duration::from_millis(1))
        .configure_from_args();
    let rates = compare_rates(&mut criterion);
    let tails = compare_tails(&mut criterion);
    criterion.final_summary();
    print!("\n{rates}\n{tails}");
}

/// One case after the other; each is a comparison of times.
fn compare(
    criterion: &mut Criterion<Ratio>,
    group: &str,
    name: &str,
    ours: impl Fn() -> io::Result<f64>,
    peer: impl Fn() -> io::Result<f64>,
) -> Rounds {
    let rounds = Rounds::default();
    let mut group = criterion.benchmark_group(group);
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| rounds.run(count, &ours, &peer).expect("both sides run"));
    });
    group.finish();
    rounds
}

fn compare_rates(criterion: &mut Criterion<Ratio>) -> String {
    let mut rows = Vec::new();
    for Case { name, ours, load } in cases() {
        let rounds = compare(
            criterion,
            &format!("{name} to buffer_unordered"),
            &format!("{} workers", load.workers),
            || seconds(ours(load)),
            || seconds(peers::buffer_unordered(load)),
        );
        let Some(summary) = rounds.summary() else {
            continue;
        };
        let [ours, peer] = [summary.ours, summary.peer].map(Duration::from_secs_f64);
        let million = |took| format!("{:.2}", load.rate(took) / 1e6);
        let of_ideal = |took| match load.work {
            Work::Waits => format!("{:.0}%", 100.0 * load.of_ideal(took)),
            Work::HandedOver | Work::AtOnce => String::new(),
        };
        rows.push(vec![
            name.to_owned(),
            load.workers.to_string(),
            million(ours),
            million(peer),
            summary.shown_factor(),
            of_ideal(ours),
            of_ideal(peer),
        ]);
    }
    let headline = [
        "requests",
        "workers",
        "peu M/s",
        "peer M/s",
        "peu to peer",
        "peu of ideal",
        "peer of ideal",
    ];
    table(&headline, &rows, 1)
}

/// The last run's tails stand for all: what is told is an order of magnitude.
fn compare_tails(criterion: &mut Criterion<Ratio>) -> String {
    let rounds = compare(
        criterion,
        "99th percentile while the consumer stalls, to buffered",
        "2 workers",
        || stall::ours().map(|tail| tail.p99),
        || stall::buffered().map(|tail| tail.p99),
    );
    if rounds.summary().is_none() {
        return String::new();
    }
    let row = |name: &str, tail: stall::Tail| {
        let millis = [tail.median, tail.p99, tail.longest].map(|time| format!("{time:.1}"));
        std::iter::once(name.to_owned()).chain(millis).collect()
    };
    let rows = [
        row("peu", stall::ours().expect("it runs")),
        row("buffered", stall::buffered().expect("it runs")),
    ];
    let headline = ["requests of 1 ms, ms", "median", "99%", "longest"];
    table(&headline, &rows, 1)
}
