//! Reading addresses: the SOCKET of a sink, the URL of a listener, the address of the admin endpoint.

use std::{
    net::{IpAddr, SocketAddr, SocketAddrV6},
    path::PathBuf,
    str::FromStr,
};

use super::{
    AddressError, Authority, BindAddress, Endpoint, Host, SrvName, UNIX_PATH_LIMIT, UnixAddress,
    host,
};

/// How an address is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Unix,
    Tcp,
    Tls,
    TcpSrv,
    TlsSrv,
}

const SCHEMES: [(&str, Scheme); 5] = [
    ("unix", Scheme::Unix),
    ("tcp", Scheme::Tcp),
    ("tls", Scheme::Tls),
    ("tcp+srv", Scheme::TcpSrv),
    ("tls+srv", Scheme::TlsSrv),
];

/// The port of a name server that is given without one.
const DOMAIN: u16 = 53;

/// Whether port 0 has a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PortZero {
    /// The system chooses one.
    Allowed,
    Refused,
}

// === impl Endpoint ===

impl FromStr for Endpoint {
    type Err = AddressError;

    /// Reads a SOCKET, as in a `dnstap` directive of CoreDNS, or one that SRV records lead to.
    ///
    /// ```
    /// use tapfan::net::Endpoint;
    ///
    /// assert_eq!("/run/dnstap.sock".parse::<Endpoint>()?.to_string(), "unix:///run/dnstap.sock");
    /// assert_eq!("tcp://[::1]:6000".parse::<Endpoint>()?.to_string(), "tcp://[::1]:6000");
    /// assert!("tcp:collector:6000".parse::<Endpoint>().is_err());
    /// # Ok::<(), tapfan::net::AddressError>(())
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
    })
}

// === impl BindAddress ===

impl FromStr for BindAddress {
    type Err = AddressError;

    /// Reads the URL of a `listen` line: the forms of an [`Endpoint`], without names.
    ///
    /// ```
    /// use tapfan::net::BindAddress;
    ///
    /// let address = "tls://[::]:6443".parse::<BindAddress>()?;
    /// assert_eq!(address, BindAddress::Tls(([0_u16; 8], 6443).into()));
    /// assert!("tcp://localhost:6000".parse::<BindAddress>().is_err());
    /// # Ok::<(), tapfan::net::AddressError>(())
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
        Scheme::TcpSrv => return Err(AddressError::BindSrv { scheme: "tcp+srv" }),
        Scheme::TlsSrv => return Err(AddressError::BindSrv { scheme: "tls+srv" }),
    })
}

/// Reads an address and a port to bind, without a scheme: `127.0.0.1:9180`, `[::]:9180`; port 0 lets the system choose.
///
/// # Errors
///
/// Anything else, with what would be right.
pub fn socket_address(text: &str) -> Result<SocketAddr, AddressError> {
    bare_address(text).map_err(|error| error.with_sound_proposal(bare_address))
}

fn bare_address(text: &str) -> Result<SocketAddr, AddressError> {
    check_characters(text)?;
    if let Some((scheme, rest)) = text.rsplit_once("://") {
        return Err(AddressError::UnwantedScheme {
            scheme: scheme.to_owned(),
            right: rest.trim_end_matches('/').to_owned(),
        });
    }
    bindable(text, text)
}

/// Reads the address of a name server: an IP address, and a port if it is not 53.
///
/// ```
/// use tapfan::net::name_server_address;
///
/// assert_eq!(name_server_address("10.96.0.10")?, ([10, 96, 0, 10], 53).into());
/// assert_eq!(name_server_address("[fd00::a]:5353")?.port(), 5353);
/// assert!(name_server_address("dns.example").is_err());
/// # Ok::<(), tapfan::net::AddressError>(())
/// ```
///
/// # Errors
///
/// Anything else, with what would be right.
pub fn name_server_address(text: &str) -> Result<SocketAddr, AddressError> {
    name_server(text).map_err(|error| error.with_sound_proposal(name_server))
}

