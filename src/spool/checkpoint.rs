//! The checkpoint file of a spool. It stores a sequence number: every frame with a lower number is confirmed.
//!
//! The file has two slots, each in a block of its own. Both have the following layout. Of the valid slots, the newest
//! one is used.
//!
//! ```text
//!  0 magic "tapcheck"
//!  8 format version, u32
//! 12 CRC32C of the other 68 bytes, u32
//! 16 generation, u64: the higher one is newer
//! 24 confirmed, u64: every frame below is confirmed, or was given up and counted
//! 32 end, u64: every frame below was written to a segment and, unless `sync` is `never`, is on the disk
//! 40 owner, 32 bytes
//! ```
//!
//! The newest checkpoint that is known to be on the disk is never overwritten. So at least one slot is valid after a
//! power loss.

use std::io::{self, IoSlice};

use super::{
    fs::{Fs, read_full, write_all},
    segment::{LAST, Owner, VERSION},
};

/// The name of the checkpoint file.
pub(super) const NAME: &str = "checkpoint";

/// The length of a slot, in bytes.
const SLOT: usize = 72;

/// The distance from the start of one slot to the start of the other, in bytes. It is so large that a power loss during
/// a write to one slot cannot damage the other slot.
const DISTANCE: u64 = 4096;

const MAGIC: [u8; 8] = *b"tapcheck";

/// The content of one slot of the checkpoint file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) version: u32,
    pub(super) generation: u64,
    pub(super) confirmed: u64,
    pub(super) end: u64,
    pub(super) owner: Owner,
}

/// The content of a slot, as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Valid(Checkpoint),
    /// No checkpoint was written to this slot yet.
    Empty,
    Damaged,
}

/// Returns the offset of a slot in the checkpoint file.
pub(super) fn offset(slot: u64) -> u64 {
    slot * DISTANCE
}

/// The state of the checkpoint file when the spool was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// There was no checkpoint file and no segment, so the spool is new.
    New,
    /// The checkpoint is valid.
    Found,
    /// Both slots are damaged, or the file is missing although there are segments. All frames in the segments count as
    /// unconfirmed, so some frames may be sent again.
    Lost,
}

/// The open checkpoint file.
pub(super) struct CheckpointFile<F: Fs> {
    file: F::File,
    /// The newest checkpoint that was written.
    written: Checkpoint,
    /// The slot with the newest checkpoint that is known to be on the disk.
    synced: u64,
    state: State,
}

/// The state of the other slot, that is, of the slot that `synced` does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The checkpoint in this slot is older.
    Old,
    /// The newest checkpoint is in this slot, but it may not be on the disk yet.
    Written,
    /// A write or a sync failed, so the content of this slot is not known.
    Unknown,
}

// === impl Checkpoint ===

impl Checkpoint {
    fn encode(&self) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.generation.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.confirmed.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.end.to_be_bytes());
        bytes[40..].copy_from_slice(self.owner.bytes());
        let checksum = Self::checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; SLOT]) -> Option<Self> {
        let long = |at: usize| Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let checksum = u32::from_be_bytes(*bytes[12..].first_chunk()?);
        if bytes[..8] != MAGIC || checksum != Self::checksum(bytes) {
            return None;
        }
        let (generation, confirmed, end) = (long(16)?, long(24)?, long(32)?);
        let is_valid = generation <= LAST && confirmed <= LAST && end <= LAST;
        is_valid.then_some(Self {
            version: u32::from_be_bytes(*bytes[8..].first_chunk()?),
            generation,
            confirmed,
            end,
            owner: Owner::from_bytes(*bytes[40..].first_chunk()?),
        })
    }

    fn checksum(bytes: &[u8; SLOT]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
    }
}

/// Reads both slots of an open checkpoint file.
pub(super) fn slots<F: Fs>(fs: &F, file: &F::File) -> io::Result<[Slot; 2]> {
    let slot = |index: u64| -> io::Result<Slot> {
        let mut bytes = [0; SLOT];
        let read = read_full(fs, file, &mut bytes, index * DISTANCE)?;
        Ok(match Checkpoint::decode(&bytes) {
            Some(checkpoint) if read == SLOT => Slot::Valid(checkpoint),
            _ if bytes == [0; SLOT] => Slot::Empty,
            _ => Slot::Damaged,
        })
    };
    Ok([slot(0)?, slot(1)?])
}

