//! Tests of `tapfan spool` with folders that the storage engine wrote, and with damaged copies of them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, SystemTime},
};

use tapfan::{
    capture::FileReader,
    internals::spool::{Entry, Folder, Now, Spool, WhenFull},
};
use tempfile::TempDir;

use crate::frames::{Frame, entry, frame, settings, within};

/// The length of a record: a header of 32 bytes, one byte of context, and frames of 7 and 13 bytes with their lengths.
const RECORD: usize = 61;

/// Folders with spools, in a temporary folder.
struct Spools {
    root: TempDir,
}

// === impl Spools ===

impl Spools {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().expect("a folder"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Opens the spool of a sink that has the same name as the folder.
    fn open(&self, name: &str) -> Spool<Folder> {
        let mut settings = settings(within(), WhenFull::Newest);
        name.clone_into(&mut settings.owner);
        let path = self.path(name);
        fs::create_dir_all(&path).expect("created");
        Spool::open(Folder::new(path), settings).expect("opens").0
    }

    /// Writes 24 frames to a spool, two in each record. The first three are confirmed. Returns all of them.
    fn write(&self, name: &str) -> Vec<Frame> {
        let mut spool = self.open(name);
        let mut all = Vec::new();
        for number in (0..24).step_by(2) {
            let frames = [frame(number, 3), frame(number + 1, 9)];
            let entry = Entry {
                received: SystemTime::now() - Duration::from_secs(3700),
                ..entry(&frames, b"x")
            };
            spool.append(&entry, Now::read()).expect("room");
            all.extend(frames);
        }
        spool.confirm(3, Now::read()).expect("written");
        spool.close(Now::read()).expect("written");
        all
    }

    fn segments(&self, name: &str) -> Vec<PathBuf> {
        let listed = self.path(name).read_dir().expect("readable");
        let mut found: Vec<PathBuf> = listed.map(|it| it.expect("readable").path()).collect();
        found.retain(|path| path.extension().is_some_and(|it| it == "seg"));
        found.sort();
        found
    }

    /// Runs `tapfan spool`. Returns the exit status, stdout and stderr, with `/s` instead of the temporary folder.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let root = self.root.path().to_str().expect("text");
        let arguments = arguments.iter().map(|it| match it.strip_prefix("/s") {
            Some(rest) => format!("{root}{rest}"),
            None => (*it).to_owned(),
        });
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(env!("CARGO_BIN_EXE_tapfan"))
            .arg("spool")
            .args(arguments)
            .output()
            .expect("runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(root, "/s");
        (status.code(), text(stdout), text(stderr))
    }

    /// Returns the content of all files.
    fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        for folder in self.root.path().read_dir().expect("readable") {
            for file in folder
                .expect("readable")
                .path()
                .read_dir()
                .expect("readable")
            {
                let path = file.expect("readable").path();
                let content = fs::read(&path).expect("readable");
                all.insert(path, content);
            }
        }
        all
    }
}

fn flip(path: &Path, at: usize) {
    let mut content = fs::read(path).expect("readable");
    content[at] ^= 1;
    fs::write(path, content).expect("written");
}

fn capture(path: &Path) -> Vec<Frame> {
    let file = fs::File::open(path).expect("a file");
    let frames = FileReader::new(file).expect("a capture");
    frames
        .map(|frame| frame.expect("a frame").to_vec())
        .collect()
}

