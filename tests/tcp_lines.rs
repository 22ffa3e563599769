//! The lines of a real server, over sockets of peu's: it hangs up again and again, in the middle of lines too, and as it begins behind what
//! was taken, each line is taken once.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use futures_lite::AsyncWriteExt;
use peu::Runtime;
use peu::net::TcpStream;
use peu::operators::Retry;
use peu::pipeline::{Pipeline, Run as _, TcpLines, collect};

const LINES: usize = 1_000;

#[test]
fn each_line_of_a_server_that_hangs_up_is_taken_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Each connection gets 97 lines and a part of the next, and the last one the rest.
    let server = thread::spawn(move || {
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let mut told = String::new();
            BufReader::new(&stream).read_line(&mut told).unwrap();
            let taken: usize = told.trim_end().parse().unwrap();
            let lines = (taken..LINES).take(97).map(|line| format!("{line}\n"));
            stream
                .write_all(lines.collect::<String>().as_bytes())
                .unwrap();
            if taken + 97 >= LINES {
                return;
            }
            stream.write_all(b"half of a l").unwrap();
        }
    });
    let connect = move |taken: u64| async move {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("{taken}\n").as_bytes()).await?;
        Ok(stream)
    };
    let retry = Retry::fixed(Duration::from_millis(1)).max_retries(3);
    let (sink, lines) = collect();
    let job = Pipeline::source(TcpLines::new(connect).reconnect(retry)).sink(sink);
    let error = Runtime::new().unwrap().block_on(job.run()).unwrap_err();
    // When all is sent, nobody listens any more.
    assert!(
        error.to_string().contains("no line came in 4 attempts"),
        "{error}"
    );
    server.join().unwrap();
    let expected: Vec<String> = (0..LINES).map(|line| line.to_string()).collect();
    assert_eq!(lines.take(), expected);
}
