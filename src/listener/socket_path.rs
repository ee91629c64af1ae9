//! The path of a unix socket that tapfan has bound. If another process removes or replaces the file at the path, no
//! program can connect any more. So the path is watched, and bound again when the file is lost.

use std::{
    future::pending,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::{
    select,
    sync::{Notify, watch},
    task::spawn_blocking,
    time::sleep,
};
use tracing::{
    error,
    field::{DisplayValue, display},
    info, warn,
};

use super::{path_events::PathEvents, stamp::Stamp};
use crate::{
    lock::Mutex,
    net::{self, BindError, BoundUnix, PermissionChange, UnixAddress, UnixPermissions},
};

/// A bound unix socket and its path.
#[derive(Debug)]
pub(crate) struct SocketPath {
    owner: Owner,
    address: UnixAddress,
    /// The permissions of the file. The lock is held while the file is checked, bound or changed, so that these steps
    /// do not overlap.
    permissions: Mutex<UnixPermissions>,
    /// The bound socket; `None` when the listener no longer accepts connections.
    socket: watch::Sender<Option<Arc<BoundUnix>>>,
    /// Requests an immediate check.
    look: Notify,
    pub(crate) reachability: Arc<Reachability>,
}

/// The owner of a socket, for log lines.
#[derive(Debug, Clone)]
pub(crate) enum Owner {
    Listener(Stamp),
    /// A sink that waits for collectors.
    Sink(Arc<str>),
}

/// The state of a listener's path: either senders can connect, or there is a reason why they cannot.
#[derive(Debug, Default)]
pub(crate) struct Reachability(ArcSwapOption<NotListening>);

/// The reason why senders cannot connect: the listener's socket file is gone, and the path cannot be bound again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotListening {
    /// The time at which the loss was noticed.
    pub since: SystemTime,
    /// The error of the last attempt to bind the path.
    pub error: Arc<str>,
}

/// The result of a check of the file, and of binding the path again if that was necessary.
#[derive(Debug)]
enum Found {
    /// The file is this listener's socket, or the listener no longer accepts connections.
    InPlace,
    /// The file was gone at the last check and is back, because another process moved it away and back.
    Returned,
    /// The file was gone, and the path is bound again.
    BoundAgain { lost: BindError },
    /// The file is gone, and the path cannot be bound.
    Lost { lost: BindError, error: BindError },
}

/// The time between two checks if the kernel does not report events about the file.
const PERIOD: Duration = Duration::from_secs(1);

/// The time between two checks while the kernel reports events. These checks find the changes that cause no event.
const PERIOD_WITH_EVENTS: Duration = Duration::from_secs(60);

/// The longest pause between two attempts to bind the path. The pause doubles up to this value.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The shortest time between a check and the next check that an event causes. Without this pause, another process could
/// keep a thread busy by changing the file all the time.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

// === impl SocketPath ===

impl SocketPath {
    pub(super) fn new(
        owner: Owner,
        address: UnixAddress,
        permissions: UnixPermissions,
        socket: Arc<BoundUnix>,
    ) -> Self {
        Self {
            owner,
            address,
            permissions: Mutex::new(permissions),
            socket: watch::Sender::new(Some(socket)),
            look: Notify::new(),
            reachability: Arc::default(),
        }
    }

    /// Returns the bound socket, and each socket that replaces it.
    pub(super) fn socket(&self) -> watch::Receiver<Option<Arc<BoundUnix>>> {
        self.socket.subscribe()
    }

    /// Requests a check of the file. If the file is gone, the path is bound again without a pause.
    pub(crate) fn look(&self) {
        self.look.notify_one();
    }

    /// Changes the permissions of the file, and of files that are bound at the path later.
    ///
    /// # Errors
    /// If the file is gone or replaced, or the system refuses. A file that is bound later gets the new permissions
    /// anyway.
    pub(crate) fn change_permissions(&self, change: &PermissionChange) -> Result<(), BindError> {
        let mut permissions = self.permissions.lock();
        permissions.clone_from(&change.wanted);
        let socket = self.socket.borrow().clone();
        socket.map_or(Ok(()), |socket| socket.change_permissions(change))
    }

