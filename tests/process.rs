//! Child processes: their ends, their pipes, and what is left of them.

use futures_lite::future::{or, poll_once};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use peu::process::{Child, Command, Stdio};
use peu::{LocalRuntime, Runtime};
use std::io::ErrorKind;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

fn run<T>(test: impl AsyncFnOnce() -> T) -> T {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    runtime.block_on(test())
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// Whether there is such a process, if only what is left of it.
fn exists(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

#[test]
fn a_status_is_the_childs_and_stays_so() {
    run(async || {
        assert_eq!(shell("exit 3").status().await.unwrap().code(), Some(3));
        let mut child = shell("exit 4").spawn().unwrap();
        let status = child.wait().await.unwrap();
        assert_eq!(status.code(), Some(4));
        assert_eq!(child.wait().await.unwrap(), status);
        assert_eq!(child.try_wait().unwrap(), Some(status));
        assert!(!exists(child.id()), "nothing of it is left");
    });
}

#[test]
fn what_it_says_is_collected_from_both_pipes_at_once() {
    run(async || {
        // More than a pipe holds, first on one and then on the other.
        let script = "yes error | head -c 300000 >&2; yes words | head -c 300000";
        let output = shell(script).output().await.unwrap();
        assert!(output.status.success());
        assert_eq!(
            (output.stdout.len(), output.stderr.len()),
            (300_000, 300_000)
        );
        assert!(output.stdout.starts_with(b"words\nwords"));
    });
}

#[test]
fn collecting_leaves_the_streams_that_were_set() {
    run(async || {
        let folder = tempfile::tempdir().unwrap();
        let (words, errors) = (folder.path().join("words"), folder.path().join("errors"));
        std::fs::write(&words, "from a file").unwrap();
        let mut command = shell("cat; echo error >&2");
        command.stdin(std::fs::File::open(&words).unwrap());
        command.stderr(std::fs::File::create(&errors).unwrap());
        let output = command.output().await.unwrap();
        assert_eq!(output.stdout, b"from a file");
        assert_eq!((output.stderr.len(), len(&errors)), (0, 6));

        let mut command = shell("echo word");
        command.stdout(std::fs::File::create(&words).unwrap());
        assert_eq!(command.output().await.unwrap().stdout, b"");
        assert_eq!(len(&words), 5);
        // The file stays set for what is started next.
        assert!(command.status().await.unwrap().success());
        assert_eq!(len(&words), 10);
    });
}

fn len(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[test]
fn collecting_sets_no_stream_for_later() {
    run(async || {
        let folder = tempfile::tempdir().unwrap();
        let script =
            "a=$(readlink /proc/$$/fd/0); b=$(readlink /proc/$$/fd/1); echo $a $b > streams";
        let mut command = shell(script);
        command.current_dir(folder.path());
        assert!(command.output().await.unwrap().status.success());
        assert!(command.status().await.unwrap().success());
        let found = std::fs::read_to_string(folder.path().join("streams")).unwrap();
        let own = |stream| std::fs::read_link(format!("/proc/self/fd/{stream}")).unwrap();
        let expected = format!("{} {}\n", own(0).display(), own(1).display());
        assert_eq!(found, expected, "this process's");
    });
}

#[test]
fn it_is_talked_to_through_pipes() {
    run(async || {
        let mut command = Command::new("sort");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"b\na\n").await.unwrap();
        drop(input);
        let mut sorted = String::new();
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_to_string(&mut sorted)
            .await
            .unwrap();
        assert_eq!(sorted, "a\nb\n");
        assert!(child.wait().await.unwrap().success());
        // `wait` closes the standard input, or `cat` would never end.
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(child.wait().await.unwrap().success());
    });
}

/// More than a pipe holds, so that each of the programs must wait for another, or for this one.
#[test]
fn pipes_that_are_handed_on_block() {
    run(async || {
        let (mut reader, writer) = peu::io::pipe().unwrap();
        let mut first = shell("yes | head -c 300000");
        let mut first = first.stdout(Stdio::piped()).spawn().unwrap();
        let output = first.stdout.take().unwrap();
        let mut command = Command::new("cat");
        command.stdin(output.into_blocking().unwrap());
        command.stdout(writer.into_blocking().unwrap());
        let mut second = command.spawn().unwrap();
        // It has the pipe's other end as well.
        drop(command);
        // Nobody reads until the pipe is all but full: what does not block has failed, or will with its next write.
        while rustix::io::ioctl_fionread(&reader).unwrap() < 48 * 1024 {
            assert_eq!(second.try_wait().unwrap(), None, "it waits for the pipe");
            peu::task::yield_now().await;
        }
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 300_000);
        assert!(first.wait().await.unwrap().success());
        assert!(second.wait().await.unwrap().success());
    });
}

#[test]
fn environment_and_folder_are_set() {
    run(async || {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "pwd; echo $A$B$HOME"])
            .current_dir(folder.path());
        command
            .env_clear()
            .env("A", "1")
            .envs([("B", "2"), ("HOME", "3")])
            .env_remove("HOME");
        let output = command.output().await.unwrap();
        let expected = format!("{}\n12\n", folder.path().canonicalize().unwrap().display());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    });
}

