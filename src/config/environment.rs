//! Environment variables in a token: `{%VAR%}` and `{$VAR}`.

/// A function that returns the value of an environment variable. Tests pass their own function, which does not read
/// the environment of the process.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A text in which variables were replaced by their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) text: String,
    /// The variables that are not set, in the order of the text. A variable may be listed several times.
    pub(super) unset: Vec<String>,
}

/// Replaces first `{%VAR%}` and then `{$VAR}`. Returns `None` if `text` contains neither.
///
/// The rules are those of CoreDNS. The first pass replaces `{%VAR%}`, and the second pass replaces `{$VAR}`, even in
/// values that the first pass inserted. A value that contains a reference of the same form stays as it is. An unset
/// variable is replaced by the empty string. If a pass finds a reference without a name, it stops there.
pub(super) fn fill_in(text: &str, environment: Environment<'_>) -> Option<Filled> {
    if !text.contains("{%") && !text.contains("{$") {
        return None;
    }
    let mut unset = Vec::new();
    let filled = fill_in_form(text, "{%", "%}", environment, &mut unset);
    let filled = fill_in_form(&filled, "{$", "}", environment, &mut unset);
    (filled != text || !unset.is_empty()).then_some(Filled {
        text: filled,
        unset,
    })
}

fn fill_in_form(
    text: &str,
    open: &str,
    close: &str,
    environment: Environment<'_>,
    unset: &mut Vec<String>,
) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(open) {
        let (before, reference) = rest.split_at(start);
        // In `{%}`, the start mark `{%` and the end mark `%}` share the `%`, and there is no name. To find such an end
        // mark, the search starts at the first byte of the reference.
        let parts = reference.find(close).and_then(|end| {
            let name = reference.get(open.len()..end)?;
            Some((name, reference.get(end + close.len()..)?))
        });
        let Some((name, after)) = parts.filter(|(name, _)| !name.is_empty()) else {
            break;
        };
        filled.push_str(before);
        match environment(name) {
            Some(value) => filled.push_str(&value),
            None => unset.push(name.to_owned()),
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "A" => Some("a".into()),
            "TWO" => Some("two words".into()),
            "NEST" => Some("{$A}{%A%}".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn filled(text: &str) -> String {
        fill_in(text, &environment).map_or_else(|| text.to_owned(), |filled| filled.text)
    }

    #[test]
    fn both_forms_are_filled_in_anywhere_in_a_word() {
        assert_eq!(filled("x{$A}y{%A%}z{$A}"), "xayaza");
        assert_eq!(filled("{$TWO}"), "two words");
        assert_eq!(filled("{$EMPTY}"), "");
        assert_eq!(fill_in("{type} $A %A% }{", &environment), None);
    }

    #[test]
    fn the_second_pass_replaces_references_in_values_of_the_first_only() {
        assert_eq!(filled("{%NEST%}"), "a{%A%}");
        assert_eq!(filled("{$NEST}"), "{$A}{%A%}");
    }

    #[test]
    fn a_variable_that_is_not_set_is_empty_and_named() {
        let filled = fill_in("<{$NO}{%NEITHER%}>", &environment).expect("references");
        assert_eq!(filled.text, "<>");
        assert_eq!(filled.unset, ["NEITHER", "NO"]);
        let braces = fill_in("{$A{$A}}", &environment).expect("a reference");
        assert_eq!(
            (braces.text.as_str(), braces.unset),
            ("}", vec!["A{$A".to_owned()])
        );
    }

    #[test]
    fn other_text_stays() {
        for text in [
            "{$}", "{$}{$A}", "{%}", "{%}%}", "{%%}", "{$A", "{%A}", "{$",
        ] {
            assert_eq!(filled(text), text);
        }
    }
}
