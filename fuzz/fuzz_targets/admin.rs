//! Fuzzes the admin endpoint of a running router with arbitrary requests over loopback.

#![no_main]

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use tapfan::{
    admin::{LogControl, Server},
    config,
    supervisor::{Supervisor, View},
};
use tokio::runtime::{Builder, Runtime};

struct Scene {
    address: SocketAddr,
    log: Arc<Log>,
    _server: Server,
    _supervisor: Supervisor,
    _runtime: Runtime,
}

/// A log that writes nothing, and accepts only the levels in [`LEVELS`].
struct Log(Mutex<String>);

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl LogControl for Log {
    fn level(&self) -> String {
        self.0.lock().expect("no panic").clone()
    }

    fn set_level(&self, text: &str) -> Result<(), String> {
        if LEVELS.contains(&text) {
            text.clone_into(&mut self.0.lock().expect("no panic"));
            Ok(())
        } else {
            Err(format!("`{text}` is no level"))
        }
    }
}

/// The deadline of an answer. Without this deadline, the fuzzer would hang on a request that gets no answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A limit on the length of an answer. It is larger than any answer.
const ANSWER: usize = 4 << 20;

/// Starts a router at the first call, and returns it. A panic in any of its threads ends the fuzzer, because of
/// libFuzzer's panic hook.
fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let name = std::process::id();
        let text = format!(
            "listen unix://@tapfan-fuzz-in-{name}\ndnstap @tapfan-fuzz-out-{name}\nadmin 127.0.0.1:0"
        );
        let loaded = config::parse(Path::new("Tapfile"), &text, &|_| None);
        let config = loaded.config.unwrap_or_else(|| panic!("{}", loaded.diagnostics.render(false)));
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let view = View::new();
        let _inside = runtime.enter();
        let log = Arc::new(Log(Mutex::new("info".to_owned())));
        let server = Server::start(view.clone(), runtime.handle()).expect("started");
        let mut server = server.with_log(log.clone());
        let sockets = server.bind(&config.admin).expect("bound");
        server.apply(sockets);
        let supervisor = Supervisor::start_in(view, &config).expect("started");
        let address = server.address().expect("an address");
        drop(_inside);
        Scene {
            address,
            log,
            _server: server,
            _supervisor: supervisor,
            _runtime: runtime,
        }
    })
}

/// Reads until the endpoint closes the connection or starts a stream of events, which has no end.
fn answer(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut part = vec![0; 64 << 10];
    while answer.len() < ANSWER {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            // Interrupted reads are repeated, because libFuzzer's timer interrupts system calls.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => panic!("no answer: {error}"),
        }
        let events = b"text/event-stream";
        if answer.windows(events.len()).any(|it| it == events) {
            break;
        }
    }
    answer
}

fuzz_target!(|request: &[u8]| {
    let mut stream = TcpStream::connect(scene().address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    // The endpoint may have closed the connection already, if the request is not HTTP.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let answer = answer(stream);
    if !answer.is_empty() {
        let status = answer
            .strip_prefix(b"HTTP/1.")
            .and_then(|rest| rest.get(2..5))
            .and_then(|status| str::from_utf8(status).ok()?.parse::<u16>().ok())
            .expect("a status");
        assert!((100..500).contains(&status) || status == 503, "{status}");
    }
    let level = scene().log.level();
    assert!(LEVELS.contains(&level.as_str()), "{level:?}");
});