/// Returns the newest valid checkpoint of the two slots, and the slot of this checkpoint.
pub(super) fn newest(slots: &[Slot; 2]) -> Option<(Checkpoint, u64)> {
    let valid = (0..).zip(slots).filter_map(|(index, slot)| match slot {
        Slot::Valid(checkpoint) => Some((*checkpoint, index)),
        Slot::Empty | Slot::Damaged => None,
    });
    // On a tie, this returns the first slot.
    valid.reduce(|newest, other| {
        if newest.0.generation < other.0.generation {
            other
        } else {
            newest
        }
    })
}

// === impl CheckpointFile ===

impl<F: Fs> CheckpointFile<F> {
    /// Opens the checkpoint file, or creates it, and returns the newest checkpoint.
    pub(super) fn open(
        fs: &F,
        owner: Owner,
        exists: bool,
    ) -> io::Result<(Self, Option<Checkpoint>)> {
        let file = if exists {
            fs.open(NAME)?
        } else {
            fs.create(NAME)?
        };
        let found = newest(&slots(fs, &file)?);
        let none = Checkpoint {
            version: VERSION,
            generation: 0,
            confirmed: 0,
            end: 0,
            owner,
        };
        if found.is_none() {
            // Writes both slots, so that the file already has the space for them. If the disk fills up later,
            // checkpoints can still be written.
            let zeros = [0; SLOT];
            for slot in 0..2 {
                write_all(fs, &file, &mut [IoSlice::new(&zeros)], slot * DISTANCE)?;
            }
        }
        let (written, synced) = found.unwrap_or((none, 1));
        let file = Self {
            file,
            written,
            synced,
            // Each run of the router writes a checkpoint of its own. The reason: if a sync failed in the previous run,
            // the checkpoint that was found may be in the memory of the kernel, but not on the disk.
            state: State::Unknown,
        };
        Ok((file, found.map(|(checkpoint, _)| checkpoint)))
    }

    /// Writes a checkpoint, without waiting for the disk. The checkpoint survives the end of the process, but not a
    /// power loss.
    pub(super) fn write(&mut self, fs: &F, confirmed: u64, end: u64) -> io::Result<()> {
        let is_new = (self.written.confirmed, self.written.end) != (confirmed, end);
        if !is_new && self.state != State::Unknown {
            return Ok(());
        }
        let checkpoint = Checkpoint {
            generation: self.written.generation + 1,
            confirmed,
            end,
            ..self.written
        };
        self.state = State::Unknown;
        let bytes = checkpoint.encode();
        let at = (1 - self.synced) * DISTANCE;
        write_all(fs, &self.file, &mut [IoSlice::new(&bytes)], at)?;
        self.written = checkpoint;
        self.state = State::Written;
        Ok(())
    }

    /// Returns whether the name of the file still belongs to this file.
    pub(super) fn is_in_place(&self, fs: &F) -> io::Result<bool> {
        fs.is_at(NAME, &self.file)
    }

    /// Waits until the newest checkpoint is on the disk.
    pub(super) fn sync(&mut self, fs: &F) -> io::Result<()> {
        if self.state == State::Old {
            return Ok(());
        }
        if let Err(error) = fs.sync(&self.file) {
            // After a failed sync, the disk may never get the slot, even if the next sync succeeds. So the slot must be
            // written again.
            self.state = State::Unknown;
            return Err(error);
        }
        self.synced = 1 - self.synced;
        self.state = State::Old;
        Ok(())
    }

    /// Waits until the checkpoint that was found at the start is on the disk. The previous process may have ended
    /// before it synced the file. In that case, the only checkpoint on the disk is an older one, which the next write
    /// overwrites.
    pub(super) fn sync_found(&self, fs: &F) -> io::Result<()> {
        fs.sync(&self.file)
    }
}
