//! Tests of `tapfan top`. The tests use it as a person would: in a terminal and with keys, while a
//! real collector goes down and comes back.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{
    fstrm_capture::{FstrmCapture, replay},
    golang_dnstap::{GolangDnstap, Place},
    process::{eventually, free_address},
    tapfan::{Listening, Tapfan},
    tmux::Tmux,
};

/// A sender that sends frames until this value is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    sending: Option<JoinHandle<()>>,
}

// === impl Load ===

impl Load {
    fn start(dir: &Path, to: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (dir, to, stopped) = (dir.to_owned(), to.to_owned(), Arc::clone(&stop));
        let sending = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                replay(&dir, "unbound.fstrm", &to);
            }
        });
        Self {
            stop,
            sending: Some(sending),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sending) = self.sending.take() {
            // Ignores a panic of the thread, because its message was printed already.
            let _ = sending.join();
        }
    }
}

/// A running router with two sinks, and the addresses of the router.
struct Scene {
    dir: TempDir,
    admin: SocketAddr,
    ingress: PathBuf,
    places: [Place; 2],
}

// === impl Scene ===

impl Scene {
    fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        Self {
            admin: free_address(),
            ingress: dir.path().join("tapfan.sock"),
            places: [Place::tcp(), Place::unix(dir.path(), "archive.sock")],
            dir,
        }
    }

    fn start(&self) -> Tapfan {
        let [siem, archive] = self.places.each_ref().map(Place::socket);
        let tapfile = format!(
            "listen unix://{}\nadmin {}\n\
             dnstap {siem} full {{\n    name siem\n}}\ndnstap {archive} full {{\n    name archive\n}}\n",
            self.ingress.display(),
            self.admin
        );
        let listening = Listening::Unix(self.ingress.clone());
        Tapfan::start(self.dir.path(), &tapfile, &listening)
    }

    /// Starts `tapfan top` in a terminal, with an interval of 200 ms.
    fn top(&self) -> Tmux {
        let tmux = Tmux::start(self.dir.path());
        // Saves the settings of the terminal, to compare them with the settings after `tapfan top`
        // has ended.
        tmux.type_line("stty -g > before");
        self.run_top(&tmux);
        tmux
    }

    fn run_top(&self, tmux: &Tmux) {
        tmux.type_line(&format!(
            "sh -c 'echo $$ > pid; exec {} top --admin {} --interval 200ms'; echo \"left with $?\"",
            env!("CARGO_BIN_EXE_tapfan"),
            self.admin
        ));
    }

    /// Returns the pid of the `tapfan top` that was started last.
    fn pid_of_top(&self) -> i32 {
        let pid = self.dir.path().join("pid");
        let pid = fs::read_to_string(pid).expect("a file of the shell's");
        pid.trim().parse().expect("a number")
    }

    /// Asserts that the terminal is as it was before `tapfan top`: it shows the shell's screen and
    /// the cursor, and echoes input.
    fn assert_terminal_restored(tmux: &Tmux) {
        let screen = tmux.shows("left with 0");
        assert!(
            screen.line("SINK").is_none() && screen.line("  SINK").is_none(),
            "{screen}"
        );
        tmux.type_line("stty -g | cmp - before && echo \"the s\"\"ame\"");
        tmux.shows("the same");
        assert!(tmux.has_cursor());
    }
}

