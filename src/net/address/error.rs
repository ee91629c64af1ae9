//! The mistakes in an address, and their corrections.

use super::{FilePatternError, KafkaAddressError};

/// A mistake in an address.
///
/// [`Display`](std::fmt::Display) describes the mistake, [`advice`](Self::advice) says what to do about it, and
/// [`instead`](Self::instead) is the correct address, if there is only one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The empty text.
    #[error("the address is empty")]
    Empty,
    /// White space at either end.
    #[error("the address begins or ends with white space")]
    Padded(String),
    /// A control character somewhere.
    #[error("the address contains a control character, U+{:04X}", u32::from(*.0))]
    Control(char),
    /// White space in a network address.
    #[error("a network address cannot contain white space")]
    Space,
    /// `TCP://`.
    #[error("`{written}://` is not in lower case")]
    SchemeCase {
        /// The scheme as written.
        written: String,
        /// The whole address with the scheme in lower case.
        right: String,
    },
    /// `udp://`, `http://` and others.
    #[error("`{0}://` does not carry dnstap")]
    UnknownScheme(String),
    /// `tcp:host:port`.
    #[error("`{scheme}:` is not followed by `//`")]
    MissingSlashes {
        /// The scheme as written.
        scheme: String,
        /// The whole address with the slashes.
        right: String,
    },
    /// `host:port` without a scheme. CoreDNS would treat it as the path of a unix socket.
    #[error("`{authority}` has no scheme")]
    MissingScheme {
        /// The address as written.
        authority: String,
        /// The whole address with `tcp://`, if that is a valid address.
        right: Option<String>,
    },
    /// No host.
    #[error("the address has no host")]
    MissingHost,
    /// No port.
    #[error("the address has no port")]
    MissingPort,
    /// A port that is not a number.
    #[error("the port `{0}` is not a number")]
    PortNotNumber(String),
    /// Port 0, in an address to dial.
    #[error("port 0 cannot be dialled")]
    PortZero,
    /// A port over 65535.
    #[error("the port {0} is larger than 65535")]
    PortTooLarge(String),
    /// A path, query or fragment after the port.
    #[error("unexpected `{0}` after the port")]
    AfterPort(String),
    /// `user@host`.
    #[error("the address contains a user name")]
    UserInfo,
    /// `::1:6000`.
    #[error("the IPv6 address is not in brackets")]
    UnbracketedIpv6 {
        /// The whole address with brackets, if it is clear where the host ends.
        right: Option<String>,
    },
    /// More than one colon, and no IPv6 address.
    #[error("the address has more than one colon")]
    ManyColons,
    /// `[::1:6000`.
    #[error("the bracket `[` is never closed")]
    UnclosedBracket,
    /// `[::1]6000`.
    #[error("`{0}` follows `]`, where `:` and the port belong")]
    AfterBracket(String),
    /// Brackets around something that is not an IPv6 address.
    #[error("`{0}` is not an IPv6 address")]
    NotIpv6(String),
    /// `[fe80::1%25]`.
    #[error("the zone of the IPv6 address is empty")]
    EmptyZone,
    /// A zone that cannot be a network interface.
    #[error("`{0}` is not the name or number of a network interface")]
    BadZone(String),
    /// `300.1.1.1`.
    #[error("`{0}` is neither an IPv4 address nor a host name")]
    NotIpv4(String),
    /// Two dots in a row, or one at the start.
    #[error("the host name `{0}` has an empty label")]
    EmptyLabel(String),
    /// A label over 63 characters.
    #[error("a label of the host name has {0} characters; 63 is the limit")]
    LongLabel(usize),
    /// A name over 253 characters.
    #[error("the host name has {0} characters; 253 is the limit")]
    LongName(usize),
    /// A letter that is not ASCII.
    #[error("the host name `{0}` contains characters that are not ASCII")]
    NotAscii(String),
    /// A character that no host name can contain.
    #[error("the host name `{host}` contains {found:?}, which is not allowed")]
    BadCharacter {
        /// The host as written.
        host: String,
        /// The first such character.
        found: char,
    },
    /// A hyphen at the start or the end of a label.
    #[error("the label `{0}` begins or ends with a hyphen")]
    Hyphen(String),
    /// `unix://` and nothing else.
    #[error("the unix socket has no path")]
    EmptyPath,
    /// `@` and nothing else.
    #[error("the abstract unix socket has no name")]
    EmptyAbstract,
    /// A path or abstract name that is longer than the system allows.
    #[error(
        "the {what} has {length} bytes; {} is the limit",
        super::UNIX_PATH_LIMIT
    )]
    PathTooLong {
        /// The kind of address: a path or an abstract name.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// `/run/tapfan/`.
    #[error("the path `{0}` names a directory")]
    Directory(String),
    /// A name, where a listener needs an address.
    #[error("`{host}` is a name, but a listener needs an address")]
    BindName {
        /// The name as written.
        host: String,
        /// `localhost` written as an address.
        right: Option<String>,
    },
    /// No host, where a listener needs an address.
    #[error("the address to listen on is missing before the port")]
    BindAnywhere(String),
    /// `*`, where a listener needs an address.
    #[error("`*` is not an address")]
    BindStar {
        /// The address with `0.0.0.0` as its host.
        ipv4: String,
        /// The address with `[::]` as its host.
        all: String,
    },
    /// The name of a zone, where a listener needs its number.
    #[error(
        "a listener needs the number of the IPv6 zone (the index of the interface), but `{0}` is a name"
    )]
    BindZone(String),
    /// `tcp+srv://`, where a listener needs an address.
    #[error("`{0}://` needs a lookup, but a listener needs an address")]
    BindSrv(&'static str),
    /// `tcp+srv://collector.example`.
    #[error("`{0}` is not of the form `_service._protocol.domain`")]
    NotSrvName(String),
    /// `tcp+srv://_dnstap._tcp.collector.example:6000`.
    #[error("the port `{port}` is not allowed here: the SRV records give it")]
    SrvPort {
        /// The port as written.
        port: String,
        /// The whole address without the port.
        right: String,
    },
    /// A name, where a name server needs an address.
    #[error("`{0}` is a name, but a name server needs an address")]
    NameServerName(String),
    /// A zone in the address of a name server.
    #[error("the zone `{0}` cannot be used in the address of a name server")]
    NameServerZone(String),
    /// A mistake in the path of a file sink.
    #[error(transparent)]
    File(#[from] FilePatternError),
    /// `file://`, where a listener needs an address.
    #[error("`file://` is not an address to listen on")]
    BindFile,
    /// A mistake in the address of a Kafka sink.
    #[error(transparent)]
    Kafka(#[from] KafkaAddressError),
    /// `kafka://`, where a listener needs an address.
    #[error("`kafka://` is not an address to listen on")]
    BindKafka,
    /// A scheme, where only an address and a port are allowed.
    #[error("`{scheme}://` is not allowed here")]
    UnwantedScheme {
        /// The scheme as written.
        scheme: String,
        /// The address without the scheme.
        right: String,
    },
}

// === impl AddressError ===

impl AddressError {
    /// Returns advice for an operator, in one sentence.
    pub fn advice(&self) -> String {
        match self {
            Self::MissingScheme {
                authority,
                right: Some(right),
            } => {
                let rest = right.trim_start_matches("tcp://");
                format!(
                    "write `{right}` or `tls://{rest}`; for a unix socket of this name, write `./{authority}`"
                )
            }
            Self::MissingScheme {
                authority,
                right: None,
            } => format!(
                "write the scheme, the host, a colon and the port, as in `tcp://192.0.2.1:6000`; \
                 for a unix socket of this name, write `./{authority}`"
            ),
            Self::File(error) => error.advice(),
            Self::Kafka(error) => error.advice().to_owned(),
            Self::BindStar { ipv4, all } => format!(
                "write `{ipv4}` for every IPv4 address of this machine, or `{all}` for every address"
            ),
            Self::SchemeCase { right, .. }
            | Self::MissingSlashes { right, .. }
            | Self::UnbracketedIpv6 { right: Some(right) }
            | Self::BindName {
                right: Some(right), ..
            }
            | Self::BindAnywhere(right) => format!("write `{right}`"),
            other => other.fixed_advice().to_owned(),
        }
    }

    /// Returns the advice that does not depend on the address.
    fn fixed_advice(&self) -> &'static str {
        match self {
            Self::Empty => "write `/path`, `@name`, `tcp://host:port` or `tls://host:port`",
            Self::Padded { .. } => "remove the white space",
            Self::Control(_) => "remove the character; it may come from a variable",
            Self::Space | Self::AfterPort(_) => {
                "write the host, a colon, the port and nothing else"
            }
            Self::UserInfo => "a dnstap address has no user part; write only the host and the port",
            Self::UnknownScheme { .. } => {
                "use `unix://`, `tcp://` or `tls://`; an address to connect to can also be `tcp+srv://` or `tls+srv://`, and a sink `file://`, `kafka://` or `kafka+tls://`"
            }
            Self::UnwantedScheme { .. } => "write only the address and the port",
            Self::EmptyPath => "add the path, as in `unix:///run/tapfan/dnstap.sock`",
            Self::EmptyAbstract => "add the name after the `@`",
            Self::PathTooLong { .. } => "choose a shorter one; the operating system sets the limit",
            Self::Directory(_) => "add the name of the socket",
            Self::BindZone(_) => "write the interface's number; `ip link` shows it",
            Self::BindSrv { .. } | Self::BindKafka => {
                "write an address of this machine and a port, as in `tcp://0.0.0.0:6000`"
            }
            Self::NotSrvName(_) => {
                "the name of SRV records begins with the service and the protocol, as in \
                 `_dnstap._tcp.collector.example`; a host and a port are written `tcp://host:port`"
            }
            Self::SrvPort { .. } => "remove the port",
            Self::NameServerName(_) => "write its IP address, and its port if that is not 53",
            Self::NameServerZone(_) => "write an address that needs no zone",
            Self::BindFile => "`tapfan replay` sends the frames of a file to a listener",
            _ => self.host_advice(),
        }
    }

    /// Returns the part of [`fixed_advice`](Self::fixed_advice) that is about a host and its port.
    fn host_advice(&self) -> &'static str {
        match self {
            Self::MissingHost => "write a name or an address before the port",
            Self::MissingPort => "dnstap has no default port; add a colon and the port",
            Self::PortNotNumber(_) | Self::PortZero | Self::PortTooLarge(_) => {
                "ports go from 1 to 65535"
            }
            Self::UnbracketedIpv6 { .. } => {
                "put the address in brackets, as in `[2001:db8::1]:6000`"
            }
            Self::ManyColons => "write the host, one colon and the port",
            Self::UnclosedBracket => "close it after the address, as in `[2001:db8::1]:6000`",
            Self::AfterBracket(_) => "write the port after a colon, as in `[2001:db8::1]:6000`",
            Self::NotIpv6(_) => "brackets are only for IPv6 addresses",
            Self::EmptyZone => "name the interface, as in `[fe80::1%25eth0]`, or remove the `%25`",
            Self::BadZone(_) => "`ip link` lists the interfaces of this machine",
            Self::NotIpv4(_) => "an IPv4 address has four numbers from 0 to 255",
            Self::EmptyLabel(_) => "write one dot between labels, and at most one at the end",
            Self::LongLabel(_) | Self::LongName(_) => {
                "a name as long as this cannot be resolved; shorten it"
            }
            Self::NotAscii(_) => "write the name in its ASCII form, as in `xn--bcher-kva.example`",
            Self::BindName { .. } => {
                "write an address of this machine; `0.0.0.0` and `[::]` mean all of its addresses"
            }
            Self::BadCharacter { .. } | Self::Hyphen(_) => {
                "a label consists of letters, digits and `_`, with hyphens only between them"
            }
            _ => "write the address as in `tcp://192.0.2.1:6000`",
        }
    }

    /// Replaces the proposal with an address that `read` accepts.
    ///
    /// If an address has several mistakes, a proposal that corrects one of them still contains the others. This
    /// function corrects all of them. If a mistake has no correction, that mistake is returned instead, as the error to
    /// report.
    pub(super) fn with_sound_proposal<T>(self, read: impl Fn(&str) -> Result<T, Self>) -> Self {
        if let Self::MissingScheme { authority, .. } = self {
            let right = Self::corrected(format!("tcp://{authority}"), read).ok();
            return Self::MissingScheme { authority, right };
        }
        match self
            .instead()
            .map(|right| Self::corrected(right.to_owned(), read))
        {
            None => self,
            Some(Ok(right)) => self.proposing(right),
            Some(Err(other)) => other,
        }
    }

    /// Corrects every mistake in an address, or returns the first mistake that has no correction.
    fn corrected<T>(
        mut address: String,
        read: impl Fn(&str) -> Result<T, Self>,
    ) -> Result<String, Self> {
        /// White space, scheme and host can each have one mistake that can be corrected.
        const MISTAKES: usize = 3;
        for _ in 0..MISTAKES {
            match read(&address) {
                Ok(_) => return Ok(address),
                Err(error) => match error.instead() {
                    Some(right) => right.clone_into(&mut address),
                    None => return Err(error),
                },
            }
        }
        read(&address).map(|_| address)
    }

    fn proposing(mut self, better: String) -> Self {
        if let Self::Padded(right)
        | Self::SchemeCase { right, .. }
        | Self::MissingSlashes { right, .. }
        | Self::UnbracketedIpv6 { right: Some(right) }
        | Self::SrvPort { right, .. }
        | Self::UnwantedScheme { right, .. } = &mut self
        {
            *right = better;
        }
        self
    }

    /// Returns the whole address without the mistake, if the correction is certain.
    pub fn instead(&self) -> Option<&str> {
        match self {
            Self::Padded(right)
            | Self::SchemeCase { right, .. }
            | Self::MissingSlashes { right, .. }
            | Self::UnbracketedIpv6 { right: Some(right) }
            | Self::BindName {
                right: Some(right), ..
            }
            | Self::BindAnywhere(right)
            | Self::BindStar { ipv4: right, .. }
            | Self::SrvPort { right, .. }
            | Self::UnwantedScheme { right, .. } => Some(right),
            _ => None,
        }
    }
}
