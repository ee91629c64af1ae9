//! The option `identity_prefix`.

use bytes::Bytes;

use super::super::{Findings, options::Options, row::Given};
use crate::config::{Sink, diagnostics::shown};

pub(super) fn read(sink: &mut Sink, given: &Given<'_>, findings: &mut Findings<'_>) -> Option<()> {
    let text = given.word(findings)?;
    sink.edits.identity_prefix = Some(Bytes::copy_from_slice(text.as_bytes()));
    Some(())
}

/// Reports an `identity_prefix` beside an `identity`, which would replace the identities of all servers.
pub(super) fn check(options: &Options<'_, Sink>, findings: &mut Findings<'_>) {
    if let (Some(prefix), Some(identity)) =
        (options.get("identity_prefix"), options.get("identity"))
    {
        let right = format!("{}{}", prefix.value.text, identity.value.text);
        findings.report(
            prefix
                .name
                .error(
                    "`identity_prefix` and `identity` contradict each other",
                    "this keeps the identity of each server",
                )
                .at(identity.name.span, "this replaces it")
                .help(format!(
                    "remove one of them; for one identity in all frames, write `identity {}`",
                    shown(&right)
                )),
        );
    }
}
