//! Runs the tests that use real threads under the compiler's sanitizers.
//!
//! A model proves a protocol, but only what is in the model. A sanitizer watches the whole program, with the real kernel
//! under it: ThreadSanitizer sees two accesses that no synchronisation orders, AddressSanitizer sees memory used after
//! it was freed, and memory that nobody frees.
//!
//! Both come with the nightly compiler only, and the standard library is built with them (`-Zbuild-std`), because an uninstrumented
//! `Arc` or `Mutex` synchronises without ThreadSanitizer seeing it. ThreadSanitizer does not model fences: where one of
//! them orders plain memory, it reports a race that is none. `suppressions.txt` would name such a place and its reason.
//!
//! A sanitizer that reports nothing may see nothing: each is first given a *canary*, a small program with the fault that
//! it is for, and must report that.

use crate::Result;
use crate::cargo::{root, target};
use crate::nightly;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Where they build, in folders of their own: the standard library and everything else anew.
const FOLDER: &str = "sanitize";

/// What is run: each package with its test programs. Left out are those that say how fast something is (`properties`,
/// `runtime`): a program that is ten times as slow fails them, and they have no threads that the others lack. Of the
/// operators' tests most run on one thread, and are left out for that.
const SUITES: [(&str, &[&str]); 4] = [
    ("peu-scheduler", &["--lib", "--test=tasks", "--test=groups"]),
    ("peu-reactor", &["--lib", "--tests"]),
    ("peu-operators", &["--lib", "--test=threads"]),
    (
        "peu",
        &[
            "--test=stress",
            "--test=fs",
            "--test=process",
            "--test=signal",
        ],
    ),
];

/// A sanitizer: its name for `-Zsanitizer`, and its settings. Each lets the allocator refuse what no machine has, as the system's
/// does, in place of ending the program: a test asks for it.
struct Sanitizer {
    name: &'static str,
    variable: &'static str,
    options: &'static str,
    canary: &'static str,
    /// What it says of the canary.
    report: &'static str,
}

const SANITIZERS: [Sanitizer; 2] = [
    Sanitizer {
        name: "thread",
        variable: "TSAN_OPTIONS",
        // Both stacks of a race matter, and the second is forgotten early unless the history is long.
        options: "history_size=4 allocator_may_return_null=1",
        canary: "
            static mut COUNT: u32 = 0;
            fn count() { unsafe { COUNT += 1 } }
            fn main() {
                let other = std::thread::spawn(count);
                count();
                other.join().unwrap();
            }",
        report: "data race",
    },
    Sanitizer {
        name: "address",
        variable: "ASAN_OPTIONS",
        options: "detect_leaks=1 detect_stack_use_after_return=1 allocator_may_return_null=1",
        canary: "
            fn main() {
                let freed = { let one = Box::new(1); &raw const *one };
                assert_ne!(unsafe { freed.read_volatile() }, 7);
            }",
        report: "heap-use-after-free",
    },
];

/// Runs every suite under every sanitizer, or under the one that is named, to the end, and prints a row for each.
pub(crate) fn run(only: &[&str]) -> Result<()> {
    let chosen = chosen(only)?;
    nightly::install(&["rust-src"])?;
    let host = nightly::host()?;
    println!(
        "{:<10} {:<16} {:>8}  verdict",
        "sanitizer", "package", "seconds"
    );
    let mut wrong = 0;
    for sanitizer in chosen {
        see_canary(sanitizer, &host)?;
        for (package, tests) in SUITES {
            let begin = Instant::now();
            let clean = test(sanitizer, package, tests, &host)?;
            let verdict = if clean { "clean" } else { "WRONG" };
            println!(
                "{:<10} {package:<16} {:>8.1}  {verdict}",
                sanitizer.name,
                begin.elapsed().as_secs_f64()
            );
            wrong += usize::from(!clean);
        }
    }
    match wrong {
        0 => Ok(()),
        wrong => Err(format!("{wrong} runs are not clean: see the reports above")),
    }
}

/// One suite under one sanitizer; whether it ended without a report. What it prints is shown.
fn test(sanitizer: &Sanitizer, package: &str, tests: &[&str], host: &str) -> Result<bool> {
    nightly::cargo()
        .arg("test")
        .args(["-Zbuild-std", "--no-fail-fast", "--target", host])
        .args(["--package", package])
        .args(tests)
        // Some tests panic on purpose. To put the names of the functions into a backtrace takes an instrumented program
        // half a minute, in which others take it for hung.
        .env("RUST_BACKTRACE", "0")
        .env("RUSTFLAGS", format!("-Zsanitizer={}", sanitizer.name))
        .env("CARGO_TARGET_DIR", target(FOLDER).join(sanitizer.name))
        .env(sanitizer.variable, options(sanitizer))
        .status()
        .map(|status| status.success())
        .map_err(|error| format!("cannot run cargo: {error}"))
}

/// Fails unless the sanitizer sees the fault that is there.
fn see_canary(sanitizer: &Sanitizer, host: &str) -> Result<()> {
    let program = target(FOLDER).join(format!("canary-{}", sanitizer.name));
    let output = std::fs::create_dir_all(target(FOLDER))
        .and_then(|()| build_canary(sanitizer, host, &program))
        .and_then(|()| {
            Command::new(&program)
                .env(sanitizer.variable, options(sanitizer))
                .output()
        })
        .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    if String::from_utf8_lossy(&output.stderr).contains(sanitizer.report) {
        return Ok(());
    }
    Err(format!(
        "the {} sanitizer does not report a {} that is there: nothing it says counts",
        sanitizer.name, sanitizer.report
    ))
}

fn build_canary(sanitizer: &Sanitizer, host: &str, program: &Path) -> std::io::Result<()> {
    let mut compiler = Command::new("rustup")
        .args(["run", "nightly", "rustc", "-", "--edition=2024"])
        .args(["--target", host, "-Astatic-mut-refs"])
        // The standard library is not instrumented for it; the fault is in its own code.
        .arg("-Cunsafe-allow-abi-mismatch=sanitizer")
        .arg(format!("-Zsanitizer={}", sanitizer.name))
        .arg("-o")
        .arg(program)
        .stdin(Stdio::piped())
        .spawn()?;
    let mut source = compiler.stdin.take().expect("it is piped");
    source.write_all(sanitizer.canary.as_bytes())?;
    drop(source);
    compiler.wait().map(drop)
}

fn options(sanitizer: &Sanitizer) -> String {
    let suppressions = root().join("xtask/suppressions.txt");
    match sanitizer.name {
        "thread" => format!(
            "{} suppressions={}",
            sanitizer.options,
            suppressions.display()
        ),
        _ => sanitizer.options.to_owned(),
    }
}

fn chosen(only: &[&str]) -> Result<Vec<&'static Sanitizer>> {
    if let Some(unknown) = only
        .iter()
        .find(|name| !SANITIZERS.iter().any(|sanitizer| sanitizer.name == **name))
    {
        return Err(format!(
            "there is no sanitizer {unknown}: thread or address"
        ));
    }
    Ok(SANITIZERS
        .iter()
        .filter(|sanitizer| only.is_empty() || only.contains(&sanitizer.name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_sanitizer_is_refused() {
        assert!(chosen(&["memory"]).is_err_and(|why| why.contains("no sanitizer memory")));
        assert_eq!(chosen(&["address"]).map(|chosen| chosen.len()), Ok(1));
        assert_eq!(chosen(&[]).map(|chosen| chosen.len()), Ok(2));
    }
}
