//! The layer of a sink that changes frames before they are sent. It can remove the DNS messages, and set the fields
//! identity, version and extra.

use std::task::{Context, Poll};

use tower::{Layer, Service};

use super::{
    Outgoing, Shipment,
    current_edits::{CurrentEdits, Follow, Follower},
};
use crate::router::{DropReason, LeftOut};

/// A service that changes each frame as the directive configures. If nothing is configured, the service passes on the
/// bytes of the sender without copying them.
///
/// A frame that is not a dnstap message cannot be edited. The service [leaves it out](LeftOut). Listeners already
/// reject such frames, but a program that uses tapfan as a library can offer them.
#[derive(Debug)]
pub(crate) struct RewriteService<S> {
    inner: S,
    edits: Follower,
}

/// A layer that wraps a sink's service in a [`RewriteService`].
#[derive(Debug, Clone)]
pub(crate) struct RewriteLayer {
    edits: CurrentEdits,
    follow: Follow,
    is_apart: bool,
}

// === impl RewriteLayer ===

impl RewriteLayer {
    /// Creates a layer for the edits of a sink.
    pub(crate) fn new(edits: CurrentEdits, follow: Follow) -> Self {
        Self {
            edits,
            follow,
            is_apart: false,
        }
    }

    /// Makes each service edit its chunks itself, because no other service gets the same chunks.
    pub(crate) fn apart(self) -> Self {
        Self {
            is_apart: true,
            ..self
        }
    }
}

impl<S> Layer<S> for RewriteLayer {
    type Service = RewriteService<S>;

    fn layer(&self, inner: S) -> RewriteService<S> {
        RewriteService {
            inner,
            edits: self.edits.follower(self.follow, self.is_apart),
        }
    }
}

// === impl RewriteService ===

impl<S: Service<Outgoing>> Service<Outgoing> for RewriteService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Outgoing) -> S::Future {
        self.inner.call(match request {
            Outgoing::Frames(shipment) if self.edits.change_any(shipment.chunks()) => {
                Outgoing::Frames(edit(&mut self.edits, shipment))
            }
            untouched => untouched,
        })
    }
}

