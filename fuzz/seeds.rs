//! Writes the initial corpora from the recordings in `tests/data` and the Tapfiles in the documentation. Adds a few
//! inputs that reach rarely executed code of a target. `fuzz/run` runs this program in the root of the repository.

use std::{fs, io, path::Path};

/// The seed for the random splits. This program appends the seed to inputs.
const DICE: &[u8; 8] = b"\x01\x23\x45\x67\x89\xab\xcd\xef";

/// A seed with which the peer of a target receives everything that is sent to it, and then closes the connection.
const READS_ALL: &[u8; 8] = b"\x04\x04\x04\x04\x04\x04\x04\x04";

const READY: &[u8] = b"\0\0\0\0\0\0\0\x22\0\0\0\x04\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
const ACCEPT: &[u8] = b"\0\0\0\0\0\0\0\x22\0\0\0\x01\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
const START: &[u8] = b"\0\0\0\0\0\0\0\x22\0\0\0\x02\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
const STOP: &[u8] = b"\0\0\0\0\0\0\0\x04\0\0\0\x03";
const FINISH: &[u8] = b"\0\0\0\0\0\0\0\x04\0\0\0\x05";
const UNKNOWN: &[u8] = b"\0\0\0\0\0\0\0\x06\0\0\0\x09ab";

/// The number of frames taken from each recording.
const FRAMES: usize = 12;

struct Corpus<'a> {
    target: &'a str,
    written: usize,
}

impl<'a> Corpus<'a> {
    fn of(target: &'a str) -> io::Result<Self> {
        fs::create_dir_all(Path::new("fuzz/corpus").join(target))?;
        Ok(Self { target, written: 0 })
    }

    fn add(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        self.written += 1;
        let name = format!("fuzz/corpus/{}/seed-{}", self.target, self.written);
        fs::write(name, parts.concat())
    }
}

/// Returns the data frames of a recording, without their lengths.
fn frames(recording: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut rest = recording;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 {
            let Some((control, behind)) = behind.split_first_chunk::<4>() else { break };
            rest = behind.get(u32::from_be_bytes(*control) as usize..).unwrap_or_default();
        } else if let Some((frame, behind)) = behind.split_at_checked(length) {
            frames.push(frame);
            rest = behind;
        } else {
            break;
        }
    }
    frames
}

fn data(frame: &[u8]) -> Vec<u8> {
    [&u32::try_from(frame.len()).expect("short").to_be_bytes(), frame].concat()
}

fn recordings() -> io::Result<Vec<Vec<u8>>> {
    let mut paths: Vec<_> = fs::read_dir("tests/data")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|it| it == "fstrm"))
        .collect();
    paths.sort();
    paths.iter().map(fs::read).collect()
}

fn of_recordings() -> io::Result<()> {
    let (mut cutter, mut rewrite) = (Corpus::of("cutter")?, Corpus::of("rewrite")?);
    let mut templates = Corpus::of("templates")?;
    for recording in recordings()? {
        let frames = frames(&recording);
        for (choice, frame) in (0..32_u8).zip(frames.iter().take(FRAMES)) {
            rewrite.add(&[&[choice], frame])?;
            // All placeholders, and a text.
            templates.add(&[&[0], frame])?;
            templates.add(&[&[25], b"{{name}} {x} {/tap/extra}", frame])?;
        }
        let wire: Vec<_> = frames.iter().take(4).map(|frame| data(frame)).collect();
        let wire = wire.concat();
        cutter.add(&[&wire, DICE])?;
        cutter.add(&[&wire, UNKNOWN, &data(b"no dnstap"), START, &wire, STOP, DICE])?;
    }
    // The shortest valid frame, repeated.
    let shortest = data(b"\x72\x02\x08\x01\x78\x01");
    cutter.add(&[&shortest.repeat(20), STOP, DICE])?;
    rewrite.add(&[b"\x0e", b"\x72\x02\x08\x01\x78\x01"])
}

