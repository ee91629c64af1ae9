//! The layer that edits outgoing frames: it can remove DNS wire data and set identity, version and extra.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower::{Layer, Service};

use super::{EditGroup, Outgoing, SinkError, edits::Edited, sharing::Editor};
use crate::{
    frame_stream::Chunk,
    router::{DropReason, Progress},
};

/// A service that edits each frame as the directive configures. Without edits, it passes on the sender's bytes without
/// copying them.
///
/// A frame that is not a dnstap message cannot be edited. It is left out and reported as [dropped](Progress::dropped).
/// Listeners already reject such frames, but programs that use the library can offer them.
#[derive(Debug)]
pub(crate) struct RewriteService<S> {
    inner: S,
    editor: Editor,
}

/// Wraps a sink's service in [`RewriteService`].
#[derive(Debug, Clone)]
pub(crate) struct RewriteLayer {
    group: Arc<EditGroup>,
}

#[derive(Debug)]
pub(crate) struct Response<F> {
    inner: F,
    left_out: LeftOut,
}

/// The frames of the original batch that are missing in the edited batch.
#[derive(Debug, Default)]
struct LeftOut {
    /// The number of frames of the original batch that were processed so far.
    passed: usize,
    /// The position of each frame in the original batch, ascending.
    positions: Vec<usize>,
}

// === impl RewriteLayer ===

impl RewriteLayer {
    /// A layer for the edits of this group.
    pub(crate) fn new(group: Arc<EditGroup>) -> Self {
        Self { group }
    }
}

impl<S> Layer<S> for RewriteLayer {
    type Service = RewriteService<S>;

    fn layer(&self, inner: S) -> RewriteService<S> {
        RewriteService {
            inner,
            editor: self.group.editor(),
        }
    }
}

// === impl RewriteService ===

impl<S> Service<Outgoing> for RewriteService<S>
where
    S: Service<Outgoing, Response = Progress, Error = SinkError>,
    S::Future: Unpin,
{
    type Response = Progress;
    type Error = SinkError;
    type Future = Response<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Outgoing) -> Self::Future {
        let mut left_out = LeftOut::default();
        let request = match request {
            Outgoing::Frames(batch) if !self.editor.is_noop() => {
                let edit = |chunk| {
                    let edited = self.editor.edit(chunk);
                    left_out.pass(chunk, &edited);
                    edited.chunk
                };
                Outgoing::Frames(batch.iter().map(edit).collect())
            }
            untouched => untouched,
        };
        Response {
            inner: self.inner.call(request),
            left_out,
        }
    }
}

// === impl LeftOut ===

impl LeftOut {
    /// Adds the frames of the next chunk of the batch.
    fn pass(&mut self, original: &Chunk, edited: &Edited) {
        let positions = edited
            .left_out
            .iter()
            .map(|position| self.passed + position);
        self.positions.extend(positions);
        self.passed += original.len();
    }

    /// Adds the frames that were left out to `progress`, which counts only frames of the edited batch.
    fn add_to(&self, mut progress: Progress) -> Progress {
        for position in &self.positions {
            // `<=` includes the frames that were left out directly after the last written frame. These frames are done
            // and must not return to the queue.
            if *position <= progress.frames_done() {
                progress.dropped.count(DropReason::Malformed, 1);
            }
        }
        progress
    }
}

// === impl Response ===

