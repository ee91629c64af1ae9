//! The start of a spool. It works with any files that a crash may have left in the folder.
//!
//! A start reads only the newest segment. Its valid records stay. If the last write to it was interrupted, the
//! incomplete record at the end is cut off. If a part of it is damaged, this part is moved to another file. Older
//! segments are read when the sink needs their frames, with the same rules (see [`scan`](super::scan)). The router
//! never appends to a segment that was written before the start.

use std::{io, ops::Range};

use super::{
    checkpoint::{self, Checkpoint, CheckpointFile, Remembered},
    damage,
    error::SpoolError,
    fs::{Fs, Listed, read_full},
    lost::Lost,
    place::check_folder,
    reader::Reader,
    scan::{Rest, Scanner, Step},
    segment::{self, HEADER, Kind, LAST, Owner, VERSION},
    segments::{Segment, Segments},
    settings::{Settings, Sync, millis},
    store::{Counters, Spool, io_error},
    writer::Writer,
};

/// The result of opening a spool: the frames and files that were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The sequence numbers of the unconfirmed frames. Some of these frames may turn out to be lost. They are counted
    /// when the reader reaches their place.
    pub frames: Range<u64>,
    /// The length of all segments, in bytes.
    pub bytes: u64,
    /// The state of the checkpoint file.
    pub checkpoint: Remembered,
    /// The length of the incomplete data that was cut off at the end of a segment, in bytes.
    pub torn: u64,
    /// True if a part of the newest segment was damaged and was moved to another file.
    pub put_aside: bool,
    /// True if the folder is locked. If it is false, the file system does not support locks, and nothing prevents a
    /// second router from using the spool.
    pub is_locked: bool,
}

/// The files that were found in the folder, before any repair.
struct Found<F: Fs> {
    segments: Segments,
    checkpoint: CheckpointFile<F>,
    newest: Option<Checkpoint>,
    state: Remembered,
}

/// The content of the newest segment, up to its last valid record.
struct Tail {
    /// The sequence number after the last valid frame.
    end: u64,
    /// The offset at which the last valid record ends.
    length: u64,
    newest: u64,
    has_records: bool,
    rest: Option<Rest>,
}

/// The name of the file whose lock protects the folder.
pub(super) const LOCK: &str = "lock";

// === impl Spool ===

impl<F: Fs> Spool<F> {
    /// Opens the spool in a folder, or creates it if the folder is empty.
    ///
    /// Damage is not an error: the spool continues with the frames that can still be read.
    ///
    /// # Errors
    ///
    /// If another process uses the folder, if the folder has files of another program, if the frames belong to another
    /// sink or have a newer format, if the folder cannot be read or written, or if the settings contradict each other. No frame is deleted in these cases.
    pub fn open(fs: F, settings: Settings) -> Result<(Self, Recovered), SpoolError> {
        check_folder(&fs, &settings.folder)?;
        let lock = lock(&fs, &settings)?;
        let Found {
            mut segments,
            mut checkpoint,
            newest,
            state,
        } = find(&fs, &settings)?;
        let mut recovered = Recovered {
            frames: 0..0,
            bytes: 0,
            checkpoint: state,
            torn: 0,
            put_aside: false,
            is_locked: lock.is_some(),
        };
        let end = recover(&fs, &settings, &mut segments, &mut recovered)?;
        // After a power loss, the checkpoint may cover frames that are not on the disk. Their numbers are never given
        // to other frames.
        let next = newest.map_or(end, |it| end.max(it.confirmed).max(it.end));
        let oldest = segments.front().map_or(next, |it| it.first);
        let confirmed = newest.map_or(oldest, |it| it.confirmed);
        let keeps = settings.sync != Sync::Never;
        let begun = begin(&fs, &mut checkpoint, keeps, confirmed, next);
        begun.map_err(|error| io_error(&settings, "write", checkpoint::NAME, error))?;
        recovered.frames = confirmed..next;
        recovered.bytes = segments.bytes();
        let counters = Counters {
            put_aside: u64::from(recovered.put_aside),
            ..Counters::default()
        };
        let spool = Self {
            fs,
            owner: Owner::new(&settings.owner),
            settings,
            segments,
            writer: Writer::new(next),
            reader: Reader::new(confirmed),
            checkpoint,
            confirmed,
            next,
            lost: Lost::default(),
            counters,
            waiting: None,
            lock,
        };
        Ok((spool, recovered))
    }
}

