//! The sockets on which this router listens. With this list, sinks notice that they would send frames back to the
//! router.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    os::{linux::net::SocketAddrExt, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::net::{TcpStream, UnixStream};

use super::UnixAddress;
use crate::lock::Mutex;

/// The current listeners of one router. Cheap to clone; all clones share one set.
///
/// A sink that sends to such a listener would send every frame in a loop. Each router has its own set, because another
/// router or a collector can run in the same process.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnListeners(Arc<Mutex<Vec<Entry>>>);

/// A listener's entry in its [`OwnListeners`]. Dropping it removes the entry.
#[derive(Debug)]
pub(crate) struct OwnListener {
    name: OwnName,
}

/// The name of a listener in its [`OwnListeners`].
#[derive(Debug, Clone)]
pub(crate) struct OwnName {
    all: OwnListeners,
    id: u64,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    name: Arc<str>,
    place: OwnPlace,
}

/// The address of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnPlace {
    Unix {
        /// The address that the listener was bound to.
        address: UnixAddress,
        /// True if another process created the socket and passed it to this process (socket activation).
        inherited: bool,
    },
    /// TCP, or TLS over TCP.
    Tcp(SocketAddr),
}

// === impl OwnListeners ===

impl OwnListeners {
    /// Adds a listener. Call this before the listener can be reached, so that a sink that reaches it is always noticed.
    pub(crate) fn add(&self, name: Arc<str>, place: OwnPlace) -> OwnListener {
        // A number is never used again, because the name of a listener can outlive its entry.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Relaxed);
        self.0.lock().push(Entry { id, name, place });
        let all = self.clone();
        OwnListener {
            name: OwnName { all, id },
        }
    }

    /// Returns the name of the listener that a connection to `dialled` has reached; `None` if it has reached
    /// another socket.
    ///
    /// The socket files are compared, so symbolic links and other spellings are recognised. If another process has
    /// replaced our socket with its own, the process id of the peer shows this.
    pub(crate) fn at_unix(&self, stream: &UnixStream, dialled: &UnixAddress) -> Option<Arc<str>> {
        let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let is_this_process = peer.is_some_and(|pid| pid.cast_unsigned() == process::id());
        let reached = stream.peer_addr().ok().map(Into::into);
        self.find(|place| {
            let OwnPlace::Unix { address, inherited } = place else {
                return false;
            };
            (is_this_process || *inherited) && leads_to(dialled, reached.as_ref(), address)
        })
    }

    /// Like [`at_unix`](Self::at_unix) for TCP: finds a listener bound to the peer's address, or to every address of
    /// this machine.
    pub(crate) fn at_tcp(&self, stream: &TcpStream) -> Option<Arc<str>> {
        let (local, peer) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
        self.find(|place| matches!(place, OwnPlace::Tcp(bound) if is_at(*bound, local, peer)))
    }

    /// Returns the name of the listener that prevents a socket at `place` from being bound; `None` if none does.
    pub(crate) fn holder(&self, place: &OwnPlace) -> Option<Arc<str>> {
        self.find(|held| match (held, place) {
            (OwnPlace::Unix { address: held, .. }, OwnPlace::Unix { address, .. }) => {
                leads_to(address, None, held)
            }
            (OwnPlace::Tcp(held), OwnPlace::Tcp(address)) => {
                let (one, other) = (held.ip(), address.ip());
                held.port() == address.port()
                    && (one == other || takes_all(one, other) || takes_all(other, one))
            }
            _ => false,
        })
    }

    fn find(&self, matches: impl Fn(&OwnPlace) -> bool) -> Option<Arc<str>> {
        // The entries are copied, so that the file system is not accessed under the lock.
        let entries: Vec<_> = self
            .0
            .lock()
            .iter()
            .map(|entry| (Arc::clone(&entry.name), entry.place.clone()))
            .collect();
        let mut entries = entries.into_iter();
        let found = entries.find(|(_, place)| matches(place));
        found.map(|(name, _)| name)
    }
}

// === impl OwnListener ===

impl OwnListener {
    /// Records the address that the listener was actually bound to, for example with the port that the system chose
    /// instead of port 0.
    pub(crate) fn bound_to(&self, address: SocketAddr) {
        self.name
            .change(|entry| entry.place = OwnPlace::Tcp(address));
    }

    /// Returns the name of the listener, which can be changed while the listener runs.
    pub(crate) fn name(&self) -> &OwnName {
        &self.name
    }
}

impl Drop for OwnListener {
    fn drop(&mut self) {
        let OwnName { all, id } = &self.name;
        all.0.lock().retain(|entry| entry.id != *id);
    }
}

