//! Tests of the disk spool with damaged, truncated and missing files. The spool must read all
//! frames that are left, and must count the frames that are lost.

use std::ops::Range;

use tapfan::internals::spool::{Appended, FlawKind, Remembered, Spool, SpoolError, WhenFull};

use crate::{
    disk::{Call, Disk, Fault},
    frames::{Frame, drain, entry, frame, frames, now, settings, within},
    inspect::look,
};

/// The length of the header of a segment, in bytes. A segment is a file of the spool.
const SEGMENT: usize = 64;
/// The length of the header of a record, in bytes. A record is a group of frames in a segment.
const RECORD: usize = 32;

/// A spool of several segments, in which some frames are marked as done.
struct Built {
    disk: Disk,
    frames: Vec<Frame>,
    /// The number of the first unconfirmed frame, which is in the middle of a record.
    confirmed: u64,
    names: Vec<String>,
}

/// The numbers of the frames in a record, and the bytes that the record occupies in its segment.
#[derive(Clone)]
struct Place {
    frames: Range<u64>,
    bytes: Range<usize>,
}

fn open(disk: &Disk) -> Result<Spool<Disk>, SpoolError> {
    Ok(Spool::open(disk.clone(), settings(within(), WhenFull::Newest))?.0)
}

fn has_suffix(name: &str, suffix: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, it)| it == suffix)
}

fn build(confirmed: u64) -> Built {
    let disk = Disk::default();
    let mut spool = open(&disk).expect("opens");
    let mut all = Vec::new();
    while disk.names().len() < 4 || all.len() < 22 {
        let number = u32::try_from(all.len()).expect("few");
        let frames = [frame(number, 3), frame(number + 1, 9)];
        let appended = spool.append(&entry(&frames, b"x"), now());
        assert_eq!(appended.expect("room"), Appended::At(u64::from(number)));
        all.extend(frames);
    }
    drain(&mut spool, 1000);
    spool.confirm(confirmed, now()).expect("written");
    spool.close(now()).expect("synced");
    let mut names = disk.names();
    names.retain(|name| has_suffix(name, "seg"));
    Built {
        disk: disk.copy(),
        frames: all,
        confirmed,
        names,
    }
}

impl Built {
    /// Returns the frames and the bytes of each record of a segment.
    fn places(&self, segment: usize) -> Vec<Place> {
        let name = &self.names[segment];
        let mut first: u64 = name.trim_end_matches(".seg").parse().expect("a number");
        let content = self.disk.content(name);
        let (mut places, mut at) = (Vec::new(), SEGMENT);
        while at < content.len() {
            let length = content[at + 4..at + 8].try_into().expect("four bytes");
            let end = at + RECORD + u32::from_be_bytes(length) as usize;
            places.push(Place {
                frames: first..first + 2,
                bytes: at..end,
            });
            (first, at) = (first + 2, end);
        }
        assert_eq!(at, content.len());
        places
    }

    fn frame(&self, number: u64) -> Frame {
        self.frames[usize::try_from(number).expect("small")].clone()
    }

    /// Returns the first frame number after the last complete record, if only the first `length`
    /// bytes of a segment are left.
    fn end_of_prefix(&self, segment: usize, length: usize) -> u64 {
        let places = self.places(segment);
        let whole = places.iter().rfind(|place| place.bytes.end <= length);
        whole.map_or(places[0].frames.start, |place| place.frames.end)
    }

    /// Returns the numbers of the frames in a segment.
    fn of_segment(&self, segment: usize) -> Range<u64> {
        let places = self.places(segment);
        places[0].frames.start..places[places.len() - 1].frames.end
    }

    /// Opens a damaged copy of the spool. Asserts that all frames except `lost` are read, and that
    /// the frames in `lost` are counted as corrupt.
    #[track_caller]
    fn check(&self, disk: &Disk, lost: Range<u64>) -> Spool<Disk> {
        self.check_from(disk, self.confirmed, lost)
    }

