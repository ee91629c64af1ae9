//! Runs a test in its own process, because the test measures the resources of its whole process.

use std::{env, future::Future, process::Command};

const MARK: &str = "TAPFAN_TEST_ALONE";

/// Starts a new process that runs only the test `name`. In that process, this function runs `body`.
/// Panics if the new process reports a failure.
pub(crate) fn run<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    if env::var_os(MARK).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        return runtime.block_on(body());
    }
    let tests = env::current_exe().expect("this program");
    let output = Command::new(tests)
        .args([name, "--exact", "--nocapture"])
        .env(MARK, "1")
        .output()
        .expect("run");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(
        stdout.contains("1 passed"),
        "no test with this name: {stdout}"
    );
}
