//! The options that choose the frames of a sink, and edit them for the privacy of clients.

use std::path::PathBuf;

use super::{
    super::{
        Findings, features,
        options::Options,
        row::{Given, Row, Value},
    },
    guessed,
};
use crate::{
    config::{
        AddressEdit, FilterRule, RuleKind, RuleWords, SampleSettings, Sink, Verdict,
        lexer::Token,
        needs::{Need, What},
    },
    filter::{Filter, RateLimit, Sample},
};

pub(super) const TYPES: Row<Sink> = Row {
    name: "types",
    value: Value::Several("TYPE …", |sink, given, findings| {
        add(RuleKind::Type, Verdict::Keep, given.values, sink, findings)
    }),
    default: "all",
    doc: "the message types that the sink gets, such as `client_query`, or `client` for query and response",
    scope: None,
    describe: |sink| sink.filters.types(),
};

pub(super) const KEEP: Row<Sink> = Row {
    name: "keep",
    value: Value::Several("KIND WORD …", |sink, given, findings| {
        rule(Verdict::Keep, sink, given, findings)
    }),
    default: "no rule",
    doc: "keeps frames that match one of the words; frames that match no rule of this kind are dropped",
    scope: None,
    describe: |sink| sink.filters.rules_that(Verdict::Keep),
};

pub(super) const DROP: Row<Sink> = Row {
    name: "drop",
    value: Value::Several("KIND WORD …", |sink, given, findings| {
        rule(Verdict::Drop, sink, given, findings)
    }),
    default: "no rule",
    doc: "drops frames that match one of the words",
    scope: None,
    describe: |sink| sink.filters.rules_that(Verdict::Drop),
};

pub(super) const SAMPLE: Row<Sink> = Row {
    name: "sample",
    value: Value::Line("1/N [KEYFILE]", sample),
    default: "1/1",
    doc: "the sink gets one transaction in N; routers with the same key choose the same ones",
    scope: None,
    describe: |sink| sink.filters.sample.as_ref().map(ToString::to_string),
};

pub(super) const LIMIT: Row<Sink> = Row {
    name: "limit",
    value: Value::One("N/s", limit),
    default: "none",
    doc: "the largest number of frames in a second",
    scope: None,
    describe: |sink| Some(format!("{}/s", sink.filters.limit?)),
};

pub(super) const CLIENT_ADDRESS: Row<Sink> = Row {
    name: "client_address",
    value: Value::Line(
        "truncate IPV4 IPV6|pseudonym KEYFILE|remove",
        client_address,
    ),
    default: "as sent",
    doc: "cuts, replaces or removes the address of the client, also in EDNS Client Subnet",
    scope: None,
    describe: |sink| {
        sink.filters
            .client_address
            .as_ref()
            .map(ToString::to_string)
    },
};

pub(super) const STRIP: Row<Sink> = Row {
    name: "strip",
    value: Value::Several("ecs|cookie", strip),
    default: "nothing",
    doc: "sets EDNS Client Subnet or DNS cookies to zero; one line may contain both words",
    scope: None,
    describe: |sink| sink.filters.stripped().map(str::to_owned),
};

/// The kinds of rules of `keep` and `drop`.
pub(super) const KINDS: [(&str, RuleKind); 6] = [
    ("qname", RuleKind::Qname),
    (NAMES_FILE, RuleKind::Qname),
    ("qtype", RuleKind::Qtype),
    ("rcode", RuleKind::Rcode),
    ("client", RuleKind::Client),
    ("protocol", RuleKind::Protocol),
];

/// The word for a rule whose values are files of names.
const NAMES_FILE: &str = "qname_file";

/// The words of `strip`.
const STRIPPED: [&str; 2] = ["ecs", "cookie"];

/// Returns whether `keep` and `drop` have rules of this kind.
pub(in super::super) fn is_kind_of_rule(word: &str) -> bool {
    KINDS.iter().any(|(name, _)| *name == word)
}