// === impl OwnName ===

impl OwnName {
    /// Gives the listener another name. Does nothing if the listener is gone.
    pub(crate) fn replace(&self, name: Arc<str>) {
        self.change(|entry| entry.name = name);
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.all.0.lock();
        entries
            .iter_mut()
            .find(|entry| entry.id == self.id)
            .map(change);
    }
}

fn leads_to(
    dialled: &UnixAddress,
    reached: Option<&std::os::unix::net::SocketAddr>,
    own: &UnixAddress,
) -> bool {
    match own {
        UnixAddress::Abstract(name) => {
            dialled == own
                || reached
                    .and_then(|reached| reached.as_abstract_name())
                    .is_some_and(|reached| reached == name.as_bytes())
        }
        UnixAddress::Path(path) => {
            let is_same_file = || match dialled {
                UnixAddress::Path(dialled) => is_same_file(dialled, path).unwrap_or(false),
                UnixAddress::Abstract(_) => false,
            };
            reached.and_then(|reached| reached.as_pathname()) == Some(path) || is_same_file()
        }
    }
}

fn is_same_file(one: &Path, other: &Path) -> io::Result<bool> {
    let identity = |path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    Ok(identity(one)? == identity(other)?)
}

/// Returns whether a connection from `local` to `peer` has reached the socket bound at `bound`.
fn is_at(bound: SocketAddr, local: SocketAddr, peer: SocketAddr) -> bool {
    let [bound_ip, local_ip, peer_ip] =
        [bound, local, peer].map(|address| address.ip().to_canonical());
    // If `peer` is an address of this machine, the kernel uses it as the source address, too. For an address in
    // 127.0.0.0/8, the source is 127.0.0.1.
    let is_this_machine = peer_ip.is_loopback() || peer_ip == local_ip;
    bound.port() == peer.port()
        && (bound_ip == peer_ip || takes_all(bound.ip(), peer_ip) && is_this_machine)
}

/// Returns whether a socket bound to `bound` accepts connections to every address of the family of `address`.
pub(crate) fn takes_all(bound: IpAddr, address: IpAddr) -> bool {
    bound.is_unspecified() && (bound.is_ipv6() || address.is_ipv4())
}

/// Resolves links and `..` like the kernel, as far as the path exists. The part that does not exist stays as written.
///
/// Unlike `canonicalize`, this function also works if the socket does not exist yet, and for links to a socket that
/// does not exist yet.
pub(crate) fn real_path(path: &Path) -> io::Result<PathBuf> {
    /// The limit of Linux (`path_resolution(7)`).
    const LINKS: usize = 40;
    let mut links = 0;
    let mut real = PathBuf::from("/");
    let absolute = std::path::absolute(path)?;
    let mut rest: Vec<PathBuf> = parts(&absolute);
    while let Some(part) = rest.pop() {
        if part == Path::new("/") {
            real = part;
        } else if part == Path::new("..") {
            real.pop();
        } else {
            let next = real.join(part);
            match fs::read_link(&next) {
                Ok(target) => {
                    links += 1;
                    if links > LINKS {
                        return Err(io::ErrorKind::InvalidInput.into());
                    }
                    rest.extend(parts(&target));
                }
                // The path is not a link, or does not exist.
                Err(_) => real = next,
            }
        }
    }
    Ok(real)
}

