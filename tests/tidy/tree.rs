//! Which files there are: the working tree without build output, so that a rule meets a new file before its commit does.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the repository.
pub(crate) struct File {
    /// From the repository's root, with `/` between the parts: `src/lib.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn sample(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Code that a user gets, where the strictest rules hold; not the tests beside it.
    pub(crate) fn is_core(&self) -> bool {
        let folders = ["reactor/src/", "scheduler/src/", "operators/src/", "src/"];
        let is_test = self.path.contains("/tests/") || self.path.ends_with("/tests.rs");
        folders.iter().any(|folder| self.path.starts_with(folder)) && !is_test && self.is_rust()
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// The repository's root: the folder of the root package.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the repository that people write: sources, prose, manifests and scripts. No data, no build output.
pub(crate) fn files() -> Vec<File> {
    let mut found = Vec::new();
    collect(root(), &mut found);
    found.sort();
    let files: Vec<File> = found.iter().filter_map(|path| read(path)).collect();
    assert!(
        files.iter().any(|file| file.path == "src/lib.rs"),
        "the walk must find the sources"
    );
    files
}

/// The text of the file at `path` from the root; a missing file is a failed test.
pub(crate) fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.expect("an entry of a readable folder").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() && !["target", ".git"].contains(&name) {
            collect(&path, found);
        } else if path.is_file() && is_written_by_people(&path) {
            found.push(path);
        }
    }
}

fn is_written_by_people(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("rs" | "md" | "toml" | "sh" | "yml")) || path.ends_with(".ci/run")
}

fn read(path: &Path) -> Option<File> {
    let relative = path
        .strip_prefix(root())
        .expect("the walk starts at the root");
    // A file that goes away between the listing and the reading is no longer part of the tree.
    let text = fs::read_to_string(path).ok()?;
    Some(File {
        path: relative.to_str().expect("a path in UTF-8").to_owned(),
        text,
    })
}
