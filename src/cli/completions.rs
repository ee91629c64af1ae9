//! `tapfan completions SHELL`: prints the completions of this program.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _, ValueEnum};
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
    generate(shell, &mut Cli::command(), "tapfan", &mut script);
    script
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
}