/// Returns the components of a path, last one first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().rev();
    parts
        .map(|part| PathBuf::from(part.as_os_str()))
        .filter(|part| part != Path::new("."))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    fn unix(path: &Path) -> OwnPlace {
        OwnPlace::Unix {
            address: UnixAddress::Path(path.to_owned()),
            inherited: false,
        }
    }

    #[tokio::test]
    async fn a_unix_socket_is_recognised_through_links_and_other_spellings() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let _own = UnixListener::bind(path("own")).expect("bound");
        let _other = UnixListener::bind(path("other")).expect("bound");
        std::fs::create_dir(path("sub")).expect("made");
        symlink(path("own"), path("sub/link")).expect("linked");
        symlink(folder.path(), path("sub/folder")).expect("linked");
        let all = OwnListeners::default();
        let listener = all.add("a".into(), unix(&path("own")));
        let reached = async |name: &str| {
            let stream = UnixStream::connect(path(name)).await.expect("connected");
            all.at_unix(&stream, &UnixAddress::Path(path(name)))
        };
        for own in ["own", "sub/../own", "sub/link", "sub/folder/own"] {
            assert_eq!(reached(own).await.as_deref(), Some("a"), "{own}");
        }
        assert_eq!(reached("other").await, None, "a collector in this process");
        let name = listener.name().clone();
        name.replace("b".into());
        assert_eq!(reached("own").await.as_deref(), Some("b"));
        drop(listener);
        assert_eq!(reached("own").await, None, "it is gone");
        // The late change of a name concerns no other listener.
        let _later = all.add("c".into(), unix(&path("own")));
        name.replace("d".into());
        assert_eq!(reached("own").await.as_deref(), Some("c"));
    }

    #[tokio::test]
    async fn an_abstract_socket_is_recognised_by_its_name() {
        let name = format!("tapfan-own-{}", process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
        let _own = std::os::unix::net::UnixListener::bind_addr(&address).expect("bound");
        let stream = std::os::unix::net::UnixStream::connect_addr(&address).expect("connected");
        stream.set_nonblocking(true).expect("set");
        let stream = UnixStream::from_std(stream).expect("set");
        let all = OwnListeners::default();
        let address = UnixAddress::Abstract(name.into());
        assert_eq!(all.at_unix(&stream, &address), None);
        let inherited = false;
        let place = OwnPlace::Unix {
            address: address.clone(),
            inherited,
        };
        let _listener = all.add("a".into(), place);
        assert_eq!(all.at_unix(&stream, &address).as_deref(), Some("a"));
    }

    #[tokio::test]
    async fn a_port_is_recognised_once_it_is_bound() {
        let own = TcpListener::bind("127.0.0.2:0").await.expect("bound");
        let other = TcpListener::bind("127.0.0.2:0").await.expect("bound");
        let all = OwnListeners::default();
        let wanted = OwnPlace::Tcp("127.0.0.2:0".parse().expect("an address"));
        let listener = all.add("a".into(), wanted);
        let to = async |listener: &TcpListener| {
            let address = listener.local_addr().expect("bound");
            TcpStream::connect(address).await.expect("connected")
        };
        assert_eq!(all.at_tcp(&to(&own).await), None);
        listener.bound_to(own.local_addr().expect("bound"));
        assert_eq!(all.at_tcp(&to(&own).await).as_deref(), Some("a"));
        assert_eq!(all.at_tcp(&to(&other).await), None);
    }

    #[test]
    fn a_wildcard_matches_every_address_of_this_machine_and_no_other() {
        let is_at = |bound: &str, local: &str, peer: &str| {
            let [bound, local, peer] = [bound, local, peer].map(|text| text.parse().expect(text));
            is_at(bound, local, peer)
        };
        assert!(is_at("0.0.0.0:6000", "127.0.0.1:40000", "127.0.0.9:6000"));
        assert!(is_at("0.0.0.0:6000", "192.0.2.1:40000", "192.0.2.1:6000"));
        assert!(is_at("[::]:6000", "192.0.2.1:40000", "192.0.2.1:6000"));
        assert!(is_at(
            "[::]:6000",
            "[2001:db8::1]:40000",
            "[2001:db8::1]:6000"
        ));
        assert!(is_at("192.0.2.1:6000", "192.0.2.2:40000", "192.0.2.1:6000"));
        assert!(!is_at("0.0.0.0:6000", "192.0.2.1:40000", "192.0.2.9:6000"));
        assert!(!is_at("0.0.0.0:6000", "192.0.2.1:40000", "192.0.2.1:6001"));
        assert!(!is_at("0.0.0.0:6000", "[::1]:40000", "[::1]:6000"));
        assert!(!is_at(
            "192.0.2.1:6000",
            "192.0.2.9:40000",
            "192.0.2.9:6000"
        ));
    }

    #[test]
    fn real_path_resolves_a_path_to_a_missing_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = std::fs::canonicalize(folder.path()).expect("a folder");
        std::fs::create_dir(root.join("run")).expect("made");
        symlink("run", root.join("var")).expect("linked");
        symlink("var/absent.sock", root.join("link")).expect("linked");
        symlink("loop", root.join("loop")).expect("linked");
        let real = |name: &str| real_path(&folder.path().join(name)).ok();
        let socket = Some(root.join("run/absent.sock"));
        for name in [
            "run/absent.sock",
            "var/absent.sock",
            "link",
            "var/../link",
            "none/../run/./absent.sock",
        ] {
            assert_eq!(real(name), socket, "{name}");
        }
        assert_eq!(real("loop"), None);
        let relative = real_path(Path::new("absent.sock")).expect("a path");
        assert_eq!(
            relative,
            std::env::current_dir()
                .expect("a folder")
                .join("absent.sock")
        );
    }
}
