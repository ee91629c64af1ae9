//! What the files that a directive names say: certificates, keys, authorities.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use crate::{
    config::{self, Listen, ListenAddress},
    net::{ClientTls, ServerTls},
};

/// The contents of a directive's files, as a digest: two are equal if nothing has changed.
///
/// Contents and not times, since Kubernetes replaces a mounted Secret by moving a link. It tells changes from none;
/// it guards nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Material(u64);

// === impl Material ===

impl Material {
    pub(super) fn of_sink(sink: &config::Sink) -> Self {
        let Some(ClientTls { ca, client, .. }) = &sink.tls else {
            return Self::of([]);
        };
        let client = client.iter().flat_map(|(cert, key)| [cert, key]);
        Self::of(ca.iter().chain(client).map(AsRef::as_ref))
    }

    pub(super) fn of_listener(listen: &Listen) -> Self {
        let ListenAddress::Tls(
            _,
            ServerTls {
                cert,
                key,
                client_ca,
            },
        ) = &listen.address
        else {
            return Self::of([]);
        };
        Self::of([cert, key].into_iter().chain(client_ca).map(AsRef::as_ref))
    }

    fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut digest = DefaultHasher::new();
        for file in files {
            // One that cannot be read is told of by whoever uses it.
            contents(file).hash(&mut digest);
        }
        Self(digest.finish())
    }
}

/// What a file says; `None` for one that cannot be read. Nor is a pipe, which says it once only.
pub(crate) fn contents(file: &Path) -> Option<Vec<u8>> {
    let is_file = fs::metadata(file).is_ok_and(|file| file.is_file());
    is_file.then(|| fs::read(file).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_contents_count() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        let of_both = || Material::of([one.as_path(), other.as_path()]);
        let absent = of_both();
        fs::write(&one, "a").expect("written");
        fs::write(&other, "b").expect("written");
        let before = of_both();
        assert_ne!(before, absent);
        fs::write(&one, "a").expect("written");
        assert_eq!(of_both(), before);
        fs::write(&one, "ab").expect("written");
        fs::write(&other, "").expect("written");
        assert_ne!(of_both(), before);
    }
}
