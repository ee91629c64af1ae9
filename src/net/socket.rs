//! Dialling, and the options of accepted sockets.
//!
//! Nothing here has a deadline. The caller sets a deadline for each attempt.

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

/// The probes that find out whether an idle peer is still there (tcp(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle time before the first probe (`TCP_KEEPIDLE`).
    pub idle: Duration,
    /// Time between probes (`TCP_KEEPINTVL`).
    pub interval: Duration,
    /// Unanswered probes after which the kernel closes the connection (`TCP_KEEPCNT`). If a [`UserTimeout`] is set,
    /// Linux ignores this number. Instead, Linux closes the connection when a probe is due and the peer has been silent
    /// for the time in `UserTimeout`.
    pub probes: u32,
}

/// The longest time for which written bytes may stay unacknowledged. After this time, the connection is closed.
///
/// `prepare_served` sets it as `TCP_USER_TIMEOUT`. `dial_tcp` sets at least twice the time if the caller can check the
/// peer itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserTimeout(pub Duration);

/// `SO_SNDBUF`, in bytes. The kernel silently caps it at `net.core.wmem_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SendBuffer(pub usize);

/// The options of a dialled TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TcpSettings {
    /// `None` leaves the size to the kernel.
    pub send_buffer: Option<SendBuffer>,
    /// See [`Keepalive`].
    pub keepalive: Keepalive,
    /// See [`UserTimeout`].
    pub user_timeout: UserTimeout,
}

/// Connects by TCP. Sets `TCP_NODELAY`, because callers batch their writes.
pub(crate) async fn dial_tcp(address: SocketAddr, settings: &TcpSettings) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    settings.set_on(&socket)?;
    let stream = socket.connect(address).await?;
    refuse_itself(&stream)?;
    Ok(stream)
}

/// Refuses a connection from a socket to itself.
///
/// If no process listens on a local port of the ephemeral range, the kernel can choose exactly this port as the source
/// port. TCP then connects the socket to itself (RFC 9293, simultaneous open), and the collector cannot bind its port
/// as long as the connection exists.
fn refuse_itself(stream: &TcpStream) -> io::Result<()> {
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(())
}

/// Connects to a unix socket. Never blocks: if the listener's backlog is full, it returns
/// [`WouldBlock`](io::ErrorKind::WouldBlock) immediately. The caller must try again later.
pub(crate) async fn dial_unix(address: &UnixAddress) -> io::Result<UnixStream> {
    match address {
        UnixAddress::Path(path) => UnixStream::connect(path).await,
        UnixAddress::Abstract(name) => UnixStream::connect(abstract_path(name)).await,
    }
}

/// Sets the options of an accepted connection, so that a vanished sender is noticed.
pub(crate) fn prepare_accepted(stream: &TcpStream) -> io::Result<()> {
    let options = SockRef::from(stream);
    options.set_tcp_nodelay(true)?;
    options.set_tcp_keepalive(&Keepalive::default().options())
}

/// Sets the options of an accepted connection on which we send answers. The kernel closes the connection if the client
/// takes no part of an answer for `allowed`, however short the answer is. The kernel buffers at most 64 KiB of answers.
#[cfg(any(feature = "admin", test))]
pub(crate) fn prepare_served(stream: &TcpStream, allowed: UserTimeout) -> io::Result<()> {
    let options = SockRef::from(stream);
    // Each answer is written in one piece, so Nagle's algorithm has nothing to collect.
    options.set_tcp_nodelay(true)?;
    options.set_send_buffer_size(64 << 10)?;
    options.set_tcp_user_timeout(Some(allowed.0))
}

/// Returns the abstract name with a NUL in front, as tokio, std and socket2 expect it.
pub(super) fn abstract_path(name: &str) -> impl AsRef<Path> + use<> {
    OsString::from_vec([b"\0", name.as_bytes()].concat())
}

// === impl TcpSettings ===

impl TcpSettings {
    /// Sets the options of a socket to which frames are written.
    pub(super) fn set_on(&self, socket: &impl AsFd) -> io::Result<()> {
        let options = SockRef::from(socket);
        if let Some(SendBuffer(bytes)) = self.send_buffer {
            options.set_send_buffer_size(bytes)?;
        }
        options.set_tcp_nodelay(true)?;
        options.set_tcp_keepalive(&self.keepalive.options())?;
        options.set_tcp_user_timeout(Some(self.user_timeout.backstop(socket)))
    }
}

// === impl Keepalive ===

impl Keepalive {
    /// Probes that make the kernel close the connection when the peer has been silent for `timeout` plus one interval.
    /// The interval is a sixth of `timeout`, but at least 1 s and at most 5 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tapfan::internals::{Keepalive, UserTimeout};
    ///
    /// assert_eq!(Keepalive::within(UserTimeout::default()), Keepalive::default());
    /// let short = Keepalive::within(UserTimeout(Duration::from_secs(6)));
    /// assert_eq!((short.idle, short.interval), (Duration::from_secs(3), Duration::from_secs(1)));
    /// ```
    pub fn within(UserTimeout(timeout): UserTimeout) -> Self {
        let longest = Self::default();
        // The kernel accepts only whole seconds, and not zero.
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
    /// Gives up a silent peer after 35 s.
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
    /// The minimum difference between the timeout of Linux and the shorter timeout of the router.
    const BACKSTOP: Duration = Duration::from_secs(10);

    /// Returns the time after which Linux ends a connection by itself, even a closed connection with unsent bytes.
    ///
    /// The returned time is the timeout plus [`BACKSTOP`](Self::BACKSTOP), or twice the timeout if that is longer. So
    /// `PeerCheck` acts first even on a busy machine. If Linux acted first, it would cut off peers that read slowly,
    /// and the error would not say why. On kernels that do not report how much a peer has taken, `PeerCheck` cannot
    /// work; on these kernels, the function returns the timeout itself.
    fn backstop(self, socket: &impl AsFd) -> Duration {
        if tcp_info::sending(socket).is_some() {
            self.0 + self.0.max(Self::BACKSTOP)
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
    async fn dialled_and_accepted_connections_have_their_options() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let settings = TcpSettings {
            send_buffer: Some(SendBuffer(65_536)),
            ..TcpSettings::default()
        };
        let stream = dial_tcp(address, &settings).await.expect("connected");
        let options = SockRef::from(&stream);
        // Linux reports twice the requested size, which includes its own overhead (socket(7)).
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

    #[tokio::test]
    async fn a_connection_to_itself_counts_as_refused() {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind("127.0.0.1:0".parse().expect("an address"))
            .expect("bound");
        let own = socket.local_addr().expect("an address");
        let stream = socket.connect(own).await.expect("connected to itself");
        let error = refuse_itself(&stream).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
