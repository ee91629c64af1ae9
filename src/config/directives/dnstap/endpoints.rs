//! `endpoints MODE`: which of the addresses of a sink's name get its frames.

use super::super::{Findings, options::Options};
use crate::{
    config::{Endpoints, diagnostics::shown, lexer::Token, nearest::nearest},
    net::Endpoint,
};

pub(super) fn read(
    socket: &Token,
    endpoint: &Endpoint,
    options: &Options<'_>,
    findings: &mut Findings<'_>,
) -> Endpoints {
    let Some(given) = options.get("endpoints") else {
        return Endpoints::default();
    };
    if !endpoint.is_named() {
        findings.report(
            given
                .name
                .warning("`endpoints` has no effect here", "there is one address")
                .at(socket.span, "this is no name")
                .help("remove it"),
        );
    }
    let word = given.value.text.as_str();
    let known = Endpoints::MODES
        .into_iter()
        .find(|mode| mode.word() == word);
    known.unwrap_or_else(|| {
        let problem = given.value.error(
            format!("`{}` is no mode of `endpoints`", shown(word)),
            "the value of `endpoints`",
        );
        let words = Endpoints::MODES.map(Endpoints::word);
        findings.report(match nearest(word, words) {
            Some(meant) => given
                .value
                .propose(problem, format!("did you mean `{meant}`?"), meant),
            None => problem.help(format!("the modes are `{}`", words.join("`, `"))),
        });
        Endpoints::default()
    })
}
