//! Arguments of `tapfan dump`. The short options are those of golang-dnstap's `dnstap`.

use std::{net::ToSocketAddrs as _, num::NonZeroU64, path::PathBuf, time::Duration};

use clap::{Args, ValueHint};

use super::format::Chosen;
use crate::{
    cli::number::number,
    config::{
        AddressEdit, Config, FilterFileError, FilterRule, Filters, Listen, ListenAddress,
        SampleSettings, Sink, Verdict,
        quantity::{self, QuantityError},
    },
    filter::{BadRule, Filter, Kind, Sample, Screen},
    net::{
        BindAddress, ClientTls, Endpoint, ServerTls, ServerWords, TlsWords, UnixAddress,
        UnixPermissions,
    },
};

/// Arguments of `tapfan dump`.
#[derive(Debug, Args)]
pub(in crate::cli) struct DumpArgs {
    // This option comes first, because each struct below sets the heading of all options after it.
    /// Prints each sender that connects, with its content type, and the end of each stream.
    #[arg(short, long)]
    pub(in crate::cli) verbose: bool,
    #[command(flatten)]
    pub(super) input: InputArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) filter: FilterArgs,
}

/// Inputs. Each option can be repeated.
#[derive(Debug, Args)]
#[command(next_help_heading = "Inputs (each can be repeated)")]
pub(super) struct InputArgs {
    /// A capture to read, as with -r.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Reads a capture; `-` is standard input. Captures compressed by gzip or zstd are recognised.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    read: Vec<PathBuf>,
    /// Follows each capture as it grows. If another file replaces it, continues with the new file.
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Listens on a unix socket.
    #[arg(short, long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    unix: Vec<PathBuf>,
    /// Permissions of the unix sockets, in octal.
    #[arg(long, value_name = "MODE", default_value = "0660", value_parser = mode)]
    mode: u32,
    /// Listens on a TCP address, `HOST:PORT` or `:PORT`, or with TLS on `tls://HOST:PORT`.
    #[arg(short, long, value_name = "ADDRESS", value_parser = listen_address)]
    listen: Vec<BindAddress>,
    /// The certificate chain for the TLS addresses, in PEM.
    #[arg(long, value_name = "FILE", requires = "key", value_hint = ValueHint::FilePath)]
    cert: Option<PathBuf>,
    /// The private key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = ValueHint::FilePath)]
    key: Option<PathBuf>,
    /// The authorities for client certificates, in PEM. One of them must have signed the certificate of each client.
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = ValueHint::FilePath)]
    client_ca: Option<PathBuf>,
}

/// Outputs.
#[allow(clippy::struct_excessive_bools)] // Each is a flag of the command line.
#[derive(Debug, Args)]
#[command(next_help_heading = "Outputs")]
pub(super) struct OutputArgs {
    #[command(flatten)]
    pub(super) chosen: Chosen,
    /// Appends to the files instead of replacing them. Works only with text files.
    #[arg(short, long)]
    pub(super) append: bool,
    /// Sends the frames to the collector at this unix socket; can be repeated.
    #[arg(short = 'U', long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    to_unix: Vec<PathBuf>,
    /// Sends the frames to the collector at this TCP address, `HOST:PORT`, over TLS at `tls://HOST:PORT`, or to a Kafka
    /// topic, `kafka://BROKER[:PORT],…/TOPIC`; can be repeated.
    #[arg(short = 'T', long, value_name = "ADDRESS", value_parser = endpoint)]
    to_tcp: Vec<Endpoint>,
    /// The authorities that may sign the certificates of collectors, in PEM. They replace those of the system.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    ca: Option<PathBuf>,
    /// Accepts any certificate from a collector.
    #[arg(long, conflicts_with = "ca")]
    skip_verify: bool,
    /// The name to expect in the certificates of collectors, instead of the host in the address.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// The time after which a collector that accepts no data counts as dead (a Kafka topic: at least 30s), and the
    /// time limit for the handshake of a sender.
    #[arg(short, long, value_name = "TIME", default_value = "5s", value_parser = timeout)]
    pub(super) timeout: Duration,
    /// Prints only the number of frames, not the frames.
    #[arg(long)]
    pub(super) count: bool,
    /// Prints counts of types, codes, names and clients, and the latencies, instead of the frames.
    #[arg(long)]
    pub(super) stats: bool,
}

