//! The limits of a spool: the size of its files, and the age of its frames.

use super::{
    error::SpoolError,
    fs::Fs,
    segment,
    settings::{Now, WhenFull, millis},
    store::{Loss, Spool},
};

// === impl Spool ===

impl<F: Fs> Spool<F> {
    /// Gives up the segments whose frames are all older than the configured `age`, including the one that is being
    /// written. If only some frames of a segment are too old, these frames are given up when they are read.
    ///
    /// # Errors
    ///
    /// The same as those of [`commit`](Self::commit), which deletes the files.
    pub fn expire(&mut self, now: Now) -> Result<(), SpoolError> {
        let Some(limit) = self.oldest_time(now) else {
            return Ok(());
        };
        let newest = self.segments.back();
        if self.writer.is_open() && newest.is_some_and(|it| it.newest < limit && it.has_records()) {
            self.seal(now)?;
        }
        let mut index = 0;
        while index + usize::from(self.writer.is_open()) < self.segments.len() {
            let segment = self.segments.get(index);
            if segment.is_none_or(|segment| segment.newest >= limit) {
                break;
            }
            index += 1;
        }
        if index == 0 || (index == self.segments.len() && self.writer.is_dirty()) {
            return Ok(());
        }
        let end = self.segments.frames(index - 1, self.next).end;
        if end <= self.confirmed {
            return Ok(());
        }
        self.give_up(end, Loss::Expired, now);
        self.commit(now)
    }

    /// Returns a time in milliseconds since 1970. Frames that were received before this time are too old and are given
    /// up. Returns `None` if there is no limit on the age.
    pub(super) fn oldest_time(&self, now: Now) -> Option<u64> {
        let age = u64::try_from(self.settings.age?.as_millis()).unwrap_or(u64::MAX);
        Some(millis(now.wall).saturating_sub(age))
    }

    /// Returns whether there is room for a record of this length. If there is none, deletes old segments, as far as the
    /// settings allow it.
    pub(super) fn make_room(&mut self, length: u64, now: Now) -> Result<bool, SpoolError> {
        loop {
            let headers = self.new_segments(length) * segment::HEADER as u64;
            let needed = self.segments.bytes().saturating_add(length + headers);
            if needed <= self.settings.size {
                return Ok(true);
            }
            if !self.front_is_confirmed() {
                if self.settings.when_full == WhenFull::Newest || !self.front_may_go() {
                    return Ok(false);
                }
                let end = self.segments.frames(0, self.next).end;
                self.give_up(end, Loss::Oldest, now);
            }
            let before = self.segments.len();
            self.commit(now)?;
            if self.segments.len() >= before {
                return Ok(false);
            }
        }
    }

    /// Gives up the frames below the number `end`. Frames that were not read yet are counted as lost.
    fn give_up(&mut self, end: u64, loss: Loss, now: Now) {
        let unread = self.reader.position.max(self.confirmed);
        self.lose(unread.min(end)..end, loss, now);
        self.advance(end, now);
    }
}
