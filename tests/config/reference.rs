//! The examples in docs/configuration.md parse or fail as documented.

use std::fs;

use super::parse;

/// Returns the fenced blocks of one language, each with the number of its first line.
fn examples(language: &str) -> Vec<(usize, String)> {
    let text = fs::read_to_string("docs/configuration.md").expect("the reference");
    let mut examples = Vec::new();
    let mut open: Option<(bool, usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(found), None) => open = Some((found == language, number + 2, String::new())),
            (Some(_), Some(_)) => {
                let (wanted, start, text) = open.take().expect("an open block");
                if wanted {
                    examples.push((start, text));
                }
            }
            (None, Some((_, _, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is never closed");
    examples
}

/// Adds a `listen` and a `dnstap` directive to an example that does not have them.
fn completed(example: &str) -> String {
    let has = |directive: &str| {
        let mut lines = example.lines();
        lines.any(|line| line.starts_with(directive) || line.starts_with("import"))
    };
    let listen = if has("listen ") {
        ""
    } else {
        "listen @docs-in\n"
    };
    let dnstap = if has("dnstap ") {
        ""
    } else {
        "dnstap @docs-out\n"
    };
    format!("{example}{listen}{dnstap}")
}

#[test]
fn every_example_is_valid() {
    let examples = examples("tapfile");
    assert!(examples.len() >= 10, "only {}", examples.len());
    for (line, example) in examples {
        let loaded = parse(&completed(&example));
        let rendered = loaded.diagnostics.render(false);
        assert!(loaded.config.is_some(), "line {line}:\n{rendered}");
    }
}

#[test]
fn every_example_of_an_error_fails() {
    let examples = examples("tapfile-error");
    assert!(examples.len() >= 2, "only {}", examples.len());
    for (line, example) in examples {
        let loaded = parse(&completed(&example));
        assert!(loaded.config.is_none(), "line {line}:\n{example}");
    }
}

#[test]
fn every_directive_and_option_is_in_the_reference() {
    let text = fs::read_to_string("docs/configuration.md").expect("the reference");
    let proposed = |example: &str| {
        let rendered = parse(example).diagnostics.render(false);
        let (_, list) = rendered
            .split_once(" are ")
            .expect("a list of what there is");
        let words: Vec<String> = list
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        assert!(!words.is_empty(), "{rendered}");
        words
    };
    for word in [
        proposed("zzzzzz"),
        proposed("listen @in { zzzzzz }"),
        proposed("dnstap @out { zzzzzz }"),
        proposed("resolver { zzzzzz }"),
        proposed("admin 127.0.0.1:9180 { zzzzzz }"),
        proposed("probes 127.0.0.1:9181 { zzzzzz }"),
    ]
    .concat()
    {
        let mut usage = text.lines().filter(|line| line.starts_with("    "));
        assert!(
            usage.any(|line| line.split_whitespace().next() == Some(&word)),
            "the usage of `{word}` is missing"
        );
    }
}