/// Filters. Each option can be repeated. All rules of one option form a list, and the first matching rule of the list
/// decides.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Filters (with `!` before it, a rule drops the frames that it matches)"
)]
pub(super) struct FilterArgs {
    /// Message types, such as `client_query`, or `client` for both query and response.
    #[arg(long = "type", value_name = "TYPES")]
    types: Vec<String>,
    /// Names in the question: `example.org` for this name and all names below it, or `*.example.org` for only those
    /// below.
    #[arg(long, value_name = "NAME")]
    qname: Vec<String>,
    /// A file with such names, one on each line. These rules come before those of --qname.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    qname_file: Vec<String>,
    /// Record types in the question.
    #[arg(long, value_name = "TYPES")]
    qtype: Vec<String>,
    /// Response codes.
    #[arg(long, value_name = "CODES")]
    rcode: Vec<String>,
    /// Addresses or prefixes of clients.
    #[arg(long, value_name = "ADDRESS")]
    client: Vec<String>,
    /// Transport protocols.
    #[arg(long, value_name = "PROTOCOLS")]
    protocol: Vec<String>,
    /// A sample, such as `1/20` for one transaction in 20. A query and its response are kept together or left out
    /// together.
    #[arg(long, value_name = "1/NUMBER")]
    sample: Option<Sample>,
    /// A file with the key of the sample: 32 hexadecimal digits. The same key chooses the same transactions.
    #[arg(long, value_name = "FILE", requires = "sample", value_hint = ValueHint::FilePath)]
    sample_key: Option<PathBuf>,
    /// Edits the address of the client, also in EDNS Client Subnet: `truncate 24 48`, `pseudonym KEYFILE` or `remove`.
    #[arg(long, value_name = "EDIT", value_parser = client_address)]
    client_address: Option<AddressEdit>,
    /// Sets EDNS Client Subnet (`ecs`) or DNS cookies (`cookie`) to zero.
    #[arg(long, value_name = "WORDS", value_delimiter = ',', value_parser = ["ecs", "cookie"])]
    strip: Vec<String>,
    /// Stops after this number of frames.
    #[arg(long, value_name = "NUMBER", value_parser = number::<NonZeroU64>(1..=u64::MAX))]
    pub(super) limit: Option<NonZeroU64>,
}

// === impl InputArgs ===

impl InputArgs {
    /// Returns the captures to read, in order.
    pub(super) fn captures(&self) -> impl Iterator<Item = &PathBuf> {
        self.read.iter().chain(&self.files)
    }

    /// Returns the listeners. A sender must complete its handshake within `timeout`.
    pub(super) fn listeners(&self, timeout: Duration) -> Vec<Listen> {
        let permissions = UnixPermissions {
            mode: self.mode,
            owner: None,
            group: None,
        };
        let unix = self.unix.iter().map(|path| {
            let address = UnixAddress::Path(path.clone());
            ListenAddress::Unix(address, permissions.clone())
        });
        let others = self.listen.iter().map(|address| match address {
            BindAddress::Unix(address) => ListenAddress::Unix(address.clone(), permissions.clone()),
            BindAddress::Tcp(address) => ListenAddress::Tcp(*address),
            BindAddress::Tls(address) => ListenAddress::Tls(*address, self.tls()),
        });
        let named = |address| {
            let name = match &address {
                ListenAddress::Unix(address, _) => address.to_string(),
                ListenAddress::Tcp(address) => format!("tcp://{address}"),
                ListenAddress::Tls(address, _) => format!("tls://{address}"),
                ListenAddress::Remote(remote) => remote.endpoint.to_string(),
            };
            let mut listen = Listen::new(name, address);
            listen.limits.handshake = timeout;
            listen.words = ServerWords::OPTIONS;
            listen
        };
        unix.chain(others).map(named).collect()
    }

    /// Returns whether there are listeners.
    pub(super) fn has_listeners(&self) -> bool {
        !self.unix.is_empty() || !self.listen.is_empty()
    }

