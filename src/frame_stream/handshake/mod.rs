//! The handshake that opens a stream, for both sides of a connection.
//!
//! ```text
//! bidirectional   sender: READY          START  data …  STOP
//!                 collector:     ACCEPT                        FINISH
//! unidirectional  sender: START  data …  STOP
//! ```

mod error;

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{self, Instant},
};

pub use self::error::HandshakeError;
pub(crate) use self::error::{Awaited, LooksLike};
use super::{CONTENT_TYPE, Control, ControlError, ControlKind, MAX_CONTROL_LENGTH};

/// The variant of Frame Streams that a sender uses, recognised by its first frame: READY or START.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// READY first: the sender waits for ACCEPT, and after STOP for FINISH.
    Bidirectional,
    /// START first: the sender never reads.
    Unidirectional,
}

/// The sender's side of the handshake, as the collector has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) mode: Mode,
    /// True if the sender ends its stream when the collector [asks for it](super::end_request).
    pub(crate) understands_end_request: bool,
}

/// The number of control frames of unknown types that are skipped before the handshake fails.
const MAX_UNKNOWN_FRAMES: usize = 16;

struct Handshake<'a, S> {
    io: &'a mut S,
    /// The duration allowed for the whole handshake, and the time at which it runs out.
    deadline: (Duration, Instant),
    awaited: Awaited,
    heard: bool,
}

/// Performs the collector's side of the handshake. Returns after START, and reads no byte after START.
///
/// ACCEPT is sent as soon as READY arrives, because some senders do not serve DNS until then (knot-resolver issue 111).
/// ACCEPT is sent even if READY does not offer dnstap, so that the sender can report which type would be accepted. In a
/// bidirectional stream, a START with another content type is answered with FINISH.
///
/// `deadline` limits the whole handshake, including writes.
///
/// # Errors
/// See [`HandshakeError`]. The connection cannot be used after an error; some bytes may have been written to it.
pub async fn accept<S>(io: &mut S, deadline: Duration) -> Result<Mode, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Ok(accept_opening(io, deadline).await?.mode)
}

/// Performs the collector's side of the handshake like [`accept`], and returns more about the sender.
///
/// # Errors
/// As for [`accept`].
pub(crate) async fn accept_opening<S>(
    io: &mut S,
    deadline: Duration,
) -> Result<Opening, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Handshake::new(io, deadline).accept().await
}

/// Performs the sender's side of a bidirectional stream: READY, ACCEPT, START. Data frames may follow.
///
/// `deadline` limits the whole handshake, including writes.
///
/// # Errors
/// See [`HandshakeError`]. Never returns [`HandshakeError::NothingSent`].
pub async fn open<S>(io: &mut S, deadline: Duration) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut handshake = Handshake::new(io, deadline);
    handshake.offer(&Control::ready()).await?;
    handshake.write(&Control::start()).await
}

/// Performs the first part of [`open`]: READY and ACCEPT. After it, the stream has not started yet: the caller can
/// close the connection without cutting a stream, or call [`start`] to go on.
///
/// # Errors
/// As for [`open`].
pub async fn offer<S>(io: &mut S, deadline: Duration) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Handshake::new(io, deadline).offer(&Control::ready()).await
}

/// Like [`offer`], and tells the collector that this sender understands [`end_request`](super::end_request).
///
/// # Errors
/// As for [`open`].
pub(crate) async fn offer_with_end_request<S>(
    io: &mut S,
    deadline: Duration,
) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ready = Control::ready_for_end_request();
    Handshake::new(io, deadline).offer(&ready).await
}

/// Performs the second part of [`open`], after [`offer`]: START. Data frames may follow.
///
/// # Errors
/// As for [`open`].
pub async fn start<S>(io: &mut S, deadline: Duration) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Handshake::new(io, deadline).write(&Control::start()).await
}

