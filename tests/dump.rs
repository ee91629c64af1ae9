//! `tapfan dump`: these tests check that it writes exactly the frames that it reads, from files and from sockets, and
//! that it reports what is wrong with a capture.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};
use tapfan::{
    capture::FileReader,
    internals::{BackChannel, Control, accept, open, start},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// The longest wait for a condition.
const TIMEOUT: Duration = Duration::from_secs(60);

const BIND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bind.fstrm");
const UNBOUND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/unbound.fstrm");
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dump/sample.fstrm");

/// A running `tapfan dump`, killed when dropped.
struct Dump {
    child: Child,
    stderr: PathBuf,
}

// === impl Dump ===

impl Dump {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let stderr = (0..).map(|number| folder.join(format!("stderr-{number}")));
        let mut free = stderr.skip_while(|path| path.exists());
        let stderr = free.next().expect("a free name");
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_tapfan"))
            .arg("dump")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.join("stdout")).expect("a file"))
            .stderr(fs::File::create(&stderr).expect("a file"))
            .spawn()
            .expect("it runs");
        Self { child, stderr }
    }

    fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).expect("a file")
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("sent");
    }

    /// Waits until the program has ended. Returns its exit status and what it wrote to stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let mut status = None;
        until("its end", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        (status.expect("ended").code(), self.stderr())
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < TIMEOUT, "waited for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn dump(arguments: &[&str]) -> Output {
    dump_of(b"", arguments)
}

