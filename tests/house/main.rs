//! Tests of those rules of the project that a compiler does not check. The tests read the source code and the documents
//! as text.
//!
//! A failure says which rule is broken, where it is broken, and what to do. CONTRIBUTING.md explains the rules. The
//! tests use no code of the crate, so a test fails only if a rule is broken.

mod constants;
mod documented;
mod features;
mod fuzzing;
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

/// Panics if there are problems. The message says what to do, and lists the problems, one per line.
#[track_caller]
fn assert_none(problems: &[String], advice: &str) {
    let list = problems.join("\n");
    assert!(problems.is_empty(), "\n{list}\n{advice}");
}
