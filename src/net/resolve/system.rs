//! The two files that say how this system resolves names, read again when they change.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use hickory_resolver::{Hosts, system_conf::parse_resolv_conf};
use tokio::fs;

use super::{Overrides, ResolveError, upstream::Upstream};

/// `/etc/hosts`.
pub(super) struct HostsFile(Reread<Arc<Hosts>>);

/// `/etc/resolv.conf`, and the name servers that it names.
pub(super) struct ResolvConf {
    file: Reread<Upstream>,
    overrides: Overrides,
}

/// What a file means, for as long as it says the same.
struct Reread<T> {
    path: PathBuf,
    last: Mutex<Option<(Vec<u8>, T)>>,
}

// === impl HostsFile ===

impl HostsFile {
    pub(super) fn new(path: &Path) -> Self {
        Self(Reread::new(path))
    }

    /// What the file says now. One that is missing or cannot be read says nothing.
    pub(super) async fn read(&self) -> Arc<Hosts> {
        let Ok(text) = fs::read(&self.0.path).await else {
            return Arc::default();
        };
        let parse = |text: &[u8]| {
            let mut hosts = Hosts::default();
            hosts.read_hosts_conf(text)?;
            io::Result::Ok(Arc::new(hosts))
        };
        self.0.meaning(text, parse).unwrap_or_default()
    }
}

// === impl ResolvConf ===

impl ResolvConf {
    pub(super) fn new(path: &Path, overrides: Overrides) -> Self {
        Self {
            file: Reread::new(path),
            overrides,
        }
    }

    /// The name servers of now. Connections to them live as long as the file says the same.
    pub(super) async fn read(&self) -> Result<Upstream, ResolveError> {
        let path = &self.file.path;
        let text = fs::read(path)
            .await
            .map_err(|source| ResolveError::Unreadable {
                path: path.clone(),
                source,
            })?;
        let parse = |text: &[u8]| {
            let (config, options) = parse_resolv_conf(text)?;
            Upstream::new(&config, options, &self.overrides)
        };
        self.file
            .meaning(text, parse)
            .map_err(|source| ResolveError::Unusable {
                path: path.clone(),
                source,
            })
    }
}

// === impl Reread ===

impl<T: Clone> Reread<T> {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            last: Mutex::new(None),
        }
    }

    fn meaning<E>(&self, text: Vec<u8>, parse: impl FnOnce(&[u8]) -> Result<T, E>) -> Result<T, E> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((before, meaning)) if *before == text => Ok(meaning.clone()),
            _ => {
                let meaning = parse(&text)?;
                *last = Some((text, meaning.clone()));
                Ok(meaning)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hickory_resolver::proto::rr::Name;

    use super::*;

    fn overrides(search: &[&str], ndots: Option<usize>) -> Overrides {
        let name = |name: &&str| Name::from_str_relaxed(name).expect("a name");
        Overrides {
            search: search.iter().map(name).collect(),
            ndots,
            timeout: Duration::from_secs(6),
        }
    }

    fn names(upstream: &Upstream, name: &str) -> Vec<String> {
        let name = Name::from_str_relaxed(name).expect("a name");
        let candidates = upstream.candidates(&name).into_iter();
        candidates.map(|name| name.to_string()).collect()
    }

    #[tokio::test]
    async fn the_search_list_is_that_of_resolv_conf() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("resolv.conf");
        let file = ResolvConf::new(&path, overrides(&[], None));
        let missing = file.read().await.err().expect("no such file");
        assert!(
            matches!(missing, ResolveError::Unreadable { .. }),
            "{missing}"
        );

        let kubernetes = "search dns-obs.svc.cluster.local svc.cluster.local\nnameserver 127.0.0.1\noptions ndots:5\n";
        std::fs::write(&path, kubernetes).expect("written");
        let upstream = file.read().await.expect("name servers");
        assert_eq!(
            names(&upstream, "collector.dns-obs"),
            [
                "collector.dns-obs.dns-obs.svc.cluster.local.",
                "collector.dns-obs.svc.cluster.local.",
                "collector.dns-obs.",
            ]
        );
        assert_eq!(names(&upstream, "a.b."), ["a.b."]);
        assert_eq!(names(&upstream, "localhost"), ["localhost."]);
        assert_eq!(
            names(&upstream, "a.b.c.d.e.f").first().map(String::as_str),
            Some("a.b.c.d.e.f.")
        );

        std::fs::write(&path, "search example\nnameserver 127.0.0.1\n").expect("written");
        let upstream = file.read().await.expect("name servers");
        assert_eq!(names(&upstream, "a"), ["a.example.", "a."]);
        assert_eq!(names(&upstream, "a.b"), ["a.b.", "a.b.example."]);

        std::fs::write(&path, "search example\n").expect("written");
        let unusable = file.read().await.err().expect("no name server");
        assert!(
            matches!(unusable, ResolveError::Unusable { .. }),
            "{unusable}"
        );
    }
    #[tokio::test]
    async fn what_the_settings_say_goes_before_resolv_conf() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("resolv.conf");
        std::fs::write(
            &path,
            "search example\nnameserver 127.0.0.1\noptions ndots:2\n",
        )
        .expect("written");
        let both = ResolvConf::new(&path, overrides(&["b.example", "c.example."], Some(1)));
        let upstream = both.read().await.expect("name servers");
        assert_eq!(
            names(&upstream, "a"),
            ["a.b.example.", "a.c.example.", "a."]
        );
        assert_eq!(
            names(&upstream, "a.b").first().map(String::as_str),
            Some("a.b.")
        );
        let search = ResolvConf::new(&path, overrides(&["b.example"], None));
        let upstream = search.read().await.expect("name servers");
        assert_eq!(names(&upstream, "a.b"), ["a.b.b.example.", "a.b."]);
    }
}
