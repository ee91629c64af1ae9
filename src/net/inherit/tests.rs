use std::{
    fs,
    net::{TcpStream, UdpSocket},
    os::unix::net::UnixStream,
};

use socket2::{Domain, SockAddr, Socket as Raw, Type};

use super::*;

fn given(place: usize) -> Given {
    Given { place, name: None }
}

fn file(path: &Path) -> UnixAddress {
    UnixAddress::Path(path.to_owned())
}

#[tokio::test]
async fn a_unix_socket_is_found_by_its_path_and_its_file_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("in");
    let mut inherited = Inherited::default();
    let listener = UnixListener::bind(&path).expect("bound");
    inherited.add_unix(given(0), listener).expect("listens");
    assert!(
        inherited
            .unix(&file(&folder.path().join("other")))
            .is_none()
    );

    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).expect("linked");
    for spelled in [path.clone(), link.join("in"), link.join("./in")] {
        // Each clone works after the previous clone was dropped.
        let taken = inherited.unix(&file(&spelled)).expect("known");
        let taken = taken.expect("cloned");
        let _sender = UnixStream::connect(&path).expect("connected");
        taken.accept().await.expect("accepted");
        drop(taken);
        assert!(path.exists(), "{}", spelled.display());
    }
    let _waits = UnixStream::connect(&path).expect("it listens still");
}

#[tokio::test]
async fn an_abstract_socket_is_found_by_its_name() {
    let name = format!("tapfan-inherit-{}", std::process::id());
    let address = UnixSocketAddr::from_abstract_name(&name).expect("a name");
    let listener = UnixListener::bind_addr(&address).expect("bound");
    let mut inherited = Inherited::default();
    inherited.add_unix(given(0), listener).expect("listens");
    let wanted = UnixAddress::Abstract(name.as_str().into());
    assert!(inherited.unix(&wanted).is_some_and(|taken| taken.is_ok()));
    assert!(
        inherited
            .unix(&UnixAddress::Path(name.clone().into()))
            .is_none()
    );
    assert_eq!(inherited.unused(&[], &[]), [format!("unix://@{name}")]);
}

#[tokio::test]
async fn a_tcp_socket_is_found_by_its_address_and_port() {
    let mut inherited = Inherited::default();
    let mut addresses = Vec::new();
    for (place, any) in ["127.0.0.1:0", "[::1]:0"].into_iter().enumerate() {
        // The machine possibly has no IPv6.
        let Ok(listener) = TcpListener::bind(any) else {
            assert_ne!(any, "127.0.0.1:0");
            continue;
        };
        addresses.push(listener.local_addr().expect("bound"));
        inherited.add_tcp(given(place), listener).expect("listens");
    }
    for address in &addresses {
        let taken = inherited.tcp(*address).expect("known").expect("cloned");
        let _sender = TcpStream::connect(address).expect("connected");
        taken.accept().await.expect("accepted");
        // Neither the same port at another address nor port 0 matches.
        assert!(
            inherited
                .tcp(([127, 0, 0, 2], address.port()).into())
                .is_none()
        );
        assert!(inherited.tcp((address.ip(), 0).into()).is_none());
    }
}

#[test]
fn unused_sockets_are_reported_by_address_and_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("in");
    let mut inherited = Inherited::default();
    let named = Given {
        place: 0,
        name: Some("tapfan.socket".to_owned()),
    };
    let unix = UnixListener::bind(&path).expect("bound");
    inherited.add_unix(named, unix).expect("listens");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = tcp.local_addr().expect("bound");
    // Two sockets with one address, as with `ReusePort=`: the second has no listener.
    let second = tcp.try_clone().expect("cloned");
    inherited.add_tcp(given(1), tcp).expect("listens");
    inherited.add_tcp(given(2), second).expect("listens");

    let (at_path, at_port) = (
        format!("unix://{} (tapfan.socket)", path.display()),
        format!("tcp://{address}"),
    );
    assert_eq!(
        inherited.unused(&[], &[]),
        [&*at_path, &at_port, &at_port],
        "all are unused"
    );
    assert_eq!(inherited.unused(&[], &[address]), [&*at_path, &at_port]);
    assert_eq!(inherited.unused(&[&file(&path)], &[address]), [at_port]);
    assert!(Inherited::default().unused(&[], &[address]).is_empty());
}

#[test]
fn sockets_that_do_not_listen_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("in");
    let raw = Raw::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    raw.bind(&SockAddr::unix(&path).expect("short"))
        .expect("bound");
    let mut inherited = Inherited::default();
    let refused = inherited
        .add_unix(given(0), raw.into())
        .expect_err("only bound");
    assert_eq!(
        refused.to_string(),
        "inherited socket 1 does not listen; the socket unit must say `Accept=no`, which is the default"
    );
    // A connection, as with `Accept=yes`.
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("bound");
    let connection = TcpStream::connect(address).expect("connected");
    let connection = TcpListener::from(std::os::fd::OwnedFd::from(connection));
    let refused = inherited.add_tcp(given(0), connection);
    assert!(matches!(refused, Err(InheritError::NotListening { .. })));
    // An unnamed socket.
    let (one, _other) = UnixStream::pair().expect("a pair");
    let one = UnixListener::from(std::os::fd::OwnedFd::from(one));
    let refused = inherited.add_unix(given(0), one);
    assert!(matches!(refused, Err(InheritError::NotListening { .. })));
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let datagrams = TcpListener::from(std::os::fd::OwnedFd::from(datagrams));
    let refused = inherited.add_tcp(given(0), datagrams);
    assert!(matches!(refused, Err(InheritError::NotListening { .. })));
    assert!(inherited.unused(&[], &[]).is_empty(), "none was taken");
    fs::metadata(&path).expect("left alone");
}
