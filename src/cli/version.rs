//! The text of `tapfan --version`: the version, and the commit, compiler, target and features of the build. `-V` prints
//! only the version.

use std::{fmt::Write as _, sync::LazyLock};

/// The features of the crate, and whether this program has them.
const FEATURES: [(&str, bool); 10] = [
    ("admin", cfg!(feature = "admin")),
    ("cli", cfg!(feature = "cli")),
    ("kafka", cfg!(feature = "kafka")),
    ("proto", cfg!(feature = "proto")),
    ("pseudonym", cfg!(feature = "pseudonym")),
    ("resolver", cfg!(feature = "resolver")),
    ("spool", cfg!(feature = "spool")),
    ("tap", cfg!(feature = "tap")),
    ("tls", cfg!(feature = "tls")),
    ("zstd", cfg!(feature = "zstd")),
];

/// The date of the commit, if the build knew it.
pub(super) const COMMIT_DATE: Option<&str> = option_env!("TAPFAN_COMMIT_DATE");

/// Returns the long form of the version. `build.rs` sets the variables.
pub(super) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let features = FEATURES.iter().filter(|(_, has)| *has);
        let features: Vec<&str> = features.map(|(name, _)| *name).collect();
        let mut text = env!("CARGO_PKG_VERSION").to_owned();
        let mut line = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{:9} {value}", format!("{name}:"));
        };
        match (option_env!("TAPFAN_COMMIT"), COMMIT_DATE) {
            (Some(commit), Some(date)) => line("commit", &format!("{commit} of {date}")),
            (Some(commit), None) => line("commit", commit),
            (None, _) => line("commit", "unknown"),
        }
        let compiler = option_env!("TAPFAN_RUSTC").unwrap_or("unknown");
        line("compiler", compiler);
        line("target", option_env!("TAPFAN_TARGET").unwrap_or("unknown"));
        line("features", &features.join(", "));
        text
    });
    &TEXT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_of_the_crate_is_listed() {
        let manifest = include_str!("../../Cargo.toml");
        let (_, features) = manifest.split_once("\n[features]\n").expect("features");
        let (features, _) = features.split_once("\n\n[").expect("the next section");
        let declared = features.lines().filter_map(|line| line.split_once(" = "));
        let mut declared: Vec<&str> = declared.map(|(name, _)| name).collect();
        declared.retain(|name| *name != "default");
        declared.sort_unstable();
        assert_eq!(FEATURES.map(|(name, _)| name).as_slice(), declared);
    }

    #[test]
    fn the_long_form_has_a_line_for_each_fact() {
        let names = long().lines().skip(1).map(|line| line.split(':').next());
        let names: Vec<&str> = names.flatten().collect();
        assert_eq!(names, ["commit", "compiler", "target", "features"]);
        assert!(long().contains("compiler: rustc 1."), "{}", long());
    }
}
