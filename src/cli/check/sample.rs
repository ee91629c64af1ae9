//! `tapfan check --sample`: the values that the `extra` templates of a configuration have in the first frames of a
//! capture.

use std::{
    fmt::Write as _,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{
    config::{Config, Sink},
    dnstap::message_type,
    extra::{Tapped, Template, Value},
    files::{Unanswered, read_in_time},
    frame_stream::{FileError, FileReader},
};

/// The number of frames that are shown.
const FRAMES: usize = 10;

/// The error if a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SampleError {
    #[error("cannot read {}: {}", _0.display(), _1)]
    Capture(PathBuf, FileError),
    #[error("cannot read {}: {}", _0.display(), _1)]
    Unanswered(PathBuf, Unanswered),
}

/// Returns a table for each sink whose `extra` has placeholders. The table shows the value of `extra` in the first
/// frames of `capture`.
///
/// # Errors
/// If the capture is not a dnstap file, or if it cannot be read in time. If the capture is incomplete or has a frame
/// that is too long, the tables show the frames before that place.
pub(super) fn tables(config: &Config, capture: &Path) -> Result<String, SampleError> {
    let templates: Vec<(&Sink, &Template)> = (config.sinks.iter())
        .filter_map(|sink| Some((sink, sink.edits.extra.as_ref()?)))
        .filter(|(_, template)| !template.is_literal())
        .collect();
    let path = capture.to_owned();
    let frames = read_in_time(move || File::open(&path).map_err(FileError::from).and_then(first));
    let frames = frames
        .map_err(|error| SampleError::Unanswered(capture.to_owned(), error))?
        .map_err(|error| SampleError::Capture(capture.to_owned(), error))?;
    let mut text = String::new();
    if templates.is_empty() {
        text.push_str("\nno sink has placeholders in `extra`\n");
    }
    for (sink, template) in templates {
        let _ = writeln!(
            text,
            "\nextra of dnstap {}, in the first {} frames of {}",
            sink.name,
            frames.len(),
            capture.display()
        );
        table(template, &frames, &mut text);
    }
    Ok(text)
}

fn first(file: impl Read) -> Result<Vec<Vec<u8>>, FileError> {
    let frames = FileReader::new(file)?.with_concatenated();
    // After a capture that is cut short, the frames of the next capture follow.
    let frames = frames.filter(|frame| {
        let is_cut = |error: &FileError| {
            matches!(
                error,
                FileError::NoStop { .. } | FileError::CutInside { .. }
            )
        };
        !frame.as_ref().is_err_and(is_cut)
    });
    let frames = frames.map_while(Result::ok).take(FRAMES);
    Ok(frames.map(|frame| frame.to_vec()).collect())
}

/// Appends a line for each frame. The values are quoted, because a sender can put control characters into a frame.
fn table(template: &Template, frames: &[Vec<u8>], text: &mut String) {
    let mut value = Value::default();
    for (number, frame) in (1..).zip(frames) {
        let _ = match message_type(frame) {
            Ok(message_type) => {
                let tapped = Tapped {
                    frame,
                    ..Tapped::default()
                };
                template.evaluate(&tapped, &mut value);
                let value = String::from_utf8_lossy(value.bytes());
                writeln!(
                    text,
                    "    {number:2}  {:18}  {value:?}",
                    message_type.label()
                )
            }
            Err(error) => writeln!(text, "    {number:2}  malformed: {error}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{capture::FileWriter, config};

    #[test]
    fn the_captures_of_one_file_are_all_read() {
        let file = |frame: &[u8]| {
            let mut file = FileWriter::new(Vec::new()).expect("START");
            file.write_frame(frame).expect("written");
            file.finish().expect("STOP")
        };
        let (one, other) = (file(b"one"), file(b"other"));
        let read = |bytes: &[u8]| first(bytes).expect("a capture");
        assert_eq!(read(&[&one[..], &other].concat()), [&b"one"[..], b"other"]);
        let cut = &one[..one.len() - 12];
        assert_eq!(read(&[cut, &other].concat()), [&b"one"[..], b"other"]);
    }

    fn config(tapfile: &str) -> Config {
        let loaded = config::parse("Tapfile".as_ref(), tapfile, &|_| None);
        loaded.config.expect("no errors")
    }

    #[test]
    fn each_sink_with_placeholders_has_a_table_of_the_first_frames() {
        let config = config(
            "listen @in\ndnstap /a { extra \"{name} {type}\" }\ndnstap /b { extra rack }\n\
             dnstap /c full { extra \"{rcode} {/tap/peer}\" }",
        );
        let folder = tempfile::tempdir().expect("a folder");
        let capture = folder.path().join("c.fstrm");
        let mut file = FileWriter::new(File::create(&capture).expect("ours")).expect("START");
        let recording = include_bytes!("../../../tests/data/unbound.fstrm").as_slice();
        let recorded = FileReader::new(recording).expect("START");
        file.write_frame(b"no dnstap").expect("written");
        for frame in recorded.take(20) {
            file.write_frame(&frame.expect("whole")).expect("written");
        }
        file.finish().expect("STOP");
        let shown = tables(&config, &capture).expect("a capture");
        let shown = shown.replace(&capture.display().to_string(), "CAPTURE");
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let config = config("listen @in\ndnstap /a");
        let absent = tables(&config, Path::new("/absent.fstrm"));
        let absent = absent.expect_err("there is no such file").to_string();
        assert!(
            absent.starts_with("cannot read /absent.fstrm: "),
            "{absent}"
        );
        let other = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        tables(&config, other).expect_err("it is not a capture");
    }

    #[test]
    fn a_configuration_without_placeholders_says_so() {
        let config = config("listen @in\ndnstap /a { extra rack }");
        let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bind.fstrm");
        let shown = tables(&config, Path::new(capture)).expect("a capture");
        assert_eq!(shown, "\nno sink has placeholders in `extra`\n");
    }
}
