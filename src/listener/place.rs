//! The place of a listener's unix socket in the file system: another process may remove the file, or replace it, and then
//! no sender can connect any more. This notices, and binds the socket again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::{
    select,
    sync::{Notify, watch},
    task::spawn_blocking,
    time::sleep,
};
use tracing::{error, info, warn};

use crate::net::{self, BindError, BoundUnix, PermissionChange, UnixAddress, UnixPermissions};

/// A unix socket, and the path that it is to be found at.
#[derive(Debug)]
pub(super) struct Place {
    listener: Arc<str>,
    address: UnixAddress,
    /// Held while the file is looked at, bound or changed, so that these do not come between one another.
    permissions: Mutex<UnixPermissions>,
    /// The socket that is bound; `None` when the listener no longer accepts.
    socket: watch::Sender<Option<Arc<BoundUnix>>>,
    /// Asks to look now.
    look: Notify,
    reachability: Arc<Reachability>,
}

/// The cause for which senders cannot connect to a listener that runs, if they cannot.
#[derive(Debug, Default)]
pub struct Reachability(ArcSwapOption<NotListening>);

/// A listener whose socket is gone, and could not be bound again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotListening {
    /// Since when this is known.
    pub since: SystemTime,
    /// Why it could not be bound again the last time.
    pub error: Arc<str>,
}

/// The result of a look at the file, and what was done.
#[derive(Debug)]
enum Found {
    /// The socket is where it belongs, or the listener no longer accepts.
    InPlace,
    /// It is there again, by itself: whoever moved it has moved it back.
    Returned,
    /// It was gone, and is bound again.
    BoundAgain { lost: BindError },
    /// It is gone, and cannot be bound.
    Lost { lost: BindError, error: BindError },
}

/// The file is looked at so often. One stat(2) costs a microsecond.
const PERIOD: Duration = Duration::from_secs(1);

/// Attempts to bind again come with growing pauses, up to this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

// === impl Place ===

impl Place {
    pub(super) fn new(
        listener: Arc<str>,
        address: UnixAddress,
        permissions: UnixPermissions,
        socket: Arc<BoundUnix>,
    ) -> Self {
        Self {
            listener,
            address,
            permissions: Mutex::new(permissions),
            socket: watch::Sender::new(Some(socket)),
            look: Notify::new(),
            reachability: Arc::default(),
        }
    }

    /// The socket that is bound, as it changes.
    pub(super) fn socket(&self) -> watch::Receiver<Option<Arc<BoundUnix>>> {
        self.socket.subscribe()
    }

    pub(super) fn reachability(&self) -> &Arc<Reachability> {
        &self.reachability
    }

    /// Has the file looked at now, and the socket bound again without a pause if it is gone.
    pub(super) fn look(&self) {
        self.look.notify_one();
    }

    /// Changes the permissions of the file, and of those that are bound in its place.
    ///
    /// # Errors
    /// If the file is gone or replaced, or the system refuses. A socket that is bound again has them all the same.
    pub(super) fn change_permissions(&self, change: &PermissionChange) -> Result<(), BindError> {
        let mut permissions = self.lock();
        permissions.clone_from(change.wanted());
        let socket = self.socket.borrow().clone();
        socket.map_or(Ok(()), |socket| socket.change_permissions(change))
    }

    /// Ends it: nothing is bound again. Returns the socket that is bound.
    pub(super) fn close(&self) -> Option<Arc<BoundUnix>> {
        let _changes_wait = self.lock();
        self.socket.send_replace(None)
    }

