//! The text of a whole message: header, OPT record, questions, sections.

use super::{edns, rdata};
use crate::{
    dns::{self, Message, Record, Section, Unreadable, flags, mnemonics},
    presentation::digits,
};

/// The longest text of a message, in bytes. The text may exceed this limit by one record before writing stops with an
/// error.
const LONGEST: usize = 4 << 20;

/// Appends the message in `octets`. Each record is one line. If the message cannot be read, appends nothing.
///
/// # Errors
/// If a part of the message is cut off, or does not have the format that its type requires.
pub(crate) fn write(octets: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let message = Message::read(octets)?;
    let start = out.len();
    let written = write_sections(&message, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn write_sections(message: &Message<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let start = out.len();
    write_header(message, out);
    if let Some(opt) = message.opt() {
        edns::write(opt, out)?;
        out.push(b'\n');
    }
    if message.question_count() > 0 {
        out.extend_from_slice(b"\n;; QUESTION SECTION:\n");
    }
    for question in message.questions() {
        out.push(b';');
        dns::name::write(&question.name, out);
        out.push(b'\t');
        mnemonics::class(question.class).write(out);
        out.extend_from_slice(b"\t ");
        mnemonics::record_type(question.rtype).write(out);
        out.push(b'\n');
    }
    for (section, title) in [
        (Section::Answer, "ANSWER"),
        (Section::Authority, "AUTHORITY"),
        (Section::Additional, "ADDITIONAL"),
    ] {
        // The OPT record is not written here, because it has already been written in a section of its own.
        let is_additional = section == Section::Additional;
        let alone = is_additional && message.opt().is_some() && message.count(section) == 1;
        if message.count(section) > 0 && !alone {
            out.extend_from_slice(b"\n;; ");
            out.extend_from_slice(title.as_bytes());
            out.extend_from_slice(b" SECTION:\n");
        }
        for record in message.records(section) {
            if is_additional && record.rtype == rdata::OPT {
                edns::check(&record)?;
                continue;
            }
            rdata::write(&record, out)?;
            out.push(b'\n');
            check_length(out.len() - start, &record)?;
        }
    }
    Ok(())
}

/// Checks the length of the text. Because of name compression, a short message can have a very long text.
fn check_length(text: usize, record: &Record<'_>) -> Result<(), Unreadable> {
    if text > LONGEST {
        let why = "the text of the message is longer than 4 MiB";
        return Err(Unreadable::data(record.data.pos(), why));
    }
    Ok(())
}

fn write_header(message: &Message<'_>, out: &mut Vec<u8>) {
    let header = message.header().header();
    out.extend_from_slice(b";; opcode: ");
    mnemonics::opcode(header.opcode().to_int()).write(out);
    out.extend_from_slice(b", status: ");
    mnemonics::rcode(message.rcode()).write(out);
    out.extend_from_slice(b", id: ");
    digits::number(header.id(), out);
    out.extend_from_slice(b"\n;; flags:");
    for (flag, _) in flags(*header).into_iter().filter(|(_, is_set)| *is_set) {
        out.push(b' ');
        out.extend_from_slice(flag.as_bytes());
    }
    for (title, count) in [
        ("; QUERY: ", message.question_count()),
        (", ANSWER: ", message.count(Section::Answer)),
        (", AUTHORITY: ", message.count(Section::Authority)),
        (", ADDITIONAL: ", message.count(Section::Additional)),
    ] {
        out.extend_from_slice(title.as_bytes());
        digits::number(count, out);
    }
    out.push(b'\n');
}
