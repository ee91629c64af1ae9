//! The two files that configure name resolution on this system, read again when they change.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{Hosts, system_conf::parse_resolv_conf};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::{
    super::ResolveError,
    upstream::{Overrides, Upstream},
};
use crate::{files, lock::Mutex};

/// `/etc/hosts`.
pub(super) struct HostsFile(Reread<Arc<Hosts>>);

/// `/etc/resolv.conf` and its name servers.
pub(super) struct ResolvConf {
    file: Reread<Upstream>,
    overrides: Overrides,
}

/// The parsed contents of a file, kept as long as the file does not change.
struct Reread<T> {
    path: PathBuf,
    last: Mutex<Option<(Vec<u8>, T)>>,
    /// Lets only one lookup read at a time. If the file system hangs, this blocks one thread instead of a thread for
    /// each lookup.
    turn: Arc<Semaphore>,
}

/// The deadline for reading the file. It is shorter than the deadline of a whole lookup, which is a few seconds.
const DEADLINE: Duration = Duration::from_secs(2);

/// The largest file that is read, in bytes. Block lists in `/etc/hosts` have some megabytes.
const LIMIT: usize = 16 << 20;

// === impl HostsFile ===

impl HostsFile {
    pub(super) fn new(path: &Path) -> Self {
        Self(Reread::new(path))
    }

    /// Returns the current contents, which are empty if the file is missing or unreadable. If the file system hangs,
    /// returns the previous contents.
    pub(super) async fn read(&self) -> Arc<Hosts> {
        let text = match self.0.text().await {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return self.0.last_parsed().unwrap_or_default();
            }
            Err(_) => return Arc::default(),
        };
        let parse = |text: &[u8]| {
            let mut hosts = Hosts::default();
            hosts.read_hosts_conf(text)?;
            io::Result::Ok(Arc::new(hosts))
        };
        self.0.parsed(text, parse).unwrap_or_default()
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

    /// Returns the current name servers. Connections to the name servers are kept as long as `/etc/resolv.conf` does
    /// not change.
    pub(super) async fn read(&self) -> Result<Upstream, ResolveError> {
        let path = &self.file.path;
        let text = self.file.text().await;
        let text = text.map_err(|source| ResolveError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let parse = |text: &[u8]| {
            let (config, options) = parse_resolv_conf(text)?;
            Upstream::new(&config, options, &self.overrides)
        };
        self.file
            .parsed(text, parse)
            .map_err(|error| ResolveError::Unusable {
                path: path.clone(),
                source: error.into(),
            })
    }
}

// === impl Reread ===

impl<T: Clone> Reread<T> {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            last: Mutex::new(None),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Reads the file, within the deadline.
    async fn text(&self) -> io::Result<Vec<u8>> {
        let read = async {
            let turn = Arc::clone(&self.turn).acquire_owned().await;
            let turn = turn.map_err(io::Error::other)?;
            let path = self.path.clone();
            let read = spawn_blocking(move || {
                let text = files::read(&path, LIMIT);
                drop(turn);
                text
            });
            read.await
                .map_err(io::Error::other)?
                .map_err(io::Error::from)
        };
        timeout(DEADLINE, read).await.unwrap_or_else(|_| {
            let said = format!("it did not answer within {DEADLINE:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, said))
        })
    }

    /// Returns the parsed contents of the last successful read.
    fn last_parsed(&self) -> Option<T> {
        self.last.lock().as_ref().map(|(_, parsed)| parsed.clone())
    }

    fn parsed<E>(&self, text: Vec<u8>, parse: impl FnOnce(&[u8]) -> Result<T, E>) -> Result<T, E> {
        let mut last = self.last.lock();
        match &*last {
            Some((before, parsed)) if *before == text => Ok(parsed.clone()),
            _ => {
                let parsed = parse(&text)?;
                *last = Some((text, parsed.clone()));
                Ok(parsed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::{
        op::Query,
        rr::{Name, RecordType},
    };

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
    async fn the_search_list_comes_from_resolv_conf() {
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
    async fn a_special_file_or_one_that_does_not_answer_blocks_no_lookup() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hosts");
        std::fs::write(&path, "192.0.2.1 a.example\n").expect("written");
        let hosts = HostsFile::new(&path);
        let known = |hosts: Arc<Hosts>| {
            let name = Name::from_str_relaxed("a.example.").expect("a name");
            let query = Query::query(name, RecordType::A);
            hosts.lookup_static_host(&query).is_some()
        };
        assert!(known(hosts.read().await));

        // Hold the permit, like a lookup that hangs.
        let turn = Arc::clone(&hosts.0.turn).acquire_owned().await;
        assert!(known(hosts.read().await), "the previous contents");
        drop(turn);

        std::fs::remove_file(&path).expect("removed");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
        assert!(!known(hosts.read().await));
        let conf = ResolvConf::new(&path, overrides(&[], None));
        let error = conf.read().await.err().expect("no file").to_string();
        assert!(error.contains("named pipe"), "{error}");
        let _turn = Arc::clone(&conf.file.turn).acquire_owned().await;
        let error = conf.read().await.err().expect("no answer").to_string();
        assert!(error.contains("did not answer within 2s"), "{error}");
    }

    #[tokio::test]
    async fn settings_override_resolv_conf() {
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