/// Reads `keep KIND WORD …` or `drop KIND WORD …`.
fn rule(
    verdict: Verdict,
    sink: &mut Sink,
    given: &Given<'_>,
    findings: &mut Findings<'_>,
) -> Option<()> {
    let option = given.name.text.as_str();
    let (kind, words) = given.values.split_first()?;
    let known = KINDS.iter().find(|(name, _)| *name == kind.text);
    let Some((name, known)) = known else {
        findings.report(guessed::kind(option, kind));
        return None;
    };
    if words.is_empty() {
        let problem = kind.error(
            format!("`{option} {name}` needs a word"),
            "nothing follows it",
        );
        findings.report(problem.help(guessed::example(option, name)));
        return None;
    }
    if *name != NAMES_FILE {
        return add(*known, verdict, words, sink, findings);
    }
    for word in words {
        let file = path(given, word, findings)?;
        findings.needs.push(Need {
            what: What::Names(file.clone()),
            span: word.span,
        });
        sink.filters.rules.push(FilterRule::names_in(verdict, file));
    }
    Some(())
}

/// Adds a rule with these words. Reports words that do not exist.
fn add(
    kind: RuleKind,
    verdict: Verdict,
    words: &[Token],
    sink: &mut Sink,
    findings: &mut Findings<'_>,
) -> Option<()> {
    let mut good = Vec::new();
    for word in words {
        if word.text.starts_with('!') {
            findings.report(guessed::negated(kind, word));
            continue;
        }
        match Filter::default().add(kind, verdict, &word.text) {
            Ok(()) => good.push(word.text.clone()),
            Err(error) => findings.report(guessed::word(kind, word, &error)),
        }
    }
    if good.len() < words.len() {
        return None;
    }
    sink.filters
        .rules
        .push(FilterRule::listed(kind, verdict, good));
    Some(())
}

fn sample(sink: &mut Sink, given: &Given<'_>, findings: &mut Findings<'_>) -> Option<()> {
    let sample = match given.value.text.parse::<Sample>() {
        Ok(sample) => sample,
        Err(error) => {
            findings.report(guessed::sample(given.value, &error));
            return None;
        }
    };
    let key = match given.values.get(1) {
        None => None,
        Some(word) => Some(key(given, word, What::SampleKey, findings)?),
    };
    no_more(given, 2, findings)?;
    sink.filters.sample = Some(SampleSettings::new(sample.one_in(), key));
    Some(())
}

fn limit(sink: &mut Sink, given: &Given<'_>, findings: &mut Findings<'_>) -> Option<()> {
    match given.value.text.parse::<RateLimit>() {
        Ok(limit) => sink.filters.limit = Some(limit.rate()),
        Err(error) => {
            findings.report(guessed::limit(given.value, &error));
            return None;
        }
    }
    Some(())
}

fn client_address(sink: &mut Sink, given: &Given<'_>, findings: &mut Findings<'_>) -> Option<()> {
    const WORDS: [&str; 3] = ["truncate", "pseudonym", "remove"];
    let method = given.choice(WORDS, |word| word, findings)?;
    let needs = |count: usize, form: &str, findings: &mut Findings<'_>| {
        let is_whole = given.values.len() > count;
        if !is_whole {
            let message = format!("`client_address {method}` needs more words");
            let problem = given.value.error(message, "too few words follow it");
            findings.report(problem.help(form));
        }
        is_whole.then_some(())
    };
    sink.filters.client_address = Some(match method {
        "truncate" => {
            needs(
                2,
                "write the bits to keep of IPv4 and IPv6 addresses, as in `client_address truncate 24 48`",
                findings,
            )?;
            let [_, ipv4, ipv6, ..] = given.values else {
                return None;
            };
            let (ipv4, ipv6) = (bits(ipv4, 32, findings), bits(ipv6, 128, findings));
            no_more(given, 3, findings)?;
            AddressEdit::Truncate {
                ipv4: ipv4?,
                ipv6: ipv6?,
            }
        }
        "pseudonym" => {
            needs(
                1,
                "write the file with the key, as in `client_address pseudonym /etc/tapfan/pseudonym.key`; create it with `openssl rand -hex 32`",
                findings,
            )?;
            features::check_pseudonym(given.value, findings);
            let file = key(given, given.values.get(1)?, What::PseudonymKey, findings)?;
            no_more(given, 2, findings)?;
            AddressEdit::Pseudonym(file)
        }
        _ => {
            no_more(given, 1, findings)?;
            AddressEdit::Remove
        }
    });
    Some(())
}

