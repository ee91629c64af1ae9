//! One connection to the listener. It writes pieces of the captures, each with many frames, until there are no more.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::Sender,
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    select,
    sync::{Mutex, mpsc},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    args::DEADLINE,
    error::ReplayError,
    pieces::Piece,
    target::{Target, in_time},
};
use crate::{
    frame_stream::{self, BackChannel, Control},
    net::Stream,
};

/// A connection to the listener. Its clones are the other connections of the same replay; all share the pieces to
/// write, the counts and the stop token.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) target: Target,
    pub(super) unidirectional: bool,
    pub(super) rewrites_time: bool,
    pub(super) pieces: Arc<Mutex<mpsc::Receiver<Piece>>>,
    /// The channel that returns used buffers to the thread that reads captures.
    pub(super) buffers: Sender<Vec<u8>>,
    pub(super) sent: Arc<Sent>,
    /// When this token is cancelled, all connections end their streams cleanly, with STOP.
    pub(super) stop: CancellationToken,
}

/// The numbers of frames and bytes that were written completely.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) frames: AtomicU64,
    pub(super) bytes: AtomicU64,
}

// === impl Connection ===

impl Connection {
    /// Connects, and performs the handshake.
    pub(super) async fn open(&self) -> Result<Stream, ReplayError> {
        let mut stream = self.target.dial().await?;
        if self.unidirectional {
            write(&mut stream, &Control::start().encode()).await?;
        } else {
            let opened = frame_stream::open(&mut stream, DEADLINE).await;
            opened.map_err(|source| ReplayError::Handshake {
                source,
                may_need_tls: self.target.is_plain_tcp(),
            })?;
        }
        Ok(stream)
    }

    /// Writes pieces until there are no more, and ends the stream. The times at which pieces are due are relative to
    /// `start`.
    pub(super) async fn run(self, mut stream: Stream, start: Instant) -> Result<(), ReplayError> {
        while let Some(mut piece) = self.next(start).await {
            if self.rewrites_time {
                // The subtraction fails only if the clock is wrong and shows a time before 1970.
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                piece.set_moments(now.unwrap_or(Duration::ZERO));
            }
            write(&mut stream, &piece.wire).await?;
            self.sent.frames.fetch_add(piece.frames, Relaxed);
            self.sent.bytes.fetch_add(piece.wire.len() as u64, Relaxed);
            let _ = self.buffers.send(piece.wire);
        }
        write(&mut stream, &Control::stop().encode()).await?;
        if self.unidirectional {
            let closed = in_time("take the end of the stream", stream.shutdown()).await?;
            return closed.map_err(ReplayError::Write);
        }
        in_time("answer STOP with FINISH", finish(&mut stream)).await??;
        // The listener already has the complete stream, so an error while TLS sends close_notify is ignored.
        let _ = in_time("take the end of the stream", stream.shutdown()).await;
        Ok(())
    }

    /// Waits until the next piece is due, and returns it. Returns `None` if there are no more pieces, or if the replay
    /// must stop.
    async fn next(&self, start: Instant) -> Option<Piece> {
        let next = async {
            let piece = self.pieces.lock().await.recv().await?;
            if let Some(due) = piece.due
                && let Some(due) = start.checked_add(due)
            {
                sleep_until(due).await;
            }
            Some(piece)
        };
        select! {
            biased;
            () = self.stop.cancelled() => None,
            piece = next => piece,
        }
    }
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> Result<(), ReplayError> {
    let written = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    let written = in_time("take any data", written).await?;
    written.map_err(ReplayError::Write)
}

/// Waits for FINISH. The router sends FINISH after it has offered all frames to every sink.
async fn finish(stream: &mut Stream) -> Result<(), ReplayError> {
    let mut back_channel = BackChannel::new();
    let mut bytes = [0; 512];
    loop {
        let read = match stream.read(&mut bytes).await {
            Ok(0) => return Err(ReplayError::NoFinish),
            Ok(read) => read,
            // The TCP connection ended without the close_notify of TLS.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(ReplayError::NoFinish);
            }
            Err(error) => return Err(ReplayError::Write(error)),
        };
        if back_channel.feed(bytes.get(..read).unwrap_or_default())? {
            return Ok(());
        }
    }
}
