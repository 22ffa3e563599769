//! Inputs that block for long, on real threads: what has come of them does not wait for what will.

#[path = "../doc/threads.rs"]
#[allow(
    unreachable_pub,
    reason = "written for examples, where everything is public"
)]
mod threads;

use futures_lite::future::block_on;
use peu_operators::pipeline::{Lines, Pipeline, ReadAhead, Reader, Source, for_each};
use std::error::Error;
use std::fmt::Debug;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use threads::Threads;

/// Far longer than any of this takes, on any machine.
const HANGS: Duration = Duration::from_secs(60);

/// Gives what is sent, and waits in between.
struct Wire(Receiver<u32>);

impl Reader for Wire {
    type Item = u32;
    type Position = ();

    fn open(&mut self, _from: Option<&()>) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }

    fn read(&mut self) -> Result<Option<(u32, ())>, Box<dyn Error + Send + Sync>> {
        Ok(self.0.recv().ok().map(|number| (number, ())))
    }
}

/// Runs a job on threads, and lets what it reads be heard.
fn hear<T: Debug + Send + Sync + 'static>(source: impl Source<Item = T>) -> Receiver<T> {
    let (heard, records) = channel();
    let hear = for_each(move |record| {
        let heard = heard.send(record);
        async move { heard }
    });
    let job = Pipeline::source(source).sink(hear);
    std::thread::spawn(move || block_on(job.run_on(&Threads)).map(drop));
    records
}

/// Sends numbers, each when those before it have arrived, some of them together.
fn each_arrives(send: impl Fn(u32), records: &Receiver<u32>) {
    let mut next = 0;
    for together in [1, 1, 3, 1, 300, 1] {
        let numbers = next..next + together;
        next = numbers.end;
        numbers.clone().for_each(&send);
        for number in numbers {
            let record = records.recv_timeout(HANGS);
            assert_eq!(record.expect("it does not wait for the next"), number);
        }
    }
}

#[test]
fn a_record_that_is_there_does_not_wait_for_its_batch() {
    let (wire, reader): (Sender<u32>, _) = channel();
    let records = hear(ReadAhead::new(Wire(reader)));
    each_arrives(|number| wire.send(number).unwrap(), &records);
    drop(wire);
    assert!(records.recv_timeout(HANGS).is_err(), "it ends");
}

#[cfg(unix)]
#[test]
fn a_line_of_a_fifo_does_not_wait_for_the_next() {
    use std::io::Write as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let (numbers, parsed) = channel();
    let lines = hear(Lines::open(&path));
    std::thread::spawn(move || {
        for line in lines {
            numbers.send(line.parse().unwrap()).unwrap();
        }
    });
    // Elsewhere, because it waits for a job that has opened the other end.
    let (opened, has_opened) = channel();
    std::thread::spawn(move || {
        let fifo = std::fs::File::options().write(true).open(&path);
        opened.send(fifo.unwrap()).unwrap();
    });
    let fifo = has_opened.recv_timeout(HANGS).expect("the job opens it");
    each_arrives(|number| writeln!(&fifo, "{number}").unwrap(), &parsed);
    drop(fifo);
    assert!(parsed.recv_timeout(HANGS).is_err(), "it ends");
}
