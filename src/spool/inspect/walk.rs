//! The walk through the records of a spool, and the damage that it finds.

use std::{
    io,
    ops::{ControlFlow, Range},
    time::SystemTime,
};

use super::{File, Inspection};
use crate::spool::{
    checkpoint::{self, Slot},
    fs::{Fs, Listed},
    record,
    scan::{Found, Rest, Scanner, Step},
    segment::{self, HEADER, Owner, VERSION},
    settings::time,
};

/// What a walk finds at one place.
#[derive(Debug)]
pub enum Piece<'a> {
    /// Frames that can be read.
    Frames(Frames<'a>),
    /// Something that is damaged or missing.
    Flaw(Flaw),
}

/// The frames of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frames<'a> {
    /// The number of the first frame.
    pub first: u64,
    /// The number of frames.
    pub count: u64,
    /// The frames in their wire form, exactly as they were appended.
    pub payload: &'a [u8],
    /// The context with which these frames were appended.
    pub context: &'a [u8],
    /// The time at which the router received the frames.
    pub received: SystemTime,
}

/// Damage at one place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The name of the file in the folder.
    pub file: String,
    /// The offset at which the damage begins.
    pub at: u64,
    /// The length of the damaged part in bytes. 0 if bytes are missing.
    pub bytes: u64,
    /// The kind of damage.
    pub kind: FlawKind,
    /// The numbers of the unconfirmed frames that are lost because of the damage.
    pub lost: Range<u64>,
    /// True if the file is the newest segment. A start repairs this segment; other segments are read and repaired when the
    /// sink needs their frames.
    pub is_newest: bool,
}

/// The kinds of damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlawKind {
    /// One slot of the checkpoint file is damaged, and the other one is valid.
    Slot,
    /// There is no valid checkpoint although there are segments.
    Checkpoint,
    /// The header of a segment is damaged.
    Header,
    /// The segment belongs to another sink.
    OtherSink(Owner),
    /// A newer version of tapfan wrote the segment.
    OtherVersion(u32),
    /// One record is damaged, and the next one is valid.
    Record,
    /// The end of a segment is incomplete, as an interrupted write leaves it.
    Torn,
    /// The rest of a segment cannot be read.
    Rest,
    /// Frames are missing although nothing is damaged there: a segment was deleted, or its end is missing.
    Missing,
    /// The file cannot be read.
    Unreadable(io::ErrorKind),
}

/// A walk through one segment.
struct Segment<'a> {
    file: &'a File,
    is_newest: bool,
    /// The number after the last frame that was found.
    found: u64,
    /// The number at which the next segment begins, or the number of the next frame to append.
    end: u64,
    /// Records with this number or a higher one are not read. It is `end`, unless a start would move the whole next segment
    /// to another file.
    limit: u64,
}

/// The limit on the bytes for which a search in an unreadable part computes checksums, as a multiple of the length of
/// this part.
const PATIENCE: u64 = 16;

// === impl Inspection ===