    #[track_caller]
    fn check_from(&self, disk: &Disk, confirmed: u64, lost: Range<u64>) -> Spool<Disk> {
        let look = look(disk).expect("a spool");
        let mut spool = open(disk).expect("opens");
        let is_lost = |number: &u64| lost.contains(number);
        let end = self.frames.len() as u64;
        let expected: Vec<(u64, Frame)> = (confirmed..end)
            .filter(|number| !is_lost(number))
            .map(|number| (number, self.frame(number)))
            .collect();
        assert_eq!(look.overview.frames, confirmed..end);
        assert_eq!(look.frames, expected);
        assert_eq!(spool.status().next, end);
        assert_eq!(drain(&mut spool, 50), expected);
        let corrupt = (confirmed..end).filter(is_lost).count() as u64;
        assert_eq!(spool.status().counters.corrupt, corrupt);
        assert_eq!(look.lost(), corrupt);
        // Frames that are appended after the damage must not be lost.
        let new = frame(u32::MAX, 5);
        let appended = spool.append(&entry(std::slice::from_ref(&new), b""), now());
        assert_eq!(appended.expect("room"), Appended::At(end));
        assert_eq!(drain(&mut spool, 50), [(end, new.clone())]);
        // No frame may be counted as lost twice, and a second start must find the same frames as
        // the first.
        spool.seek(0);
        drain(&mut spool, 50);
        assert_eq!(spool.status().counters.corrupt, corrupt);
        drop(spool);
        let mut spool = open(disk).expect("opens");
        let again = drain(&mut spool, 50);
        assert_eq!(again.last(), Some(&(end, new)));
        assert_eq!(again.len(), expected.len() + 1);
        spool
    }
}

#[test]
fn an_undamaged_spool_is_read_from_the_middle_of_a_record() {
    let built = build(3);
    assert_eq!(built.names.len(), 4);
    built.check(&built.disk, 0..0);
}

#[test]
fn every_prefix_of_the_newest_segment_keeps_its_whole_records() {
    let built = build(3);
    let newest = built.names.len() - 1;
    let name = &built.names[newest];
    let content = built.disk.content(name);
    for length in 0..=content.len() {
        let disk = built.disk.copy();
        disk.put(name, &content[..length]);
        let end = built.end_of_prefix(newest, length);
        built.check(&disk, end..built.frames.len() as u64);
    }
}

#[test]
fn every_prefix_of_an_older_segment_keeps_its_whole_records() {
    let built = build(3);
    let name = &built.names[1];
    let content = built.disk.content(name);
    for length in 0..=content.len() {
        let disk = built.disk.copy();
        disk.put(name, &content[..length]);
        let end = built.end_of_prefix(1, length);
        built.check(&disk, end..built.of_segment(1).end);
    }
}

/// Flips each bit of the last two records of a segment, one at a time, and checks what the spool
/// reads.
fn flip_bits(segment: usize) {
    let built = build(3);
    let (name, places) = (&built.names[segment], built.places(segment));
    let [.., before, last] = places.as_slice() else {
        panic!("two records");
    };
    let content = built.disk.content(name);
    for place in [before, last] {
        for bit in place.bytes.start * 8..place.bytes.end * 8 {
            let disk = built.disk.copy();
            let mut damaged = content.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            disk.put(name, &damaged);
            // If a bit of a record's length is flipped, the spool cannot find the record after it.
            // So that record is lost, too.
            let is_length = (4..8).contains(&(bit / 8 - place.bytes.start));
            let end = if is_length { last } else { place }.frames.end;
            built.check(&disk, place.frames.start..end);
        }
    }
}

#[test]
fn a_flipped_bit_in_the_newest_segment_costs_only_its_record_unless_it_is_in_the_length() {
    flip_bits(3);
}

#[test]
fn a_flipped_bit_in_an_older_segment_costs_only_its_record_unless_it_is_in_the_length() {
    flip_bits(1);
}

#[test]
fn two_bad_records_in_a_row_cost_the_rest_of_the_segment_which_is_put_aside() {
    let built = build(0);
    for segment in [1, 3] {
        let (name, places) = (&built.names[segment], built.places(segment));
        let disk = built.disk.copy();
        disk.change(name, |content| {
            content[places[0].bytes.end - 1] ^= 1;
            content[places[1].bytes.end - 1] ^= 1;
        });
        let content = disk.content(name);
        drop(built.check(&disk, built.of_segment(segment)));
        let at = if segment == 3 { 0 } else { SEGMENT };
        let bad = format!("{}-{at:010}.bad", name.trim_end_matches(".seg"));
        assert_eq!(disk.content(&bad), content[at..], "{bad}");
    }
}

#[test]
fn a_bad_last_record_is_incomplete_only_in_the_newest_segment() {
    let built = build(0);
    for segment in [1, 3] {
        let (name, places) = (&built.names[segment], built.places(segment));
        let last = places.last().expect("a record");
        let disk = built.disk.copy();
        disk.change(name, |content| content[last.bytes.end - 1] ^= 1);
        let flaw = look(&disk).expect("a spool").flaws.remove(0);
        assert_eq!(flaw.lost, last.frames);
        let content = disk.content(name);
        let mut spool = open(&disk).expect("opens");
        drain(&mut spool, 50);
        let bad = format!(
            "{}-{:010}.bad",
            name.trim_end_matches(".seg"),
            last.bytes.start
        );
        let is_older = segment == 1;
        assert_eq!(disk.names().contains(&bad), is_older);
        assert_eq!(spool.status().counters.put_aside, u64::from(is_older));
        if is_older {
            assert_eq!(flaw.kind, FlawKind::Rest);
            assert_eq!(disk.content(&bad), content[last.bytes.start..]);
        } else {
            assert_eq!(flaw.kind, FlawKind::Torn);
        }
        drop(spool);
        built.check(&disk, last.frames.clone());
    }
}

