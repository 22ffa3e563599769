//! Unix sockets, of streams and of datagrams, in a folder that is removed afterwards.

mod support;

use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use peu_reactor::Reactor;
use peu_reactor::net::{UnixDatagram, UnixListener, UnixStream};
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use support::block_on;
use tempfile::tempdir;

#[test]
fn what_is_sent_comes_back() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    let folder = tempdir()?;
    let path = folder.path().join("echo.sock");
    block_on(&reactor, async {
        let listener = UnixListener::bind(&path)?;
        let serve = async {
            let (mut stream, peer) = listener.accept().await?;
            assert!(peer.is_unnamed());
            let mut buffer = [0; 64];
            loop {
                match stream.read(&mut buffer).await? {
                    0 => return Ok(()),
                    count => stream.write_all(&buffer[..count]).await?,
                }
            }
        };
        let talk = async {
            let mut client = UnixStream::connect(&path).await?;
            assert_eq!(client.peer_addr()?.as_pathname(), Some(path.as_path()));
            assert!(client.local_addr()?.is_unnamed());
            for word in ["poll", "execute", "update"] {
                client.write_all(word.as_bytes()).await?;
                let mut answer = vec![0; word.len()];
                client.read_exact(&mut answer).await?;
                assert_eq!(answer, word.as_bytes());
            }
            client.shutdown(Shutdown::Write)
        };
        future::try_zip(serve, talk).await.map(drop)
    })
}

#[test]
fn a_peer_with_a_name_is_told_by_it() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    let folder = tempdir()?;
    let name = folder.path().join("client.sock");
    let address = socket2::SockAddr::unix(folder.path().join("server.sock"))?;
    let listener = UnixListener::bind(folder.path().join("server.sock"))?;
    let named = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    named.bind(&socket2::SockAddr::unix(&name)?)?;
    named.connect(&address)?;
    let (_, peer) = block_on(&reactor, listener.accept())?;
    assert_eq!(peer.as_pathname(), Some(name.as_path()));
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn abstract_names_come_through_the_standard_library() -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net;

    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    let name = |end: &str| format!("peu-reactor-{}-{end}", std::process::id());
    let server = net::SocketAddr::from_abstract_name(name("server"))?;
    let listener = UnixListener::from_std(net::UnixListener::bind_addr(&server)?)?;
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(format!("\0{}", name("client")))?)?;
    socket.connect(&socket2::SockAddr::unix(format!("\0{}", name("server")))?)?;
    let (_, peer) = block_on(&reactor, listener.accept())?;
    assert_eq!(peer.as_abstract_name(), Some(name("client").as_bytes()));
    Ok(())
}

#[test]
fn errors_name_the_path() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    let folder = tempdir()?;
    let path = folder.path().join("nobody.sock");
    let told = |error: io::Error| error.to_string();
    let missing = block_on(&reactor, UnixStream::connect(&path)).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    assert!(told(missing).contains(&format!("cannot connect to {}: ", path.display())));

    drop(UnixListener::bind(&path)?);
    let refused = block_on(&reactor, UnixStream::connect(&path)).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    let taken = UnixListener::bind(&path).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    assert!(told(taken).contains("if it is the socket of a server that is gone, remove it"));
    assert!(told(UnixDatagram::bind(&path).unwrap_err()).contains("remove it"));

    let long = folder.path().join("x".repeat(200));
    assert!(told(UnixListener::bind(&long).unwrap_err()).contains(&"x".repeat(200)));
    Ok(())
}

#[test]
fn incoming_yields_every_connection() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    let folder = tempdir()?;
    let path = folder.path().join("server.sock");
    block_on(&reactor, async {
        let listener = UnixListener::bind(&path)?;
        let (mut one, mut two) = (
            UnixStream::connect(&path).await?,
            UnixStream::connect(&path).await?,
        );
        one.write_all(b"1").await?;
        two.write_all(b"2").await?;
        let accepted: Vec<UnixStream> = listener.incoming().take(2).try_collect().await?;
        let mut heard = String::new();
        for mut stream in accepted {
            let mut byte = [0];
            stream.read_exact(&mut byte).await?;
            heard.push(byte[0].into());
        }
        assert_eq!(heard, "12");
        Ok(())
    })
}

/// The system says "try again" to a non-blocking connect while the queue is full, and never that there is a place.
#[test]
fn a_connect_waits_for_a_place_in_the_queue() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    let folder = tempdir()?;
    let path = folder.path().join("narrow.sock");
    let narrow = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    narrow.bind(&socket2::SockAddr::unix(&path)?)?;
    narrow.listen(0)?;
    block_on(&reactor, async {
        let listener = UnixListener::from_std(narrow.into())?;
        let mut waiting = Box::pin(UnixStream::connect(&path));
        let mut connected = Vec::new();
        while let Some(stream) = future::poll_once(&mut waiting).await {
            connected.push(stream?);
            waiting = Box::pin(UnixStream::connect(&path));
        }
        assert!(
            !connected.is_empty(),
            "the queue has a place, or the test proves nothing"
        );
        let (_last, _) = future::try_zip(waiting, listener.accept()).await?;
        Ok(())
    })
}

