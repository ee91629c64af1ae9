//! Help for a newcomer who guesses the form of a rule, a sample or a limit.

use super::filters::KINDS;
use crate::{
    config::{
        RuleKind, Verdict,
        diagnostics::{Diagnostic, shown},
        lexer::Token,
        nearest::nearest,
    },
    filter::{BadRate, BadRule, BadSample, Filter},
};

/// Returns the error for a first word of `keep` or `drop` that is not a kind of rule.
pub(super) fn kind(option: &str, word: &Token) -> Diagnostic {
    let text = word.text.as_str();
    let problem = word.error(
        format!("`{}` is not a kind of rule", shown(text)),
        format!("the first word of `{option}`"),
    );
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return problem.help(format!(
            "to keep only the last {text} files of a `file://` sink, write `keep_files {text}`"
        ));
    }
    if matches!(text, "type" | "types") {
        return problem.help(match option {
            "keep" => "`types` is an option of its own: `types client_query client_response`",
            _ => "list the types that the sink gets: `types client_query client_response`",
        });
    }
    let names = KINDS.map(|(name, _)| name);
    if let Some(meant) = nearest(text, names) {
        return word.propose(problem, format!("did you mean `{meant}`?"), meant);
    }
    let fits = |kind| Filter::default().add(kind, Verdict::Keep, text).is_ok();
    let kinds = [
        RuleKind::Client,
        RuleKind::Protocol,
        RuleKind::Rcode,
        RuleKind::Qtype,
        RuleKind::Type,
        RuleKind::Qname,
    ];
    match kinds.into_iter().find(|kind| fits(*kind)) {
        Some(RuleKind::Type) => problem.help(format!("write `types {text}`")),
        Some(kind) => {
            let right = format!("{} {text}", kind.label());
            let problem = problem.help(format!("write `{option} {right}`"));
            if word.filled_in {
                problem
            } else {
                problem.replace(word.span, right)
            }
        }
        None => problem.help(format!("the kinds are `{}`", names.join("`, `"))),
    }
}

/// Returns an example of a rule.
pub(super) fn example(option: &str, kind: &str) -> String {
    let word = match kind {
        "qname" => "example.org",
        "qname_file" => "/etc/tapfan/names",
        "qtype" => "A AAAA",
        "rcode" => "SERVFAIL",
        "client" => "192.0.2.0/24",
        _ => "udp",
    };
    format!("as in `{option} {kind} {word}`")
}

/// Returns the error for a value that this kind of rule does not know.
pub(super) fn word(kind: RuleKind, word: &Token, error: &BadRule) -> Diagnostic {
    let text = word.text.as_str();
    let label = format!("a word of `{}`", kind.label());
    if text.contains(',') {
        let problem = word.error(
            format!("`{}` has a comma", shown(text)),
            format!("of the words of `{}`", kind.label()),
        );
        let problem = problem.help("put blanks between the words");
        return if word.filled_in {
            problem
        } else {
            let parts: Vec<&str> = text.split(',').filter(|it| !it.is_empty()).collect();
            problem.replace(word.span, parts.join(" "))
        };
    }
    match error {
        BadRule::Unknown {
            what,
            word: _,
            hint,
        } => {
            let problem = word.error(format!("there is no {what} `{}`", shown(text)), label);
            match hint {
                Some(meant) => word.propose(problem, format!("did you mean `{meant}`?"), meant),
                None => problem,
            }
        }
        other => split(word, &other.to_string(), label),
    }
}

/// Returns the error for a word that begins with `!`, as in `tapfan dump`.
pub(super) fn negated(kind: RuleKind, word: &Token) -> Diagnostic {
    let message = format!("`{}` begins with `!`", shown(&word.text));
    let problem = word.error(message, format!("a word of `{}`", kind.label()));
    problem.help("only the options of `tapfan dump` have `!`; write a line with `drop`")
}

/// Returns the error for a value of `sample` that is not a sample.
pub(super) fn sample(word: &Token, error: &BadSample) -> Diagnostic {
    let problem = word.error(
        format!("`{}` is not a sample", shown(&word.text)),
        "the value of `sample`",
    );
    match meant_sample(&word.text) {
        Some(right) => word.propose(problem, format!("write `{right}`"), &right),
        None => split(word, &error.to_string(), "the value of `sample`".to_owned()),
    }
}