#[test]
fn a_child_that_ignores_requests_to_end_is_killed() {
    run(async || {
        let script = "trap '' TERM; echo ready; while :; do sleep 1; done";
        let mut child = shell(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .await
            .unwrap();
        let mut request = Command::new("kill");
        request.args(["-TERM", &child.id().to_string()]);
        assert!(request.status().await.unwrap().success());
        let ended = or(async { Some(child.wait().await) }, async {
            peu::time::sleep(Duration::from_millis(50)).await;
            None
        });
        assert!(ended.await.is_none(), "it ignores the request");
        child.kill().await.unwrap();
        let status = child.wait().await.unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9)
        );
        child.start_kill().expect("to kill who is dead is no error");
    });
}

async fn until_gone(process: u32) {
    while exists(process) {
        peu::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_dropped_child_goes_on_or_is_killed_and_leaves_nothing_in_either_case() {
    run(async || {
        let killed = Command::new("sleep")
            .arg("1000")
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let id = killed.id();
        drop(killed);
        until_gone(id).await;

        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let (id, input) = (child.id(), child.stdin.take());
        drop(child);
        assert!(exists(id), "it goes on");
        drop(input);
        until_gone(id).await;
    });
}

#[test]
fn a_child_that_is_killed_as_the_runtime_ends_leaves_nothing() {
    let sleeper = || {
        let mut command = Command::new("sleep");
        command.arg("1000").kill_on_drop(true).spawn().unwrap()
    };
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (id, mut held) = runtime.block_on(async {
        let (child, held) = (sleeper(), sleeper());
        let id = child.id();
        peu::spawn(async move {
            let _held = child;
            std::future::pending::<()>().await
        });
        (id, held)
    });
    drop(runtime);
    assert!(!exists(id), "dropped with its task");
    let id = held.id();
    let error = futures_lite::future::block_on(held.wait()).unwrap_err();
    assert!(
        error.to_string().starts_with("cannot wait for sleep: "),
        "{error}"
    );
    drop(held);
    assert!(!exists(id), "dropped when the runtime was gone");
}

#[test]
fn nothing_is_started_that_nobody_can_wait_for() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let handle = runtime.handle().clone();
    drop(runtime);
    let _inside = handle.enter();
    let mut command = Command::new("sleep");
    let error = command.arg("1000").spawn().unwrap_err();
    assert!(
        error.to_string().starts_with("cannot start sleep: "),
        "{error}"
    );
}

#[test]
fn a_dropped_wait_loses_nothing() {
    run(async || {
        let mut child = shell("read line").stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        assert!(poll_once(pin!(child.wait())).await.is_none());
        assert!(child.try_wait().unwrap().is_none());
        drop(input);
        child.wait().await.unwrap();
    });
}

#[test]
fn many_at_once_need_no_thread_each() {
    run(async || {
        let before = threads();
        let children: Vec<Child> = (0..40)
            .map(|code| {
                shell(&format!("read line; exit {code}"))
                    .stdin(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let waits: Vec<_> = children
            .into_iter()
            .map(|mut child| peu::spawn(async move { child.wait().await }))
            .collect();
        for (code, wait) in waits.into_iter().enumerate() {
            assert_eq!(wait.await.unwrap().unwrap().code(), Some(code as i32));
        }
        // Other tests have threads of their own.
        assert!(threads() < before + 30);
    });
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn a_local_runtime_waits_as_well() {
    let runtime = LocalRuntime::new().unwrap();
    let output = runtime
        .block_on(Command::new("echo").arg("local").output())
        .unwrap();
    assert_eq!(output.stdout, b"local\n");
}

#[test]
fn errors_name_the_program() {
    run(async || {
        let error = Command::new("no/such/program").spawn().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(
            error
                .to_string()
                .starts_with("cannot start no/such/program: "),
            "{error}"
        );
        let command: Command = std::process::Command::new("/").into();
        let mut command = command;
        assert_eq!(
            command.status().await.unwrap_err().kind(),
            ErrorKind::PermissionDenied
        );
    });
}
