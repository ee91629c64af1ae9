//! `tapfan man DIR`: writes the manual pages, for packages.

mod command;
mod tapfile;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Command, CommandFactory as _, ValueHint};
use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::{Cli, FAILED, fail, version::COMMIT_DATE};

/// Arguments of `tapfan man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The folder, such as /usr/share/man; the pages go to its subfolders man1 and man5
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    folder: PathBuf,
}

/// A manual page.
struct Page {
    name: String,
    section: char,
    text: Vec<u8>,
}

pub(super) fn run(args: &ManArgs) -> ExitCode {
    match write(&args.folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let folder = args.folder.display();
            fail(
                FAILED,
                format_args!("cannot write the manual pages to {folder}: {error}"),
            )
        }
    }
}

fn write(folder: &Path) -> io::Result<()> {
    for page in pages()? {
        let folder = folder.join(format!("man{}", page.section));
        fs::create_dir_all(&folder)?;
        let name = format!("{}.{}", page.name, page.section);
        fs::write(folder.join(name), page.text)?;
    }
    Ok(())
}

/// Returns the pages of the program, of each command and subcommand, and of the Tapfile.
fn pages() -> io::Result<Vec<Page>> {
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    let commands: Vec<&Command> = cli.get_subcommands().collect();
    let names: Vec<String> = commands.iter().map(|it| command::page_name(it)).collect();
    let mut pages = vec![command::page(&cli, &names)?];
    for command in commands {
        pages.push(command::page(command, &names)?);
        for inner in command.get_subcommands() {
            pages.push(command::page(inner, &names)?);
        }
    }
    pages.push(tapfile::page()?);
    Ok(pages)
}

/// Returns the start of a page.
fn title(name: &str, section: &str) -> Roff {
    let mut roff = Roff::new();
    let source = concat!("tapfan ", env!("CARGO_PKG_VERSION"));
    let date = COMMIT_DATE.unwrap_or_default();
    roff.control("TH", [name, section, date, source, "tapfan"]);
    roff
}

/// Adds the section `SEE ALSO`, which lists other pages, such as `tapfan(1)`.
fn see_also<'a>(roff: &mut Roff, pages: impl Iterator<Item = (&'a str, char)>) {
    roff.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (name, section) in pages {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.extend([bold(name), roman(format!("({section})"))]);
    }
    roff.text(line);
    roff.control("PP", []);
    let home = env!("CARGO_PKG_REPOSITORY");
    if !home.is_empty() {
        roff.text([roman(home)]);
    }
}

/// Adds lines that are shown as they are.
fn verbatim(roff: &mut Roff, lines: &str) {
    roff.control("RS", ["4"]);
    roff.control("nf", []);
    for line in lines.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.control("RE", []);
}

/// Returns a text in which the words between backticks are bold.
fn marked(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    let parts = parts.filter(|(_, part)| !part.is_empty());
    let inline = |(index, part)| {
        if index % 2 == 1 {
            bold(part)
        } else {
            roman(part)
        }
    };
    parts.map(inline).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> String {
        let pages = pages().expect("written to memory");
        let page = pages.into_iter().find(|page| page.name == name);
        String::from_utf8(page.expect("a page").text).expect("text")
    }

    #[test]
    fn every_command_has_a_page_and_the_tapfile_has_one() {
        let pages = pages().expect("written to memory");
        let names: Vec<String> = pages
            .iter()
            .map(|page| format!("{}.{}", page.name, page.section))
            .collect();
        let expected = [
            "tapfan.1",
            "tapfan-run.1",
            "tapfan-check.1",
            "tapfan-init.1",
            "tapfan-demo.1",
            "tapfan-dump.1",
            "tapfan-replay.1",
            "tapfan-status.1",
            "tapfan-top.1",
            "tapfan-spool.1",
            "tapfan-spool-list.1",
            "tapfan-spool-check.1",
            "tapfan-spool-cat.1",
            "tapfan-spool-drop.1",
            "tapfan-completions.1",
            "tapfan-man.1",
            "Tapfile.5",
        ];
        assert_eq!(names, expected);
        let run = text("tapfan-run");
        for part in ["SH OPTIONS", "SH EXAMPLES", "SH \"EXIT STATUS\"", "Tapfile"] {
            assert!(run.contains(part), "{part}: {run}");
        }
        let cat = text("tapfan-spool-cat");
        assert!(
            cat.contains("tapfan spool cat") && cat.contains("\\-\\-all"),
            "{cat}"
        );
    }

    #[test]
    fn the_page_of_the_tapfile_has_every_setting() {
        let page = text("Tapfile").replace("\\-", "-");
        for directive in crate::config::manual::directives() {
            assert!(page.contains(&directive.line.syntax), "{page}");
            for option in directive.options {
                let name = option.syntax.split(' ').next().unwrap_or_default();
                assert!(page.contains(&format!("\\fB{name}\\fR")), "{name}: {page}");
                for (word, _) in crate::config::manual::words(&option) {
                    assert!(
                        page.contains(&format!(".TP\n\\fB{word}\\fR\n")),
                        "{word}: {page}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_pages_are_written_into_the_folders_of_their_sections() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path()).expect("the folder is ours");
        for file in ["man1/tapfan.1", "man1/tapfan-run.1", "man5/Tapfile.5"] {
            assert!(folder.path().join(file).is_file(), "{file}");
        }
    }
}
