//! The address of the router, and where that address comes from.

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

/// Arguments that choose the router.
#[derive(Debug, Args)]
pub(in crate::cli) struct RouterArgs {
    /// The router's admin endpoint, as HOST:PORT or http://HOST:PORT; by default the `admin` address in the Tapfile
    #[arg(long, value_name = "ADDR", conflicts_with = "config")]
    admin: Option<Address>,
    /// The Tapfile whose `admin` line gives the address; by default ./Tapfile, or else
    /// /etc/tapfan/Tapfile
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The address of a router, and the Tapfile from which it was read, if any.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Whereabouts {
    pub(in crate::cli) address: Address,
    origin: Origin,
    /// The Tapfile from which the address was read.
    read: Option<Own>,
}

/// The path of the Tapfile that this command read, as given and with its symbolic links resolved.
#[derive(Debug, Clone)]
struct Own {
    absolute: PathBuf,
    /// The path with every symbolic link resolved.
    real: Option<PathBuf>,
}

#[derive(Debug, Clone)]
enum Origin {
    Named,
    Tapfile(PathBuf),
    Default,
}

/// The reason why the address of the router is unknown.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum NoAddress {
    #[error("cannot read {}: {error}; give another file with -c, or the address with --admin", path.display())]
    Unreadable { path: PathBuf, error: ReadError },
    #[error("cannot read the Tapfile: {0} Give another file with -c, or the address with --admin")]
    Unanswered(#[from] Unanswered),
    #[error(
        "{} has the line `admin off`, so its router has no admin endpoint; write `admin 127.0.0.1:9180` instead, or give the address of another router with --admin",
        .0.display()
    )]
    Off(PathBuf),
    #[error(
        "the `admin` line of {} is wrong (`tapfan check` says why); give the address with --admin",
        .0.display()
    )]
    Wrong(PathBuf),
    #[error(
        "{} leaves the port of the admin endpoint to the system; give the address with --admin (the log line `admin endpoint is listening` contains the address)",
        .0.display()
    )]
    AnyPort(PathBuf),
}

// === impl RouterArgs ===

impl RouterArgs {
    /// Returns the address of the router. If none was given on the command line, reads it from the Tapfile.
    pub(in crate::cli) fn whereabouts(&self) -> Result<Whereabouts, NoAddress> {
        if let Some(address) = &self.admin {
            return Ok(Whereabouts {
                address: address.clone(),
                origin: Origin::Named,
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

/// Reads the admin address of a router from the Tapfile at `path`.
fn said_in(path: PathBuf) -> Result<Whereabouts, NoAddress> {
    match config::read(&path) {
        Ok(text) => said_by(path, &text),
        Err(error) => Err(NoAddress::Unreadable { path, error }),
    }
}

/// Reads the admin address of a router from the text of the Tapfile at `path`.
fn said_by(path: PathBuf, text: &str) -> Result<Whereabouts, NoAddress> {
    let said = config::parse(&path, text, &config::process_environment).admin;
    let read = Some(Own::of(&path));
    match said {
        Some(AdminAddress::Default) => Ok(Whereabouts {
            read,
            ..Whereabouts::default()
        }),
        Some(AdminAddress::At(address)) if address.port() == 0 => Err(NoAddress::AnyPort(path)),
        Some(AdminAddress::At(address)) => Ok(Whereabouts {
            address: address.into(),
            read,
            origin: Origin::Tapfile(path),
        }),
        Some(AdminAddress::Off) => Err(NoAddress::Off(path)),
        None => Err(NoAddress::Wrong(path)),
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

/// Returns the path with every symbolic link resolved; `None` if it does not exist.
fn real(path: &Path) -> Option<PathBuf> {
    waiting_for(path.display(), || path.canonicalize().ok())
}

// === impl Whereabouts ===

impl Default for Whereabouts {
    fn default() -> Self {
        Self {
            address: AdminAddress::DEFAULT.into(),
            origin: Origin::Default,
            read: None,
        }
    }
}

impl Whereabouts {
    /// Returns a warning if the running router uses a different Tapfile than the one that this command read.
    pub(in crate::cli) async fn mismatch(&self, status: &RouterStatus) -> Option<String> {
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
            "this router runs with {}, not with {}, which this command read; choose the right one with -c or --admin, and give each router its own `admin` address",
            theirs.display(),
            own.absolute.display()
        ))
    }

    /// Returns an error message with the address, the cause and a remedy.
    pub(in crate::cli) fn explain(&self, error: &FetchError) -> String {
        let advice = match (error, &self.origin) {
            (FetchError::Connect(_), Origin::Named) => {
                "is tapfan running there, and is this the address of its `admin` line?".to_owned()
            }
            (FetchError::Connect(_), Origin::Tapfile(path)) => {
                format!("is tapfan running, with {}?", path.display())
            }
            (FetchError::Connect(_), Origin::Default) => {
                "is tapfan running? If its Tapfile has an `admin` line, give the file with -c, or the address with --admin".to_owned()
            }
            (FetchError::Late, _) => {
                "is the host up? is a firewall in the way?".to_owned()
            }
            (FetchError::Host, _) => format!(
                "give its IP address with --admin, or add `host {}` to the block of its `admin` line",
                self.address.host
            ),
            (FetchError::Refused(_), _) => {
                "is it another program, or tapfan's `probes` address? /status is at the `admin` address".to_owned()
            }
            (FetchError::Http(_) | FetchError::TooLong, _) => {
                "is it another program? --admin gives another address".to_owned()
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
        let Self {
            address, origin, ..
        } = self;
        match origin {
            Origin::Named => write!(f, "{address}"),
            Origin::Tapfile(path) => write!(f, "{address} (as {} says)", path.display()),
            Origin::Default => write!(f, "{address} (the default)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture;

    /// This test runs on a tokio runtime, as `top` does. On a runtime, the check must not block the thread.
    #[tokio::test]
    async fn a_router_with_another_tapfile_is_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("Tapfile");
        std::fs::write(&path, "admin 127.0.0.1:9180").expect("written");
        let whereabouts = Whereabouts {
            read: Some(Own::of(&path)),
            ..Whereabouts::default()
        };
        let mut status = fixture::router(Vec::new());
        let warning = whereabouts.mismatch(&status).await;
        assert!(warning.is_some_and(|text| text.contains("/etc/tapfan/Tapfile")));

        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        for own in [path, link] {
            status.config.absolute_path = Some(own.display().to_string());
            assert_eq!(whereabouts.mismatch(&status).await, None);
        }
    }
}
