//! Rules for names. A name is looked up once for each of its labels, no matter how many rules there are.

use std::collections::HashMap;

use super::{
    BadRule,
    rules::{Verdict, verdict},
};
use crate::dns::Name;

/// Rules for names and the names below them.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// The rules of each name in wire format, in lower case.
    rules: HashMap<Box<[u8]>, Rule>,
    /// The verdict on a frame that no rule matches.
    otherwise: Verdict,
    count: usize,
}

/// The rules of one name, each with its place in the list.
#[derive(Debug, Clone, Copy, Default)]
struct Rule {
    /// The rule for the name and all names below it.
    all: Option<(usize, Verdict)>,
    /// The rule for only the names below it.
    below: Option<(usize, Verdict)>,
}

/// The longest name in wire format, and the longest label, in bytes.
const LONGEST: usize = 255;
const LONGEST_LABEL: usize = 63;

// === impl Names ===

impl Names {
    pub(super) fn add(&mut self, text: &str) -> Result<(), BadRule> {
        let (verdict, name) = verdict(text);
        let (only_below, name) = match name.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, name),
        };
        let wire = wire(name).ok_or_else(|| BadRule::Name(text.to_owned()))?;
        let rule = self.rules.entry(wire).or_default();
        let of_kind = if only_below {
            &mut rule.below
        } else {
            &mut rule.all
        };
        // If several rules have the same name, the first of them decides.
        of_kind.get_or_insert((self.count, verdict));
        self.count += 1;
        if verdict == Verdict::Keep {
            self.otherwise = Verdict::Drop;
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns whether a frame with this name passes.
    pub(super) fn pass(&self, name: Option<&Name<'_>>) -> bool {
        if self.is_empty() {
            return true;
        }
        let first = name.and_then(|name| self.first(name));
        first.unwrap_or(self.otherwise) == Verdict::Keep
    }

    /// The verdict of the first rule that matches `name`.
    fn first(&self, name: &Name<'_>) -> Option<Verdict> {
        let mut buffer = [0; LONGEST];
        let mut length = 0;
        for label in name {
            let bytes = label.as_slice();
            let end = length + 1 + bytes.len();
            let room = buffer.get_mut(length..end)?;
            let (head, tail) = room.split_first_mut()?;
            *head = u8::try_from(bytes.len()).ok()?;
            tail.copy_from_slice(bytes);
            tail.make_ascii_lowercase();
            length = end;
        }
        let mut rest = buffer.get(..length)?;
        let mut first: Option<(usize, Verdict)> = None;
        let mut is_itself = true;
        loop {
            if let Some(rule) = self.rules.get(rest) {
                let below = rule.below.filter(|_| !is_itself);
                let found = [rule.all, below, first].into_iter().flatten();
                first = found.min_by_key(|(place, _)| *place);
            }
            let label = usize::from(*rest.first()?);
            if label == 0 {
                return first.map(|(_, verdict)| verdict);
            }
            rest = rest.get(1 + label..)?;
            is_itself = false;
        }
    }
}

impl Default for Names {
    fn default() -> Self {
        Self {
            rules: HashMap::new(),
            otherwise: Verdict::Keep,
            count: 0,
        }
    }
}

/// Returns the wire format of a name, in lower case.
fn wire(text: &str) -> Option<Box<[u8]>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut wire = Vec::new();
    for label in text.split('.').filter(|_| !text.is_empty()) {
        if label.is_empty() || label.len() > LONGEST_LABEL {
            return None;
        }
        wire.push(u8::try_from(label.len()).ok()?);
        wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    wire.push(0);
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\' && byte != b'*';
    let fits = wire.len() <= LONGEST && text.bytes().all(is_plain);
    fits.then(|| wire.into_boxed_slice())
}
