//! An inspection of a spool, which changes no byte and no name, and takes no lock that would stop a router.
//!
//! An [`Inspection`] shows what the start of a spool would find, and what readers would read and count as lost. It uses
//! the same scanner, so it has the same rules for damage. A router may use the spool at the same time. In that case, the
//! inspection describes the moment at which it was opened.

mod walk;

pub use walk::{Flaw, FlawKind, Frames, Piece};

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    checkpoint::{self, Checkpoint, Remembered, Slot},
    error::SpoolError,
    fs::{Folder, Fs, Listed, read_full},
    recovery::LOCK,
    scan::{Rest, Scanner, Step},
    segment::{self, HEADER, Kind, LAST, Owner, VERSION},
};

/// A spool that is only read.
pub struct Inspection<F: Fs = Folder> {
    fs: F,
    folder: PathBuf,
    /// True if a router uses the spool. `None` if the file system does not support locks.
    is_held: Option<bool>,
    slots: Option<[Slot; 2]>,
    checkpoint: Option<Checkpoint>,
    /// The owner in the checkpoint, or else in the newest segment.
    owner: Option<Owner>,
    /// The segments in order.
    segments: Vec<File>,
    /// The files with unreadable parts of segments, in order.
    bad: Vec<Listed>,
    /// The first number of the newest segment, if this segment is so damaged that a start moves all of it to another file.
    put_aside: Option<u64>,
    /// The number of the first unconfirmed frame.
    confirmed: u64,
    /// The number of the next frame to append.
    next: u64,
}

/// A segment in the folder.
#[derive(Debug, Clone, Copy)]
struct File {
    first: u64,
    length: u64,
}

/// The state of a spool, as [`Inspection`] found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The sink to which the spool belongs. `None` if no file names it.
    pub owner: Option<Owner>,
    /// True if a router uses the spool. `None` if the file system does not support locks.
    pub is_held: Option<bool>,
    /// The state of the checkpoint file.
    pub checkpoint: Remembered,
    /// The sequence numbers of the unconfirmed frames. Some of these frames may be lost: [`Inspection::walk`] finds them.
    pub frames: Range<u64>,
    /// The number of segments.
    pub segments: usize,
    /// The length of all segments, in bytes.
    pub bytes: u64,
    /// The files with unreadable parts of segments.
    pub bad: Vec<Listed>,
}

/// The largest number of times that the files are listed again because the checkpoint changed in the meantime.
const ATTEMPTS: u32 = 20;

// === impl Inspection ===

impl<F: Fs> Inspection<F> {
    /// Reads the checkpoint, the names of the files, and the newest segment with records. Returns `None` if the folder
    /// contains no file of a spool. `folder` is used only in the text of errors.
    ///
    /// # Errors
    ///
    /// If the folder or the checkpoint cannot be read, or if a newer version of tapfan wrote the checkpoint or the newest
    /// segment.
    pub fn open(fs: F, folder: &Path) -> Result<Option<Self>, SpoolError> {
        let error = |name: &str, source| SpoolError::Io {
            doing: "read",
            path: path(folder, name),
            source,
        };
        let is_held = fs.is_locked(LOCK).map_err(|it| error(LOCK, it))?;
        let (slots, mut listed) = consistent(&fs).map_err(|it| error("", it))?;
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        let segments: Vec<File> = listed.iter().filter_map(File::of).collect();
        let bad = listed.iter().filter(|it| Kind::of(&it.name) == Kind::Bad);
        let bad: Vec<Listed> = bad.cloned().collect();
        if slots.is_none() && segments.is_empty() && bad.is_empty() {
            return Ok(None);
        }
        let checkpoint = slots.as_ref().and_then(checkpoint::newest);
        let checkpoint = checkpoint.map(|(checkpoint, _)| checkpoint);
        check_version(folder, checkpoint::NAME, checkpoint.map(|it| it.version))?;
        let mut inspection = Self {
            fs,
            folder: folder.to_owned(),
            is_held,
            slots,
            checkpoint,
            owner: None,
            segments,
            bad,
            put_aside: None,
            confirmed: 0,
            next: 0,
        };
        inspection.owner = match checkpoint {
            Some(checkpoint) => Some(checkpoint.owner),
            None => inspection.newest_owner(),
        };
        inspection.find_range()?;
        Ok(Some(inspection))
    }

    /// Returns the state of the spool.
    pub fn overview(&self) -> Overview {
        Overview {
            owner: self.owner,
            is_held: self.is_held,
            checkpoint: match self.checkpoint {
                Some(_) => Remembered::Found,
                None if self.segments.is_empty() => Remembered::New,
                None => Remembered::Lost,
            },
            frames: self.confirmed..self.next,
            segments: self.segments.len(),
            bytes: self.segments.iter().map(|it| it.length).sum(),
            bad: self.bad.clone(),
        }
    }

