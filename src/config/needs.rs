//! The requirements of a configuration on the machine: files must be readable, and users and groups must exist.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::unistd;

use super::{
    diagnostics::{Diagnostic, shown, shown_up_to},
    filter_files::{self, FilterFileError},
    source::Span,
};
use crate::{
    files::{self, Secret, waiting_for},
    filter::{Filter, Verdict},
    net::{self, ClientTls, ServerTls, TlsError, ValidityState},
};

/// A requirement that must be met when the router starts.
#[derive(Debug)]
pub(super) struct Need {
    pub(super) what: What,
    /// The place in the configuration that has this requirement.
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) enum What {
    /// A file, relative to the working directory.
    File(PathBuf),
    /// A user's name or number.
    User(String),
    /// A group's name or number.
    Group(String),
    /// A certificate and key that belong together, and a file of authorities.
    ServerTls(ServerTls),
    /// The certificate and key of a sink, and its file of authorities.
    ClientTls(ClientTls),
    /// A file with a list of names.
    Names(PathBuf),
    /// A file with the key of a sample.
    SampleKey(PathBuf),
    /// A file with the key of pseudonyms.
    PseudonymKey(PathBuf),
    /// A file with a password.
    Password(PathBuf),
    /// The path of a sink's socket, which must not be the socket of a listener. The list has the path of each listener
    /// and its place in the Tapfile.
    Apart(PathBuf, Vec<(PathBuf, Span)>),
}

/// Reports requirements that are not met. If the files of the filters were read already, `filters` has their errors.
pub(super) fn check(
    needs: &[Need],
    filters: Option<&[FilterFileError]>,
    problems: &mut Vec<Diagnostic>,
) {
    for Need { what, span } in needs {
        let problem = match what {
            What::File(path) => files::open(path).err().map(|error| {
                let path = path.display().to_string();
                Diagnostic::error(format!("cannot read `{}`", shown(&path)))
                    .at(*span, error.to_string())
            }),
            What::Password(file) => password(file, *span),
            What::ServerTls(tls) => match net::server_config(tls) {
                Ok(_) => out_of_date(&tls.cert, *span),
                Err(error) => unusable(error, *span),
            },
            What::ClientTls(tls) => match (net::client_config(tls), &tls.client) {
                (Ok(_), Some((cert, _))) => out_of_date(cert, *span),
                (Ok(_), None) => None,
                (Err(error), _) => unusable(error, *span),
            },
            What::Names(_) | What::SampleKey(_) | What::PseudonymKey(_) => {
                filter_file(what, *span, filters)
            }
            What::Apart(sink, listeners) => in_a_circle(sink, listeners, *span),
            What::User(name) => known(name, |name| {
                unistd::User::from_name(name).map(|user| user.is_some())
            })
            .err()
            .map(|why| {
                Diagnostic::error(format!("no user `{}`", shown(name)))
                    .at(*span, why)
                    .help("`ps -eo user,comm` lists the users of the programs that run")
            }),
            What::Group(name) => known(name, |name| {
                unistd::Group::from_name(name).map(|group| group.is_some())
            })
            .err()
            .map(|why| {
                Diagnostic::error(format!("no group `{}`", shown(name)))
                    .at(*span, why)
                    .help("`ps -eo group,comm` lists the groups of the programs that run")
            }),
        };
        problems.extend(problem);
    }
}

/// Returns the problem of a file of a filter. `known` has the errors of all these files if they were read already.
fn filter_file(what: &What, span: Span, known: Option<&[FilterFileError]>) -> Option<Diagnostic> {
    let read = || match what {
        What::Names(file) => {
            filter_files::add_names(&mut Filter::default(), Verdict::Keep, file).err()
        }
        What::SampleKey(file) => filter_files::sample_key(file).err(),
        #[cfg(feature = "pseudonym")]
        What::PseudonymKey(file) => filter_files::pseudonyms(file).err(),
        // Another check reports that the program has no pseudonyms.
        _ => None,
    };
    let (file, is_key) = match what {
        What::Names(file) => (file, false),
        What::SampleKey(file) | What::PseudonymKey(file) => (file, true),
        _ => return None,
    };
    let problem = match known {
        Some(errors) => {
            let error = errors.iter().find(|error| error.file() == Some(file));
            error.map(|error| unusable_filter(error, span))
        }
        None => read().map(|error| unusable_filter(&error, span)),
    };
    problem.or_else(|| open_key(file, span).filter(|_| is_key))
}

/// Returns a warning if other users can read a key.
fn open_key(file: &Path, span: Span) -> Option<Diagnostic> {
    let path = file.display().to_string();
    filter_files::is_open_to_others(file).then(|| {
        let message = format!("other users can read the key in {}", shown(&path));
        let warning = Diagnostic::warning(message);
        let warning = warning.at(span, "with it, they can find out what the key hides");
        warning.help(format!(
            "allow only the user of tapfan to read it: `chmod 0400 {}`",
            shown(&path)
        ))
    })
}

