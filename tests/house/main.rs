//! The rules of the project that a compiler does not check, read from its sources and documents as text.
//!
//! Each failure says which rule is broken, where, and what to do. CONTRIBUTING.md has the rules in words. Only the standard
//! library is used, so a change of the crate breaks no test here except by breaking a rule.

mod constants;
mod documented;
mod language;
mod layers;
mod lengths;
mod limits;
mod markdown;
mod named;
mod names;
mod source;
mod status_fields;
mod tables;
mod tree;

/// Fails with every problem, one a line, and with what to do about them.
#[track_caller]
fn assert_none(problems: &[String], advice: &str) {
    let list = problems.join("\n");
    assert!(problems.is_empty(), "\n{list}\n{advice}");
}