#[test]
fn a_damaged_header_of_a_segment_costs_nothing() {
    let built = build(3);
    for name in &built.names {
        for bit in 0..SEGMENT * 8 {
            let disk = built.disk.copy();
            disk.change(name, |content| content[bit / 8] ^= 1 << (bit % 8));
            built.check(&disk, 0..0);
        }
    }
}

#[test]
fn missing_segments_are_counted_unless_they_are_confirmed() {
    for confirmed in [0, 3, 9] {
        let built = build(confirmed);
        let last = built.names.len() - 1;
        for segment in 0..=last {
            let disk = built.disk.copy();
            disk.delete(&built.names[segment]);
            built.check(&disk, built.of_segment(segment));
        }
        let disk = built.disk.copy();
        for name in &built.names {
            disk.delete(name);
        }
        built.check(&disk, 0..built.frames.len() as u64);
    }
}

#[test]
fn zeros_at_the_end_are_cut_off() {
    let built = build(3);
    let name = &built.names[built.names.len() - 1];
    let content = built.disk.content(name);
    for zeros in [1, 31, 32, 33, 1000, 600_000] {
        let disk = built.disk.copy();
        disk.put(name, &[&content[..], &vec![0; zeros]].concat());
        let (spool, recovered) =
            Spool::open(disk.clone(), settings(within(), WhenFull::Newest)).expect("opens");
        assert_eq!((recovered.torn, recovered.put_aside), (zeros as u64, false));
        drop(spool);
        assert_eq!(disk.content(name), content);
        built.check(&disk, 0..0);
    }
}

#[test]
fn zeros_instead_of_the_last_bytes_cost_one_record() {
    let built = build(3);
    let newest = built.names.len() - 1;
    let places = built.places(newest);
    let last = &places[places.len() - 1];
    for from in last.bytes.clone() {
        let disk = built.disk.copy();
        disk.change(&built.names[newest], |content| content[from..].fill(0));
        built.check(&disk, last.frames.clone());
    }
}

#[test]
fn with_both_slots_of_the_checkpoint_damaged_every_frame_is_read_again() {
    let built = build(3);
    for damage in [
        |content: &mut Vec<u8>| content.fill(0),
        |content: &mut Vec<u8>| content.clear(),
        |content: &mut Vec<u8>| content.truncate(20),
        |content: &mut Vec<u8>| {
            content[30] ^= 1;
            content[4096 + 30] ^= 1;
        },
    ] {
        let disk = built.disk.copy();
        disk.change("checkpoint", damage);
        let (spool, recovered) =
            Spool::open(disk.clone(), settings(within(), WhenFull::Newest)).expect("opens");
        assert_eq!(recovered.checkpoint, Remembered::Lost);
        drop(spool);
        built.check_from(&disk, 0, 0..0);
    }
    let disk = built.disk.copy();
    disk.delete("checkpoint");
    let (spool, recovered) =
        Spool::open(disk.clone(), settings(within(), WhenFull::Newest)).expect("opens");
    assert_eq!(recovered.checkpoint, Remembered::Lost);
    drop(spool);
    built.check_from(&disk, 0, 0..0);
}

#[test]
fn with_one_slot_damaged_the_other_slot_is_used() {
    let built = build(3);
    let mut found = Vec::new();
    for slot in [0, 4096] {
        for bit in 0..72 * 8 {
            let disk = built.disk.copy();
            disk.change("checkpoint", |content| {
                content[slot + bit / 8] ^= 1 << (bit % 8);
            });
            let (spool, recovered) =
                Spool::open(disk.clone(), settings(within(), WhenFull::Newest)).expect("opens");
            assert_eq!(recovered.checkpoint, Remembered::Found);
            found.push(spool.status().confirmed);
        }
    }
    found.dedup();
    found.sort_unstable();
    assert_eq!(found, [0, 3]);
}