/// Edits every chunk of `shipment`.
fn edit(edits: &mut Follower, shipment: Shipment) -> Shipment {
    let mut left_out = LeftOut::default();
    let mut passed = 0;
    let chunks = shipment.chunks().iter().map(|chunk| {
        let edited = edits.edit(chunk);
        for place in &edited.left_out {
            left_out.add(passed + place, DropReason::Malformed);
        }
        passed += chunk.len();
        edited.chunk
    });
    let chunks = chunks.collect();
    shipment.edited(chunks, left_out)
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use bytes::{BufMut, Bytes, BytesMut};

    use super::*;
    use crate::{
        config::Edits,
        frame_stream::{Batch, Chunk, Source},
        router::{Ledger, Progress},
        sink::{EditGroups, FrameEdits, SinkError},
    };

    /// A service that records the batches that it gets. It reports that it has written `writes` of their frames.
    #[derive(Debug)]
    struct Collector {
        got: Vec<Batch>,
        writes: usize,
    }

    impl Service<Outgoing> for Collector {
        type Response = ();
        type Error = SinkError;
        type Future = Ready<Result<(), SinkError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Outgoing) -> Self::Future {
            let Outgoing::Frames(shipment) = request else {
                panic!("only frames are sent here")
            };
            self.got.push(shipment.chunks().clone());
            shipment.settle(Progress {
                frames: self.writes,
                ..Progress::default()
            });
            ready(Ok(()))
        }
    }

    /// A dnstap frame of the type `MESSAGE`. Its message has the type `AUTH_QUERY` and a query of two bytes.
    const FRAME: &[u8] = b"\x72\x06\x08\x01\x52\x02\xab\xcd\x78\x01";
    const WITHOUT_WIRE: &[u8] = b"\x72\x02\x08\x01\x78\x01";
    const NO_DNSTAP: &[u8] = b"\xff\xff";

    fn chunk(frames: &[&[u8]]) -> Chunk {
        let mut wire = BytesMut::new();
        for frame in frames {
            wire.put_u32(u32::try_from(frame.len()).expect("small"));
            wire.put_slice(frame);
        }
        Chunk::from_wire(wire.freeze()).expect("whole frames")
    }

    fn service(full: bool, writes: usize) -> RewriteService<Collector> {
        service_with(full, &Edits::default(), writes)
    }

    fn service_with(full: bool, edits: &Edits, writes: usize) -> RewriteService<Collector> {
        let group = EditGroups::default().group(FrameEdits::new(full, edits));
        RewriteLayer::new(CurrentEdits::new(group), Follow::Reloads).layer(Collector {
            got: Vec::new(),
            writes,
        })
    }

    /// Sends `chunks` through the service, and returns the ledger of their queue.
    async fn send(service: &mut RewriteService<Collector>, chunks: &[Chunk]) -> Ledger {
        let (shipment, queue) = Shipment::of(chunks);
        let sent = service.call(Outgoing::Frames(shipment)).await;
        sent.expect("written");
        queue.ledger()
    }

    #[tokio::test]
    async fn a_sink_without_edits_gets_the_original_bytes() {
        let mut service = service(true, 2);
        let chunk = chunk(&[FRAME, NO_DNSTAP]);
        send(&mut service, std::slice::from_ref(&chunk)).await;
        let out = service.inner.got[0][0].wire();
        assert!(std::ptr::eq(out, chunk.wire()), "not a copy");
    }

    #[tokio::test]
    async fn every_frame_of_every_chunk_is_edited_in_order() {
        let mut service = service(false, 3);
        let batch = vec![chunk(&[FRAME, WITHOUT_WIRE]), chunk(&[FRAME])];
        assert_eq!(send(&mut service, &batch).await.delivered, 3);
        let got = &service.inner.got[0];
        assert_eq!(got.len(), 2);
        for (edited, original) in got.iter().zip(&batch) {
            assert_eq!(edited.len(), original.len());
            assert_eq!(edited.received(), original.received());
            assert!(edited.message_types().eq(original.message_types()));
            assert!(edited.frames().all(|frame| frame == WITHOUT_WIRE));
            assert_eq!(
                Chunk::from_wire(Bytes::copy_from_slice(edited.wire())).map(|chunk| chunk.len()),
                Some(edited.len())
            );
        }
    }

    #[tokio::test]
    async fn extra_is_evaluated_for_each_frame_before_its_dns_messages_are_removed() {
        // A frame of the type `AUTH_QUERY`. Its client is 127.0.0.1, its query has this identifier, and its field
        // `extra` is set.
        let frame = |id: u8| {
            let head = b"\x1a\x01e\x72\x16\x08\x01\x22\x04\x7f\0\0\x01\x52\x0c\0";
            let rest = b"\0\0\0\0\0\0\0\0\0\0\x78\x01";
            [head.as_slice(), &[id], rest].concat()
        };
        let edits = Edits {
            extra: Some("{>id} {remote} {/tap/peer} {/tap/extra}".into()),
            ..Edits::default()
        };
        let mut service = service_with(false, &edits, 2);
        let source = Source::new("in".into(), "pid 7");
        let batch = vec![chunk(&[&frame(5), NO_DNSTAP, &frame(200)]).brought_by(&source)];
        send(&mut service, &batch).await;
        let got = &service.inner.got[0][0];
        let expected = |extra: &str| {
            let length = u8::try_from(extra.len()).expect("short");
            let message = b"\x72\x08\x08\x01\x22\x04\x7f\0\0\x01\x78\x01";
            [b"\x1a", &[length], extra.as_bytes(), message].concat()
        };
        assert_eq!(
            got.frames().collect::<Vec<_>>(),
            [
                expected("5 127.0.0.1 pid 7 e"),
                expected("200 127.0.0.1 pid 7 e")
            ]
        );
        assert_eq!(got.source(), Some(&source));
    }

    #[tokio::test]
    async fn frames_that_are_not_dnstap_are_skipped_and_counted_at_their_position() {
        // The frames of the original batch, by position: 0 bad, 1 good, 2 bad, 3 bad, 4 good, 5 bad.
        let batch = vec![
            chunk(&[NO_DNSTAP, FRAME, NO_DNSTAP]),
            chunk(&[NO_DNSTAP, FRAME, NO_DNSTAP]),
        ];
        for (edited_frames_out, malformed) in [(0, 1), (1, 3), (2, 4)] {
            let mut service = service(false, edited_frames_out);
            let ledger = send(&mut service, &batch).await;
            assert_eq!(
                (ledger.delivered, ledger.dropped(DropReason::Malformed)),
                (edited_frames_out as u64, malformed)
            );
            let got = service.inner.got[0].iter();
            assert_eq!(got.map(Chunk::len).sum::<usize>(), 2);
        }
    }
}
