//! Frame Streams, the framing of dnstap: control frames, handshakes, chunks of data frames, files.
//!
//! Source: the protocol comment in `fstrm`'s `fstrm/control.h` and the Frame Streams page of dnstap.info.

mod allowance;
mod back_channel;
mod chunk;
mod control;
mod derived;
mod file;
mod file_error;
mod handshake;
mod index;
mod labels;
mod source;

pub use back_channel::BackChannel;
pub use chunk::{Batch, Chunk};
pub use control::{Control, ControlError, ControlKind, MAX_CONTROL_LENGTH, end_request};
pub use file::{FileReader, FileWriter};
pub use file_error::FileError;
pub use handshake::{HandshakeError, Mode, accept, offer, open, start};
pub use source::Source;
pub(crate) use source::{ListenerId, Presence, Remains};

pub(crate) use allowance::Allowance;
pub(crate) use derived::{Derived, Maker};
pub(crate) use handshake::{Awaited, LooksLike, Opening, accept_opening, offer_with_end_request};
pub(crate) use index::IndexEntry;
#[cfg(any(test, feature = "spool", feature = "tap"))]
pub(crate) use labels::FrameLabels;

/// The content type of dnstap, as `dnstap.proto` names it.
pub const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";

/// The longest frame that a listener can be configured to accept, in bytes of payload. Code that needs a limit on the
/// length of frames, but does not know the listener, must use this constant. A smaller limit would lose frames.
pub(crate) const LONGEST_FRAME: u32 = 16 << 20;