fn name_server(text: &str) -> Result<SocketAddr, AddressError> {
    check_characters(text)?;
    if let Some((scheme, rest)) = text.rsplit_once("://") {
        return Err(AddressError::UnwantedScheme {
            scheme: scheme.to_owned(),
            right: rest.trim_end_matches('/').to_owned(),
        });
    }
    let (host, port) = if let Ok(host) = text.parse::<Host>() {
        (host, DOMAIN)
    } else {
        let Authority { host, port } = read_authority(text, text, PortZero::Refused)?;
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

fn check_characters(text: &str) -> Result<(), AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    if text.trim().len() != text.len() {
        return Err(AddressError::Padded {
            trimmed: text.trim().to_owned(),
        });
    }
    match text.chars().find(|c| c.is_control()) {
        Some(control) => Err(AddressError::Control(control)),
        None => Ok(()),
    }
}

/// The scheme and what follows it. What CoreDNS would take as an odd unix path is refused with its reason.
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
            None => Err(AddressError::UnknownScheme {
                scheme: written.to_owned(),
            }),
        };
    }
    if let Some((written, rest)) = text.split_once(':')
        && let Some((name, scheme)) = known(written)
    {
        let rest = match scheme {
            Scheme::Unix => rest,
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

/// RFC 3986, 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Whether a text without a scheme is a host and a port rather than a path.
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

/// Takes what can stand between a scheme and a path, and nothing else.
fn before_path(text: &str) -> Result<&str, AddressError> {
    let end = text.find(['/', '?', '#']).unwrap_or(text.len());
    let (text, after) = text.split_at(end);
    if text.is_empty() {
        return Err(AddressError::MissingHost);
    }
    // Go's URLs, and so CoreDNS, take a slash at the end as nothing.
    if !matches!(after, "" | "/") {
        return Err(AddressError::AfterPort(after.to_owned()));
    }
    if text.contains(char::is_whitespace) {
        return Err(AddressError::Space);
    }
    if text.contains('@') && !text.starts_with('[') {
        return Err(AddressError::UserInfo);
    }
    Ok(text)
}

/// Reads the name of SRV records; `whole` is the address it stands in.
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

/// Reads a host and a port; `whole` is the address they stand in.
fn read_authority(text: &str, whole: &str, zero: PortZero) -> Result<Authority, AddressError> {
    let text = before_path(text)?;
    let (host, port) = if let Some(inside) = text.strip_prefix('[') {
        let (inside, after) = inside
            .split_once(']')
            .ok_or(AddressError::UnclosedBracket)?;
        let host = host::bracketed(inside)?;
        match after.strip_prefix(':') {
            Some(port) => (host, port),
            None if after.is_empty() => return Err(AddressError::MissingPort),
            None => return Err(AddressError::AfterBracket(after.to_owned())),
        }
    } else {
        let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
        if host.contains(':') {
            return Err(many_colons(text, whole));
        }
        (host::unbracketed(host)?, port)
    };
    Ok(Authority {
        host,
        port: read_port(port, zero)?,
    })
}

/// The mistake in a host and port with more than one colon.
fn many_colons(text: &str, whole: &str) -> AddressError {
    let is_ipv6 = |host: &str| {
        let address = host.split_once('%').map_or(host, |(address, _)| address);
        address.parse::<std::net::Ipv6Addr>().is_ok()
    };
    match text.rsplit_once(':') {
        // `2001:db8::1:6000` is also an address without a port; a port is what was left out less often.
        Some((host, port)) if is_ipv6(host) && read_port(port, PortZero::Allowed).is_ok() => {
            AddressError::UnbracketedIpv6 {
                right: Some(whole.replacen(text, &format!("[{host}]:{port}"), 1)),
            }
        }
        _ if is_ipv6(text) => AddressError::UnbracketedIpv6 { right: None },
        _ => AddressError::ManyColons,
    }
}

fn read_port(text: &str, zero: PortZero) -> Result<u16, AddressError> {
    if text.is_empty() {
        return Err(AddressError::MissingPort);
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AddressError::PortNotNumber(text.to_owned()));
    }
    match text.parse() {
        Ok(0) if zero == PortZero::Refused => Err(AddressError::PortZero),
        Ok(port) => Ok(port),
        Err(_) => Err(AddressError::PortTooLarge(text.to_owned())),
    }
}

/// Reads a host and a port that can be bound; `whole` is the address they stand in.
fn bindable(text: &str, whole: &str) -> Result<SocketAddr, AddressError> {
    if text.starts_with(':') && read_port(&text[1..], PortZero::Allowed).is_ok() {
        return Err(AddressError::BindAnywhere {
            right: whole.replacen(text, &format!("0.0.0.0{text}"), 1),
        });
    }
    if let Some(port) = text.strip_prefix("*:")
        && read_port(port, PortZero::Allowed).is_ok()
    {
        let with = |host: &str| whole.replacen(text, &format!("{host}:{port}"), 1);
        return Err(AddressError::BindStar {
            ipv4: with("0.0.0.0"),
            all: with("[::]"),
        });
    }
    let Authority { host, port } = read_authority(text, whole, PortZero::Allowed)?;
    match host {
        Host::Ip {
            address: IpAddr::V6(address),
            zone: Some(zone),
        } => match zone.parse() {
            Ok(scope) => Ok(SocketAddrV6::new(address, port, 0, scope).into()),
            Err(_) => Err(AddressError::BindZone(zone.to_string())),
        },
        Host::Ip { address, .. } => Ok(SocketAddr::new(address, port)),
        Host::Name(name) => Err(AddressError::BindName {
            right: name
                .eq_ignore_ascii_case("localhost")
                .then(|| whole.replacen(&*name, "127.0.0.1", 1)),
            host: name.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use AddressError as E;

    fn path(path: &str) -> UnixAddress {
        UnixAddress::Path(path.into())
    }

    fn abstract_name(name: &str) -> UnixAddress {
        UnixAddress::Abstract(name.into())
    }

    fn authority(host: &str, port: u16) -> Authority {
        Authority {
            host: host.parse().expect("a host"),
            port,
        }
    }

    fn srv(name: &str) -> SrvName {
        name.parse().expect("a name of SRV records")
    }

    fn owned(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn every_form_of_a_socket_means_what_the_directive_says() {
        for (text, meaning) in [
            ("/p", Endpoint::Unix(path("/p"))),
            ("d.sock", Endpoint::Unix(path("d.sock"))),
            ("./a:1", Endpoint::Unix(path("./a:1"))),
            ("/a b", Endpoint::Unix(path("/a b"))),
            ("/a://b", Endpoint::Unix(path("/a://b"))),
            ("unix:///p", Endpoint::Unix(path("/p"))),
            ("unix://d.sock", Endpoint::Unix(path("d.sock"))),
            ("@name", Endpoint::Unix(abstract_name("name"))),
            ("@name:1", Endpoint::Unix(abstract_name("name:1"))),
            ("unix://@name", Endpoint::Unix(abstract_name("name"))),
            ("tcp://host:1", Endpoint::Tcp(authority("host", 1))),
            ("tcp://host:06000", Endpoint::Tcp(authority("host", 6000))),
            ("tcp://host:1/", Endpoint::Tcp(authority("host", 1))),
            (
                "tcp://c.ns.svc.cluster.local.:6000",
                Endpoint::Tcp(authority("c.ns.svc.cluster.local.", 6000)),
            ),
            (
                "tcp://192.0.2.1:1",
                Endpoint::Tcp(authority("192.0.2.1", 1)),
            ),
            ("tcp://[::1]:65535", Endpoint::Tcp(authority("::1", 65535))),
            (
                "tcp://[fe80::1%25eth0]:1",
                Endpoint::Tcp(authority("[fe80::1%25eth0]", 1)),
            ),
            (
                "tcp://[fe80::1%eth0]:1",
                Endpoint::Tcp(authority("[fe80::1%25eth0]", 1)),
            ),
            ("tls://host:1", Endpoint::Tls(authority("host", 1))),
            ("tls://[::1]:1", Endpoint::Tls(authority("::1", 1))),
            (
                "tcp+srv://_dnstap._tcp.c.example.",
                Endpoint::TcpSrv(srv("_dnstap._tcp.c.example.")),
            ),
            (
                "tls+srv://_dnstap._tcp.c.example/",
                Endpoint::TlsSrv(srv("_dnstap._tcp.c.example")),
            ),
        ] {
            assert_eq!(text.parse(), Ok(meaning), "{text}");
        }
    }

    #[test]
    fn every_mistake_has_its_name() {
        let case = |written: &str, right: &str| E::SchemeCase {
            written: owned(written),
            right: owned(right),
        };
        let scheme = |scheme: &str| E::UnknownScheme {
            scheme: owned(scheme),
        };
        let slashes = |scheme: &str, right: &str| E::MissingSlashes {
            scheme: owned(scheme),
            right: owned(right),
        };
        let bare = |authority: &str| E::MissingScheme {
            right: Some(format!("tcp://{authority}")),
            authority: owned(authority),
        };
        let brackets = |right: &str| E::UnbracketedIpv6 {
            right: Some(owned(right)),
        };
        let long = |what, length| E::PathTooLong { what, length };
        for (text, why) in [
            ("", E::Empty),
            (" ", E::Empty),
            (
                " tcp://h:1",
                E::Padded {
                    trimmed: owned("tcp://h:1"),
                },
            ),
            ("/a\nb", E::Control('\n')),
            ("TCP://h:1", case("TCP", "tcp://h:1")),
            ("Unix:///p", case("Unix", "unix:///p")),
            ("udp://h:1", scheme("udp")),
            ("http://h:1", scheme("http")),
            ("tcp+tls://h:1", scheme("tcp+tls")),
            ("tcp:h:1", slashes("tcp", "tcp://h:1")),
            ("TLS:h:1", slashes("TLS", "tls://h:1")),
            ("tcp:/h:1", slashes("tcp", "tcp://h:1")),
            ("unix:/p", slashes("unix", "unix:///p")),
            ("h:6000", bare("h:6000")),
            ("127.0.0.1:6000", bare("127.0.0.1:6000")),
            ("[::1]:6000", bare("[::1]:6000")),
            ("tcp://h", E::MissingPort),
            ("tcp://h:", E::MissingPort),
            ("tcp://[::1]", E::MissingPort),
            ("tcp://[::1]:", E::MissingPort),
            ("tcp://h:0", E::PortZero),
            ("tcp://h:65536", E::PortTooLarge(owned("65536"))),
            (
                "tcp://h:99999999999999999999",
                E::PortTooLarge(owned("99999999999999999999")),
            ),
            ("tcp://h:dnstap", E::PortNotNumber(owned("dnstap"))),
            ("tcp://h:+1", E::PortNotNumber(owned("+1"))),
            ("tcp://", E::MissingHost),
            ("tcp://:1", E::MissingHost),
            ("tcp:///h:1", E::MissingHost),
            ("tcp://h:1/p", E::AfterPort(owned("/p"))),
            ("tcp://h:1?q", E::AfterPort(owned("?q"))),
            ("tcp://h :1", E::Space),
            ("tcp://user@h:1", E::UserInfo),
            ("tcp://::1:6000", brackets("tcp://[::1]:6000")),
            ("tls://fe80::1%eth0:1", brackets("tls://[fe80::1%eth0]:1")),
            ("tcp://2001:db8::", E::UnbracketedIpv6 { right: None }),
            ("tcp://h:1:2", E::ManyColons),
            ("tcp://[::1:1", E::UnclosedBracket),
            ("tcp://[::1]1", E::AfterBracket(owned("1"))),
            ("tcp://[h]:1", E::NotIpv6(owned("h"))),
            ("tcp://[fe80::1%25]:1", E::EmptyZone),
            ("tcp://[fe80::1%a%b]:1", E::BadZone(owned("a%b"))),
            ("tcp://1.2.3.256:1", E::NotIpv4(owned("1.2.3.256"))),
            (
                "TLS+SRV://_d._tcp.h",
                case("TLS+SRV", "tls+srv://_d._tcp.h"),
            ),
            (
                "tcp+srv:_d._tcp.h",
                slashes("tcp+srv", "tcp+srv://_d._tcp.h"),
            ),
            ("tcp+srv://", E::MissingHost),
            ("tcp+srv://h", E::NotSrvName(owned("h"))),
            ("tcp+srv://h:1", E::NotSrvName(owned("h"))),
            ("tcp+srv://192.0.2.1", E::NotSrvName(owned("192.0.2.1"))),
            ("tcp+srv://[::1]:1", E::NotSrvName(owned("[::1]:1"))),
            ("tcp+srv://_d._tcp.h/p", E::AfterPort(owned("/p"))),
            (
                "tls+srv://_d._tcp.h.:6000",
                E::SrvPort {
                    port: owned("6000"),
                    right: owned("tls+srv://_d._tcp.h."),
                },
            ),
            ("unix://", E::EmptyPath),
            ("@", E::EmptyAbstract),
            ("unix://@", E::EmptyAbstract),
            ("/run/tapfan/", E::Directory(owned("/run/tapfan/"))),
            (&"a".repeat(108), long("path of the unix socket", 108)),
            (&format!("@{}", "a".repeat(108)), long("abstract name", 108)),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(why), "{text}");
        }
    }

    #[test]
    fn the_longest_paths_are_taken() {
        for text in ["a".repeat(107), format!("@{}", "a".repeat(107))] {
            assert!(text.parse::<Endpoint>().is_ok(), "{text}");
        }
    }

    #[test]
    fn listeners_bind_addresses_and_nothing_to_resolve() {
        let right = |right: &str| Some(owned(right));
        for (text, result) in [
            ("/p", Ok(BindAddress::Unix(path("/p")))),
            ("unix://@n", Ok(BindAddress::Unix(abstract_name("n")))),
            (
                "tcp://127.0.0.1:0",
                Ok(BindAddress::Tcp(([127, 0, 0, 1], 0).into())),
            ),
            (
                "tls://[::]:6443",
                Ok(BindAddress::Tls(([0_u16; 8], 6443).into())),
            ),
            (
                "tcp://[fe80::1%252]:1",
                Ok(BindAddress::Tcp(
                    SocketAddrV6::new("fe80::1".parse().expect("an address"), 1, 0, 2).into(),
                )),
            ),
            ("tcp://[fe80::1%eth0]:1", Err(E::BindZone(owned("eth0")))),
            (
                "tcp://localhost:1",
                Err(E::BindName {
                    host: owned("localhost"),
                    right: right("tcp://127.0.0.1:1"),
                }),
            ),
            (
                "tls://dns.example:1",
                Err(E::BindName {
                    host: owned("dns.example"),
                    right: None,
                }),
            ),
            (
                "tcp://:6000",
                Err(E::BindAnywhere {
                    right: owned("tcp://0.0.0.0:6000"),
                }),
            ),
            ("tcp://0.0.0.0", Err(E::MissingPort)),
            (
                "tls+srv://_dnstap._tcp.c.example",
                Err(E::BindSrv { scheme: "tls+srv" }),
            ),
        ] {
            assert_eq!(text.parse(), result, "{text}");
        }
    }

    #[test]
    fn the_admin_address_has_no_scheme() {
        assert_eq!(
            socket_address("[::1]:9180"),
            Ok(([0, 0, 0, 0, 0, 0, 0, 1], 9180).into())
        );
        for (text, right) in [
            ("http://127.0.0.1:9180/", Some("127.0.0.1:9180")),
            (":9180", Some("0.0.0.0:9180")),
            ("localhost:9180", Some("127.0.0.1:9180")),
            ("admin.example:9180", None),
            ("9180", None),
            ("", None),
        ] {
            let error = socket_address(text).expect_err(text);
            assert_eq!(error.instead(), right, "{text}");
        }
    }

    #[test]
    fn a_name_server_is_an_address_and_perhaps_a_port() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1:53"),
            ("192.0.2.1:5353", "192.0.2.1:5353"),
            ("2001:db8::1", "[2001:db8::1]:53"),
            ("[2001:db8::1]", "[2001:db8::1]:53"),
            ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ] {
            assert_eq!(name_server_address(text), Ok(address.parse().expect(text)));
        }
        for (text, why) in [
            ("", E::Empty),
            ("dns.example:53", E::NameServerName(owned("dns.example"))),
            ("dns.example", E::NameServerName(owned("dns.example"))),
            ("300.1.1.1", E::NotIpv4(owned("300.1.1.1"))),
            ("192.0.2.1:0", E::PortZero),
            ("192.0.2.1:dns", E::PortNotNumber(owned("dns"))),
            ("[fe80::1%eth0]", E::NameServerZone(owned("eth0"))),
            (
                "udp://192.0.2.1",
                E::UnwantedScheme {
                    scheme: owned("udp"),
                    right: owned("192.0.2.1"),
                },
            ),
        ] {
            assert_eq!(name_server_address(text), Err(why), "{text}");
        }
    }

    /// Every address that an error proposes is one.
    fn proposals_are_sound<T: FromStr<Err = E>>(text: &str) -> Option<String> {
        let error = text.parse::<T>().err()?;
        if let E::MissingScheme { authority, right } = &error {
            if let Some(right) = right {
                let tls = right.replacen("tcp://", "tls://", 1);
                assert!(right.parse::<T>().is_ok(), "{text}: {right}");
                assert!(tls.parse::<T>().is_ok(), "{text}: {tls}");
            }
            let path = format!("./{authority}");
            assert!(path.len() > UNIX_PATH_LIMIT || path.parse::<T>().is_ok());
        }
        if let E::BindStar { all, .. } = &error {
            assert!(all.parse::<T>().is_ok(), "{text}: {all}");
        }
        let right = error.instead()?;
        assert!(right.parse::<T>().is_ok(), "{text}: {right}");
        Some(right.to_owned())
    }

    #[test]
    fn what_is_proposed_in_place_of_a_mistake_is_right() {
        for (text, right) in [
            (" tcp://h:1", "tcp://h:1"),
            ("TCP://h:1", "tcp://h:1"),
            (" TCP://::1:6000", "tcp://[::1]:6000"),
            ("tcp:h:1", "tcp://h:1"),
            ("tls:/h:1", "tls://h:1"),
            ("unix:/p", "unix:///p"),
            ("tcp://::1:6000", "tcp://[::1]:6000"),
            ("tcp+srv://_d._tcp.h:6000", "tcp+srv://_d._tcp.h"),
        ] {
            assert_eq!(
                proposals_are_sound::<Endpoint>(text).as_deref(),
                Some(right)
            );
        }
        for (text, right) in [
            ("tcp://*:6000", "tcp://0.0.0.0:6000"),
            ("TCP://*:6000", "tcp://0.0.0.0:6000"),
            (" tcp:localhost:1", "tcp://127.0.0.1:1"),
            ("tls://:6443", "tls://0.0.0.0:6443"),
        ] {
            assert_eq!(
                proposals_are_sound::<BindAddress>(text).as_deref(),
                Some(right)
            );
        }
        for text in [
            ":6000",
            "*:6000",
            "localhost:6000",
            "h:1",
            "TCP://h",
            "TCP://:1",
            "a:0 ",
        ] {
            proposals_are_sound::<Endpoint>(text);
            proposals_are_sound::<BindAddress>(text);
        }
        let advice = |text: &str| text.parse::<BindAddress>().expect_err(text).advice();
        insta::assert_snapshot!(advice(":6000"), @"write `tcp://0.0.0.0:6000` or `tls://0.0.0.0:6000`; a unix socket of that name is `./:6000`");
        insta::assert_snapshot!(advice("*:6000"), @"write `tcp://0.0.0.0:6000` or `tls://0.0.0.0:6000`; a unix socket of that name is `./*:6000`");
        insta::assert_snapshot!(advice("tls://*:6000"), @"write `tls://0.0.0.0:6000` for every IPv4 address of this machine, or `tls://[::]:6000` for every address");
        insta::assert_snapshot!(advice("h:6000"), @"write the scheme, the host, a colon and the port, as in `tcp://192.0.2.1:6000`; a unix socket of that name is `./h:6000`");
        assert_eq!(
            socket_address("*:9180").expect_err("a star").instead(),
            Some("0.0.0.0:9180")
        );
        assert_eq!(
            socket_address("http://:9180").expect_err("two").instead(),
            Some("0.0.0.0:9180")
        );
        // Each step takes some of it away; there is no way to make that a deep one.
        let deep = "a://".repeat(100_000);
        socket_address(&deep).expect_err("no address");
        name_server_address(&deep).expect_err("no address");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_shown_so_that_it_reads_the_same(
            text in r"(unix://|tcp://|tls://|TCP:|tls:|http://| tcp://|tcp://\*:|:|tcp\+srv://_d\._tcp\.|@|/)?[a-z0-9\[\]:.%@/ -]{0,24}"
        ) {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
            proposals_are_sound::<Endpoint>(&text);
            proposals_are_sound::<BindAddress>(&text);
            for read in [socket_address, name_server_address] {
                if let Err(error) = read(&text)
                    && let Some(right) = error.instead()
                {
                    prop_assert!(read(right).is_ok(), "{}", right);
                }
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            if let Err(error) = text.parse::<Endpoint>() {
                prop_assert!(!error.to_string().is_empty() && !error.advice().is_empty());
            }
            let _ = text.parse::<BindAddress>();
            let _ = socket_address(&text);
        }
    }
}
