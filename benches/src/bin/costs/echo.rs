//! What an echo request costs a server, counted from outside: its one busy thread is stepped through.

use peu_benches::process::Server;
use peu_benches::serve::{Beside, Kind, Serve};
use peu_benches::step::{self, Counts};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

const CONNECTIONS: usize = 64;

/// Requests that are counted.
const REQUESTS: usize = 2 * CONNECTIONS;

/// Calls that send an answer: the end of a request.
const SENDS: [libc::c_long; 3] = [libc::SYS_sendto, libc::SYS_write, libc::SYS_writev];
const RECEIVES: [libc::c_long; 3] = [libc::SYS_recvfrom, libc::SYS_read, libc::SYS_readv];
const WAITS: [libc::c_long; 3] = [
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
];

/// Instructions, locked instructions, reads, writes, waits and other calls per request.
pub(crate) fn request(kind: Kind) -> io::Result<Vec<String>> {
    let server = Serve::start(kind, 1, Beside::Nothing)?;
    // A blocking thread has one connection; all of them do the same.
    let connections = if kind == Kind::Threads {
        1
    } else {
        CONNECTIONS
    };
    let load = Load::start(server.address(), connections)?;
    let thread = busiest_thread(&server)?;
    let counts = count_requests(thread)?;
    load.stop();
    drop(server);
    Ok(cells(&counts))
}

/// From the moment before an answer to the moment before another one, so many later.
fn count_requests(thread: i32) -> io::Result<Counts> {
    let is_send = |call: Option<u64>| call.is_some_and(|call| is_one_of(call, &SENDS));
    let mut sent = 0;
    step::count(
        thread,
        || Ok(()),
        |next| is_send(next.call()),
        |next| {
            sent += usize::from(is_send(next.call()));
            sent == REQUESTS
        },
    )
}

fn cells(counts: &Counts) -> Vec<String> {
    let each = |count: u64| count as f64 / REQUESTS as f64;
    let calls = |calls: &[libc::c_long]| -> u64 {
        let of_kind = counts
            .calls
            .iter()
            .filter(|(call, _)| is_one_of(**call, calls));
        of_kind.map(|(_, count)| count).sum()
    };
    let (reads, writes, waits) = (calls(&RECEIVES), calls(&SENDS), calls(&WAITS));
    let others = counts.calls.values().sum::<u64>() - reads - writes - waits;
    vec![
        format!("{:.0}", each(counts.instructions)),
        format!("{:.1}", each(counts.locked)),
        format!("{:.3}", each(reads)),
        format!("{:.3}", each(writes)),
        format!("{:.3}", each(waits)),
        format!("{:.3}", each(others)),
    ]
}

fn is_one_of(call: u64, calls: &[libc::c_long]) -> bool {
    calls.iter().any(|&one| one as u64 == call)
}

/// The thread of the server that has run the longest, once it has served for a while.
fn busiest_thread(server: &Server) -> io::Result<i32> {
    while server.usage()?.cpu < std::time::Duration::from_millis(100) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let mut busiest = (0, 0);
    for thread in fs::read_dir(format!("/proc/{}/task", server.id()))? {
        let thread = thread?;
        let spent = fs::read_to_string(thread.path().join("schedstat"))?;
        let spent: u64 = spent
            .split(' ')
            .next()
            .unwrap_or("")
            .parse()
            .map_err(io::Error::other)?;
        let id = thread
            .file_name()
            .to_string_lossy()
            .parse()
            .map_err(io::Error::other)?;
        busiest = busiest.max((spent, id));
    }
    Ok(busiest.1)
}

/// A thread that sends a request on every connection, then takes all answers, again and again.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Load {
    fn start(address: SocketAddr, connections: usize) -> io::Result<Load> {
        let connect = |_| {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let streams: Vec<TcpStream> = (0..connections).map(connect).collect::<io::Result<_>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                streams
                    .iter()
                    .for_each(|mut stream| stream.write_all(&[1; 64]).expect("a server"));
                streams
                    .iter()
                    .for_each(|mut stream| stream.read_exact(&mut [0; 64]).expect("a server"));
            }
        });
        Ok(Load { stop, thread })
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the server answers to the end");
    }
}
