//! Frame Streams, the framing under dnstap: control frames, handshakes, chunks of data frames, files.
//!
//! Called by `listener`, `router`, `sink` and `cli`; calls nothing of this crate.
//! Source: the protocol comment in `fstrm`'s `fstrm/control.h` and the Frame Streams page of dnstap.info.

mod chunk;

pub use chunk::{Batch, Chunk, Frames};