    /// Returns whether a TLS address lacks its certificate.
    pub(super) fn lacks_certificate(&self) -> bool {
        let has_tls = self
            .listen
            .iter()
            .any(|it| matches!(it, BindAddress::Tls(_)));
        has_tls && self.cert.is_none()
    }

    fn tls(&self) -> ServerTls {
        ServerTls {
            cert: self.cert.clone().unwrap_or_default(),
            key: self.key.clone().unwrap_or_default(),
            client_ca: self.client_ca.clone(),
            client_cert_optional: false,
        }
    }
}

// === impl FilterArgs ===

impl FilterArgs {
    /// Returns the filter of the arguments. Reads the files that they name.
    ///
    /// # Errors
    /// If a rule or a file cannot be used.
    pub(super) fn screen(&self) -> Result<Screen, FilterFileError> {
        let mut filters = Filters::default();
        for text in &self.qname_file {
            let (verdict, file) = match text.strip_prefix('!') {
                Some(file) => (Verdict::Drop, file),
                None => (Verdict::Keep, text.as_str()),
            };
            filters
                .rules
                .push(FilterRule::names_in(verdict, file.into()));
        }
        let sample = self.sample.as_ref();
        filters.sample = sample.map(|it| SampleSettings::new(it.one_in(), self.sample_key.clone()));
        filters.client_address.clone_from(&self.client_address);
        filters.strip_ecs = self.strip.iter().any(|word| word == "ecs");
        filters.strip_cookie = self.strip.iter().any(|word| word == "cookie");
        let mut screen = filters.read()?.screen;
        self.add_rules(&mut screen.filter)?;
        Ok(screen)
    }

    fn add_rules(&self, filter: &mut Filter) -> Result<(), BadRule> {
        let kinds = [
            (Kind::Type, &self.types),
            (Kind::Qname, &self.qname),
            (Kind::Qtype, &self.qtype),
            (Kind::Rcode, &self.rcode),
            (Kind::Client, &self.client),
            (Kind::Protocol, &self.protocol),
        ];
        for (kind, rules) in kinds {
            for rule in rules {
                filter.add_argument(kind, rule)?;
            }
        }
        Ok(())
    }
}

// === impl OutputArgs ===

impl OutputArgs {
    /// Returns whether frames are written to files or to standard output. Standard output is used if no other output
    /// was given.
    pub(super) fn wants_files(&self) -> bool {
        let has_collectors = !self.to_unix.is_empty() || !self.to_tcp.is_empty();
        self.chosen.is_stdout_asked_for || !(has_collectors || self.count || self.stats)
    }

    /// Returns the configuration of the router that sends to the collectors; `None` if there are no collectors.
    pub(super) fn collectors(&self) -> Option<Config> {
        let unix = self.to_unix.iter();
        let unix = unix.map(|path| Endpoint::Unix(UnixAddress::Path(path.clone())));
        let endpoints = unix.chain(self.to_tcp.iter().cloned());
        let mut sinks: Vec<Sink> = Vec::new();
        for endpoint in endpoints {
            // Sinks are identified by name, so each sink needs a unique name.
            let same = sinks
                .iter()
                .filter(|sink| sink.endpoint == endpoint)
                .count();
            let name = match same {
                0 => endpoint.to_string(),
                _ => format!("{endpoint}#{}", same + 1),
            };
            let mut sink = Sink::new(name, endpoint);
            sink.full = true;
            sink.write_timeout = match &sink.endpoint {
                // Brokers need some ten seconds to replace one that is down.
                Endpoint::Kafka(_) => sink.write_timeout.max(self.timeout),
                _ => self.timeout,
            };
            if let Some(tls) = &mut sink.tls {
                *tls = ClientTls {
                    skip_verify: self.skip_verify,
                    ca: self.ca.clone(),
                    client: None,
                    server_name: self.server_name.clone(),
                    words: TLS_WORDS,
                };
            }
            sinks.push(sink);
        }
        (!sinks.is_empty()).then(|| Config::new(Vec::new(), sinks))
    }
}

