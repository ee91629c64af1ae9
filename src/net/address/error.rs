//! What can be wrong with an address, and what would be right.

/// Why a text is no address.
///
/// [`Display`](std::fmt::Display) says what is wrong, [`advice`](Self::advice) what to do,
/// [`instead`](Self::instead) what to write if that can be known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing at all.
    #[error("the address is empty")]
    Empty,
    /// White space at an end.
    #[error("the address begins or ends with white space")]
    Padded {
        /// The address without it.
        trimmed: String,
    },
    /// A control character somewhere.
    #[error("the address holds a control character, U+{:04X}", u32::from(*.0))]
    Control(char),
    /// White space in a network address.
    #[error("a network address holds no white space")]
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
    #[error("`{scheme}://` does not carry dnstap")]
    UnknownScheme {
        /// The scheme as written.
        scheme: String,
    },
    /// `tcp:host:port`.
    #[error("`{scheme}:` is not followed by `//`")]
    MissingSlashes {
        /// The scheme as written.
        scheme: String,
        /// The whole address with the slashes.
        right: String,
    },
    /// `host:port` without a scheme, which CoreDNS takes as the path of a unix socket.
    #[error("`{authority}` has no scheme")]
    MissingScheme {
        /// The address as written.
        authority: String,
        /// The whole address with `tcp://`, if that makes it one.
        right: Option<String>,
    },
    /// Nothing where the host should be.
    #[error("the address has no host")]
    MissingHost,
    /// No port.
    #[error("the address has no port")]
    MissingPort,
    /// A port that is not a number.
    #[error("the port `{0}` is not a number")]
    PortNotNumber(String),
    /// Port 0, where there is something to dial.
    #[error("port 0 cannot be dialled")]
    PortZero,
    /// A port over 65535.
    #[error("the port {0} is larger than 65535")]
    PortTooLarge(String),
    /// A path, query or fragment after the port.
    #[error("`{0}` stands after the port")]
    AfterPort(String),
    /// `user@host`.
    #[error("the address names a user")]
    UserInfo,
    /// `::1:6000`.
    #[error("the IPv6 address is not in brackets")]
    UnbracketedIpv6 {
        /// The host and the port with brackets, if they can be told apart.
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
    /// Brackets around something else.
    #[error("`{0}` is not an IPv6 address")]
    NotIpv6(String),
    /// `[fe80::1%25]`.
    #[error("the zone of the IPv6 address is empty")]
    EmptyZone,
    /// A zone that can be no interface.
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
    #[error("the host name `{0}` is not in ASCII")]
    NotAscii(String),
    /// A character that no host name has.
    #[error("a host name holds no {found:?}, as `{host}` does")]
    BadCharacter {
        /// The host as written.
        host: String,
        /// The first such character.
        found: char,
    },
    /// A hyphen at an end of a label.
    #[error("the label `{0}` begins or ends with a hyphen")]
    Hyphen(String),
    /// `unix://` and nothing else.
    #[error("the unix socket has no path")]
    EmptyPath,
    /// `@` and nothing else.
    #[error("the abstract unix socket has no name")]
    EmptyAbstract,
    /// Longer than the system takes.
    #[error(
        "the {what} has {length} bytes; {} is the limit",
        super::UNIX_PATH_LIMIT
    )]
    PathTooLong {
        /// The path of the unix socket, or the name of an abstract one.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// `/run/tapfan/`.
    #[error("the path `{0}` names a directory")]
    Directory(String),
    /// A name where a listener needs an address.
    #[error("`{host}` is a name, and a listener binds an address")]
    BindName {
        /// The name as written.
        host: String,
        /// `localhost` written as an address.
        right: Option<String>,
    },
    /// No host where a listener needs an address.
    #[error("the address to listen on is missing before the port")]
    BindAnywhere {
        /// The address with every IPv4 address in the place of the host.
        right: String,
    },
    /// `*` where a listener needs an address.
    #[error("`*` is not an address")]
    BindStar {
        /// The address with every IPv4 address in the place of the host.
        ipv4: String,
        /// The address with every address in the place of the host.
        all: String,
    },
    /// A zone by name, where its number is needed.
    #[error("a listener needs the number of the zone, and `{0}` is a name")]
    BindZone(String),
    /// `tcp+srv://` where a listener needs an address.
    #[error("`{scheme}://` is looked up, and a listener binds an address")]
    BindSrv {
        /// The scheme as written.
        scheme: &'static str,
    },
    /// `tcp+srv://collector.example`.
    #[error("`{0}` is not the name of SRV records")]
    NotSrvName(String),
    /// `tcp+srv://_dnstap._tcp.collector.example:6000`.
    #[error("the port `{port}` stands where SRV records give the port")]
    SrvPort {
        /// The port as written.
        port: String,
        /// The whole address without it.
        right: String,
    },
    /// A name where a name server is to be named.
    #[error("`{0}` is a name, and a name server is given by its address")]
    NameServerName(String),
    /// A zone in the address of a name server.
    #[error("the zone `{0}` cannot be used in the address of a name server")]
    NameServerZone(String),
    /// A scheme where only an address and a port belong.
    #[error("`{scheme}://` does not belong here")]
    UnwantedScheme {
        /// The scheme as written.
        scheme: String,
        /// The address without it.
        right: String,
    },
}

// === impl AddressError ===