// === impl Handshake ===

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Handshake<'a, S> {
    fn new(io: &'a mut S, deadline: Duration) -> Self {
        Self {
            io,
            deadline: (deadline, Instant::now() + deadline),
            awaited: Awaited::Opening,
            heard: false,
        }
    }

    async fn accept(&mut self) -> Result<Opening, HandshakeError> {
        let first = self.read(Awaited::Opening).await?;
        match first.kind() {
            ControlKind::Start => {
                content_type(&first)?;
                Ok(Opening {
                    mode: Mode::Unidirectional,
                    understands_end_request: false,
                })
            }
            ControlKind::Ready => {
                self.write(&Control::accept()).await?;
                content_type(&first)?;
                let start = self.read(Awaited::Start).await?;
                if start.kind() != ControlKind::Start {
                    return Err(self.out_of_place(start.kind()));
                }
                if let Err(error) = content_type(&start) {
                    // A failure to send FINISH is ignored, because the error to report is the content type.
                    let _ = self.write(&Control::finish()).await;
                    return Err(error);
                }
                Ok(Opening {
                    mode: Mode::Bidirectional,
                    understands_end_request: first.understands_end_request(),
                })
            }
            other => Err(self.out_of_place(other)),
        }
    }

    async fn offer(&mut self, ready: &Control) -> Result<(), HandshakeError> {
        self.write(ready).await?;
        let accept = self.read(Awaited::Accept).await?;
        if accept.kind() != ControlKind::Accept {
            return Err(self.out_of_place(accept.kind()));
        }
        content_type(&accept)
    }

    /// Reads the next control frame of a known type, and no byte after that frame.
    async fn read(&mut self, awaited: Awaited) -> Result<Control, HandshakeError> {
        self.awaited = awaited;
        let mut body = [0; MAX_CONTROL_LENGTH];
        for _ in 0..=MAX_UNKNOWN_FRAMES {
            let mut number = [0; 4];
            self.fill(&mut number).await?;
            if number != [0; 4] {
                return Err(HandshakeError::NotFrameStreams {
                    awaited,
                    found: LooksLike::from_first_bytes(number),
                });
            }
            self.fill(&mut number).await?;
            let length = u32::from_be_bytes(number);
            let Some(body) = body.get_mut(..length as usize) else {
                return Err(self.broken(ControlError::TooLong(length)));
            };
            self.fill(body).await?;
            match Control::parse(body) {
                Ok(control) => return Ok(control),
                Err(ControlError::UnknownKind(_)) => {}
                Err(error) => return Err(self.broken(error)),
            }
        }
        Err(HandshakeError::OnlyUnknownFrames(awaited))
    }

    async fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), HandshakeError> {
        while !buffer.is_empty() {
            match time::timeout_at(self.deadline.1, self.io.read(buffer)).await {
                Ok(Ok(0)) => return Err(self.closed()),
                Ok(Ok(read)) => {
                    self.heard = true;
                    buffer = buffer.get_mut(read..).unwrap_or_default();
                }
                Ok(Err(error)) => return Err(self.failed(error)),
                Err(_) => return Err(self.timed_out()),
            }
        }
        Ok(())
    }

    async fn write(&mut self, control: &Control) -> Result<(), HandshakeError> {
        self.awaited = Awaited::Room(control.kind());
        let wire = control.encode();
        let write = async {
            self.io.write_all(&wire).await?;
            self.io.flush().await
        };
        match time::timeout_at(self.deadline.1, write).await {
            Ok(written) => written.map_err(|error| self.failed(error)),
            Err(_) => Err(self.timed_out()),
        }
    }

    fn closed(&self) -> HandshakeError {
        if self.awaited == Awaited::Opening && !self.heard {
            HandshakeError::NothingSent
        } else {
            HandshakeError::Closed(self.awaited())
        }
    }

    /// Returns the frame or event that was awaited when the connection ended.
    fn awaited(&self) -> Awaited {
        match self.awaited {
            Awaited::Accept if self.heard => Awaited::RestOfAccept,
            awaited => awaited,
        }
    }

    fn failed(&self, source: io::Error) -> HandshakeError {
        match source.kind() {
            // rustls returns this error if TCP ended without `close_notify`.
            io::ErrorKind::UnexpectedEof => self.closed(),
            // The tcpSocket probe of the kubelet resets its connection.
            io::ErrorKind::ConnectionReset if self.awaited == Awaited::Opening && !self.heard => {
                HandshakeError::NothingSent
            }
            _ => HandshakeError::Io {
                awaited: self.awaited(),
                source,
            },
        }
    }

    fn broken(&self, source: ControlError) -> HandshakeError {
        HandshakeError::Control {
            awaited: self.awaited,
            source,
        }
    }

    fn out_of_place(&self, found: ControlKind) -> HandshakeError {
        HandshakeError::OutOfPlace {
            awaited: self.awaited,
            found,
        }
    }

    fn timed_out(&self) -> HandshakeError {
        HandshakeError::Timeout {
            awaited: self.awaited,
            deadline: self.deadline.0,
        }
    }
}

fn content_type(control: &Control) -> Result<(), HandshakeError> {
    if control.accepts(CONTENT_TYPE) {
        return Ok(());
    }
    Err(HandshakeError::ContentType(
        control.content_types().to_vec(),
    ))
}

#[cfg(test)]
mod tests;
