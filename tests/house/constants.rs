//! Reads the numbers in the source code: constants, and struct fields that have a number or a duration as their value.

use std::{fmt, time::Duration};

use crate::source::{Source, sources};

/// The source files in which constants are looked up.
pub(crate) struct Constants(Vec<(String, String)>);

/// A duration, which is printed as in the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

/// A number of bytes, which is printed as in the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

// === impl Constants ===

impl Constants {
    pub(crate) fn read() -> Self {
        let code = |source: &Source| (source.path.clone(), source.code_without_tests());
        Self(sources().iter().map(code).collect())
    }

    /// Returns the value of the constant `name`. `path` is the file that declares the constant, or a folder that
    /// contains this file.
    pub(crate) fn count(&self, path: &str, name: &str) -> u64 {
        let declared = format!("const {name}: ");
        let found: Vec<(&str, &str)> = self
            .below(path)
            .flat_map(|(file, code)| {
                code.match_indices(&declared)
                    .map(move |(at, _)| (file, &code[at..]))
            })
            .collect();
        let [(file, declaration)] = found.as_slice() else {
            panic!(
                "{} constants below {path} are called {name}: correct their place in tests/house/limits.rs",
                found.len()
            );
        };
        let (_, value) = declaration.split_once("= ").expect("a value");
        let (value, _) = value.split_once(';').expect("the end of the constant");
        self.evaluate(file, value).unwrap_or_else(|| {
            panic!("{file}: this test does not understand `{value}` of {name}; teach it")
        })
    }

    pub(crate) fn time(&self, path: &str, name: &str) -> Time {
        Time(Duration::from_millis(self.count(path, name)))
    }

    pub(crate) fn size(&self, path: &str, name: &str) -> Size {
        Size(self.count(path, name))
    }

    /// Returns the value that the file `path` gives to a struct field with this name. The value must be a plain number
    /// or a duration.
    pub(crate) fn field(&self, path: &str, name: &str) -> u64 {
        let (file, code) = self
            .below(path)
            .next()
            .unwrap_or_else(|| panic!("there is no {path}: correct tests/house/limits.rs"));
        let set = format!(" {name}: ");
        let values = code.split(&set).skip(1);
        let mut values = values.filter_map(|rest| self.evaluate(file, rest.split(",\n").next()?));
        values
            .next()
            .unwrap_or_else(|| panic!("{path} sets no field {name}: correct tests/house/limits.rs"))
    }

    fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let folder = format!("{}/", path.trim_end_matches('/'));
        let below = move |file: &str| file == path || file.starts_with(&folder);
        let all = self
            .0
            .iter()
            .map(|(file, code)| (file.as_str(), code.as_str()));
        all.filter(move |(file, _)| below(file))
    }

    /// Returns the value of an expression that consists of numbers, durations and constants of the same file. A
    /// duration is returned in milliseconds.
    fn evaluate(&self, file: &str, expression: &str) -> Option<u64> {
        let expression = expression.trim();
        let part = |part: &str| self.evaluate(file, part);
        if let Some(duration) = expression.strip_prefix("Duration::from_") {
            let (unit, argument) = duration.split_once('(')?;
            let argument = argument.strip_suffix(')')?;
            let unit = match unit {
                "millis" => 1,
                "secs" => 1000,
                "mins" => 60 * 1000,
                "hours" => 60 * 60 * 1000,
                _ => return None,
            };
            return part(argument)?.checked_mul(unit);
        }
        // Splits the expression first at the operators with the lowest precedence.
        if let Some((left, right)) = expression.rsplit_once("<<") {
            return part(left)?.checked_shl(u32::try_from(part(right)?).ok()?);
        }
        if let Some((left, right)) = expression.rsplit_once(" + ") {
            return part(left)?.checked_add(part(right)?);
        }
        if let Some((left, right)) = expression.rsplit_once(" * ") {
            return part(left)?.checked_mul(part(right)?);
        }
        let digits = expression.replace('_', "");
        if digits.starts_with(|c: char| c.is_ascii_digit()) {
            return digits.parse().ok();
        }
        let is_name = expression
            .chars()
            .all(|c| c.is_ascii_uppercase() || c == '_');
        (is_name && !expression.is_empty()).then(|| self.count(file, expression))
    }
}

// === impl Time, Size ===

impl Time {
    /// Returns the number of whole days in a duration.
    pub(crate) fn days(self) -> u64 {
        self.0.as_secs() / (24 * 60 * 60)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(f, "{} s", self.0.as_secs()),
            _ => write!(f, "{} ms", self.0.as_millis()),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes > 0 && bytes % (1 << 10) == 0 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

#[test]
fn constants_are_evaluated() {
    let code = "const A: u64 = 1 << 20;\nconst B: Duration = Duration::from_mins(A);\n x: Duration::from_secs(2 + 1),\n";
    let constants = Constants(vec![("src/a/b.rs".to_owned(), code.to_owned())]);
    assert_eq!(constants.size("src/a", "A").to_string(), "1 MiB");
    assert_eq!(constants.count("src/a/b.rs", "B"), 60_000 << 20);
    assert_eq!(constants.field("src/a", "x"), 3000);
    assert_eq!(
        constants.evaluate("src/a/b.rs", "32 * 10_000 + 1"),
        Some(320_001)
    );
    assert_eq!(constants.evaluate("src/a/b.rs", "f(1)"), None);
    assert_eq!(Time(Duration::from_millis(250)).to_string(), "250 ms");
    assert_eq!(Time(Duration::from_mins(1)).to_string(), "60 s");
}
