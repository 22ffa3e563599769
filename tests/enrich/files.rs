//! The files that are written: whole or not at all, with the permissions that they had, never in place of what is read.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::broken::{MODES, SOME, assert_says};
use crate::double::{self, Misdeed};
use crate::job::{Job, data, failure, files};

#[test]
fn a_device_that_is_full() {
    for mode in MODES {
        for option in ["--output", "--dead-letters"] {
            let line = Job::new(&["--mode", mode, option, "/dev/full", "--limit", SOME]).fail();
            assert_says(
                &line,
                &["cannot write /dev/full (at row ", "No space left on device"],
            );
            assert!(
                Path::new("/dev/full").exists(),
                "a device is not replaced by a file"
            );
        }
    }
}

/// Lets no file grow beyond so many blocks of 512 or 1024 bytes, as the shell counts: as if the disk were full then, but
/// without the right to mount one. The signal would end the process; ignored, the write fails.
fn no_longer_than(blocks: usize) -> String {
    format!("trap '' XFSZ; ulimit -f {blocks}")
}

#[test]
fn a_file_that_can_not_grow() {
    for mode in MODES {
        let job = Job::new(&["--mode", mode, "--limit", SOME]);
        assert_says(
            &job.expect_failure(&job.run_in_shell(&no_longer_than(64))),
            &["cannot write", "flights.jsonl (at row ", "File too large"],
        );
    }
}

/// All of the output fits one block, which is written when the dead letters are complete.
#[test]
fn a_last_block_that_can_not_be_written_leaves_both_files_as_they_were() {
    let job = Job::new(&["--limit", "60"]);
    assert_says(
        &job.expect_failure(&job.run_in_shell(&no_longer_than(16))),
        &[
            "cannot write",
            "flights.jsonl (at row 60)",
            "File too large",
        ],
    );
}

#[test]
fn a_disk_that_is_full() {
    let job = Job::new(&[]);
    let Some(disk) = SmallDisk::mount(&job.path("disk")) else {
        eprintln!(
            "mounting is not permitted: the job was not run on a full disk, but on a file that can't grow"
        );
        return;
    };
    let output = disk.folder.join("flights.jsonl");
    let job = job.with(&["--output", output.to_str().unwrap(), "--limit", SOME]);
    assert_says(
        &job.fail(),
        &[
            "cannot write",
            "flights.jsonl (at row ",
            "No space left on device",
        ],
    );
    assert_eq!(
        files(&disk.folder),
        Vec::<PathBuf>::new(),
        "nothing is left on the disk"
    );
}

#[test]
fn an_output_that_was_there_stays_as_it_was() {
    let address = double::start(3000, Misdeed::Dies);
    let other = tempfile::tempdir().unwrap();
    let output = other.path().join("flights.jsonl");
    fs::write(&output, "from an earlier run\n").unwrap();
    Job::new(&[
        "--limit",
        SOME,
        "--redis",
        &address,
        "--output",
        output.to_str().unwrap(),
    ])
    .fail();
    assert_eq!(
        fs::read_to_string(&output).unwrap(),
        "from an earlier run\n"
    );
    assert_eq!(files(other.path()), [output]);
}

#[test]
fn an_output_that_can_not_be() {
    assert_says(
        &Job::new(&["--output", "src"]).fail(),
        &["cannot create src", "folder"],
    );
    assert_says(
        &Job::new(&["--output", "Cargo.toml/flights.jsonl"]).fail(),
        &["cannot create Cargo.toml/flights.jsonl"],
    );
}