/// Writes the inputs for the target `dump`: frames of recordings, messages with a record of each type, and frames that
/// are cut short.
fn of_dump() -> io::Result<()> {
    let mut dump = Corpus::of("dump")?;
    for recording in recordings()? {
        for frame in frames(&recording).iter().take(FRAMES) {
            dump.add(&[frame])?;
        }
    }
    for frame in frames(&fs::read("tests/data/dump/sample.fstrm")?) {
        dump.add(&[frame])?;
        dump.add(&[frame.get(..frame.len() / 2).unwrap_or_default()])?;
    }
    for line in fs::read_to_string("tests/data/dns/records.txt")?.lines() {
        let Some(wire) = line.strip_prefix("wire ") else { continue };
        let digits: Vec<u32> = wire.chars().filter_map(|digit| digit.to_digit(16)).collect();
        let bytes = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit));
        let bytes: Vec<u8> = bytes.filter_map(|byte| u8::try_from(byte).ok()).collect();
        dump.add(&[&bytes])?;
    }
    Ok(())
}

/// Writes the inputs for the target `filter`: frames of recordings, one or two of them, a frame with a client that is
/// cut short, and frames with policies. The first byte is the length of the first frame.
fn of_filter() -> io::Result<()> {
    let mut filter = Corpus::of("filter")?;
    for recording in recordings()? {
        for pair in frames(&recording).chunks(2).take(FRAMES) {
            let [first, rest @ ..] = pair else { continue };
            filter.add(&[b"\xff", first])?;
            if let Ok(length) = u8::try_from(first.len()) {
                filter.add(&[&[length], first, &rest.concat()])?;
                filter.add(&[&[length / 2], first])?;
            }
        }
    }
    // The policies matched the client's address, the name of the query, and nothing.
    for policy in [b"\x7a\x02\x20\x02".as_slice(), b"\x7a\x02\x20\x01", b"\x7a\x00"] {
        let message = [b"\x08\x05\x22\x04\xc0\x00\x02\x01", policy].concat();
        let length = u8::try_from(message.len()).expect("short");
        filter.add(&[b"\xff\x78\x01\x72", &[length], &message])?;
    }
    Ok(())
}

fn of_handshakes() -> io::Result<()> {
    let mut control = Corpus::of("control")?;
    for frame in [READY, ACCEPT, START, STOP, FINISH, UNKNOWN] {
        control.add(&[&frame[8..]])?;
    }
    let mut accept = Corpus::of("accept")?;
    accept.add(&[READY, START, b"\0\0\0\x01!", DICE])?;
    accept.add(&[UNKNOWN, READY, UNKNOWN, START, DICE])?;
    accept.add(&[START, DICE])?;
    accept.add(&[b"GET / HTTP/1.1\r\n\r\n", DICE])?;
    let mut open = Corpus::of("open")?;
    open.add(&[ACCEPT, DICE])?;
    open.add(&[UNKNOWN, ACCEPT, FINISH, DICE])?;
    open.add(&[FINISH, DICE])?;
    let mut back = Corpus::of("back_channel")?;
    back.add(&[FINISH, DICE])?;
    back.add(&[UNKNOWN, UNKNOWN, FINISH, STOP, DICE])?;
    back.add(&[STOP, DICE])?;
    back.add(&[b"\0\0\0\x01!", DICE])
}

/// Returns the code blocks of a document.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n```").skip(1).step_by(2).filter_map(|block| Some(block.split_once('\n')?.1))
}

fn of_text() -> io::Result<()> {
    let (mut tapfile, mut names) = (Corpus::of("tapfile")?, Corpus::of("names")?);
    for document in ["README.md", "docs/guide.md", "docs/configuration.md", "docs/kubernetes.md"] {
        let text = fs::read_to_string(document)?;
        for block in blocks(&text).filter(|it| it.contains("dnstap ") || it.contains("listen ")) {
            tapfile.add(&[block.as_bytes()])?;
        }
        let words = text.split(|c: char| c.is_whitespace() || c == '`' || c == '"');
        for word in words.filter(|it| it.contains("://") && it.len() < 60).take(40) {
            names.add(&[word.as_bytes()])?;
        }
    }
    for name in ["/run/c.sock", "@name", "tcp+srv://_dnstap._tcp.example.", "tls://[fe80::1%eth0]:6000", ":6000", "[::1]:53"] {
        names.add(&[name.as_bytes()])?;
    }
    tapfile.add(&[b"(a) {\n identity {$SITE}\n extra \"{%QUOTES%}\"\n}\nlisten @in {\n max_frame 1MiB\n}\ndnstap @out full 1 2 { import a }\n"])
}

