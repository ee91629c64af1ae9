//! The stream of a connection, and what is known of its other end.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

use super::{Disconnect, Reporter};
use crate::frame_stream::{BackChannel, BackChannelEvent};

/// The stream and what is known of it, shared by the service and the future of its request.
#[derive(Debug)]
pub(super) struct Wire<Io> {
    pub(super) io: Io,
    back_channel: BackChannel,
    /// Where it tells that the collector takes nothing.
    pub(super) status: Option<Reporter>,
    ended: Option<Arc<Disconnect>>,
}

// === impl Wire ===

impl<Io> Wire<Io> {
    /// A stream on which START was sent.
    pub(super) fn new(io: Io) -> Self {
        Self {
            io,
            back_channel: BackChannel::new(),
            status: None,
            ended: None,
        }
    }
}

impl<Io: AsyncRead + Unpin> Wire<Io> {
    /// Reads the back channel until it has nothing more; ready once the connection has ended.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Arc<Disconnect>> {
        loop {
            if let Some(cause) = &self.ended {
                return Poll::Ready(Arc::clone(cause));
            }
            let mut space = [0; 512];
            let mut buffer = ReadBuf::new(&mut space);
            let cause = match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => Disconnect::Closed,
                Ok(()) => match self.back_channel.feed(buffer.filled()) {
                    Ok(None) => continue,
                    Ok(Some(BackChannelEvent::Finish)) => Disconnect::Finished,
                    Err(error) => error.into(),
                },
                Err(error) => error.into(),
            };
            return Poll::Ready(self.end(cause));
        }
    }
}

impl<Io> Wire<Io> {
    /// The connection is of no more use; the first cause stays.
    pub(super) fn end(&mut self, cause: Disconnect) -> Arc<Disconnect> {
        Arc::clone(self.ended.get_or_insert_with(|| Arc::new(cause)))
    }
}

pub(super) fn lock<Io>(wire: &Mutex<Wire<Io>>) -> MutexGuard<'_, Wire<Io>> {
    // After a panic inside, nobody knows where in a frame the stream stands; the driver's restart drops it.
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}
