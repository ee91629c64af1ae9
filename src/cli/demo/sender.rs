//! The demo's DNS server: writes recorded frames to the router's socket, as libfstrm does.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    select,
    time::{interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::traffic::Traffic;
use crate::{
    dnstap::Malformed,
    frame_stream::{self, BackChannel, Control, ControlError, HandshakeError},
};

#[derive(Debug, thiserror::Error)]
pub(super) enum SenderError {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("the router's socket failed: {0}")]
    Io(#[from] io::Error),
    #[error("the router violated the protocol: {0}")]
    Protocol(#[from] ControlError),
    #[error("the recorded traffic of the demo is damaged: {0}")]
    Recording(#[from] Malformed),
    #[error("the router did not answer STOP with FINISH")]
    NoFinish,
}

/// The number of frames sent per second.
pub(super) const RATE: u64 = 2000;

const TICK: Duration = Duration::from_millis(10);
const PER_TICK: u64 = RATE / 100;
const DEADLINE: Duration = Duration::from_secs(5);

/// Sends at [`RATE`] until `stop` is cancelled, ends the stream with STOP, and returns the number of frames sent.
pub(super) async fn send(
    socket: PathBuf,
    traffic: Arc<Traffic>,
    stop: CancellationToken,
) -> Result<u64, SenderError> {
    let mut stream = UnixStream::connect(socket).await?;
    frame_stream::open(&mut stream, DEADLINE).await?;
    let mut ticks = interval(TICK);
    let mut wire = BytesMut::new();
    let mut sent = 0;
    loop {
        select! {
            biased;
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        wire.clear();
        for number in sent..sent + PER_TICK {
            traffic.append_wire(number, &mut wire)?;
        }
        stream.write_all(&wire).await?;
        sent += PER_TICK;
    }
    stream.write_all(&Control::stop().encode()).await?;
    timeout(DEADLINE, finish(&mut stream))
        .await
        .map_err(|_| SenderError::NoFinish)??;
    Ok(sent)
}

/// Waits for FINISH. The router sends FINISH after it has offered all frames to every sink.
async fn finish(stream: &mut UnixStream) -> Result<(), SenderError> {
    let mut back_channel = BackChannel::new();
    let mut bytes = [0; 64];
    loop {
        match stream.read(&mut bytes).await? {
            0 => return Err(SenderError::NoFinish),
            read => {
                if back_channel.feed(bytes.get(..read).unwrap_or_default())? {
                    return Ok(());
                }
            }
        }
    }
}
