//! Tests that the usual tools can read the files of `file://` sinks.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    frame_streams::whole_file,
    fstrm_capture::{RECORDINGS, recorded, replay},
    process::unused,
    tapfan::{Listening, Tapfan},
};

/// Sends the [`RECORDINGS`] to tapfan, which writes them to one file. Returns the path of this
/// file.
fn written(dir: &Path, compress: &str) -> PathBuf {
    let ingress = dir.join("tapfan.sock");
    let folder = dir.join("files");
    fs::create_dir(&folder).expect("a folder");
    let tapfile = format!(
        "listen unix://{}\ndnstap file://{}/%Y%m%d.fstrm full 1 4 {{\n{compress}\n}}\n",
        ingress.display(),
        folder.display(),
    );
    let tapfan = Tapfan::start(dir, &tapfile, &Listening::Unix(ingress.clone()));
    for recording in RECORDINGS {
        replay(dir, recording, &ingress);
    }
    tapfan.stop();
    let mut files = fs::read_dir(&folder).expect("a folder");
    let file = files.next().expect("a file").expect("a file").path();
    assert!(files.next().is_none(), "a second file");
    file
}

fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("installed");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    output.stdout
}

#[test]
#[ignore = "needs real dnstap tools: tests/interop/install.sh"]
fn a_file_is_read_by_dnstap_and_fstrm_dump() {
    let dir = TempDir::new().expect("a directory");
    let file = written(dir.path(), "");
    let expected = RECORDINGS.map(recorded).concat();
    assert!(whole_file(&file) == expected, "the recorded frames");
    let copy = unused(dir.path(), "copy.fstrm");
    output(
        Command::new("/usr/bin/dnstap")
            .arg("-r")
            .arg(&file)
            .arg("-w")
            .arg(&copy),
    );
    assert!(whole_file(&copy) == expected, "the frames that dnstap read");
    let text = output(
        Command::new("/usr/bin/dnstap")
            .arg("-q")
            .arg("-r")
            .arg(&file),
    );
    let lines = String::from_utf8_lossy(&text).lines().count();
    assert_eq!(lines, expected.len());
    let dump = Command::new("/usr/bin/fstrm_dump").arg(&file).output();
    let dump = dump.expect("installed");
    assert!(dump.status.success(), "fstrm_dump: {}", dump.status);
    let dumped = String::from_utf8([dump.stdout, dump.stderr].concat()).expect("text");
    let data = dumped
        .lines()
        .filter(|line| line.starts_with("Data frame"))
        .count();
    assert_eq!(data, expected.len());
}

#[test]
#[ignore = "needs real dnstap tools: tests/interop/install.sh"]
fn a_compressed_file_is_read_by_zstd() {
    let dir = TempDir::new().expect("a directory");
    let file = written(dir.path(), "compress zstd");
    let plain = unused(dir.path(), "plain.fstrm");
    output(
        Command::new("zstd")
            .args(["-q", "-d"])
            .arg(&file)
            .arg("-o")
            .arg(&plain),
    );
    assert!(whole_file(&plain) == RECORDINGS.map(recorded).concat());
}