/// Returns the sample that a percentage, a share or a bare number probably means.
fn meant_sample(text: &str) -> Option<String> {
    let one_in = if let Some(percent) = text.strip_suffix('%') {
        100.0 / percent.parse::<f64>().ok()?
    } else if let Some(rest) = text.strip_prefix("1:") {
        rest.parse::<u32>().ok()?.into()
    } else {
        let number: f64 = text.parse().ok()?;
        if number < 1.0 { 1.0 / number } else { number }
    };
    let is_near = (1.0..=1e9).contains(&one_in) && (one_in - one_in.round()).abs() < 0.005 * one_in;
    is_near.then(|| format!("1/{:.0}", one_in.round()))
}

/// Returns the error for a value of `limit` that is not a rate.
pub(super) fn limit(word: &Token, error: &BadRate) -> Diagnostic {
    let problem = word.error(
        format!("`{}` is not a rate", shown(&word.text)),
        "the value of `limit`",
    );
    match meant_limit(&word.text) {
        Some(right) => word.propose(problem, format!("write `{right}`"), &right),
        None => split(word, &error.to_string(), "the value of `limit`".to_owned()),
    }
}

/// Returns the rate that a number with another unit, or without one, probably means.
fn meant_limit(text: &str) -> Option<String> {
    let number = ["/second", "/sec", "/s", "ps", "qps", "fps"];
    let number = number.iter().find_map(|unit| text.strip_suffix(unit));
    let number = number.unwrap_or(text);
    let (number, times) = match number.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1_000_u64),
        None => match number.strip_suffix('M') {
            Some(number) => (number, 1_000_000),
            None => (number, 1),
        },
    };
    let rate = number.replace(['_', ','], "").parse::<u64>().ok()?;
    let rate = rate.checked_mul(times).filter(|rate| *rate > 0)?;
    let rate = u32::try_from(rate).ok()?;
    Some(format!("{rate}/s"))
}

/// Makes a problem from an error that another part of the program returned. The text after the first `: ` becomes the
/// help.
fn split(word: &Token, text: &str, label: String) -> Diagnostic {
    match text.split_once(": ") {
        Some((message, help)) => word.error(message, label).help(help),
        None => word.error(text, label),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    fn problems(option: &str) -> String {
        let text = format!("listen @in\ndnstap tcp://192.0.2.1:6000 full {{\n {option}\n}}");
        let loaded = parse(Path::new("Tapfile"), &text, &|_| None);
        loaded.diagnostics.to_string()
    }

    #[test]
    fn guesses_get_the_right_line() {
        let options = [
            "keep example.org",
            "drop 192.0.2.0/24",
            "keep SERVFAIL",
            "keep AAAA",
            "keep types client",
            "keep client_query",
            "keep 24",
            "keep qnames example.org",
            "keep qname",
            "keep rcode SERVFAIL,NXDOMAIN",
            "keep rcode SERVFIAL",
            "drop qname !example.org",
            "keep client 192.0.2.0/33",
            "types CLIENT_QEURY",
            "type client",
            "qname example.org",
            "sample 5%",
            "sample 0.05",
            "sample 20",
            "sample some",
            "sample 1/20 /key more",
            "limit 50k",
            "limit 50000",
            "limit many",
            "client_address truncate",
            "client_address truncate /24 129",
            "client_address hash",
            "client_address remove now",
            "client_address pseudonym",
            "strip cookies",
            "strip ecs padding",
            "rate_limit 5/s",
            "anonymize yes",
        ];
        let said = options.map(|option| format!("{option}\n{}", problems(option)));
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn a_guess_is_mended_to_what_is_meant() {
        for (text, right) in [
            ("5%", Some("1/20")),
            ("0.1", Some("1/10")),
            ("20", Some("1/20")),
            ("1:7", Some("1/7")),
            ("0", None),
            ("3%", None),
            ("-1", None),
            ("nan", None),
        ] {
            assert_eq!(meant_sample(text).as_deref(), right, "{text}");
        }
        for (text, right) in [
            ("50k", Some("50000/s")),
            ("50k/s", Some("50000/s")),
            ("2M", Some("2000000/s")),
            ("10_000/sec", Some("10000/s")),
            ("0", None),
            ("5/m", None),
            ("9999999999", None),
        ] {
            assert_eq!(meant_limit(text).as_deref(), right, "{text}");
        }
    }
}
