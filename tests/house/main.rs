//! The rules of the project that a compiler does not check, read from its sources and documents as text.
//!
//! Each failure says which rule is broken, where, and what to do. CONTRIBUTING.md explains the rules. The tests do not
//! compile the crate, so a change of the crate breaks a test here only if it breaks a rule.

mod constants;
mod documented;
mod features;
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

/// Fails if there are problems. The message lists them, one per line, and says what to do.
#[track_caller]
fn assert_none(problems: &[String], advice: &str) {
    let list = problems.join("\n");
    assert!(problems.is_empty(), "\n{list}\n{advice}");
}
