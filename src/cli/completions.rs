//! `tapfan completions SHELL`: prints the completions of this program.

use std::{fmt::Write as _, process::ExitCode};

use clap::{Args, Command, CommandFactory as _, ValueEnum, builder::PossibleValue};
use clap_complete::{Shell, generate};

use super::{Cli, FAILED, fail, print};

/// Arguments of `tapfan completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Known,
}

/// The shells for which completions can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(args: &CompletionsArgs) -> ExitCode {
    match print(&script(args.shell)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, format_args!("cannot write to stdout: {error}")),
    }
}

fn script(shell: Known) -> Vec<u8> {
    let mut script = Vec::new();
    let shell = match shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    let mut command = Cli::command();
    generate(shell, &mut command, "tapfan", &mut script);
    if shell == Shell::Fish {
        script.extend(words_for_fish(&command).into_bytes());
    }
    script
}

/// Returns the lines that `clap_complete` leaves out for fish. For a command with positional arguments, they list the
/// possible values. For a command without positional arguments, they turn off the completion of file names.
fn words_for_fish(command: &Command) -> String {
    let mut lines = String::new();
    for command in command.get_subcommands() {
        let is_group = command.has_subcommands();
        let mut positionals = command.get_positionals();
        let words = match positionals.next() {
            _ if is_group => continue,
            None => String::new(),
            Some(argument) => {
                let values = argument.get_possible_values();
                let names: Vec<_> = values.iter().map(PossibleValue::get_name).collect();
                if names.is_empty() {
                    continue;
                }
                format!(" -a \"{}\"", names.join(" "))
            }
        };
        let name = command.get_name();
        let _ = writeln!(
            lines,
            "complete -c tapfan -n \"__fish_tapfan_using_subcommand {name}\" -f{words}"
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_of_each_shell_knows_every_command() {
        for shell in Known::value_variants() {
            let text = String::from_utf8(script(*shell)).expect("text");
            let commands = Cli::command();
            for command in commands.get_subcommands() {
                let name = command.get_name();
                assert!(text.contains(name), "{shell:?}: {name}");
            }
            assert!(text.contains("log-level"), "{shell:?}");
        }
    }

    #[test]
    fn fish_knows_the_words_of_arguments_and_where_no_file_belongs() {
        let text = String::from_utf8(script(Known::Fish)).expect("text");
        let line = |rest: &str| format!("\"__fish_tapfan_using_subcommand {rest}\n");
        assert!(text.contains(&line("completions\" -f -a \"bash zsh fish\"")));
        assert!(text.contains(&line("status\" -f")));
        for takes_files in ["run", "check", "dump", "spool"] {
            assert!(
                !text.contains(&line(&format!("{takes_files}\" -f"))),
                "{takes_files}"
            );
        }
    }
}
