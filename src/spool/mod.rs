//! The storage engine of a disk spool: frames of one sink that survive the end of the process.
//!
//! ```text
//! append ─► segment ─► segment ─► segment (open)        read ◄─ position
//!           └ confirm: every frame below is done, checkpoint
//! commit:   data on the disk ─► checkpoint on the disk ─► segments below it deleted ─► folder on the disk
//! ```
//!
//! One thread owns a spool and calls it; every call may wait for the disk. The engine knows nothing of sinks, queues or
//! chunks: it stores data frames in their wire form, with a context that only the caller understands. No sink uses it
//! yet. It depends on no other folder. `docs/spool.md` describes the files and the promises for operators.
//!
//! # Numbers
//!
//! Every frame has a sequence number, which its place in the spool determines: the first frame of a spool has number 0.
//! A record has the number of its first frame. A number that a checkpoint knows is never given to another
//! frame. All losses follow from the numbers: the frames between the end of one valid record and the start of
//! the next are lost, and no others are.
//!
//! # Checkpoint
//!
//! A checkpoint with the number N means: every frame below N is confirmed, or was given up and counted. It may be in
//! the middle of a record; a reader then skips the frames of the record that are below N. It may also be ahead of the
//! data, after a power loss: data that was never synced was confirmed from memory. That loses nothing, because the next
//! frame gets a number above everything that a checkpoint has ever known.
//!
//! Deleting a segment is never a change of state: it follows a checkpoint that is on the disk. A segment that is
//! missing below the checkpoint is normal, and one that reappears there is deleted again.
//!
//! # Damage
//!
//! `scan.rs` defines it once, for the start and for readers. A start reads the newest segment only. A valid prefix
//! always stays. No bytes in the folder make the engine panic, loop, or allocate more than the file has.
//!
//! # Frames from before a restart
//!
//! [`Recovered::frames`] is their range, so that the caller can count them as offered and queued. Those among them that
//! are lost are counted in [`Counters::corrupt`] when a reader passes their place.
//!
//! # Other sinks
//!
//! A spool belongs to a name. If the settings of the sink with this name change, the frames go to the changed sink. A
//! sink with another name is refused, because its collector may not be meant to see these frames.

mod checkpoint;
mod damage;
mod error;
mod fs;
mod lost;
mod reader;
mod record;
mod recovery;
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
pub use reader::Batch;
pub use recovery::Recovered;
pub use segment::Owner;
pub use settings::{Entry, LEAST_SEGMENTS, Now, Settings, Sync, WhenFull};
pub use store::{Counters, Spool, Status};
pub use writer::Appended;