/// Returns the problem of a file with a password.
fn password(file: &Path, span: Span) -> Option<Diagnostic> {
    if let Err(error) = Secret::read(file) {
        let label = "this file is read at the start and at each reload";
        return Some(Diagnostic::error(shown_up_to(300, &error.to_string())).at(span, label));
    }
    let path = file.display().to_string();
    // A Secret that Kubernetes mounts belongs to root, and tapfan reads it through the group.
    filter_files::is_open_to_all(file).then(|| {
        let message = format!("every user of this machine can read {}", shown(&path));
        let warning = Diagnostic::warning(message).at(span, "this file holds a password");
        warning.help(format!(
            "allow only the user of tapfan to read it: `chmod 0400 {}`",
            shown(&path)
        ))
    })
}

fn unusable_filter(error: &FilterFileError, span: Span) -> Diagnostic {
    let label = match error {
        FilterFileError::Unreadable { .. } => "this file is read at the start and at each reload",
        FilterFileError::Names { .. } => "each line has one name; text after `#` is ignored",
        _ => "this file must have a key",
    };
    Diagnostic::error(shown_up_to(300, &error.to_string())).at(span, label)
}

/// Reports a sink whose path leads to the socket of a listener through a link or through another spelling of the path.
fn in_a_circle(sink: &Path, listeners: &[(PathBuf, Span)], span: Span) -> Option<Diagnostic> {
    let real = |path: &Path| waiting_for(path.display(), || net::real_path(path)).ok();
    let end = real(sink)?;
    let mut listeners = listeners.iter();
    let (_, listener) = listeners.find(|(path, _)| real(path).as_ref() == Some(&end))?;
    let note = format!(
        "on this machine both are `{}`",
        shown(&end.display().to_string())
    );
    Some(back_to_listener(Diagnostic::error(BACK).at(span, ROUND), *listener).note(note))
}

pub(super) const BACK: &str = "this sink leads back to a listener";
pub(super) const ROUND: &str = "frames would loop forever";

/// Adds the listener and the advice to the error about a sink that leads back to a listener.
pub(super) fn back_to_listener(problem: Diagnostic, listener: Span) -> Diagnostic {
    problem
        .at(listener, "the frames would come in again here")
        .help("write the address of the collector")
}

/// Returns the error for unusable TLS settings. Returns `None` if a file is unreadable or if the program was built
/// without TLS, because other checks report these errors at the option or at the address.
fn unusable(error: TlsError, span: Span) -> Option<Diagnostic> {
    match error {
        TlsError::Unreadable { .. } | TlsError::NotBuilt => None,
        error => Some(Diagnostic::error(error.to_string()).at(span, "TLS cannot be set up here")),
    }
}

/// Returns a warning if the certificate is expired, not yet valid, or expires soon.
fn out_of_date(cert: &Path, span: Span) -> Option<Diagnostic> {
    let validity = net::validity_in_file(cert)?;
    let problem = validity.problem(SystemTime::now())?;
    let path = cert.display().to_string();
    let warning = Diagnostic::warning(format!("the certificate in {} {problem}", shown(&path)));
    let label = match validity.state(SystemTime::now()) {
        ValidityState::Expired => "peers that verify this certificate refuse the connection",
        ValidityState::NotYetValid => {
            "until then, peers that verify this certificate refuse the connection"
        }
        ValidityState::ExpiresSoon | ValidityState::Valid => {
            "after that, peers that verify this certificate refuse new connections"
        }
    };
    let help = match validity.state(SystemTime::now()) {
        ValidityState::NotYetValid => "check this machine's clock",
        _ => "renew it; a running router uses the new file from the next handshake on",
    };
    Some(warning.at(span, label).help(help))
}

/// Returns the files that must be readable.
pub(super) fn named_files(needs: &[Need]) -> impl Iterator<Item = &PathBuf> {
    needs.iter().filter_map(|need| match &need.what {
        What::File(path)
        | What::Names(path)
        | What::SampleKey(path)
        | What::PseudonymKey(path)
        | What::Password(path) => Some(path),
        _ => None,
    })
}

/// Checks that a user or group exists. A number does not need an entry in the system's tables.
fn known(name: &str, find: impl FnOnce(&str) -> nix::Result<bool>) -> Result<(), String> {
    if name.parse::<u32>().is_ok() {
        return Ok(());
    }
    // The lookup can take long. If accounts are kept on a directory server, the system asks that server.
    match waiting_for(format_args!("the account `{name}`"), || find(name)) {
        Ok(true) => Ok(()),
        Ok(false) => Err("this machine has no such name".into()),
        Err(error) => Err(error.desc().to_owned()),
    }
}
