//! Files in the format of Frame Streams: START, data frames, STOP. DNS servers write such files if their dnstap output
//! is a file.

mod damage;
mod rewind;
mod writer;

use std::{
    io::{self, Read},
    iter::FusedIterator,
    mem,
};

use bytes::Bytes;

use self::rewind::{Rewind, START_LENGTH};
pub use self::writer::FileWriter;
use super::{CONTENT_TYPE, Control, ControlError, ControlKind, FileError, MAX_CONTROL_LENGTH};

/// An iterator over the data frames of a file.
///
/// The iterator ends after the first error, with two exceptions: after [`FileError::FrameTooLong`] and
/// [`FileError::NoStop`] it continues with the next frame. Control frames of unknown types are skipped, as `control.h`
/// requires. Bytes after STOP are not read.
///
/// ```
/// use tapfan::capture::{FileReader, FileWriter};
///
/// let mut file = FileWriter::new(Vec::new())?;
/// file.write_frame(b"one")?;
/// file.write_frame(b"two")?;
/// let file = file.finish()?;
/// let frames: Result<Vec<_>, _> = FileReader::new(file.as_slice())?.collect();
/// assert_eq!(frames?, ["one", "two"]);
/// # Ok::<(), tapfan::capture::FileError>(())
/// ```
#[derive(Debug)]
pub struct FileReader<R> {
    file: Rewind<R>,
    offset: u64,
    frames: u64,
    max_frame: u32,
    /// True if another capture may follow STOP.
    concatenated: bool,
    /// True after damage. The frames of the next capture, if there is one, come next.
    lost: bool,
    /// The number of captures that were found inside a frame or after damage.
    resumed: u32,
    ended: bool,
    /// The payload that was read last.
    payload: Vec<u8>,
    /// The offset of the length before the payload.
    payload_offset: u64,
}

/// The default limit of libfstrm.
const MAX_FRAME: u32 = 1 << 20;

// === impl FileReader ===

impl<R: Read> FileReader<R> {
    /// Reads START. Accepts frames of up to 1 MiB.
    ///
    /// # Errors
    /// If the file does not begin with START, does not contain dnstap, or cannot be read.
    pub fn new(file: R) -> Result<Self, FileError> {
        let mut reader = Self {
            file: Rewind::new(file),
            offset: 0,
            frames: 0,
            max_frame: MAX_FRAME,
            concatenated: false,
            lost: false,
            resumed: 0,
            ended: false,
            payload: Vec::new(),
            payload_offset: 0,
        };
        match reader.read_start() {
            Ok(true) => Ok(reader),
            Ok(false) => Err(FileError::NotFrameStreams),
            Err(FileError::CutShort { offset, .. }) if offset < 8 => {
                Err(FileError::NotFrameStreams)
            }
            Err(error) => Err(error),
        }
    }

    /// Sets the length of the longest accepted frame, in bytes of payload.
    pub fn with_max_frame(mut self, bytes: u32) -> Self {
        self.max_frame = bytes;
        self
    }

