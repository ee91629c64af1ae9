//! Examples of each command, for its `--help` and its manual page.

use std::fmt::Write as _;

/// A command line, and its effect in one line.
pub(super) struct Example {
    pub(super) line: &'static str,
    pub(super) effect: &'static str,
}

const fn example(line: &'static str, effect: &'static str) -> Example {
    Example { line, effect }
}

/// Returns the examples of a command. A command without arguments has none.
pub(super) fn of(command: &str) -> &'static [Example] {
    match command {
        "run" => RUN,
        "check" => CHECK,
        "init" => INIT,
        "demo" => DEMO,
        "dump" => DUMP,
        "replay" => REPLAY,
        "status" => STATUS,
        "top" => TOP,
        "spool" => SPOOL,
        "spool list" => SPOOL_LIST,
        "spool check" => SPOOL_CHECK,
        "spool cat" => SPOOL_CAT,
        "spool drop" => SPOOL_DROP,
        "completions" => COMPLETIONS,
        "man" => MAN,
        _ => &[],
    }
}

/// Returns the text below the options in the help of a command.
pub(super) fn help(command: &str) -> String {
    let mut text = "Examples:".to_owned();
    for Example { line, effect } in of(command) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {line}\n      {effect}");
    }
    text
}

const RUN: &[Example] = &[
    example(
        "tapfan run",
        "Runs the router with ./Tapfile, or else with /etc/tapfan/Tapfile",
    ),
    example(
        "tapfan run /etc/tapfan/edge --log-format json",
        "Runs it with another Tapfile, and logs JSON",
    ),
];

const CHECK: &[Example] = &[
    example(
        "tapfan check",
        "Checks the Tapfile that `tapfan run` would read",
    ),
    example(
        "tapfan check --elsewhere --json edge.Tapfile",
        "Checks a Tapfile for another machine, and prints the result as JSON, for CI",
    ),
    example(
        "tapfan check Tapfile --sample capture.fstrm",
        "Also prints what `extra` would contain in the first frames of a capture",
    ),
];

const INIT: &[Example] = &[
    example(
        "tapfan init",
        "Writes ./Tapfile, and prints what to do next",
    ),
    example(
        "tapfan init -o - > /etc/tapfan/Tapfile",
        "Prints the Tapfile, and creates no folder for its sockets",
    ),
    example(
        "tapfan init --for unbound",
        "Prints the lines for Unbound and the lines for the Tapfile",
    ),
];

const DEMO: &[Example] = &[
    example("tapfan demo", "Runs the demo for 12 seconds"),
    example(
        "tapfan demo --seconds 60",
        "Runs it for a minute, in which a collector is down for 20 seconds",
    ),
    example(
        "tapfan demo --keep",
        "Continues until Ctrl-C, so that you can look at the page",
    ),
];

const DUMP: &[Example] = &[
    example(
        "tapfan dump capture.fstrm",
        "Prints the frames of a capture",
    ),
    example(
        "tapfan dump -u /run/tapfan/dump.sock --type client --rcode NXDOMAIN",
        "Prints the responses with NXDOMAIN that a DNS server sends to this socket",
    ),
    example(
        "tapfan dump -r capture.fstrm --stats",
        "Prints the counts of types, codes, names and clients",
    ),
    example(
        "tapfan dump -l 127.0.0.1:6000 -w taps.fstrm",
        "Writes the frames that arrive at a TCP address to a capture",
    ),
];

const REPLAY: &[Example] = &[
    example(
        "tapfan replay --to /run/tapfan/dnstap.sock capture.fstrm",
        "Sends a capture as fast as the listener reads it",
    ),
    example(
        "tapfan replay --to tcp://127.0.0.1:6000 --rate 1000 --loop 10 capture.fstrm",
        "Sends it ten times, with 1000 frames a second",
    ),
];

const STATUS: &[Example] = &[
    example(
        "tapfan status",
        "Prints the sinks of the router that uses ./Tapfile or /etc/tapfan/Tapfile",
    ),
    example(
        "tapfan status --wait up --timeout 30s",
        "Waits at most 30 seconds until all sinks are up",
    ),
    example(
        "tapfan status --json",
        "Prints the whole status as JSON, for other programs",
    ),
];

const TOP: &[Example] = &[
    example("tapfan top", "Shows the router on this machine"),
    example(
        "tapfan top --admin 192.0.2.7:9180",
        "Shows the router whose admin endpoint has this address",
    ),
];

const SPOOL: &[Example] = &[
    example(
        "tapfan spool list /var/lib/tapfan",
        "Lists the spools in the subfolders of this folder",
    ),
    example(
        "tapfan spool cat /var/lib/tapfan/siem -w siem.fstrm",
        "Writes a capture of the frames that the collector has not confirmed",
    ),
];