impl AddressError {
    /// What to do about it, as one sentence to an operator.
    pub fn advice(&self) -> String {
        match self {
            Self::Empty => "write `/path`, `@name`, `tcp://host:port` or `tls://host:port`".into(),
            Self::Padded { .. } => "remove the white space".into(),
            Self::Control(_) => "remove the character; a variable may have brought it".into(),
            Self::Space | Self::AfterPort(_) => {
                "write the host, a colon, the port and nothing else".into()
            }
            Self::UnknownScheme { .. } => {
                "use `unix://`, `tcp://` or `tls://`; sinks also know `tcp+srv://` and `tls+srv://`"
                    .into()
            }
            Self::MissingScheme {
                authority,
                right: Some(right),
            } => {
                let rest = right.trim_start_matches("tcp://");
                format!(
                    "write `{right}` or `tls://{rest}`; a unix socket of that name is `./{authority}`"
                )
            }
            Self::MissingScheme {
                authority,
                right: None,
            } => format!(
                "write the scheme, the host, a colon and the port, as in `tcp://192.0.2.1:6000`; \
                 a unix socket of that name is `./{authority}`"
            ),
            Self::BindStar { ipv4, all } => format!(
                "write `{ipv4}` for every IPv4 address of this machine, or `{all}` for every address"
            ),
            Self::MissingHost => "write a name or an address before the port".into(),
            Self::MissingPort => {
                "dnstap has no port of its own; add a colon and the collector's port".into()
            }
            Self::PortNotNumber(_) | Self::PortZero | Self::PortTooLarge(_) => {
                "ports go from 1 to 65535".into()
            }
            Self::UserInfo => "dnstap knows no users; write only the host and the port".into(),
            Self::UnbracketedIpv6 { right: None } => {
                "put the address in brackets, as in `[2001:db8::1]:6000`".into()
            }
            Self::ManyColons => "write the host, one colon and the port".into(),
            Self::UnclosedBracket => {
                "close it after the address, as in `[2001:db8::1]:6000`".into()
            }
            Self::AfterBracket(_) => {
                "write the port after a colon, as in `[2001:db8::1]:6000`".into()
            }
            Self::NotIpv6(_) => "brackets are for IPv6 addresses alone".into(),
            Self::EmptyZone => {
                "name the interface, as in `[fe80::1%25eth0]`, or leave the `%25` out".into()
            }
            Self::BadZone(_) => "`ip link` lists the interfaces of this machine".into(),
            Self::NotIpv4(_) => "an IPv4 address has four numbers from 0 to 255".into(),
            Self::EmptyLabel(_) => {
                "one dot between two labels, and at the most one at the end".into()
            }
            Self::LongLabel(_) | Self::LongName(_) => {
                "no such name can be resolved; shorten it".into()
            }
            Self::NotAscii(_) => "write the name as DNS has it, in its `xn--` form".into(),
            Self::BadCharacter { .. } | Self::Hyphen(_) => {
                "a label has letters, digits, `_`, and hyphens between them".into()
            }
            Self::EmptyPath => "add the path, as in `unix:///run/tapfan/dnstap.sock`".into(),
            Self::EmptyAbstract => "add the name after the `@`".into(),
            Self::PathTooLong { .. } => "choose a shorter one; the limit is the system's".into(),
            Self::Directory(_) => "add the name of the socket".into(),
            Self::SchemeCase { right, .. }
            | Self::MissingSlashes { right, .. }
            | Self::UnbracketedIpv6 { right: Some(right) }
            | Self::BindName {
                right: Some(right), ..
            }
            | Self::BindAnywhere { right } => format!("write `{right}`"),
            Self::BindName { right: None, .. } => {
                "write an address of this machine; `0.0.0.0` and `[::]` stand for all of them"
                    .into()
            }
            Self::BindZone(_) => "write the interface's number; `ip link` shows it".into(),
            Self::BindSrv { .. } => {
                "write an address of this machine and a port, as in `tcp://0.0.0.0:6000`".into()
            }
            Self::NotSrvName(_) => "such a name begins with the service and the protocol, as in \
                 `_dnstap._tcp.collector.example`; a host and a port are written `tcp://host:port`"
                .into(),
            Self::SrvPort { .. } => "leave the port out".into(),
            Self::NameServerName(_) => {
                "write its IP address, and its port if that is not 53".into()
            }
            Self::NameServerZone(_) => "write an address that needs no zone".into(),
            Self::UnwantedScheme { .. } => "write only the address and the port".into(),
        }
    }

    /// This error with a proposal that `read` accepts.
    ///
    /// An address may have several mistakes, so that the proposal that mends one of them is an address that has another.
    /// Then both are mended. If the other one cannot be mended here, it is the mistake to tell of.
    pub(super) fn with_sound_proposal<T>(self, read: impl Fn(&str) -> Result<T, Self>) -> Self {
        if let Self::MissingScheme { authority, .. } = self {
            let right = Self::mended(format!("tcp://{authority}"), read).ok();
            return Self::MissingScheme { authority, right };
        }
        match self
            .instead()
            .map(|right| Self::mended(right.to_owned(), read))
        {
            None => self,
            Some(Ok(right)) => self.proposing(right),
            Some(Err(other)) => other,
        }
    }

    /// The address with every mistake of it mended, or one that cannot be.
    fn mended<T>(
        mut address: String,
        read: impl Fn(&str) -> Result<T, Self>,
    ) -> Result<String, Self> {
        /// White space, the scheme, and the host: no address has more than one mistake in each.
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
        if let Self::Padded { trimmed: right }
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

    /// The whole address as it should be, where there is no doubt.
    pub fn instead(&self) -> Option<&str> {
        match self {
            Self::Padded { trimmed: right }
            | Self::SchemeCase { right, .. }
            | Self::MissingSlashes { right, .. }
            | Self::UnbracketedIpv6 { right: Some(right) }
            | Self::BindName {
                right: Some(right), ..
            }
            | Self::BindAnywhere { right }
            | Self::BindStar { ipv4: right, .. }
            | Self::SrvPort { right, .. }
            | Self::UnwantedScheme { right, .. } => Some(right),
            _ => None,
        }
    }
}
