//! The page: words, charts, numbers, in one file that needs no other.

use crate::Results;
use crate::chart::{Chart, round};
use crate::files;
use crate::job;
use crate::verdict::{self, Duel, MEASURES, Winner};
use std::fmt::Write;
use std::io;

const STYLE: &str = include_str!("style.css");

const INTRODUCTION: &str = "\
<p>A thread that waits for one thing at a time is the simplest program there is. An event loop waits for all of them at once. This page shows what
each costs, on one machine, side by side: <b>threads</b>, one blocking thread for each connection; <b>mio</b>, a loop written by hand for this one
purpose, the yardstick; and the runtimes <b>peu</b>, <b>tokio</b> and <b>smol</b>, with one task for each connection.</p>";

const WHERE_BLOCKING_WINS: &str = "\
<p>Blocking holds its own where little waits at a time: with one connection a thread and an event loop make the same calls and fall asleep as often. It wins where
nothing waits: what is in memory already is one call, and a runtime only stands around it. It loses where much waits: each waiting thread holds a stack here and one
in the kernel, and each answer is a switch of threads. And who asks one thing at a time sees it answered sooner than who asks a thousand at once, in
whatever way; the thousand are done sooner.</p>";

const CONNECTIONS: &str = "\
<p>An echo server, messages of 64 bytes, and clients that send their next message when the last one has come back. Each server is a process of its own; the CPU time
is that of its process alone.</p>";
const SIZES: &str = "<p>The same, with 64 connections and larger messages.</p>";
const WAITS: &str = "\
<p>Here 256 clients rest for a while after each answer, as people and slow services do. The longer they rest, the more often the server falls asleep: what
is seen is what waking up costs.</p>";
const FILES: &str = "\
<p>Files have no readiness to wait for: what is in memory is a call, and the rest is some thread's wait or the kernel's ring. The runtimes have 2 workers and 64
tasks; <b>one thread</b>, <b>2 threads</b> and <b>64 threads</b> are plain blocking calls. <b>peu now</b>, <b>ring</b> and <b>pool</b> are one tier of
peu's alone; <b>peu</b> is what it does by itself.</p>";
const JOB: &str = "\
<p>The main job reads flights, asks a service four questions about each, and writes what it learned. <b>One thread</b> asks them one after the other on a
blocking socket; of <b>64</b> and <b>256 threads</b> each does, on a socket of its own. <b>peu</b> keeps up to 1,024 flights under way on four sockets. All
share the machine with the service, which is in the same process.</p>";

const METHOD: &str = "\
<ul>
<li>All candidates run in the same rounds, in an order that rotates, so that whatever disturbs the machine disturbs all of them. Figures are
medians over the rounds; percentiles are of all rounds together.</li>
<li>A quarter of a window's length passes on the same connections before anything is counted.</li>
<li>The clients are one thread over mio in another process. It compares every byte. It shares the machine's cores with the server, so the rates are those of
both together, and latencies are an upper bound.</li>
<li>Buffers of the servers hold 4 KiB, so a message of 16 KiB is several reads for each of them alike.</li>
<li>Memory is what of the process is resident in user space. The kernel's part is not in it: some 16 KiB more for each thread, and the socket's own
buffers, the same for all.</li>
<li>Believe a difference that two runs show. The whole method, and what is known about noise, is in benches/README.md.</li>
</ul>";

pub(crate) fn render(results: &Results) -> io::Result<String> {
    let duels = verdict::duels(results);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Reactive against blocking</title>\n<style>{STYLE}</style></head><body><main>\n\
         <h1>Reactive against blocking</h1>\n{}{INTRODUCTION}\n\
         <h2>Where blocking wins</h2>\n{WHERE_BLOCKING_WINS}{}\n{}",
        subtitle(results),
        list(&verdict::sentences(&duels)),
        scores(&duels),
    );
    let sections = [
        (
            "Sockets, by connections",
            CONNECTIONS,
            results.sockets.connections(),
        ),
        (
            "Sockets, by size of message",
            SIZES,
            results.sockets.sizes(),
        ),
        (
            "Sockets, by waiting time of the far end",
            WAITS,
            results.sockets.waits(),
        ),
        ("Files", FILES, files::charts(&results.files)),
        ("The main job", JOB, job::charts(&results.job)),
    ];
    for (title, words, charts) in sections {
        if !charts.is_empty() {
            section(&mut html, title, words, &charts)?;
        }
    }
    let _ = write!(html, "<h2>Method</h2>\n{METHOD}{}", machine(results));
    Ok(html + "</main></body></html>\n")
}

fn subtitle(results: &Results) -> String {
    let machine = &results.machine;
    format!(
        "<p class=\"subtitle\">{} · {} cores · {} · {}</p>\n",
        machine.processor, machine.cores, machine.kernel, machine.date
    )
}

fn list(sentences: &[String]) -> String {
    let items: String = sentences
        .iter()
        .map(|sentence| format!("<li>{sentence}</li>"))
        .collect();
    format!("<ul>{items}</ul>")
}

/// The table of who won, and by how much.
fn scores(duels: &[Duel]) -> String {
    let mut html =
        String::from("<div class=\"scroll\"><table class=\"scores\"><tr><th>peu and threads</th>");
    for measure in MEASURES {
        let _ = write!(html, "<th>{measure}</th>");
    }
    html.push_str("</tr>");
    for duel in duels {
        let _ = write!(html, "<tr><th>{}</th>", duel.load);
        for times in duel.times {
            html.push_str(&times.map_or("<td>–</td>".to_owned(), score));
        }
        html.push_str("</tr>");
    }
    html + "</table></div><p class=\"note\">How many times better the winner is, under the same load in the same rounds; of files and the job, blocking on the \
            number of threads that did best. Less than 1.1 is no difference.</p>"
}

fn score(times: f64) -> String {
    match Winner::of(times) {
        Winner::Peu => format!("<td class=\"peu\">peu ×{}</td>", round(times)),
        Winner::Blocking => format!(
            "<td class=\"blocking\">blocking ×{}</td>",
            round(1.0 / times)
        ),
        Winner::Nobody => "<td>even</td>".to_owned(),
    }
}

fn section(html: &mut String, title: &str, words: &str, charts: &[Chart]) -> io::Result<()> {
    let _ = write!(html, "<h2>{title}</h2>\n{words}<div class=\"charts\">");
    for chart in charts {
        let _ = writeln!(
            html,
            "<figure><figcaption><b>{}</b> <small>{}</small></figcaption>{}{}{}</figure>",
            chart.title,
            chart.unit,
            chart.legend(),
            chart.svg()?,
            chart.table(),
        );
    }
    html.push_str("</div>\n");
    Ok(())
}

fn machine(results: &Results) -> String {
    let machine = &results.machine;
    let versions: Vec<String> = machine
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    format!(
        "<p class=\"note\">{}, {} cores, {} GiB, {}; {}; {}; commit {}; {}. {} rounds of {} s for sockets; {:.0} s in all. \
         The same numbers, and more: results.json beside this file.</p>\n",
        machine.processor,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        machine.compiler,
        versions.join(", "),
        machine.commit,
        machine.date,
        results.plan.rounds,
        results.plan.window,
        results.seconds,
    )
}