fn of_answers() -> io::Result<()> {
    let mut resolver = Corpus::of("resolver")?;
    let a = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01";
    let aaaa = b"\xc0\x0c\0\x1c\0\x01\0\0\0\x3c\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
    let alias = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01b\xc0\x16";
    let of_alias = b"\x01b\xc0\x16\0\x01\0\x01\0\0\0\x0a\0\x04\xc0\0\x02\x02";
    let srv = b"\xc0\x0c\0\x21\0\x01\0\0\0\x3c\0\x0a\0\x01\0\x02\x17\x70\x01h\0";
    let of_target = b"\x01h\0\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x03";
    resolver.add(&[b"\0\x01\0\0", a])?;
    resolver.add(&[b"\0\x02\0\0", a, aaaa])?;
    resolver.add(&[b"\0\x02\0\0", alias, of_alias])?;
    resolver.add(&[b"\x01\x01\0\x01", srv, of_target])?;
    resolver.add(&[b"\x01\x02\0\0", srv, srv])?;
    resolver.add(&[b"\x04\x01\0\0", a])?;
    resolver.add(&[b"\x38\0\0\0"])?;
    resolver.add(&[b"\x02\x81\x80\0\0\0\0\0\0\0\0"])
}

fn of_requests() -> io::Result<()> {
    let mut admin = Corpus::of("admin")?;
    for path in ["/", "/livez", "/readyz", "/healthz", "/metrics", "/status", "/events", "/log-level", "/main.js", "/no?such=%00&thing"] {
        admin.add(&[format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes()])?;
    }
    admin.add(&[b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3,*/*;q=0.2\r\naccept-encoding: gzip\r\n\r\n"])?;
    admin.add(&[b"PUT /log-level HTTP/1.1\r\nhost: [::1]:9180\r\ncontent-length: 4\r\n\r\ninfo"])?;
    admin.add(&[b"PUT /log-level HTTP/1.1\r\nhost: x\r\norigin: http://x\r\ntransfer-encoding: chunked\r\n\r\n4\r\ninfo\r\n0\r\n\r\n"])?;
    for level in ["off", "debug", " warn\n", "loud", ""] {
        let length = level.len();
        admin.add(&[format!("PUT /log-level HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{level}").as_bytes()])?;
    }
    admin.add(&[b"HEAD /status HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\n\r\n"])
}

fn of_spools() -> io::Result<()> {
    let mut spool = Corpus::of("spool")?;
    // The files of a folder: name, length, content.
    spool.add(&[b"\0\0\0\0\x01\0\x08tapspool\x02\0\x60", &[0; 96]])?;
    // Damage to a written spool: file, offset, value.
    spool.add(&[b"\x01"])?;
    for (file, at, value) in [(0, 30, 1), (0, 4126, 1), (2, 70, 4), (2, 100, 1), (3, 5000, 200), (5, 5000, 9)] {
        let at = u16::to_be_bytes(at);
        spool.add(&[&[1, file, at[0], at[1], value]])?;
        spool.add(&[&[1, file, at[0], at[1], value, file + 1, at[0], at[1], value]])?;
    }
    Ok(())
}

/// Returns the body of an answer with its length, as the target `kafka` expects it.
fn answer(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u16::try_from(body.len()).expect("short").to_be_bytes(), body.as_slice()].concat()
}

/// Returns the answer to a `Produce` request, with an error code for each of two partitions. `refused` is the part with the
/// records that the broker refused.
fn produced(codes: [u8; 2], refused: &[u8]) -> Vec<u8> {
    let partition = |number: u8| {
        let code = codes[usize::from(number)];
        [b"\0\0\0".as_slice(), &[number, 0, code], &[0; 24], refused].concat()
    };
    answer(&[b"\0\0\0\x01\0\x03dns\0\0\0\x02", &partition(0), &partition(1), b"\0\0\0\0"])
}

/// Writes the inputs for the target `kafka`: whole conversations with different responses to batches, a conversation
/// with its own frames, and SCRAM messages.
fn of_brokers() -> io::Result<()> {
    const NONE_NAMED: &[u8] = b"\0\0\0\0\xff\xff";
    let mut kafka = Corpus::of("kafka")?;
    // Each request has a number, its lowest and its highest version.
    let others = b"\0\x03\0\0\0\x09\0\x16\0\0\0\x04\0\x11\0\0\0\x01\0\x24\0\0\0\x01";
    let versions = |newest| answer(&[b"\0\0\0\0\0\x05\0\0\0\0\0", &[newest], others]);
    let log_in = [answer(&[b"\0\0\0\0\0\x01\0\x05PLAIN"]), answer(&[b"\0\0\xff\xff\0\0\0\0"])].concat();
    let partition = |number: u8, leader: u8| {
        [b"\0\0\0\0\0".as_slice(), &[number, 0, 0, 0, leader], b"\0\0\0\x05\0\0\0\x01\0\0\0\x01", &[0; 8]].concat()
    };
    let metadata = |leaders: [u8; 2]| {
        let brokers = b"\0\0\0\0\0\0\0\x02\0\0\0\x01\0\x01a\0\0\x23\x84\xff\xff\0\0\0\x02\0\x01b\0\0\x23\x84\xff\xff";
        let topic = b"\xff\xff\0\0\0\x01\0\0\0\x01\0\0\0\x03dns\0\0\0\0\x02";
        answer(&[brokers, topic, &partition(0, leaders[0]), &partition(1, leaders[1])])
    };
    let id = answer(&[b"\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\0\0"]);
    let begin = [versions(9), metadata([1, 1]), id.clone()].concat();
    let stored = produced([0, 0], NONE_NAMED);
    for compression in 0..5 {
        let rest = [stored.repeat(4), metadata([1, 1]), stored.repeat(4)].concat();
        kafka.add(&[&[compression], &begin, &rest, READS_ALL])?;
    }
    // A login, and the codes of each meaning: too large, later, moved, forgotten, not allowed.
    let begin_after_log_in = [versions(9), log_in, metadata([1, 1]), id.clone()].concat();
    kafka.add(&[&[8], &begin_after_log_in, &stored, READS_ALL])?;
    for code in [10, 19, 6, 45, 29, 46] {
        // After code 45, the producer asks for a new id.
        let id = if code == 45 { id.as_slice() } else { &[] };
        let answers = [&produced([code, 0], NONE_NAMED), id, &produced([0, code], NONE_NAMED), id, &stored.repeat(2)];
        kafka.add(&[&[0], &begin, &answers.concat(), READS_ALL])?;
    }
    let named = b"\0\0\0\x02\0\0\0\x01\0\x01?\0\0\0\x02\xff\xff\0\x01!";
    kafka.add(&[&[0], &begin, &produced([87, 87], named), &stored, READS_ALL])?;
    // Two leaders, of which one vanishes; an old broker.
    let moved = [versions(9), metadata([1, 2]), id.clone(), stored.repeat(8), metadata([2, 2]), stored.repeat(4)];
    kafka.add(&[&[0], &moved.concat(), READS_ALL])?;
    let old = [versions(7), metadata([1, 1]), id, produced([0, 0], b""), produced([10, 10], b"")];
    kafka.add(&[&[0], &old.concat(), READS_ALL])?;
    kafka.add(&[b"\x40\0\0\0\x10\0\0\0\x01\0\0\0\0\0\x01\0\0\0\0\0\x09", READS_ALL])?;
    kafka.add(&[b"\x40\x15\x03\x03\0\x02\x02\x46", READS_ALL])?;
    kafka.add(&[b"\x40HTTP/1.1 400 Bad Request\r\n\r\n", READS_ALL])?;
    for choice in [0x80, 0x81] {
        kafka.add(&[&[choice], b"r=nonce-of-broker,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096\0v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", READS_ALL])?;
        kafka.add(&[&[choice], b"m=x,r=nonce2,s=,i=8192\0e=invalid-proof", READS_ALL])?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    of_recordings()?;
    of_dump()?;
    of_filter()?;
    of_handshakes()?;
    of_text()?;
    of_answers()?;
    of_requests()?;
    of_spools()?;
    of_brokers()
}
