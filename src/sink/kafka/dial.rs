//! The connection to one broker: lookup, dial, TLS and login.

use std::{fmt, future::ready, io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::{KafkaConnection, KafkaError, Session, error::Subject, link::Link, records};
use crate::{
    config::{self, KafkaCompression, SaslMechanism},
    files::Secret,
    health::{Event, Reporter, Stage},
    kafka::{self, Broker, Compression, Limits, Mechanism, Settings},
    net::{
        self, Authority, ClientConfig, ClientTls, Connector, Destination, Host, KafkaAddress,
        Literal, OwnListeners, Stream, TcpSettings, TlsWords, tls_failure_kind,
    },
    sink::{
        ConnectCause, ConnectError, Credentials, Deadlines, Names, SinkSetupError,
        connect::{dial, race},
    },
};

/// A topic, the brokers from which the sink learns the others, and everything that is needed to connect to a broker.
#[derive(Debug, Clone)]
pub(crate) struct Kafka {
    pub(super) address: KafkaAddress,
    /// The name of the sink.
    pub(super) name: Arc<str>,
    tcp: TcpSettings,
    tls: Option<Arc<Tls>>,
    login: Option<Arc<Login>>,
    names: Names,
    pub(super) session: Session,
}

/// The TLS settings, with the certificates and authorities that are in use now.
#[derive(Debug)]
struct Tls {
    config: ArcSwap<ClientConfig>,
    settings: ClientTls,
}

/// The user, with the password that is in use now.
#[derive(Debug)]
struct Login {
    mechanism: Mechanism,
    user: Arc<str>,
    password: ArcSwap<Secret>,
}

/// The context of an attempt to connect.
#[derive(Debug, Clone)]
pub(super) struct Around {
    pub(super) own: OwnListeners,
    pub(super) status: Reporter,
    pub(super) limits: Limits,
}

// === impl Kafka ===

impl Kafka {
    /// Creates the target. Reads the files that `credentials` does not contain.
    pub(crate) fn new(
        address: &KafkaAddress,
        sink: &config::Sink,
        credentials: Credentials,
        tcp: TcpSettings,
        names: &Names,
    ) -> Result<Self, SinkSetupError> {
        let tls = if address.is_tls {
            let mut settings = sink.tls.clone().unwrap_or_default();
            settings.words = settings.words.of_brokers();
            let config = match credentials.tls {
                Some(config) => config,
                None => net::client_config(&settings)?,
            };
            let config = ArcSwap::new(config);
            Some(Arc::new(Tls { config, settings }))
        } else {
            None
        };
        let login = match &sink.kafka.sasl {
            None => None,
            Some(sasl) => {
                let password = match credentials.password {
                    Some(password) => password,
                    None => Secret::read(&sasl.password_file)?,
                };
                Some(Arc::new(Login {
                    mechanism: mechanism(sasl.mechanism),
                    user: Arc::clone(&sasl.user),
                    password: ArcSwap::from_pointee(password),
                }))
            }
        };
        let settings = Settings {
            compression: compression(sink.kafka.compression),
            linger: sink.kafka.linger,
            headers: records::headers(&sink.name),
        };
        Ok(Self {
            address: address.clone(),
            name: Arc::clone(&sink.name),
            tcp,
            tls,
            login,
            names: names.clone(),
            session: Session::new(settings, sink.kafka.record_key),
        })
    }

    /// Adopts the certificates, keys, authorities and the password of `fresh`. The next connection to a broker uses them.
    pub(crate) fn adopt(&self, fresh: &Self) {
        if let (Some(old), Some(new)) = (&self.tls, &fresh.tls) {
            old.config.store(new.config.load_full());
        }
        if let (Some(old), Some(new)) = (&self.login, &fresh.login) {
            old.password.store(new.password.load_full());
        }
    }

    /// Connects to the leaders of all partitions.
    pub(crate) async fn open(
        &self,
        own: OwnListeners,
        status: Reporter,
        deadlines: Deadlines,
        abort: CancellationToken,
    ) -> Result<KafkaConnection, ConnectError> {
        let limits = Limits {
            answer: dial::DEADLINE,
            produce: deadlines.write,
        };
        let around = Around {
            own,
            status,
            limits,
        };
        let link = Link::open(self.clone(), around).await?;
        let session = self.session.clone();
        Ok(KafkaConnection::new(session, link, abort))
    }

    /// Puts all unconfirmed frames back into their queue.
    pub(crate) fn give_up(&self) {
        self.session.give_up();
    }

    /// Connects to a broker. If its name has several addresses, the first one that answers is used. `id` is the broker's
    /// id, if it is known.
    pub(super) async fn connect(
        &self,
        authority: &Authority,
        id: Option<i32>,
        around: &Around,
    ) -> Result<Broker<Stream>, ConnectError> {
        let endpoint = endpoint(authority, id);
        let addresses = self.addresses(authority, &endpoint, around).await?;
        let attempts = addresses.into_iter().map(|address| {
            let attempt = self.attempt(authority, address, around);
            let endpoint = &endpoint;
            async move {
                let connected = attempt.await;
                connected.map_err(|(stage, cause)| ConnectError::new(stage, endpoint, cause))
            }
        });
        let connected = first(attempts).await;
        // The resolver returns at least one address, so there is at least one error.
        connected.map_err(|errors| {
            ConnectError::most_telling(errors).unwrap_or_else(|| {
                let cause = ConnectCause::Timeout(Duration::ZERO);
                ConnectError::new(Stage::Resolve, &endpoint, cause)
            })
        })
    }

    /// Logs in on a broker again, with the password that is in use now.
    pub(super) async fn log_in(&self, broker: &mut Broker<Stream>) -> Result<(), kafka::Error> {
        match &self.login {
            Some(login) => broker.log_in(&login.credentials()).await,
            None => Ok(()),
        }
    }

    async fn addresses(
        &self,
        authority: &Authority,
        endpoint: &str,
        around: &Around,
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        let addresses = match &authority.host {
            Host::Ip { address, zone } => {
                let literal = Literal::new(*address, zone.clone(), authority.port);
                literal.address().map(|address| vec![address])
            }
            Host::Name(_) => match self.names.resolver() {
                Ok(resolver) => {
                    around.status.report(&Event::Resolving);
                    let name = Destination::Host(authority.clone());
                    let answer = resolver.resolve(&name).await;
                    answer.map(|answer| answer.addresses.in_order())
                }
                Err(error) => Err(error),
            },
        };
        addresses.map_err(|error| {
            let cause = ConnectCause::Resolve(Arc::new(error));
            ConnectError::new(Stage::Resolve, endpoint, cause)
        })
    }

    async fn attempt(
        &self,
        authority: &Authority,
        address: SocketAddr,
        around: &Around,
    ) -> Result<Broker<Stream>, (Stage, ConnectCause)> {
        // Several brokers are tried at the same time, so the address of one of them would change again and again. Errors
        // name the broker.
        let endpoint = self.address.to_string();
        around.status.report(&Event::Connecting(&endpoint));
        let tls = match &self.tls {
            None => None,
            Some(tls) => Some(tls.connector(&authority.host)?),
        };
        let tls = tls.as_deref();
        let stream = dial::tcp(address, &self.tcp, tls, &around.own, || {}).await;
        let stream = stream.map_err(|(stage, cause)| (stage, of_broker(cause)))?;
        around.status.report(&Event::Handshaking(&endpoint));
        let credentials = self.login.as_deref().map(Login::credentials);
        let broker = Broker::start(stream, around.limits, credentials.as_ref()).await;
        broker.map_err(|error| of_start(error, self.tls.as_ref().map(|tls| tls.settings.words)))
    }
}

impl fmt::Display for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

// === impl Tls ===

impl Tls {
    /// Returns a connector to a broker at `host`.
    fn connector(&self, host: &Host) -> Result<Arc<Connector>, (Stage, ConnectCause)> {
        let config = self.config.load_full();
        Connector::new(config, host, &self.settings).map_err(|error| {
            let error = io::Error::new(io::ErrorKind::InvalidInput, error);
            (Stage::Tls, ConnectCause::Tls(error, self.settings.words))
        })
    }
}

// === impl Login ===

impl Login {
    fn credentials(&self) -> kafka::Credentials {
        kafka::Credentials {
            mechanism: self.mechanism,
            user: Arc::clone(&self.user),
            password: self.password.load().reveal().into(),
        }
    }
}

/// Returns a broker as errors name it.
pub(super) fn endpoint(authority: &Authority, id: Option<i32>) -> String {
    match id {
        Some(id) => format!("broker {id} at {authority}"),
        None => format!("broker {authority}"),
    }
}

/// Returns the cause of a failed dial, in the words of Kafka.
fn of_broker(cause: ConnectCause) -> ConnectCause {
    match cause {
        ConnectCause::Dial(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            ConnectCause::Kafka(KafkaError::NotListening(error))
        }
        cause => cause,
    }
}

/// Returns the cause of a failure of the first requests. `words` are the names of the TLS settings, if there is TLS.
fn of_start(error: kafka::Error, words: Option<TlsWords>) -> (Stage, ConnectCause) {
    match (error, words) {
        // In TLS 1.3, a broker refuses a client certificate only after the handshake of the client.
        (kafka::Error::Io { source, .. }, Some(words)) if tls_failure_kind(&source).is_some() => {
            (Stage::Tls, ConnectCause::Tls(source, words))
        }
        (error, _) => {
            // The endpoint of the error names the broker.
            let cause = ConnectCause::Kafka(KafkaError::Broker(Subject::default(), error));
            (Stage::Handshake, cause)
        }
    }
}

/// Returns the result of the first attempt that succeeds, as [`race`] does. If a broker refuses the login, makes no other
/// attempt, because each one counts as a failed login, and some brokers lock the account of a user after several.
///
/// # Errors
/// If all attempts that were made fail.
pub(super) async fn first<A, T>(
    attempts: impl ExactSizeIterator<Item = A>,
) -> Result<T, Vec<ConnectError>>
where
    A: Future<Output = Result<T, ConnectError>>,
{
    let attempts = attempts.map(|attempt| async {
        match attempt.await {
            Err(error) if is_refused_login(&error) => Ok(Err(vec![error])),
            result => result.map(Ok),
        }
    });
    let result = race(attempts, |result| ready(Ok(result))).await;
    result.unwrap_or_else(Err)
}

fn is_refused_login(error: &ConnectError) -> bool {
    matches!(&error.cause, ConnectCause::Kafka(error) if error.is_of_login())
}

fn compression(configured: KafkaCompression) -> Compression {
    match configured {
        KafkaCompression::None => Compression::None,
        KafkaCompression::Gzip => Compression::Gzip,
        KafkaCompression::Snappy => Compression::Snappy,
        KafkaCompression::Lz4 => Compression::Lz4,
        KafkaCompression::Zstd => Compression::Zstd,
    }
}

fn mechanism(configured: SaslMechanism) -> Mechanism {
    match configured {
        SaslMechanism::Plain => Mechanism::Plain,
        SaslMechanism::ScramSha256 => Mechanism::ScramSha256,
        SaslMechanism::ScramSha512 => Mechanism::ScramSha512,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    #[cfg(feature = "tls")]
    use crate::kafka::Doing;
    use crate::kafka::{Error, ScramError};

    #[cfg(feature = "tls")]
    #[test]
    fn a_broker_that_requires_a_client_certificate_says_so_after_the_handshake() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let error = |source| Error::Io {
            doing: Doing::ApiVersions,
            source,
        };
        let words = TlsWords::default().of_brokers();
        let said = |source, words| {
            let (stage, cause) = of_start(error(source), words);
            format!("{stage}: {cause}")
        };
        let alert = io::Error::new(io::ErrorKind::InvalidData, alert);
        insta::assert_snapshot!(said(alert, Some(words)), @"TLS: received fatal alert: CertificateRequired; the broker requires a client certificate: set `cert` and `key`");
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        insta::assert_snapshot!(said(reset, Some(words)), @"handshake: ApiVersions: connection reset");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_login_is_tried_at_no_other_broker() {
        let attempts = |error: fn() -> Error| async move {
            let made = Cell::new(0);
            let attempts = (0..5).map(|_| async {
                made.set(made.get() + 1);
                let cause = KafkaError::Broker(Subject::default(), error());
                let cause = ConnectCause::Kafka(cause);
                Err::<(), _>(ConnectError::new(Stage::Handshake, "broker", cause))
            });
            let errors = first(attempts).await.expect_err("no broker works");
            (made.get(), errors.len())
        };
        let wrong = || Error::Scram(ScramError::WrongSignature);
        assert_eq!(attempts(wrong).await, (1, 1));
        assert_eq!(attempts(|| Error::NoTopic).await, (5, 5));
    }
}