impl<F: Fs> Inspection<F> {
    /// Visits all records and all damage, in order. With `unconfirmed_only`, begins at the first unconfirmed frame;
    /// otherwise begins at the oldest frame in the folder, and first visits the damage of the checkpoint file.
    ///
    /// Frames that a sink would not get, such as those of another sink, are not visited. Stops when `visit` breaks.
    pub fn walk<B>(
        &self,
        unconfirmed_only: bool,
        mut visit: impl FnMut(Piece<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        if !unconfirmed_only {
            for flaw in self.checkpoint_flaws() {
                visit(Piece::Flaw(flaw))?;
            }
        }
        let oldest = self.segments.first().map_or(self.next, |it| it.first);
        // The number of the next frame to visit.
        let mut at = if unconfirmed_only {
            self.confirmed
        } else {
            self.confirmed.min(oldest)
        };
        for (index, file) in self.segments.iter().enumerate() {
            let next = self.segments.get(index + 1);
            let mut segment = Segment {
                file,
                is_newest: next.is_none(),
                found: file.first,
                end: next.map_or(self.next, |it| it.first),
                limit: next
                    .filter(|it| self.put_aside != Some(it.first))
                    .map_or(self.next, |it| it.first),
            };
            if segment.end <= at && !segment.is_newest {
                continue;
            }
            if at < file.first {
                visit(Piece::Flaw(self.missing(&segment, 0, at..file.first)))?;
                at = file.first;
            }
            // The last record of the previous segment may contain frames whose numbers belong to this segment.
            segment.found = segment.found.max(at);
            self.walk_segment(&mut segment, &mut at, &mut visit)?;
            at = at.max(segment.end);
        }
        if self.segments.is_empty() && at < self.next {
            let none = File {
                first: at,
                length: 0,
            };
            let segment = Segment {
                file: &none,
                is_newest: true,
                found: at,
                end: self.next,
                limit: self.next,
            };
            visit(Piece::Flaw(self.missing(&segment, 0, at..self.next)))?;
        }
        ControlFlow::Continue(())
    }

    /// Visits the frames that can still be found in the unreadable parts of segments, that is, in the files with the
    /// suffix `.bad`. Such a frame may have been confirmed, or may be sent twice if it is sent now.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn walk_bad<B>(
        &self,
        mut visit: impl FnMut(&Listed, Frames<'_>) -> ControlFlow<B>,
    ) -> io::Result<ControlFlow<B>> {
        for listed in &self.bad {
            let from = segment::bad_first(&listed.name).unwrap_or_default();
            let file = self.fs.open_to_read(&listed.name)?;
            let mut scanner = Scanner::<F>::new(file, 0, listed.length, from);
            let mut patience = listed.length.saturating_mul(PATIENCE);
            while let Some(found) = scanner.search(&self.fs, from, &mut patience)? {
                let frames = content(&mut scanner, &self.fs, &found, 0)?;
                if let ControlFlow::Break(broken) = visit(listed, frames) {
                    return Ok(ControlFlow::Break(broken));
                }
                scanner.pass(&found);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Returns the time at which the router received the oldest unconfirmed frame that can be read. `None` if there is
    /// none.
    pub fn oldest(&self) -> Option<SystemTime> {
        let first = self.walk(true, |piece| match piece {
            Piece::Frames(frames) => ControlFlow::Break(frames.received),
            Piece::Flaw(_) => ControlFlow::Continue(()),
        });
        match first {
            ControlFlow::Break(received) => Some(received),
            ControlFlow::Continue(()) => None,
        }
    }

    fn checkpoint_flaws(&self) -> Vec<Flaw> {
        let flaw = |at: u64, kind| Flaw {
            file: checkpoint::NAME.to_owned(),
            at,
            bytes: 0,
            kind,
            lost: 0..0,
            is_newest: false,
        };
        if self.checkpoint.is_none() && !self.segments.is_empty() {
            return vec![flaw(0, FlawKind::Checkpoint)];
        }
        let slots = self.slots.iter().flatten();
        let damaged = (0..).zip(slots).filter(|(_, slot)| **slot == Slot::Damaged);
        damaged
            .map(|(slot, _)| flaw(checkpoint::offset(slot), FlawKind::Slot))
            .collect()
    }

    fn walk_segment<B>(
        &self,
        segment: &mut Segment<'_>,
        at: &mut u64,
        visit: &mut impl FnMut(Piece<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let length = segment.file.length;
        let file = match self.open_segment(segment.file.first) {
            Ok(file) => file,
            // The router deleted the segment in the meantime, because its frames are confirmed.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_held == Some(true) => {
                return ControlFlow::Continue(());
            }
            Err(error) => {
                let kind = FlawKind::Unreadable(error.kind());
                return visit(Piece::Flaw(self.flaw(segment, 0, length, kind)));
            }
        };
        match self.head_flaw(segment, &file) {
            Some(flaw) if flaw.kind == FlawKind::Header => visit(Piece::Flaw(flaw))?,
            Some(flaw) => return visit(Piece::Flaw(flaw)),
            None => {}
        }
        let mut scanner = Scanner::<F>::new(file, HEADER as u64, length, segment.file.first);
        loop {
            let before = scanner.at();
            let found = match scanner.find(&self.fs, segment.limit) {
                Ok(Step::Record(found)) => found,
                Ok(Step::End(rest)) => return self.end(segment, before, &scanner, rest, visit),
                Err(error) => {
                    let (at, kind) = (scanner.at(), FlawKind::Unreadable(error.kind()));
                    return visit(Piece::Flaw(self.flaw(segment, at, length - at, kind)));
                }
            };
            if segment.found < found.header.first {
                visit(Piece::Flaw(self.gap(segment, before, &found)))?;
            }
            segment.found = segment.found.max(found.header.end());
            if *at < segment.found {
                match content(&mut scanner, &self.fs, &found, *at) {
                    Ok(frames) => visit(Piece::Frames(frames))?,
                    Err(error) => {
                        return visit(Piece::Flaw(self.unreadable(segment, &found, &error)));
                    }
                }
                *at = segment.found;
            }
            scanner.pass(&found);
        }
    }

    /// Checks the header of a segment. All damage except that of kind `Header` makes the whole segment useless.
    fn head_flaw(&self, segment: &Segment<'_>, file: &F::File) -> Option<Flaw> {
        let length = segment.file.length;
        if length < HEADER as u64 {
            return Some(self.flaw(segment, 0, length, FlawKind::Torn));
        }
        let kind = match self.header(file) {
            None => {
                let flaw = self.flaw(segment, 0, HEADER as u64, FlawKind::Header);
                return Some(Flaw { lost: 0..0, ..flaw });
            }
            Some(header) if header.version != VERSION => FlawKind::OtherVersion(header.version),
            Some(header) if self.owner.is_some_and(|owner| owner != header.owner) => {
                FlawKind::OtherSink(header.owner)
            }
            Some(_) => return None,
        };
        Some(self.flaw(segment, 0, length, kind))
    }

    /// Describes the damage between the previous record, which ends at `before`, and the record that was found.
    fn gap(&self, segment: &Segment<'_>, before: u64, found: &Found) -> Flaw {
        let bytes = found.at() - before;
        let kind = if bytes == 0 {
            FlawKind::Missing
        } else {
            FlawKind::Record
        };
        Flaw {
            bytes,
            kind,
            ..self.missing(segment, before, segment.found..found.header.first)
        }
    }

    fn unreadable(&self, segment: &Segment<'_>, found: &Found, error: &io::Error) -> Flaw {
        let (at, kind) = (found.at(), FlawKind::Unreadable(error.kind()));
        let flaw = self.flaw(segment, at, segment.file.length - at, kind);
        let lost = self.unconfirmed(found.header.first..segment.end);
        Flaw { lost, ..flaw }
    }

    /// Visits the damage after the last valid record of a segment. `before` is the offset at which that record ends.
    fn end<B>(
        &self,
        segment: &Segment<'_>,
        before: u64,
        scanner: &Scanner<F>,
        rest: Rest,
        visit: &mut impl FnMut(Piece<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let kind = match rest {
            // A bad record was skipped, and the record after it belongs to the next segment.
            Rest::None if scanner.at() > before => FlawKind::Record,
            Rest::None if segment.found < segment.end => FlawKind::Missing,
            // The router is writing this record at the moment.
            Rest::Torn if segment.is_newest && self.is_held == Some(true) => {
                return ControlFlow::Continue(());
            }
            Rest::None => return ControlFlow::Continue(()),
            // An interrupted write can only leave the newest segment incomplete.
            Rest::Torn if !segment.is_newest && segment.found < segment.end => FlawKind::Rest,
            Rest::Torn => FlawKind::Torn,
            Rest::Damaged => FlawKind::Rest,
        };
        let bytes = match kind {
            FlawKind::Missing => 0,
            FlawKind::Record => scanner.at() - before,
            _ => segment.file.length - before,
        };
        visit(Piece::Flaw(self.flaw(segment, before, bytes, kind)))
    }

    /// Describes damage that causes the loss of all frames of a segment that were not found yet.
    fn flaw(&self, segment: &Segment<'_>, at: u64, bytes: u64, kind: FlawKind) -> Flaw {
        Flaw {
            bytes,
            kind,
            ..self.missing(segment, at, segment.found..segment.end)
        }
    }

    fn missing(&self, segment: &Segment<'_>, at: u64, lost: Range<u64>) -> Flaw {
        Flaw {
            file: segment::name(segment.file.first),
            at,
            bytes: 0,
            kind: FlawKind::Missing,
            lost: self.unconfirmed(lost),
            is_newest: segment.is_newest,
        }
    }

    fn unconfirmed(&self, frames: Range<u64>) -> Range<u64> {
        let start = frames.start.max(self.confirmed);
        start..frames.end.max(start)
    }
}

/// Returns the frames of a record that have the number `from` or a higher one.
fn content<'a, F: Fs>(
    scanner: &'a mut Scanner<F>,
    fs: &F,
    found: &Found,
    from: u64,
) -> io::Result<Frames<'a>> {
    let (context, payload) = scanner.content(fs, found)?;
    let known = from.saturating_sub(found.header.first);
    let payload = record::offset(payload, known).and_then(|at| payload.get(at..));
    Ok(Frames {
        first: found.header.first + known,
        count: u64::from(found.header.frames) - known,
        payload: payload.unwrap_or_default(),
        context,
        received: time(found.header.time),
    })
}
