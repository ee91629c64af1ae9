//! The routers that are measured.

use std::{
    env, fs,
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::{
    Result, admin,
    cases::{Case, Edit},
    child::{Child, Role},
    naive,
    socket::{Address, Transport},
    tls,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// A build of tapfan, and the name that distinguishes it from other builds of tapfan.
    Tapfan { name: String, path: PathBuf },
    /// `dnstap` of golang-dnstap.
    Golang,
    /// The floor, see `naive`.
    Naive,
}

/// The sockets of a run.
pub(crate) struct Addresses {
    pub(crate) folder: PathBuf,
    pub(crate) listen: Address,
    pub(crate) sinks: Vec<Address>,
}

/// A running router. It is killed when dropped.
pub(crate) enum Router {
    Tapfan(Process, SocketAddr),
    Golang(Process),
    Naive(Child),
}

pub(crate) struct Process(std::process::Child);

/// The parts of `/status` that say where the frames are.
#[derive(Debug, Deserialize)]
struct Status {
    sinks: Vec<Sink>,
}

#[derive(Debug, Deserialize)]
struct Sink {
    ledger: Ledger,
}

/// The ledger of a sink. docs/reference.md explains its fields.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) offered: u64,
    pub(crate) delivered: u64,
    pub(crate) queued: u64,
    pub(crate) in_flight: u64,
    pub(crate) unconfirmed: u64,
    dropped: std::collections::BTreeMap<String, u64>,
}

// === impl Program ===

impl Program {
    /// Returns the builds of tapfan to measure. They are the builds that the environment variable
    /// `TAPFAN` names or, if it is not set, the build of this benchmark.
    pub(crate) fn tapfan() -> Result<Vec<Self>> {
        let given = env::var_os("TAPFAN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tapfan").into());
        let paths: Vec<PathBuf> = env::split_paths(&given).collect();
        let several = paths.len() > 1;
        let programs = paths.into_iter().zip(1..).map(|(path, number)| {
            let path = fs::canonicalize(&path)
                .map_err(|error| format!("TAPFAN: {}: {error}", path.display()))?;
            let name = if several {
                format!("tapfan {number}")
            } else {
                "tapfan".to_owned()
            };
            Ok(Self::Tapfan { name, path })
        });
        programs.collect()
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Tapfan { name, .. } => name,
            Self::Golang => "golang-dnstap",
            Self::Naive => "naive",
        }
    }

    /// Returns whether the program supports everything that this case needs.
    pub(crate) fn can(&self, case: &Case) -> bool {
        matches!(self, Self::Tapfan { .. })
            || case.size.is_none()
                && case.edit == Edit::None
                && case.confirm == "written"
                && !case.spool
                && matches!(case.transport, Transport::Unix | Transport::Tcp)
    }

    pub(crate) fn is_installed(&self) -> bool {
        match self {
            Self::Golang => golang(|command| command.arg("--help").output()).is_ok(),
            Self::Tapfan { .. } | Self::Naive => true,
        }
    }

    pub(crate) fn start(&self, case: &Case, addresses: &Addresses) -> Result<Router> {
        Ok(match self {
            Self::Tapfan { path, .. } => {
                let admin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
                let file = addresses.folder.join("Tapfile");
                fs::write(&file, tapfile(case, addresses, admin))?;
                let mut command = Command::new(path);
                command
                    .args(["run", "--log-level", "error", "-c"])
                    .arg(file);
                let process = command.stdin(Stdio::null()).spawn()?;
                Router::Tapfan(Process(process), admin)
            }
            Self::Golang => Router::Golang(Process(golang(|command| {
                let address = |command: &mut Command, unix, tcp, address: &Address| {
                    match address {
                        Address::Unix(path) => command.arg(unix).arg(path),
                        Address::Tcp(at) | Address::Tls(at, _) => {
                            command.arg(tcp).arg(at.to_string())
                        }
                    };
                };
                address(command, "-u", "-l", &addresses.listen);
                for sink in &addresses.sinks {
                    address(command, "-U", "-T", sink);
                }
                command.spawn()
            })?)),
            Self::Naive => {
                let plan = naive::Plan {
                    listen: addresses.listen.clone(),
                    sinks: addresses.sinks.clone(),
                };
                Router::Naive(Child::start(Role::Naive, &plan)?)
            }
        })
    }
}

fn tapfile(case: &Case, addresses: &Addresses, admin: SocketAddr) -> String {
    let files = tls::Files::in_folder(&addresses.folder);
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let is_tls = case.transport == Transport::Tls;
    let (mut listener, mut sink) = (String::new(), String::new());
    if is_tls {
        listener = format!(" {{ cert {certificate} key {key} }}");
        sink = format!("ca {certificate} ");
    }
    let (mode, fields) = match case.edit {
        Edit::None => ("full ", ""),
        Edit::Fields => ("full ", "identity edge-1 version bench "),
        Edit::NoWire => ("", ""),
        Edit::NoWireIdentity => ("", "identity edge-1 "),
    };
    sink += fields;
    sink += "confirm ";
    sink += case.confirm;
    sink += " ";
    let mut text = format!(
        "admin {admin}\nlisten {}{listener}\n",
        addresses.listen.url()
    );
    for (number, address) in addresses.sinks.iter().enumerate() {
        let spool = if case.spool {
            let folder = addresses.folder.join(format!("spool-{number}"));
            format!("name sink-{number} spool {} 4GiB ", folder.display())
        } else {
            String::new()
        };
        text += &[
            "dnstap ",
            &address.url(),
            " ",
            mode,
            "{ ",
            &sink,
            &spool,
            "}\n",
        ]
        .concat();
    }
    text
}

/// Runs `dnstap` of golang-dnstap from PATH, or from the folders in which `go install` puts it.
fn golang<T>(mut run: impl FnMut(&mut Command) -> io::Result<T>) -> io::Result<T> {
    let go = |variable, below: &str| env::var_os(variable).map(|it| Path::new(&it).join(below));
    let folders = [go("GOBIN", ""), go("GOPATH", "bin"), go("HOME", "go/bin")];
    let elsewhere = folders.into_iter().flatten().map(|it| it.join("dnstap"));
    let mut outcome = Err(io::ErrorKind::NotFound.into());
    for program in [PathBuf::from("dnstap")].into_iter().chain(elsewhere) {
        let mut command = Command::new(program);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        outcome = run(command.stderr(Stdio::null()));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

// === impl Router ===

impl Router {
    pub(crate) fn id(&self) -> u32 {
        match self {
            Self::Tapfan(process, _) | Self::Golang(process) => process.0.id(),
            Self::Naive(child) => child.id(),
        }
    }

    /// Returns the ledgers of the sinks; `None` if the program keeps no ledgers.
    pub(crate) fn ledgers(&self) -> Result<Option<Vec<Ledger>>> {
        let Self::Tapfan(_, admin) = self else {
            return Ok(None);
        };
        let mut text = String::new();
        admin::get(*admin, "/status", "")?.read_to_string(&mut text)?;
        // The answer consists of headers, an empty line and the body.
        let (_, body) = text.split_once("\r\n\r\n").ok_or("/status has no body")?;
        let status: Status = serde_json::from_str(body)?;
        Ok(Some(status.sinks.into_iter().map(|it| it.ledger).collect()))
    }
}

// === impl Process ===

impl Drop for Process {
    fn drop(&mut self) {
        // Ignores errors: the process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// === impl Ledger ===

impl Ledger {
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.values().sum()
    }
}
