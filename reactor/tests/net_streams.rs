//! What holds for every stream, TCP or Unix: each test runs on both.

mod support;

use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use peu_reactor::Reactor;
use peu_reactor::net::{ByteStream, TcpListener, TcpStream, UnixStream};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::pin;
use std::thread;
use support::{block_on, turn};

/// Runs a test on the two ends of a TCP connection.
fn on_tcp<F>(test: impl FnOnce(TcpStream, TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>>,
{
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    block_on(&reactor, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let connect = TcpStream::connect(listener.local_addr()?);
        let (here, (there, _)) = future::try_zip(connect, listener.accept()).await?;
        test(here, there).await
    })
}

/// Runs a test on the two ends of a Unix connection.
fn on_unix<F>(test: impl FnOnce(UnixStream, UnixStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>>,
{
    let reactor = Reactor::new()?;
    let _entered = reactor.enter();
    let (here, there) = UnixStream::pair()?;
    block_on(&reactor, test(here, there))
}

/// Lets the reactor deliver what the system has to say until now.
fn settle() {
    let reactor = Reactor::current().expect("the test is inside a reactor");
    reactor
        .turn(Some(std::time::Duration::ZERO))
        .expect("the reactor turns");
}

/// The reader asks for more than there is, which ends its readiness; the end must be seen all the same.
async fn sees_an_end_that_comes_with_data<T: AsFd>(
    mut here: ByteStream<T>,
    mut there: ByteStream<T>,
) -> io::Result<()> {
    let mut buffer = [0; 64];
    here.write_all(b"last").await?;
    here.close().await?;
    // Of the two events the reactor has heard nothing yet.
    assert_eq!(there.read(&mut buffer).await?, 4);
    assert_eq!(there.read(&mut buffer).await?, 0);
    assert_eq!(there.read(&mut buffer).await?, 0, "an end stays");

    // The other direction is open still, and this time the events are known before the read.
    there.write_all(b"answer").await?;
    there.close().await?;
    settle();
    assert_eq!(here.read(&mut buffer).await?, 6);
    assert_eq!(here.read(&mut buffer).await?, 0);
    Ok(())
}

#[test]
fn an_end_that_comes_with_data_is_seen() -> io::Result<()> {
    on_tcp(sees_an_end_that_comes_with_data)?;
    on_unix(sees_an_end_that_comes_with_data)
}

async fn sees_an_end_that_comes_later<T: AsFd>(
    mut here: ByteStream<T>,
    mut there: ByteStream<T>,
) -> io::Result<()> {
    let mut buffer = [0; 64];
    here.write_all(b"data").await?;
    assert_eq!(there.read(&mut buffer).await?, 4);
    let (count, ()) = future::try_zip(there.read(&mut buffer), here.close()).await?;
    assert_eq!(count, 0);
    drop(here);
    there.close().await?;
    there.close().await
}

#[test]
fn an_end_that_comes_later_is_seen_and_closing_again_is_fine() -> io::Result<()> {
    on_tcp(sees_an_end_that_comes_later)?;
    on_unix(sees_an_end_that_comes_later)
}

/// Longer than the buffers between the two ends, once they are [narrow].
const LONG: usize = PERIOD << 13;
/// Of the bytes that are sent. It is prime, so a lost or repeated piece shows.
const PERIOD: usize = 251;

/// Makes the system's buffers of this end 128 KiB. (Much less than the 64 KiB of a packet over loopback would stall TCP.)
fn narrow<T: AsFd>(stream: &ByteStream<T>) -> io::Result<()> {
    let socket = socket2::SockRef::from(stream);
    socket.set_send_buffer_size(1 << 17)?;
    socket.set_recv_buffer_size(1 << 17)
}

fn pattern() -> Vec<u8> {
    (0..PERIOD as u8).collect::<Vec<u8>>().repeat(LONG / PERIOD)
}

async fn transfers_much_both_ways<T: AsFd>(
    mut here: ByteStream<T>,
    mut there: ByteStream<T>,
) -> io::Result<()> {
    narrow(&here)?;
    narrow(&there)?;
    let bytes = pattern();
    let send = async |mut stream: &ByteStream<T>| {
        stream.write_all(&bytes).await?;
        stream.close().await
    };
    let receive = async |mut stream: &ByteStream<T>| {
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await?;
        assert!(
            received == bytes,
            "{} bytes came over changed",
            received.len()
        );
        Ok(())
    };
    let (a, b) = (here.split(), there.split());
    let forth = future::try_zip(send(a.1.stream()), receive(b.0.stream()));
    let back = future::try_zip(send(b.1.stream()), receive(a.0.stream()));
    future::try_zip(forth, back).await.map(drop)
}

#[test]
fn much_is_transferred_both_ways_at_once() -> io::Result<()> {
    on_tcp(transfers_much_both_ways)?;
    on_unix(transfers_much_both_ways)
}

async fn echoes_in_another_thread<T: AsFd + Send + Sync + 'static>(
    here: ByteStream<T>,
    there: ByteStream<T>,
) -> io::Result<()> {
    narrow(&here)?;
    narrow(&there)?;
    let (reader, writer) = there.into_split();
    let echo = thread::spawn(move || future::block_on(futures_lite::io::copy(reader, writer)));
    let (mut reader, mut writer) = here.into_split();
    let bytes = pattern();
    let mut answer = Vec::new();
    let talk = async {
        writer.write_all(&bytes).await?;
        // The echo ends its direction when it drops its half, and that by itself.
        drop(writer);
        Ok(())
    };
    future::try_zip(talk, reader.read_to_end(&mut answer)).await?;
    assert!(answer == bytes, "{} bytes came back changed", answer.len());
    assert_eq!(echo.join().expect("the echo does not panic")?, LONG as u64);
    Ok(())
}

#[test]
fn owned_halves_can_go_to_other_threads() -> io::Result<()> {
    on_tcp(echoes_in_another_thread)?;
    on_unix(echoes_in_another_thread)
}

async fn reunites<T: AsFd + std::fmt::Debug>(
    here: ByteStream<T>,
    there: ByteStream<T>,
) -> io::Result<()> {
    let (a, b) = (here.into_split(), there.into_split());
    let error = a.0.reunite(b.1).unwrap_err();
    assert!(error.to_string().contains("two different streams"));
    let mut here = error.0.reunite(a.1).unwrap();
    let mut there = b.0.reunite(error.1).unwrap();
    here.write_all(b"whole").await?;
    assert_eq!(there.read(&mut [0; 64]).await?, 5);
    there.write_all(b"again").await?;
    assert_eq!(here.read(&mut [0; 64]).await?, 5);
    Ok(())
}

#[test]
fn halves_become_whole_again_with_both_directions_open() -> io::Result<()> {
    on_tcp(reunites)?;
    on_unix(reunites)
}

async fn keeps_what_a_dropped_read_would_have_got<T: AsFd>(
    mut here: ByteStream<T>,
    mut there: ByteStream<T>,
) -> io::Result<()> {
    let mut buffer = [0; 64];
    {
        let mut read = pin!(there.read(&mut buffer));
        assert!(future::poll_once(&mut read).await.is_none());
        here.write_all(b"kept").await?;
        // The event wakes the read, which is then dropped.
        turn(&Reactor::current().expect("the test is inside a reactor"));
    }
    assert_eq!(there.read(&mut buffer).await?, 4);
    assert_eq!(&buffer[..4], b"kept");
    Ok(())
}

#[test]
fn a_dropped_read_loses_nothing() -> io::Result<()> {
    on_tcp(keeps_what_a_dropped_read_would_have_got)?;
    on_unix(keeps_what_a_dropped_read_would_have_got)
}

async fn moves_several_buffers_at_once<T: AsFd>(
    mut here: ByteStream<T>,
    mut there: ByteStream<T>,
) -> io::Result<()> {
    let words = [
        IoSlice::new(b"poll"),
        IoSlice::new(b"execute"),
        IoSlice::new(b"update"),
    ];
    assert_eq!(here.write_vectored(&words).await?, 17);
    let (mut first, mut second) = ([0; 11], [0; 64]);
    let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(there.read_vectored(&mut buffers).await?, 17);
    assert_eq!((&first, &second[..6]), (b"pollexecute", &b"update"[..]));
    // A short read of several buffers has ended the readiness as well: the next one waits.
    let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    let read = there.read_vectored(&mut buffers);
    let (count, ()) = future::try_zip(read, here.write_all(b"!")).await?;
    assert_eq!(count, 1);
    Ok(())
}

#[test]
fn several_buffers_are_moved_at_once() -> io::Result<()> {
    on_tcp(moves_several_buffers_at_once)?;
    on_unix(moves_several_buffers_at_once)
}

/// Slices of one byte each, more than the system takes with one call; and, before them, more empty ones than that.
async fn moves_more_buffers_than_the_system_takes<T: AsFd>(
    mut here: ByteStream<T>,
    mut there: ByteStream<T>,
) -> io::Result<()> {
    let bytes: Vec<u8> = (0..2_000).map(|index| index as u8).collect();
    let (mut sent, mut received) = (0, vec![0; bytes.len()]);
    while sent < bytes.len() {
        let empty = std::iter::repeat_n(IoSlice::new(&[]), 2_000);
        let slices: Vec<_> = empty
            .chain(bytes[sent..].chunks(1).map(IoSlice::new))
            .collect();
        match here.write_vectored(&slices).await? {
            0 => return Err(ErrorKind::WriteZero.into()),
            count => sent += count,
        }
    }
    let mut done = 0;
    while done < received.len() {
        let mut slices: Vec<_> = std::iter::repeat_with(|| IoSliceMut::new(&mut []))
            .take(2_000)
            .collect();
        slices.extend(received[done..].chunks_mut(1).map(IoSliceMut::new));
        match there.read_vectored(&mut slices).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => done += count,
        }
    }
    assert_eq!(received, bytes);
    Ok(())
}

#[test]
fn more_buffers_than_the_system_takes_are_moved_in_parts() -> io::Result<()> {
    on_tcp(moves_more_buffers_than_the_system_takes)?;
    on_unix(moves_more_buffers_than_the_system_takes)
}

async fn tries_without_waiting<T: AsFd>(
    here: ByteStream<T>,
    there: ByteStream<T>,
) -> io::Result<()> {
    let mut buffer = [0; 64];
    assert_eq!(
        there.try_read(&mut buffer).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    let chunk = [7; 1 << 16];
    let mut written = 0;
    here.writable().await?;
    loop {
        match here.try_write(&chunk) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    here.shutdown(Shutdown::Write)?;
    let mut read = 0;
    loop {
        there.readable().await?;
        match there.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    assert_eq!(read, written);
    Ok(())
}

#[test]
fn attempts_can_be_made_without_waiting() -> io::Result<()> {
    on_tcp(tries_without_waiting)?;
    on_unix(tries_without_waiting)
}

async fn is_told_of_a_broken_connection<T: AsFd>(
    mut here: ByteStream<T>,
    there: ByteStream<T>,
) -> io::Result<()> {
    drop(there);
    let error = loop {
        // The first writes may still go into the void.
        if let Err(error) = here.write_all(&[0; 1 << 16]).await {
            break error;
        }
    };
    let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    assert!(kinds.contains(&error.kind()), "{error}");
    Ok(())
}

#[test]
fn writing_to_who_is_gone_is_an_error() -> io::Result<()> {
    on_tcp(is_told_of_a_broken_connection)?;
    on_unix(is_told_of_a_broken_connection)
}

async fn is_told_that_the_reactor_is_closed<T: AsFd>(
    mut here: ByteStream<T>,
    _there: ByteStream<T>,
) -> io::Result<()> {
    let reactor = Reactor::current().expect("the test is inside a reactor");
    let mut buffer = [0; 64];
    let mut read = pin!(here.read(&mut buffer));
    assert!(future::poll_once(&mut read).await.is_none());
    reactor.close();
    let error = read.await.unwrap_err();
    assert!(error.to_string().contains("runtime is gone"), "{error}");
    Ok(())
}

#[test]
fn a_read_ends_when_the_reactor_is_closed() -> io::Result<()> {
    on_tcp(is_told_that_the_reactor_is_closed)?;
    on_unix(is_told_that_the_reactor_is_closed)
}
