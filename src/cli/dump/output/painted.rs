//! The text of the format `-q` (quiet) in colour, for a terminal. The colour shows the kind of frame, which the text
//! shows as well.

use crate::{
    dns::Message,
    dnstap::{RawFrame, RawMessage},
    presentation::{Form, Quiet},
};

/// The text of the format `-q` (quiet) in colour.
pub(super) struct Painted(pub(super) Quiet);

impl Form for Painted {
    fn write(&mut self, frame: &RawFrame<'_>, out: &mut Vec<u8>) {
        let color = frame.message.as_ref().map_or("33", color);
        out.extend_from_slice(format!("\x1b[{color}m").as_bytes());
        self.0.write(frame, out);
        out.pop();
        out.extend_from_slice(b"\x1b[0m\n");
    }
}

/// Returns the colour of a message: cyan for a query, green for a successful response, yellow for NXDOMAIN, and red for
/// a failure.
fn color(message: &RawMessage<'_>) -> &'static str {
    if message.is_query() {
        return "36";
    }
    match message.dns().and_then(Message::rcode_of) {
        Some(0) => "32",
        Some(3) => "33",
        _ => "31",
    }
}
