//! Fuzzes the start of a spool, reads of it, and its read-only inspection. The input describes either the files in the
//! folder of the spool, or damage to files that a spool has written.
//!
//! Frames must be read in order, and frames that cannot be read must be counted as lost. Frames that are appended later
//! must be read, too. The inspection must predict which frames are read and how many are lost.

#![no_main]

use std::{
    collections::BTreeMap,
    ops::{ControlFlow, Range},
    path::Path,
    time::{Duration, Instant, UNIX_EPOCH},
};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tapfan::internals::spool::{
    Appended, Entry, Inspection, Now, Piece, Recovered, Settings, Spool, SpoolError, Sync, WhenFull,
};
use tapfan_fuzz::Folder;

const NAMES: [&str; 8] = [
    "checkpoint",
    "00000000000000000000.seg",
    "00000000000000000002.seg",
    "00000000000000000004.seg",
    "09223372036854775807.seg",
    "00000000000000000004.new",
    "00000000000000000002-0000000064.bad",
    "other",
];

/// The size limit of the spool. It is larger than all files of an input together, so that there is room for a new
/// frame.
const SIZE: u64 = 1 << 20;

fn now() -> Now {
    Now {
        wall: UNIX_EPOCH + Duration::from_secs(1),
        steady: Instant::now(),
    }
}

fn open(folder: &Folder) -> Result<(Spool<Folder>, Recovered), SpoolError> {
    let settings = Settings {
        folder: "/spool".into(),
        owner: "siem".to_owned(),
        segment: 200,
        size: SIZE,
        sync: Sync::Within(Duration::from_millis(200)),
        when_full: WhenFull::Newest,
        age: None,
    };
    Spool::open(folder.clone(), settings)
}

fn entry(payload: &'static [u8]) -> Entry {
    Entry {
        payload: Bytes::from_static(payload),
        context: Bytes::from_static(b"peer"),
        received: UNIX_EPOCH,
    }
}

/// Writes the files that the input describes. For each file, the input has its name, its length and its content.
fn fill(folder: &Folder, mut data: &[u8]) {
    while let [name, high, low, rest @ ..] = data {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (content, behind) = rest.split_at(length);
        folder.put(NAMES[usize::from(*name) % NAMES.len()], content);
        data = behind;
    }
}

/// Writes a spool of a few segments, and damages its files as the input describes. For each damage, the input has the
/// file, the offset of a byte, and the bits to flip in this byte.
fn damage(folder: &Folder, data: &[u8]) {
    let (mut spool, _) = open(folder).expect("an empty folder");
    for number in 0..8 {
        let payload: &[u8] = if number % 2 == 0 {
            b"\0\0\0\x03abc\0\0\0\x01d"
        } else {
            b"\0\0\0\x02ef"
        };
        spool.append(&entry(payload), now()).expect("room");
    }
    spool.confirm(1, now()).expect("written");
    spool.commit(now()).expect("written");
    drop(spool);
    let mut damages = BTreeMap::<u8, Vec<(usize, u8)>>::new();
    for damage in data.chunks_exact(4) {
        let at = usize::from(u16::from_be_bytes([damage[1], damage[2]]));
        damages
            .entry(damage[0] % 8)
            .or_default()
            .push((at, damage[3]));
    }
    let mut index = 0;
    folder.change(|_, content| {
        for &(at, value) in damages.get(&index).into_iter().flatten() {
            match content.get_mut(at) {
                Some(byte) => *byte ^= value,
                // If the offset is after the end of the file, the file is cut or lengthened.
                None if value < 128 => content.truncate(at % (content.len() + 1)),
                None => content.extend(std::iter::repeat_n(value & 1, usize::from(value))),
            }
        }
        index += 1;
    });
}

/// The results of an inspection.
struct Look {
    frames: Range<u64>,
    /// The number of unconfirmed frames that can be read.
    left: u64,
    /// The number of unconfirmed frames that are lost.
    lost: u64,
}

/// Inspects the spool. The inspection must not change a file.
fn look(folder: &Folder) -> Option<Look> {
    let content = |folder: &Folder| {
        let mut all = Vec::new();
        folder.change(|name, content| all.push((name.to_owned(), content.clone())));
        all
    };
    let before = content(folder);
    let inspection = Inspection::open(folder.clone(), Path::new("/spool")).ok()??;
    let mut look = Look {
        frames: inspection.overview().frames,
        left: 0,
        lost: 0,
    };
    let mut end = look.frames.start;
    let _ = inspection.walk(true, |piece| {
        match piece {
            Piece::Frames(frames) => {
                assert!(frames.first >= end && frames.count > 0);
                end = frames.first + frames.count;
                look.left += frames.count;
            }
            Piece::Flaw(flaw) => look.lost += flaw.lost.end - flaw.lost.start,
        }
        ControlFlow::<()>::Continue(())
    });
    let _ = inspection.walk(false, |_| ControlFlow::<()>::Continue(()));
    let walked = inspection.walk_bad(|_, frames| {
        assert!(frames.count > 0);
        ControlFlow::<()>::Continue(())
    });
    assert!(walked.is_ok());
    assert_eq!(content(folder), before);
    Some(look)
}

/// Reads all frames, and checks their order and the counts of the spool.
fn drain(spool: &mut Spool<Folder>, limit: usize) -> u64 {
    let start = spool.status();
    let (mut end, mut frames) = (start.position, 0);
    while let Some(batch) = spool.read(limit, now()).expect("no read fails") {
        assert!(batch.first >= end && batch.frames > 0);
        end = batch.first + batch.frames;
        frames += batch.frames;
    }
    let status = spool.status();
    assert!(end <= status.next && status.position == status.next);
    let lost = status.counters.corrupt - start.counters.corrupt;
    assert_eq!(frames + lost, status.next - start.position);
    frames
}

fuzz_target!(|data: &[u8]| {
    let folder = Folder::default();
    match data {
        [0, data @ ..] => fill(&folder, data),
        [_, data @ ..] => damage(&folder, data),
        [] => return,
    }
    let look = look(&folder);
    // The spool may refuse the files, because they may belong to another sink or to a newer version.
    let Ok((mut spool, recovered)) = open(&folder) else {
        return;
    };
    assert_eq!(
        recovered.frames,
        spool.status().confirmed..spool.status().next
    );
    let left = drain(&mut spool, 64);
    let corrupt = spool.status().counters.corrupt;
    match look {
        Some(look) => {
            assert_eq!(look.frames, recovered.frames);
            assert_eq!((look.left, look.lost), (left, corrupt));
        }
        // The folder has no file of a spool, or its files cannot be read.
        None => assert_eq!((left, corrupt), (0, 0)),
    }
    spool.seek(0);
    drop(spool);
    let (mut spool, again) = open(&folder).expect("opens again");
    assert_eq!(again.frames.end, recovered.frames.end);
    match spool.append(&entry(b"\0\0\0\x03new"), now()) {
        Ok(Appended::At(first)) => {
            assert_eq!(first, recovered.frames.end);
            assert_eq!(drain(&mut spool, 1), left + 1);
        }
        Ok(Appended::Full) => assert!(spool.status().bytes > SIZE - 1000),
        Err(SpoolError::Exhausted(_)) => return,
        Err(error) => panic!("{error}"),
    }
    spool.confirm(u64::MAX, now()).expect("written");
    spool.commit(now()).expect("written");
    let status = spool.status();
    assert_eq!(
        (status.confirmed, status.position),
        (status.next, status.next)
    );
    assert!(status.segments <= 1);
});
