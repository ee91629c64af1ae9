//! Frame Streams, the framing of dnstap: control frames, handshakes, chunks of data frames, files.
//!
//! Called by `listener`, `router`, `sink` and `cli`; calls `memory`, and `dnstap` for the types of messages.
//! Source: the protocol comment in `fstrm`'s `fstrm/control.h` and the Frame Streams page of dnstap.info.

mod allowance;
mod back_channel;
mod chunk;
mod control;
mod file;
mod handshake;
mod index;
mod source;

pub(crate) use allowance::Allowance;
pub use back_channel::{BackChannel, BackChannelEvent};
pub use chunk::{Batch, Chunk, Frames};
pub use control::{
    Control, ControlError, ControlKind, MAX_CONTENT_TYPE_LENGTH, MAX_CONTROL_LENGTH,
};
pub use file::{FileError, FileReader, FileWriter};
pub use handshake::{Awaited, HandshakeError, LooksLike, Mode, accept, offer, open, start};
pub(crate) use index::IndexEntry;
pub use source::Source;

/// The content type of dnstap, as `dnstap.proto` names it.
pub const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
