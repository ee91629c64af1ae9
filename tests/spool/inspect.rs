//! Tests of the read-only inspection of a spool. The other tests of damage use [`look`] to check that an inspection
//! predicts correctly which frames can be read.

use std::{collections::BTreeMap, ops::ControlFlow, path::Path};

use tapfan::internals::spool::{
    Flaw, Folder, Fs as _, Inspection, Overview, Owner, Piece, Remembered, Spool, SpoolError,
    WhenFull,
};

use crate::{
    disk::{self, Disk},
    frames::{Frame, entry, frame, now, settings, wire_frames, within},
};

/// The results of an inspection.
pub(crate) struct Look {
    pub(crate) overview: Overview,
    /// The unconfirmed frames that can be read.
    pub(crate) frames: Vec<(u64, Frame)>,
    /// The damage among the unconfirmed frames.
    pub(crate) flaws: Vec<Flaw>,
}

/// Inspects the spool on a disk, and asserts that the inspection changes nothing.
pub(crate) fn look(disk: &Disk) -> Option<Look> {
    let before = (content(disk), disk.log());
    let inspection = Inspection::open(disk.clone(), Path::new("/spool")).expect("readable")?;
    let look = Look {
        overview: inspection.overview(),
        frames: visit(&inspection, true).0,
        flaws: visit(&inspection, true).1,
    };
    // A walk through all frames and a search in unreadable parts must not change anything either.
    visit(&inspection, false);
    bad(&inspection);
    drop(inspection);
    assert_eq!((content(disk), disk.log()), before);
    Some(look)
}

fn content(disk: &Disk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.names().into_iter();
    names
        .map(|name| (name.clone(), disk.content(&name)))
        .collect()
}

fn visit(inspection: &Inspection<Disk>, unconfirmed_only: bool) -> (Vec<(u64, Frame)>, Vec<Flaw>) {
    let (mut all, mut flaws) = (Vec::new(), Vec::new());
    let walked = inspection.walk(unconfirmed_only, |piece| {
        match piece {
            Piece::Frames(frames) => {
                let wire = wire_frames(frames.payload);
                assert_eq!(wire.len() as u64, frames.count);
                assert_eq!(frames.received, disk::now());
                all.extend((frames.first..).zip(wire));
            }
            Piece::Flaw(flaw) => flaws.push(flaw),
        }
        ControlFlow::<()>::Continue(())
    });
    assert!(walked.is_continue());
    (all, flaws)
}

/// Returns the frames that can still be found in files with the suffix `.bad`.
fn bad(inspection: &Inspection<Disk>) -> Vec<(u64, Frame)> {
    let mut all = Vec::new();
    let walked = inspection.walk_bad(|_, frames| {
        all.extend((frames.first..).zip(wire_frames(frames.payload)));
        ControlFlow::<()>::Continue(())
    });
    assert!(walked.expect("readable").is_continue());
    all
}

impl Look {
    /// Returns the number of unconfirmed frames that are lost.
    pub(crate) fn lost(&self) -> u64 {
        self.flaws
            .iter()
            .map(|flaw| flaw.lost.end - flaw.lost.start)
            .sum()
    }
}

/// Creates a spool with records of two frames, in several segments. The first three frames are confirmed.
fn spool() -> (Disk, Vec<Frame>) {
    let disk = Disk::default();
    let (mut spool, _) =
        Spool::open(disk.clone(), settings(within(), WhenFull::Newest)).expect("opens");
    let mut all = Vec::new();
    for number in (0..24).step_by(2) {
        let frames = [frame(number, 3), frame(number + 1, 9)];
        spool.append(&entry(&frames, b"x"), now()).expect("room");
        all.extend(frames);
    }
    spool.confirm(3, now()).expect("written");
    spool.close(now()).expect("synced");
    (disk, all)
}

fn all_flaws(disk: &Disk) -> Vec<Flaw> {
    let inspection = Inspection::open(disk.clone(), Path::new("/spool")).expect("readable");
    visit(&inspection.expect("a spool"), false).1
}

