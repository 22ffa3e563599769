//! Signals that this process sends to itself. One test for each signal, because a signal is the whole process's.

use futures_lite::StreamExt;
use futures_lite::future::poll_once;
use peu::Runtime;
use peu::signal::{SignalKind, ctrl_c, signal};
use std::io::ErrorKind;
use std::pin::pin;
use std::process::Command;

fn runtime() -> Runtime {
    Runtime::builder().workers(2).build().unwrap()
}

fn send(kind: SignalKind) {
    let number = format!("-{}", kind.as_raw_value());
    let sent = Command::new("kill")
        .args([&number, &std::process::id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[test]
fn every_listener_hears_in_every_runtime() {
    let kind = SignalKind::user_defined1();
    let (first, second) = (runtime(), runtime());
    let listen = |runtime: &Runtime| runtime.block_on(async { signal(kind).unwrap() });
    let mut listeners = [listen(&first), listen(&first), listen(&second)];
    for _ in 0..3 {
        send(kind);
        for listener in &mut listeners {
            first.block_on(listener.recv()).unwrap();
        }
    }
    let [one, mut two, _] = listeners;
    drop(one);
    send(kind);
    assert_eq!(first.block_on(two.next()), Some(()), "as a stream");
}

#[test]
fn a_listener_hears_only_of_its_signal_and_from_its_beginning() {
    let (mine, other) = (SignalKind::hangup(), SignalKind::window_change());
    runtime().block_on(async {
        for _ in 0..20 {
            // The place of the one before, whose pipe may still have something in it.
            let mut former = signal(other).unwrap();
            send(other);
            if every_second_time() {
                former.recv().await.unwrap();
            }
            drop(former);
            let mut listener = signal(mine).unwrap();
            assert!(poll_once(pin!(listener.recv())).await.is_none());
            send(mine);
            listener.recv().await.unwrap();
        }
    });
}

/// Every second call.
fn every_second_time() -> bool {
    use std::sync::atomic::{AtomicBool, Ordering};
    static LAST: AtomicBool = AtomicBool::new(false);
    LAST.fetch_xor(true, Ordering::SeqCst)
}

#[test]
fn ctrl_c_is_heard_instead_of_ending_the_process() {
    runtime().block_on(async {
        let mut pressed = pin!(ctrl_c());
        assert!(poll_once(&mut pressed).await.is_none());
        send(SignalKind::interrupt());
        pressed.await.unwrap();
    });
}

#[test]
fn signals_between_two_looks_count_as_one() {
    let kind = SignalKind::user_defined2();
    runtime().block_on(async {
        let mut listener = signal(kind).unwrap();
        for _ in 0..5 {
            send(kind);
        }
        listener.recv().await.unwrap();
        assert!(poll_once(pin!(listener.recv())).await.is_none());
    });
}

#[test]
fn what_cannot_be_heard_is_refused() {
    runtime().block_on(async {
        for number in [9, 19, 11, 0, -1, 65, 1000] {
            let error = signal(SignalKind::from_raw(number)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{number}");
        }
    });
    let error = signal(SignalKind::alarm()).unwrap_err();
    assert!(error.to_string().contains("no current runtime"), "{error}");
}

#[test]
fn a_listener_outlives_its_runtime() {
    let runtime = runtime();
    let mut listener = runtime.block_on(async { signal(SignalKind::quit()).unwrap() });
    drop(runtime);
    let error = futures_lite::future::block_on(listener.recv()).unwrap_err();
    assert!(error.to_string().contains("runtime is gone"), "{error}");
    assert_eq!(futures_lite::future::block_on(listener.next()), None);
}

/// Run by itself, and by the test below in a process of its own: a full table would be full for the other tests too.
#[test]
fn the_table_is_filled() {
    if std::env::var_os("PEU_TEST_FILL").is_none() {
        return;
    }
    runtime().block_on(async {
        for _ in 0..2 {
            let mut listeners = Vec::new();
            let error = loop {
                match signal(SignalKind::io()) {
                    Ok(listener) => listeners.push(listener),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
            assert_eq!(listeners.len(), 64);
        }
    });
}

#[test]
fn there_is_room_for_64_at_once() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "the_table_is_filled"])
        .env("PEU_TEST_FILL", "1");
    let output = child.output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && report.contains("1 passed"),
        "{report}"
    );
}