#[test]
fn without_a_folder_list_and_check_take_the_spools_of_the_tapfile() {
    let spools = Spools::new();
    spools.write("siem");
    spools.write("archive");
    let folder = tempfile::tempdir().expect("a folder");
    let run = |command: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_tapfan"))
            .args(["spool", command])
            .current_dir(folder.path())
            .output()
            .expect("runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let tapfile = |spool: &str| {
        let text = format!(
            "listen @in\ndnstap tls://s.example:1 full {{\n cert /no/such\n key /no/such\n name siem\n {spool}\n}}\n"
        );
        fs::write(folder.path().join("Tapfile"), text).expect("written");
    };
    tapfile(&format!("spool {} 1GiB", spools.path("siem").display()));
    for command in ["list", "check"] {
        let (status, stdout, stderr) = run(command);
        assert_eq!(status, Some(0), "{stderr}");
        assert!(stdout.contains("siem"), "{stdout}");
        assert!(!stdout.contains("archive"), "{stdout}");
    }
    for (text, said) in [
        ("", "no sink of ./Tapfile has a spool yet"),
        ("x", "has errors"),
    ] {
        tapfile(text);
        let (status, _, stderr) = run("list");
        assert_eq!(status, Some(2), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
        assert!(
            stderr.contains("name their folder, as in `/var/lib/tapfan`"),
            "{stderr}"
        );
    }
}

#[test]
fn list_shows_every_spool_and_changes_nothing() {
    let spools = Spools::new();
    spools.write("siem");
    spools.write("archive");
    fs::create_dir(spools.path("other")).expect("created");
    let running = spools.open("archive");
    let before = spools.content();
    let (status, stdout, stderr) = spools.run(&["list", "/s"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = stdout.lines().collect();
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let segments = spools.segments("siem").len();
    assert_eq!(
        words(lines[0]),
        ["SPOOL", "SINK", "ROUTER", "FRAMES", "BYTES", "OLDEST"]
    );
    assert_eq!(
        words(lines[1])[..4],
        ["/s/archive", "archive", "running", "21"]
    );
    assert_eq!(words(lines[3])[..4], ["/s/siem", "siem", "none", "21"]);
    assert_eq!(words(lines[3])[5], "1h1m");
    assert_eq!(
        lines[4],
        format!("  {segments} segments; 21 frames (3 to 23) to send")
    );
    assert_eq!(lines.len(), 5);
    drop(running);
    let (_, stdout, _) = spools.run(&["list", "--json", "/s/siem"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(1));
    let bytes: u64 = spools
        .segments("siem")
        .iter()
        .map(|it| it.metadata().expect("a file").len())
        .sum();
    assert_eq!(json[0]["sink"], "siem");
    assert_eq!(json[0]["in_use"], false);
    assert_eq!(
        (&json[0]["frames"], &json[0]["first"], &json[0]["last"]),
        (&21.into(), &3.into(), &23.into())
    );
    assert_eq!(
        (&json[0]["bytes"], &json[0]["segments"]),
        (&bytes.into(), &segments.into())
    );
    assert_eq!(
        (&json[0]["checkpoint"], &json[0]["error"]),
        (&"valid".into(), &serde_json::Value::Null)
    );
    assert!(
        json[0]["oldest_seconds"]
            .as_f64()
            .is_some_and(|age| (3700.0..3900.0).contains(&age))
    );
    assert_eq!(spools.content(), before);
}

#[test]
fn a_folder_without_a_spool_is_an_error_that_names_the_spools_below_it() {
    let spools = Spools::new();
    let none = "tapfan: there is no spool in /s or in its subfolders\n";
    assert_eq!(
        spools.run(&["list", "/s"]),
        (Some(1), String::new(), none.to_owned())
    );
    assert_eq!(
        spools.run(&["check", "/s"]),
        (Some(1), String::new(), none.to_owned())
    );
    let (status, _, stderr) = spools.run(&["list", "/s/nothing"]);
    assert!(
        status == Some(1) && stderr.starts_with("tapfan: cannot read /s/nothing: "),
        "{stderr}"
    );
    spools.write("siem");
    let (status, _, stderr) = spools.run(&["cat", "/s"]);
    let below = "tapfan: there is no spool in /s; its subfolders have some: /s/siem\n";
    assert_eq!((status, stderr.as_str()), (Some(1), below));
}

#[test]
fn check_names_each_damage_with_its_file_and_byte_and_changes_nothing() {
    let spools = Spools::new();
    spools.write("siem");
    let (status, stdout, _) = spools.run(&["check", "/s"]);
    let sound = "/s/siem: no damage; the sink siem has 21 frames (3 to 23) to send\n";
    assert_eq!((status, stdout.as_str()), (Some(0), sound));
    let segments = spools.segments("siem");
    let name = |index: usize| {
        segments[index]
            .file_name()
            .expect("a name")
            .to_str()
            .expect("text")
    };
    let first: u64 = name(1).trim_end_matches(".seg").parse().expect("a number");
    flip(&segments[1], 64 + 40);
    let newest = &segments[segments.len() - 1];
    let mut content = fs::read(newest).expect("readable");
    content.pop();
    fs::write(newest, &content).expect("written");
    flip(&spools.path("siem/checkpoint"), 30);
    let before = spools.content();
    let (status, stdout, stderr) = spools.run(&["check", "/s/siem"]);
    assert_eq!((status, stderr.as_str()), (Some(1), ""));
    // The newest checkpoint is in the other slot.
    let expected = format!(
        "/s/siem: damaged; the sink siem has 21 frames (3 to 23) to send, of which 4 are lost\n  \
         checkpoint, byte 0: one of the two slots for the checkpoint is damaged\n      \
         at its start, the router uses the other slot, so some confirmed frames may be sent again; no frame is lost\n  \
         {}, byte 64: a record of {RECORD} bytes is damaged\n      \
         the sink skips this record; 2 frames ({first} to {}) count as `spool_corrupt`\n  \
         {}, byte {}: the last {} bytes are incomplete, as an interrupted write leaves them\n      \
         at its start, the router cuts these bytes off; 2 frames (22 to 23) count as `spool_corrupt`\n",
        name(1),
        first + 1,
        name(segments.len() - 1),
        content.len() + 1 - RECORD,
        RECORD - 1,
    );
    assert_eq!(stdout, expected);
    assert_eq!(spools.content(), before);
}

#[test]
fn cat_writes_the_unconfirmed_frames_as_a_capture() {
    let spools = Spools::new();
    let all = spools.write("siem");
    let before = spools.content();
    let out = spools.path("out.fstrm");
    let (status, stdout, stderr) = spools.run(&["cat", "/s/siem", "-w", "/s/out.fstrm"]);
    assert_eq!(
        (status, stdout.as_str(), stderr.as_str()),
        (Some(0), "", "tapfan: wrote 21 frames\n")
    );
    assert_eq!(capture(&out), all[3..]);
    let piped = Command::new(env!("CARGO_BIN_EXE_tapfan"))
        .args(["spool", "cat"])
        .arg(spools.path("siem"))
        .output()
        .expect("runs");
    assert_eq!(piped.stdout, fs::read(&out).expect("readable"));
    fs::remove_file(&out).expect("removed");
    assert_eq!(spools.content(), before);

    // Two damaged records in a row make the rest of the segment unreadable. The next reader of the spool moves this
    // rest to another file.
    let segments = spools.segments("siem");
    let first: usize = segments[1]
        .file_stem()
        .and_then(|it| it.to_str()?.parse().ok())
        .expect("a number");
    let end: usize = segments[2]
        .file_stem()
        .and_then(|it| it.to_str()?.parse().ok())
        .expect("a number");
    flip(&segments[1], 64 + 40);
    flip(&segments[1], 64 + 40 + RECORD);
    let (status, _, stderr) = spools.run(&["cat", "/s/siem", "-w", "/s/out.fstrm"]);
    let left = 21 - (end - first);
    let expected = format!(
        "tapfan: wrote {left} frames; {} frames cannot be read: `tapfan spool check /s/siem` says why\n",
        end - first
    );
    assert_eq!((status, stderr), (Some(1), expected));
    let mut spool = spools.open("siem");
    while spool
        .read(1000, Now::read())
        .expect("no read fails")
        .is_some()
    {}
    drop(spool);
    let (status, _, stderr) = spools.run(&["cat", "--all", "/s/siem", "-w", "/s/out.fstrm"]);
    let rescued = end - first - 4;
    assert!(rescued > 0);
    assert!(
        stderr.starts_with(&format!(
            "tapfan: wrote {} frames, and {rescued} from .bad files",
            all.len() - (end - first)
        )),
        "{stderr}"
    );
    assert_eq!(status, Some(1));
    let expected = [&all[..first], &all[end..], &all[first + 4..end]].concat();
    assert_eq!(capture(&out), expected);
}

#[test]
fn drop_deletes_only_with_yes_and_never_a_spool_in_use() {
    let spools = Spools::new();
    spools.write("siem");
    fs::write(spools.path("siem/note"), "not of the spool").expect("written");
    let before = spools.content();
    let (status, stdout, stderr) = spools.run(&["drop", "/s/siem"]);
    let expected = "tapfan: nothing is deleted without --yes; 21 frames (3 to 23) of the sink siem, the oldest 1h1m old, \
                    would be lost\n";
    assert_eq!(
        (status, stdout.as_str(), stderr.as_str()),
        (Some(2), "", expected)
    );
    let running = spools.open("siem");
    let used = spools.content();
    for arguments in [&["drop", "/s/siem"][..], &["drop", "--yes", "/s/siem"]] {
        let (status, _, stderr) = spools.run(arguments);
        let expected = "tapfan: a router uses the spool in /s/siem; stop the router, or remove the sink siem from its \
                        Tapfile and reload\n";
        assert_eq!((status, stderr.as_str()), (Some(1), expected));
    }
    assert_eq!(spools.content(), used);
    assert!(before.len() <= used.len());
    drop(running);
    let (status, stdout, stderr) = spools.run(&["drop", "--yes", "/s/siem"]);
    let expected = "deleted the spool in /s/siem; 21 frames (3 to 23) of the sink siem, the oldest 1h1m old, are lost\n";
    assert_eq!(
        (status, stdout.as_str(), stderr.as_str()),
        (Some(0), expected, "")
    );
    let left: Vec<PathBuf> = spools.content().into_keys().collect();
    assert_eq!(left, [spools.path("siem/note")]);
    // The router refuses a folder with files of other programs, so the test removes the note.
    fs::remove_file(spools.path("siem/note")).expect("removed");
    assert_eq!(spools.open("siem").status().next, 0);
}
