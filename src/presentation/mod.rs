//! Text formats of frames, for people and for programs.
//!
//! - [`Quiet`], [`Yaml`] and [`Json`] write the same text as golang-dnstap's `dnstap -q`, `-y` and `-j`; `docs/dump.md`
//!   lists the differences. [`Flat`] writes one JSON object with a named field for each fact.
//! - `dns` writes a DNS message in the format of golang-dnstap's DNS library, which is close to that of `dig`.
//! - `go` quotes strings as Go does, `digits` writes numbers and binary data, and `time` writes times.
//!
//! All of them append to a buffer. They do not allocate memory for each frame.

mod address;
mod digits;
pub(crate) mod dns;
mod flat;
mod go;
mod json;
mod quiet;
#[cfg(test)]
mod tests;
pub(crate) mod time;
mod words;
mod yaml;

pub(crate) use address::Address;
pub(crate) use flat::Flat;
pub(crate) use json::Json;
pub(crate) use quiet::Quiet;
pub(crate) use yaml::Yaml;

use std::time::Duration;

use crate::dnstap::RawFrame;

/// A text format for frames.
pub(crate) trait Form {
    /// Appends `frame`, with a newline at its end.
    fn write(&mut self, frame: &RawFrame<'_>, out: &mut Vec<u8>);

    /// Appends the held-back text that is due now. Called when no frame has come for the time `_silence`, while more
    /// frames may still come.
    fn wait(&mut self, _silence: Duration, _out: &mut Vec<u8>) {}

    /// Appends all text that is still held back. Called after the last frame.
    fn finish(&mut self, _out: &mut Vec<u8>) {}

    /// Returns the number of frames whose text is held back.
    fn held_back(&self) -> u64 {
        0
    }
}

/// Returns `frame` in every format, for the fuzz targets. Returns `None` if `frame` is not dnstap.
pub fn in_every_form(frame: &[u8]) -> Option<Vec<Vec<u8>>> {
    let frame = RawFrame::read(frame).ok()?;
    let quiet = Quiet::by(time::LocalClock::utc());
    let forms: [Box<dyn Form>; 4] = [
        Box::new(quiet),
        Box::<Yaml>::default(),
        Box::<Json>::default(),
        Box::<Flat>::default(),
    ];
    let written = forms.into_iter().map(|mut form| {
        let mut out = Vec::new();
        form.write(&frame, &mut out);
        out
    });
    Some(written.collect())
}