    /// Makes sure that the path is not bound again. Returns the bound socket.
    pub(super) fn close(&self) -> Option<Arc<BoundUnix>> {
        let _no_check_meanwhile = self.permissions.lock();
        self.socket.send_replace(None)
    }

    /// Checks the file whenever the kernel reports a change, and also at regular intervals. The intervals are short if
    /// the kernel cannot report changes, and grow while the path cannot be bound. Runs until the task is aborted.
    pub(super) async fn watch(self: Arc<Self>, open: fn(&Path) -> io::Result<PathEvents>) {
        let mut pause = PERIOD;
        let mut events = None;
        loop {
            let asked = select! {
                () = sleep(pause) => false,
                () = changed(&mut events) => false,
                () = self.look.notified() => true,
            };
            if asked || pause > LONGEST_PAUSE {
                pause = PERIOD;
            }
            let path = Arc::clone(&self);
            // If the file system hangs, it blocks a thread of the blocking pool instead of a worker.
            let check = spawn_blocking(move || {
                // The watch must begin before the check. If it began later, a change after the check could be missed.
                let events = events.or_else(|| path.events(open));
                (path.check(), events)
            });
            let Ok((found, begun)) = check.await else {
                return;
            };
            // If the result is not `InPlace`, the watched file is no longer the listener's socket, so its events are of
            // no use.
            events = begun.filter(|_| matches!(found, Found::InPlace));
            pause = match found {
                Found::InPlace if events.is_some() => PERIOD_WITH_EVENTS,
                Found::Lost { .. } => (pause * 2).min(LONGEST_PAUSE),
                _ => PERIOD,
            };
            self.record(&found);
        }
    }

    /// Starts to watch the path for events. Returns `None` if that is not possible.
    fn events(&self, open: fn(&Path) -> io::Result<PathEvents>) -> Option<PathEvents> {
        match &self.address {
            UnixAddress::Path(path) => open(path).ok(),
            UnixAddress::Abstract(_) => None,
        }
    }

    /// Checks the file, and binds the path again if it is gone.
    fn check(&self) -> Found {
        let permissions = self.permissions.lock();
        let Some(socket) = self.socket.borrow().clone() else {
            return Found::InPlace;
        };
        let Err(lost) = socket.check_file() else {
            return match self.reachability.0.swap(None) {
                Some(_) => Found::Returned,
                None => Found::InPlace,
            };
        };
        match net::bind_unix(&self.address, &permissions) {
            Ok(socket) => {
                self.socket.send_replace(Some(Arc::new(socket)));
                Found::BoundAgain { lost }
            }
            Err(error) => Found::Lost { lost, error },
        }
    }

    /// Stores and logs the result of a check. A repeated error is logged once.
    fn record(&self, found: &Found) {
        let (listener, sink) = (self.owner.listener(), self.owner.sink());
        let before = self.reachability.0.load_full();
        match found {
            Found::InPlace => {}
            Found::Returned => info!(listener, sink, "the socket file is back"),
            Found::BoundAgain { lost } => {
                self.reachability.0.store(None);
                warn!(listener, sink, %lost, "the socket file was removed or replaced: bound the path again; open connections continue");
            }
            Found::Lost { lost, error } => {
                let text: Arc<str> =
                    format!("{lost}; the path cannot be bound again: {error}").into();
                let is_new = before.as_ref().is_none_or(|before| before.error != text);
                let since = before.map_or_else(SystemTime::now, |before| before.since);
                self.reachability
                    .0
                    .store(Some(Arc::new(NotListening { since, error: text })));
                if is_new {
                    error!(listener, sink, %lost, %error, "the socket file was removed or replaced and cannot be bound again: no program can connect; open connections continue; retrying every few seconds, and immediately on SIGHUP");
                }
            }
        }
    }
}

