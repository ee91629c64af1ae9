//! Writes panic messages to the log. The standard library's panic hook would write to stderr directly, and a worker
//! thread could block there until the reader of stderr reads.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::{self, PanicHookInfo},
    sync::Arc,
    thread,
};

use tracing::{Level, enabled, error};

use super::queue::Queue;

/// Logs each panic from now on. If the log level hides errors, the message goes to `queue` directly, so that every
/// panic is reported.
pub(super) fn log(queue: &Arc<Queue>) {
    let queue = Arc::clone(queue);
    panic::set_hook(Box::new(move |info| {
        if enabled!(Level::ERROR) {
            report(info);
        } else {
            queue.push(format!("{info}\n").as_bytes());
        }
    }));
}

fn report(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let location = info.location().map(tracing::field::display);
    let panic = info.payload_as_str().unwrap_or("not a text");
    // The backtrace is captured only if RUST_BACKTRACE is set, as in the standard library's hook.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    let backtrace = backtrace.as_ref().map(tracing::field::display);
    error!(
        thread,
        location, panic, backtrace, "a thread of tapfan panicked; please report it"
    );
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        io::{Read as _, Write as _},
        os::{fd::OwnedFd, unix::net::UnixStream},
        process::{self, Command, Stdio},
        sync::mpsc,
        time::Duration,
    };

    use super::super::{Log, LogArgs, LogFormat, Outlet};

    const LEVEL: &str = "TAPFAN_TEST_PANIC_AT_LEVEL";
    const NAME: &str = "cli::log::panics::tests::a_panic_is_logged_without_waiting_for_the_reader";

    /// The hook affects the whole process, so this test runs itself in a child process. The stderr of that process is full.
    #[test]
    fn a_panic_is_logged_without_waiting_for_the_reader() {
        if let Ok(level) = env::var(LEVEL) {
            panic_in_a_thread(&level);
        }
        for level in ["info", "off"] {
            let (mut reader, theirs) = UnixStream::pair().expect("a pair");
            theirs.set_nonblocking(true).expect("set");
            while (&theirs).write(&[b'.'; 4096]).is_ok() {}
            theirs.set_nonblocking(false).expect("set");
            let mut child = Command::new(env::current_exe().expect("this program"))
                .args(["--exact", NAME, "--nocapture"])
                .env(LEVEL, level)
                .stdout(Stdio::piped())
                .stderr(OwnedFd::from(theirs))
                .spawn()
                .expect("it runs");
            let mut stdout = child.stdout.take().expect("piped");
            let (sender, receiver) = mpsc::channel();
            std::thread::spawn(move || {
                let (mut text, mut byte) = (String::new(), [0]);
                while !text.contains("joined") && stdout.read(&mut byte).is_ok_and(|read| read > 0)
                {
                    text.push(char::from(byte[0]));
                }
                sender.send(text)
            });
            let said = receiver.recv_timeout(Duration::from_mins(1));
            if said.is_err() {
                child.kill().expect("it runs");
            }
            let said = said.expect("the thread waits for a reader");
            assert!(said.contains("joined"), "{said}");
            let mut text = String::new();
            reader.read_to_string(&mut text).expect("text");
            assert!(text.contains("of no use"), "{level}: {text}");
            assert_eq!(text.contains("please report it"), level == "info", "{text}");
            assert!(child.wait().expect("a child").success());
        }
    }

    fn panic_in_a_thread(level: &str) -> ! {
        let args = LogArgs {
            log_format: LogFormat::Text,
            log_level: Some(level.to_owned()),
        };
        let log = Log::init(&args, "info", Outlet::queued()).expect("a level");
        log.outlet.start().expect("a thread");
        let thread = std::thread::spawn(|| panic!("of no use"));
        assert!(thread.join().is_err());
        println!("joined");
        drop(log);
        process::exit(0);
    }
}
