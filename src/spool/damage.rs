//! The parts of segments that cannot be read. They are moved to files of their own, so that people can look at them.

use std::io::{self, IoSlice};

use super::{
    fs::{Fs, read_full, write_all},
    segment::{self, Kind},
};

/// The largest number of files with unreadable parts. If there is another such file, the file with the oldest frames is
/// deleted.
const FILES: usize = 4;

/// The number of bytes that are copied in one step.
const PIECE: usize = 256 << 10;

/// Moves the end of a segment, from the offset `at` up to `length`, to a file of its own.
///
/// If the copy fails, the segment is unchanged. A reader then skips this part again whenever it reads the segment.
pub(super) fn put_aside<F: Fs>(
    fs: &F,
    file: &F::File,
    first: u64,
    at: u64,
    length: u64,
) -> io::Result<()> {
    let name = segment::bad_name(first, at);
    let copied = copy(fs, file, &name, at, length);
    if let Err(error) = copied {
        let _ = fs.remove(&name);
        return Err(error);
    }
    fs.truncate(file, at)?;
    keep_few(fs)
}

/// Renames a segment that contains no usable record.
pub(super) fn put_all_aside<F: Fs>(fs: &F, first: u64) -> io::Result<()> {
    fs.rename(&segment::name(first), &segment::bad_name(first, 0))?;
    keep_few(fs)
}

fn copy<F: Fs>(fs: &F, from: &F::File, name: &str, at: u64, length: u64) -> io::Result<()> {
    // An earlier attempt may have left a file with this name.
    let _ = fs.remove(name);
    let to = fs.create(name)?;
    let mut piece = vec![0; PIECE];
    let mut done = 0;
    while at + done < length {
        let left = usize::try_from(length - at - done).unwrap_or(PIECE);
        let read = read_full(fs, from, &mut piece[..left.min(PIECE)], at + done)?;
        if read == 0 {
            break;
        }
        write_all(fs, &to, &mut [IoSlice::new(&piece[..read])], done)?;
        done += read as u64;
    }
    fs.sync(&to)?;
    fs.sync_folder()
}

fn keep_few<F: Fs>(fs: &F) -> io::Result<()> {
    let mut names: Vec<String> = fs
        .list()?
        .into_iter()
        .map(|listed| listed.name)
        .filter(|name| Kind::of(name) == Kind::Bad)
        .collect();
    names.sort();
    for name in names.iter().take(names.len().saturating_sub(FILES)) {
        fs.remove(name)?;
    }
    Ok(())
}