const SPOOL_LIST: &[Example] = &[
    example(
        "tapfan spool list",
        "Lists the spools of the sinks in ./Tapfile, or else in /etc/tapfan/Tapfile",
    ),
    example(
        "tapfan spool list /var/lib/tapfan",
        "Lists the spools in the subfolders of this folder",
    ),
    example(
        "tapfan spool list --json /var/lib/tapfan/siem",
        "Prints the state of one spool as JSON, for other programs",
    ),
];

const SPOOL_CHECK: &[Example] = &[example(
    "tapfan spool check /var/lib/tapfan",
    "Reads all spools in the subfolders of this folder, and reports damage",
)];

const SPOOL_CAT: &[Example] = &[
    example(
        "tapfan spool cat /var/lib/tapfan/siem -w siem.fstrm",
        "Writes a capture of the frames that the collector has not confirmed",
    ),
    example(
        "tapfan spool cat --all /var/lib/tapfan/siem > all.fstrm",
        "Also writes confirmed frames, and frames from damaged files",
    ),
];

const SPOOL_DROP: &[Example] = &[
    example(
        "tapfan spool drop /var/lib/tapfan/old",
        "Prints how many frames would be lost, and deletes nothing",
    ),
    example(
        "tapfan spool drop --yes /var/lib/tapfan/old",
        "Deletes the spool",
    ),
];

const COMPLETIONS: &[Example] = &[
    example(
        "tapfan completions bash > /etc/bash_completion.d/tapfan",
        "Installs the completions for all users of bash",
    ),
    example(
        "tapfan completions zsh > ~/.zfunc/_tapfan",
        "Installs them for zsh, if ~/.zfunc is in `fpath`",
    ),
    example(
        "tapfan completions fish > ~/.config/fish/completions/tapfan.fish",
        "Installs them for fish",
    ),
];

const MAN: &[Example] = &[example(
    "tapfan man ~/.local/share/man",
    "Installs the manual pages for this user",
)];

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::cli::Cli;

    /// Returns all commands and subcommands with their full names.
    fn commands() -> Vec<(String, clap::Command)> {
        let mut all = Vec::new();
        for command in Cli::command().get_subcommands() {
            all.push((command.get_name().to_owned(), command.clone()));
            for inner in command.get_subcommands() {
                let name = format!("{} {}", command.get_name(), inner.get_name());
                all.push((name, inner.clone()));
            }
        }
        all
    }

    #[test]
    fn every_example_is_a_command_line_of_this_program() {
        for (name, command) in &commands() {
            assert!(!of(name).is_empty(), "{name}");
            for Example { line, effect } in of(name) {
                let line = line.split(" > ").next().unwrap_or_default();
                assert!(line.starts_with(&format!("tapfan {name}")), "{line}");
                let parsed = Cli::try_parse_from(line.split(' '));
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                assert!(!effect.ends_with('.') && effect.len() <= 80, "{effect}");
            }
            let help = command.get_after_help().map(ToString::to_string);
            assert_eq!(help, Some(super::help(name)), "{name}");
        }
    }

    /// Splits a command line as a shell does, up to a pipe, a redirection, a comment or `&&`.
    fn words(line: &str) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let (mut quote, mut in_word) = (None, false);
        for c in line.chars() {
            match quote {
                Some(end) if c == end => quote = None,
                Some(_) => words.last_mut().expect("a word").push(c),
                None if c.is_whitespace() => in_word = false,
                None if !in_word && matches!(c, '|' | '>' | '#' | '&') => break,
                None => {
                    if !in_word {
                        words.push(String::new());
                        in_word = true;
                    }
                    match c {
                        '"' | '\'' => quote = Some(c),
                        _ => words.last_mut().expect("a word").push(c),
                    }
                }
            }
        }
        words
    }

    #[test]
    fn every_command_line_of_the_documents_is_one_of_this_program() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let documents = std::fs::read_dir(root.join("docs")).expect("documents");
        let documents = documents.map(|entry| entry.expect("an entry").path());
        let mut seen = 0;
        for path in documents.chain([root.join("README.md"), root.join("deploy/README.md")]) {
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("text");
            let shell = text.split("```sh\n").skip(1);
            let shell = shell.filter_map(|rest| rest.split("```").next());
            for line in shell.flat_map(str::lines).map(str::trim) {
                if !line.starts_with("tapfan ") {
                    continue;
                }
                seen += 1;
                if let Err(error) = Cli::try_parse_from(words(line)) {
                    let is_help = !error.use_stderr();
                    assert!(is_help, "{}: {line}: {error}", path.display());
                }
            }
        }
        assert!(seen > 20, "{seen}");
    }
}