#[test]
fn frames_of_another_sink_or_of_a_newer_version_are_refused_and_kept() {
    let built = build(3);
    let before = built.disk.names();
    for has_checkpoint in [true, false] {
        let disk = built.disk.copy();
        if !has_checkpoint {
            disk.delete("checkpoint");
        }
        let mut other = settings(within(), WhenFull::Newest);
        other.owner = "archive".to_owned();
        let error = Spool::open(disk.clone(), other).err().expect("refused");
        assert_eq!(
            error.to_string(),
            "the frames in /spool belong to the sink \"siem\", not to \"archive\"; the frames are kept, but not sent; \
             choose another folder, or give the sink its old name again"
        );
        assert_eq!(disk.names(), before);
        built.check_from(&disk, if has_checkpoint { 3 } else { 0 }, 0..0);
    }
    let disk = built.disk.copy();
    disk.change("checkpoint", |content| {
        for slot in [0, 4096] {
            content[slot + 11] = 2;
            let sums = [&content[slot..slot + 12], &content[slot + 16..slot + 72]].concat();
            let sum = checksum(&sums).to_be_bytes();
            content[slot + 12..slot + 16].copy_from_slice(&sum);
        }
    });
    let error = open(&disk).err().expect("refused");
    assert!(
        matches!(error, SpoolError::OtherVersion { found: 2, .. }),
        "{error}"
    );
}

/// Computes CRC32C bit by bit. This implementation is independent of the one in the spool.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg())
        })
    })
}

#[test]
fn a_segment_of_another_sink_among_the_older_ones_is_put_aside() {
    let built = build(0);
    let disk = built.disk.copy();
    let name = &built.names[1];
    disk.change(name, |content| {
        content[40] ^= 1;
        let sum = checksum(&[&content[..12], &content[16..64]].concat());
        content[12..16].copy_from_slice(&sum.to_be_bytes());
    });
    drop(built.check(&disk, built.of_segment(1)));
    let names = disk.names();
    assert!(
        names.contains(&name.replace(".seg", "-0000000000.bad")),
        "{names:?}"
    );
}

#[test]
fn a_damaged_file_that_is_being_written_is_given_up_and_what_follows_is_not() {
    let disk = Disk::default();
    let mut spool = open(&disk).expect("opens");
    for number in 0..2 {
        spool
            .append(&entry(&[frame(number, 5)], b""), now())
            .expect("room");
    }
    spool.commit(now()).expect("synced");
    disk.change("00000000000000000000.seg", |content| {
        content[SEGMENT + RECORD..].fill(7);
    });
    assert_eq!(spool.read(100, now()).expect("no error"), None);
    assert_eq!(spool.status().counters.corrupt, 2);
    spool
        .append(&entry(&[frame(2, 5)], b""), now())
        .expect("room");
    assert_eq!(drain(&mut spool, 100), [(2, frame(2, 5))]);
    assert_eq!(spool.status().counters.corrupt, 2);
}

#[test]
fn a_read_that_fails_is_tried_three_times() {
    let built = build(0);
    let disk = built.disk.copy();
    let mut spool = open(&disk).expect("opens");
    let fault = Fault {
        call: Call::Read,
        skip: 0,
        times: 2,
    };
    disk.fail(fault);
    for _ in 0..2 {
        let error = spool.read(100, now()).expect_err("a fault");
        assert!(
            error.to_string().starts_with("cannot read /spool/0000"),
            "{error}"
        );
    }
    let batch = spool
        .read(1, now())
        .expect("the file can be read")
        .expect("frames");
    assert_eq!(frames(&batch), built.frames[..2]);
    // After the third failure, the spool gives up the rest of this segment and reads the next
    // segment, which succeeds.
    spool.seek(0);
    disk.fail(Fault { times: 3, ..fault });
    spool.read(1, now()).expect_err("a fault");
    spool.read(1, now()).expect_err("a fault");
    let batch = spool
        .read(1, now())
        .expect("the next segment")
        .expect("frames");
    let next = built.places(1)[0].frames.start;
    assert_eq!((batch.first, spool.status().counters.corrupt), (next, next));
}

#[test]
fn other_files_in_the_folder_stay_and_at_most_four_bad_files_are_kept() {
    let built = build(0);
    let disk = built.disk.copy();
    disk.put("README", b"hello");
    disk.put("00000000000000000000.new", b"left by a crash");
    for number in 0..6 {
        disk.put(&format!("{number:020}-0000000064.bad"), b"old");
    }
    let places = built.places(1);
    disk.change(&built.names[1], |content| {
        content[places[0].bytes.start + 8..].fill(1);
    });
    drop(built.check(&disk, built.of_segment(1)));
    let names = disk.names();
    assert_eq!(disk.content("README"), b"hello");
    let count = |suffix| names.iter().filter(|it| has_suffix(it, suffix)).count();
    assert_eq!((count("bad"), count("new")), (4, 0), "{names:?}");
}
