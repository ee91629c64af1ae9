//! The permissions of the socket files of listeners and of sinks that wait for collectors.

use tracing::warn;

use crate::{
    config::{self, Listen, ListenAddress},
    net::{BindError, PermissionChange, UnixPermissions},
};

/// The directive to which a socket belongs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Directive<'a> {
    Listener(&'a Listen),
    Sink(&'a config::Sink),
}

/// Returns the change of the socket file's permissions that `new` requires.
pub(super) fn change(
    old: &ListenAddress,
    new: &ListenAddress,
) -> Result<Option<PermissionChange>, BindError> {
    match (old, new) {
        (ListenAddress::Unix(address, old), ListenAddress::Unix(_, new)) if old != new => {
            PermissionChange::new(address, new)
        }
        _ => Ok(None),
    }
}

/// Warns if the directive of an inherited socket configures permissions.
pub(super) fn warn_of_inherited(directive: Directive<'_>, address: &ListenAddress) {
    let ListenAddress::Unix(_, permissions) = address else {
        return;
    };
    if *permissions == UnixPermissions::default() {
        return;
    }
    let (listener, sink) = match directive {
        Directive::Listener(listen) => (Some(&*listen.name), None),
        Directive::Sink(sink) => (None, Some(&*sink.name)),
    };
    warn!(
        listener,
        sink,
        "ignoring mode, owner and group: the socket was inherited; with systemd, set SocketMode=, SocketUser= and SocketGroup= in the socket unit"
    );
}
