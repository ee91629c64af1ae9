//! Sockets that dial, and the options of those that were accepted.
//!
//! Nothing here has a deadline of its own: the caller puts one around each attempt.

use std::{
    ffi::OsString,
    io,
    net::SocketAddr,
    os::{fd::AsFd, unix::ffi::OsStringExt},
    path::Path,
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::{UnixAddress, tcp_info};

/// How an idle peer is asked whether it is still there (tcp(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe (`TCP_KEEPIDLE`).
    pub idle: Duration,
    /// Between probes (`TCP_KEEPINTVL`).
    pub interval: Duration,
    /// Unanswered probes after which the connection is given up (`TCP_KEEPCNT`). Not looked at where there is a
    /// [`UserTimeout`]: Linux then gives up at the first probe that is due after so long a silence.
    pub probes: u32,
}

/// The time that written bytes may stay unacknowledged before the connection is given up.
///
/// [`prepare_served`] sets it as `TCP_USER_TIMEOUT`, and [`dial_tcp`] twice as much where the caller can look itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserTimeout(pub Duration);

/// `SO_SNDBUF`, in bytes. The kernel gives at most `net.core.wmem_max`, without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendBuffer(pub usize);

/// The options of a TCP connection that is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpSettings {
    /// The kernel's own choice if `None`.
    pub send_buffer: Option<SendBuffer>,
    /// See [`Keepalive`].
    pub keepalive: Keepalive,
    /// See [`UserTimeout`].
    pub user_timeout: UserTimeout,
}

/// Connects by TCP. Batching is the caller's, so `TCP_NODELAY` is set.
///
/// # Errors
/// What the operating system says of the socket, its options or the peer.
pub async fn dial_tcp(address: SocketAddr, settings: &TcpSettings) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    let options = SockRef::from(&socket);
    if let Some(SendBuffer(bytes)) = settings.send_buffer {
        options.set_send_buffer_size(bytes)?;
    }
    options.set_tcp_nodelay(true)?;
    options.set_tcp_keepalive(&settings.keepalive.options())?;
    options.set_tcp_user_timeout(Some(settings.user_timeout.backstop(&socket)))?;
    socket.connect(address).await
}

/// Connects to a unix socket. Never blocks: where the listener's backlog is full, the answer is
/// [`WouldBlock`](io::ErrorKind::WouldBlock) at once, and the caller tries again later.
///
/// # Errors
/// What the operating system says.
pub async fn dial_unix(address: &UnixAddress) -> io::Result<UnixStream> {
    match address {
        UnixAddress::Path(path) => UnixStream::connect(path).await,
        UnixAddress::Abstract(name) => UnixStream::connect(abstract_path(name)).await,
    }
}

/// Sets the options of a connection that a listener accepted, so that a sender that vanished is noticed.
///
/// # Errors
/// What the operating system says; the connection may be gone already.
pub fn prepare_accepted(stream: &TcpStream) -> io::Result<()> {
    let options = SockRef::from(stream);
    options.set_tcp_nodelay(true)?;
    options.set_tcp_keepalive(&Keepalive::default().options())
}

/// Sets the options of a connection to a client that asks for something, so that one that takes nothing of its answers for
/// `allowed` is given up by the system, however little was written to it, and holds no more than 64 KiB of them.
///
/// # Errors
/// What the operating system says; the connection may be gone already.
pub fn prepare_served(stream: &TcpStream, allowed: UserTimeout) -> io::Result<()> {
    let options = SockRef::from(stream);
    // Answers are small and whole.
    options.set_tcp_nodelay(true)?;
    options.set_send_buffer_size(64 << 10)?;
    options.set_tcp_user_timeout(Some(allowed.0))
}

/// An abstract name as tokio, std and socket2 take it: behind a NUL.
pub(super) fn abstract_path(name: &str) -> impl AsRef<Path> + use<> {
    OsString::from_vec([b"\0", name.as_bytes()].concat())
}

// === impl Keepalive ===

impl Keepalive {
    /// Has a peer that is silent for `timeout` and an interval more given up: an interval is a sixth of it, from 1 s to 5 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tapfan::net::{Keepalive, UserTimeout};
    ///
    /// assert_eq!(Keepalive::within(UserTimeout::default()), Keepalive::default());
    /// let short = Keepalive::within(UserTimeout(Duration::from_secs(6)));
    /// assert_eq!((short.idle, short.interval), (Duration::from_secs(3), Duration::from_secs(1)));
    /// ```
    pub fn within(UserTimeout(timeout): UserTimeout) -> Self {
        let longest = Self::default();
        // The kernel counts in whole seconds, and zero is none.
        let whole = |part: Duration, most| Duration::from_secs(part.as_secs().max(1)).min(most);
        Self {
            idle: whole(timeout / 2, longest.idle),
            interval: whole(timeout / 6, longest.interval),
            ..longest
        }
    }

