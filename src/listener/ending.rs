//! The end of a sender's stream: the request to end it, the half-close, and FINISH.

use std::{future::pending, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    frame_stream::{Control, Mode, end_request},
    net::Stream,
};

/// The time that a sender has to send STOP after it was [asked](end_request) to end its stream. The sender first
/// finishes the write that is in progress. After this time, the router closes the back channel. For all other senders,
/// it closes the back channel at once.
const REQUEST_DEADLINE: Duration = Duration::from_secs(2);

/// The time that a server to which tapfan has connected has to end its stream after the half-close.
const LEAVE_AFTER: Duration = Duration::from_secs(1);

/// The side that has made a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DialledBy {
    Sender,
    /// tapfan itself, because of a `connect` line.
    Tapfan,
}

/// The time that the sender has to take FINISH if STOP arrived with the last bytes before the drain's deadline.
pub(super) const LAST_FINISH: Duration = Duration::from_millis(100);

/// Asks the sender to end its stream with STOP. The back channel stays open for FINISH. Returns the time at which the
/// back channel must be closed if the sender has not sent STOP.
pub(super) async fn request(stream: &mut Stream, within: Duration) -> Instant {
    let begun = Instant::now();
    let request = async {
        stream.write_all(&end_request()).await?;
        stream.flush().await
    };
    // If the request fails, the half-close follows.
    let _ = timeout(within, request).await;
    begun + REQUEST_DEADLINE
}

/// Closes the back channel, so that the sender ends its stream. A sender that does not read the back channel notices the
/// end only when the whole connection is closed.
pub(super) async fn half_close(stream: &mut Stream, within: Duration) {
    let _ = timeout(within, stream.shutdown()).await;
}

/// Answers STOP with FINISH if the stream is bidirectional, and closes the back channel. Returns false if the sender
/// has not taken FINISH after the time `within`.
pub(super) async fn finish(stream: &mut Stream, mode: Mode, within: Duration) -> bool {
    if mode == Mode::Unidirectional {
        return true;
    }
    let finish = Control::finish().encode();
    let answer = async {
        stream.write_all(&finish).await?;
        stream.shutdown().await
    };
    matches!(timeout(within, answer).await, Ok(Ok(())))
}

/// Waits until `time`, or forever if it is `None`.
pub(super) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

// === impl DialledBy ===

impl DialledBy {
    /// Returns the time at which tapfan closes a connection that it has half-closed. `None` if the sender decides when
    /// the connection ends.
    ///
    /// A server to which tapfan has connected cannot keep frames for later, because it gives them only to collectors that
    /// are connected. Few servers notice the half-close.
    pub(super) fn leaves_at(self) -> Option<Instant> {
        match self {
            Self::Sender => None,
            Self::Tapfan => Some(Instant::now() + LEAVE_AFTER),
        }
    }
}
