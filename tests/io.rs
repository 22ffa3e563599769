//! Pipes, copies, lines, and the process's own streams.

use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use peu::net::UnixStream;
use peu::process::{Command, Stdio};
use peu::{Runtime, fs, io};
use std::io::ErrorKind;

fn run<T>(test: impl AsyncFnOnce() -> T) -> T {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    runtime.block_on(test())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| ((n * 31) ^ (n >> 8)) as u8).collect()
}

#[test]
fn a_copy_goes_through_a_pipe_that_is_smaller() {
    run(async || {
        let bytes = pattern(1_000_000);
        let (mut reader, mut writer) = io::pipe().unwrap();
        let sent = bytes.clone();
        let sender = peu::spawn(async move { io::copy(&mut &sent[..], &mut writer).await });
        let mut received = Vec::new();
        let count = io::copy(&mut reader, &mut received).await.unwrap();
        assert_eq!(count, 1_000_000);
        assert!(received == bytes);
        assert_eq!(sender.await.unwrap().unwrap(), 1_000_000);
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        let error = io::copy(&mut &bytes[..], &mut writer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

/// Each side ends its direction by itself, and hears all that the other says after that.
#[test]
fn a_proxy_copies_both_ways_until_both_have_ended() {
    run(async || {
        let (client, mut client_side) = UnixStream::pair().unwrap();
        let (server, mut server_side) = UnixStream::pair().unwrap();
        let proxy =
            peu::spawn(
                async move { io::copy_bidirectional(&mut client_side, &mut server_side).await },
            );
        let (question, answer) = (pattern(300_000), pattern(700_000));
        let asked = question.clone();
        let asking = peu::spawn(async move {
            let mut client = client;
            client.write_all(&asked).await.unwrap();
            client.close().await.unwrap();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            heard
        });
        let mut server = server;
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).await.unwrap();
        assert!(heard == question, "the end came through");
        server.write_all(&answer).await.unwrap();
        server.close().await.unwrap();
        assert!(asking.await.unwrap() == answer);
        assert_eq!(proxy.await.unwrap().unwrap(), (300_000, 700_000));
    });
}

#[test]
fn lines_end_as_lines_do() {
    run(async || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let long = "x".repeat(100_000);
        for (text, expected) in [
            (String::new(), vec![]),
            ("\n".into(), vec![""]),
            ("a\nb".into(), vec!["a", "b"]),
            ("a\r\n\r\nb\r\n".into(), vec!["a", "", "b"]),
            ("a\rb\n\n".into(), vec!["a\rb", ""]),
            (format!("{long}\nü\n"), vec![&long, "ü"]),
        ] {
            std::fs::write(&path, &text).unwrap();
            let lines: Vec<String> = fs::lines(&path).await.unwrap().try_collect().await.unwrap();
            assert_eq!(lines, expected);
            assert!(
                text.lines().eq(lines.iter().map(String::as_str)),
                "as std has it"
            );
        }
        std::fs::write(&path, b"good\n\xff\nnever\n").unwrap();
        let mut lines = fs::lines(&path).await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), "good");
        let error = lines.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
        assert!(lines.next().await.is_none(), "an error is the last item");
        assert!(fs::lines(folder.path().join("no")).await.is_err());
        let mut folder = fs::lines(folder.path()).await.unwrap();
        assert!(folder.next().await.unwrap().is_err());
        assert!(folder.next().await.is_none());
    });
}

/// Run by itself, and by the test below in a process whose streams are pipes.
#[test]
fn echo_in_a_child() {
    if std::env::var_os("PEU_TEST_ECHO").is_none() {
        return;
    }
    run(async || {
        let mut text = String::new();
        io::stdin()
            .unwrap()
            .read_to_string(&mut text)
            .await
            .unwrap();
        let mut err = io::stderr().unwrap();
        err.write_all(text.to_uppercase().as_bytes()).await.unwrap();
        err.flush().await.unwrap();
        let mut out = io::stdout().unwrap();
        out.write_all(text.as_bytes()).await.unwrap();
        out.flush().await.unwrap();
    });
}

