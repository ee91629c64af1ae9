//! Long options that are written with a single dash.
//!
//! golang-dnstap and other programs in Go have such options. Here, `-type` would be `-t ype`, and `-unix` would create a
//! socket with the name `nix`.

use std::{ffi::OsString, fmt};

use clap::CommandFactory as _;

use super::Cli;

/// A long option with a single dash.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// The name of the option.
    option: String,
}

/// Finds the first such option in the arguments of the program.
pub(super) fn find(arguments: impl IntoIterator<Item = OsString>) -> Option<Mistake> {
    let mut command = Cli::command();
    for argument in arguments {
        let word = argument.to_str().unwrap_or_default();
        if word == "--" {
            return None;
        }
        let name = word.strip_prefix('-').filter(|name| name.len() > 1);
        let Some(name) = name else {
            if let Some(sub) = command.find_subcommand(word) {
                command = sub.clone();
            }
            continue;
        };
        let name = name.split('=').next().unwrap_or(name);
        let mut longs = command.get_arguments().filter_map(clap::Arg::get_long);
        if longs.any(|long| long == name) {
            return Some(Mistake {
                option: name.to_owned(),
            });
        }
    }
    None
}

// === impl Mistake ===

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let option = &self.option;
        write!(f, "`-{option}` has one dash; write `--{option}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(words: &[&str]) -> Option<String> {
        let mistake = find(words.iter().map(OsString::from));
        mistake.map(|mistake| mistake.to_string())
    }

    #[test]
    fn a_long_option_with_one_dash_is_found() {
        let said = "`-type` has one dash; write `--type`";
        assert_eq!(
            found(&["dump", "x", "-type", "client"]).as_deref(),
            Some(said)
        );
        assert_eq!(found(&["dump", "-type=client", "x"]).as_deref(), Some(said));
        assert!(found(&["spool", "cat", "/s", "-write", "x"]).is_some());
        assert!(found(&["replay", "-to", "/s", "x"]).is_some());
    }

    #[test]
    fn short_options_and_values_are_no_mistakes() {
        for words in [
            &["dump", "-qf", "x"][..],
            &["dump", "-", "--type", "client", "-t5s"],
            &["dump", "--", "-type"],
            &["status", "-type"],
            &[],
        ] {
            assert_eq!(found(words), None, "{words:?}");
        }
    }
}