#[test]
fn datagrams_arrive_whole_and_with_their_sender() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    let folder = tempdir()?;
    let (here, there) = (
        folder.path().join("here.sock"),
        folder.path().join("there.sock"),
    );
    block_on(&reactor, async {
        let (one, two) = (UnixDatagram::bind(&here)?, UnixDatagram::bind(&there)?);
        let mut buffer = [0; 64];
        one.send_to(b"first", &there).await?;
        one.send_to(b"second one", &there).await?;
        let (length, sender) = two.recv_from(&mut buffer).await?;
        assert_eq!(&buffer[..length], b"first");
        assert_eq!(sender.as_pathname(), Some(here.as_path()));
        assert_eq!(two.recv_from(&mut buffer).await?.0, 10);

        two.connect(&here)?;
        assert_eq!(two.peer_addr()?.as_pathname(), Some(here.as_path()));
        let (length, sent) = future::try_zip(one.recv(&mut buffer), two.send(b"answer")).await?;
        assert_eq!((&buffer[..length], sent), (&b"answer"[..], 6));

        let nowhere = folder.path().join("nowhere.sock");
        let error = one.send_to(b"?", &nowhere).await.unwrap_err();
        assert!(
            error.to_string().contains(&nowhere.display().to_string()),
            "{error}"
        );
        assert!(UnixDatagram::unbound()?.local_addr()?.is_unnamed());
        Ok(())
    })
}

/// Senders wait while the receiver's queue is full: one that is connected for an event, one that is not by the clock.
#[test]
fn a_full_queue_makes_senders_wait() -> io::Result<()> {
    const COUNT: usize = 2_000;
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    let folder = tempdir()?;
    let path = folder.path().join("server.sock");
    block_on(&reactor, async {
        let server = UnixDatagram::bind(&path)?;
        let connected = UnixDatagram::unbound()?;
        connected.connect(&path)?;
        let send = async {
            for _ in 0..COUNT {
                connected.send(b"datagram").await?;
            }
            let free = UnixDatagram::unbound()?;
            let mut sent = 0;
            // Fills the queue, and then sends one more.
            while future::poll_once(Box::pin(free.send_to(b"more", &path)))
                .await
                .is_some()
            {
                sent += 1;
            }
            free.send_to(b"last", &path).await?;
            io::Result::Ok(sent)
        };
        let mut received = 0;
        let receive = async {
            let mut buffer = [0; 64];
            loop {
                let length = server.recv(&mut buffer).await?;
                received += 1;
                if &buffer[..length] == b"last" {
                    return io::Result::Ok(());
                }
            }
        };
        let (more, ()) = future::try_zip(send, receive).await?;
        assert!(more > 0, "the queue has a place");
        assert_eq!(received, COUNT + more + 1);
        Ok(())
    })
}

/// A socket that is not connected finds another one's queue full, and can still send elsewhere.
#[test]
fn trying_to_send_a_datagram_does_not_wait() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    let folder = tempdir()?;
    let (narrow, wide) = (
        folder.path().join("narrow.sock"),
        folder.path().join("wide.sock"),
    );
    block_on(&reactor, async {
        let (full, empty) = (UnixDatagram::bind(&narrow)?, UnixDatagram::bind(&wide)?);
        let sender = UnixDatagram::unbound()?;
        let mut sent = 0;
        let error = loop {
            match sender.try_send_to(b"datagram", &narrow) {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(sender.try_send_to(b"elsewhere", &wide)?, 9);
        let mut buffer = [0; 64];
        assert_eq!(empty.recv(&mut buffer).await?, 9);
        full.readable().await?;
        let mut received = 0;
        while full.try_recv(&mut buffer).is_ok() {
            received += 1;
        }
        assert_eq!(received, sent);
        sender.writable().await
    })
}

#[test]
fn datagrams_can_be_polled() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let (here, there) = UnixDatagram::pair()?;
        let mut buffer = [0; 64];
        let receive = poll_fn(|context| there.poll_recv_from(context, &mut buffer));
        let send = poll_fn(|context| here.poll_send(context, b"first"));
        let ((length, sender), sent) = future::try_zip(receive, send).await?;
        assert_eq!((length, sent), (5, 5));
        assert!(sender.is_unnamed());
        assert_eq!(&buffer[..5], b"first");
        Ok(())
    })
}

#[test]
fn a_pair_of_datagram_sockets_can_be_shut_down() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let (here, there) = UnixDatagram::pair()?;
        assert_eq!(here.send(b"last words").await?, 10);
        here.shutdown(Shutdown::Write)?;
        let mut buffer = [0; 64];
        assert_eq!(there.recv(&mut buffer).await?, 10);
        assert_eq!(
            here.send(b"more").await.unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        assert!(here.take_error()?.is_none());
        assert!(there.into_std().peer_addr()?.is_unnamed());
        Ok(())
    })
}