impl<F> Future for Response<F>
where
    F: Future<Output = Result<Progress, SinkError>> + Unpin,
{
    type Output = Result<Progress, SinkError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.inner).poll(cx)) {
            Ok(progress) => Ok(self.left_out.add_to(progress)),
            Err(mut error) => {
                error.progress = self.left_out.add_to(error.progress);
                Err(error)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use bytes::{BufMut, Bytes, BytesMut};

    use super::*;
    use crate::{
        config::Edits,
        frame_stream::{Batch, Source},
        health::Disconnect,
        sink::{EditGroups, FrameEdits},
    };

    /// A service that records the batches it gets and returns a fixed answer.
    #[derive(Debug)]
    struct Collector {
        got: Vec<Batch>,
        answer: Result<Progress, SinkError>,
    }

    impl Service<Outgoing> for Collector {
        type Response = Progress;
        type Error = SinkError;
        type Future = Ready<Result<Progress, SinkError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Outgoing) -> Self::Future {
            let Outgoing::Frames(batch) = request else {
                panic!("only frames are sent here")
            };
            self.got.push(batch);
            ready(self.answer.clone())
        }
    }

    /// `type: MESSAGE`, and a message of type `AUTH_QUERY` with a query of two bytes.
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

    fn service(full: bool, answer: Result<Progress, SinkError>) -> RewriteService<Collector> {
        service_with(full, &Edits::default(), answer)
    }

    fn service_with(
        full: bool,
        edits: &Edits,
        answer: Result<Progress, SinkError>,
    ) -> RewriteService<Collector> {
        let group = EditGroups::default().group(FrameEdits::new(full, edits));
        RewriteLayer::new(group).layer(Collector {
            got: Vec::new(),
            answer,
        })
    }

    fn written(frames: usize) -> Progress {
        Progress {
            frames,
            ..Progress::default()
        }
    }

    #[tokio::test]
    async fn a_sink_without_edits_gets_the_original_bytes() {
        let mut service = service(true, Ok(written(2)));
        let chunk = chunk(&[FRAME, NO_DNSTAP]);
        service
            .call(Outgoing::Frames(vec![chunk.clone()]))
            .await
            .expect("written");
        let out = service.inner.got[0][0].wire();
        assert!(std::ptr::eq(out, chunk.wire()), "not a copy");
    }

    #[tokio::test]
    async fn every_frame_of_every_chunk_is_edited_in_order() {
        let mut service = service(false, Ok(written(3)));
        let batch = vec![chunk(&[FRAME, WITHOUT_WIRE]), chunk(&[FRAME])];
        let progress = service
            .call(Outgoing::Frames(batch.clone()))
            .await
            .expect("written");
        assert_eq!(progress, written(3));
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
        // `AUTH_QUERY` with a client of 127.0.0.1, the header of a query with this identifier, and a field `extra`.
        let frame = |id: u8| {
            let head = b"\x1a\x01e\x72\x16\x08\x01\x22\x04\x7f\0\0\x01\x52\x0c\0";
            let rest = b"\0\0\0\0\0\0\0\0\0\0\x78\x01";
            [head.as_slice(), &[id], rest].concat()
        };
        let edits = Edits {
            extra: Some("{>id} {remote} {/tap/peer} {/tap/extra}".into()),
            ..Edits::default()
        };
        let mut service = service_with(false, &edits, Ok(written(2)));
        let source = Source::new("in".into(), "pid 7");
        let batch = vec![chunk(&[&frame(5), NO_DNSTAP, &frame(200)]).brought_by(&source)];
        service
            .call(Outgoing::Frames(batch))
            .await
            .expect("written");
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
        // Positions in the original batch: 0 bad, 1 good, 2 bad, 3 bad, 4 good, 5 bad.
        let batch = vec![
            chunk(&[NO_DNSTAP, FRAME, NO_DNSTAP]),
            chunk(&[NO_DNSTAP, FRAME, NO_DNSTAP]),
        ];
        for (edited_frames_out, malformed) in [(0, 1), (1, 3), (2, 4)] {
            let answer = match edited_frames_out {
                2 => Ok(written(2)),
                frames => Err(SinkError {
                    progress: written(frames),
                    cause: Arc::new(Disconnect::Closed),
                }),
            };
            let mut service = service(false, answer);
            let progress = match service.call(Outgoing::Frames(batch.clone())).await {
                Ok(progress) => progress,
                Err(error) => error.progress,
            };
            let mut expected = written(edited_frames_out);
            expected.dropped.count(DropReason::Malformed, malformed);
            assert_eq!(progress, expected);
            assert_eq!(
                service.inner.got[0].iter().map(Chunk::len).sum::<usize>(),
                2
            );
        }
    }
}