/// Finds the files of the folder. Creates the checkpoint file if it is missing.
fn find<F: Fs>(fs: &F, settings: &Settings) -> Result<Found<F>, SpoolError> {
    settings.check()?;
    let listed = fs.list();
    let listed = listed.map_err(|error| io_error(settings, "read", "", error))?;
    let segments = segments(&listed);
    let exists = listed.iter().any(|it| it.name == checkpoint::NAME);
    let opened = CheckpointFile::open(fs, Owner::new(&settings.owner), exists);
    let (checkpoint, newest) =
        opened.map_err(|error| io_error(settings, "open", checkpoint::NAME, error))?;
    let owner = newest.map(|it| (it.owner, it.version));
    check_checkpoint(fs, settings, &segments, owner)?;
    for file in &listed {
        if Kind::of(&file.name) == Kind::Unfinished {
            let _ = fs.remove(&file.name);
        }
    }
    let state = match newest {
        Some(_) => Remembered::Found,
        None if exists || segments.len() > 0 => Remembered::Lost,
        None => Remembered::New,
    };
    Ok(Found {
        segments,
        checkpoint,
        newest,
        state,
    })
}

pub(super) fn lock<F: Fs>(fs: &F, settings: &Settings) -> Result<Option<F::File>, SpoolError> {
    fs.lock(LOCK).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => SpoolError::InUse(settings.folder.join(LOCK)),
        _ => io_error(settings, "lock", LOCK, error),
    })
}

/// Returns the segments of the folder, in order.
fn segments(listed: &[Listed]) -> Segments {
    let mut found: Vec<Segment> = listed
        .iter()
        .filter_map(|it| match Kind::of(&it.name) {
            Kind::Segment(first) => Some(Segment::new(first, it.length, millis(it.modified))),
            _ => None,
        })
        .collect();
    found.sort_by_key(|segment| segment.first);
    let mut segments = Segments::default();
    for segment in found {
        segments.push(segment);
    }
    segments
}

/// Checks the owner of the checkpoint. The error says whether the segments have the same owner, because a copied
/// checkpoint needs another remedy than a wrong folder.
fn check_checkpoint<F: Fs>(
    fs: &F,
    settings: &Settings,
    segments: &Segments,
    found: Option<(Owner, u32)>,
) -> Result<(), SpoolError> {
    let checked = check_owner(settings, checkpoint::NAME, found);
    let Err(SpoolError::OtherSink {
        found, expected, ..
    }) = checked
    else {
        return checked;
    };
    let newest = segments.back().map(|newest| segment::name(newest.first));
    let mut header = [0; HEADER];
    let file = newest.and_then(|name| fs.open_to_read(&name).ok());
    let read = file.and_then(|file| read_full(fs, &file, &mut header, 0).ok());
    let header = read.and_then(|_| segment::Header::decode(&header));
    if header.is_some_and(|header| header.owner == expected) {
        return Err(SpoolError::OtherCheckpoint {
            path: settings.folder.join(checkpoint::NAME),
            found,
            expected,
        });
    }
    checked
}

/// Returns an error if a file belongs to another sink or has another version of the format.
fn check_owner(
    settings: &Settings,
    name: &str,
    found: Option<(Owner, u32)>,
) -> Result<(), SpoolError> {
    let expected = Owner::new(&settings.owner);
    match found {
        Some((_, found)) if found != VERSION => Err(SpoolError::OtherVersion {
            path: settings.folder.join(name),
            found,
        }),
        Some((found, _)) if found != expected => Err(SpoolError::OtherSink {
            path: settings.folder.clone(),
            found,
            expected,
        }),
        _ => Ok(()),
    }
}

/// Repairs the newest segment that has records. Returns the sequence number after the last frame.
///
/// If the newest segment has no records, it is deleted first, but the number in its name is still needed. If the
/// segment before it contains frames with this number or higher ones, these frames were removed from the spool before
/// the crash. They are cut off here, because their numbers will be used again.
fn recover<F: Fs>(
    fs: &F,
    settings: &Settings,
    segments: &mut Segments,
    recovered: &mut Recovered,
) -> Result<u64, SpoolError> {
    let (mut limit, mut next) = (LAST, 0);
    while let Some(first) = segments.back().map(|newest| newest.first) {
        let end = recover_newest(fs, settings, segments, recovered, limit)?;
        if let Some(end) = end {
            return Ok(end.max(next));
        }
        limit = first;
        next = next.max(first);
    }
    Ok(next)
}