#[test]
#[ignore = "needs tmux and real dnstap tools: tests/interop/install.sh"]
fn top_shows_a_collector_go_down_and_come_back() {
    let scene = Scene::new();
    let dir = scene.dir.path();
    let mut siem = FstrmCapture::start(dir, &scene.places[0]);
    let mut archive = GolangDnstap::start(dir, &scene.places[1]);
    let tapfan = scene.start();
    siem.wait_for_a_sender();
    archive.wait_for_a_sender();
    let load = Load::start(dir, &scene.ingress);
    let tmux = scene.top();

    tmux.shows("all 2 sinks are up");
    // The sinks must be in the order of the Tapfile, and frames must be delivered.
    let row = |screen: &str, sink: &str| -> Option<usize> {
        screen
            .lines()
            .position(|line| line.get(2..).is_some_and(|line| line.starts_with(sink)))
    };
    let screen = tmux.shows_that("a delivery rate for siem", |screen| {
        let siem = screen
            .line("> siem")
            .map(|line| line.split_whitespace().nth(3));
        siem.flatten().is_some_and(|out| !matches!(out, "-" | "0"))
    });
    assert!(
        row(&screen.0, "siem") < row(&screen.0, "archive"),
        "{screen}"
    );
    tmux.press("n");
    let screen = tmux.shows("SINK▼");
    assert!(
        row(&screen.0, "archive") < row(&screen.0, "siem"),
        "{screen}"
    );
    // After the rows were sorted, the same sink must still be selected.
    assert!(screen.line("> siem").is_some(), "{screen}");

    siem.stop();
    tmux.shows("1 of 2 sinks are up");
    tmux.press("s");
    let screen = tmux.shows("STATE▼");
    assert!(
        row(&screen.0, "siem") < row(&screen.0, "archive"),
        "{screen}"
    );
    tmux.press("Enter");
    let screen = tmux.shows("EVENTS, newest first");
    assert!(screen.line("siem").is_some(), "{screen}");
    tmux.shows("  down, in ");
    tmux.shows("Connection refused");

    let mut siem = FstrmCapture::start(dir, &scene.places[0]);
    siem.wait_for_a_sender();
    tmux.shows("  up, at tcp://");
    tmux.press("Right");
    tmux.shows("archive  up");
    tmux.press("?");
    tmux.shows("Keys");
    tmux.press("?");
    tmux.press("Escape");
    tmux.shows("all 2 sinks are up");
    tmux.resize(40, 10);
    tmux.shows_that("the table, narrow", |screen| {
        screen
            .line("  SINK")
            .is_some_and(|head| head.contains("QUEUE") && !head.contains("DROPPED"))
    });
    tmux.resize(100, 30);
    tmux.shows("DROPPED");

    drop(load);
    tapfan.stop();
    tmux.shows("LOST the router");
    tmux.shows("Connection refused");
    let tapfan = scene.start();
    tmux.shows("all 2 sinks are up");
    tmux.press("q");
    Scene::assert_terminal_restored(&tmux);
    tapfan.stop();
}

#[test]
#[ignore = "needs tmux: tests/interop/install.sh"]
fn signals_and_keys_restore_the_terminal() {
    let scene = Scene::new();
    let tmux = scene.top();
    tmux.shows("NO ROUTER");
    tmux.press("C-c");
    Scene::assert_terminal_restored(&tmux);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        tmux.type_line("clear");
        scene.run_top(&tmux);
        tmux.shows("NO ROUTER");
        kill(Pid::from_raw(scene.pid_of_top()), signal).expect("a signal to our own");
        Scene::assert_terminal_restored(&tmux);
    }
}

#[test]
#[ignore = "needs tmux: tests/interop/install.sh"]
fn top_exits_when_its_terminal_closes() {
    let scene = Scene::new();
    let tmux = scene.top();
    tmux.shows("NO ROUTER");
    let process = format!("/proc/{}/cmdline", scene.pid_of_top());
    tmux.close();
    eventually("the end of top", || {
        // A process that has exited may still be in `/proc` as a zombie. The command line of a
        // zombie is empty.
        match fs::read(&process) {
            Ok(line) if !line.is_empty() => Err("it runs"),
            _ => Ok(()),
        }
    });
}

#[test]
#[ignore = "needs tmux: tests/interop/install.sh"]
fn top_without_a_terminal_is_a_usage_error() {
    let dir = TempDir::new().expect("a directory");
    let tmux = Tmux::start(dir.path());
    let program = env!("CARGO_BIN_EXE_tapfan");
    for (line, reason) in [
        (format!("{program} top | cat"), "standard output is not one"),
        (
            format!("{program} top < /dev/null"),
            "standard input is not one",
        ),
        (format!("TERM=dumb {program} top"), "TERM is unset or dumb"),
    ] {
        tmux.type_line("clear");
        tmux.type_line(&line);
        tmux.shows(reason);
    }
    tmux.type_line(&format!("{program} top < /dev/null; echo left with $?"));
    tmux.shows("left with 2");
}
