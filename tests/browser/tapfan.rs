//! The program under test, with an admin endpoint that keeps its address when the program restarts.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use socket2::{Domain, Socket, Type};

use crate::wait::until;

/// A program with a Tapfile and a fixed address for its admin endpoint. The test may start and stop
/// the program several times.
pub(crate) struct Tapfan {
    folder: PathBuf,
    admin: SocketAddr,
    /// A bound socket that reserves the port of the admin endpoint while the program does not run.
    _reserved: Socket,
    child: Option<Child>,
}

impl Tapfan {
    /// Writes the Tapfile to `folder`, which will be the working directory of the program. Does not
    /// start the program.
    pub(crate) fn new(folder: &Path, tapfile: &str) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("set");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("bound");
        let admin = socket.local_addr().expect("bound").as_socket();
        let admin = admin.expect("an IPv4 address");
        let tapfile = format!("admin {admin}\n{tapfile}");
        fs::write(folder.join("Tapfile"), tapfile).expect("written");
        Self {
            folder: folder.to_owned(),
            admin,
            _reserved: socket,
            child: None,
        }
    }

    /// Returns the URL of the page.
    pub(crate) fn page(&self) -> String {
        format!("http://{}/", self.admin)
    }

    /// Starts the program, and waits until its admin endpoint listens.
    pub(crate) async fn start(&mut self) {
        let log = fs::File::create(self.folder.join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_tapfan"))
            .arg("run")
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("run");
        self.child = Some(child);
        until("tapfan listens", || {
            let log = fs::read_to_string(self.folder.join("log")).expect("a log");
            log.contains("msg=listening listener=")
        })
        .await;
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().expect("it runs").id();
        kill(Pid::from_raw(i32::try_from(id).expect("an id")), signal).expect("sent");
    }

    /// Stops the program, and waits until it has exited.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let mut child = self.child.take().expect("it runs");
        until("tapfan ends", || {
            child.try_wait().expect("a child").is_some()
        })
        .await;
    }
}

impl Drop for Tapfan {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("log"));
            eprintln!("--- tapfan said:\n{}", log.unwrap_or_default());
        }
    }
}
