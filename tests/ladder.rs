//! Each rung of the ladder is started as a user would start it, and echoes: several connections at once, and more bytes
//! than all the buffers on the way hold. One that can't start says why, once.

mod example;

use example::example;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Long enough for a loaded machine, short enough to tell that a server hangs.
const PATIENCE: Duration = Duration::from_secs(30);

const CONNECTIONS: usize = 16;

#[test]
fn rung_0_blocking_echo() {
    echoes(&Rung::start("00_blocking_echo"));
}

#[test]
fn rung_1_mio_loop() {
    echoes(&Rung::start("01_mio_loop"));
}

#[test]
fn rung_2_poll_execute_update() {
    let rung = Rung::start("02_poll_execute_update");
    echoes(&rung);
    answers_with_files(&rung);
}

#[test]
fn rung_3_echo() {
    echoes(&Rung::start("03_echo"));
}

/// A row is a line of the output; run again, there is nothing left to do; and what is wrong with a row is said.
#[test]
fn rung_4_pipeline() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = |input: &str| {
        let mut command = Command::new(example("04_pipeline"));
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command.arg("--input").arg(path(input));
        command.arg("--output").arg(path(&format!("{input}.jsonl")));
        command.arg("--state").arg(path(&format!("{input}.state")));
        let output = command.arg("--ordered").output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    let flights = std::fs::read_to_string("examples/data/flights.csv").unwrap();
    let some: String = flights.split_inclusive('\n').take(101).collect();
    std::fs::write(path("some.csv"), &some).unwrap();
    std::fs::write(path("broken.csv"), some.replace("AA,1141", "AA,none")).unwrap();

    let (said, errors) = run("some.csv");
    assert!(
        said.starts_with("begins anew\nwrote 100 flights"),
        "{said}{errors}"
    );
    let written = std::fs::read_to_string(path("some.csv.jsonl")).unwrap();
    assert_eq!(written.lines().count(), 100);
    assert!(
        written
            .lines()
            .next()
            .unwrap()
            .contains("United Air Lines Inc.")
    );
    let (said, errors) = run("some.csv");
    assert!(
        said.contains("goes on from ") && said.contains("wrote 0 flights"),
        "{said}{errors}"
    );

    let (_, errors) = run("broken.csv");
    assert!(
        errors.contains("stage `source`") && errors.contains("line: 4"),
        "{errors}"
    );
    assert!(!path("broken.csv.jsonl").exists());
}

#[test]
fn an_address_that_is_taken_is_named_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for name in [
        "00_blocking_echo",
        "01_mio_loop",
        "02_poll_execute_update",
        "03_echo",
    ] {
        let output = Command::new(example(name)).arg(&address).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.starts_with(&format!("{name}: cannot listen on {address}: ")),
            "{errors}"
        );
        assert_eq!(errors.matches(&address).count(), 1, "{errors}");
    }
}

/// Lines come back on every connection while all are open, and a stream longer than any buffer comes back whole.
fn echoes(rung: &Rung) {
    let mut streams: Vec<TcpStream> = (0..CONNECTIONS).map(|_| rung.connect()).collect();
    for round in 0..3 {
        for (index, stream) in streams.iter_mut().enumerate() {
            stream
                .write_all(format!("round {round} of {index}\n").as_bytes())
                .unwrap();
        }
        for (index, stream) in streams.iter_mut().enumerate() {
            assert_eq!(line(stream), format!("round {round} of {index}\n"));
        }
    }
    drop(streams);
    let senders: Vec<_> = (0..4)
        .map(|index| long_stream(rung.connect(), index))
        .collect();
    senders
        .into_iter()
        .for_each(|sender| sender.join().unwrap());
}

/// Sends and receives at the same time, so that neither side's buffers decide.
fn long_stream(stream: TcpStream, index: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let sent: String = (0..200_000)
            .map(|number| format!("{index}:{number}\n"))
            .collect();
        let expected = sent.clone();
        let mut writer = stream.try_clone().unwrap();
        let sender = thread::spawn(move || {
            writer.write_all(sent.as_bytes()).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = String::new();
        (&stream).read_to_string(&mut received).unwrap();
        sender.join().unwrap();
        assert!(
            received == expected,
            "{} bytes came back of {}",
            received.len(),
            expected.len()
        );
    })
}

/// A file of many pieces, while another connection is served; and no file of any other folder.
fn answers_with_files(rung: &Rung) {
    let lock = std::fs::read_to_string("Cargo.lock").unwrap();
    let (mut reader, mut other) = (rung.connect(), rung.connect());
    reader
        .write_all(b"<Cargo.lock\nand a line behind it\n")
        .unwrap();
    other.write_all(b"meanwhile\n").unwrap();
    assert_eq!(line(&mut other), "meanwhile\n");
    reader.shutdown(Shutdown::Write).unwrap();
    let mut received = String::new();
    reader.read_to_string(&mut received).unwrap();
    assert_eq!(received, lock + "and a line behind it\n");
    for name in [
        "../Cargo.toml",
        "/etc/passwd",
        "..",
        "",
        "src",
        "no-such-file",
    ] {
        other
            .write_all(format!("<{name}\nend\n").as_bytes())
            .unwrap();
        let answer = line(&mut other);
        assert!(answer.contains("file"), "{name}: {answer}");
        assert_eq!(line(&mut other), "end\n");
    }
}

/// Reads to the end of a line, byte by byte: what follows it stays in the stream.
fn line(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while bytes.last() != Some(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

/// An example under way. It ends with this.
struct Rung {
    process: Child,
    address: SocketAddr,
}

impl Rung {
    fn start(name: &str) -> Rung {
        let mut process = Command::new(example(name))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        let address = first
            .trim()
            .strip_prefix("listening on ")
            .expect(&first)
            .parse()
            .unwrap();
        Rung { process, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for Rung {
    fn drop(&mut self) {
        // It may have ended by itself, and then the test has failed already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