    /// Looks at the file from time to time until the listener no longer accepts.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut pause = PERIOD;
        loop {
            let asked = select! {
                () = sleep(pause) => false,
                () = self.look.notified() => true,
            };
            if asked {
                pause = PERIOD;
            }
            let place = Arc::clone(&self);
            // A file system that hangs holds up this task, and no worker.
            let Ok(found) = spawn_blocking(move || place.keep()).await else {
                return;
            };
            pause = match found {
                Found::Lost { .. } => (pause * 2).min(LONGEST_PAUSE),
                _ => PERIOD,
            };
            self.note(&found);
        }
    }

    /// Looks at the file, and binds the socket again if it is gone.
    fn keep(&self) -> Found {
        let permissions = self.lock();
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

    /// Remembers and logs what was found; a cause that repeats is logged once.
    fn note(&self, found: &Found) {
        let listener = &self.listener;
        let before = self.reachability.0.load_full();
        match found {
            Found::InPlace => {}
            Found::Returned => info!(%listener, "the listener's socket is in its place again"),
            Found::BoundAgain { lost } => {
                self.reachability.0.store(None);
                warn!(%listener, %lost, "the listener's socket was taken away; it is bound again, and connections that were open stay");
            }
            Found::Lost { lost, error } => {
                let text: Arc<str> = format!("{lost}, and cannot be bound again: {error}").into();
                let is_new = before.as_ref().is_none_or(|before| before.error != text);
                let since = before.map_or_else(SystemTime::now, |before| before.since);
                self.reachability
                    .0
                    .store(Some(Arc::new(NotListening { since, error: text })));
                if is_new {
                    error!(%listener, %lost, %error, "the listener's socket was taken away and cannot be bound again: no sender can connect, and connections that are open stay; trying again, and at once on SIGHUP");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, UnixPermissions> {
        self.permissions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Reachability ===

impl Reachability {
    /// What it is, if there is any.
    pub fn get(&self) -> Option<Arc<NotListening>> {
        self.0.load_full()
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

    /// A place that is watched; none of its clocks is real.
    fn watched() -> (TempDir, PathBuf, Arc<Place>, AbortOnDropHandle<()>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("d.sock");
        let address = UnixAddress::Path(path.clone());
        let permissions = UnixPermissions {
            mode: 0o640,
            ..UnixPermissions::default()
        };
        let socket = net::bind_unix(&address, &permissions).expect("bound");
        let place = Place::new("in".into(), address, permissions, Arc::new(socket));
        let place = Arc::new(place);
        let watch = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&place).watch()));
        (folder, path, place, watch)
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
    async fn a_socket_that_was_removed_is_bound_again_within_a_second() {
        let (_folder, path, place, _watch) = watched();
        let mut socket = place.socket();
        sleep(Duration::from_hours(1)).await;
        assert!(!socket.has_changed().expect("open"), "nothing has happened");
        fs::remove_file(&path).expect("removed");
        let begun = Instant::now();
        bound_again(&mut socket).await;
        assert!(begun.elapsed() <= PERIOD, "{:?}", begun.elapsed());
        let mode = fs::symlink_metadata(&path).expect("there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o640);
        assert_eq!(place.reachability().get(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_cannot_be_bound_is_tried_until_it_can_and_at_once_when_asked() {
        let (folder, path, place, _watch) = watched();
        let mut socket = place.socket();
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "precious").expect("written");
        until(|| place.reachability().get().is_some()).await;
        let since = place.reachability().get().expect("not listening").since;
        let error = place
            .reachability()
            .get()
            .expect("not listening")
            .error
            .to_string();
        let error = error.replace(&folder.path().display().to_string(), "FOLDER");
        insta::assert_snapshot!(error, @"FOLDER/d.sock is no longer this listener's socket: another process has put something else in its place, and cannot be bound again: FOLDER/d.sock exists and is not a socket; remove it, or give this listener another path");
        sleep(Duration::from_hours(1)).await;
        assert_eq!(
            place.reachability().get().expect("not listening").since,
            since
        );
        assert_eq!(fs::read_to_string(&path).expect("left alone"), "precious");
        fs::remove_file(&path).expect("removed");
        let begun = Instant::now();
        place.look();
        bound_again(&mut socket).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        until(|| place.reachability().get().is_none()).await;
        // Without being asked it takes no longer than the longest pause.
        fs::remove_file(&path).expect("removed");
        symlink("elsewhere", &path).expect("linked");
        until(|| place.reachability().get().is_some()).await;
        sleep(Duration::from_hours(1)).await;
        fs::remove_file(&path).expect("removed");
        let begun = Instant::now();
        bound_again(&mut socket).await;
        assert!(begun.elapsed() <= LONGEST_PAUSE, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_moved_back_is_the_same_as_before() {
        let (folder, path, place, _watch) = watched();
        let socket = place.socket();
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&path, &elsewhere).expect("moved");
        fs::create_dir(&path).expect("made");
        until(|| place.reachability().get().is_some()).await;
        fs::remove_dir(&path).expect("removed");
        fs::rename(&elsewhere, &path).expect("moved");
        until(|| place.reachability().get().is_none()).await;
        assert!(!socket.has_changed().expect("open"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_is_closed_binds_nothing() {
        let (_folder, path, place, _watch) = watched();
        fs::remove_file(&path).expect("removed");
        drop(place.close().expect("it was open"));
        place.look();
        sleep(Duration::from_mins(1)).await;
        assert!(!path.exists());
    }
}