// === impl Owner ===

impl Owner {
    pub(super) fn name(&self) -> Arc<str> {
        match self {
            Self::Listener(stamp) => stamp.name(),
            Self::Sink(name) => Arc::clone(name),
        }
    }

    fn listener(&self) -> Option<DisplayValue<&Stamp>> {
        match self {
            Self::Listener(stamp) => Some(display(stamp)),
            Self::Sink(_) => None,
        }
    }

    fn sink(&self) -> Option<&str> {
        match self {
            Self::Listener(_) => None,
            Self::Sink(name) => Some(name),
        }
    }
}

// === impl Reachability ===

impl Reachability {
    /// Returns the reason why senders cannot connect, or `None` if they can.
    pub(crate) fn get(&self) -> Option<Arc<NotListening>> {
        self.0.load_full()
    }
}

/// Waits at least [`LEAST_PAUSE`], and for the next event. If events can no longer be read, sets `events` to `None`.
async fn changed(events: &mut Option<PathEvents>) {
    match events {
        Some(watching) => {
            sleep(LEAST_PAUSE).await;
            if watching.changed().await.is_err() {
                *events = None;
            }
        }
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
        path::PathBuf,
    };

    use tempfile::TempDir;
    use tokio::time::{Instant, timeout};
    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::config::{Listen, ListenAddress};

    /// Creates a watched path on a paused clock, without events of the kernel.
    fn watched() -> (TempDir, PathBuf, Arc<SocketPath>, AbortOnDropHandle<()>) {
        watched_with(|_| Err(io::ErrorKind::Unsupported.into()))
    }

    fn watched_with(
        open: fn(&Path) -> io::Result<PathEvents>,
    ) -> (TempDir, PathBuf, Arc<SocketPath>, AbortOnDropHandle<()>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("d.sock");
        let address = UnixAddress::Path(path.clone());
        let permissions = UnixPermissions {
            mode: 0o640,
            ..UnixPermissions::default()
        };
        let socket = net::bind_unix(&address, &permissions).expect("bound");
        let listen = ListenAddress::Unix(address.clone(), permissions.clone());
        let owner = Owner::Listener(Stamp::of(&Listen::new("in", listen)));
        let socket_path = SocketPath::new(owner, address, permissions, Arc::new(socket));
        let socket_path = Arc::new(socket_path);
        let watch = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&socket_path).watch(open)));
        (folder, path, socket_path, watch)
    }

    async fn bound_again(socket: &mut watch::Receiver<Option<Arc<BoundUnix>>>) {
        let changed = timeout(Duration::from_hours(1), socket.changed());
        changed.await.expect("in time").expect("bound again");
    }

    async fn until(mut condition: impl FnMut() -> bool) {
        for _ in 0..100_000 {
            if condition() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("in vain");
    }

    #[tokio::test(start_paused = true)]
    async fn a_removed_socket_is_bound_again_within_a_second() {
        let (_folder, path, socket_path, _watch) = watched();
        let mut socket = socket_path.socket();
        sleep(Duration::from_hours(1)).await;
        assert!(!socket.has_changed().expect("open"), "nothing has happened");
        fs::remove_file(&path).expect("removed");
        let begun = Instant::now();
        bound_again(&mut socket).await;
        assert!(begun.elapsed() <= PERIOD, "{:?}", begun.elapsed());
        let mode = fs::symlink_metadata(&path).expect("there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o640);
        assert_eq!(socket_path.reachability.get(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_of_the_file_or_of_a_folder_above_it_causes_a_check() {
        let (folder, path, socket_path, _watch) = watched_with(PathEvents::of);
        let mut socket = socket_path.socket();
        let elsewhere = folder.path().with_extension("moved");
        let changes: [&dyn Fn() -> io::Result<()>; 4] = [
            &|| fs::remove_file(&path),
            &|| {
                let other = folder.path().join("other");
                fs::write(&other, "")?;
                fs::rename(&other, &path)?;
                // The path cannot be bound until this file is gone, too.
                fs::remove_file(&path)
            },
            &|| fs::rename(&path, folder.path().join("away")),
            &|| {
                fs::rename(folder.path(), &elsewhere)?;
                fs::create_dir(folder.path())
            },
        ];
        for change in changes {
            // During this pause, the listener starts to watch the path for events. From then on, a check without an
            // event comes only once a minute, so a change that is noticed sooner was noticed by its event.
            sleep(Duration::from_hours(1)).await;
            assert!(!socket.has_changed().expect("open"), "nothing has happened");
            tokio::time::resume();
            change().expect("changed");
            let noticed = timeout(PERIOD_WITH_EVENTS / 2, socket.changed());
            noticed.await.expect("an event").expect("open");
            assert!(path.exists());
            tokio::time::pause();
        }
        fs::remove_dir_all(elsewhere).expect("removed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_path_that_cannot_be_bound_is_tried_again_and_at_once_on_request() {
        let (folder, path, socket_path, _watch) = watched();
        let mut socket = socket_path.socket();
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "precious").expect("written");
        until(|| socket_path.reachability.get().is_some()).await;
        let since = socket_path.reachability.get().expect("not listening").since;
        let error = socket_path
            .reachability
            .get()
            .expect("not listening")
            .error
            .to_string();
        let error = error.replace(&folder.path().display().to_string(), "FOLDER");
        insta::assert_snapshot!(error, @"FOLDER/d.sock is no longer the socket of this router: another process has put something else in its place; the path cannot be bound again: FOLDER/d.sock exists and is not a socket; remove it, or use another path");
        sleep(Duration::from_hours(1)).await;
        assert_eq!(
            socket_path.reachability.get().expect("not listening").since,
            since
        );
        assert_eq!(fs::read_to_string(&path).expect("left alone"), "precious");
        fs::remove_file(&path).expect("removed");
        let begun = Instant::now();
        socket_path.look();
        bound_again(&mut socket).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        until(|| socket_path.reachability.get().is_none()).await;
        // Without a call of `look`, the path is bound again within the longest pause.
        fs::remove_file(&path).expect("removed");
        symlink("elsewhere", &path).expect("linked");
        until(|| socket_path.reachability.get().is_some()).await;
        sleep(Duration::from_hours(1)).await;
        fs::remove_file(&path).expect("removed");
        let begun = Instant::now();
        bound_again(&mut socket).await;
        assert!(begun.elapsed() <= LONGEST_PAUSE, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_moved_back_is_noticed_and_nothing_is_bound() {
        let (folder, path, socket_path, _watch) = watched();
        let socket = socket_path.socket();
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&path, &elsewhere).expect("moved");
        fs::create_dir(&path).expect("made");
        until(|| socket_path.reachability.get().is_some()).await;
        fs::remove_dir(&path).expect("removed");
        fs::rename(&elsewhere, &path).expect("moved");
        until(|| socket_path.reachability.get().is_none()).await;
        assert!(!socket.has_changed().expect("open"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_listener_binds_nothing() {
        let (_folder, path, socket_path, _watch) = watched();
        fs::remove_file(&path).expect("removed");
        drop(socket_path.close().expect("it was open"));
        socket_path.look();
        sleep(Duration::from_mins(1)).await;
        assert!(!path.exists());
    }
    #[tokio::test(start_paused = true)]
    async fn events_cause_at_most_ten_checks_a_second() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut events = Some(PathEvents::of(file.path()).expect("events"));
        let begun = Instant::now();
        for _ in 0..10 {
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(file.path(), mode).expect("the file is ours");
            changed(&mut events).await;
        }
        assert!(begun.elapsed() >= LEAST_PAUSE * 10, "{:?}", begun.elapsed());
    }
}
