//! The build script. Records the commit, the compiler and the target for `tapfan --version`. With the feature `proto`,
//! it also generates the prost types of `proto/dnstap.proto`. The crate protox compiles the schema, so no `protoc` is
//! needed.

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

/// Sets the variables that `src/cli/version.rs` reads: the compiler, the target and, if they are known, the commit and
/// its date.
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

/// Returns the commit and its date, as far as they are known. Environment variables that a packager sets come first.
/// Next comes the file with the commit that `cargo package` adds to a crate, and last the git repository.
fn origin() -> (Option<String>, Option<String>) {
    let given = |name| env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(commit) = given("TAPFAN_COMMIT") {
        return (Some(commit), given("TAPFAN_COMMIT_DATE"));
    }
    if let Some(commit) = of_crate(Path::new(".cargo_vcs_info.json")) {
        return (Some(commit), None);
    }
    // A debug build records no commit. If it did, cargo would have to build the program again after each commit.
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

/// Returns the commit of the git repository in this folder, and its date. Returns nothing if git is missing, or if the
/// folder is an unpacked archive inside another repository.
fn of_repository() -> (Option<String>, Option<String>) {
    let git = |arguments: &[&str]| answer(Command::new("git").args(arguments));
    let same = |top: &String| fs::canonicalize(top).ok() == fs::canonicalize(".").ok();
    if git(&["rev-parse", "--show-toplevel"]).is_none_or(|top| !same(&top)) {
        return (None, None);
    }
    // git appends a line to `logs/HEAD` at each commit and each checkout, so a change of this file means that HEAD may
    // have moved.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo:rerun-if-changed={log}");
    }
    let commit = git(&["rev-parse", "HEAD"]);
    let date = git(&["log", "-1", "--format=%cs"]);
    (commit, date)
}

/// Returns the first line that a program prints. Returns `None` if the program cannot be run, fails or prints nothing.
fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|it| it.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}
