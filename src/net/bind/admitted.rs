//! The users that may connect to a unix socket.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Group, Uid, User};

use crate::files::folder;

/// The users that the permissions of a socket's file, and of its folder, allow to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admitted {
    file: Permissions,
    /// The folder, if some users cannot pass through it.
    folder: Option<(PathBuf, Permissions)>,
}

/// The permissions of a file or a folder, with the names of its owner and group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Permissions {
    mode: u32,
    owner: String,
    group: String,
    /// The permission bit that decides. For a socket, it is the bit for writing; for a folder, it is the bit for passing
    /// through.
    bit: u32,
}

/// The permission bit that connect(2) requires on a socket, in the bits for all other users.
const WRITE: u32 = 0o2;

/// The permission bit that is required on a folder to reach the files in it, in the bits for all other users.
const PASS: u32 = 0o1;

// === impl Admitted ===

impl Admitted {
    /// Reads the permissions of the socket at `path`. Looks up the names of users and groups, which may block.
    ///
    /// # Errors
    /// If the permissions cannot be read.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let folder = folder(path);
        let pass = Permissions::of(&fs::metadata(folder)?, PASS);
        Ok(Self {
            file: Permissions::of(&fs::symlink_metadata(path)?, WRITE),
            folder: (pass.mode & PASS == 0).then(|| (folder.to_owned(), pass)),
        })
    }
}

impl fmt::Display for Admitted {
    /// Lists the users, as in `root, the user tapfan and the group dns (mode 0660)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)?;
        match &self.folder {
            Some((folder, pass)) => {
                write!(f, "; only {pass} can reach the folder {}", folder.display())
            }
            None => Ok(()),
        }
    }
}

// === impl Permissions ===

impl Permissions {
    fn of(metadata: &fs::Metadata, bit: u32) -> Self {
        let user = User::from_uid(Uid::from_raw(metadata.uid()));
        let group = Group::from_gid(Gid::from_raw(metadata.gid()));
        let (user, group) = (user.ok().flatten(), group.ok().flatten());
        Self {
            mode: metadata.mode() & 0o7777,
            owner: user.map_or_else(|| metadata.uid().to_string(), |user| user.name),
            group: group.map_or_else(|| metadata.gid().to_string(), |group| group.name),
            bit,
        }
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            mode,
            owner,
            group,
            bit,
        } = self;
        let user = (mode & (bit << 6) != 0 && owner != "root").then(|| format!("the user {owner}"));
        let group = (mode & (bit << 3) != 0).then(|| format!("the group {group}"));
        let others = mode & bit != 0;
        match (user, group) {
            _ if others => f.write_str("every user of this machine"),
            (Some(user), Some(group)) => write!(f, "root, {user} and {group}"),
            (Some(one), None) | (None, Some(one)) => write!(f, "root and {one}"),
            (None, None) => f.write_str("root"),
        }?;
        write!(f, " (mode {mode:04o})")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn permissions(mode: u32, owner: &str, bit: u32) -> Permissions {
        Permissions {
            mode,
            owner: owner.to_owned(),
            group: "dns".to_owned(),
            bit,
        }
    }

    #[test]
    fn the_permissions_say_who_may_connect() {
        let shown = |mode, owner| permissions(mode, owner, WRITE).to_string();
        let said: Vec<String> = [
            (0o660, "tapfan"),
            (0o660, "root"),
            (0o600, "tapfan"),
            (0o600, "root"),
            // Reading is not enough.
            (0o644, "tapfan"),
            (0o666, "tapfan"),
        ]
        .map(|(mode, owner)| shown(mode, owner))
        .to_vec();
        insta::assert_snapshot!(said.join("\n"), @r"
        root, the user tapfan and the group dns (mode 0660)
        root and the group dns (mode 0660)
        root and the user tapfan (mode 0600)
        root (mode 0600)
        root and the user tapfan (mode 0644)
        every user of this machine (mode 0666)
        ");
        let admitted = Admitted {
            file: permissions(0o666, "tapfan", WRITE),
            folder: Some(("/run/tapfan".into(), permissions(0o750, "tapfan", PASS))),
        };
        insta::assert_snapshot!(admitted, @"every user of this machine (mode 0666); only root, the user tapfan and the group dns (mode 0750) can reach the folder /run/tapfan");
    }

    #[test]
    fn the_permissions_of_a_file_and_of_its_folder_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        fs::write(&path, "").expect("written");
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        };
        set(&path, 0o606);
        set(folder.path(), 0o711);
        let admitted = Admitted::at(&path).expect("there");
        assert_eq!((admitted.file.mode, &admitted.folder), (0o606, &None));
        let own = User::from_uid(nix::unistd::geteuid())
            .expect("users")
            .expect("known");
        assert_eq!(admitted.file.owner, own.name);
        set(folder.path(), 0o710);
        assert!(Admitted::at(&path).expect("there").folder.is_some());
        Admitted::at(&folder.path().join("nothing")).expect_err("nothing is there");
    }
}
