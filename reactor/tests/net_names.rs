//! Names are looked up where they block nobody.

mod support;

use futures_lite::future;
use peu_reactor::net::{TcpListener, TcpStream, lookup_host};
use peu_reactor::{Offload, Reactor};
use std::io;
use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use support::block_on;

type Job = Box<dyn FnOnce() + Send>;

/// A thread for each job.
struct Threads;

impl Offload for Threads {
    fn offload(&self, job: Job) -> io::Result<()> {
        thread::Builder::new().spawn(job).map(drop)
    }
}

/// Jobs that the test runs itself, or not.
struct ByHand(Mutex<Sender<Job>>);

impl Offload for ByHand {
    fn offload(&self, job: Job) -> io::Result<()> {
        self.0
            .lock()
            .unwrap()
            .send(job)
            .map_err(|_| io::Error::other("the pool is full"))
    }
}

fn by_hand() -> io::Result<(Reactor, Receiver<Job>)> {
    let (sender, jobs) = channel();
    let offload = Arc::new(ByHand(Mutex::new(sender)));
    Ok((Reactor::builder().offload(offload).build()?, jobs))
}

#[test]
fn a_name_leads_to_its_addresses() -> io::Result<()> {
    let reactor = Reactor::builder().offload(Arc::new(Threads)).build()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let addresses = lookup_host("localhost:80").await?;
        assert!(!addresses.is_empty());
        assert!(
            addresses.iter().all(|address| address.ip().is_loopback()),
            "{addresses:?}"
        );

        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        // The name may mean ::1 as well, where nobody listens: then the other address is tried.
        let stream = TcpStream::connect(("localhost", port)).await?;
        assert_eq!(stream.peer_addr()?, listener.local_addr()?);
        Ok(())
    })
}

#[test]
fn an_unknown_name_is_named() -> io::Result<()> {
    let reactor = Reactor::builder().offload(Arc::new(Threads)).build()?;
    let _entered = reactor.enter();
    // A name with an empty part in it is unknown without asking a network.
    let error = block_on(&reactor, TcpStream::connect("no..host:80")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot resolve no..host:80: "),
        "{error}"
    );
    Ok(())
}

#[test]
fn digits_need_no_threads_and_names_say_that_they_do() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    assert_eq!(future::block_on(lookup_host(("::1", 80)))?.len(), 1);
    let error = future::block_on(lookup_host("localhost:80")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot resolve localhost:80: this reactor has no threads")
    );
    let error = future::block_on(lookup_host("localhost")).unwrap_err();
    assert!(error.to_string().contains("it has no port"), "{error}");
    Ok(())
}

#[test]
fn a_look_up_that_nobody_waits_for_runs_to_its_end() -> io::Result<()> {
    let (reactor, jobs) = by_hand()?;
    let _entered = reactor.enter();
    {
        let mut lookup = pin!(lookup_host("localhost:80"));
        assert!(future::block_on(future::poll_once(&mut lookup)).is_none());
    }
    jobs.try_recv().expect("a job was handed over")();
    Ok(())
}

#[test]
fn a_look_up_that_is_given_up_says_so() -> io::Result<()> {
    let (reactor, jobs) = by_hand()?;
    let _entered = reactor.enter();
    let lookup = lookup_host("localhost:80");
    let give_up = async { drop(jobs.try_recv().expect("a job was handed over")) };
    let (result, ()) = future::block_on(future::zip(lookup, give_up));
    let error = result.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot resolve localhost:80: the look-up was given up"),
        "{error}"
    );

    drop(jobs);
    let error = future::block_on(lookup_host("localhost:80"))
        .unwrap_err()
        .to_string();
    assert_eq!(error, "cannot resolve localhost:80: the pool is full");
    Ok(())
}
