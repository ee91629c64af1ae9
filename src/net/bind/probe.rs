//! Checks whether an address could be bound, for `tapfan check`. The probes create no file and do not listen.

use std::{fs, io, net::SocketAddr, os::unix::fs::FileTypeExt as _, path::Path};

use nix::unistd::{AccessFlags, access, getegid, geteuid, getgroups};

use super::{BindError, Resolved, UnixPermissions, bound_tcp, new_tcp};
use crate::files::folder;

/// Checks whether this process may create a socket at `path` with these permissions. Does not check whether another
/// process listens there.
///
/// # Errors
/// The error that [`bind_unix`](super::bind_unix) would return.
pub(crate) fn probe_unix(path: &Path, permissions: &UnixPermissions) -> Result<(), BindError> {
    let resolved = Resolved::new(permissions)?;
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(BindError::from_unix(path, error)),
    }
    access(folder(path), AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|error| BindError::from_unix(path, error.into()))?;
    if may_give_away(&resolved) {
        return Ok(());
    }
    Err(BindError::Ownership {
        path: path.to_owned(),
        source: io::ErrorKind::PermissionDenied.into(),
    })
}

/// Checks whether a TCP address could be bound. Binds a socket and closes it, without listening.
///
/// # Errors
/// The error that [`bind_tcp`](super::bind_tcp) would return.
pub(crate) fn probe_tcp(address: SocketAddr) -> Result<(), BindError> {
    let bound = bound_tcp(address, new_tcp).map(drop);
    bound.map_err(|source| BindError::from_tcp(address, source))
}

/// Returns whether this process may give its files the owner and the group of `permissions`.
fn may_give_away(permissions: &Resolved) -> bool {
    let user = geteuid();
    let keeps_owner = permissions.owner.is_none_or(|owner| owner == user.as_raw());
    let is_own = |group: u32| {
        let groups = getgroups().unwrap_or_default();
        group == getegid().as_raw() || groups.iter().any(|own| own.as_raw() == group)
    };
    user.is_root() || keeps_owner && permissions.group.is_none_or(is_own)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        net::TcpListener,
        os::unix::{fs::PermissionsExt as _, net::UnixListener},
    };

    use super::*;

    #[test]
    fn a_probe_finds_what_binding_would_find() {
        let folder = tempfile::tempdir().expect("a folder");
        let probe = |name: &str| {
            let path = folder.path().join(name);
            probe_unix(&path, &UnixPermissions::default()).map_err(|error| error.to_string())
        };
        assert_eq!(probe("in.sock"), Ok(()));
        assert!(!folder.path().join("in.sock").exists());
        let _stale = UnixListener::bind(folder.path().join("stale.sock"));
        assert_eq!(probe("stale.sock"), Ok(()));
        fs::write(folder.path().join("file"), "").expect("the folder is ours");
        let refused = probe("file").expect_err("a file");
        assert!(refused.contains("is not a socket"), "{refused}");
        let refused = probe("missing/in.sock").expect_err("no folder");
        assert!(refused.contains("does not exist"), "{refused}");
        if !geteuid().is_root() {
            let locked = Permissions::from_mode(0o500);
            fs::set_permissions(folder.path(), locked).expect("the folder is ours");
            let refused = probe("in.sock").expect_err("no permission");
            assert!(refused.contains("no permission"), "{refused}");
        }
    }

    #[test]
    fn a_port_in_use_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        assert!(matches!(probe_tcp(address), Err(BindError::PortInUse(_))));
        assert!(probe_tcp(([127, 0, 0, 1], 0).into()).is_ok());
    }
}
