//! A compiled template: literal text and placeholders.

use std::{fmt, ops::Range, sync::Arc};

use super::placeholder::{OWN, OwnLabel, Placeholder};

/// The text of the option `extra`, with placeholders that are replaced for each frame.
///
/// The grammar is that of CoreDNS: a placeholder ends at the next `}` and begins at the nearest `{` before it. Any text
/// is a valid template. A brace without a matching brace stays as written, and so does a word in braces that is not a
/// placeholder.
///
/// Clones are cheap. Templates are equal if their texts are.
#[derive(Clone)]
pub struct Template {
    text: Arc<str>,
    parts: Arc<[Part]>,
}

/// A part of a template. The ranges refer to the text of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Literal(Range<usize>),
    Placeholder(Placeholder),
    Own(OwnLabel),
    /// The label of metadata, without `{/` and `}`.
    Metadata(Range<usize>),
}

/// A word in braces that looks like a placeholder, but has no value or is not replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt<'a> {
    /// A word that is not a placeholder, such as `{nmae}`. It stays as written.
    Unknown(&'a str),
    /// A label of metadata that cannot exist: it begins with `tap/` but is not a label of tapfan, or it does not have
    /// the form `plugin/name`. Its value is `-`.
    NoSuchLabel(&'a str),
    /// A label of metadata that only a DNS server sets. Its value is `-` in frames from a listener.
    Foreign(&'a str),
}

// === impl Template ===

impl Template {
    /// Compiles a text. This cannot fail.
    pub fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        // The start of the literal text before the next placeholder.
        let mut start = 0;
        for braces in Braces::new(text) {
            let part = match &text[braces.clone()] {
                label if label.starts_with("{/") => {
                    let label = braces.start + 2..braces.end - 1;
                    let own = OwnLabel::of_label(&text[label.clone()]);
                    Some(own.map_or(Part::Metadata(label), Part::Own))
                }
                name => Placeholder::of_label(name).map(Part::Placeholder),
            };
            if let Some(part) = part {
                parts.extend(literal(start..braces.start));
                parts.push(part);
                start = braces.end;
            }
        }
        parts.extend(literal(start..text.len()));
        Self {
            text: text.into(),
            parts: parts.into(),
        }
    }

    /// Returns the text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether the template has no placeholder. In that case, its value is [its text](Self::text) for every
    /// frame.
    pub fn is_literal(&self) -> bool {
        self.parts
            .iter()
            .all(|part| matches!(part, Part::Literal(_)))
    }

    /// Returns whether the template reads DNS messages. If so, its value changes when the DNS messages are removed from
    /// a frame.
    pub fn needs_wire(&self) -> bool {
        let needs = |part: &Part| matches!(part, Part::Placeholder(placeholder) if placeholder.needs_wire());
        self.parts.iter().any(needs)
    }

    /// Returns whether the template contains the sample of the sink.
    pub fn needs_sample(&self) -> bool {
        self.parts()
            .contains(&Part::Placeholder(Placeholder::Sample))
    }

    /// Returns whether the template reads metadata that only a DNS server sets.
    pub fn needs_metadata(&self) -> bool {
        let needs = |part: &Part| matches!(part, Part::Metadata(_));
        self.parts.iter().any(needs)
    }

    /// Returns the words in braces that may be mistakes, in the order of the text.
    pub(crate) fn doubts(&self) -> impl Iterator<Item = Doubt<'_>> {
        Braces::new(&self.text).filter_map(|braces| doubt(&self.text[braces]))
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl From<&str> for Template {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Template {}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.text).finish()
    }
}

/// Returns the part for a literal text, or `None` if the text is empty.
fn literal(range: Range<usize>) -> Option<Part> {
    (!range.is_empty()).then_some(Part::Literal(range))
}

/// Returns the doubt about a word in braces, if there is one. Only a word that looks like a placeholder can be a
/// mistake; text such as `{"a":1}` or `{a b}` is not.
fn doubt(braces: &str) -> Option<Doubt<'_>> {
    if let Some(label) = braces.strip_prefix("{/") {
        let label = label.strip_suffix('}')?;
        return match label.split_once('/') {
            _ if OwnLabel::of_label(label).is_some() => None,
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                let own = label.starts_with(OWN);
                Some(if own {
                    Doubt::NoSuchLabel(braces)
                } else {
                    Doubt::Foreign(braces)
                })
            }
            _ => Some(Doubt::NoSuchLabel(braces)),
        };
    }
    let word = braces.strip_prefix('{')?.strip_suffix('}')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '>' | '/' | '_' | '-');
    let looks = !word.is_empty() && word.chars().all(is_name);
    (looks && Placeholder::of_label(braces).is_none()).then_some(Doubt::Unknown(braces))
}

// === Braces ===

/// An iterator over the words in braces of a text. Each range ends with a `}` and begins with the nearest `{` before
/// it. A `}` is skipped if there is no `{` between the previous `}` and this one.
struct Braces<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Braces<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }
}

