//! A collector that records every frame of every connection. It listens on a unix socket, on TCP or
//! on TLS.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{
    certificates::Certificates,
    frame_streams::{ACCEPT, FINISH, Frame, READY, START, STOP, control, read},
    process::eventually,
};

/// The kind of handshake with which a stream starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// READY, ACCEPT, START.
    Bidirectional,
    /// Only START, without a handshake.
    Unidirectional,
}

/// The record of one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recording {
    /// The kind of handshake. `None` until the handshake is complete.
    pub(crate) handshake: Option<Handshake>,
    /// The payloads in the order received.
    pub(crate) frames: Vec<Vec<u8>>,
    /// True if the connection ended with STOP.
    pub(crate) stopped: bool,
    /// True if the connection has ended, with or without STOP.
    pub(crate) ended: bool,
}

/// A collector. Its threads end with the test process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collector {
    recordings: Arc<Mutex<Vec<Recording>>>,
}

/// Records one connection to the collector.
struct Recorder {
    collector: Collector,
    at: usize,
}

// === impl Collector ===

impl Collector {
    /// Listens on a new unix socket at `path`.
    pub(crate) fn unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a new socket");
        let collector = Self::default();
        let accepting = collector.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                accepting.record(stream.expect("a connection"));
            }
        });
        collector
    }

    /// Listens on a free port of loopback.
    pub(crate) fn tcp() -> (Self, SocketAddr) {
        Self::on_tcp(Self::record::<TcpStream>)
    }

    /// Listens with TLS on a free port of loopback.
    pub(crate) fn tls(certificates: &Certificates) -> (Self, SocketAddr) {
        let config = server_config(certificates);
        Self::on_tcp(move |collector, stream| {
            let tls = ServerConnection::new(Arc::clone(&config)).expect("a good configuration");
            collector.record(StreamOwned::new(tls, stream));
        })
    }

    /// Returns the records of all connections so far, in the order in which they were accepted.
    ///
    /// Leaves out connections without a single byte, because Unbound makes such a connection to
    /// check its unix socket before it uses the socket.
    pub(crate) fn recordings(&self) -> Vec<Recording> {
        let recordings = self.recordings.lock().expect("no reader panics");
        let silent = |recording: &&Recording| recording.ended && recording.handshake.is_none();
        recordings
            .iter()
            .filter(|recording| !silent(recording))
            .cloned()
            .collect()
    }

    /// Returns the payloads of all connections, one connection after the other.
    pub(crate) fn frames(&self) -> Vec<Vec<u8>> {
        let recordings = self.recordings();
        recordings
            .into_iter()
            .flat_map(|recording| recording.frames)
            .collect()
    }

    /// Waits until the collector has received at least `count` frames.
    pub(crate) fn wait_for(&self, count: usize) {
        eventually(&format!("{count} frames"), || {
            let recordings = self.recordings.lock().expect("no reader panics");
            let frames = recordings.iter().map(|recording| recording.frames.len());
            let got = frames.sum::<usize>();
            if got >= count { Ok(()) } else { Err(got) }
        });
    }

    /// Waits until every connection has ended.
    pub(crate) fn wait_for_the_end(&self) {
        eventually("the end of every connection", || {
            let recordings = self.recordings();
            let open = recordings
                .iter()
                .filter(|recording| !recording.ended)
                .count();
            match (recordings.len(), open) {
                (0, _) => Err("there was none".to_owned()),
                (_, 0) => Ok(()),
                (_, open) => Err(format!("{open} are open")),
            }
        });
    }

    fn on_tcp(serve: impl Fn(&Self, TcpStream) + Send + 'static) -> (Self, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
        let address = listener.local_addr().expect("a bound socket");
        let collector = Self::default();
        let accepting = collector.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&accepting, stream.expect("a connection"));
            }
        });
        (collector, address)
    }

    /// Records `stream` on its own thread until it ends.
    fn record<S: Read + Write + Send + 'static>(&self, mut stream: S) {
        let at = {
            let mut recordings = self.recordings.lock().expect("no reader panics");
            recordings.push(Recording::default());
            recordings.len() - 1
        };
        let recorder = Recorder {
            collector: self.clone(),
            at,
        };
        thread::spawn(move || {
            // Ignores errors, because the test needs to know only whether the connection ended with
            // STOP.
            let _ = recorder.serve(&mut stream);
            recorder.change(|recording| recording.ended = true);
        });
    }
}

// === impl Recorder ===

impl Recorder {
    /// Reads one stream as a collector does. If the sender uses a handshake, sends ACCEPT and
    /// FINISH.
    fn serve(&self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        let mut handshake = Handshake::Unidirectional;
        while let Some(frame) = read(stream)? {
            match frame {
                Frame::Control(READY) => {
                    handshake = Handshake::Bidirectional;
                    stream.write_all(&control(ACCEPT))?;
                    stream.flush()?;
                }
                Frame::Control(START) => {
                    self.change(|recording| recording.handshake = Some(handshake));
                }
                Frame::Control(STOP) => {
                    self.change(|recording| recording.stopped = true);
                    // Ignores errors, because Unbound may have closed the connection without
                    // waiting for FINISH.
                    if handshake == Handshake::Bidirectional {
                        stream.write_all(&control(FINISH))?;
                        stream.flush()?;
                    }
                    return Ok(());
                }
                Frame::Control(other) => {
                    return Err(io::Error::other(format!("control frame {other}")));
                }
                Frame::Data(payload) => self.change(|recording| recording.frames.push(payload)),
            }
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Recording)) {
        let mut recordings = self.collector.recordings.lock().expect("no reader panics");
        change(&mut recordings[self.at]);
    }
}

fn server_config(certificates: &Certificates) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(&certificates.cert)
        .expect("a PEM file")
        .collect::<Result<Vec<_>, _>>()
        .expect("certificates");
    let key = PrivateKeyDer::from_pem_file(&certificates.key).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's own versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a key that fits its certificate");
    Arc::new(config)
}