#[test]
fn a_folder_without_files_of_a_spool_is_none() {
    let disk = Disk::default();
    assert!(look(&disk).is_none());
    disk.put("other", b"x");
    assert!(look(&disk).is_none());
}

#[test]
fn an_undamaged_spool_is_described_and_read_from_the_first_unconfirmed_frame() {
    let (disk, frames) = spool();
    let look = look(&disk).expect("a spool");
    assert_eq!(look.overview.owner, Some(Owner::new("siem")));
    assert_eq!(look.overview.frames, 3..24);
    assert_eq!(look.overview.checkpoint, Remembered::Found);
    assert_eq!(look.overview.is_held, Some(false));
    let lengths = disk.names().into_iter();
    let segments: Vec<u64> = lengths
        .filter(|name| name.ends_with("seg"))
        .map(|name| disk.content(&name).len() as u64)
        .collect();
    assert_eq!(
        (look.overview.segments, look.overview.bytes),
        (segments.len(), segments.iter().sum())
    );
    assert!(look.overview.segments > 2 && look.overview.bad.is_empty());
    assert_eq!(
        look.frames,
        (3..).zip(frames[3..].to_vec()).collect::<Vec<_>>()
    );
    assert_eq!(look.flaws, []);
    let inspection = Inspection::open(disk, Path::new("/spool"))
        .expect("readable")
        .expect("a spool");
    assert_eq!(inspection.oldest(), Some(disk::now()));
    assert_eq!(visit(&inspection, false).0.len(), 24);
}

#[test]
fn a_spool_in_use_is_read_and_the_record_that_is_being_written_is_no_damage() {
    let (disk, _) = spool();
    let (mut spool, _) =
        Spool::open(disk.clone(), settings(within(), WhenFull::Newest)).expect("opens");
    spool
        .append(&entry(&[frame(24, 40)], b""), now())
        .expect("room");
    let seen = look(&disk).expect("a spool");
    assert_eq!(
        (seen.overview.is_held, seen.overview.frames.end),
        (Some(true), 25)
    );
    let newest = disk
        .names()
        .into_iter()
        .rfind(|name| name.ends_with("seg"))
        .expect("a segment");
    disk.change(&newest, |content| content.truncate(content.len() - 7));
    assert_eq!(look(&disk).expect("a spool").flaws, []);
    drop(spool);
    assert_eq!(look(&disk).expect("a spool").flaws.len(), 1);
}

/// Returns the damage that an inspection finds, in a short form.
fn described(disk: &Disk) -> Vec<String> {
    let short = |flaw: Flaw| {
        let Flaw {
            at,
            bytes,
            kind,
            lost,
            ..
        } = &flaw;
        let newest = if flaw.is_newest { " newest" } else { "" };
        let name = flaw.file.trim_start_matches('0');
        format!("{name} {at}+{bytes} {kind:?} lost {lost:?}{newest}")
    };
    all_flaws(disk).into_iter().map(short).collect()
}

