//! Tests that senders cannot use up the file descriptors that sinks need.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Child, Command},
    sync::mpsc,
    thread,
    time::Duration,
};

use tapfan::internals::Control;

/// The number of senders. It is larger than the router's soft limit on file descriptors.
const SENDERS: usize = 100;

/// A running router. Dropping this value kills the router, so that a failed test leaves no process
/// behind.
struct Tapfan(Child);

impl Drop for Tapfan {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn connect(path: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[test]
fn a_sink_connects_although_senders_exceed_the_soft_limit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(
        folder.path().join("Tapfile"),
        "listen in.sock\ndnstap out.sock\n",
    )
    .expect("the folder is ours");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -n 64 && exec \"$0\" run"]);
    command.arg(env!("CARGO_BIN_EXE_tapfan"));
    let _tapfan = Tapfan(command.current_dir(&folder).spawn().expect("a shell"));
    let socket = folder.path().join("in.sock");
    let _senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let mut sender = connect(&socket);
            let timeout = Some(Duration::from_secs(10));
            sender.set_read_timeout(timeout).expect("set");
            let opening = [Control::ready().encode(), Control::start().encode()].concat();
            sender.write_all(&opening).expect("room");
            let mut answer = vec![0; Control::accept().encode().len()];
            sender.read_exact(&mut answer).expect("ACCEPT");
            sender
        })
        .collect();
    let collector = UnixListener::bind(folder.path().join("out.sock")).expect("bound");
    let (accepted, accepts) = mpsc::channel();
    thread::spawn(move || accepted.send(collector.accept().map(drop)));
    accepts
        .recv_timeout(Duration::from_secs(10))
        .expect("the sink connects")
        .expect("accepted");
}
