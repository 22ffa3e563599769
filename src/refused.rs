//! What the compiler refuses, because it would be a data race, or memory used after its end. Here for its tests only.
//!
//! Each sample that must not compile stands below one that does and differs in a line, so that it can't fail for another
//! reason, a typing error say.
//!
//! # A future that is not `Send`, on workers that steal
//!
//! ```
//! # let runtime = peu::Runtime::builder().workers(1).build().unwrap();
//! let shared = std::sync::Arc::new(1);
//! runtime.spawn(async move {
//!     peu::task::yield_now().await;
//!     drop(shared);
//! });
//! ```
//! ```compile_fail
//! # let runtime = peu::Runtime::builder().workers(1).build().unwrap();
//! let shared = std::rc::Rc::new(1);
//! runtime.spawn(async move {
//!     peu::task::yield_now().await;
//!     drop(shared);
//! });
//! ```
//!
//! # The same, given to a local runtime by another thread's handle
//!
//! ```
//! let runtime = peu::LocalRuntime::new().unwrap();
//! let shared = std::rc::Rc::new(1);
//! runtime.spawn_local(async move { drop(shared) });
//! ```
//! ```compile_fail
//! let runtime = peu::LocalRuntime::new().unwrap();
//! let shared = std::rc::Rc::new(1);
//! runtime.handle().spawn(async move { drop(shared) });
//! ```
//!
//! # An output that is not `Send`
//!
//! ```
//! # let runtime = peu::Runtime::builder().workers(1).build().unwrap();
//! runtime.spawn(async { std::sync::Arc::new(1) });
//! ```
//! ```compile_fail
//! # let runtime = peu::Runtime::builder().workers(1).build().unwrap();
//! runtime.spawn(async { std::rc::Rc::new(1) });
//! ```
//!
//! # The handle of a local task goes to another thread only with what it yields
//!
//! ```
//! let runtime = peu::LocalRuntime::new().unwrap();
//! let task = runtime.spawn_local(async { 1 });
//! std::thread::spawn(move || drop(task)).join().unwrap();
//! ```
//! ```compile_fail
//! let runtime = peu::LocalRuntime::new().unwrap();
//! let task = runtime.spawn_local(async { std::rc::Rc::new(1) });
//! std::thread::spawn(move || drop(task)).join().unwrap();
//! ```
//!
//! # A local runtime stays on its thread
//!
//! ```
//! let runtime = peu::Runtime::builder().workers(1).build().unwrap();
//! std::thread::spawn(move || drop(runtime)).join().unwrap();
//! ```
//! ```compile_fail
//! let runtime = peu::LocalRuntime::new().unwrap();
//! std::thread::spawn(move || drop(runtime)).join().unwrap();
//! ```
//!
//! # A task that borrows from whoever starts it
//!
//! ```
//! # let runtime = peu::Runtime::builder().workers(1).build().unwrap();
//! let text = "owned".to_owned();
//! runtime.spawn(async move { text.len() });
//! ```
//! ```compile_fail
//! # let runtime = peu::Runtime::builder().workers(1).build().unwrap();
//! let text = "owned".to_owned();
//! runtime.spawn(async { text.len() });
//! ```
//!
//! # An operation with a borrowed buffer, which the reactor would hold for longer than the borrow
//!
//! ```
//! use peu::reactor::{Async, Direction, Operation, Source};
//! use std::{io, net::UdpSocket};
//!
//! struct Receive { socket: Async<UdpSocket>, buffer: Vec<u8> }
//!
//! impl Operation for Receive {
//!     type Output = usize;
//!     fn source(&self) -> &Source { self.socket.source() }
//!     fn direction(&self) -> Direction { Direction::Read }
//!     fn execute(&mut self) -> io::Result<usize> { self.socket.get_ref().recv(&mut self.buffer) }
//! }
//! ```
//! ```compile_fail
//! use peu::reactor::{Async, Direction, Operation, Source};
//! use std::{io, net::UdpSocket};
//!
//! struct Receive<'a> { socket: Async<UdpSocket>, buffer: &'a mut [u8] }
//!
//! impl Operation for Receive<'_> {
//!     type Output = usize;
//!     fn source(&self) -> &Source { self.socket.source() }
//!     fn direction(&self) -> Direction { Direction::Read }
//!     fn execute(&mut self) -> io::Result<usize> { self.socket.get_ref().recv(self.buffer) }
//! }
//! ```
//!
//! # A callback that borrows
//!
//! ```
//! use peu::reactor::{Async, Reactor, operation::Read};
//! use std::{os::unix::net::UnixStream, sync::Arc};
//!
//! let reactor = Reactor::new()?;
//! let (here, _there) = UnixStream::pair()?;
//! let here = Arc::new(Async::with_reactor(here, &reactor)?);
//! let mut read = 0;
//! reactor.submit(Read::new(here, vec![0; 1]), move |_, count| read = count.unwrap_or(0))?;
//! reactor.close();
//! # std::io::Result::Ok(())
//! ```
//! ```compile_fail
//! use peu::reactor::{Async, Reactor, operation::Read};
//! use std::{os::unix::net::UnixStream, sync::Arc};
//!
//! let reactor = Reactor::new()?;
//! let (here, _there) = UnixStream::pair()?;
//! let here = Arc::new(Async::with_reactor(here, &reactor)?);
//! let mut read = 0;
//! reactor.submit(Read::new(here, vec![0; 1]), |_, count| read = count.unwrap_or(0))?;
//! reactor.close();
//! # std::io::Result::Ok(())
//! ```