/// Reads and repairs the newest segment. Its frames must have numbers below `limit`. Returns the number after its last
/// frame. Returns `None` if the segment was deleted because it contains no records.
fn recover_newest<F: Fs>(
    fs: &F,
    settings: &Settings,
    segments: &mut Segments,
    recovered: &mut Recovered,
    limit: u64,
) -> Result<Option<u64>, SpoolError> {
    let Some(newest) = segments.back() else {
        return Ok(None);
    };
    let (first, size) = (newest.first, newest.length());
    let name = segment::name(first);
    let failed = |doing, error| io_error(settings, doing, &name, error);
    let file = fs.open(&name).map_err(|error| failed("open", error))?;
    let mut header = [0; HEADER];
    // An error is ignored here. A segment that cannot be read is treated like a damaged segment, but its file is not
    // changed.
    let _ = read_full(fs, &file, &mut header, 0);
    let header = segment::Header::decode(&header);
    check_owner(settings, &name, header.map(|it| (it.owner, it.version)))?;
    let (file, tail) = scan(fs, file, first, size, limit);
    if !tail.has_records {
        // A new segment may need the same name, so this file must be deleted or renamed.
        let is_empty = tail.rest.is_some_and(|rest| rest != Rest::Damaged);
        let removed = if is_empty {
            recovered.torn += size;
            fs.remove(&name)
        } else {
            recovered.put_aside = true;
            damage::put_all_aside(fs, first)
        };
        removed.map_err(|error| failed("remove", error))?;
        segments.replace(first);
        // The start of a spool must read at most one long segment. A damaged segment may be long, so the search for a
        // segment with records ends after a damaged one.
        return Ok((!is_empty).then_some(first));
    }
    match tail.rest {
        Some(Rest::None | Rest::Torn) if tail.length < size => {
            recovered.torn += size - tail.length;
            // If this fails, readers skip the incomplete data.
            let _ = fs.truncate(&file, tail.length);
        }
        Some(Rest::Damaged) => {
            let aside = damage::put_aside(fs, &file, first, tail.length, size);
            recovered.put_aside = aside.is_ok();
        }
        _ => {}
    }
    if settings.sync != Sync::Never {
        // The previous process may have ended before it synced the segment. An error is ignored, because this process
        // has no copy of the data in memory and cannot write it again.
        let _ = fs.sync(&file);
    }
    let index = segments.len() - 1;
    segments.cut(index, tail.length);
    segments.set_newest(tail.newest);
    Ok(Some(tail.end))
}

fn scan<F: Fs>(fs: &F, file: F::File, first: u64, size: u64, limit: u64) -> (F::File, Tail) {
    let start = HEADER as u64;
    let mut tail = Tail {
        end: first,
        length: start.min(size),
        newest: 0,
        has_records: false,
        rest: None,
    };
    let mut scanner = Scanner::<F>::new(file, start, size, first);
    loop {
        match scanner.find(fs, limit) {
            Ok(Step::Record(found)) => {
                scanner.pass(&found);
                tail.end = found.header.end();
                tail.length = scanner.at();
                tail.newest = tail.newest.max(found.header.time);
                tail.has_records = true;
            }
            Ok(Step::End(rest)) => {
                tail.rest = Some(rest);
                break;
            }
            Err(_) => break,
        }
    }
    (scanner.into_file(), tail)
}

/// Writes the first checkpoint after the start. This also shows whether the folder can be written.
pub(super) fn begin<F: Fs>(
    fs: &F,
    file: &mut CheckpointFile<F>,
    keeps: bool,
    confirmed: u64,
    end: u64,
) -> io::Result<()> {
    if keeps {
        file.sync_found(fs)?;
    }
    file.write(fs, confirmed, end)?;
    if keeps {
        file.sync(fs)?;
        fs.sync_folder()?;
    }
    Ok(())
}