    fn options(self) -> TcpKeepalive {
        TcpKeepalive::new()
            .with_time(self.idle)
            .with_interval(self.interval)
            .with_retries(self.probes)
    }
}

impl Default for Keepalive {
    /// A silent peer is given up after 35 s.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(15),
            interval: Duration::from_secs(5),
            probes: 4,
        }
    }
}

// === impl UserTimeout ===

impl UserTimeout {
    /// The time after which Linux ends a connection by itself, also one that was closed with bytes unsent.
    ///
    /// Twice the timeout, so that `PeerCheck` is first: Linux cuts peers that read slowly. Kernels that do not say what a
    /// peer has taken leave nothing to check, so there it is the timeout itself.
    fn backstop(self, socket: &impl AsFd) -> Duration {
        if tcp_info::sending(socket).is_some() {
            self.0 * 2
        } else {
            self.0
        }
    }
}

impl Default for UserTimeout {
    fn default() -> Self {
        Self(Duration::from_secs(30))
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, SockAddr, Socket, Type};
    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    #[tokio::test]
    async fn a_dialled_connection_has_its_options() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let settings = TcpSettings {
            send_buffer: Some(SendBuffer(65_536)),
            ..TcpSettings::default()
        };
        let stream = dial_tcp(address, &settings).await.expect("connected");
        let options = SockRef::from(&stream);
        // Linux counts its own overhead in, twice the size asked for (socket(7)).
        assert!([65_536, 131_072].contains(&options.send_buffer_size().expect("set")));
        assert!(options.tcp_nodelay().expect("set"));
        assert!(options.keepalive().expect("set"));
        assert_eq!(
            options.tcp_keepalive_time().expect("set"),
            Duration::from_secs(15)
        );
        assert_eq!(
            options.tcp_keepalive_interval().expect("set"),
            Duration::from_secs(5)
        );
        assert_eq!(options.tcp_keepalive_retries().expect("set"), 4);
        assert_eq!(
            options.tcp_user_timeout().expect("set"),
            Some(Duration::from_mins(1))
        );

        let (accepted, _) = listener.accept().await.expect("accepted");
        prepare_served(&accepted, UserTimeout(Duration::from_secs(10))).expect("set");
        let options = SockRef::from(&accepted);
        assert!(options.tcp_nodelay().expect("set"));
        assert!(options.send_buffer_size().expect("set") <= 128 << 10);
        assert_eq!(
            options.tcp_user_timeout().expect("set"),
            Some(Duration::from_secs(10))
        );

        let _dialled = dial_tcp(address, &settings).await.expect("connected");
        let (accepted, _) = listener.accept().await.expect("accepted");
        prepare_accepted(&accepted).expect("set");
        let options = SockRef::from(&accepted);
        assert!(options.tcp_nodelay().expect("set"));
        assert!(options.keepalive().expect("set"));
        assert_eq!(
            options.tcp_keepalive_time().expect("set"),
            Duration::from_secs(15)
        );
    }

    #[tokio::test]
    async fn unix_sockets_are_dialled_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("d.sock");
        let by_path = UnixListener::bind(&path).expect("bound");
        dial_unix(&UnixAddress::Path(path))
            .await
            .expect("connected");
        by_path.accept().await.expect("accepted");

        let name = format!("tapfan-dial-{}", std::process::id());
        let by_name = UnixListener::bind(abstract_path(&name)).expect("bound");
        let address = UnixAddress::Abstract(name.into());
        dial_unix(&address).await.expect("connected");
        by_name.accept().await.expect("accepted");
        drop(by_name);
        let error = dial_unix(&address).await.expect_err("nobody there");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_full_backlog_is_an_error_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("d.sock");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        listener
            .bind(&SockAddr::unix(&path).expect("short"))
            .expect("bound");
        listener.listen(0).expect("listening");
        let address = UnixAddress::Path(path);
        let mut connected = Vec::new();
        let error = loop {
            match dial_unix(&address).await {
                Ok(stream) => connected.push(stream),
                Err(error) => break error,
            }
            assert!(connected.len() < 64, "the backlog has an end");
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
