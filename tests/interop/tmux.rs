//! A terminal for programs that need one. The terminal is a session of tmux, with a tmux server of
//! its own.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::process::eventually;

/// A tmux session with one window of 80 columns and 24 lines, in which a shell runs. Dropping this
/// value kills the session.
pub(crate) struct Tmux {
    socket: PathBuf,
    /// The shell's working directory.
    dir: PathBuf,
}

/// The content of the screen.
pub(crate) struct Captured(pub(crate) String);

// === impl Tmux ===

impl Tmux {
    /// Starts a session.
    pub(crate) fn start(dir: &Path) -> Self {
        let tmux = Self {
            socket: dir.join("tmux.sock"),
            dir: dir.to_owned(),
        };
        // Ignores the tmux configuration and the environment of the user who runs the tests.
        tmux.run(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            "env -u NO_COLOR -u RUST_LOG LC_ALL=C.UTF-8 PS1=ready: ENV= sh",
        ]);
        tmux.shows("ready:");
        tmux
    }

    /// Types a line into the shell.
    pub(crate) fn type_line(&self, line: &str) {
        self.run(&["send-keys", "-l", line]);
        self.press("Enter");
    }

    /// Presses a key. `key` is the name of the key in `tmux send-keys`.
    pub(crate) fn press(&self, key: &str) {
        self.run(&["send-keys", key]);
    }

    pub(crate) fn resize(&self, columns: u16, lines: u16) {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        self.run(&["resize-window", "-x", &columns, "-y", &lines]);
    }

    pub(crate) fn screen(&self) -> Captured {
        let output = self.run(&["capture-pane", "-p"]);
        Captured(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the screen contains `words`.
    pub(crate) fn shows(&self, words: &str) -> Captured {
        self.shows_that(words, |screen| screen.0.contains(words))
    }

    /// Waits until the screen satisfies `is_so`.
    pub(crate) fn shows_that(
        &self,
        what: &str,
        mut is_so: impl FnMut(&Captured) -> bool,
    ) -> Captured {
        eventually(&format!("the screen to show {what}"), || {
            let screen = self.screen();
            if is_so(&screen) {
                Ok(screen)
            } else {
                Err(screen)
            }
        })
    }

    /// Returns whether the cursor is visible.
    pub(crate) fn has_cursor(&self) -> bool {
        let output = self.run(&["display-message", "-p", "#{cursor_flag}"]);
        output.stdout.starts_with(b"1")
    }

    /// Closes the terminal while a program runs in it, as if its window were closed.
    pub(crate) fn close(self) {
        self.run(&["kill-server"]);
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .args(arguments)
            .env_remove("TMUX")
            .current_dir(&self.dir)
            .output()
            .unwrap_or_else(|error| {
                panic!("tmux: {error}; tests/interop/install.sh installs what these tests need")
            });
        assert!(output.status.success(), "tmux {arguments:?}: {output:?}");
        output
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let mut kill = Command::new("tmux");
        // Killing the tmux server also kills the shell and its programs. Ignores errors.
        let _ = kill.arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

// === impl Captured ===

impl Captured {
    /// Finds the first line that starts with `beginning`, and returns the rest of that line.
    pub(crate) fn line(&self, beginning: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(beginning))
    }
}

impl fmt::Display for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the screen is\n{}", self.0)
    }
}
