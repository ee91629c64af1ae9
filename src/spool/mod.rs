//! The storage engine of a disk spool. A spool stores the frames of one sink in files, so that they survive the end of
//! the process.
//!
//! ```text
//! append ─► segment ─► segment ─► segment (open)        read ◄─ position
//!           └ confirm: every frame below is done, checkpoint
//! commit:   data on the disk ─► checkpoint on the disk ─► segments below it deleted ─► folder on the disk
//! ```
//!
//! One thread owns a spool and makes all calls to it. Every call may wait for the disk. The engine does not use any
//! code of sinks, queues or chunks. It stores data frames in their wire form, together with bytes that only the caller
//! understands, the context. `sink::spooler` is that caller. The code in this folder uses no other folder of the crate.
//! `docs/spool.md` describes the files, and the promises of the engine.
//!
//! # Numbers
//!
//! Every frame has a sequence number, which gives its place in the spool. The first frame of a spool has the number 0.
//! Frames are stored in records, and a record has the number of its first frame. A number that is covered by a
//! checkpoint is never given to another frame. The numbers show every loss: a frame is lost exactly when its number is
//! between the end of one valid record and the start of the next.
//!
//! # Checkpoint
//!
//! A checkpoint with the number N means that every frame below N is confirmed, or was given up and counted. N may be a
//! number in the middle of a record. In that case, a reader skips the frames of the record that are below N. After a
//! power loss, N may be higher than the numbers of all frames on the disk, because frames can be sent and confirmed
//! before they are synced. This causes no loss: the next frame gets a number above all numbers that any checkpoint has
//! covered.
//!
//! A segment is deleted only when a checkpoint on the disk covers all its frames. So it makes no difference whether a
//! segment below the checkpoint exists: it may be missing, and if it reappears after a crash, it is deleted again.
//!
//! # Damage
//!
//! `scan.rs` defines what counts as damage, both for the start of a spool and for readers. A start reads only the
//! newest segment. The valid records before a damaged part always stay. Whatever bytes the files contain, the engine
//! does not panic, does not loop forever, and does not allocate more memory than a file has bytes.
//!
//! # Frames from before a restart
//!
//! [`Recovered::frames`] is the range of the frames that a spool contains when it is opened. The caller can count them
//! as offered and queued. If some of these frames are lost, they are counted in [`Counters::corrupt`] when a reader
//! reaches their place.
//!
//! # Other sinks
//!
//! A spool belongs to the sink with a certain name. If the settings of this sink change, the sink still gets the
//! frames. A sink with another name cannot open the spool, because its collector may not be allowed to see these
//! frames.

mod checkpoint;
mod damage;
mod error;
mod fs;
mod inspect;
mod lost;
mod place;
mod reader;
mod record;
mod recovery;
mod removal;
mod room;
mod scan;
mod segment;
mod segments;
mod settings;
mod store;
mod writer;

pub use checkpoint::Remembered;
pub use error::SpoolError;
pub use fs::{Folder, Fs, Listed};
pub use inspect::{Flaw, FlawKind, Frames, Inspection, Overview, Piece};
pub use place::Missing;
#[cfg(feature = "cli")]
pub(crate) use place::refusal;
pub use reader::Batch;
pub use recovery::Recovered;
pub use removal::Removal;
pub use segment::Owner;
pub use settings::{Entry, LEAST_SEGMENTS, Now, Settings, Sync, WhenFull};
pub use store::{Counters, Spool, Status};
pub use writer::Appended;