fn strip(sink: &mut Sink, given: &Given<'_>, findings: &mut Findings<'_>) -> Option<()> {
    for value in given.values {
        let one = Given { value, ..*given };
        match one.choice(STRIPPED, |word| word, findings)? {
            "ecs" => sink.filters.strip_ecs = true,
            _ => sink.filters.strip_cookie = true,
        }
    }
    Some(())
}

/// Reads a number of bits.
fn bits(word: &Token, most: u8, findings: &mut Findings<'_>) -> Option<u8> {
    let text = word.text.strip_prefix('/').unwrap_or(&word.text);
    let number = text.parse().ok().filter(|it| *it <= most);
    let number = number.filter(|_| text == word.text);
    if number.is_none() {
        let message = format!("this is not a number of bits from 0 to {most}");
        let problem = word.error(message, "the bits to keep");
        findings.report(problem.help("as in `client_address truncate 24 48`"));
    }
    number
}

/// Reads the path of a file with a key.
fn key(
    given: &Given<'_>,
    word: &Token,
    what: fn(PathBuf) -> What,
    findings: &mut Findings<'_>,
) -> Option<PathBuf> {
    let file = path(given, word, findings)?;
    findings.needs.push(Need {
        what: what(file.clone()),
        span: word.span,
    });
    Some(file)
}

fn path(given: &Given<'_>, word: &Token, findings: &mut Findings<'_>) -> Option<PathBuf> {
    let one = Given {
        value: word,
        ..*given
    };
    Some(one.word(findings)?.into())
}

/// Reports values after the first `count`.
fn no_more(given: &Given<'_>, count: usize, findings: &mut Findings<'_>) -> Option<()> {
    let Some(left) = given.values.get(count) else {
        return Some(());
    };
    let option = given.name.text.as_str();
    let problem = left.error(
        format!("`{option}` takes no more values"),
        "this is left over",
    );
    findings.report(
        problem
            .at(given.name.span, "of this option")
            .help("remove it"),
    );
    None
}

/// Warns about combinations of options that have no effect.
pub(super) fn check(sink: &Sink, options: &Options<'_, Sink>, findings: &mut Findings<'_>) {
    if !sink.full
        && let Some(given) = options.get("strip")
    {
        let problem = given.name.warning(
            "`strip` has no effect here",
            "without `full`, the sink sends no DNS messages",
        );
        findings.report(problem.help("remove it, or add `full` after the SOCKET"));
    }
    let filters = &sink.filters;
    let has_responses = filters.rules.iter().all(|rule| {
        let is_query = |word: &String| word.to_ascii_lowercase().ends_with("_query");
        match &rule.words {
            RuleWords::Listed(words) if rule.kind == RuleKind::Type => !words.iter().all(is_query),
            _ => true,
        }
    });
    let keeps_rcode =
        |rule: &FilterRule| rule.kind == RuleKind::Rcode && rule.verdict == Verdict::Keep;
    if !has_responses
        && filters.rules.iter().any(keeps_rcode)
        && let Some(types) = options.get("types")
    {
        let problem = types.name.warning(
            "no frame passes these rules",
            "these are only queries, and a query has no response code",
        );
        findings.report(problem.help("add the responses, or remove `keep rcode`"));
    }
}
