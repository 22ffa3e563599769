//! A callback that borrows from whoever submits the operation.
//!
//! refused: may outlive the current function

use peu::reactor::{Async, Reactor, operation::Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

fn main() {
    let reactor = Reactor::new().unwrap();
    let (here, _there) = UnixStream::pair().unwrap();
    let here = Arc::new(Async::with_reactor(here, &reactor).unwrap());
    let mut read = 0;
    let callback = move |_, count: std::io::Result<usize>| read = count.unwrap_or(0); // right
    let callback = |_, count: std::io::Result<usize>| read = count.unwrap_or(0); // wrong, here
    reactor.submit(Read::new(here, vec![0; 1]), callback).unwrap();
    reactor.close();
}
