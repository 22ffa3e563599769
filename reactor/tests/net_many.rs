//! Many connections: each is registered once, and deregistered once; and what happens when there are too many.

mod support;

use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use peu_reactor::Reactor;
use peu_reactor::net::{TcpListener, TcpStream};
use std::env;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::process::Command;
use std::task::Context;
use support::{Wakes, block_on, turn};

/// Set in a process that runs one test under a limit of descriptors.
const LIMITED: &str = "PEU_LIMITED_DESCRIPTORS";

/// Runs the test of this name again, alone in a process that may have `limit` descriptors. `true`: this is that process.
fn is_limited(test: &str, limit: &str) -> bool {
    if env::var_os(LIMITED).is_some() {
        return true;
    }
    let output = Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -n {limit} && exec \"$0\" --exact {test} --nocapture"),
        ])
        .arg(env::current_exe().expect("a test has a program"))
        .env(LIMITED, "yes")
        .output()
        .expect("sh starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("1 passed"), "the test was not found: {text}");
    false
}

const MANY: usize = 1000;

#[test]
fn a_thousand_connections_are_registered_once_each() -> io::Result<()> {
    // Both ends are here, and many systems allow 1024 at first.
    if !is_limited(
        "a_thousand_connections_are_registered_once_each",
        "$((2 * 1000 + 64))",
    ) {
        return Ok(());
    }
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accept = async {
            listener
                .incoming()
                .take(MANY)
                .try_collect::<_, _, Vec<_>>()
                .await
        };
        let connect = async {
            let mut streams = Vec::new();
            for _ in 0..MANY {
                streams.push(TcpStream::connect(address).await?);
            }
            Ok(streams)
        };
        let (mut servers, mut clients) = future::try_zip(accept, connect).await?;
        for round in 0..3 {
            let ask = async {
                for (number, client) in clients.iter_mut().enumerate() {
                    client.write_all(&(number + round).to_le_bytes()).await?;
                }
                io::Result::Ok(())
            };
            let listen = async {
                for (number, server) in servers.iter_mut().enumerate() {
                    let mut word = [0; size_of::<usize>()];
                    server.read_exact(&mut word).await?;
                    assert_eq!(usize::from_le_bytes(word), number + round);
                }
                Ok(())
            };
            future::try_zip(ask, listen).await?;
        }
        io::Result::Ok(())
    })?;
    let metrics = reactor.metrics();
    assert_eq!(
        metrics.registrations,
        2 * MANY as u64 + 1,
        "one each, whatever it did"
    );
    assert_eq!(metrics.deregistrations, metrics.registrations);
    Ok(())
}

/// Takes all descriptors that the process may still have.
fn take_the_rest() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// Connections that wait to be accepted, made while there still are descriptors.
fn knock(address: SocketAddr) -> io::Result<Vec<std::net::TcpStream>> {
    (0..3)
        .map(|_| std::net::TcpStream::connect(address))
        .collect()
}

#[test]
fn accepting_without_descriptors_fails_slowly_and_loses_nothing() -> io::Result<()> {
    const NAME: &str = "accepting_without_descriptors_fails_slowly_and_loses_nothing";
    if !is_limited(NAME, "64") {
        return Ok(());
    }
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let clients = knock(listener.local_addr()?)?;
        let rest = take_the_rest();
        for failures in 0..5 {
            let error = listener.accept().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            // Every attempt but the first has waited for the clock.
            assert_eq!(reactor.metrics().timers_fired, failures);
        }
        drop(rest);
        let mut accepted = Vec::new();
        for client in &clients {
            let (stream, peer) = listener.accept().await?;
            assert_eq!(peer, client.local_addr()?);
            accepted.push(stream);
        }
        assert_eq!(
            reactor.metrics().timers_fired,
            5,
            "after a success, nobody waits"
        );
        Ok(())
    })
}

#[test]
fn incoming_without_descriptors_fails_slowly_and_loses_nothing() -> io::Result<()> {
    const NAME: &str = "incoming_without_descriptors_fails_slowly_and_loses_nothing";
    if !is_limited(NAME, "64") {
        return Ok(());
    }
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut incoming = listener.incoming();
        let clients = knock(listener.local_addr()?)?;
        let rest = take_the_rest();
        for failures in 0..5 {
            let error = incoming.next().await.expect("it never ends").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            assert_eq!(reactor.metrics().timers_fired, failures);
        }
        // To come and go while it waits changes nothing.
        assert!(future::poll_once(incoming.next()).await.is_none());
        assert!(future::poll_once(incoming.next()).await.is_none());
        drop(rest);
        let accepted: Vec<TcpStream> = incoming.take(clients.len()).try_collect().await?;
        for (stream, client) in accepted.iter().zip(&clients) {
            assert_eq!(stream.peer_addr()?, client.local_addr()?);
        }
        assert_eq!(reactor.metrics().timers_fired, 5);
        Ok(())
    })
}

/// Two wait: one for a connection, from before the trouble, and one for the end of the trouble. The first one's success ends
/// it early.
#[test]
fn who_waits_after_a_failure_is_woken_although_another_succeeds() -> io::Result<()> {
    const NAME: &str = "who_waits_after_a_failure_is_woken_although_another_succeeds";
    if !is_limited(NAME, "64") {
        return Ok(());
    }
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    let listener = block_on(&reactor, TcpListener::bind("127.0.0.1:0"))?;
    let mut early = pin!(listener.accept());
    assert!(future::block_on(future::poll_once(&mut early)).is_none());
    let _clients = knock(listener.local_addr()?)?;
    let rest = take_the_rest();
    // After so many failures, the next wait is long enough for what follows: 256 ms.
    for _ in 0..8 {
        block_on(&reactor, listener.accept()).unwrap_err();
    }
    let wakes = Wakes::new();
    let waker = wakes.waker();
    let mut context = Context::from_waker(&waker);
    assert!(listener.poll_accept(&mut context).is_pending());
    drop(rest);
    let _accepted = future::block_on(early)?;
    while wakes.count() == 0 {
        turn(&reactor);
    }
    assert!(listener.poll_accept(&mut context).is_ready());
    Ok(())
}

#[test]
fn a_closed_reactor_ends_the_wait_after_a_failure() -> io::Result<()> {
    if !is_limited("a_closed_reactor_ends_the_wait_after_a_failure", "64") {
        return Ok(());
    }
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let rest = take_the_rest();
        listener.accept().await.unwrap_err();
        reactor.close();
        let error = listener.accept().await.unwrap_err();
        assert!(error.to_string().contains("runtime is gone"), "{error}");
        drop(rest);
        Ok(())
    })
}
