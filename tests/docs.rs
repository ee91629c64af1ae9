//! Checks the claims of the documents about the program: configurations, links, commands, flags and metrics. The tests
//! in `tests/house` compare the documents with the sources.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

#[path = "house/markdown.rs"]
mod markdown;

use markdown::{code_spans, prose};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

struct Document {
    /// The path of the document, relative to the root of the repository.
    path: PathBuf,
    text: String,
}

/// A fenced block.
struct Block<'a> {
    language: &'a str,
    text: String,
    line: usize,
}

fn documents() -> Vec<Document> {
    let root = Path::new(ROOT);
    let mut paths: Vec<PathBuf> = [root.to_owned(), root.join("docs")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("a folder of the repository"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| Document {
        text: fs::read_to_string(&path).expect("a text"),
        path: path.strip_prefix(root).expect("below the root").to_owned(),
    };
    paths.into_iter().map(read).collect()
}

fn document(path: &str) -> Document {
    documents()
        .into_iter()
        .find(|document| document.path == Path::new(path))
        .expect("a document")
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut open = false;
    for (line, number) in text.lines().zip(1..) {
        match (line.trim_start().strip_prefix("```"), open) {
            (Some(language), false) => {
                blocks.push(Block {
                    language,
                    text: String::new(),
                    line: number,
                });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => {
                let block = blocks.last_mut().expect("an open block");
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(!open, "a fence is not closed");
    blocks
}

#[test]
fn every_tapfile_parses_without_a_warning() {
    for path in ["README.md", "docs/guide.md"] {
        let document = document(path);
        let mut seen = 0;
        for block in blocks(&document.text) {
            if block.language != "tapfile" {
                continue;
            }
            seen += 1;
            // A snippet may contain only listeners or only sinks. In that case the test adds the missing kind.
            let mut text = block.text.clone();
            let has = |word: &str| block.text.lines().any(|line| line.starts_with(word));
            if !has("listen ") && !has("connect ") {
                text.push_str("\nlisten @docs\n");
            }
            if !text.contains("dnstap ") {
                text.push_str("\ndnstap @docs-collector\n");
            }
            let loaded = tapfan::config::parse(Path::new(path), &text, &|_| None);
            let diagnostics = loaded.diagnostics.render(false);
            assert!(
                loaded.config.is_some() && diagnostics.is_empty(),
                "{path}:{}: {diagnostics}",
                block.line
            );
        }
        assert!(seen > 0, "{path} shows a Tapfile");
    }
}

/// Returns the anchor that GitHub makes from a heading.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|heading| anchor(heading.trim_start_matches('#')))
        .collect()
}

#[test]
fn every_link_resolves() {
    let documents = documents();
    let mut checked = 0;
    for document in &documents {
        let prose = prose(&document.text);
        let targets = prose
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets {
            if target.starts_with("https://") {
                continue;
            }
            checked += 1;
            let from = document.path.display();
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                Path::new(ROOT).join(&document.path)
            } else {
                let folder = document.path.parent().expect("a folder");
                Path::new(ROOT).join(folder).join(file)
            };
            assert!(path.exists(), "{from}: {target} does not exist");
            if !fragment.is_empty() {
                let text = fs::read_to_string(&path).expect("a text");
                assert!(
                    anchors(&text).contains(fragment),
                    "{from}: {target} is no heading"
                );
            }
        }
    }
    assert!(checked > 20, "{checked} links");
}

fn sources(folders: &[&str]) -> String {
    fn read(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                read(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(&path).expect("a text"));
            }
        }
    }
    let mut text = String::new();
    for folder in folders {
        read(&Path::new(ROOT).join(folder), &mut text);
    }
    text
}

/// Returns the text of the program's help, and the names of its commands.
fn help() -> (String, BTreeSet<String>) {
    let help = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tapfan"))
            .args(arguments)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let mut text = help(&["--help"]);
    let commands = commands_of(&text);
    for command in commands.iter().filter(|command| *command != "help") {
        let of_command = help(&[command, "--help"]);
        for inner in commands_of(&of_command).iter().filter(|it| *it != "help") {
            text.push_str(&help(&[command, inner, "--help"]));
        }
        text.push_str(&of_command);
    }
    (text, commands)
}

/// Returns the names of the commands that a help lists.
fn commands_of(help: &str) -> BTreeSet<String> {
    let (_, list) = help.split_once("Commands:\n").unwrap_or_default();
    list.lines()
        .take_while(|line| !line.is_empty())
        // A long description continues on lines with deeper indentation.
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_flag_and_metric_exists() {
    let (help, commands) = help();
    let sources = sources(&["src"]);
    for document in documents() {
        let from = document.path.display();
        let blocks = blocks(&document.text);
        let shell = blocks
            .iter()
            .filter(|block| block.language == "sh")
            .flat_map(|block| block.text.lines());
        let prose = prose(&document.text);
        for line in shell.chain(code_spans(&prose)) {
            // `tapfan is running` is a log line, not a command.
            if sources.contains(&format!("\"{line}\"")) {
                continue;
            }
            let mut words = line.split_whitespace();
            if words.next() == Some("tapfan") {
                if let Some(command) = words.next().filter(|word| !word.starts_with('-')) {
                    assert!(commands.contains(command), "{from}: tapfan {command}");
                }
                for flag in words.filter(|word| word.starts_with("--")) {
                    assert!(help.contains(flag), "{from}: {line}: {flag}");
                }
            } else if line.starts_with("--") {
                let flag = line.split([' ', '=']).next().expect("a flag");
                let is_cargos = flag == "--no-default-features";
                assert!(is_cargos || help.contains(flag), "{from}: {flag}");
            }
            for word in line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
                if word.starts_with("tapfan_") {
                    // The encoder of the metrics adds these suffixes to their names.
                    let suffixes = ["_total", "_info"].into_iter();
                    let name = suffixes.fold(word, |name, suffix| name.trim_end_matches(suffix));
                    assert!(sources.contains(name), "{from}: there is no {word}");
                }
            }
        }
    }
}

/// A process that is killed when its test ends.
struct Running(Child);

impl Running {
    /// Sends SIGINT and waits until the process has ended.
    fn end(&mut self) -> bool {
        let pid = i32::try_from(self.0.id()).expect("a process");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
        self.0.wait().expect("waited").success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process has exited already, unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_first_steps_of_the_readme_show_frames() {
    let readme = document("README.md");
    let (_, start) = readme.text.split_once("\n## Start\n").expect("a section");
    let (start, _) = start.split_once("\n## ").expect("a section after it");
    let blocks = blocks(start);
    let tapfile = blocks.iter().find(|block| block.language == "tapfile");
    let tapfile = &tapfile.expect("a Tapfile").text;
    assert!(tapfile.contains("127.0.0.1:9180"), "{tapfile}");
    let commands = blocks.iter().rfind(|block| block.language == "sh");
    let commands: Vec<&str> = commands.expect("commands").text.lines().collect();
    let [run, dump, replay] = commands[..] else {
        panic!("three commands: {commands:?}");
    };

    let folder = tempfile::tempdir().expect("a folder");
    // The test changes only the port in the documented Tapfile, because another router may run on this machine.
    let tapfile = tapfile.replace("127.0.0.1:9180", "127.0.0.1:0");
    fs::write(folder.path().join("Tapfile"), tapfile).expect("the folder is ours");
    symlink(Path::new(ROOT).join("tests"), folder.path().join("tests"))
        .expect("the folder is ours");
    let start = |line: &str| {
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("tapfan"), "{line}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tapfan"));
        command
            .args(words)
            .current_dir(&folder)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command
    };
    let mut router = Running(start(run).spawn().expect("built"));
    let mut dump = Running(start(dump).spawn().expect("built"));
    while !folder.path().join("dnstap.sock").exists() {
        assert!(router.0.try_wait().expect("our child").is_none(), "it runs");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(start(replay).status().expect("built").success(), "{replay}");
    let mut lines = BufReader::new(dump.0.stdout.take().expect("piped")).lines();
    let line = lines.next().expect("a frame").expect("text");
    assert!(line.contains(" UDP ") || line.contains(" TCP "), "{line}");
    assert!(router.end(), "the router drains");
}

#[test]
fn init_writes_a_valid_tapfile() {
    let folder = tempfile::tempdir().expect("a folder");
    let tapfan = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_tapfan"))
            .args(arguments)
            .current_dir(&folder)
            .output()
            .expect("it runs")
    };
    // The Tapfile is written to standard output, because in that case the command creates no folder for sockets.
    let written = tapfan(&["init", "-o", "-"]);
    assert!(written.status.success(), "{written:?}");
    let text = String::from_utf8(written.stdout).expect("text");
    let loaded = tapfan::config::parse(Path::new("Tapfile"), &text, &|_| None);
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
    fs::write(folder.path().join("Tapfile"), "# mine").expect("the folder is ours");
    let refused = tapfan(&["init"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let recipe = tapfan(&["init", "--for", "knot"]);
    let recipe = String::from_utf8(recipe.stdout).expect("text");
    assert!(
        recipe.contains("mod-dnstap:") && recipe.contains("listen unix://"),
        "{recipe}"
    );
}
