//! A minimal Frame Streams reader for these tests. It shares no code with tapfan.

use std::{fs, io, io::Read, path::Path};

pub(crate) const ACCEPT: u32 = 1;
pub(crate) const START: u32 = 2;
pub(crate) const STOP: u32 = 3;
pub(crate) const READY: u32 = 4;
pub(crate) const FINISH: u32 = 5;

/// One Frame Streams frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A control frame of this type. If the frame has a content type, it is the content type of
    /// dnstap.
    Control(u32),
    /// A data frame with this payload.
    Data(Vec<u8>),
}

/// Reads the next frame. Returns `None` if the input ends at the boundary of a frame.
pub(crate) fn read(from: &mut impl Read) -> io::Result<Option<Frame>> {
    let Some(length) = read_length(from)? else {
        return Ok(None);
    };
    if length != 0 {
        return Ok(Some(Frame::Data(read_exactly(from, length)?)));
    }
    let length = read_length(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let control = read_exactly(from, length)?;
    let (kind, fields) = control
        .split_first_chunk::<4>()
        .ok_or_else(|| io::Error::other("a control frame without its type"))?;
    let dnstap = control_fields();
    if !fields.is_empty() && fields != dnstap {
        return Err(io::Error::other(format!(
            "a control frame with the fields {fields:02x?}"
        )));
    }
    Ok(Some(Frame::Control(u32::from_be_bytes(*kind))))
}

/// Encodes a control frame of the type `kind`. All control frames except STOP and FINISH contain
/// the content type of dnstap.
pub(crate) fn control(kind: u32) -> Vec<u8> {
    let fields = match kind {
        STOP | FINISH => Vec::new(),
        _ => control_fields(),
    };
    let length = u32::try_from(4 + fields.len()).expect("a few bytes");
    [
        &0_u32.to_be_bytes(),
        &length.to_be_bytes(),
        &kind.to_be_bytes(),
        fields.as_slice(),
    ]
    .concat()
}

/// Parses the frames in `bytes`. Also returns whether the last frame is complete.
pub(crate) fn parse(mut bytes: &[u8]) -> (Vec<Frame>, bool) {
    let mut frames = Vec::new();
    loop {
        match read(&mut bytes) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return (frames, false),
            Err(error) => panic!("not Frame Streams: {error}"),
        }
    }
}

/// Returns the payloads of the data frames in `frames`.
pub(crate) fn data(frames: Vec<Frame>) -> Vec<Vec<u8>> {
    frames
        .into_iter()
        .filter_map(|frame| match frame {
            Frame::Data(payload) => Some(payload),
            Frame::Control(_) => None,
        })
        .collect()
}

/// Returns the payloads of a Frame Streams file. Panics if the file does not consist of START, data
/// frames and STOP.
pub(crate) fn whole_file(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut frames, whole) = parse(&bytes);
    assert!(whole, "{} is cut off", path.display());
    assert_eq!(
        frames.first(),
        Some(&Frame::Control(START)),
        "the first frame of {}",
        path.display()
    );
    assert_eq!(
        frames.pop(),
        Some(Frame::Control(STOP)),
        "the last frame of {}",
        path.display()
    );
    let payloads = data(frames.split_off(1));
    assert_eq!(frames.len(), 1);
    payloads
}

fn control_fields() -> Vec<u8> {
    const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
    let length = u32::try_from(CONTENT_TYPE.len()).expect("a few bytes");
    [&1_u32.to_be_bytes(), &length.to_be_bytes(), CONTENT_TYPE].concat()
}

fn read_length(from: &mut impl Read) -> io::Result<Option<u32>> {
    let mut length = [0; 4];
    let mut filled = 0;
    while filled < length.len() {
        match from.read(&mut length[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(Some(u32::from_be_bytes(length)))
}

fn read_exactly(from: &mut impl Read, length: u32) -> io::Result<Vec<u8>> {
    assert!(length <= 1 << 24, "a frame of {length} bytes");
    let mut bytes = vec![0; usize::try_from(length).expect("32 bits")];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn a_stream_is_read_as_it_was_written() {
    let wire = [control(START), b"\0\0\0\x02hi".to_vec(), control(STOP)].concat();
    let frames = vec![
        Frame::Control(START),
        Frame::Data(b"hi".to_vec()),
        Frame::Control(STOP),
    ];
    assert_eq!(parse(&wire), (frames.clone(), true));
    assert_eq!(
        parse(&wire[..wire.len() - 1]),
        (frames[..2].to_vec(), false)
    );
}