/// Run by the test below, in a process of its own.
#[test]
fn without_descriptors_in_a_child() {
    if std::env::var_os("PEU_TEST_DESCRIPTORS").is_none() {
        return;
    }
    run(async || {
        let used: Vec<_> = (0..)
            .map_while(|_| std::fs::File::open("/dev/null").ok())
            .collect();
        let interrupt = peu::signal::SignalKind::interrupt();
        let attempts = [
            (io::pipe().err(), "cannot make a pipe: "),
            (io::stdin().err(), "cannot share standard input: "),
            (io::stdout().err(), "cannot share standard output: "),
            (io::stderr().err(), "cannot share standard error: "),
            (
                Command::new("true").stdin(Stdio::piped()).spawn().err(),
                "cannot start true: ",
            ),
            (
                peu::signal::signal(interrupt).err(),
                "cannot make a pipe for signals: ",
            ),
        ];
        drop(used);
        for (error, expected) in attempts {
            let said = error.map(|error| error.to_string());
            assert!(
                said.as_ref().is_some_and(|said| said.starts_with(expected)),
                "{expected}{said:?}"
            );
        }
        eprintln!("all said what was tried");
    });
}

#[test]
fn errors_without_a_path_say_what_was_tried() {
    run(async || {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]);
        command.arg(std::env::current_exe().unwrap());
        command.args(["--exact", "without_descriptors_in_a_child", "--nocapture"]);
        let output = command
            .env("PEU_TEST_DESCRIPTORS", "1")
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.contains("all said"),
            "{said}"
        );
    });
}

#[test]
fn the_processs_own_streams() {
    run(async || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "echo_in_a_child", "--nocapture"])
            .env("PEU_TEST_ECHO", "1");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"bonjour").await.unwrap();
        drop(input);
        let output = child.wait_with_output().await.unwrap();
        assert!(output.status.success());
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(
            out.contains("bonjour") && err.contains("BONJOUR"),
            "{out} {err}"
        );
    });
}

#[cfg(feature = "sync")]
#[test]
fn what_is_re_exported_works_on_this_runtime() {
    use std::sync::Arc;
    run(async || {
        let (sender, receiver) = peu::sync::bounded(1);
        let sum = Arc::new(peu::sync::Mutex::new(0));
        let adders: Vec<_> = (0..4)
            .map(|_| {
                let (receiver, sum) = (receiver.clone(), sum.clone());
                peu::spawn(async move {
                    while let Ok(number) = receiver.recv().await {
                        let mut sum = sum.lock().await;
                        peu::task::yield_now().await;
                        *sum += number;
                    }
                })
            })
            .collect();
        for number in 1..=100 {
            sender.send(number).await.unwrap();
        }
        drop(sender);
        for adder in adders {
            adder.await.unwrap();
        }
        assert_eq!(*sum.lock().await, 5050);
    });
}

/// A thread would be held by it, and hold the end of the runtime up.
#[test]
fn a_named_pipe_can_be_waited_for_without_a_thread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    run(async || {
        use std::os::unix::fs::OpenOptionsExt;
        // For writing too: it has no end then, and is not waited for when it is opened.
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true);
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
        let mut pipe = peu::Async::new(options.open(&path).unwrap()).unwrap();
        let mut line = [0; 8];
        let early = futures_lite::future::poll_once(pipe.read(&mut line)).await;
        assert!(early.is_none(), "nothing is there");
        let (count, written) = futures_lite::future::zip(pipe.read(&mut line), async {
            fs::write(&path, "bonjour\n").await
        })
        .await;
        written.unwrap();
        assert_eq!(&line[..count.unwrap()], b"bonjour\n");
        assert!(
            futures_lite::future::poll_once(pipe.read(&mut line))
                .await
                .is_none()
        );
    });
}
