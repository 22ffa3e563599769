//! The nightly compiler, and what has to be there beside it.

use crate::Result;
use crate::cargo::root;
use std::process::Command;

/// Nightly's cargo, in the root of the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", "cargo"])
        .current_dir(root())
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // Cargo and compiler of the one that runs this chore.
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// Sees to it that the nightly compiler is there, with these components: installs what is not.
pub(crate) fn install(components: &[&str]) -> Result<()> {
    for part in missing(components)? {
        let arguments = part.installed_by();
        eprintln!("{} is missing: rustup {}", part.name(), arguments.join(" "));
        let told = rustup(&arguments);
        if !part.is_there()? {
            return Err(format!(
                "{} is needed, and `rustup {}` did not install it. {}",
                part.name(),
                arguments.join(" "),
                told.err().unwrap_or_default()
            ));
        }
    }
    Ok(())
}

/// Fails if the nightly compiler or one of these components is not there, and says how to get it.
pub(crate) fn require(components: &[&str]) -> Result<()> {
    let missing = missing(components)?;
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(Part::name).collect();
    let get = |part: &Part| format!("    rustup {}", part.installed_by().join(" "));
    let commands: Vec<String> = missing.iter().map(get).collect();
    Err(format!(
        "missing: {}. To install it:\n{}",
        names.join(", "),
        commands.join("\n")
    ))
}

/// The platform. It has to be named, else build scripts and procedural macros would be built for the sanitizer as well.
pub(crate) fn host() -> Result<String> {
    rustup(&["run", "nightly", "rustc", "-vV"])?
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| "the nightly compiler does not say its platform".to_owned())
}

/// What may be missing.
enum Part<'a> {
    Toolchain,
    Component(&'a str),
}

impl Part<'_> {
    fn name(&self) -> &str {
        match self {
            Part::Toolchain => "nightly",
            Part::Component(name) => name,
        }
    }

    fn listed_by(&self) -> &'static [&'static str] {
        match self {
            Part::Toolchain => &["toolchain", "list"],
            Part::Component(_) => &["component", "list", "--installed", "--toolchain", "nightly"],
        }
    }

    fn installed_by(&self) -> Vec<&str> {
        match self {
            Part::Toolchain => vec!["toolchain", "install", "nightly", "--profile", "minimal"],
            Part::Component(name) => vec!["component", "add", name, "--toolchain", "nightly"],
        }
    }

    fn is_there(&self) -> Result<bool> {
        Ok(lists(&rustup(self.listed_by())?, self.name()))
    }
}

fn missing<'a>(components: &[&'a str]) -> Result<Vec<Part<'a>>> {
    if !Part::Toolchain.is_there()? {
        let components = components.iter().copied().map(Part::Component);
        return Ok(std::iter::once(Part::Toolchain).chain(components).collect());
    }
    let mut missing = Vec::new();
    for part in components.iter().copied().map(Part::Component) {
        if !part.is_there()? {
            missing.push(part);
        }
    }
    Ok(missing)
}

/// Whether a line of rustup's list is `what`, or begins with it and goes on with the name of a platform.
fn lists(list: &str, what: &str) -> bool {
    list.lines().any(|line| {
        line.strip_prefix(what)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ' ']))
    })
}

fn rustup(arguments: &[&str]) -> Result<String> {
    let output = Command::new("rustup")
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot run rustup, which has the nightly compiler: {error}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("rustup {}: {}", arguments.join(" "), why.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_found_by_its_whole_name() {
        let toolchains =
            "stable-x86_64-unknown-linux-gnu (default)\nnightly-x86_64-unknown-linux-gnu\n";
        assert!(lists(toolchains, "nightly"));
        assert!(lists("rust-src\n", "rust-src"));
        assert!(!lists(
            "rust-std-x86_64-unknown-linux-gnu\nrust-src2\n",
            "rust-src"
        ));
        assert!(!lists("", "nightly"));
    }
}
