//! Where blocking wins, read off the numbers: peu beside blocking threads under the same load.

use crate::Results;
use crate::files;
use crate::job;

/// Below this, two figures of one run show no difference: neighbours' noise was seen to make so much.
const EVEN: f64 = 1.1;

/// What is compared, the name of a column.
pub(crate) const MEASURES: [&str; 3] = ["speed", "CPU time", "99th percentile"];

/// One load, and how many times better than blocking peu did in each measure; none where it was not measured.
pub(crate) struct Duel {
    pub(crate) load: String,
    pub(crate) times: [Option<f64>; MEASURES.len()],
}

/// Who won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Winner {
    Blocking,
    Peu,
    Nobody,
}

impl Winner {
    pub(crate) fn of(times: f64) -> Winner {
        match times {
            times if times > EVEN => Winner::Peu,
            times if times < 1.0 / EVEN => Winner::Blocking,
            _ => Winner::Nobody,
        }
    }
}

pub(crate) fn duels(results: &Results) -> Vec<Duel> {
    let sockets = results.sockets.duels().map(|(load, threads, peu)| Duel {
        load,
        times: [
            Some(peu.requests_per_second / threads.requests_per_second),
            Some(threads.cpu_us_per_request / peu.cpu_us_per_request),
            Some(threads.p99_us / peu.p99_us),
        ],
    });
    let files = files::cases(&results.files).filter_map(|rows| {
        let peu = rows.iter().find(|row| row.candidate == "peu")?;
        let blocking = rows.iter().filter(|row| {
            // Blocking calls, on however many threads are best.
            row.candidate.ends_with("thread") || row.candidate.ends_with("threads")
        });
        let best = |value: fn(&files::Row) -> f64| {
            let least = blocking.clone().map(value).min_by(f64::total_cmp);
            least.map(|least| least / value(peu))
        };
        Some(Duel {
            load: files::title(&rows[0].case).to_owned(),
            times: [best(files::Row::wall), best(files::Row::cpu), None],
        })
    });
    let job = results
        .job
        .chunk_by(|a, b| a.delay_ms == b.delay_ms)
        .filter_map(|rows| {
            let peu = rows.iter().find(|row| row.way == job::PEU)?;
            let is_blocking =
                |row: &&job::Row| job::BLOCKING.iter().any(|(way, _)| row.way == *way);
            let blocking = rows.iter().filter(is_blocking);
            let fastest = blocking
                .clone()
                .map(|row| row.rows_per_second)
                .max_by(f64::total_cmp)?;
            let soonest = blocking
                .map(|row| row.lookup_p99_us)
                .min_by(f64::total_cmp)?;
            Some(Duel {
                load: format!("the job, answers after {} ms", rows[0].delay_ms),
                times: [
                    Some(peu.rows_per_second / fastest),
                    None,
                    Some(soonest / peu.lookup_p99_us),
                ],
            })
        });
    sockets.chain(files).chain(job).collect()
}

/// For each measure, the loads under which blocking won.
pub(crate) fn sentences(duels: &[Duel]) -> Vec<String> {
    let sentence = |(place, measure): (usize, &&str)| {
        let won = |duel: &&Duel| {
            duel.times[place].is_some_and(|times| Winner::of(times) == Winner::Blocking)
        };
        let loads: Vec<&str> = duels
            .iter()
            .filter(won)
            .map(|duel| duel.load.as_str())
            .collect();
        match loads[..] {
            [] => format!("In {measure}, blocking won nowhere in this run."),
            _ => format!("In {measure}, blocking won with: {}.", loads.join("; ")),
        }
    };
    MEASURES.iter().enumerate().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocking_is_said_to_win_where_it_does() {
        let duel = |load: &str, speed| Duel {
            load: load.to_owned(),
            times: [Some(speed), None, Some(2.0)],
        };
        let duels = [duel("few", 0.5), duel("some", 1.0), duel("many", 2.0)];
        assert_eq!(
            sentences(&duels),
            [
                "In speed, blocking won with: few.",
                "In CPU time, blocking won nowhere in this run.",
                "In 99th percentile, blocking won nowhere in this run.",
            ]
        );
    }
}
