//! The outputs of `-w` and their formats. A format option applies to the last `-w` before it. A format option before
//! the first `-w` applies to the first `-w`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, ValueHint};

/// The format of a file or of standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One line for each frame.
    Quiet,
    Yaml,
    Json,
    /// A JSON object with a field for each fact.
    Flat,
    /// A query and its response in one line.
    Pair,
    /// Frame Streams.
    Binary,
    /// Packets.
    Pcap,
}

/// A file to write; `-` is standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) path: PathBuf,
    pub(super) format: Format,
}

/// The outputs of `-w` with their formats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    /// The outputs, in the order of the options.
    pub(super) files: Vec<Written>,
    /// True if there is no `-w`, but the format of standard output was given.
    pub(super) is_stdout_asked_for: bool,
    /// True if an output was given two different formats.
    pub(super) is_ambiguous: bool,
}

/// A command line option that chooses a format.
struct Flag {
    name: &'static str,
    short: Option<char>,
    format: Format,
    help: &'static str,
}

const FLAGS: [Flag; 7] = [
    Flag {
        name: "quiet",
        short: Some('q'),
        format: Format::Quiet,
        help: "Writes one line for each frame; the default on standard output",
    },
    Flag {
        name: "yaml",
        short: Some('y'),
        format: Format::Yaml,
        help: "Writes YAML, with the DNS messages as text",
    },
    Flag {
        name: "json",
        short: Some('j'),
        format: Format::Json,
        help: "Writes JSON, one object a line, with the DNS messages as text",
    },
    Flag {
        name: "flat",
        short: None,
        format: Format::Flat,
        help: "Writes JSON, one object a line, with a field for each fact",
    },
    Flag {
        name: "fstrm",
        short: None,
        format: Format::Binary,
        help: "Writes Frame Streams; the default in a file",
    },
    Flag {
        name: "pair",
        short: None,
        format: Format::Pair,
        help: "Writes a query and its response in one line, with the time between them",
    },
    Flag {
        name: "pcap",
        short: None,
        format: Format::Pcap,
        help: "Writes packets for tcpdump and Wireshark; their IP, UDP and TCP headers are made up",
    },
];

// === impl Chosen ===

impl Chosen {
    fn read(matches: &ArgMatches) -> Self {
        let paths = matches.get_many::<PathBuf>("write").into_iter().flatten();
        let places = matches.indices_of("write").into_iter().flatten();
        let paths: Vec<(usize, &PathBuf)> = places.zip(paths).collect();
        let mut formats: Vec<Option<Format>> = vec![None; paths.len().max(1)];
        let given = FLAGS.iter().flat_map(|flag| {
            let places = matches.indices_of(flag.name).into_iter().flatten();
            places.map(|place| (place, flag.format))
        });
        let mut given: Vec<(usize, Format)> = given.collect();
        given.sort_unstable_by_key(|(place, _)| *place);
        let mut is_ambiguous = false;
        for (place, format) in &given {
            let before = paths.iter().filter(|(path, _)| path < place).count();
            let of = formats.get_mut(before.saturating_sub(1));
            let old = of.and_then(|of| of.replace(*format));
            is_ambiguous |= old.is_some_and(|old| old != *format);
        }
        if paths.is_empty() {
            return Self {
                files: vec![Written::new("-".into(), formats.first().copied().flatten())],
                is_stdout_asked_for: !given.is_empty(),
                is_ambiguous,
            };
        }
        let files = paths.into_iter().zip(formats);
        Self {
            files: files
                .map(|((_, path), format)| Written::new(path.clone(), format))
                .collect(),
            is_stdout_asked_for: true,
            is_ambiguous,
        }
    }
}

impl FromArgMatches for Chosen {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self::read(matches))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::read(matches);
        Ok(())
    }
}

impl Args for Chosen {
    fn augment_args(command: Command) -> Command {
        let write = Arg::new("write")
            .short('w')
            .long("write")
            .value_name("FILE")
            .value_hint(ValueHint::FilePath)
            .value_parser(clap::value_parser!(PathBuf))
            .action(ArgAction::Append)
            .help("Writes to a file, `-` is standard output; can be repeated, each with its format after it");
        FLAGS.iter().fold(command.arg(write), |command, flag| {
            let arg = Arg::new(flag.name)
                .long(flag.name)
                .short(flag.short)
                .num_args(0)
                .default_missing_value("true")
                .action(ArgAction::Append)
                .help(flag.help);
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

// === impl Written ===

impl Written {
    fn new(path: PathBuf, format: Option<Format>) -> Self {
        let default = if path.as_os_str() == "-" {
            Format::Quiet
        } else {
            Format::Binary
        };
        Self {
            path,
            format: format.unwrap_or(default),
        }
    }

    /// Returns the name of the file for messages.
    pub(super) fn name(&self) -> String {
        if self.is_stdout() {
            "standard output".to_owned()
        } else {
            self.path.display().to_string()
        }
    }

    pub(super) fn is_stdout(&self) -> bool {
        self.path.as_os_str() == "-"
    }
}

// === impl Format ===

impl Format {
    /// Returns whether a file of this format can be continued by another run.
    pub(super) fn is_text(self) -> bool {
        !matches!(self, Self::Binary | Self::Pcap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(line: &str) -> Chosen {
        let command = Chosen::augment_args(Command::new("dump"));
        let words = ["dump"].into_iter().chain(line.split_whitespace());
        let matches = command.try_get_matches_from(words).expect("known options");
        Chosen::from_arg_matches(&matches).expect("valid")
    }

    #[test]
    fn a_format_belongs_to_the_output_before_it() {
        use Format::{Binary, Flat, Json, Quiet, Yaml};
        for (line, expected) in [
            ("", vec![("-", Quiet)]),
            ("-y", vec![("-", Yaml)]),
            ("-w -", vec![("-", Quiet)]),
            ("-w a", vec![("a", Binary)]),
            ("-q -w a", vec![("a", Quiet)]),
            ("-w a -q", vec![("a", Quiet)]),
            (
                "-w a -q -w b -j -w c",
                vec![("a", Quiet), ("b", Json), ("c", Binary)],
            ),
            ("-w a -w b --flat", vec![("a", Binary), ("b", Flat)]),
            ("-w - --fstrm -w a -qq", vec![("-", Binary), ("a", Quiet)]),
        ] {
            let expected = expected.into_iter().map(|(path, format)| Written {
                path: path.into(),
                format,
            });
            let chosen = chosen(line);
            assert_eq!(chosen.files, expected.collect::<Vec<_>>(), "{line}");
            assert!(!chosen.is_ambiguous, "{line}");
        }
        assert!(chosen("-w a -q -j").is_ambiguous);
        assert!(chosen("-y -w a -q").is_ambiguous);
    }
}
