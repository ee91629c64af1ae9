//! A temporary folder for the demo's sockets.

use std::{
    env, fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
};

/// A folder that only this user can enter. Dropping this value removes the folder with its contents.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

/// The number of names that are tried for the folder. A folder with the first name may already exist.
const TRIES: u32 = 100;

// === impl Folder ===

impl Folder {
    pub(super) fn new() -> io::Result<Self> {
        let mut last = io::ErrorKind::AlreadyExists.into();
        for number in 0..TRIES {
            let name = format!("tapfan-demo-{}-{number}", process::id());
            let path = env::temp_dir().join(name);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Ignores errors: a temporary folder that is left behind does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_private_distinct_and_removed() {
        use std::os::unix::fs::PermissionsExt;

        let (one, other) = (Folder::new().expect("made"), Folder::new().expect("made"));
        assert_ne!(one.path(), other.path());
        fs::write(one.path().join("file"), "").expect("ours");
        let mode = fs::metadata(one.path())
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
    }
}
