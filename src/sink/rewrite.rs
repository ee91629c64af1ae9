//! The layer that edits outgoing frames: it can remove DNS wire data and set identity, version and extra.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, BytesMut};
use tower::{Layer, Service};

use super::{Outgoing, SinkError};
use crate::{
    dnstap::Rewrite,
    frame_stream::{Batch, Chunk, IndexEntry},
    router::{DropReason, Progress},
};

/// A service that edits each frame as the directive says. Without edits, it passes on the sender's bytes without a
/// copy.
///
/// A frame that is not a dnstap message cannot be edited. It is left out and reported as [dropped](Progress::dropped).
/// Listeners reject such frames already, but callers of the library can offer them.
#[derive(Debug, Clone)]
pub(crate) struct RewriteService<S> {
    inner: S,
    rewrite: Arc<Rewrite>,
}

/// Wraps a sink's service in [`RewriteService`].
#[derive(Debug, Clone)]
pub(crate) struct RewriteLayer {
    rewrite: Arc<Rewrite>,
}

#[derive(Debug)]
pub(crate) struct Response<F> {
    inner: F,
    left_out: LeftOut,
}

/// The frames of the original batch that the edited batch does not contain.
#[derive(Debug, Default)]
struct LeftOut {
    /// The position of each frame in the original batch, ascending, and the drop reason.
    frames: Vec<(usize, DropReason)>,
}

// === impl RewriteLayer ===

impl RewriteLayer {
    /// A layer for the edits of `rewrite`.
    pub(crate) fn new(rewrite: Rewrite) -> Self {
        Self {
            rewrite: Arc::new(rewrite),
        }
    }
}

impl<S> Layer<S> for RewriteLayer {
    type Service = RewriteService<S>;

    fn layer(&self, inner: S) -> RewriteService<S> {
        RewriteService {
            inner,
            rewrite: Arc::clone(&self.rewrite),
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
            Outgoing::Frames(batch) if !self.rewrite.is_noop() => {
                Outgoing::Frames(edit(&self.rewrite, &batch, &mut left_out))
            }
            untouched => untouched,
        };
        Response {
            inner: self.inner.call(request),
            left_out,
        }
    }
}

fn edit(rewrite: &Rewrite, batch: &Batch, left_out: &mut LeftOut) -> Batch {
    let mut place = 0;
    let edit = |chunk: &Chunk| {
        let mut wire = BytesMut::with_capacity(chunk.wire().len());
        let mut index = Vec::with_capacity(chunk.len());
        for (frame, message_type) in chunk.frames().zip(chunk.message_types()) {
            match append(rewrite, frame, &mut wire) {
                // No edit changes the message type.
                Some(end) => index.push(IndexEntry::new(end, message_type)),
                None => left_out.frames.push((place, DropReason::Malformed)),
            }
            place += 1;
        }
        Chunk::of_buffer(wire, index.into(), chunk.received()).derived_from(chunk)
    };
    batch.iter().map(edit).collect()
}

/// Appends the edited frame with its length prefix and returns its end. Appends nothing if the frame cannot be edited.
fn append(rewrite: &Rewrite, frame: &[u8], wire: &mut BytesMut) -> Option<u32> {
    let start = wire.len();
    wire.put_u32(0);
    let end = rewrite.apply(frame, wire).ok().and_then(|()| {
        let end = u32::try_from(wire.len()).ok()?;
        let length = u32::try_from(wire.len() - start - 4).ok()?;
        wire[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Some(end)
    });
    if end.is_none() {
        wire.truncate(start);
    }
    end
}

// === impl LeftOut ===

impl LeftOut {
    /// Adds the frames that were left out to `progress`, which counts only frames of the edited batch.
    fn add_to(&self, mut progress: Progress) -> Progress {
        for (place, reason) in &self.frames {
            // `<=` includes the frames that were left out directly after the last written frame. They are done, so the
            // next take must not return them.
            if *place <= progress.frames_done() {
                progress.dropped.count(*reason, 1);
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

    use bytes::Bytes;

    use super::*;
    use crate::{dnstap::Edits, health::Disconnect};

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
        RewriteLayer::new(Rewrite::new(full, &Edits::default())).layer(Collector {
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
    async fn frames_that_are_not_dnstap_are_skipped_and_counted_at_their_position() {
        // Original places: 0 bad, 1 good, 2 bad, 3 bad, 4 good, 5 bad.
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
