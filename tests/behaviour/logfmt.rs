//! A logfmt parser written from the grammar of go-logfmt, independent of tapfan's own writer.

use std::{iter::Peekable, str::Chars};

/// The key-value pairs of one line, in their order in the line.
pub(crate) type Pairs = Vec<(String, String)>;

/// Parses one line. The error describes the part that is not logfmt.
pub(crate) fn read(line: &str) -> Result<Pairs, String> {
    let mut pairs: Pairs = Vec::new();
    let mut rest = line.chars().peekable();
    while rest.peek().is_some() {
        let key: String = take_while(&mut rest, |c| c > ' ' && !matches!(c, '=' | '"'));
        if key.is_empty() {
            return Err(format!("no key after {pairs:?}"));
        }
        if rest.next() != Some('=') {
            return Err(format!("{key} without a value"));
        }
        let value = if rest.peek() == Some(&'"') {
            rest.next();
            quoted(&mut rest).ok_or_else(|| format!("{key} is not quoted well"))?
        } else {
            take_while(&mut rest, |c| c > ' ' && !matches!(c, '=' | '"'))
        };
        match rest.next() {
            None => {}
            Some(' ') if rest.peek().is_some() => {}
            other => return Err(format!("{other:?} behind {key}={value}")),
        }
        if pairs.iter().any(|(other, _)| *other == key) {
            return Err(format!("{key} twice"));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

fn take_while(rest: &mut Peekable<Chars<'_>>, is_part: impl Fn(char) -> bool) -> String {
    let mut taken = String::new();
    while let Some(c) = rest.next_if(|c| is_part(*c)) {
        taken.push(c);
    }
    taken
}

/// Reads up to the closing quote, with the escapes of JSON.
fn quoted(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut value = String::new();
    loop {
        match rest.next()? {
            '"' => return Some(value),
            '\\' => value.push(match rest.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let digits: String = (0..4).filter_map(|_| rest.next()).collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                }
                c @ ('"' | '\\') => c,
                _ => return None,
            }),
            c if c < ' ' => return None,
            c => value.push(c),
        }
    }
}