    /// Lets the reader continue with the captures that follow. Each begins with its own START, as in the output of `cat`.
    /// If a capture without STOP comes before another one, the reader returns [`FileError::NoStop`] or
    /// [`FileError::CutInside`] and continues with the next capture. After any other damage, such as
    /// [`FileError::AfterStop`], the reader searches for the next START. If there is one, the reader returns
    /// [`FileError::Resumed`].
    #[cfg_attr(
        not(feature = "cli"),
        allow(
            dead_code,
            reason = "`dump` and `replay` read the files of other programs"
        )
    )]
    pub(crate) fn with_concatenated(mut self) -> Self {
        self.concatenated = true;
        self
    }

    /// Reads the next data frame into a buffer of the reader; the next call overwrites that buffer. Returns `None`
    /// after the last frame.
    ///
    /// ```
    /// use tapfan::capture::{FileReader, FileWriter};
    ///
    /// let mut file = FileWriter::new(Vec::new())?;
    /// file.write_frame(b"one")?;
    /// let file = file.finish()?;
    /// let mut file = FileReader::new(file.as_slice())?;
    /// assert_eq!(file.next_frame().transpose()?, Some(b"one".as_slice()));
    /// assert_eq!(file.next_frame().transpose()?, None);
    /// # Ok::<(), tapfan::capture::FileError>(())
    /// ```
    pub fn next_frame(&mut self) -> Option<Result<&[u8], FileError>> {
        if self.ended {
            return None;
        }
        let read = if mem::take(&mut self.lost) {
            self.read_until_start()
        } else {
            self.read_frame()
        };
        self.ended = match read {
            Ok(is_frame) => !is_frame,
            Err(
                FileError::FrameTooLong { .. }
                | FileError::NoStop { .. }
                | FileError::CutInside { .. }
                | FileError::Resumed { .. },
            ) => false,
            Err(FileError::CutShort { .. } | FileError::Io(_)) => true,
            Err(_) => {
                self.lost = self.concatenated;
                !self.lost
            }
        };
        match read {
            Ok(true) => Some(Ok(&self.payload)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Returns the offset of the frame that was read last. A frame begins with its length.
    pub fn frame_offset(&self) -> u64 {
        self.payload_offset
    }

    /// Returns the number of data frames read.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Returns whether the next frame is already in memory. If so, reading it does not wait for the file.
    pub fn is_next_buffered(&self) -> bool {
        let Some((length, behind)) = self.file.buffered().split_first_chunk() else {
            return false;
        };
        // Length 0 marks a control frame. It is skipped, and the frame after it may not be in memory yet.
        let length = u32::from_be_bytes(*length) as usize;
        (1..=behind.len()).contains(&length)
    }

    /// Reads START. Returns false if the next bytes are not START.
    fn read_start(&mut self) -> Result<bool, FileError> {
        let offset = self.offset;
        if self.read_number()? != 0 {
            return Ok(false);
        }
        let start = match self.read_control(offset)? {
            Some(start) if start.kind() == ControlKind::Start => start,
            _ => return Ok(false),
        };
        check_content_type(&start)?;
        Ok(true)
    }

    /// Reads the START of the next capture after STOP. Returns false at the end of the file.
    fn read_next_start(&mut self) -> Result<bool, FileError> {
        let offset = self.offset;
        match self.read_start() {
            Ok(true) => Ok(true),
            Err(FileError::CutShort { offset: end, .. }) if end == offset => Ok(false),
            // The bytes after STOP are neither START nor any other control frame, or are too few for one.
            Ok(false) | Err(FileError::Control { .. }) => Err(FileError::AfterStop { offset }),
            Err(FileError::CutShort { offset: end, .. }) if end < offset + 8 => {
                Err(FileError::AfterStop { offset })
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the next data frame into `payload`. Returns false at STOP.
    fn read_frame(&mut self) -> Result<bool, FileError> {
        loop {
            let offset = self.offset;
            let length = self.read_number()?;
            if length == 0 {
                match self.read_control(offset)? {
                    None => continue,
                    Some(control) if control.kind() == ControlKind::Stop => {
                        if self.concatenated && self.read_next_start()? {
                            continue;
                        }
                        return Ok(false);
                    }
                    Some(start) if self.concatenated && start.kind() == ControlKind::Start => {
                        check_content_type(&start)?;
                        return Err(FileError::NoStop { offset });
                    }
                    Some(control) => {
                        let source = ControlError::OutOfPlace(control.kind());
                        return Err(FileError::Control { offset, source });
                    }
                }
            }
            if length > self.max_frame {
                // The START of another capture may begin in these bytes.
                let bytes = length.to_be_bytes();
                self.put_back(&bytes);
                if self.skip(bytes.len() as u64 + u64::from(length))? {
                    let next = self.offset - START_LENGTH;
                    return Err(FileError::CutInside { offset, next });
                }
                return Err(FileError::FrameTooLong {
                    offset,
                    length: length.into(),
                    limit: self.max_frame,
                });
            }
            let (mut payload, begin) = (mem::take(&mut self.payload), self.offset);
            payload.resize(length as usize, 0);
            let filled = self.fill(&mut payload);
            payload.truncate(usize::try_from(self.offset - begin).unwrap_or(usize::MAX));
            self.payload = payload;
            let is_complete = match filled {
                Ok(()) => true,
                Err(FileError::CutShort { .. }) => false,
                Err(error) => return Err(error),
            };
            if let Some(next) = self.capture_inside(is_complete)? {
                return Err(FileError::CutInside { offset, next });
            }
            filled?;
            self.payload_offset = offset;
            self.frames += 1;
            return Ok(true);
        }
    }

    /// Reads a control frame. Its escape, at `offset`, has already been read. Returns `None` if the type is unknown.
    fn read_control(&mut self, offset: u64) -> Result<Option<Control>, FileError> {
        let broken = |source| FileError::Control { offset, source };
        let length = self.read_number()?;
        let mut body = [0; MAX_CONTROL_LENGTH];
        let Some(body) = body.get_mut(..length as usize) else {
            self.put_back(&length.to_be_bytes());
            return Err(broken(ControlError::TooLong(length)));
        };
        self.fill(body)?;
        match Control::parse(body) {
            Ok(control) => Ok(Some(control)),
            Err(ControlError::UnknownKind(_)) => Ok(None),
            Err(source) => {
                // The START of another capture may begin in these bytes.
                self.put_back(body);
                self.put_back(&length.to_be_bytes());
                Err(broken(source))
            }
        }
    }

    fn read_number(&mut self) -> Result<u32, FileError> {
        let mut number = [0; 4];
        self.fill(&mut number)?;
        Ok(u32::from_be_bytes(number))
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), FileError> {
        while !buffer.is_empty() {
            let read = self.read_some(buffer)?;
            buffer = buffer.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads at least one byte into `buffer`, which is not empty. Returns the number of bytes.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, FileError> {
        loop {
            match self.file.read(buffer) {
                Ok(0) => return Err(self.cut_short()),
                Ok(read) => {
                    self.offset += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn cut_short(&self) -> FileError {
        FileError::CutShort {
            frames: self.frames,
            offset: self.offset,
        }
    }
}

fn check_content_type(start: &Control) -> Result<(), FileError> {
    match start.content_types().first() {
        Some(found) if found != CONTENT_TYPE => Err(FileError::ContentType {
            found: found.clone(),
        }),
        _ => Ok(()),
    }
}

impl<R: Read> Iterator for FileReader<R> {
    type Item = Result<Bytes, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.next_frame()?;
        Some(frame.map(Bytes::copy_from_slice))
    }
}

impl<R: Read> FusedIterator for FileReader<R> {}

#[cfg(test)]
mod tests {
    use super::{damage::RESUMED_AT_MOST, *};
    use crate::{dnstap, frame_stream::Chunk};

    fn read(file: &[u8]) -> (Vec<Bytes>, Option<FileError>) {
        let mut frames = Vec::new();
        let mut reader = FileReader::new(file).expect("START");
        for frame in reader.by_ref() {
            match frame {
                Ok(frame) => frames.push(frame),
                Err(error) => {
                    assert!(reader.next().is_none(), "nothing follows an error");
                    return (frames, Some(error));
                }
            }
        }
        (frames, None)
    }

    fn file(frames: &[&[u8]]) -> Vec<u8> {
        let mut writer = FileWriter::new(Vec::new()).expect("memory");
        for frame in frames {
            writer.write_frame(frame).expect("memory");
        }
        writer.finish().expect("memory")
    }

    #[test]
    fn captures_of_real_servers_are_reproduced_byte_for_byte() {
        for (recorded, count) in [
            (
                include_bytes!("../../../tests/data/bind.fstrm").as_slice(),
                4000,
            ),
            (include_bytes!("../../../tests/data/unbound.fstrm"), 4000),
            (include_bytes!("../../../tests/data/dnsdist.fstrm"), 3000),
        ] {
            let (frames, error) = read(recorded);
            assert!(error.is_none(), "{error:?}");
            assert_eq!(frames.len(), count);
            let frames: Vec<&[u8]> = frames.iter().map(AsRef::as_ref).collect();
            assert!(file(&frames) == recorded, "the same bytes");

            let data = recorded[Control::start().encode().len()..].to_vec();
            let data = data[..data.len() - Control::stop().encode().len()].to_vec();
            let chunk = Chunk::from_wire(data.into()).expect("data frames");
            let mut writer = FileWriter::new(Vec::new()).expect("memory");
            writer.write_chunk(&chunk).expect("memory");
            assert!(
                writer.finish().expect("memory") == recorded,
                "the same bytes"
            );
        }
    }

    #[test]
    fn a_file_cut_anywhere_gives_its_whole_frames_and_says_so() {
        let whole = file(&[b"abc", b"de"]);
        let start = Control::start().encode().len();
        for length in 0..start {
            let error = FileReader::new(&whole[..length]).expect_err("no START");
            match error {
                FileError::NotFrameStreams => assert!(length < 8),
                FileError::CutShort { frames: 0, .. } => assert!(length >= 8),
                error => panic!("{error}"),
            }
        }
        for length in start..whole.len() {
            let (found, error) = read(&whole[..length]);
            let expected = usize::from(length >= start + 7) + usize::from(length >= start + 13);
            assert_eq!(found.len(), expected);
            assert!(matches!(
                error,
                Some(FileError::CutShort { frames, offset })
                    if frames == expected as u64 && offset == length as u64
            ));
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_skipped() {
        let whole = file(&[b"abc", b"too long", b"de"]);
        let mut reader = FileReader::new(whole.as_slice())
            .expect("START")
            .with_max_frame(3);
        assert_eq!(reader.next().expect("a frame").expect("short"), "abc");
        let error = reader.next().expect("a frame").expect_err("too long");
        insta::assert_snapshot!(error, @"the frame at byte 49 has 8 bytes, more than the 3 allowed");
        assert_eq!(reader.next().expect("a frame").expect("short"), "de");
        assert!(reader.next().is_none());
    }

    #[test]
    fn the_reader_knows_where_frames_begin_and_whether_the_next_one_has_arrived() {
        let whole = file(&[b"abc", b"de"]);
        let start = Control::start().encode().len();
        let mut reader = FileReader::new(whole.as_slice()).expect("START");
        assert_eq!(
            reader.next_frame().expect("a frame").expect("whole"),
            b"abc"
        );
        assert_eq!((reader.frame_offset(), reader.frames()), (start as u64, 1));
        assert!(reader.is_next_buffered());
        let mut reader = FileReader::new(&whole[..start + 12]).expect("START");
        assert!(reader.next_frame().expect("a frame").is_ok());
        assert!(!reader.is_next_buffered());
        assert!(reader.next_frame().expect("an error").is_err());
        assert_eq!(reader.frames(), 1);
    }

    #[test]
    fn unknown_control_frames_are_skipped_and_known_ones_refused() {
        let start = Control::start().encode();
        let stop = Control::stop().encode();
        let unknown = b"\0\0\0\0\0\0\0\x04\0\0\0\x09".as_slice();
        let data = b"\0\0\0\x01x".as_slice();
        let (frames, error) = read(&[&start, unknown, data, unknown, &stop, b"rest"].concat());
        assert_eq!(frames, ["x"]);
        assert!(error.is_none(), "{error:?}");
        let (frames, error) = read(&[&start, data, start.as_ref()].concat());
        assert_eq!(frames, ["x"]);
        insta::assert_snapshot!(error.expect("a second START"), @"at byte 47: START is not allowed at this point");
    }

    /// Returns the frames of a file that may contain several captures, and the error at its end.
    fn read_all(file: &[u8]) -> (Vec<Bytes>, Option<String>) {
        let reader = FileReader::new(file).expect("START").with_concatenated();
        let mut frames = Vec::new();
        for frame in reader {
            match frame {
                Ok(frame) => frames.push(frame),
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
        (frames, None)
    }

    #[test]
    fn captures_that_follow_each_other_are_read_if_the_caller_wants_them() {
        let (one, other) = (file(&[b"abc"]), file(&[b"de", b"f"]));
        let empty = file(&[]);
        let all = [&one[..], &empty, &other].concat();
        let (frames, error) = read_all(&all);
        assert_eq!((frames.len(), error), (3, None));
        assert_eq!(read(&all).0, ["abc"]);
        // The second capture is cut after every possible length. Fewer than 8 bytes cannot be recognised as a capture.
        for length in 1..other.len() {
            let (frames, error) = read_all(&[&one[..], &other[..length]].concat());
            assert_eq!(frames.first().expect("a frame"), "abc");
            let error = error.expect("the end is missing");
            let said = if length < 8 {
                format!(
                    "the bytes after STOP, from byte {} on, are not another capture",
                    one.len()
                )
            } else {
                format!(
                    "the file ends at byte {} without a STOP",
                    one.len() + length
                )
            };
            assert!(error.starts_with(&said), "{error}");
        }
        for rest in [b"rest of something else".to_vec(), vec![0; 600]] {
            let (frames, error) = read_all(&[&one[..], &rest].concat());
            assert_eq!(frames, ["abc"]);
            let error = error.expect("not a capture");
            assert!(error.starts_with("the bytes after STOP"), "{error}");
        }
    }

    #[test]
    fn a_capture_without_stop_does_not_hide_the_next_one() {
        let whole = file(&[b"abc"]);
        let cut = &whole[..whole.len() - Control::stop().encode().len()];
        let all = [cut, &whole].concat();
        let mut reader = FileReader::new(all.as_slice())
            .expect("START")
            .with_concatenated();
        assert_eq!(reader.next().expect("a frame").expect("whole"), "abc");
        let error = reader.next().expect("an error").expect_err("no STOP");
        insta::assert_snapshot!(error, @"the capture that ends at byte 49 has no STOP; another capture follows it");
        assert_eq!(reader.next().expect("a frame").expect("whole"), "abc");
        assert!(reader.next().is_none());
        assert_eq!(reader.frames(), 2);
        // The next capture has another content type.
        let other = b"\0\0\0\0\0\0\0\x0d\0\0\0\x02\0\0\0\x01\0\0\0\x01\n";
        let (frames, error) = read_all(&[cut, other].concat());
        assert_eq!(frames, ["abc"]);
        insta::assert_snapshot!(error.expect("not dnstap"), @r#"the file's content type is "\n", not "protobuf:dnstap.Dnstap""#);
    }

    /// Returns the frames of a file, and the errors.
    fn read_on(file: &[u8]) -> (Vec<Bytes>, Vec<String>) {
        let reader = FileReader::new(file).expect("START").with_concatenated();
        let (mut frames, mut errors) = (Vec::new(), Vec::new());
        for frame in reader {
            match frame {
                Ok(frame) => frames.push(frame),
                Err(error) => errors.push(error.to_string()),
            }
        }
        (frames, errors)
    }

    #[test]
    fn a_capture_that_is_cut_inside_a_frame_does_not_hide_the_next_ones() {
        let recorded = include_bytes!("../../../tests/data/dump/sample.fstrm").as_slice();
        let (whole, _) = read(recorded);
        let (first, second) = (file(&[&whole[0], &whole[1]]), file(&[&whole[2]]));
        let start = Control::start().encode().len();
        let ends = [
            start + 4 + whole[0].len(),
            start + 8 + whole[0].len() + whole[1].len(),
        ];
        for cut in start..first.len() {
            let all = [&first[..cut], &second, &first].concat();
            let (frames, errors) = read_on(&all);
            let whole_frames = ends.iter().filter(|end| cut >= **end).count();
            let tail = [&whole[2], &whole[0], &whole[1]];
            assert!(
                frames.ends_with(&tail.map(Clone::clone)),
                "cut at {cut}: {errors:?}"
            );
            // A frame whose end belongs to the next capture may come before these frames.
            let others = frames.len() - tail.len();
            assert!(
                frames[..others].starts_with(&whole[..whole_frames]),
                "cut at {cut}"
            );
            assert!(others - whole_frames <= 1, "cut at {cut}: {errors:?}");
            assert!(
                !errors.is_empty() && errors.len() <= 2,
                "cut at {cut}: {errors:?}"
            );
            let says_where = errors
                .last()
                .expect("an error")
                .ends_with(&format!("byte {cut}"));
            let is_without_stop =
                errors[0].starts_with(&format!("the capture that ends at byte {cut}"));
            assert!(says_where || is_without_stop, "cut at {cut}: {errors:?}");
        }
    }

    #[test]
    fn damage_does_not_hide_the_next_capture() {
        let (one, other) = (file(&[b"abc"]), file(&[b"de"]));
        let ready = Control::ready().encode();
        let stop = Control::stop().encode().len();
        for (damage, said) in [
            (&b"rest of something"[..], "the bytes after STOP"),
            (&[0; 600], "the bytes after STOP"),
            (b"\0\0\0\0\0\0\xff\xff", "the bytes after STOP"),
        ] {
            let (frames, errors) = read_on(&[&one, damage, &other].concat());
            assert_eq!(frames, ["abc", "de"], "{errors:?}");
            assert!(errors[0].starts_with(said), "{errors:?}");
            let begins = one.len() + damage.len();
            let said = format!("reading continues with the capture that begins at byte {begins}");
            assert_eq!(errors[1..], [said]);
        }
        let (frames, errors) = read_on(&[&one[..one.len() - stop], &ready, &other].concat());
        assert_eq!(frames, ["abc", "de"], "{errors:?}");
        assert_eq!(errors.len(), 2, "{errors:?}");
    }

    /// A DNS client can send a query that contains the bytes of START.
    #[test]
    fn a_start_inside_a_message_is_no_capture() {
        let mut message = b"\x72".to_vec();
        let start = Control::start().encode();
        let inner = [
            b"\x08\x05\x52",
            &[u8::try_from(start.len()).expect("short")][..],
            &start,
        ]
        .concat();
        message.push(u8::try_from(inner.len()).expect("short"));
        message.extend(inner);
        message.extend(b"\x78\x01");
        dnstap::validate(&message).expect("dnstap");
        let (frames, errors) = read_on(&file(&[&message, b"next"]));
        assert_eq!((frames.len(), errors.len()), (2, 0), "{errors:?}");
    }

    #[test]
    fn a_file_of_starts_is_given_up_after_a_while() {
        let piece = [&Control::start().encode()[..], b"\0\x0f\xff\xff"].concat();
        let all = piece.repeat(3 * RESUMED_AT_MOST as usize);
        let (frames, errors) = read_on(&all);
        let inside = errors
            .iter()
            .filter(|error| error.contains("inside the frame"));
        assert_eq!(inside.count(), RESUMED_AT_MOST as usize);
        assert!(frames.len() < 10);
    }

    #[test]
    fn a_control_frame_does_not_hide_that_the_reader_may_have_to_wait() {
        let whole = file(&[b"abc"]);
        let mut reader = FileReader::new(whole.as_slice()).expect("START");
        assert!(reader.next_frame().expect("a frame").is_ok());
        assert!(!reader.is_next_buffered());
    }

    #[test]
    fn files_of_something_else_are_refused() {
        for (head, sentence) in [
            (
                b"GET / HTTP/1.1\r\n".to_vec(),
                "not a Frame Streams file: it does not begin with START",
            ),
            (
                Vec::new(),
                "not a Frame Streams file: it does not begin with START",
            ),
            (
                Control::ready().encode().to_vec(),
                "not a Frame Streams file: it does not begin with START",
            ),
            (
                b"\0\0\0\0\0\0\0\x0d\0\0\0\x02\0\0\0\x01\0\0\0\x01\n".to_vec(),
                r#"the file's content type is "\n", not "protobuf:dnstap.Dnstap""#,
            ),
        ] {
            let error = FileReader::new(head.as_slice()).expect_err("refused");
            assert_eq!(error.to_string(), sentence);
        }
    }

    #[test]
    fn an_empty_frame_cannot_be_written() {
        let mut writer = FileWriter::new(Vec::new()).expect("memory");
        assert!(matches!(
            writer.write_frame(b""),
            Err(FileError::EmptyFrame)
        ));
    }
}
