//! The protocol at its edges: what arrives in pieces, what never ends, what would overflow a stack.

use redis_protocol::resp2::types::OwnedFrame;

use crate::resp::{Decoder, command, encode};

fn feed(decoder: &mut Decoder, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let room = decoder.room();
        let length = room.len().min(bytes.len());
        room[..length].copy_from_slice(&bytes[..length]);
        decoder.received(length);
        bytes = &bytes[length..];
    }
}

#[test]
fn frames_come_whole_however_they_are_cut() {
    let frames = [
        command([b"SET", b"airport:IAH", b"{\"name\":\"a\r\n*1\r\nb\"}"]),
        OwnedFrame::Null,
        OwnedFrame::Error("ERR no".to_owned()),
        OwnedFrame::BulkString(Vec::new()),
    ];
    let mut bytes = Vec::new();
    frames
        .iter()
        .for_each(|frame| encode(frame, &mut bytes).unwrap());
    for piece in 1..=bytes.len() {
        let mut decoder = Decoder::default();
        let mut received = Vec::new();
        for bytes in bytes.chunks(piece) {
            feed(&mut decoder, bytes);
            while let Some(frame) = decoder.next().unwrap() {
                received.push(frame);
            }
        }
        assert_eq!(received, frames, "in pieces of {piece}");
    }
}

#[test]
fn a_frame_without_end_is_refused_before_it_fills_the_memory() {
    let mut decoder = Decoder::default();
    feed(&mut decoder, b"$1000000000\r\n");
    let mut fed = 0;
    let refused = loop {
        feed(&mut decoder, &[b'x'; 4096]);
        fed += 4096;
        match decoder.next() {
            Ok(None) => assert!(fed < 1 << 20, "still taken after a megabyte"),
            Ok(Some(frame)) => panic!("{frame:?}"),
            Err(failure) => break failure,
        }
    };
    assert!(refused.to_string().contains("longer than"), "{refused}");
}

/// On this thread's stack of two megabytes, the decoder alone would overflow.
#[test]
fn nested_arrays_are_refused() {
    for opening in ["*1\r\n", "*2\r\n$1\r\na\r\n", "*3\r\n:7\r\n$-1\r\n"] {
        let mut decoder = Decoder::default();
        feed(&mut decoder, opening.repeat(3000).as_bytes());
        assert!(
            decoder
                .next()
                .unwrap_err()
                .to_string()
                .contains("inside an array"),
            "{opening}"
        );
    }
}

#[test]
fn bytes_of_another_protocol_are_refused() {
    let mut decoder = Decoder::default();
    feed(&mut decoder, b"GET / HTTP/1.1\r\n\r\n");
    assert!(
        decoder
            .next()
            .unwrap_err()
            .to_string()
            .contains("not Redis's protocol")
    );
}
