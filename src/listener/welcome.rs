//! The parties that may connect to a listener. Until the first sender connects, the status and the log name them.

use std::{net::IpAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use tokio::{
    select,
    sync::Notify,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};
use tracing::info;

use super::{Counters, Senders, stamp::Stamp};
use crate::{
    config::ListenAddress,
    net::{Admitted, UnixAddress},
};

/// The parties that may connect to a listener.
#[derive(Debug)]
pub(crate) struct Welcome {
    address: ListenAddress,
    /// True if another process created the socket.
    inherited: bool,
    /// `None` before the first lookup, and if the permissions of the socket's file cannot be read.
    who: ArcSwapOption<String>,
    /// Reports that the file of the socket, or its permissions, have changed.
    changed: Notify,
}

/// The time without a sender after which the log names the parties that may connect.
const PATIENCE: Duration = Duration::from_secs(60);

// === impl Welcome ===

impl Welcome {
    pub(super) fn new(address: &ListenAddress, inherited: bool) -> Self {
        Self {
            address: address.clone(),
            inherited,
            who: ArcSwapOption::empty(),
            changed: Notify::new(),
        }
    }

    /// Reports that the file of the socket, or its permissions, have changed.
    pub(super) fn has_changed(&self) {
        self.changed.notify_one();
    }

    /// Looks up the parties, now and after each change. If no sender has connected after a minute, logs the hint once.
    /// Runs until the task is aborted.
    pub(super) async fn keep(
        self: Arc<Self>,
        listener: Stamp,
        senders: Arc<Senders>,
        counters: Arc<Counters>,
    ) {
        let log_at = Instant::now() + PATIENCE;
        let mut logged = false;
        loop {
            let this = Arc::clone(&self);
            // The lookup of a user's name may ask a directory server, so it needs a thread of the blocking pool.
            let Ok(who) = spawn_blocking(move || this.look()).await else {
                return;
            };
            self.who.store(who.map(Arc::new));
            select! {
                () = self.changed.notified() => {}
                () = sleep_until(log_at), if !logged => {
                    logged = true;
                    if let Some(hint) = self.hint(&counters).filter(|_| !senders.had_any()) {
                        info!(%listener, hint, "no sender so far");
                    }
                }
            }
        }
    }

    /// Returns a sentence for an operator whose DNS server does not connect. `None` if the parties are not known.
    pub(crate) fn hint(&self, counters: &Counters) -> Option<String> {
        let who = self.who.load_full()?;
        Some(match counters.snapshot().accepted {
            0 => format!("allowed to connect: {who}{}", self.remedy()),
            1 => "the only connection so far failed before its handshake was complete; the log says why"
                .to_owned(),
            many => format!(
                "all {many} connections so far failed before their handshakes were complete; the log says why"
            ),
        })
    }

    /// Returns advice for a DNS server that may not connect.
    fn remedy(&self) -> &'static str {
        match (&self.address, self.inherited) {
            (ListenAddress::Unix(UnixAddress::Path(_), _), false) => {
                "; set `group` if the DNS server is not among them"
            }
            (ListenAddress::Unix(UnixAddress::Path(_), _), true) => {
                "; set SocketGroup= in the socket unit if the DNS server is not among them"
            }
            _ => "",
        }
    }

    fn look(&self) -> Option<String> {
        Some(match &self.address {
            ListenAddress::Unix(UnixAddress::Path(path), _) => Admitted::at(path).ok()?.to_string(),
            ListenAddress::Unix(UnixAddress::Abstract(_), _) => {
                "every process of this machine or container".to_owned()
            }
            ListenAddress::Tcp(address) => hosts(address.ip()).to_owned(),
            ListenAddress::Tls(address, tls) => {
                let hosts = hosts(address.ip());
                match &tls.client_ca {
                    Some(ca) => format!("{hosts}, with a certificate signed by {}", ca.display()),
                    None => format!("{hosts}, with TLS"),
                }
            }
            // tapfan connects itself, so nobody may connect.
            ListenAddress::Remote(_) => return None,
        })
    }
}