/// Runs `tapfan dump` to its end, with `input` as its standard input.
fn dump_of(input: &[u8], arguments: &[&str]) -> Output {
    assert_cmd::Command::new(env!("CARGO_BIN_EXE_tapfan"))
        .arg("dump")
        .args(arguments)
        .env("TZ", "UTC")
        .write_stdin(input)
        .timeout(TIMEOUT)
        .output()
        .expect("it runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

/// Creates a capture of these frames.
fn capture(frames: &[&[u8]]) -> Vec<u8> {
    let mut file = tapfan::capture::FileWriter::new(Vec::new()).expect("memory");
    for frame in frames {
        file.write_frame(frame).expect("memory");
    }
    file.finish().expect("memory")
}

/// The smallest frame: a `CLIENT_QUERY` without other fields.
const QUERY: &[u8] = b"\x72\x02\x08\x05\x78\x01";

#[test]
fn a_capture_that_is_written_is_the_one_that_was_read() {
    let folder = TempDir::new().expect("a folder");
    let copy = path(&folder, "copy.fstrm");
    let output = dump(&["-r", BIND, "-w", &copy]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(fs::read(&copy).expect("a file") == fs::read(BIND).expect("a file"));
    assert_eq!(
        stderr(&output),
        format!("tapfan dump: read 4000 frames; {copy}: wrote 4000\n")
    );
    // Without `-w`, the same bytes go to standard output.
    let output = dump(&[BIND, "--fstrm"]);
    assert!(output.stdout == fs::read(BIND).expect("a file"));
}

#[test]
fn compressed_captures_and_standard_input_are_read_like_others() {
    let folder = TempDir::new().expect("a folder");
    let bytes = fs::read(SAMPLE).expect("a capture");
    let expected = fs::read(SAMPLE.replace(".fstrm", ".quiet")).expect("text");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let zstd = zstd::encode_all(bytes.as_slice(), 1).expect("memory");
    for (name, bytes) in [("plain", bytes), ("gzip", gzip), ("zstd", zstd)] {
        let file = path(&folder, name);
        fs::write(&file, &bytes).expect("written");
        for output in [dump(&[&file]), dump_of(&bytes, &["-r", "-"])] {
            assert!(output.status.success(), "{name}: {}", stderr(&output));
            assert!(output.stdout == expected, "{name}");
        }
    }
}

#[test]
fn captures_in_one_file_are_all_read_and_what_else_follows_is_reported() {
    let folder = TempDir::new().expect("a folder");
    let (file, text) = (path(&folder, "in.fstrm"), path(&folder, "out"));
    let bytes = fs::read(SAMPLE).expect("a capture");
    let lines = |output: &Output| String::from_utf8_lossy(&output.stdout).lines().count();
    fs::write(&file, [&bytes[..], &bytes].concat()).expect("written");
    let output = dump(&[&file]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(lines(&output), 90);
    let output = dump_of(&[&bytes[..], b"a note"].concat(), &["-r", "-"]);
    assert_eq!((output.status.code(), lines(&output)), (Some(1), 45));
    let problem = format!(
        "standard input: the bytes after STOP, from byte {} on, are not another capture",
        bytes.len()
    );
    assert!(stderr(&output).contains(&problem), "{}", stderr(&output));

    // A DNS server that was killed has written no STOP.
    let cut = &bytes[..bytes.len() - 12];
    let output = dump_of(&[cut, &bytes].concat(), &["-r", "-"]);
    assert_eq!((output.status.code(), lines(&output)), (Some(1), 90));
    let problem = format!(
        "standard input: the capture that ends at byte {} has no STOP; another capture follows it",
        cut.len()
    );
    assert!(stderr(&output).contains(&problem), "{}", stderr(&output));

    // A DNS server that was restarted appends a new capture to the file.
    fs::write(&file, &bytes).expect("written");
    let running = Dump::start(folder.path(), &["-f", &file, "-w", &text, "-q"]);
    let lines = || {
        fs::read_to_string(&text)
            .unwrap_or_default()
            .lines()
            .count()
    };
    until("the first capture", || lines() == 45);
    let mut growing = fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .expect("a file");
    growing.write_all(&bytes).expect("written");
    until("the second capture", || lines() == 90);
    running.signal(Signal::SIGINT);
    let (status, text) = running.end();
    assert_eq!(status, Some(0), "{text}");
}

#[test]
fn a_file_that_is_no_capture_is_not_followed() {
    let folder = TempDir::new().expect("a folder");
    let (file, text) = (path(&folder, "in"), path(&folder, "out"));
    let zstd = zstd::encode_all(fs::File::open(SAMPLE).expect("a capture"), 1).expect("memory");
    let other = b"\0\0\0\0\0\0\0\x0d\0\0\0\x02\0\0\0\x01\0\0\0\x01\n";
    for (bytes, said) in [
        (&b"<html><body>"[..], "not a Frame Streams file"),
        (
            &zstd,
            "is compressed, and -f follows only captures that are not compressed",
        ),
        (other, "content type"),
    ] {
        fs::write(&file, bytes).expect("written");
        let running = Dump::start(folder.path(), &["-f", &file, "-w", &text, "-q"]);
        let (status, stderr) = running.end();
        assert_eq!(status, Some(1), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}

/// Users of other tools expect that the name of a socket is enough.
#[test]
fn the_path_of_a_socket_gets_a_hint_at_the_option_for_sockets() {
    let folder = TempDir::new().expect("a folder");
    let socket = path(&folder, "in.sock");
    for follow in [&[][..], &["-f"]] {
        let output = dump(&[follow, &[socket.as_str()]].concat());
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        let hint = format!("to listen on a unix socket with this name, write `-u {socket}`");
        assert!(said.contains(&hint), "{said}");
    }
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let output = dump(&[&socket]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    let hint = format!("it is a socket: to listen on it, write `-u {socket}`");
    assert!(said.contains(&hint), "{said}");
}

#[test]
fn captures_after_one_that_is_cut_inside_a_frame_are_read() {
    let folder = TempDir::new().expect("a folder");
    let bytes = fs::read(SAMPLE).expect("a capture");
    let cut = &bytes[..bytes.len() - 20];
    let file = path(&folder, "in.fstrm");
    fs::write(&file, [cut, &bytes].concat()).expect("written");
    let output = dump(&["--count", &file]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"89\n", "{}", stderr(&output));
    let said = stderr(&output);
    let next = format!("another capture begins at byte {}", cut.len());
    assert!(said.contains(&next), "{said}");
    // The same with two inputs.
    let (first, second) = (path(&folder, "cut.fstrm"), SAMPLE);
    fs::write(&first, cut).expect("written");
    let output = dump(&["--count", "-r", &first, "-r", second]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"89\n", "{}", stderr(&output));
}

#[test]
fn mistakes_in_arguments_get_a_sentence() {
    let folder = TempDir::new().expect("a folder");
    let socket = path(&folder, "in.sock");
    for (arguments, said) in [
        (
            &["-u", &socket, "-u", &socket][..],
            &*format!("the socket unix://{socket} is given twice; give each -u and each -l"),
        ),
        (
            &["-l", "127.0.0.1:6000", "-l", "tls://127.0.0.1:6000"],
            "-l tls:// needs --cert",
        ),
        (
            &["-l", "127.0.0.1:6000", "-l", "tcp://127.0.0.1:6000"],
            "the socket tcp://127.0.0.1:6000 is given twice",
        ),
        (
            &[SAMPLE, "-U", &socket, "-T", "127.0.0.1:6000", "-U", &socket],
            &*format!("the collector unix://{socket} is given twice"),
        ),
        (
            &[SAMPLE, "-T", "127.0.0.1:6000", "-T", "127.0.0.1:6000"],
            "the collector tcp://127.0.0.1:6000 is given twice, so it would get each frame twice; give each -U and each -T an address of its own",
        ),
        (
            &[SAMPLE, "--qname", ""],
            "a rule of `qname` is empty; write what it matches, or remove it",
        ),
        (
            &[SAMPLE, "--rcode", "NOERROR,"],
            "a rule of `rcode` is empty",
        ),
        (&[SAMPLE, "--client", "!"], "a rule of `client` is empty"),
        (
            &[SAMPLE, "-type", "client"],
            "`-type` has one dash; write `--type`",
        ),
        (&["-unix", "a"], "`-unix` has one dash; write `--unix`"),
        (
            &[SAMPLE, "--limit", "ten"],
            "write a whole number of at least 1",
        ),
    ] {
        let output = dump(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = stderr(&output);
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn a_fifo_without_a_writer_is_waited_for_until_a_signal() {
    let folder = TempDir::new().expect("a folder");
    let (fifo, text) = (path(&folder, "fifo"), path(&folder, "out"));
    mkfifo(fifo.as_str(), Mode::S_IRWXU).expect("made");
    let lines = || {
        fs::read_to_string(&text)
            .unwrap_or_default()
            .lines()
            .count()
    };
    for follow in [&[][..], &["-f"]] {
        let arguments = [follow, &["-r", &fifo, "-w", &text, "-q"]].concat();
        let running = Dump::start(folder.path(), &arguments);
        until("the output", || Path::new(&text).exists());
        running.signal(Signal::SIGINT);
        let (status, said) = running.end();
        assert_eq!(status, Some(0), "{said}");
        assert!(said.contains("read 0 frames"), "{said}");

        let running = Dump::start(folder.path(), &arguments);
        fs::write(&fifo, fs::read(SAMPLE).expect("a capture")).expect("read");
        until("the frames", || lines() == 45);
        if !follow.is_empty() {
            running.signal(Signal::SIGINT);
        }
        let (status, said) = running.end();
        assert_eq!(status, Some(0), "{said}");
        fs::remove_file(&text).expect("removed");
    }
}

#[test]
fn a_fifo_that_replaces_a_followed_capture_can_be_replaced_too() {
    let folder = TempDir::new().expect("a folder");
    let (file, text) = (path(&folder, "in.fstrm"), path(&folder, "out"));
    fs::copy(SAMPLE, &file).expect("copied");
    let running = Dump::start(folder.path(), &["-f", &file, "-w", &text, "-q"]);
    let lines = || {
        fs::read_to_string(&text)
            .unwrap_or_default()
            .lines()
            .count()
    };
    until("the frames", || lines() == 45);
    fs::remove_file(&file).expect("removed");
    mkfifo(file.as_str(), Mode::S_IRWXU).expect("made");
    until("the new file", || {
        running
            .stderr()
            .contains("was replaced, reading the new file")
    });
    fs::remove_file(&file).expect("removed");
    fs::copy(SAMPLE, &file).expect("copied");
    until("the frames of the next file", || lines() == 90);
    running.signal(Signal::SIGINT);
    let (status, said) = running.end();
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn several_captures_go_to_several_outputs_in_order() {
    let folder = TempDir::new().expect("a folder");
    let (quiet, json, binary) = (path(&folder, "q"), path(&folder, "j"), path(&folder, "b"));
    let output = dump(&[
        "-r", SAMPLE, "-r", SAMPLE, "-w", &quiet, "-q", "-w", &json, "-j", "-w", &binary, "-w",
        "-", "-y",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let twice = |name: &str| {
        fs::read_to_string(SAMPLE.replace("fstrm", name))
            .expect("text")
            .repeat(2)
    };
    assert_eq!(fs::read_to_string(&quiet).expect("a file"), twice("quiet"));
    assert_eq!(fs::read_to_string(&json).expect("a file"), twice("json"));
    assert_eq!(
        String::from_utf8(output.stdout).expect("text"),
        twice("yaml")
    );
    let written = fs::read(&binary).expect("a file");
    let frames = FileReader::new(written.as_slice()).expect("a capture");
    assert_eq!(frames.count(), 90);
    // With -a, the text is appended to the file. Without -a, it replaces the file.
    let output = dump(&[SAMPLE, "-a", "-w", &quiet, "-q"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        fs::read_to_string(&quiet).expect("a file").lines().count(),
        135
    );
    dump(&[SAMPLE, "-w", &quiet, "-q", "--limit", "2"]);
    assert_eq!(
        fs::read_to_string(&quiet).expect("a file").lines().count(),
        2
    );
}

#[test]
fn a_limit_ends_the_counts_and_makes_no_query_unanswered() {
    let output = dump(&[BIND, "--pair", "--limit", "3"]);
    let said = stderr(&output);
    assert!(
        said.contains("read 3 frames; standard output: wrote 2, left out 1"),
        "{said}"
    );
    let lines = String::from_utf8(output.stdout).expect("text");
    assert_eq!(lines.lines().count(), 1, "{lines}");
    let output = dump(&[BIND, "-q", "--type", "client_response", "--limit", "1"]);
    assert!(
        stderr(&output).contains("read 2 frames; "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn frames_and_results_do_not_share_standard_output() {
    for arguments in [
        vec!["-q", "--count"],
        vec!["--pair", "--stats"],
        vec!["-w", "/dev/null", "-q", "-w", "-", "--count"],
    ] {
        let output = dump(&[vec![SAMPLE], arguments.clone()].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_truncated_capture_gives_its_whole_frames_and_the_place_of_its_end() {
    let bytes = fs::read(SAMPLE).expect("a capture");
    for (end, frames, problem) in [
        (
            bytes.len() - 12,
            45,
            "the file ends at byte 5572 without a STOP, after 45 whole frames",
        ),
        (
            300,
            1,
            "the file ends at byte 300 without a STOP, after 1 whole frames",
        ),
        (
            20,
            0,
            "the file ends at byte 20 without a STOP, after 0 whole frames",
        ),
        (
            3,
            0,
            "not a Frame Streams file: it does not begin with START",
        ),
        (
            0,
            0,
            "not a Frame Streams file: it does not begin with START",
        ),
    ] {
        let output = dump_of(&bytes[..end], &["-r", "-"]);
        assert_eq!(output.status.code(), Some(1), "{end}");
        let text = stderr(&output);
        assert!(text.contains(problem), "{end}: {text}");
        let lines = String::from_utf8(output.stdout)
            .expect("text")
            .lines()
            .count();
        assert_eq!(lines, frames, "{end}");
    }
    // Input that begins like gzip, Zstandard or HTTP, and is not a capture.
    for head in [
        b"\x1f\x8b\x08\0\0".as_slice(),
        b"\x28\xb5\x2f\xfd\xff\xff\xff",
        b"GET / HTTP/1.1",
    ] {
        let output = dump_of(head, &["-r", "-"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    }
}

#[test]
fn bad_frames_are_skipped_and_counted_with_their_places() {
    let long = vec![0; (1 << 20) + 1];
    let bytes = capture(&[QUERY, b"GET / HTTP/1.1", QUERY, &long, b"\x78\x01", QUERY]);
    let output = dump_of(&bytes, &["-r", "-"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stdout)
            .expect("text")
            .lines()
            .count(),
        3
    );
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr), @r"
    tapfan dump: standard input: skipped frame 2, at byte 52, which is not dnstap: byte 0: a field has wire type 7, which protobuf does not define
    tapfan dump: standard input: skipped frame 4: the frame at byte 80 has 1048577 bytes, more than the 1048576 allowed
    tapfan dump: standard input: skipped frame 5, at byte 1048661, which is not dnstap: byte 2: Dnstap.message is missing in the message that ends here
    tapfan dump: read 3 frames, skipped 3 bad; standard output: wrote 3
    ");
    // Even thousands of bad frames must not flood the terminal.
    let bytes = capture(&vec![b"x".as_slice(); 5000]);
    let output = dump_of(&bytes, &["-r", "-"]);
    let text = stderr(&output);
    assert_eq!(text.lines().count(), 12, "{text}");
    assert!(text.contains("skipped 4990 more bad frames"), "{text}");
}

#[test]
fn bad_usage_is_refused_before_anything_is_opened() {
    let folder = TempDir::new().expect("a folder");
    let file = path(&folder, "new");
    for (arguments, status, problem) in [
        (vec![], 2, "no input"),
        (
            vec!["-r", SAMPLE, "-q", "-j"],
            2,
            "an output has one format",
        ),
        (
            vec!["-r", SAMPLE, "-a", "-w", &file],
            2,
            "-a appends to files of text only",
        ),
        (
            vec!["-r", SAMPLE, "-a"],
            2,
            "-a appends to files of text only",
        ),
        (
            vec!["-r", SAMPLE, "-w", "-", "-w", "-"],
            2,
            "only one output",
        ),
        (vec!["-l", "tls://127.0.0.1:0"], 2, "needs --cert and --key"),
        (
            vec!["-r", "/missing", "-w", &file],
            1,
            "cannot open /missing: No such file",
        ),
        (
            vec!["-r", SAMPLE, "-w", "/missing/file"],
            1,
            "cannot write /missing/file",
        ),
        (vec!["-u", "/missing/socket"], 1, "/missing/socket"),
        (
            vec!["-r", SAMPLE, "-T", &format!("file://{file}")],
            2,
            "a collector is not a file; -w writes to files",
        ),
    ] {
        let output = dump(&arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        assert!(text.contains(problem), "{arguments:?}: {text}");
        assert!(!Path::new(&file).exists(), "{arguments:?}");
    }
}

#[test]
fn an_output_that_leads_back_to_an_input_is_refused_before_anything_is_opened() {
    let folder = TempDir::new().expect("a folder");
    let (socket, link) = (path(&folder, "in.sock"), path(&folder, "link.sock"));
    let around = path(&folder, "sub/../in.sock");
    fs::create_dir(folder.path().join("sub")).expect("made");
    std::os::unix::fs::symlink("in.sock", &link).expect("linked");
    for (input, outputs) in [
        (
            ["-u", &socket],
            vec![["-U", &socket], ["-U", &link], ["-U", &around]],
        ),
        (["-u", &link], vec![["-U", &socket]]),
        (
            ["-l", "127.0.0.1:6000"],
            vec![["-T", "127.0.0.1:6000"], ["-T", "localhost:6000"]],
        ),
        (
            ["-l", ":6000"],
            vec![
                ["-T", "127.0.0.1:6000"],
                ["-T", "[::1]:6000"],
                ["-T", "tls://localhost:6000"],
            ],
        ),
    ] {
        for output in outputs {
            let arguments = [input, output].concat();
            let refused = dump(&arguments);
            let text = stderr(&refused);
            assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {text}");
            assert!(text.contains("frames would loop forever"), "{text}");
            assert!(!Path::new(&socket).exists(), "{arguments:?}");
        }
    }
    // Two outputs must not overwrite each other, so the command is refused.
    let (new, around) = (path(&folder, "new"), path(&folder, "sub/../new"));
    for (other, problem) in [(&new, "is given twice"), (&around, "are the same file")] {
        let arguments = ["-r", SAMPLE, "-w", &new, "-q", "-w", other, "-y"];
        let refused = dump(&arguments);
        let text = stderr(&refused);
        assert_eq!(refused.status.code(), Some(2), "{text}");
        assert!(text.contains(problem), "{text}");
        assert!(!Path::new(&new).exists());
    }
    let devices = dump(&["-r", SAMPLE, "-w", "/dev/null", "-w", "/dev/null"]);
    assert!(devices.status.success(), "{}", stderr(&devices));
    // An output must not overwrite an input.
    let (file, other) = (path(&folder, "in.fstrm"), path(&folder, "link.fstrm"));
    let bytes = fs::read(SAMPLE).expect("a capture");
    fs::write(&file, &bytes).expect("written");
    std::os::unix::fs::symlink("in.fstrm", &other).expect("linked");
    for output in [&file, &other] {
        let refused = dump(&["-r", &file, "-w", output]);
        let text = stderr(&refused);
        assert_eq!(refused.status.code(), Some(2), "{text}");
        assert!(text.contains("is also an input"), "{text}");
        assert!(fs::read(&file).expect("a file") == bytes);
    }
}

/// The test creates the link to the program's own listener only after the start.
#[test]
fn a_collector_that_becomes_the_own_listener_gets_no_frame() {
    let folder = TempDir::new().expect("a folder");
    let (socket, link) = (path(&folder, "in.sock"), path(&folder, "link.sock"));
    let copy = path(&folder, "copy.fstrm");
    let running = Dump::start(
        folder.path(),
        &["-u", &socket, "-U", &link, "-w", &copy, "-v", "-t", "1s"],
    );
    until("its socket", || running.stderr().contains("listening"));
    std::os::unix::fs::symlink("in.sock", &link).expect("linked");
    let output = dump(&[SAMPLE, "-U", &socket]);
    assert!(output.status.success(), "{}", stderr(&output));
    until("the refusal", || running.stderr().contains("own listener"));
    running.signal(Signal::SIGINT);
    let (_, text) = running.end();
    assert!(text.contains("read 45 frames"), "{text}");
    assert!(text.contains("collectors: wrote 0, dropped 45"), "{text}");
}

/// Sends the frames of a capture, and waits for FINISH.
async fn send(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    capture: &[u8],
) {
    open(&mut stream, TIMEOUT).await.expect("ACCEPT");
    let start = Control::start().encode().len();
    stream.write_all(&capture[start..]).await.expect("written");
    let mut back_channel = BackChannel::new();
    let mut bytes = [0; 64];
    loop {
        let read = timeout(TIMEOUT, stream.read(&mut bytes))
            .await
            .expect("in time");
        let read = read.expect("open");
        assert!(read > 0, "closed without FINISH");
        if back_channel.feed(&bytes[..read]).expect("FINISH") {
            return;
        }
    }
}

#[tokio::test]
async fn senders_at_sockets_get_finish_and_their_frames_are_written() {
    let folder = TempDir::new().expect("a folder");
    let (socket, copy) = (path(&folder, "in.sock"), path(&folder, "copy.fstrm"));
    let bytes = fs::read(SAMPLE).expect("a capture");
    let running = Dump::start(
        folder.path(),
        &["-u", &socket, "-l", "127.0.0.1:0", "-w", &copy, "-v"],
    );
    until("its sockets", || {
        running.stderr().matches("listening").count() == 2
    });
    send(
        UnixStream::connect(&socket).await.expect("listening"),
        &bytes,
    )
    .await;
    let log = running.stderr();
    let (_, port) = log.split_once("address=127.0.0.1:").expect("an address");
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    let tcp = TcpStream::connect(("127.0.0.1", port.parse::<u16>().expect("a port")));
    send(tcp.await.expect("listening"), &bytes).await;
    until("the streams to end", || {
        running.stderr().matches("sender disconnected").count() == 2
    });
    let log = running.stderr();
    assert_eq!(log.matches("end=STOP").count(), 2, "{log}");
    let type_ = "content_type=protobuf:dnstap.Dnstap";
    assert_eq!(log.matches(type_).count(), 2, "{log}");
    // A unidirectional sender begins with START. It gets no FINISH.
    let mut bare = UnixStream::connect(&socket).await.expect("listening");
    start(&mut bare, TIMEOUT).await.expect("written");
    let head = Control::start().encode().len();
    bare.write_all(&bytes[head..]).await.expect("written");
    drop(bare);
    until("the streams to end", || {
        running.stderr().matches("sender disconnected").count() == 3
    });
    assert_eq!(running.stderr().matches("end=STOP").count(), 3);
    // A sender that is killed sends no STOP.
    let mut killed = UnixStream::connect(&socket).await.expect("listening");
    open(&mut killed, TIMEOUT).await.expect("ACCEPT");
    drop(killed);
    until("the stream to end", || {
        let log = running.stderr();
        log.contains("frames=0 bytes=0 end=\"closed without STOP\"")
    });
    // A sender that is still connected when the program ends is asked to finish its stream.
    let mut last = UnixStream::connect(&socket).await.expect("listening");
    open(&mut last, TIMEOUT).await.expect("ACCEPT");
    running.signal(Signal::SIGINT);
    let read = timeout(TIMEOUT, last.read_u8()).await.expect("in time");
    read.expect_err("the back channel is closed");
    last.write_all(&Control::stop().encode())
        .await
        .expect("written");
    drop(last);
    let (status, text) = running.end();
    assert_eq!(status, Some(0), "{text}");
    assert!(
        text.contains(&format!("read 135 frames; {copy}: wrote 135")),
        "{text}"
    );
    let written = fs::read(&copy).expect("a file");
    let frames = FileReader::new(written.as_slice()).expect("a capture");
    assert_eq!(frames.filter_map(Result::ok).count(), 135);
    assert!(!Path::new(&socket).exists());
}

/// GNU `timeout` signals the process and then the process group of the process.
#[tokio::test]
async fn two_signals_of_the_same_moment_let_senders_end_their_streams() {
    let folder = TempDir::new().expect("a folder");
    let (socket, copy) = (path(&folder, "in.sock"), path(&folder, "copy.fstrm"));
    let running = Dump::start(folder.path(), &["-u", &socket, "-w", &copy, "-v"]);
    until("its socket", || running.stderr().contains("listening"));
    let mut sender = UnixStream::connect(&socket).await.expect("listening");
    open(&mut sender, TIMEOUT).await.expect("ACCEPT");
    running.signal(Signal::SIGINT);
    running.signal(Signal::SIGTERM);
    let read = timeout(TIMEOUT, sender.read_u8()).await.expect("in time");
    read.expect_err("the back channel is closed");
    let bytes = fs::read(SAMPLE).expect("a capture");
    let head = Control::start().encode().len();
    sender.write_all(&bytes[head..]).await.expect("written");
    drop(sender);
    let (status, text) = running.end();
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains(&format!("{copy}: wrote 45")), "{text}");
}

/// As in golang-dnstap, `-t` limits the handshake. After the handshake, a sender may be silent for any time.
#[tokio::test]
async fn the_timeout_ends_a_handshake_and_no_stream() {
    let folder = TempDir::new().expect("a folder");
    let (socket, copy) = (path(&folder, "in.sock"), path(&folder, "copy.fstrm"));
    let running = Dump::start(
        folder.path(),
        &["-u", &socket, "-w", &copy, "-v", "-t", "1s"],
    );
    until("its socket", || running.stderr().contains("listening"));
    let connect = || UnixStream::connect(&socket);
    let mut stream = connect().await.expect("listening");
    open(&mut stream, TIMEOUT).await.expect("ACCEPT");
    for opening in [Vec::new(), Control::ready().encode().to_vec()] {
        let mut silent = connect().await.expect("listening");
        silent.write_all(&opening).await.expect("written");
        // The sender reads the answer to its READY, and after it the end of the connection.
        let mut bytes = Vec::new();
        let end = timeout(TIMEOUT, silent.read_to_end(&mut bytes));
        end.await.expect("in time").expect("the end");
    }
    until("the reports", || {
        running.stderr().matches("took longer than 1s").count() == 2
    });
    // The stream was silent for longer than the time limit of the handshake.
    let bytes = fs::read(SAMPLE).expect("a capture");
    let head = Control::start().encode().len();
    stream.write_all(&bytes[head..]).await.expect("open");
    let mut finish = Vec::new();
    let end = timeout(TIMEOUT, stream.read_to_end(&mut finish));
    end.await.expect("in time").expect("FINISH");
    assert!(finish == Control::finish().encode());
    running.signal(Signal::SIGINT);
    let (status, text) = running.end();
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains(&format!("{copy}: wrote 45")), "{text}");
}

#[test]
fn forwarded_captures_arrive_complete() {
    let folder = TempDir::new().expect("a folder");
    let (socket, copy) = (path(&folder, "in.sock"), path(&folder, "copy.fstrm"));
    let collector = Dump::start(folder.path(), &["-u", &socket, "-w", &copy, "-v"]);
    until("its socket", || collector.stderr().contains("listening"));
    // These captures have more frames than a queue holds.
    let output = dump(&[
        "-r", BIND, "-r", BIND, "-r", BIND, "-r", BIND, "-r", BIND, "-U", &socket,
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    assert!(
        stderr(&output).contains("collectors: wrote 20000\n"),
        "{}",
        stderr(&output)
    );
    collector.signal(Signal::SIGTERM);
    let (status, text) = collector.end();
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("read 20000 frames"), "{text}");
}

#[test]
fn a_dead_collector_stalls_no_other_output() {
    let folder = TempDir::new().expect("a folder");
    let (socket, copy) = (path(&folder, "nobody.sock"), path(&folder, "copy.fstrm"));
    let output = dump(&[
        "-r", BIND, "-r", BIND, "-r", BIND, "-r", BIND, "-U", &socket, "-t", "1s", "-w", &copy,
    ]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("read 16000 frames; collectors: wrote 0, dropped 16000"),
        "{text}"
    );
    assert!(text.contains(&format!("{copy}: wrote 16000\n")), "{text}");
}

/// A collector that reads 100 KB/s. It needs longer than 2 seconds for a batch.
struct SlowCollector {
    task: tokio::task::JoinHandle<()>,
    /// The number of reads so far.
    reads: Arc<AtomicU64>,
}

impl SlowCollector {
    fn listening(socket: &str) -> Self {
        let listener = tokio::net::UnixListener::bind(socket).expect("bound");
        let reads = Arc::<AtomicU64>::default();
        let count = Arc::clone(&reads);
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let handshake = accept(&mut stream, Duration::from_secs(10)).await;
            handshake.expect("a handshake");
            let mut part = [0; 2048];
            while stream.read(&mut part).await.is_ok_and(|bytes| bytes > 0) {
                count.fetch_add(1, Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { task, reads }
    }
}

impl Drop for SlowCollector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_a_capture_wait_for_a_slow_collector_to_the_end() {
    let folder = TempDir::new().expect("a folder");
    let socket = path(&folder, "slow.sock");
    let _collector = SlowCollector::listening(&socket);
    let arguments = ["-r", BIND, "-U", &socket, "-t", "2s"].map(str::to_owned);
    let dumping =
        tokio::task::spawn_blocking(move || dump(&arguments.each_ref().map(String::as_str)));
    let text = stderr(&dumping.await.expect("no panic"));
    assert!(text.contains("collectors: wrote 4000\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_signal_a_slow_collector_has_only_the_time_of_the_drain() {
    let folder = TempDir::new().expect("a folder");
    let socket = path(&folder, "slow.sock");
    let collector = SlowCollector::listening(&socket);
    // With `-f`, the input does not end before a signal arrives.
    let arguments = [
        "-f", BIND, "-r", BIND, "-r", BIND, "-U", &socket, "-t", "1s",
    ];
    let dump = Dump::start(folder.path(), &arguments);
    until("many reads of the collector", || {
        collector.reads.load(Relaxed) > 40
    });
    dump.signal(Signal::SIGINT);
    let ended = tokio::task::spawn_blocking(move || dump.end());
    let (status, text) = ended.await.expect("no panic");
    assert_eq!(status, Some(1), "{text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(number_after(last, ", dropped ") > 0, "{text}");
}

/// Returns the number that follows `word` in `text`.
fn number_after(text: &str, word: &str) -> u64 {
    let (_, rest) = text
        .split_once(word)
        .unwrap_or_else(|| panic!("{word:?} in {text}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("a number after {word:?} in {text}"))
}

/// Asserts that the last line accounts for every frame, and that some frames were dropped.
fn assert_dropped(text: &str) {
    let last = text.lines().last().unwrap_or_default();
    let read = number_after(last, "read ");
    let written = number_after(last, "standard output: wrote ");
    let dropped = number_after(last, ", dropped ");
    assert_eq!(read, written + dropped, "{text}");
    assert!(dropped > 0, "{text}");
    assert!(
        text.contains("standard output takes no more data"),
        "{text}"
    );
}

/// A pager or `ssh` can stop reading for a long time.
#[tokio::test]
async fn senders_never_wait_for_a_reader_that_stalls() {
    // The program's stderr goes into a file, or into the pipe that nobody reads.
    for is_log_unread in [false, true] {
        let folder = TempDir::new().expect("a folder");
        let (socket, copy) = (path(&folder, "in.sock"), path(&folder, "copy.fstrm"));
        let (unread, pipe) = std::io::pipe().expect("a pipe");
        let log = folder.path().join("log");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tapfan"));
        command
            .args(["dump", "-u", &socket, "-w", "-", "-q", "-w", &copy])
            .stdin(Stdio::null())
            .stdout(pipe.try_clone().expect("a pipe"));
        if is_log_unread {
            command.arg("-v").stderr(pipe);
        } else {
            command.stderr(fs::File::create(&log).expect("a file"));
        }
        let mut running = Dump {
            child: command.spawn().expect("it runs"),
            stderr: log,
        };
        // Retries, because the socket file exists before `dump` listens on it.
        until("its socket", || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        // The senders send more frames than the queue of an output holds. Each sender gets FINISH.
        let bytes = fs::read(BIND).expect("a capture");
        for _ in 0..40 {
            send(
                UnixStream::connect(&socket).await.expect("listening"),
                &bytes,
            )
            .await;
        }
        running.signal(Signal::SIGINT);
        until("its end", || {
            running.child.try_wait().expect("a child").is_some()
        });
        assert_eq!(running.child.wait().expect("a child").code(), Some(1));
        // The other output, a file, is a complete capture.
        let written = fs::read(&copy).expect("a file");
        let frames = FileReader::new(written.as_slice()).expect("a capture");
        let frames = frames
            .collect::<Result<Vec<_>, _>>()
            .expect("it ends in STOP");
        assert!(!frames.is_empty());
        if !is_log_unread {
            let text = running.stderr();
            assert_dropped(&text);
            let counted = number_after(&text, &format!("{copy}: wrote "));
            assert_eq!(counted, frames.len() as u64, "{text}");
        }
        drop(unread);
    }
}

#[test]
fn a_capture_waits_for_its_reader_until_a_signal() {
    let folder = TempDir::new().expect("a folder");
    let (mut reader, pipe) = std::io::pipe().expect("a pipe");
    let log = folder.path().join("log");
    let mut running = Dump {
        child: std::process::Command::new(env!("CARGO_BIN_EXE_tapfan"))
            .args(["dump", BIND, BIND, BIND, BIND, BIND, BIND, "-y"])
            .stdout(pipe)
            .stderr(fs::File::create(&log).expect("a file"))
            .spawn()
            .expect("it runs"),
        stderr: log,
    };
    reader.read_exact(&mut [0; 1000]).expect("text");
    assert!(running.child.try_wait().expect("a child").is_none());
    running.signal(Signal::SIGINT);
    let (status, text) = running.end();
    assert_eq!(status, Some(1), "{text}");
    assert_dropped(&text);
    drop(reader);
}

/// Returns the numbers that follow `words` in the last line of stderr. For words that are missing, the number is 0.
fn totals<const N: usize>(text: &str, words: [&str; N]) -> [u64; N] {
    let line = text.lines().last().expect("the totals");
    words.map(|word| {
        let number = line.split_once(word).map(|(_, rest)| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().expect("a number")
        });
        number.unwrap_or_default()
    })
}

#[test]
fn every_frame_of_an_output_that_fails_is_counted_as_dropped() {
    for format in ["-q", "-y", "-j", "--flat", "--pair", "--fstrm", "--pcap"] {
        // The small capture fits into the buffer of the output.
        for captures in [[BIND, BIND, BIND].as_slice(), &[SAMPLE]] {
            let output = dump(&[captures, &["-w", "/dev/full", format]].concat());
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(text.contains("No space left on device"), "{text}");
            let [read, wrote, left_out, dropped] =
                totals(&text, ["read ", "wrote ", "left out ", "dropped "]);
            assert!(read >= 45, "{format}: {text}");
            assert_eq!((read, wrote), (left_out + dropped, 0), "{format}: {text}");
        }
    }
    // Queries that still have no response when the input ends are written as well.
    let folder = TempDir::new().expect("a folder");
    let output = dump(&[BIND, "--pair", "-w", &path(&folder, "pairs")]);
    assert_eq!(totals(&stderr(&output), ["wrote "]), [4000]);
}

#[tokio::test]
async fn frames_that_arrive_after_the_limit_are_not_lost() {
    let folder = TempDir::new().expect("a folder");
    let (socket, pipe) = (path(&folder, "in.sock"), path(&folder, "pipe"));
    nix::unistd::mkfifo(Path::new(&pipe), nix::sys::stat::Mode::S_IRWXU).expect("made");
    // The FIFO is opened for reading and writing. If it were opened for reading only, the call would wait for a writer.
    let mut options = fs::OpenOptions::new();
    let mut reader = options.read(true).write(true).open(&pipe).expect("a pipe");
    let running = Dump::start(
        folder.path(),
        &["-u", &socket, "-w", &pipe, "-y", "--limit", "2000", "-v"],
    );
    until("its socket", || running.stderr().contains("listening"));
    let mut stream = UnixStream::connect(&socket).await.expect("listening");
    open(&mut stream, TIMEOUT).await.expect("ACCEPT");
    let bytes = fs::read(BIND).expect("a capture");
    let control = Control::start().encode().len();
    let frames = &bytes[control..bytes.len() - Control::stop().encode().len()];
    stream.write_all(frames).await.expect("written");
    let read = timeout(TIMEOUT, stream.read_u8()).await.expect("in time");
    read.expect_err("the back channel is closed, because the limit is reached");
    // The text of 2000 frames does not fit into the pipe, so the output waits. In that time, the sender sends more
    // frames than the queue of the listeners holds.
    for _ in 0..20 {
        stream.write_all(frames).await.expect("written");
    }
    stream
        .write_all(&Control::stop().encode())
        .await
        .expect("written");
    until("the stream to end", || {
        running.stderr().contains("frames=84000")
    });
    thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let (status, text) = running.end();
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains(&format!("{pipe}: wrote 2000\n")), "{text}");
    assert!(!text.contains("dropped"), "{text}");
}

#[test]
fn a_file_that_was_renamed_is_continued_in_a_new_one() {
    let folder = TempDir::new().expect("a folder");
    let (socket, file) = (path(&folder, "in.sock"), path(&folder, "out.fstrm"));
    let old = path(&folder, "old.fstrm");
    let running = Dump::start(folder.path(), &["-u", &socket, "-w", &file, "-v"]);
    until("its socket", || running.stderr().contains("listening"));
    let send = || {
        let output = dump(&[SAMPLE, "-U", &socket]);
        assert!(output.status.success(), "{}", stderr(&output));
    };
    let frames = |path: &str| {
        let bytes = fs::read(path).unwrap_or_default();
        let reader = FileReader::new(bytes.as_slice()).ok()?;
        let frames: Result<Vec<_>, _> = reader.collect();
        frames.ok().map(|frames| frames.len())
    };
    send();
    // The file is still at its path, so the program continues to write to it.
    running.signal(Signal::SIGHUP);
    send();
    until("both captures in the file", || {
        fs::metadata(&file).is_ok_and(|it| it.len() > 2 * 5400)
    });
    fs::rename(&file, &old).expect("a file");
    running.signal(Signal::SIGHUP);
    until("the old file to be finished", || frames(&old) == Some(90));
    send();
    running.signal(Signal::SIGTERM);
    let (status, text) = running.end();
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(frames(&file), Some(45));
}

#[test]
fn a_closed_pipe_ends_dump_without_an_error() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_tapfan"))
        .args(["dump", BIND, BIND, BIND, "-y"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let stderr: ChildStderr = child.stderr.take().expect("a pipe");
    let text = std::io::read_to_string(stderr).expect("text");
    assert!(!text.contains("cannot write"), "{text}");
    assert!(text.contains("then its reader closed it"), "{text}");
    assert_eq!(child.wait().expect("a child").code(), Some(0));
}

/// Returns a `CLIENT_QUERY`, and the response to it some time later.
fn transaction(id: u8, seconds: u8, milliseconds: u32) -> [Vec<u8>; 2] {
    transaction_of([5, 6], id, seconds, milliseconds)
}

/// Returns a query, and the response to it some time later. `types` are the message types of these two frames.
fn transaction_of(types: [u8; 2], id: u8, seconds: u8, milliseconds: u32) -> [Vec<u8>; 2] {
    let dns = |flags: u8, rcode: u8| {
        let head = [0, id, flags, rcode, 0, 1, 0, 0, 0, 0, 0, 0];
        [head.as_slice(), b"\x03www\x07example\x03org\0\0\x01\0\x01"].concat()
    };
    let message = |kind: u8, fields: &[u8]| {
        let head = [
            0x08, kind, 0x10, 1, 0x18, 1, 0x22, 4, 192, 0, 2, id, 0x30, 99,
        ];
        let message = [head.as_slice(), fields].concat();
        let length = u8::try_from(message.len()).expect("short");
        [&[0x72, length], message.as_slice(), b"\x78\x01"].concat()
    };
    let query = [0x40, seconds, 0x4d, 0, 0, 0, 0, 0x52, 33];
    let query = [query.as_slice(), &dns(1, 0)].concat();
    let response = [
        [0x60, seconds, 0x6d].as_slice(),
        &(milliseconds * 1_000_000).to_le_bytes(),
        &[0x72, 33],
        &dns(0x81, 3),
    ]
    .concat();
    [message(types[0], &query), message(types[1], &response)]
}

#[test]
fn pairs_have_the_latency_between_query_and_response() {
    let [first, answer] = transaction(1, 10, 25);
    let [lost, _] = transaction(2, 11, 0);
    let [_, stray] = transaction(3, 12, 1);
    let [late, _] = transaction(4, 100, 0);
    let bytes = capture(&[&first, &lost, &answer, &stray, &late]);
    let output = dump_of(&bytes, &["-r", "-", "--pair"]);
    assert!(output.status.success(), "{}", stderr(&output));
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout), @r#"
    1970-01-01T00:00:10Z CLIENT 192.0.2.1 > - "www.example.org." IN A NXDOMAIN 25.000ms 33b
    1970-01-01T00:00:12.001Z CLIENT 192.0.2.3 > - "www.example.org." IN A NXDOMAIN - 33b
    1970-01-01T00:00:11Z CLIENT 192.0.2.2 > - "www.example.org." IN A - - -
    1970-01-01T00:01:40Z CLIENT 192.0.2.4 > - "www.example.org." IN A - - -
    "#);
    let output = dump_of(&bytes, &["-r", "-", "--stats"]);
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout), @r"
    frames     5 in 90.0 s, 0/s
    types               3  CLIENT_QUERY
                        2  CLIENT_RESPONSE
    rcodes              2  NXDOMAIN
    qtypes              3  A
    names               3  www.example.org.
    clients             1  192.0.2.1
                        1  192.0.2.2
                        1  192.0.2.4
    latency    p50 25.000 ms, p99 25.000 ms, max 25.000 ms, of 1 responses
    unanswered 1
    waiting    1
    ");
}

/// BIND 9.18 taps a query for one of its own zones as `AUTH_QUERY`, and the response as `CLIENT_RESPONSE`.
#[test]
fn queries_of_every_type_are_paired_with_their_responses() {
    for types in [
        [1, 6],
        [1, 2],
        [3, 4],
        [5, 6],
        [7, 8],
        [9, 10],
        [11, 12],
        [13, 14],
    ] {
        let [query, response] = transaction_of(types, 1, 10, 25);
        let bytes = capture(&[&query, &response]);
        let output = dump_of(&bytes, &["-r", "-", "--pair"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.lines().count(), 1, "{types:?}: {text}");
        assert!(text.contains("NXDOMAIN 25.000ms"), "{types:?}: {text}");
        let output = dump_of(&bytes, &["-r", "-", "--stats"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("of 1 responses"), "{types:?}: {text}");
        assert!(!text.contains("unanswered 1"), "{types:?}: {text}");
    }
    // A resolver sends the query of its client on to another server. The client's query and the forwarded query have
    // different message types, so they belong to different transactions.
    let [query, _] = transaction_of([5, 6], 1, 10, 25);
    let [_, response] = transaction_of([3, 4], 1, 10, 25);
    let output = dump_of(&capture(&[&query, &response]), &["-r", "-", "--pair"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn a_sample_keeps_the_queries_and_responses_of_bind_together() {
    let each = (0..100).flat_map(|id| transaction_of([1, 6], id, 10, 25));
    let each: Vec<_> = each.collect();
    let frames: Vec<_> = each.iter().map(Vec::as_slice).collect();
    let output = dump_of(&capture(&frames), &["-r", "-", "--sample", "1/3", "--pair"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!((10..90).contains(&text.lines().count()), "{text}");
    let is_whole = |line: &str| line.contains("NXDOMAIN 25.000ms");
    assert!(text.lines().all(is_whole), "{text}");
}

#[test]
fn the_privacy_options_leave_no_address_of_a_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = path(&folder, name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let (names, key) = (
        file("names", "example.test # of the recording\n"),
        file("key", "00112233445566778899aabbccddeeff"),
    );
    let count = |arguments: &[&str]| {
        let output = dump(&[&["-r", UNBOUND, "--count"], arguments].concat());
        let text = String::from_utf8(output.stdout).expect("text");
        text.trim().parse::<u64>().expect("a number")
    };
    assert_eq!(count(&["--qname-file", &names]), 4000);
    assert_eq!(count(&["--qname-file", &format!("!{names}")]), 0);
    let sample = ["--sample", "1/5", "--sample-key", &key];
    assert_eq!(count(&sample), count(&sample), "the key decides");
    for (edit, left) in [
        ("remove", None),
        ("truncate 8 0", Some("query_address: 127.0.0.0")),
    ] {
        let client = [
            "-r",
            UNBOUND,
            "-y",
            "--type",
            "client",
            "--client-address",
            edit,
        ];
        let output = dump(&client);
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(!text.contains("query_address: 127.0.0.1"), "{edit}");
        let lines = text.lines().filter(|line| line.contains("query_address"));
        assert!(
            lines.map(str::trim).all(|line| Some(line) == left),
            "{edit}"
        );
    }
    let refused = dump(&["-r", UNBOUND, "--client-address", "hash"]);
    assert_eq!(refused.status.code(), Some(2));
    let refused = dump(&["-r", UNBOUND, "--qname-file", &path(&folder, "absent")]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
}

#[test]
fn filters_and_counts_agree_with_a_search_in_the_text() {
    let json = dump(&[BIND, "-j"]);
    let json = String::from_utf8(json.stdout).expect("text");
    let lines = |wanted: &[&str]| {
        let is_wanted = |line: &&str| wanted.iter().all(|it| line.contains(it));
        json.lines().filter(is_wanted).count()
    };
    let aaaa = "\\tIN\\t AAAA\\n";
    for (arguments, expected) in [
        (vec![], 4000),
        (
            vec!["--type", "client_response"],
            lines(&["\"CLIENT_RESPONSE\""]),
        ),
        (vec!["--qtype", "AAAA"], lines(&[aaaa])),
        (vec!["--rcode", "NXDOMAIN"], lines(&["status: NXDOMAIN"])),
        (
            vec!["--rcode", "NXDOMAIN", "--qtype", "AAAA"],
            lines(&["status: NXDOMAIN", aaaa]),
        ),
        (
            vec!["--qname", "host144.example.test"],
            lines(&[";host144.example.test."]),
        ),
        (vec!["--client", "127.0.0.0/8"], 4000),
        (vec!["--client", "!127.0.0.1"], 0),
        (vec!["--sample", "1/1"], 4000),
        (vec!["--limit", "17"], 17),
    ] {
        let output = dump(&[vec![BIND, "--count"], arguments.clone()].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let count = String::from_utf8(output.stdout).expect("text");
        assert_eq!(count, format!("{expected}\n"), "{arguments:?}");
    }
    let output = dump(&[BIND, "--rcode", "NXDOMIAN"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("did you mean `NXDOMAIN`?"), "{text}");
}

#[test]
fn a_capture_is_followed_as_it_grows_and_when_it_is_replaced() {
    let folder = TempDir::new().expect("a folder");
    let (file, text) = (path(&folder, "in.fstrm"), path(&folder, "out"));
    let bytes = fs::read(SAMPLE).expect("a capture");
    fs::write(&file, &bytes[..200]).expect("written");
    let running = Dump::start(folder.path(), &["-f", &file, "-w", &text, "-q"]);
    let lines = || {
        fs::read_to_string(&text)
            .unwrap_or_default()
            .lines()
            .count()
    };
    until("the first frame", || lines() == 1);
    let mut growing = fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .expect("a file");
    // Writes up to the middle of a frame, and later the remaining frames without STOP.
    growing.write_all(&bytes[200..1000]).expect("written");
    until("more frames", || lines() > 1);
    assert!(lines() < 45);
    let stop = bytes.len() - 12;
    growing.write_all(&bytes[1000..stop]).expect("written");
    until("all frames", || lines() == 45);
    fs::rename(&file, path(&folder, "old.fstrm")).expect("renamed");
    growing.write_all(&bytes[stop..]).expect("written");
    fs::write(&file, &bytes).expect("written");
    until("the frames of the new file", || lines() == 90);
    running.signal(Signal::SIGINT);
    let (status, text) = running.end();
    assert_eq!(status, Some(0), "{text}");
    assert!(
        text.contains("was replaced, reading the new file"),
        "{text}"
    );
}

#[test]
fn a_followed_capture_that_is_shortened_counts_unless_it_was_complete() {
    let folder = TempDir::new().expect("a folder");
    let (file, text) = (path(&folder, "in.fstrm"), path(&folder, "out"));
    let bytes = fs::read(SAMPLE).expect("a capture");
    let without_stop = bytes.len() - 12;
    for (length, status) in [(bytes.len(), 0), (without_stop, 1), (without_stop - 5, 1)] {
        fs::write(&file, &bytes[..length]).expect("written");
        let running = Dump::start(folder.path(), &["-f", &file, "-w", &text, "-q"]);
        let lines = || {
            let text = fs::read_to_string(&text);
            text.unwrap_or_default().lines().count()
        };
        let whole = 45 - usize::from(length < without_stop);
        until("the frames", || lines() == whole);
        // `set_len` keeps the file, as `copytruncate` of logrotate does.
        let shortened = fs::OpenOptions::new().write(true).open(&file);
        shortened.and_then(|file| file.set_len(0)).expect("emptied");
        until("the report", || running.stderr().contains("in.fstrm was "));
        fs::write(&file, &bytes).expect("written");
        until("the frames of the new file", || lines() == whole + 45);
        running.signal(Signal::SIGINT);
        let (ended, text) = running.end();
        assert_eq!(ended, Some(status), "{text}");
        let is_counted = text.contains(" (1 capture was shortened, so frames may be lost)");
        assert_eq!(is_counted, status == 1, "{text}");
    }
}

#[test]
fn a_followed_capture_that_cannot_be_opened_is_reported_once() {
    let folder = TempDir::new().expect("a folder");
    let (file, text) = (path(&folder, "in.fstrm"), path(&folder, "out"));
    let bytes = fs::read(SAMPLE).expect("a capture");
    for is_replaced_again in [true, false] {
        fs::write(&file, &bytes).expect("written");
        let running = Dump::start(folder.path(), &["-f", &file, "-w", &text, "-q"]);
        let lines = || {
            let text = fs::read_to_string(&text);
            text.unwrap_or_default().lines().count()
        };
        until("the frames", || lines() == 45);
        // A unix socket cannot be opened as a file, not even by root.
        fs::remove_file(&file).expect("removed");
        let socket = std::os::unix::net::UnixListener::bind(&file).expect("bound");
        let report = format!("tapfan dump: cannot open {file}: No such device or address");
        until("the report", || running.stderr().contains(&report));
        if is_replaced_again {
            drop(socket);
            fs::remove_file(&file).expect("removed");
            fs::write(&file, &bytes).expect("written");
            until("the frames of the new file", || lines() == 90);
        }
        running.signal(Signal::SIGINT);
        let (status, text) = running.end();
        assert_eq!(text.matches(&report).count(), 1, "{text}");
        assert_eq!(status, Some(i32::from(!is_replaced_again)), "{text}");
        let _ = fs::remove_file(&file);
    }
}

#[test]
fn a_lack_of_senders_gets_a_hint() {
    let folder = TempDir::new().expect("a folder");
    let socket = path(&folder, "in.sock");
    let running = Dump::start(folder.path(), &["-u", &socket]);
    until("the hint", || {
        let text = running.stderr();
        text.contains("nothing has connected to unix://")
    });
    running.signal(Signal::SIGINT);
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn packets_have_the_messages_of_the_frames() {
    let output = dump(&[SAMPLE, "--pcap"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(text.contains("headers are made up"), "{text}");
    assert!(text.contains("2 frames have no DNS message"), "{text}");
    let (head, mut rest) = output.stdout.split_at(24);
    assert_eq!(head[..4], 0xa1b2_3c4d_u32.to_le_bytes());
    assert_eq!(head[20..], 101_u32.to_le_bytes());
    let mut packets = 0;
    while let Some((record, behind)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes(record[8..12].try_into().expect("four bytes"));
        let (packet, behind) = behind.split_at(length as usize);
        assert!(matches!(packet[0], 0x45 | 0x60), "{packet:02x?}");
        rest = behind;
        packets += 1;
    }
    assert_eq!((packets, rest.len()), (43, 0));
}
