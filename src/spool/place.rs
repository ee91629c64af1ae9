//! The checks of a spool's folder. A start refuses a folder with files of another program. A running spool notices if
//! its files are deleted or replaced.

use std::{collections::HashMap, path::Path};

use super::{
    checkpoint::{self, CheckpointFile},
    error::SpoolError,
    fs::Fs,
    recovery::{LOCK, begin, lock},
    segment::{self, Kind, Owner},
    segments::Segments,
    settings::Sync,
    store::Spool,
};
#[cfg(feature = "cli")]
use super::{fs::Folder, inspect::Inspection};

/// Segments that another program has deleted or shortened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The name of the oldest one.
    pub name: String,
    /// The number of the others.
    pub others: usize,
}

/// A name that file systems create at the root of a disk.
const LOST_AND_FOUND: &str = "lost+found";

/// Refuses a folder without a checkpoint of a spool, if it has files that no spool writes. Such a folder was probably
/// given by mistake. A start would delete files there, and `tapfan spool drop` would delete more.
pub(super) fn check_folder<F: Fs>(fs: &F, folder: &Path) -> Result<(), SpoolError> {
    // If the folder cannot be read, the next step of the start reports it.
    let Ok(names) = fs.names() else {
        return Ok(());
    };
    let is_ours = |name: &String| {
        [LOCK, checkpoint::NAME, LOST_AND_FOUND].contains(&name.as_str())
            || Kind::of(name) != Kind::Other
    };
    let mut foreign: Vec<_> = names.iter().filter(|name| !is_ours(name)).collect();
    if foreign.is_empty() || has_checkpoint(fs) {
        return Ok(());
    }
    foreign.sort();
    Err(SpoolError::ForeignFiles {
        path: folder.to_owned(),
        name: foreign[0].clone(),
        others: foreign.len() - 1,
    })
}

/// Returns the error with which a start would refuse a folder because of the files in it, or `None` if it would use the
/// folder. Changes nothing. `sink` is the name of the sink that would use the folder.
#[cfg(feature = "cli")]
pub(crate) fn refusal(folder: &Path, sink: &str) -> Option<SpoolError> {
    let fs = Folder::new(folder);
    if let Err(error) = check_folder(&fs, folder) {
        return Some(error);
    }
    let found = match Inspection::open(fs, folder) {
        Ok(inspection) => inspection?.overview().owner?,
        Err(error) => return Some(error),
    };
    let expected = Owner::new(sink);
    (found != expected).then(|| SpoolError::OtherSink {
        path: folder.to_owned(),
        found,
        expected,
    })
}

/// Returns whether the folder has a valid checkpoint, of any sink.
fn has_checkpoint<F: Fs>(fs: &F) -> bool {
    let file = fs.open_to_read(checkpoint::NAME);
    let slots = file.and_then(|file| checkpoint::slots(fs, &file));
    slots.is_ok_and(|slots| checkpoint::newest(&slots).is_some())
}

// === impl Spool ===

impl<F: Fs> Spool<F> {
    /// Checks that the lock and the checkpoint are still in the folder. If they were deleted, creates them again, so
    /// that no second router can use the spool, and so that a restart sends no frames again. Returns whether files were
    /// created.
    ///
    /// If the segments were deleted, too, [`look_after_segments`](Self::look_after_segments) reports them.
    ///
    /// # Errors
    ///
    /// If another router or sink has locked the folder, if the folder has files that this spool did not write, or if it
    /// is gone.
    pub fn restore_place(&mut self) -> Result<bool, SpoolError> {
        let has_lock = match &self.lock {
            Some(lock) => self.fs.is_at(LOCK, lock),
            None => Ok(true),
        };
        let has_lock = has_lock.map_err(|error| self.error("read", LOCK, error))?;
        let has_checkpoint = self.checkpoint.is_in_place(&self.fs);
        let has_checkpoint =
            has_checkpoint.map_err(|error| self.error("read", checkpoint::NAME, error))?;
        if has_lock && has_checkpoint {
            return Ok(false);
        }
        if !has_lock {
            self.lock = lock(&self.fs, &self.settings)?;
        }
        if !has_checkpoint {
            self.restore_checkpoint()?;
        }
        Ok(true)
    }

    /// Finds segments that another program has deleted or shortened since the last call. New frames are not appended to
    /// such a segment. Its frames are counted as lost when the reader reaches them, except those that were not on the
    /// disk yet: these are written again.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn look_after_segments(&mut self) -> Result<Option<Missing>, SpoolError> {
        let listed = self.fs.list();
        let listed = listed.map_err(|error| self.error("read", "", error))?;
        let lengths = listed.into_iter().map(|file| (file.name, file.length));
        let lengths: HashMap<String, u64> = lengths.collect();
        let mut found: Option<Missing> = None;
        let mut newest_is_damaged = false;
        for segment in self.segments.iter_mut() {
            let name = segment::name(segment.first);
            let length = lengths.get(&name).copied();
            let is_damaged = length.is_none_or(|length| length < segment.length());
            newest_is_damaged = is_damaged;
            if is_damaged && !segment.is_damaged {
                segment.is_damaged = true;
                match &mut found {
                    Some(found) => found.others += 1,
                    None => found = Some(Missing { name, others: 0 }),
                }
            }
        }
        if newest_is_damaged {
            self.writer.close_file();
        }
        if found.is_some() {
            self.reader.forget_file();
        }
        let is_missing = |first: u64| !lengths.contains_key(&segment::name(first));
        while self.front_may_go() && self.segments.front().is_some_and(|it| is_missing(it.first)) {
            self.segments.pop_front();
        }
        Ok(found)
    }

    /// Returns the number of the first frame that a segment can have. All earlier frames are not on the disk any more.
    pub fn first_on_disk(&self) -> u64 {
        let front = self.segments.front().map(|it| it.first);
        front.unwrap_or_else(|| self.writer.first_unsynced().unwrap_or(self.next))
    }

    fn restore_checkpoint(&mut self) -> Result<(), SpoolError> {
        let names = self.fs.names();
        let names = names.map_err(|error| self.error("read", "", error))?;
        let segments = names.iter().filter_map(|name| match Kind::of(name) {
            Kind::Segment(first) => Some(first),
            _ => None,
        });
        let segments: Vec<u64> = segments.collect();
        let unknown = segments.iter().find(|it| !self.segments.has(**it));
        let foreign = match names.iter().find(|name| *name == checkpoint::NAME) {
            Some(name) => Some(name.clone()),
            None => unknown.map(|first| segment::name(*first)),
        };
        if let Some(name) = foreign {
            return Err(SpoolError::Replaced(self.settings.folder.join(name)));
        }
        let opened = CheckpointFile::open(&self.fs, Owner::new(&self.settings.owner), false);
        let (mut file, _) =
            opened.map_err(|error| self.error("create", checkpoint::NAME, error))?;
        let keeps = self.settings.sync != Sync::Never;
        let (confirmed, end) = (self.confirmed, self.writer.synced);
        let begun = begin(&self.fs, &mut file, keeps, confirmed, end);
        begun.map_err(|error| self.error("write", checkpoint::NAME, error))?;
        self.checkpoint = file;
        // The open segment may be a file without a name. Records that are not on the disk yet are written again.
        self.writer.close_file();
        self.reader.forget_file();
        if segments.is_empty() {
            self.segments = Segments::default();
        }
        Ok(())
    }
}