    /// Returns the folder of the spool.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the owner in the newest segment whose header is not damaged.
    fn newest_owner(&self) -> Option<Owner> {
        let mut newest = self.segments.iter().rev();
        newest.find_map(|it| Some(self.header(&self.open_segment(it.first).ok()?)?.owner))
    }

    /// Returns the header of a segment, unless it is damaged.
    fn header(&self, file: &F::File) -> Option<segment::Header> {
        let mut bytes = [0; HEADER];
        read_full(&self.fs, file, &mut bytes, 0).ok()?;
        segment::Header::decode(&bytes)
    }

    fn open_segment(&self, first: u64) -> io::Result<F::File> {
        self.fs.open_to_read(&segment::name(first))
    }

    /// Finds the numbers that the first unconfirmed frame and the next frame would have after a start. Like a start,
    /// passes over the newest segments as long as they have no records, and takes the numbers of the checkpoint into
    /// account.
    fn find_range(&mut self) -> Result<(), SpoolError> {
        let (mut next, mut limit, mut passed) = (0, LAST, 0);
        for &File { first, length } in self.segments.iter().rev() {
            let file = self.open_segment(first);
            let header = file.ok().and_then(|file| self.header(&file));
            let version = header.map(|it| it.version);
            check_version(&self.folder, &segment::name(first), version)?;
            let (end, rest) = self.end_of(first, length, limit);
            next = next.max(end);
            passed += usize::from(end == first);
            let is_empty = end == first && rest.is_some_and(|rest| rest != Rest::Damaged);
            if !is_empty {
                self.put_aside = (end == first).then_some(first);
                break;
            }
            limit = first;
        }
        let [confirmed, end] = self.checkpoint.map_or([0; 2], |it| [it.confirmed, it.end]);
        self.next = next.max(confirmed).max(end);
        let oldest = self
            .segments
            .first()
            .filter(|_| passed < self.segments.len());
        let oldest = oldest.map_or(self.next, |it| it.first);
        self.confirmed = self.checkpoint.map_or(oldest, |it| it.confirmed);
        Ok(())
    }

    /// Returns the number after the last valid frame of a segment, and what follows it in the file.
    fn end_of(&self, first: u64, length: u64, limit: u64) -> (u64, Option<Rest>) {
        let Ok(file) = self.open_segment(first) else {
            return (first, None);
        };
        let mut scanner = Scanner::<F>::new(file, HEADER as u64, length, first);
        let mut end = first;
        loop {
            match scanner.find(&self.fs, limit) {
                Ok(Step::Record(found)) => {
                    scanner.pass(&found);
                    end = found.header.end();
                }
                Ok(Step::End(rest)) => return (end, Some(rest)),
                Err(_) => return (end, None),
            }
        }
    }
}

// === impl File ===

impl File {
    fn of(listed: &Listed) -> Option<Self> {
        match Kind::of(&listed.name) {
            Kind::Segment(first) => Some(Self {
                first,
                length: listed.length,
            }),
            _ => None,
        }
    }
}

fn path(folder: &Path, name: &str) -> PathBuf {
    // For an empty name, `Path::join` would add a slash to the path of the folder.
    match name {
        "" => folder.to_owned(),
        name => folder.join(name),
    }
}

fn check_version(folder: &Path, name: &str, found: Option<u32>) -> Result<(), SpoolError> {
    match found {
        Some(found) if found != VERSION => Err(SpoolError::OtherVersion {
            path: path(folder, name),
            found,
        }),
        _ => Ok(()),
    }
}

/// Reads the checkpoint file and lists the folder at one moment: while a router uses the spool, a checkpoint that is read
/// later may cover frames that are not in the list yet.
fn consistent<F: Fs>(fs: &F) -> io::Result<(Option<[Slot; 2]>, Vec<Listed>)> {
    let mut before = slots(fs)?;
    for _ in 0..ATTEMPTS {
        let listed = fs.list()?;
        let after = slots(fs)?;
        if after == before {
            return Ok((after, listed));
        }
        before = after;
    }
    Ok((before, fs.list()?))
}

/// Returns the slots of the checkpoint file. Returns `None` if there is no such file.
fn slots<F: Fs>(fs: &F) -> io::Result<Option<[Slot; 2]>> {
    match fs.open_to_read(checkpoint::NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => Ok(Some(checkpoint::slots(fs, &file?)?)),
    }
}
