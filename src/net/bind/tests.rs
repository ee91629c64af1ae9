use std::{
    net::TcpListener as StdTcp,
    os::unix::fs::PermissionsExt,
    os::unix::net::{UnixDatagram, UnixListener as StdListener},
};

use tempfile::TempDir;

use super::*;
use crate::net::dial_unix;

fn permissions(mode: u32) -> UnixPermissions {
    UnixPermissions {
        mode,
        owner: None,
        group: None,
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("d.sock");
    (folder, path)
}

fn bind(path: &Path) -> Result<BoundUnix, BindError> {
    bind_unix(&UnixAddress::Path(path.to_owned()), &permissions(0o660))
}

/// Returns the error text with the changing parts replaced.
fn said(error: &BindError, folder: &TempDir) -> String {
    let own = format!("(pid {})", std::process::id());
    let comm = fs::read_to_string("/proc/self/comm").expect("a name");
    error
        .to_string()
        .replace(&folder.path().display().to_string(), "FOLDER")
        .replace(&own, "(pid PID)")
        .replace(comm.trim_end(), "NAME")
}

#[tokio::test]
async fn a_socket_has_its_mode_and_is_removed_on_drop() {
    let (_folder, path) = folder();
    for mode in [0o600, 0o660, 0o777] {
        let address = UnixAddress::Path(path.clone());
        let bound = bind_unix(&address, &permissions(mode)).expect("bound");
        let metadata = fs::symlink_metadata(&path).expect("a file");
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.mode() & 0o7777, mode);
        let (dialled, accepted) = tokio::join!(dial_unix(&address), bound.accept());
        dialled.expect("connected");
        accepted.expect("accepted");
        drop(bound);
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let (_folder, path) = folder();
    drop(StdListener::bind(&path).expect("bound"));
    assert!(path.exists(), "std leaves the file");
    let bound = bind(&path).expect("bound");
    let address = UnixAddress::Path(path);
    let (dialled, _) = tokio::join!(dial_unix(&address), bound.accept());
    dialled.expect("connected");
}

#[tokio::test]
async fn a_live_socket_is_left_alone() {
    let (folder, path) = folder();
    let listener = StdListener::bind(&path).expect("bound");
    let error = bind(&path).expect_err("in use");
    insta::assert_snapshot!(said(&error, &folder), @"FOLDER/d.sock is in use by NAME (pid PID); stop that process, or use another path");
    listener.accept().expect("the probe's connection");
    assert!(path.exists());
}

#[tokio::test]
async fn a_live_socket_with_a_full_backlog_or_of_datagrams_is_left_alone() {
    let (folder, path) = folder();
    let full = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    full.bind(&SockAddr::unix(&path).expect("short"))
        .expect("bound");
    full.listen(0).expect("listening");
    let mut waiting = Vec::new();
    while let Ok(stream) = dial_unix(&UnixAddress::Path(path.clone())).await {
        waiting.push(stream);
    }
    let error = bind(&path).expect_err("in use");
    insta::assert_snapshot!(said(&error, &folder), @"FOLDER/d.sock is in use; stop that process, or use another path");

    let path = folder.path().join("log");
    let _datagrams = UnixDatagram::bind(&path).expect("bound");
    let error = bind(&path).expect_err("in use");
    assert!(
        matches!(error, BindError::InUse { by: None, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn other_kinds_of_files_are_never_removed() {
    let (folder, path) = folder();
    fs::write(&path, "precious").expect("written");
    let error = bind(&path).expect_err("not a socket");
    insta::assert_snapshot!(said(&error, &folder), @"FOLDER/d.sock exists and is not a socket; remove it, or use another path");
    assert_eq!(fs::read_to_string(&path).expect("read"), "precious");

    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("linked");
    let error = bind(&link).expect_err("not a socket");
    assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
}

#[tokio::test]
async fn a_file_of_another_process_is_not_removed() {
    let (_folder, path) = folder();
    let first = bind(&path).expect("bound");
    fs::remove_file(&path).expect("removed");
    let second = bind(&path).expect("bound");
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[tokio::test]
async fn permissions_are_changed_only_on_the_own_socket() {
    let (folder, path) = folder();
    let bound = bind(&path).expect("bound");
    let address = UnixAddress::Path(path.clone());
    let change = PermissionChange::new(&address, &permissions(0o666)).expect("known users");
    let change = change.expect("a path");
    let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o7777;
    bound.change_permissions(&change).expect("changed");
    assert_eq!(mode(&path), 0o666);

    let precious = folder.path().join("precious");
    fs::write(&precious, "secret").expect("written");
    let secret = fs::Permissions::from_mode(0o600);
    fs::set_permissions(&precious, secret).expect("set");
    fs::remove_file(&path).expect("removed");
    let error = bound.change_permissions(&change).expect_err("gone");
    insta::assert_snapshot!(said(&error, &folder), @"FOLDER/d.sock was removed by another process");
    std::os::unix::fs::symlink(&precious, &path).expect("linked");
    let error = bound.change_permissions(&change).expect_err("a link");
    insta::assert_snapshot!(said(&error, &folder), @"FOLDER/d.sock is no longer the socket of this router: another process has put something else in its place");
    assert_eq!(mode(&precious), 0o600);
    fs::remove_file(&path).expect("removed");
    fs::hard_link(&precious, &path).expect("linked");
    bound.change_permissions(&change).expect_err("another file");
    assert_eq!(mode(&precious), 0o600);
    drop(bound);
    assert_eq!(mode(&path), 0o600, "the other file is not removed");
}

#[tokio::test]
async fn owners_and_groups_are_names_or_numbers() {
    let (_folder, path) = folder();
    let metadata = fs::metadata(path.parent().expect("a folder")).expect("ours");
    let (uid, gid) = (metadata.uid(), metadata.gid());
    let mut spellings = vec![(uid.to_string(), gid.to_string())];
    // In a container, the user may have no name.
    let user = User::from_uid(uid.into()).expect("asked");
    let group = Group::from_gid(gid.into()).expect("asked");
    spellings.extend(user.zip(group).map(|(user, group)| (user.name, group.name)));
    for (owner, group) in spellings {
        let permissions = UnixPermissions {
            mode: 0o640,
            owner: Some(owner),
            group: Some(group),
        };
        let address = UnixAddress::Path(path.clone());
        let _bound = bind_unix(&address, &permissions).expect("bound");
        let socket = fs::symlink_metadata(&path).expect("a file");
        assert_eq!((socket.uid(), socket.gid()), (uid, gid));
        assert_eq!(socket.mode() & 0o7777, 0o640);
    }
}

#[tokio::test]
async fn errors_for_paths_that_cannot_be_bound() {
    let (folder, path) = folder();
    let missing = folder.path().join("no").join("d.sock");
    let error = bind(&missing).expect_err("no folder");
    insta::assert_snapshot!(said(&error, &folder), @"cannot create the socket FOLDER/no/d.sock: the folder FOLDER/no does not exist; create it first");

    let long = PathBuf::from(format!("/{}", "x".repeat(107)));
    let error = bind(&long).expect_err("too long");
    assert!(
        matches!(error, BindError::TooLong { length: 108, .. }),
        "{error}"
    );

    for nothing in ["", "/", ".."] {
        bind(Path::new(nothing)).expect_err("not a file");
    }

    let mut nobody = permissions(0o660);
    nobody.owner = Some("no such user".to_owned());
    let error = bind_unix(&UnixAddress::Path(path.clone()), &nobody).expect_err("unknown");
    insta::assert_snapshot!(error, @r#"there is no user "no such user"; write the name or number of a user"#);
    nobody.owner = None;
    nobody.group = Some("no such group".to_owned());
    let error = bind_unix(&UnixAddress::Path(path.clone()), &nobody).expect_err("unknown");
    insta::assert_snapshot!(error, @r#"there is no group "no such group"; write the name or number of a group to which the user of tapfan belongs (with systemd, name the group in `SupplementaryGroups=` of the unit)"#);
    assert!(!path.exists(), "nothing is left behind");
}

#[test]
fn errors_of_the_operating_system_are_explained() {
    let path = Path::new("/run/tapfan/d.sock");
    let denied = BindError::from_unix(path, io::ErrorKind::PermissionDenied.into());
    insta::assert_snapshot!(denied, @"cannot create the socket /run/tapfan/d.sock: this process has no permission to write to /run/tapfan");
    let here = BindError::from_unix(Path::new("d.sock"), io::ErrorKind::PermissionDenied.into());
    insta::assert_snapshot!(here, @"cannot create the socket d.sock: this process has no permission to write to .");
    let low = BindError::from_tcp(
        ([0, 0, 0, 0], 53).into(),
        io::ErrorKind::PermissionDenied.into(),
    );
    insta::assert_snapshot!(low, @"0.0.0.0:53 cannot be bound: ports below 1024 need CAP_NET_BIND_SERVICE; use a higher port or grant it");
}

#[tokio::test]
async fn an_abstract_name_is_bound_once() {
    let name = format!("tapfan-bind-{}", std::process::id());
    let address = UnixAddress::Abstract(name.clone().into());
    let bound = bind_unix(&address, &permissions(0o660)).expect("bound");
    let (dialled, accepted) = tokio::join!(dial_unix(&address), bound.accept());
    dialled.expect("connected");
    accepted.expect("accepted");
    let error = bind_unix(&address, &permissions(0o660)).expect_err("in use");
    let own = i32::try_from(std::process::id()).expect("a pid");
    assert!(
        matches!(error, BindError::InUse { by: Some(pid), .. } if pid == own),
        "{error}"
    );
    drop(bound);
    bind_unix(&address, &permissions(0o660)).expect("bound again");
}

#[tokio::test]
async fn a_tcp_port_is_bound_once() {
    let bound = bind_tcp(([127, 0, 0, 1], 0).into()).expect("bound");
    let address = bound.local_addr().expect("an address");
    let error = bind_tcp(address).expect_err("in use");
    let port = address.port().to_string();
    insta::assert_snapshot!(error.to_string().replace(&port, "PORT"), @"127.0.0.1:PORT is in use; `ss -ltnp 'sport = :PORT'` shows the process");
    let elsewhere = bind_tcp(([203, 0, 113, 1], 0).into()).expect_err("not ours");
    insta::assert_snapshot!(elsewhere, @"203.0.113.1:0 cannot be bound: no interface of this machine has the address 203.0.113.1");
}

#[tokio::test]
async fn a_port_is_free_again_while_its_connections_linger() {
    let bound = bind_tcp(([127, 0, 0, 1], 0).into()).expect("bound");
    let address = bound.local_addr().expect("an address");
    let dialled = tokio::net::TcpStream::connect(address)
        .await
        .expect("connected");
    let (accepted, _) = bound.accept().await.expect("accepted");
    drop((accepted, bound));
    drop(dialled);
    bind_tcp(address).expect("bound again");
}

#[tokio::test]
async fn the_wildcard_of_ipv6_takes_ipv4_too() {
    let Ok(bound) = bind_tcp("[::]:0".parse().expect("an address")) else {
        assert!(
            StdTcp::bind("[::1]:0").is_err(),
            "only a machine without IPv6 may refuse"
        );
        return;
    };
    let port = bound.local_addr().expect("an address").port();
    tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("connected");
}

#[test]
fn without_ipv6_its_wildcard_takes_ipv4() {
    fn new(domain: Domain) -> io::Result<Socket> {
        if domain == Domain::IPV6 {
            return Err(Errno::EAFNOSUPPORT.into());
        }
        new_tcp(domain)
    }
    let bound = bound_tcp("[::]:0".parse().expect("an address"), new).expect("bound");
    let address = bound.local_addr().expect("bound").as_socket();
    let address = address.expect("an address");
    assert_eq!(address.ip(), Ipv4Addr::UNSPECIFIED);
    assert_ne!(address.port(), 0);
    // Another address of IPv6 does not exist on this machine.
    let refused = bound_tcp("[::1]:0".parse().expect("an address"), new).expect_err("no IPv6");
    assert!(is_no_family(&refused), "{refused}");
}
