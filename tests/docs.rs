//! Checks the claims of the documents: configurations, links, log lines, commands and flags.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

struct Document {
    /// Relative to the repository's root.
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

/// The text without fenced blocks.
fn prose(text: &str) -> String {
    let mut open = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            open = !open;
        } else if !open {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// The content of all code spans.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
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
            // A snippet may show one side only.
            let mut text = block.text.clone();
            if !text.contains("listen ") {
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

/// The anchor that GitHub makes of a heading.
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
    // A log line of a sink, or of one of its endpoints.
    let [of_sink, of_endpoint] =
        ["sink", "an endpoint"].map(|subject| text.replace("{subject}", subject));
    of_sink + &of_endpoint
}

#[test]
fn every_documented_log_line_is_written_somewhere() {
    let sources = sources(&["src"]);
    let log = document("docs/log.md").text;
    let (_, section) = log.split_once("\n## Log lines\n").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("a section after it");
    let rows = section.lines().filter(|line| {
        ["error", "warn", "info", "debug"]
            .iter()
            .any(|level| line.starts_with(&format!("| {level} |")))
    });
    let mut seen = 0;
    for row in rows {
        let line = code_spans(row).next().expect("a log line");
        assert!(
            sources.contains(&format!("\"{line}")),
            "no log line begins {line:?}"
        );
        let fields = row.split('|').nth(3).expect("a column of fields");
        for field in code_spans(fields) {
            assert!(sources.contains(field), "no field {field:?} of {line:?}");
        }
        seen += 1;
    }
    assert!(seen > 10, "{seen} log lines");
}

/// The texts of the events that `source` logs at `info` or above. A text is the last string in the
/// call of the macro.
fn events(source: &str) -> Vec<String> {
    let mut events = Vec::new();
    for macro_call in ["info!(", "warn!(", "error!("] {
        for (place, _) in source.match_indices(macro_call) {
            if source[..place].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
                continue;
            }
            let (mut depth, mut last, mut text) = (1, None, None::<String>);
            let mut rest = source[place + macro_call.len()..].chars();
            while let Some(next) = (depth > 0).then(|| rest.next()).flatten() {
                match (&mut text, next) {
                    (Some(_), '"') => last = text.take(),
                    (Some(text), '\\') => text.extend(rest.next()),
                    (Some(text), next) => text.push(next),
                    (None, '"') => text = Some(String::new()),
                    (None, '(') => depth += 1,
                    (None, ')') => depth -= 1,
                    (None, _) => {}
                }
            }
            events.extend(last);
        }
    }
    events
}

#[test]
fn every_log_line_from_info_on_is_documented() {
    let log = document("docs/log.md").text;
    let rows: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once(" | `"))
        .filter(|(level, _)| ["| error", "| warn", "| info"].contains(level))
        .filter_map(|(_, row)| row.split("` |").next())
        .collect();
    let mut sources = sources(&[
        "src/supervisor",
        "src/listener",
        "src/sink",
        "src/health",
        "src/admin",
    ]);
    // Not the whole folder: the tests of the log write their own lines.
    for file in ["src/cli/run.rs", "src/cli/tapfile.rs", "src/cli/watch.rs"] {
        sources.push_str(&fs::read_to_string(Path::new(ROOT).join(file)).expect("a text"));
    }
    let mut seen = 0;
    for event in events(&sources) {
        let has_row = rows.iter().any(|row| event.starts_with(row));
        assert!(has_row, "{event:?} is not in docs/log.md");
        seen += 1;
    }
    assert!(seen > 40, "{seen} log lines");
}

#[test]
fn every_reason_has_its_row_in_the_guide() {
    let guide = document("docs/guide.md").text;
    let drops = tapfan::router::DropReason::ALL.map(tapfan::router::DropReason::label);
    let errors = tapfan::listener::ErrorReason::ALL.map(tapfan::listener::ErrorReason::label);
    let ends = tapfan::health::Disconnect::LABELS;
    for reason in drops.into_iter().chain(errors).chain(ends) {
        assert!(guide.contains(&format!("\n| `{reason}` | ")), "{reason}");
    }
}

/// The program's help, and the names of its commands.
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
    let (_, list) = text.split_once("Commands:\n").expect("commands");
    let commands: BTreeSet<String> = list
        .lines()
        .take_while(|line| !line.is_empty())
        // A long description continues on lines with deeper indentation.
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    for command in commands.iter().filter(|command| *command != "help") {
        text.push_str(&help(&[command, "--help"]));
    }
    (text, commands)
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
                assert!(help.contains(flag), "{from}: {flag}");
            }
            for word in line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
                if word.starts_with("tapfan_") {
                    // The encoder adds these suffixes.
                    let suffixes = ["_total", "_info"].into_iter();
                    let name = suffixes.fold(word, |name, suffix| name.trim_end_matches(suffix));
                    assert!(sources.contains(name), "{from}: there is no {word}");
                }
            }
        }
    }
}

/// `module::…::test` and `tests/file.rs::test` in the tables of invariants; paths of files there and in the architecture.
#[test]
fn every_test_that_guards_an_invariant_exists() {
    let sources = sources(&["src", "tests"]);
    let invariants = document("docs/invariants.md").text;
    let architecture = document("docs/ARCHITECTURE.md").text;
    let (invariants, architecture) = (prose(&invariants), prose(&architecture));
    let mut seen = 0;
    for span in code_spans(&invariants) {
        let Some((path, name)) = span.rsplit_once("::") else {
            continue;
        };
        if path.contains("test") || path.ends_with('…') {
            seen += 1;
            let exists = if name == "tests" {
                let file = format!("src/{}.rs", path.replace("::", "/"));
                Path::new(ROOT).join(file).exists()
            } else {
                sources.contains(&format!("fn {name}("))
            };
            assert!(exists, "{span}");
        }
    }
    assert!(seen > 15, "{seen} tests");
    for span in code_spans(&invariants).chain(code_spans(&architecture)) {
        if span.starts_with("src/") || span.starts_with("tests/") {
            let file = span.split("::").next().expect("a path");
            assert!(Path::new(ROOT).join(file).exists(), "{span}");
        }
    }
}