#[test]
fn each_damage_is_named_with_its_file_and_byte() {
    // The segments begin with the frames 0, 6, 12 and 18. Each has three records of 61 bytes.
    let (built, _) = spool();
    let name = |first: u64| format!("{first:020}.seg");
    let check = |change: &dyn Fn(&Disk), expected: &[&str]| {
        let disk = built.copy();
        change(&disk);
        assert_eq!(described(&disk), expected);
    };
    let flip =
        |name: String, at: usize| move |disk: &Disk| disk.change(&name, |content| content[at] ^= 1);
    check(&|_| {}, &[]);
    check(
        &flip("checkpoint".to_owned(), 30),
        &["checkpoint 0+0 Slot lost 0..0"],
    );
    check(
        &|disk| disk.delete("checkpoint"),
        &["checkpoint 0+0 Checkpoint lost 0..0"],
    );
    check(&flip(name(6), 20), &["6.seg 0+64 Header lost 0..0"]);
    check(&flip(name(6), 104), &["6.seg 64+61 Record lost 6..8"]);
    // The frames 0 to 2 are confirmed, so they are not lost.
    check(&flip(name(0), 104), &[".seg 64+61 Record lost 3..3"]);
    check(
        &|disk| {
            flip(name(6), 104)(disk);
            flip(name(6), 104 + 61)(disk);
        },
        &["6.seg 64+183 Rest lost 6..12"],
    );
    check(
        &|disk| disk.delete(&name(6)),
        &[".seg 247+0 Missing lost 6..12"],
    );
    check(
        &|disk| disk.delete(&name(0)),
        &["6.seg 0+0 Missing lost 3..6"],
    );
    check(
        &|disk| disk.change(&name(18), |content| content.truncate(content.len() - 1)),
        &["18.seg 186+60 Torn lost 22..24 newest"],
    );
    check(
        &|disk| disk.change(&name(18), |content| content.extend([0; 100])),
        &["18.seg 247+100 Torn lost 24..24 newest"],
    );
}

#[test]
fn frames_in_an_unreadable_part_are_found_again() {
    let (disk, frames) = spool();
    let names: Vec<String> = disk
        .names()
        .into_iter()
        .filter(|name| name.ends_with("seg"))
        .collect();
    let first: u64 = names[1].trim_end_matches(".seg").parse().expect("a number");
    let record = 61;
    disk.change(&names[1], |content| {
        content[64 + 40] ^= 1;
        content[64 + 40 + record] ^= 1;
    });
    let (mut spool, _) =
        Spool::open(disk.clone(), settings(within(), WhenFull::Newest)).expect("opens");
    while spool.read(1000, now()).expect("no read fails").is_some() {}
    drop(spool);
    let seen = look(&disk).expect("a spool");
    assert_eq!(seen.overview.bad.len(), 1);
    let inspection = Inspection::open(disk.clone(), Path::new("/spool"))
        .expect("readable")
        .expect("a spool");
    let end: u64 = names[2].trim_end_matches(".seg").parse().expect("a number");
    let rest: Vec<(u64, Frame)> = (first + 4..end)
        .map(|number| {
            (
                number,
                frames[usize::try_from(number).expect("small")].clone(),
            )
        })
        .collect();
    assert!(!rest.is_empty());
    assert_eq!(bad(&inspection), rest);
}

#[test]
fn a_newer_version_is_an_error() {
    let (disk, _) = spool();
    let sum = |bytes: &[u8]| {
        !bytes.iter().fold(!0_u32, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
                (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg())
            })
        })
    };
    disk.change("checkpoint", |content| {
        for slot in [0, 4096] {
            content[slot + 11] = 2;
            let sum = sum(&[&content[slot..slot + 12], &content[slot + 16..slot + 72]].concat());
            content[slot + 12..slot + 16].copy_from_slice(&sum.to_be_bytes());
        }
    });
    let error = Inspection::open(disk, Path::new("/spool"))
        .err()
        .expect("refused");
    assert!(
        matches!(error, SpoolError::OtherVersion { found: 2, .. }),
        "{error}"
    );
}

#[test]
fn a_lock_on_a_real_folder_is_seen_and_never_keeps_a_router_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Folder::new(folder.path());
    assert_eq!(files.is_locked("lock").expect("readable"), Some(false));
    assert!(folder.path().read_dir().expect("readable").next().is_none());
    let settings = settings(within(), WhenFull::Newest);
    let (spool, _) = Spool::open(files.clone(), settings.clone()).expect("opens");
    assert_eq!(files.is_locked("lock").expect("readable"), Some(true));
    drop(spool);
    assert_eq!(files.is_locked("lock").expect("readable"), Some(false));
    let looks = std::thread::spawn({
        let files = files.clone();
        move || (0..2000).for_each(|_| drop(files.is_locked("lock")))
    });
    while !looks.is_finished() {
        Spool::open(files.clone(), settings.clone()).expect("opens while another process looks");
    }
    looks.join().expect("no panic");
}
