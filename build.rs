//! Records for `tapfan --version` from what the program was built. With the feature `proto`, generates the prost types of
//! `proto/dnstap.proto`. protox compiles the schema, so no `protoc` is needed.

use std::{env, error::Error, fs, path::Path, process::Command};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CLI").is_some() {
        record_origin();
    }
    generate()
}

#[cfg(not(feature = "proto"))]
#[allow(clippy::unnecessary_wraps)] // With the feature `proto`, this function can fail.
fn generate() -> Result<(), Box<dyn Error>> {
    Ok(())
}

#[cfg(feature = "proto")]
fn generate() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/dnstap.proto");
    let schema = protox::compile(["proto/dnstap.proto"], ["proto"])?;
    prost_build::Config::new().compile_fds(schema)?;
    Ok(())
}

/// Sets the variables that `src/cli/version.rs` reads: the commit with its date if they are known, the compiler and the
/// target.
fn record_origin() {
    for name in ["TAPFAN_COMMIT", "TAPFAN_COMMIT_DATE"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            println!("cargo:rustc-env={name}={value}");
        }
    };
    let (commit, date) = origin();
    set("TAPFAN_COMMIT", commit);
    set("TAPFAN_COMMIT_DATE", date);
    set("TAPFAN_TARGET", env::var("TARGET").ok());
    let compiler = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    set("TAPFAN_RUSTC", answer(Command::new(compiler).arg("-V")));
}

/// Returns the commit and its date. A packager sets both in the environment if the build has no repository. A crate
/// contains the commit in a file that cargo has written.
fn origin() -> (Option<String>, Option<String>) {
    let given = |name| env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(commit) = given("TAPFAN_COMMIT") {
        return (Some(commit), given("TAPFAN_COMMIT_DATE"));
    }
    if let Some(commit) = of_crate(Path::new(".cargo_vcs_info.json")) {
        return (Some(commit), None);
    }
    // A debug build records no commit: it would be compiled again after each commit.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        return of_repository();
    }
    (None, None)
}

/// The value of `sha1` in the file that `cargo package` adds to a crate.
fn of_crate(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}

/// The commit of the repository in this folder. Returns nothing if git is missing, or if the folder is an unpacked
/// archive inside of another repository.
fn of_repository() -> (Option<String>, Option<String>) {
    let git = |arguments: &[&str]| answer(Command::new("git").args(arguments));
    let same = |top: &String| fs::canonicalize(top).ok() == fs::canonicalize(".").ok();
    if git(&["rev-parse", "--show-toplevel"]).is_none_or(|top| !same(&top)) {
        return (None, None);
    }
    // Each commit and each checkout appends a line to this log.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo:rerun-if-changed={log}");
    }
    let commit = git(&["rev-parse", "HEAD"]);
    let date = git(&["log", "-1", "--format=%cs"]);
    (commit, date)
}

/// The first line that a program prints, unless it cannot be run, fails or prints nothing.
fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|it| it.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}