fn hosts(bound_to: IpAddr) -> &'static str {
    if bound_to.is_loopback() {
        "only programs on this machine or in this Pod"
    } else {
        "every machine that can reach this address"
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        path::PathBuf,
        sync::{Mutex, PoisonError},
    };

    use super::*;
    use crate::{
        config::Listen,
        frame_stream::Source,
        net::{ServerTls, UnixPermissions},
    };

    #[test]
    fn each_kind_of_address_has_its_parties() {
        let tls = |client_ca: Option<&str>| ServerTls {
            cert: PathBuf::new(),
            key: PathBuf::new(),
            client_ca: client_ca.map(Into::into),
            client_cert_optional: false,
        };
        let ip = |text: &str| text.parse().expect("an address");
        let addresses = [
            ListenAddress::Unix(
                UnixAddress::Abstract("in".into()),
                UnixPermissions::default(),
            ),
            ListenAddress::Tcp(ip("127.0.0.1:6000")),
            ListenAddress::Tcp(ip("[::]:6000")),
            ListenAddress::Tls(ip("192.0.2.1:6443"), tls(None)),
            ListenAddress::Tls(ip("192.0.2.1:6443"), tls(Some("/etc/tapfan/ca.crt"))),
        ];
        let who = addresses.map(|address| Welcome::new(&address, false).look().expect("known"));
        insta::assert_snapshot!(who.join("\n"), @r"
        every process of this machine or container
        only programs on this machine or in this Pod
        every machine that can reach this address
        every machine that can reach this address, with TLS
        every machine that can reach this address, with a certificate signed by /etc/tapfan/ca.crt
        ");
    }

    #[tokio::test(start_paused = true)]
    async fn the_hint_follows_the_file_and_the_connections() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let address = UnixAddress::Path(path.clone());
        let address = ListenAddress::Unix(address, UnixPermissions::default());
        let welcome = Arc::new(Welcome::new(&address, false));
        let counters = Arc::new(Counters::default());
        let keep = Arc::clone(&welcome).keep(
            Stamp::of(&Listen::new("in", address)),
            Arc::default(),
            Arc::clone(&counters),
        );
        let _keep = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(keep));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(welcome.hint(&counters), None, "there is no file");
        std::fs::write(&path, "").expect("written");
        welcome.has_changed();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let hint = welcome.hint(&counters).expect("a hint");
        assert!(hint.starts_with("allowed to connect: root"), "{hint}");
        counters.opened();
        let hint = welcome.hint(&counters).expect("a hint");
        assert!(
            hint.starts_with("the only connection so far failed"),
            "{hint}"
        );
    }

    /// The text written to the log.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        fn lines(&self) -> usize {
            let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8_lossy(&text)
                .matches("no sender so far")
                .count()
        }
    }

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            text.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_says_once_that_no_sender_has_connected() {
        for connects in [false, true] {
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_writer(move || writer.clone())
                .finish();
            let _logs = tracing::subscriber::set_default(subscriber);
            let address = ListenAddress::Tcp(([127, 0, 0, 1], 6000).into());
            let welcome = Arc::new(Welcome::new(&address, false));
            let senders: Arc<Senders> = Arc::default();
            let stamp = Stamp::of(&Listen::new("in", address));
            let keep = welcome.keep(stamp, Arc::clone(&senders), Arc::default());
            let _keep = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(keep));
            tokio::time::sleep(PATIENCE / 2).await;
            if connects {
                let source = Source::new("in".into(), "192.0.2.1:53");
                drop(senders.add(&source, None));
            }
            assert_eq!(log.lines(), 0);
            tokio::time::sleep(PATIENCE * 100).await;
            assert_eq!(log.lines(), usize::from(!connects), "connects: {connects}");
        }
    }
}
