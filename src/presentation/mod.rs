//! Frames in the forms that people and programs read.
//!
//! - [`Quiet`], [`Yaml`] and [`Json`] write what golang-dnstap's `dnstap -q`, `-y` and `-j` write; `docs/dump.md` lists the
//!   differences. [`Flat`] writes one JSON object with a named field for each fact.
//! - `dns` writes a DNS message as golang-dnstap's DNS library does, which is close to `dig`.
//! - `go` quotes as Go does, `digits` writes numbers and binary data, `time` writes times.
//!
//! All of them append to a buffer, without allocation for a frame.

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

use crate::dnstap::RawFrame;

/// A form of frames as text.
pub(crate) trait Form {
    /// Appends `frame`, with the newline at its end.
    fn write(&mut self, frame: &RawFrame<'_>, out: &mut Vec<u8>);

    /// Appends what was held back, after the last frame.
    fn finish(&mut self, _out: &mut Vec<u8>) {}
}

/// Returns `frame` in every form, for the fuzz targets; `None` if it is not dnstap.
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
