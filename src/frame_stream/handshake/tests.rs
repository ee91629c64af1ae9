use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::io::{DuplexStream, ReadBuf, duplex};

use super::*;
use crate::listener::ErrorReason;

const DEADLINE: Duration = Duration::from_secs(4);

/// A peer that sends fixed bytes.
struct Scripted {
    said: Vec<u8>,
    read: usize,
    written: Vec<u8>,
    /// The largest number of bytes that one read returns.
    step: usize,
    end: Option<io::ErrorKind>,
}

impl Scripted {
    fn new(said: &[u8]) -> Self {
        Self {
            said: said.to_vec(),
            read: 0,
            written: Vec::new(),
            step: usize::MAX,
            end: None,
        }
    }
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.said[self.read..];
        let count = rest.len().min(self.step).min(buffer.remaining());
        if count == 0
            && let Some(end) = self.end
        {
            return Poll::Ready(Err(end.into()));
        }
        buffer.put_slice(&rest[..count]);
        self.read += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn control(kind: ControlKind, content_types: &[&'static [u8]]) -> Vec<u8> {
    let content_types = content_types.iter().map(|name| Bytes::from_static(name));
    Control::new(kind, content_types.collect())
        .expect("within bounds")
        .encode()
        .to_vec()
}

fn unknown(kind: u32) -> Vec<u8> {
    let mut frame = b"\0\0\0\0\0\0\0\x09".to_vec();
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(b"whole");
    frame
}

async fn accept_bytes(said: &[u8]) -> (Result<Mode, HandshakeError>, Scripted) {
    let mut peer = Scripted::new(said);
    (accept(&mut peer, DEADLINE).await, peer)
}

async fn expect_frame(io: &mut DuplexStream, control: &Control) {
    let expected = control.encode();
    let mut found = vec![0; expected.len()];
    io.read_exact(&mut found).await.expect("a whole frame");
    assert_eq!(found, expected);
}

#[tokio::test]
async fn ready_is_answered_before_start_is_sent() {
    let (mut collector, mut sender) = duplex(64);
    let accepting = tokio::spawn(async move {
        let mode = accept(&mut collector, DEADLINE).await;
        (mode, collector)
    });
    sender
        .write_all(&Control::ready().encode())
        .await
        .expect("READY");
    expect_frame(&mut sender, &Control::accept()).await;
    sender
        .write_all(&Control::start().encode())
        .await
        .expect("START");
    sender.write_all(b"\0\0\0\x01x").await.expect("data");
    let (mode, mut collector) = accepting.await.expect("no panic");
    assert_eq!(mode.expect("a stream"), Mode::Bidirectional);
    let mut data = [0; 5];
    collector
        .read_exact(&mut data)
        .await
        .expect("the first data frame");
    assert_eq!(&data, b"\0\0\0\x01x");
}

#[tokio::test]
async fn open_and_accept_are_compatible() {
    let (mut collector, mut sender) = duplex(16);
    let (accepted, opened) = tokio::join!(
        accept(&mut collector, DEADLINE),
        open(&mut sender, DEADLINE)
    );
    assert_eq!(accepted.expect("accepted"), Mode::Bidirectional);
    opened.expect("opened");
}

#[tokio::test]
async fn an_offered_stream_begins_with_start() {
    let mut peer = Scripted::new(&Control::accept().encode());
    offer(&mut peer, DEADLINE).await.expect("accepted");
    assert_eq!(peer.written, *Control::ready().encode());
    peer.written.clear();
    start(&mut peer, DEADLINE).await.expect("begun");
    assert_eq!(peer.written, *Control::start().encode());
}

#[tokio::test(start_paused = true)]
async fn writing_start_has_a_deadline() {
    let (mut sender, _collector) = duplex(1);
    let error = start(&mut sender, DEADLINE).await.expect_err("no room");
    assert_eq!(
        error.to_string(),
        "the handshake took longer than 4s, waiting for room to write START"
    );
}

#[tokio::test]
async fn start_first_is_unidirectional_and_gets_no_answer() {
    let said = [Control::start().encode().as_ref(), b"\0\0\0\x01x"].concat();
    let (mode, peer) = accept_bytes(&said).await;
    assert_eq!(mode.expect("a stream"), Mode::Unidirectional);
    assert!(peer.written.is_empty());
    assert_eq!(peer.read, said.len() - 5);
}

#[tokio::test]
async fn a_sender_without_a_content_type_is_accepted() {
    let said = [
        control(ControlKind::Ready, &[]),
        control(ControlKind::Start, &[]),
    ]
    .concat();
    let (mode, peer) = accept_bytes(&said).await;
    assert_eq!(mode.expect("a stream"), Mode::Bidirectional);
    assert_eq!(peer.written, Control::accept().encode());
}

#[tokio::test]
async fn a_sender_of_another_content_type_gets_an_accept_of_dnstap() {
    let (outcome, peer) = accept_bytes(&control(ControlKind::Ready, &[b"a\n", b"b"])).await;
    let error = outcome.expect_err("not dnstap");
    assert_eq!(ErrorReason::from(&error).label(), "content_type");
    insta::assert_snapshot!(error, @r#"the peer's content type is "a\n", "b", but tapfan supports only "protobuf:dnstap.Dnstap""#);
    assert_eq!(peer.written, Control::accept().encode());
}

#[tokio::test]
async fn a_start_of_another_content_type_is_answered_with_finish() {
    let said = [
        Control::ready().encode().to_vec(),
        control(ControlKind::Start, &[b"b"]),
    ]
    .concat();
    let (outcome, peer) = accept_bytes(&said).await;
    assert!(matches!(outcome, Err(HandshakeError::ContentType(offered)) if offered == ["b"]));
    let answers = [Control::accept().encode(), Control::finish().encode()].concat();
    assert_eq!(peer.written, answers);

    let (outcome, peer) = accept_bytes(&control(ControlKind::Start, &[b"b"])).await;
    assert!(matches!(outcome, Err(HandshakeError::ContentType { .. })));
    assert!(
        peer.written.is_empty(),
        "a unidirectional sender does not read"
    );
}

#[tokio::test]
async fn unknown_frames_are_skipped_up_to_a_limit() {
    let said = [
        unknown(6).repeat(MAX_UNKNOWN_FRAMES),
        Control::start().encode().to_vec(),
    ]
    .concat();
    assert!(accept_bytes(&said).await.0.is_ok());
    let said = [unknown(6), said].concat();
    let error = accept_bytes(&said).await.0.expect_err("too many");
    assert!(
        matches!(error, HandshakeError::OnlyUnknownFrames { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_peer_that_sends_nothing_is_a_probe() {
    for end in [
        None,
        Some(io::ErrorKind::ConnectionReset),
        Some(io::ErrorKind::UnexpectedEof),
    ] {
        let mut peer = Scripted::new(b"");
        peer.end = end;
        let error = accept(&mut peer, DEADLINE).await.expect_err("no stream");
        assert!(matches!(error, HandshakeError::NothingSent), "{error}");
    }
    let mut peer = Scripted::new(b"\0");
    peer.end = Some(io::ErrorKind::ConnectionReset);
    let error = accept(&mut peer, DEADLINE).await.expect_err("no stream");
    assert!(matches!(error, HandshakeError::Io { .. }), "{error}");
}

#[tokio::test]
async fn errors_for_broken_peers() {
    let mut sentences = Vec::new();
    for said in [
        b"\0\0\0\0\0".to_vec(),
        Control::ready().encode().to_vec(),
        b"\x16\x03\x01\x02\0\x01".to_vec(),
        b"GET / HTTP/1.1\r\n".to_vec(),
        b"PROXY TCP4 ".to_vec(),
        b"SSH-2.0-".to_vec(),
        b"\0\0\0\x80....".to_vec(),
        // A message of 90 bytes, as dnsdist's newRemoteLogger and the Recursor's protobufServer send it.
        b"\0\x5a\x08\x01\x12\x10".to_vec(),
        b"\xff\xff\xff\xff".to_vec(),
        b"\0\0\0\0\0\0\x02\x01".to_vec(),
        b"\0\0\0\0\0\0\0\0".to_vec(),
        Control::stop().encode().to_vec(),
        [Control::ready().encode(), Control::ready().encode()].concat(),
    ] {
        let error = accept_bytes(&said).await.0.expect_err("no stream");
        sentences.push(format!("{:<8} {error}", ErrorReason::from(&error).label()));
    }
    insta::assert_snapshot!(sentences.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_limits_the_whole_handshake() {
    let (mut collector, mut sender) = duplex(256);
    let begun = time::Instant::now();
    let accepting = accept(&mut collector, DEADLINE);
    let slow = async {
        for byte in Control::ready().encode() {
            time::sleep(Duration::from_millis(50)).await;
            sender.write_all(&[byte]).await.expect("a byte");
        }
        sender
    };
    let (outcome, sender) = tokio::join!(accepting, slow);
    let error = outcome.expect_err("too slow");
    assert_eq!(begun.elapsed(), DEADLINE);
    assert_eq!(ErrorReason::from(&error).label(), "timeout");
    insta::assert_snapshot!(error, @"the handshake took longer than 4s, waiting for START");
    drop(sender);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_reaches_the_deadline() {
    let (mut sender, _collector) = duplex(8);
    let error = open(&mut sender, DEADLINE).await.expect_err("stuck");
    insta::assert_snapshot!(error, @"the handshake took longer than 4s, waiting for room to write READY");
}

#[tokio::test]
async fn open_checks_the_reply_to_ready() {
    for (said, reason) in [
        (Control::accept().encode().to_vec(), None),
        (control(ControlKind::Accept, &[]), None),
        (
            [
                unknown(9),
                control(ControlKind::Accept, &[b"a", CONTENT_TYPE]),
            ]
            .concat(),
            None,
        ),
        (control(ControlKind::Accept, &[b"a"]), Some("content_type")),
        (Control::finish().encode().to_vec(), Some("protocol")),
        (b"\x15\x03\x03\0\x02".to_vec(), Some("protocol")),
        (b"".to_vec(), Some("closed")),
        (b"\0\0".to_vec(), Some("closed")),
    ] {
        let mut peer = Scripted::new(&said);
        let outcome = open(&mut peer, DEADLINE).await;
        assert_eq!(
            outcome
                .as_ref()
                .err()
                .map(|error| ErrorReason::from(error).label()),
            reason,
            "{said:?}"
        );
        let start = if reason.is_none() {
            Control::start().encode()
        } else {
            Bytes::new()
        };
        assert_eq!(peer.written, [Control::ready().encode(), start].concat());
    }
}

/// Returns the end of the first START. `None` if a data frame comes before it.
fn end_of_start(stream: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let frame = stream.get(at..)?;
        let length = u32::from_be_bytes(*frame.get(4..)?.first_chunk()?) as usize;
        if frame[..4] != [0; 4] || frame.len() < 8 + length {
            return None;
        }
        at += 8 + length;
        if frame.get(8..12)? == [0, 0, 0, 2] {
            return Some(at);
        }
    }
}

proptest! {
    #[test]
    fn accept_reads_nothing_after_start(
        parts in prop::collection::vec(
            prop_oneof![
                3 => Just(Control::ready().encode().to_vec()),
                3 => Just(Control::start().encode().to_vec()),
                2 => (6_u32..9).prop_map(unknown),
                1 => Just(Control::stop().encode().to_vec()),
                1 => Just(b"\0\0\0\x03abc".to_vec()),
                1 => prop::collection::vec(any::<u8>(), 0..20),
            ],
            0..8,
        ),
        step in 1_usize..40,
    ) {
        let said = parts.concat();
        let mut peer = Scripted::new(&said);
        peer.step = step;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let outcome = runtime.block_on(accept(&mut peer, DEADLINE));
        match (outcome, end_of_start(&said)) {
            (Ok(_), end) => prop_assert_eq!(Some(peer.read), end),
            (Err(_), Some(end)) => prop_assert!(peer.read <= end),
            (Err(_), None) => {}
        }
    }
}
