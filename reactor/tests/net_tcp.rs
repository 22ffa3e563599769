//! TCP over loopback: connecting, accepting, and what TCP has beyond a stream of bytes.

mod support;

use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use peu_reactor::Reactor;
use peu_reactor::net::{TcpListener, TcpStream};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;
use support::block_on;

/// A connection to oneself: the end that connected, and the end that was accepted.
async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (client, accepted) =
        future::try_zip(TcpStream::connect(address), listener.accept()).await?;
    let (server, peer) = accepted;
    assert_eq!(peer, client.local_addr()?);
    Ok((client, server))
}

/// An address at which nobody listens.
fn refusing() -> io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}

#[test]
fn what_is_sent_comes_back() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let (mut client, mut server) = pair().await?;
        let echo = async {
            let mut buffer = [0; 64];
            loop {
                match server.read(&mut buffer).await? {
                    0 => return server.close().await,
                    count => server.write_all(&buffer[..count]).await?,
                }
            }
        };
        let talk = async {
            for word in ["poll", "execute", "update"] {
                client.write_all(word.as_bytes()).await?;
                let mut answer = vec![0; word.len()];
                client.read_exact(&mut answer).await?;
                assert_eq!(answer, word.as_bytes());
            }
            client.shutdown(Shutdown::Write)?;
            assert_eq!(client.read(&mut [0; 64]).await?, 0);
            io::Result::Ok(())
        };
        future::try_zip(echo, talk).await.map(drop)
    })
}

#[test]
fn a_refused_connection_says_which_and_why() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    let address = refusing()?;
    let error = block_on(&reactor, TcpStream::connect(address)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let expected = format!("cannot connect to {address}: Connection refused");
    assert!(error.to_string().starts_with(&expected), "{error}");
    Ok(())
}

#[test]
fn the_first_address_that_answers_is_taken() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addresses = [refusing()?, refusing()?, listener.local_addr()?];
        let stream = TcpStream::connect(addresses).await?;
        assert_eq!(stream.peer_addr()?, addresses[2]);

        let error = TcpStream::connect(&addresses[..2]).await.unwrap_err();
        for address in &addresses[..2] {
            assert!(error.to_string().contains(&address.to_string()), "{error}");
        }
        let error = TcpStream::connect(&addresses[..0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        Ok(())
    })
}

#[test]
fn an_address_in_use_is_named() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let error = TcpListener::bind(address).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(
            error
                .to_string()
                .contains(&format!("cannot listen on {address}: "))
        );
        Ok(())
    })
}

#[test]
fn incoming_yields_every_connection() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accept = async {
            listener
                .incoming()
                .take(3)
                .try_collect::<_, _, Vec<_>>()
                .await
        };
        let connect = async {
            let first = TcpStream::connect(address).await?;
            let second = TcpStream::connect(address).await?;
            Ok([first, second, TcpStream::connect(address).await?])
        };
        let (accepted, connected) = future::try_zip(accept, connect).await?;
        for (server, client) in accepted.iter().zip(&connected) {
            assert_eq!(server.peer_addr()?, client.local_addr()?);
        }
        Ok(())
    })
}

#[test]
fn peeking_takes_nothing() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let (mut client, mut server) = pair().await?;
        let mut buffer = [0; 64];
        let (count, ()) =
            future::try_zip(server.peek(&mut buffer), client.write_all(b"look")).await?;
        assert_eq!(&buffer[..count], b"look");
        assert_eq!(server.peek(&mut buffer).await?, 4);
        assert_eq!(server.read(&mut buffer).await?, 4);
        assert_eq!(&buffer[..4], b"look");
        client.close().await?;
        assert_eq!(server.peek(&mut buffer).await?, 0);
        Ok(())
    })
}

#[test]
fn options_are_as_they_were_set() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let (client, _server) = pair().await?;
        client.set_nodelay(true)?;
        assert!(client.nodelay()?);
        assert_eq!(client.keepalive()?, None);
        client.set_keepalive(Some(Duration::from_secs(60)))?;
        assert_eq!(client.keepalive()?, Some(Duration::from_secs(60)));
        client.set_keepalive(None)?;
        assert_eq!(client.keepalive()?, None);
        client.set_linger(Some(Duration::from_secs(3)))?;
        assert_eq!(client.linger()?, Some(Duration::from_secs(3)));
        client.set_ttl(7)?;
        assert_eq!(client.ttl()?, 7);
        assert!(client.take_error()?.is_none());
        Ok(())
    })
}

#[test]
fn streams_and_listeners_of_the_standard_library_come_and_go() -> io::Result<()> {
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let listener = TcpListener::from_std(std::net::TcpListener::bind("127.0.0.1:0")?)?;
        let blocking = std::net::TcpStream::connect(listener.local_addr()?)?;
        let mut client = TcpStream::from_std(blocking)?;
        let (mut server, _) = listener.accept().await?;
        server.write_all(b"!").await?;
        assert_eq!(client.read(&mut [0; 8]).await?, 1);
        assert_eq!(client.peer_addr()?, listener.into_std().local_addr()?);
        assert!(client.into_std().take_error()?.is_none());
        Ok(())
    })
}

#[test]
fn without_a_reactor_the_error_says_what_to_do() {
    let error = future::block_on(TcpListener::bind("127.0.0.1:0")).unwrap_err();
    assert!(
        error.to_string().contains("call this inside `block_on`"),
        "{error}"
    );
}
