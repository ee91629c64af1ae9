//! Frames that differ from each other, and the settings of small spools.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tapfan::internals::spool::{Batch, Entry, Now, Settings, Spool, Sync, WhenFull};

use crate::disk::{self, Disk};

/// A frame of a test: its unique number, and further bytes to reach its length.
pub(crate) type Frame = Vec<u8>;

pub(crate) fn frame(number: u32, length: usize) -> Frame {
    let mut frame = number.to_be_bytes().to_vec();
    let filling = (0..=u8::MAX).cycle().take(length);
    frame.extend(filling.map(|it| it.wrapping_mul(31) ^ number.to_be_bytes()[3]));
    frame
}

pub(crate) fn entry(frames: &[Frame], context: &[u8]) -> Entry {
    let mut payload = Vec::new();
    for frame in frames {
        let length = u32::try_from(frame.len()).expect("short");
        payload.extend(length.to_be_bytes());
        payload.extend(frame);
    }
    Entry {
        payload: payload.into(),
        context: Bytes::copy_from_slice(context),
        received: disk::now(),
    }
}

pub(crate) fn frames(batch: &Batch) -> Vec<Frame> {
    let frames = wire_frames(&batch.payload);
    assert_eq!(frames.len() as u64, batch.frames);
    frames
}

/// Splits frames in their wire form.
pub(crate) fn wire_frames(payload: &[u8]) -> Vec<Frame> {
    let mut rest = payload;
    let mut frames = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (frame, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        frames.push(frame.to_vec());
        rest = behind;
    }
    assert!(rest.is_empty());
    frames
}

pub(crate) fn settings(sync: Sync, when_full: WhenFull) -> Settings {
    Settings {
        folder: "/spool".into(),
        owner: "siem".to_owned(),
        segment: 300,
        size: 1500,
        sync,
        when_full,
        age: None,
    }
}

pub(crate) fn within() -> Sync {
    Sync::Within(Duration::from_millis(200))
}

pub(crate) fn now() -> Now {
    Now {
        wall: disk::now(),
        steady: Instant::now(),
    }
}

/// Reads all frames of the spool, at most `limit` at a time. Returns each frame with its number.
pub(crate) fn drain(spool: &mut Spool<Disk>, limit: usize) -> Vec<(u64, Frame)> {
    let mut all = Vec::new();
    while let Some(batch) = spool.read(limit, now()).expect("no read fails") {
        assert!(batch.frames > 0);
        all.extend((batch.first..).zip(frames(&batch)));
    }
    all
}
