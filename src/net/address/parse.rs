//! Parsing of addresses: the SOCKET of a sink, the URL of a listener, the address of the admin endpoint.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use super::{
    AddressError, Authority, BindAddress, Endpoint, Host, KafkaAddress, SrvName, UNIX_PATH_LIMIT,
    UnixAddress,
    authority::{PortZero, before_path, bindable, read_authority},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Unix,
    Tcp,
    Tls,
    TcpSrv,
    TlsSrv,
    File,
    Kafka,
    KafkaTls,
}

const SCHEMES: [(&str, Scheme); 8] = [
    ("unix", Scheme::Unix),
    ("tcp", Scheme::Tcp),
    ("tls", Scheme::Tls),
    ("tcp+srv", Scheme::TcpSrv),
    ("tls+srv", Scheme::TlsSrv),
    ("file", Scheme::File),
    ("kafka", Scheme::Kafka),
    ("kafka+tls", Scheme::KafkaTls),
];

/// The default port of name servers.
const DOMAIN: u16 = 53;

// === impl Endpoint ===

impl FromStr for Endpoint {
    type Err = AddressError;

    /// Reads the SOCKET of a `dnstap` directive, as in CoreDNS, or the URL of SRV records, files or a Kafka topic.
    ///
    /// ```
    /// use tapfan::config::Endpoint;
    ///
    /// assert_eq!("/run/dnstap.sock".parse::<Endpoint>()?.to_string(), "unix:///run/dnstap.sock");
    /// assert_eq!("tcp://[::1]:6000".parse::<Endpoint>()?.to_string(), "tcp://[::1]:6000");
    /// assert!("tcp:collector:6000".parse::<Endpoint>().is_err());
    /// # Ok::<(), tapfan::config::AddressError>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, AddressError> {
        endpoint(text).map_err(|error| error.with_sound_proposal(endpoint))
    }
}

fn endpoint(text: &str) -> Result<Endpoint, AddressError> {
    let (scheme, rest) = split_scheme(text)?;
    Ok(match scheme {
        Scheme::Unix => Endpoint::Unix(read_unix(rest)?),
        Scheme::Tcp => Endpoint::Tcp(read_authority(rest, text, PortZero::Refused)?),
        Scheme::Tls => Endpoint::Tls(read_authority(rest, text, PortZero::Refused)?),
        Scheme::TcpSrv => Endpoint::TcpSrv(read_srv(rest, text)?),
        Scheme::TlsSrv => Endpoint::TlsSrv(read_srv(rest, text)?),
        Scheme::File => Endpoint::File(rest.parse()?),
        Scheme::Kafka => Endpoint::Kafka(KafkaAddress::read(rest, text, false)?),
        Scheme::KafkaTls => Endpoint::Kafka(KafkaAddress::read(rest, text, true)?),
    })
}

// === impl BindAddress ===

impl FromStr for BindAddress {
    type Err = AddressError;

    /// Reads the URL of a `listen` line: the forms of an [`Endpoint`], without names.
    ///
    /// ```
    /// use tapfan::internals::BindAddress;
    ///
    /// let address = "tls://[::]:6443".parse::<BindAddress>()?;
    /// assert_eq!(address, BindAddress::Tls(([0_u16; 8], 6443).into()));
    /// assert!("tcp://localhost:6000".parse::<BindAddress>().is_err());
    /// # Ok::<(), tapfan::config::AddressError>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, AddressError> {
        bind_address(text).map_err(|error| error.with_sound_proposal(bind_address))
    }
}

fn bind_address(text: &str) -> Result<BindAddress, AddressError> {
    let (scheme, rest) = split_scheme(text)?;
    Ok(match scheme {
        Scheme::Unix => BindAddress::Unix(read_unix(rest)?),
        Scheme::Tcp => BindAddress::Tcp(bindable(rest, text)?),
        Scheme::Tls => BindAddress::Tls(bindable(rest, text)?),
        Scheme::TcpSrv => return Err(AddressError::BindSrv("tcp+srv")),
        Scheme::TlsSrv => return Err(AddressError::BindSrv("tls+srv")),
        Scheme::File => return Err(AddressError::BindFile),
        Scheme::Kafka | Scheme::KafkaTls => return Err(AddressError::BindKafka),
    })
}

/// Reads an address and a port to bind, without a scheme: `127.0.0.1:9180`, `[::]:9180`. Port 0 lets the system choose.
///
/// # Errors
/// If the text is anything else. The error contains a proposal if there is one.
pub fn socket_address(text: &str) -> Result<SocketAddr, AddressError> {
    bare_address(text).map_err(|error| error.with_sound_proposal(bare_address))
}

fn bare_address(text: &str) -> Result<SocketAddr, AddressError> {
    refuse_scheme(text)?;
    bindable(text, text)
}