#[test]
fn an_output_that_is_also_for_the_dead_letters() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("old"), "").unwrap();
    std::os::unix::fs::symlink("old", at("link")).unwrap();
    std::os::unix::fs::symlink(".", at("here")).unwrap();
    let cases = [
        ("same", "same"),
        ("e/same", "e/../e/same"),
        ("same", "here/same"),
        ("old", "link"),
        ("same", "./same"),
    ];
    for (output, dead_letters) in cases {
        let (output, dead_letters) = (at(output), at(dead_letters));
        let job = Job::new(&["--output", &output, "--dead-letters", &dead_letters]);
        assert_says(&job.fail(), &["the same file", "another name"]);
    }
    assert_eq!(
        files(folder.path()).len(),
        4,
        "old, link, here, and the folder e"
    );
    assert_eq!(files(&folder.path().join("e")), Vec::<PathBuf>::new());
}

#[test]
fn an_output_that_gets_no_name() {
    let job = Job::new(&[]);
    let child = job.start_fed();
    let (output, dead_letters) = (
        job.out().join("flights.jsonl"),
        job.out().join("dead-letters.jsonl"),
    );
    // A file can't replace a folder.
    fs::create_dir(&output).unwrap();
    let line = failure(&child.wait_with_output().unwrap());
    assert_says(
        &line,
        &[
            &format!("cannot give {} its name: Is a directory", output.display()),
            &format!("{} is of this run already", dead_letters.display()),
        ],
    );
    assert!(!fs::read_to_string(&dead_letters).unwrap().is_empty());
    let mut left = files(&job.out());
    left.sort();
    assert_eq!(left, [dead_letters, output], "and no temporary file");
}

/// Not even what kills a process at once, where files can be without a name.
#[cfg(target_os = "linux")]
#[test]
fn a_run_that_is_killed_leaves_nothing() {
    use rustix::fs::{Mode, OFlags, open};
    let job = Job::new(&[]);
    let mut child = job.start_fed();
    child.kill().unwrap();
    child.wait().unwrap();
    match open(job.out(), OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR) {
        Ok(_) => assert_eq!(files(&job.out()), Vec::<PathBuf>::new()),
        Err(error) => eprintln!("no files without names here ({error}): killed runs leave some"),
    }
}

#[test]
fn an_output_that_was_there_keeps_its_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
    fs::write(&old, "from an earlier run").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o640)).unwrap();
    let arguments = ["--output", "--dead-letters"].into_iter().zip([&old, &new]);
    let arguments: Vec<&str> = arguments
        .flat_map(|(option, path)| [option, path.to_str().unwrap()])
        .collect();
    let mut command = Job::new(&arguments).with(&["--limit", "10"]).command();
    assert!(command.output().unwrap().status.success());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(fs::read_to_string(&old).unwrap().lines().count(), 10);
    assert_eq!(mode(&old), 0o640);
    let any = folder.path().join("any");
    fs::write(&any, "").unwrap();
    assert_eq!(
        mode(&new),
        mode(&any),
        "a new one has what any new file has"
    );
}

#[test]
fn an_output_that_is_also_an_input() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let tables = ["planes.csv", "airports.csv", "airlines.csv", "weather.csv"];
    for name in tables.into_iter().chain(["flights.csv"]) {
        fs::copy(data(name), at(name)).unwrap();
    }
    fs::hard_link(at("flights.csv"), at("hard")).unwrap();
    std::os::unix::fs::symlink("weather.csv", at("soft")).unwrap();
    let before = contents(folder.path());
    for written in tables.into_iter().chain(["flights.csv", "hard", "soft"]) {
        for option in ["--output", "--dead-letters"] {
            let job = Job::new(&["--data", &at(""), "--limit", "10", option, &at(written)]);
            assert_says(
                &job.fail(),
                &["cannot write", written, "reads it", "another name"],
            );
            assert!(before == contents(folder.path()), "{option} {written}");
        }
    }
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let with_content = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    files(folder).into_iter().map(with_content).collect()
}

/// A file system in memory of 256 KiB.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    fn mount(folder: &Path) -> Option<SmallDisk> {
        fs::create_dir(folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(folder)
            .output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then(|| SmallDisk {
            folder: folder.to_owned(),
        })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.folder).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "{} stays mounted",
            self.folder.display()
        );
    }
}
