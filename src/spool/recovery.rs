//! The start of a spool, whatever a crash left in its folder.
//!
//! Only the newest segment is read. Its valid records stay; a torn tail is cut off, and a damaged rest is put aside.
//! Older segments are read when the sink needs their frames, with the same rules (see [`scan`](super::scan)). A run
//! never appends to a segment of an earlier run.

use std::{io, ops::Range};

use super::{
    checkpoint::{self, Checkpoint, CheckpointFile, Remembered},
    damage,
    error::SpoolError,
    fs::{Fs, Listed, read_full},
    lost::Lost,
    reader::Reader,
    scan::{Rest, Scanner, Step},
    segment::{self, HEADER, Kind, LAST, Owner, VERSION},
    segments::{Segment, Segments},
    settings::{LEAST_SEGMENTS, Settings, Sync, millis},
    store::{Counters, Spool, io_error},
    writer::Writer,
};

/// The frames and files that a start found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The unconfirmed frames. Those among them that turn out to be lost are counted when their place is read.
    pub frames: Range<u64>,
    /// The length of all segments, in bytes.
    pub bytes: u64,
    /// The state of the checkpoint.
    pub checkpoint: Remembered,
    /// The length of the torn tail that was cut off, in bytes.
    pub torn: u64,
    /// True if the rest of the newest segment was damaged and was put aside.
    pub put_aside: bool,
    /// False if the file system has no locks, so that nothing prevents a second router from using the spool.
    pub is_locked: bool,
}

/// The files of the folder, before any repair.
struct Found<F: Fs> {
    segments: Segments,
    checkpoint: CheckpointFile<F>,
    newest: Option<Checkpoint>,
    state: Remembered,
}

/// The state of the newest segment.
struct Tail {
    /// The number after the last valid frame.
    end: u64,
    /// The offset after the last valid record.
    length: u64,
    newest: u64,
    has_records: bool,
    rest: Option<Rest>,
}

/// The name of the file that is locked.
const LOCK: &str = "lock";

// === impl Spool ===

impl<F: Fs> Spool<F> {
    /// Opens the spool in a folder, and creates it if the folder is empty.
    ///
    /// Damage is not an error: the spool continues with what is left.
    ///
    /// # Errors
    ///
    /// If another process uses the folder, if its frames belong to another sink or are of a newer format, if it cannot
    /// be read or written, or if the settings contradict each other. No frame is deleted then.
    pub fn open(fs: F, settings: Settings) -> Result<(Self, Recovered), SpoolError> {
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
        // The checkpoint may be ahead of the data after a power loss. Its numbers are never given to other frames.
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

/// Looks at the files of the folder. Creates the file of the checkpoint if it is missing.
fn find<F: Fs>(fs: &F, settings: &Settings) -> Result<Found<F>, SpoolError> {
    let least = settings.segment.saturating_mul(LEAST_SEGMENTS);
    if settings.size < least {
        return Err(SpoolError::TooSmall {
            size: settings.size,
            segment: settings.segment,
            segments: LEAST_SEGMENTS,
        });
    }
    let listed = fs.list();
    let listed = listed.map_err(|error| io_error(settings, "read", "", error))?;
    let segments = segments(&listed);
    let exists = listed.iter().any(|it| it.name == checkpoint::NAME);
    let opened = CheckpointFile::open(fs, Owner::new(&settings.owner), exists);
    let (checkpoint, newest) =
        opened.map_err(|error| io_error(settings, "open", checkpoint::NAME, error))?;
    let owner = newest.map(|it| (it.owner, it.version));
    check_owner(settings, checkpoint::NAME, owner)?;
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

fn lock<F: Fs>(fs: &F, settings: &Settings) -> Result<Option<F::File>, SpoolError> {
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

/// Refuses the files of another sink or of another version.
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

/// Repairs the newest segment that has records. Returns the number after the last frame.
///
/// A segment without records is deleted, but its name still counts: later frames in the segment before it, if there are
/// any, were taken out of the spool before the crash. So they are cut off, before their numbers are used again.
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

/// Reads the newest segment, whose frames are below `limit`, and repairs it. Returns the number after its last frame, or
/// `None` if the segment is removed because it has no records.
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
    // A segment that cannot be read is treated like a damaged one, but it is not changed.
    let _ = read_full(fs, &file, &mut header, 0);
    let header = segment::Header::decode(&header);
    check_owner(settings, &name, header.map(|it| (it.owner, it.version)))?;
    let (file, tail) = scan(fs, file, first, size, limit);
    if !tail.has_records {
        // Its number may be needed for a new segment, so the file must go.
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
        // A damaged one may have been long, and a start reads one long segment at most.
        return Ok((!is_empty).then_some(first));
    }
    match tail.rest {
        Some(Rest::None | Rest::Torn) if tail.length < size => {
            recovered.torn += size - tail.length;
            // If this fails, readers pass over the tail.
            let _ = fs.truncate(&file, tail.length);
        }
        Some(Rest::Damaged) => {
            let aside = damage::put_aside(fs, &file, first, tail.length, size);
            recovered.put_aside = aside.is_ok();
        }
        _ => {}
    }
    if settings.sync != Sync::Never {
        // The process before may have ended before it synced. There is no copy to write again.
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

/// Writes the first checkpoint of the run, which also shows that the folder can be written.
fn begin<F: Fs>(
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