impl Iterator for Braces<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        loop {
            let start = self.at;
            let length = self.text[start..].find('}')?;
            self.at = start + length + 1;
            if let Some(open) = self.text[start..self.at].rfind('{') {
                return Some(start + open..self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Shows the parts of a text: placeholders in angle brackets, literal text in parentheses.
    fn parts(text: &str) -> String {
        let template = Template::new(text);
        let part = |part: &Part| match part {
            Part::Literal(range) => format!("({})", &text[range.clone()]),
            Part::Placeholder(placeholder) => format!("<{}>", placeholder.label()),
            Part::Own(label) => format!("<own {}>", label.label()),
            Part::Metadata(range) => format!("<{}>", &text[range.clone()]),
        };
        template.parts.iter().map(part).collect()
    }

    /// Tests the cases of `TestParseFormat` in CoreDNS. CoreDNS's parser does not merge neighbouring literals.
    #[test]
    fn a_text_has_the_parts_that_coredns_finds() {
        for (text, expected) in [
            ("", ""),
            ("A", "(A)"),
            ("A {A}", "(A {A})"),
            ("{{remote}}", "({)<{remote}>(})"),
            ("{ A {remote} A }", "({ A )<{remote}>( A })"),
            ("{remote}}", "<{remote}>(})"),
            ("{{remote}", "({)<{remote}>"),
            ("Foo } {remote}", "(Foo } )<{remote}>"),
            ("{ Foo", "({ Foo)"),
            ("} Foo", "(} Foo)"),
            (
                "A { {remote} {type} {/meta1} } B",
                "(A { )<{remote}>( )<{type}>( )<meta1>( } B)",
            ),
            (
                "{>id} \"{type} {>do}\" {/meta1}-{/meta2} {duration} END",
                "<{>id}>( \")<{type}>( )<{>do}>(\" )<meta1>(-)<meta2>( )<{duration}>( END)",
            ),
            ("{/}", "<>"),
            ("{/tap/peer}", "<own tap/peer>"),
            ("{Type}{>ID}", "({Type}{>ID})"),
            ("ß{name}ß", "(ß)<{name}>(ß)"),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn every_placeholder_is_found() {
        for label in Placeholder::LABELS {
            assert_eq!(parts(label), format!("<{label}>"));
        }
        for label in OwnLabel::LABELS {
            assert_eq!(parts(&format!("{{/{label}}}")), format!("<own {label}>"));
        }
    }

    #[test]
    fn a_text_without_placeholders_is_literal() {
        for (text, literal) in [
            ("", true),
            ("rack 7", true),
            ("{x} {", true),
            ("a{type}", false),
            ("{/a/b}", false),
            ("{/tap/peer}", false),
        ] {
            assert_eq!(Template::new(text).is_literal(), literal, "{text}");
        }
    }

    #[test]
    fn only_values_from_dns_messages_need_the_wire() {
        for (text, needs) in [
            ("{name}", true),
            ("{remote} {rcode}", true),
            ("{remote}:{port} {local} {proto} {duration}", false),
            ("{/tap/peer} {/a/b} {x}", false),
        ] {
            assert_eq!(Template::new(text).needs_wire(), needs, "{text}");
        }
    }

    #[test]
    fn words_in_braces_that_may_be_mistakes_are_found() {
        use Doubt::{Foreign, NoSuchLabel, Unknown};
        for (text, expected) in [
            ("{nmae}", vec![Unknown("{nmae}")]),
            (
                "{Type} {type} {>ID}",
                vec![Unknown("{Type}"), Unknown("{>ID}")],
            ),
            ("{\"site\":\"ber\"} {} }{ {a b}", vec![]),
            ("} {x{/zone/name}", vec![Foreign("{/zone/name}")]),
            ("{/tap/pere} {/tap/peer}", vec![NoSuchLabel("{/tap/pere}")]),
            (
                "{/x} {/} {/x/}",
                ["{/x}", "{/}", "{/x/}"].map(NoSuchLabel).into(),
            ),
        ] {
            let template = Template::new(text);
            assert_eq!(template.doubts().collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn templates_are_equal_if_their_texts_are() {
        assert_eq!(Template::new("{name}"), Template::from("{name}"));
        assert_ne!(Template::new("{name}"), Template::new("{type}"));
    }

    proptest! {
        /// CoreDNS tests the same in `TestParseFormatNodes`.
        #[test]
        fn the_parts_make_up_the_text(
            text in prop::collection::vec(
                prop::sample::select(vec!["{", "}", "/", "{type}", "{/a/b}", "{/tap/peer}", "{>id}", "a", " ", "ß"]),
                0..20,
            )
        ) {
            let text = text.concat();
            let template = Template::new(&text);
            let part = |part: &Part| match part {
                Part::Literal(range) => text[range.clone()].to_owned(),
                Part::Placeholder(placeholder) => placeholder.label().to_owned(),
                Part::Own(label) => format!("{{/{}}}", label.label()),
                Part::Metadata(range) => format!("{{/{}}}", &text[range.clone()]),
            };
            prop_assert_eq!(template.parts.iter().map(part).collect::<String>(), text);
        }
    }
}