/// Reads the address of a name server: an IP address, and a port if it is not 53.
///
/// ```
/// use tapfan::internals::name_server_address;
///
/// assert_eq!(name_server_address("10.96.0.10")?, ([10, 96, 0, 10], 53).into());
/// assert_eq!(name_server_address("[fd00::a]:5353")?.port(), 5353);
/// assert!(name_server_address("dns.example").is_err());
/// # Ok::<(), tapfan::config::AddressError>(())
/// ```
///
/// # Errors
/// If the text is anything else. The error contains a proposal if there is one.
pub fn name_server_address(text: &str) -> Result<SocketAddr, AddressError> {
    name_server(text).map_err(|error| error.with_sound_proposal(name_server))
}

fn name_server(text: &str) -> Result<SocketAddr, AddressError> {
    refuse_scheme(text)?;
    let (host, port) = if let Ok(host) = text.parse::<Host>() {
        (host, DOMAIN)
    } else {
        let Authority { host, port } = text.parse()?;
        (host, port)
    };
    match host {
        Host::Ip {
            zone: Some(zone), ..
        } => Err(AddressError::NameServerZone(zone.to_string())),
        Host::Ip { address, .. } => Ok(SocketAddr::new(address, port)),
        Host::Name(name) => Err(AddressError::NameServerName(name.to_string())),
    }
}

fn refuse_scheme(text: &str) -> Result<(), AddressError> {
    check_characters(text)?;
    match text.rsplit_once("://") {
        Some((scheme, rest)) => Err(AddressError::UnwantedScheme {
            scheme: scheme.to_owned(),
            right: rest.trim_end_matches('/').to_owned(),
        }),
        None => Ok(()),
    }
}

fn check_characters(text: &str) -> Result<(), AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    if text.trim().len() != text.len() {
        return Err(AddressError::Padded(text.trim().to_owned()));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(control) => Err(AddressError::Control(control)),
        None => Ok(()),
    }
}

/// Splits off the scheme. Refuses typos such as `tcp:host:1`, which CoreDNS would treat as the path of a unix socket.
fn split_scheme(text: &str) -> Result<(Scheme, &str), AddressError> {
    check_characters(text)?;
    let known = |written: &str| {
        SCHEMES
            .iter()
            .find(|(name, _)| written.eq_ignore_ascii_case(name))
    };
    if let Some((written, rest)) = text.split_once("://")
        && is_scheme(written)
    {
        return match known(written) {
            Some((name, scheme)) if *name == written => Ok((*scheme, rest)),
            Some((name, _)) => Err(AddressError::SchemeCase {
                written: written.to_owned(),
                right: format!("{name}://{rest}"),
            }),
            None => Err(AddressError::UnknownScheme(written.to_owned())),
        };
    }
    if let Some((written, rest)) = text.split_once(':')
        && let Some((name, scheme)) = known(written)
    {
        let rest = match scheme {
            Scheme::Unix | Scheme::File => rest,
            _ => rest.trim_start_matches('/'),
        };
        return Err(AddressError::MissingSlashes {
            scheme: written.to_owned(),
            right: format!("{name}://{rest}"),
        });
    }
    if is_authority(text) {
        return Err(AddressError::MissingScheme {
            authority: text.to_owned(),
            right: None,
        });
    }
    Ok((Scheme::Unix, text))
}

/// Returns whether RFC 3986, section 3.1, allows `text` as the scheme of a URL.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Returns whether a text without a scheme looks like a host and a port rather than a path.
fn is_authority(text: &str) -> bool {
    !text.contains('/')
        && !text.starts_with('@')
        && text
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

fn read_unix(text: &str) -> Result<UnixAddress, AddressError> {
    let (what, bytes) = match text.strip_prefix('@') {
        Some("") => return Err(AddressError::EmptyAbstract),
        Some(name) => ("abstract name", name.len()),
        None if text.is_empty() => return Err(AddressError::EmptyPath),
        None if text.ends_with('/') => return Err(AddressError::Directory(text.to_owned())),
        None => ("path of the unix socket", text.len()),
    };
    if bytes > UNIX_PATH_LIMIT {
        return Err(AddressError::PathTooLong {
            what,
            length: bytes,
        });
    }
    Ok(match text.strip_prefix('@') {
        Some(name) => UnixAddress::Abstract(name.into()),
        None => UnixAddress::Path(PathBuf::from(text)),
    })
}

/// Reads the name of SRV records. `whole` is the address that contains `text`. A proposed correction is a corrected
/// copy of `whole`.
fn read_srv(text: &str, whole: &str) -> Result<SrvName, AddressError> {
    let text = before_path(text)?;
    if text.starts_with('[') {
        return Err(AddressError::NotSrvName(text.to_owned()));
    }
    let Some((name, port)) = text.split_once(':') else {
        return text.parse();
    };
    name.parse::<SrvName>()?;
    Err(AddressError::SrvPort {
        port: port.to_owned(),
        right: whole.replacen(text, name, 1),
    })
}
