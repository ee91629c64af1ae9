//! The process at the other end of a unix socket.

use std::{fmt, fs};

use tokio::net::UnixStream;

/// A process that connected to a unix socket, as the kernel recorded it at that moment (`SO_PEERCRED`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeerProcess {
    /// `None` if the process is outside of our PID namespace.
    pub(crate) pid: Option<i32>,
    pub(crate) uid: u32,
}

// === impl PeerProcess ===

impl PeerProcess {
    pub(super) fn of(stream: &UnixStream) -> Option<Self> {
        let peer = stream.peer_cred().ok()?;
        Some(Self {
            // 0 means that the process is outside our PID namespace.
            pid: peer.pid().filter(|pid| *pid > 0),
            uid: peer.uid(),
        })
    }

    /// Returns the name of the program, of at most 15 bytes; `None` if the system does not report it. If the process
    /// has ended, its number may belong to another process by now, so the name is only a hint.
    pub(crate) fn program(&self) -> Option<String> {
        let name = fs::read(format!("/proc/{}/comm", self.pid?)).ok()?;
        let name = String::from_utf8_lossy(&name);
        Some(name.trim_end_matches('\n').to_owned())
    }
}

impl fmt::Display for PeerProcess {
    /// Writes the process as in log lines: `pid 4711, uid 104`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "pid {pid}, uid {}", self.uid),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_program_of_a_peer_is_known() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let peer = PeerProcess::of(&ours).expect("known");
        assert_eq!(
            peer.pid.map(i32::cast_unsigned),
            Some(std::process::id()),
            "{peer}"
        );
        // The kernel keeps 15 bytes of a name.
        let own = std::env::current_exe().expect("a program");
        let own = own.file_name().expect("a name").to_string_lossy();
        let own: String = own.chars().take(15).collect();
        assert_eq!(peer.program(), Some(own));
        let elsewhere = PeerProcess { pid: None, ..peer };
        assert_eq!(elsewhere.program(), None);
    }
}