/// Parses an address in the syntax of Go's `net.Listen`, such as `:6000`, or an address with a scheme. Looks up a host
/// name.
fn listen_address(text: &str) -> Result<BindAddress, String> {
    let (scheme, address) = text.split_once("://").unwrap_or(("tcp", text));
    if let Some(port) = address.strip_prefix(':') {
        return whole(scheme, &format!("[::]:{port}")).map_err(|error| error.to_string());
    }
    whole(scheme, address).or_else(|error| {
        let mut found = address.to_socket_addrs().ok().into_iter().flatten();
        let first = found.next().ok_or_else(|| error.to_string())?;
        whole(scheme, &first.to_string()).map_err(|error| error.to_string())
    })
}

fn whole(scheme: &str, address: &str) -> Result<BindAddress, crate::net::AddressError> {
    format!("{scheme}://{address}").parse()
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let text = if text.contains("://") {
        text.to_owned()
    } else {
        format!("tcp://{text}")
    };
    match text.parse() {
        Ok(Endpoint::File(_)) => Err("a collector is not a file; -w writes to files".to_owned()),
        Ok(endpoint) => Ok(endpoint),
        Err(error) => Err(crate::net::AddressError::to_string(&error)),
    }
}

fn timeout(text: &str) -> Result<Duration, QuantityError> {
    // golang-dnstap's default is 0, which means no timeout.
    if text == "0" || text == "0s" {
        return Ok(LONGEST);
    }
    quantity::time(text, &(Duration::from_secs(1)..=LONGEST))
}

/// Reads `truncate 24 48`, `pseudonym KEYFILE` or `remove`.
fn client_address(text: &str) -> Result<AddressEdit, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let bits = |text: &str, most: u8| text.parse().ok().filter(|bits| *bits <= most);
    match words.as_slice() {
        ["remove"] => Some(AddressEdit::Remove),
        ["pseudonym", file] => Some(AddressEdit::Pseudonym(file.into())),
        ["truncate", ipv4, ipv6] => bits(ipv4, 32)
            .zip(bits(ipv6, 128))
            .map(|(ipv4, ipv6)| AddressEdit::Truncate { ipv4, ipv6 }),
        _ => None,
    }
    .ok_or_else(|| "write `truncate 24 48`, `pseudonym KEYFILE` or `remove`, in quotes".to_owned())
}

/// The options for collectors with TLS. `--cert` and `--key` are for the listeners.
const TLS_WORDS: TlsWords = TlsWords {
    peer: "collector",
    client: None,
    ..TlsWords::OPTIONS
};

/// The longest timeout.
const LONGEST: Duration = Duration::from_hours(1);

fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "write an octal number up to 0777".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Arg, Command, CommandFactory as _};

    use super::*;
    use crate::cli::Cli;

    fn command() -> Command {
        let cli = Cli::command();
        let dump = cli.find_subcommand("dump").expect("a command");
        dump.clone()
    }

    /// Returns an option with the name of its value, in the form in which docs/dump.md writes it.
    fn written(arg: &Arg) -> String {
        let name = match (arg.get_short(), arg.get_long()) {
            (Some(short), Some(long)) => format!("-{short}, --{long}"),
            (None, Some(long)) => format!("--{long}"),
            _ => String::new(),
        };
        let takes_value = arg.get_action().takes_values() && arg.get_num_args() != Some(0.into());
        let value = arg.get_value_names().filter(|_| takes_value);
        let value = value.and_then(<[_]>::first).map(ToString::to_string);
        format!("{name} {}", value.unwrap_or_default())
            .trim()
            .to_owned()
    }

    #[test]
    fn the_document_lists_the_options_of_the_program() {
        let options = command();
        let program = options.get_arguments().map(written);
        let program: BTreeSet<String> = program.chain(["-h, --help".to_owned()]).collect();
        let document = include_str!("../../../docs/dump.md");
        let (_, list) = document.split_once("## Options\n").expect("a section");
        let (list, _) = list.split_once("\n## ").expect("a section after it");
        let options = list.lines();
        let options = options.filter_map(|line| line.strip_prefix("- `")?.split('`').next());
        let listed: BTreeSet<String> = options.map(str::to_owned).collect();
        assert_eq!(listed, program);
    }

    #[test]
    fn each_option_stands_under_its_own_heading() {
        let options = command();
        let mut options = options.get_arguments();
        let verbose = options.find(|it| it.get_short() == Some('v'));
        assert_eq!(verbose.expect("an option").get_help_heading(), None);
    }

    /// Tests that each option of `dnstap -h` is an option of `tapfan dump`.
    #[test]
    fn the_options_of_golang_dnstap_are_options_here() {
        let options = command();
        let shorts = options.get_arguments().filter_map(Arg::get_short);
        let shorts: BTreeSet<char> = shorts.collect();
        for short in "TUajlqrtuwy".chars() {
            assert!(shorts.contains(&short), "-{short}");
        }
    }

    #[test]
    fn errors_of_collectors_with_tls_name_the_options_of_dump() {
        use rustls::{AlertDescription, CertificateError, Error};
        let failures = [
            Error::InvalidCertificate(CertificateError::UnknownIssuer),
            Error::InvalidCertificate(CertificateError::NotValidForName),
            Error::AlertReceived(AlertDescription::CertificateRequired),
            Error::AlertReceived(AlertDescription::HandshakeFailure),
            Error::AlertReceived(AlertDescription::UnknownCA),
        ];
        let said = failures.map(|error| {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
            crate::net::client_failure(&error, TLS_WORDS)
        });
        insta::assert_snapshot!(said.join("\n"), @"
        invalid peer certificate: UnknownIssuer; set `--ca` to the authority that issued the certificate, or read about `--skip-verify`
        invalid peer certificate: NotValidForName; set `--server-name` to a name in the certificate
        received fatal alert: CertificateRequired; the collector requires a client certificate: this command cannot send one, but `tapfan run` can, with `cert` and `key`
        received fatal alert: HandshakeFailure; either the collector requires a client certificate (this command cannot send one, but `tapfan run` can, with `cert` and `key`), or it has no TLS version or cipher in common with tapfan; the collector's log says which
        received fatal alert: UnknownCA; the collector probably requires a client certificate: this command cannot send one, but `tapfan run` can, with `cert` and `key`
        ");
    }

    #[test]
    fn errors_of_senders_with_tls_name_the_options_of_dump() {
        use rustls::{AlertDescription, CertificateError, Error};
        let failures = [
            Error::NoCertificatesPresented,
            Error::InvalidCertificate(CertificateError::UnknownIssuer),
            Error::AlertReceived(AlertDescription::UnknownCA),
        ];
        let said = failures.map(|error| {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
            crate::net::server_failure(&error, ServerWords::OPTIONS)
        });
        insta::assert_snapshot!(said.join("\n"), @"
        peer sent no certificates; `--client-ca` requires a client certificate: configure one at the sender, or remove `--client-ca`
        invalid peer certificate: UnknownIssuer; the sender's certificate must be signed by an authority in `--client-ca`
        received fatal alert: UnknownCA; the sender refuses this listener's certificate: the sender must trust the authority that signed `--cert`, and expect a name that `--cert` contains
        ");
    }

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        let shown = |text| listen_address(text).map(|it| format!("{it:?}"));
        assert_eq!(shown(":6000").expect("all"), "Tcp([::]:6000)");
        assert_eq!(shown("127.0.0.1:6000").expect("one"), "Tcp(127.0.0.1:6000)");
        assert_eq!(shown("tls://[::1]:6443").expect("TLS"), "Tls([::1]:6443)");
        assert!(shown("localhost:6000").expect("a name").contains(":6000"));
        assert!(shown("6000").is_err());
        let collector = |text| endpoint(text).expect(text).to_string();
        assert_eq!(collector("c.example:1"), "tcp://c.example:1");
        assert_eq!(collector("tls://c.example:1"), "tls://c.example:1");
        let refused = endpoint("file:///tmp/copy.fstrm").expect_err("a file");
        assert_eq!(refused, "a collector is not a file; -w writes to files");
        assert_eq!(timeout("0"), Ok(LONGEST));
        assert_eq!(timeout("1m30s"), Ok(Duration::from_secs(90)));
        assert!(timeout("1").is_err());
    }
}
