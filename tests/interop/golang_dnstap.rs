//! The collector `dnstap`, which is the command line tool of golang-dnstap. It writes the frames to
//! a file.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    collector::Collector,
    frame_streams::whole_file,
    fstrm_capture::{RECORDINGS, recorded, replay},
    process::{Process, eventually, free_address, unused},
    tapfan::{Listening, Tapfan},
};

/// The address at which a collector tool listens.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// A running `dnstap -u` (unix socket) or `dnstap -l` (TCP).
pub(crate) struct GolangDnstap {
    process: Process,
    dir: PathBuf,
    file: PathBuf,
}

// === impl Place ===

impl Place {
    pub(crate) fn unix(dir: &Path, name: &str) -> Self {
        Self::Unix(dir.join(name))
    }

    pub(crate) fn tcp() -> Self {
        Self::Tcp(free_address())
    }

    /// Returns the address in the syntax of a Tapfile. A TCP address has a host name instead of an
    /// IP address, so that tapfan has to look the name up.
    pub(crate) fn socket(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix://{}", path.display()),
            Self::Tcp(address) => format!("tcp://localhost:{}", address.port()),
        }
    }
}

// === impl GolangDnstap ===

impl GolangDnstap {
    /// Starts `dnstap`.
    pub(crate) fn start(dir: &Path, place: &Place) -> Self {
        let file = unused(dir, "golang.fstrm");
        let mut command = Command::new("/usr/bin/dnstap");
        match place {
            Place::Unix(path) => command.arg("-u").arg(path),
            Place::Tcp(address) => command.arg("-l").arg(address.to_string()),
        };
        command.arg("-w").arg(&file);
        Self {
            process: Process::start(dir, command),
            dir: dir.to_owned(),
            file,
        }
    }

    /// Waits until a sender is connected to the tool.
    pub(crate) fn wait_for_a_sender(&mut self) {
        eventually("a connection to dnstap", || {
            self.process.must_run();
            let sockets = self.process.sockets();
            if sockets >= 2 {
                Ok(())
            } else {
                Err(format!("it has {sockets} sockets"))
            }
        });
    }

    /// Waits until the tool has written `count` frames, and returns the frames of its finished
    /// files.
    ///
    /// Version 0.4.0 of the tool never flushes its file, not even when it exits. But on SIGHUP it
    /// finishes the file and starts a new one. So this function renames the file and sends SIGHUP.
    pub(crate) fn collected(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        eventually(&format!("{count} frames in dnstap's files"), || {
            let finished = unused(&self.dir, "golang.finished.fstrm");
            fs::rename(&self.file, &finished).expect("its file");
            self.process.signal(Signal::SIGHUP);
            eventually("dnstap to begin a new file", || fs::metadata(&self.file));
            frames.extend(whole_file(&finished));
            if frames.len() >= count {
                Ok(())
            } else {
                Err(format!("there are {}", frames.len()))
            }
        });
        frames
    }

    /// Stops the tool.
    pub(crate) fn stop(mut self) {
        self.process.interrupt();
    }
}

fn restart(place: &Place, dir: &Path) {
    let ingress = dir.join("tapfan.sock");
    let path = dir.join("other.sock");
    let other = Collector::unix(&path);
    let tapfile = format!(
        "listen unix://{}\ndnstap {} full\ndnstap {} full\n",
        ingress.display(),
        place.socket(),
        path.display(),
    );
    let [before, away, after] = RECORDINGS.map(recorded);

    let mut golang = GolangDnstap::start(dir, place);
    let tapfan = Tapfan::start(dir, &tapfile, &Listening::Unix(ingress.clone()));
    golang.wait_for_a_sender();
    replay(dir, RECORDINGS[0], &ingress);
    assert!(
        golang.collected(before.len()) == before,
        "frames before its restart"
    );
    golang.stop();

    replay(dir, RECORDINGS[1], &ingress);
    other.wait_for(before.len() + away.len());

    if let Place::Unix(path) = place {
        // Version 0.4.0 does not remove its socket file when it exits, and refuses to start while
        // the file exists.
        let _ = fs::remove_file(path);
    }
    let mut golang = GolangDnstap::start(dir, place);
    golang.wait_for_a_sender();
    replay(dir, RECORDINGS[2], &ingress);
    let queued = [away.clone(), after.clone()].concat();
    assert!(
        golang.collected(queued.len()) == queued,
        "frames after its restart"
    );

    tapfan.stop();
    other.wait_for_the_end();
    assert!(
        other.frames() == [before, queued].concat(),
        "frames at the other sink"
    );
}

#[test]
#[ignore = "needs real dnstap tools: tests/interop/install.sh"]
fn dnstap_gets_its_queue_after_a_restart_over_unix() {
    let dir = TempDir::new().expect("a directory");
    restart(&Place::unix(dir.path(), "golang.sock"), dir.path());
}

#[test]
#[ignore = "needs real dnstap tools: tests/interop/install.sh"]
fn dnstap_gets_its_queue_after_a_restart_over_tcp() {
    let dir = TempDir::new().expect("a directory");
    restart(&Place::tcp(), dir.path());
}
