//! The manual page of a command, made from its arguments and its examples.

use std::io;

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{Page, see_also, title, verbatim};
use crate::cli::examples::{self, Example};

const FILES: [(&str, &str); 2] = [
    ("./Tapfile", "the configuration"),
    (
        "/etc/tapfan/Tapfile",
        "the configuration, if there is no ./Tapfile",
    ),
];

const STATUS: [(&str, &str); 3] = [
    ("0", "success"),
    ("1", "the command failed while it ran"),
    (
        "2",
        "bad usage or a bad configuration; the command did nothing",
    ),
];

/// Returns the name of a command's page, such as `tapfan-run`.
pub(super) fn page_name(command: &Command) -> String {
    let name = command.get_display_name().unwrap_or(command.get_name());
    name.to_owned()
}

/// Returns the page of a command. `commands` are the names of the pages of all commands.
pub(super) fn page(command: &Command, commands: &[String]) -> io::Result<Page> {
    let name = page_name(command);
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    title(&name.to_uppercase(), "1").to_writer(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let has_commands = command.get_subcommands().next().is_some();
    if has_commands {
        man.render_subcommands_section(&mut text)?;
    }
    let mut end = Roff::new();
    // The words of the command line after `tapfan`, such as `spool list`. No command has a hyphen in its name.
    let words = name.strip_prefix("tapfan-").unwrap_or_default();
    let examples = examples::of(&words.replace('-', " "));
    if !examples.is_empty() {
        add_examples(&mut end, examples);
    }
    add_list(&mut end, "EXIT STATUS", &STATUS);
    add_list(&mut end, "FILES", &FILES);
    let others = commands.iter().filter(|other| **other != name);
    let program = ["tapfan".to_owned()];
    let program = program.iter().filter(|program| **program != name);
    let pages = program.chain(others).map(|page| (page.as_str(), '1'));
    see_also(&mut end, pages.chain([("Tapfile", '5')]));
    end.to_writer(&mut text)?;
    Ok(Page {
        name,
        section: '1',
        text,
    })
}

fn add_examples(roff: &mut Roff, examples: &[Example]) {
    roff.control("SH", ["EXAMPLES"]);
    for Example { line, effect } in examples {
        roff.text([roman(format!("{effect}:"))]);
        verbatim(roff, line);
        roff.control("PP", []);
    }
}

fn add_list(roff: &mut Roff, heading: &str, items: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (item, text) in items {
        roff.control("TP", []);
        roff.text([bold(*item)]);
        roff.text([roman(*text)]);
    }
}
