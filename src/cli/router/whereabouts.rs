//! Where the router is, and how that is known.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{Address, FetchError};
use crate::{
    admin::RouterStatus,
    cli::tapfile,
    config::{self, AdminAddress, ReadError},
    files::{Reader, Unanswered, read_in_time, waiting_for},
};

/// Which router to look at.
#[derive(Debug, Args)]
pub(in crate::cli) struct RouterArgs {
    /// Its admin endpoint: HOST:PORT or http://HOST:PORT; by default what the Tapfile says
    #[arg(long, value_name = "ADDR", conflicts_with = "config")]
    admin: Option<Address>,
    /// The Tapfile whose `admin` line says where it is; by default the one that `tapfan run` would take
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Where a router is looked for.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Whereabouts {
    pub(in crate::cli) address: Address,
    known: Known,
    /// The Tapfile that was read for it.
    read: Option<Own>,
}

/// The Tapfile that a command read.
#[derive(Debug, Clone)]
struct Own {
    absolute: PathBuf,
    /// With every link resolved.
    real: Option<PathBuf>,
}

/// How the address is known.
#[derive(Debug, Clone)]
enum Known {
    Named,
    Tapfile(PathBuf),
    Default,
}

/// Nothing says where it is.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Nowhere {
    #[error("cannot read {}: {error}; name another with -c, or the address with --admin", path.display())]
    Unreadable { path: PathBuf, error: ReadError },
    #[error("cannot read the Tapfile: {0} Name another with -c, or the address with --admin")]
    Unanswered(#[from] Unanswered),
    #[error(
        "{} says `admin off`, so a router that runs with it has no admin endpoint; write `admin 127.0.0.1:9180` there, or name the address with --admin",
        .0.display()
    )]
    Off(PathBuf),
    #[error(
        "the `admin` line of {} is wrong (`tapfan check` says why); name the address with --admin",
        .0.display()
    )]
    Wrong(PathBuf),
    #[error(
        "{} leaves the port of the admin endpoint to the system; name the address with --admin (the log line `admin endpoint is listening` has it)",
        .0.display()
    )]
    AnyPort(PathBuf),
}

// === impl RouterArgs ===

impl RouterArgs {
    /// Where that router is. Reads the Tapfile if no address is named.
    pub(in crate::cli) fn whereabouts(&self) -> Result<Whereabouts, Nowhere> {
        if let Some(address) = &self.admin {
            return Ok(Whereabouts {
                address: address.clone(),
                known: Known::Named,
                read: None,
            });
        }
        let named = self.config.clone();
        read_in_time(|| match named.or_else(|| config::find().ok()) {
            Some(path) => said_in(path),
            None => Ok(Whereabouts::default()),
        })?
    }
}

/// Finds the router that runs with the Tapfile of this path.
fn said_in(path: PathBuf) -> Result<Whereabouts, Nowhere> {
    match config::read(&path) {
        Ok(text) => said_by(path, &text),
        Err(error) => Err(Nowhere::Unreadable { path, error }),
    }
}

/// Where a router is that runs with this Tapfile.
fn said_by(path: PathBuf, text: &str) -> Result<Whereabouts, Nowhere> {
    let said = config::parse(&path, text, &config::process_environment).admin;
    let read = Some(Own::of(&path));
    match said {
        Some(AdminAddress::Default) => Ok(Whereabouts {
            read,
            ..Whereabouts::default()
        }),
        Some(AdminAddress::At(address)) if address.port() == 0 => Err(Nowhere::AnyPort(path)),
        Some(AdminAddress::At(address)) => Ok(Whereabouts {
            address: address.into(),
            read,
            known: Known::Tapfile(path),
        }),
        Some(AdminAddress::Off) => Err(Nowhere::Off(path)),
        None => Err(Nowhere::Wrong(path)),
    }
}

// === impl Own ===

impl Own {
    fn of(path: &Path) -> Self {
        Self {
            absolute: tapfile::absolute(path).unwrap_or_else(|_| path.to_owned()),
            real: real(path),
        }
    }
}

/// The path with every link resolved; `None` if it leads nowhere.
fn real(path: &Path) -> Option<PathBuf> {
    waiting_for(path.display(), || path.canonicalize().ok())
}

// === impl Whereabouts ===

impl Default for Whereabouts {
    fn default() -> Self {
        Self {
            address: AdminAddress::DEFAULT.into(),
            known: Known::Default,
            read: None,
        }
    }
}

impl Whereabouts {
    /// A warning if the router that answers runs with another Tapfile than the one that was read: nobody meant that one.
    pub(in crate::cli) async fn stranger(&self, status: &RouterStatus) -> Option<String> {
        let own = self.read.as_ref()?;
        let theirs = PathBuf::from(status.config.absolute_path.as_ref()?);
        if own.absolute == theirs {
            return None;
        }
        let path = theirs.clone();
        let real = Reader::new().read(move || real(&path)).await;
        if real.is_ok_and(|real| real.is_some() && real == own.real) {
            return None;
        }
        Some(format!(
            "this router runs with {}, not with {}, which this command read; name the right one with -c or --admin, and give each router an `admin` address of its own",
            theirs.display(),
            own.absolute.display()
        ))
    }

    /// What was tried, why it failed, and what to do: one sentence.
    pub(in crate::cli) fn explain(&self, error: &FetchError) -> String {
        let advice = match (error, &self.known) {
            (FetchError::Connect(_), Known::Named) => {
                "is tapfan running there, and is this the address of its `admin` line?".to_owned()
            }
            (FetchError::Connect(_), Known::Tapfile(path)) => {
                format!("is tapfan running, with {}?", path.display())
            }
            (FetchError::Connect(_), Known::Default) => {
                "is tapfan running? If its Tapfile has an `admin` line, name the file with -c, or the address with --admin".to_owned()
            }
            (FetchError::Late, _) => {
                "is the machine up, and is no firewall between?".to_owned()
            }
            (FetchError::Host, _) => format!(
                "name its IP address with --admin, or add `host {}` to the block of its `admin` line",
                self.address.host
            ),
            (FetchError::Refused(_), _) => {
                "is it another program, or tapfan's `probes` address? The `admin` address has it".to_owned()
            }
            (FetchError::Http(_) | FetchError::TooLong, _) => {
                "is it another program? --admin names another address".to_owned()
            }
            (FetchError::NotStatus(_), _) => {
                "is it another program, or a tapfan of another version?".to_owned()
            }
        };
        format!("no router at {self}: {error}; {advice}")
    }
}

impl fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, known, .. } = self;
        match known {
            Known::Named => write!(f, "{address}"),
            Known::Tapfile(path) => write!(f, "{address} (as {} says)", path.display()),
            Known::Default => write!(f, "{address} (the default)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture;

    /// `top` asks within its runtime, where nothing may block.
    #[tokio::test]
    async fn a_router_with_another_tapfile_is_a_stranger() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("Tapfile");
        std::fs::write(&path, "admin 127.0.0.1:9180").expect("written");
        let whereabouts = Whereabouts {
            read: Some(Own::of(&path)),
            ..Whereabouts::default()
        };
        let mut status = fixture::router(Vec::new());
        let warning = whereabouts.stranger(&status).await;
        assert!(warning.is_some_and(|text| text.contains("/etc/tapfan/Tapfile")));

        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        for own in [path, link] {
            status.config.absolute_path = Some(own.display().to_string());
            assert_eq!(whereabouts.stranger(&status).await, None);
        }
    }
}
