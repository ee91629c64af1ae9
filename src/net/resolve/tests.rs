use std::{
    net::Ipv4Addr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{RData, Record, rdata},
};
use tokio::{net::UdpSocket, task::JoinHandle};

use super::*;

/// What the server says to a question.
#[derive(Clone)]
enum Says {
    Addresses(u32, Vec<IpAddr>),
    Code(ResponseCode),
    Nothing,
}

type Mind = dyn Fn(&str, RecordType) -> Says + Send;

/// A DNS server on loopback that says what a test tells it to.
struct Server {
    address: SocketAddr,
    says: Arc<Mutex<Box<Mind>>>,
    questions: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(says: impl Fn(&str, RecordType) -> Says + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        let address = socket.local_addr().expect("an address");
        let says: Arc<Mutex<Box<Mind>>> = Arc::new(Mutex::new(Box::new(says)));
        let questions = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(Self::serve(
            socket,
            Arc::clone(&says),
            Arc::clone(&questions),
        ));
        Self {
            address,
            says,
            questions,
            task,
        }
    }

    async fn serve(socket: UdpSocket, says: Arc<Mutex<Box<Mind>>>, questions: Arc<AtomicUsize>) {
        let mut buffer = [0; 2048];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.expect("received");
            let mut message = Message::from_vec(&buffer[..length]).expect("a query");
            questions.fetch_add(1, Ordering::SeqCst);
            let question = message.queries.first().expect("a question").clone();
            let says =
                (says.lock().expect("whole"))(&question.name().to_string(), question.query_type());
            message.metadata.message_type = MessageType::Response;
            message.metadata.recursion_available = true;
            match says {
                Says::Nothing => continue,
                Says::Code(code) => message.metadata.response_code = code,
                Says::Addresses(ttl, addresses) => {
                    for address in addresses {
                        let data = match (address, question.query_type()) {
                            (IpAddr::V4(address), RecordType::A) => RData::A(rdata::A(address)),
                            (IpAddr::V6(address), RecordType::AAAA) => {
                                RData::AAAA(rdata::AAAA(address))
                            }
                            _ => continue,
                        };
                        let name = question.name().clone();
                        message.answers.push(Record::from_rdata(name, ttl, data));
                    }
                }
            }
            let answer = message.to_vec().expect("encoded");
            socket.send_to(&answer, client).await.expect("sent");
        }
    }

    fn now_says(&self, says: impl Fn(&str, RecordType) -> Says + Send + 'static) {
        *self.says.lock().expect("whole") = Box::new(says);
    }

    fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    fn resolver(&self) -> Resolver {
        self.resolver_within(Duration::from_secs(6))
    }

    fn resolver_within(&self, timeout: Duration) -> Resolver {
        let settings = ResolverSettings {
            name_servers: vec![self.address],
            timeout,
        };
        Resolver::with_files(settings, Path::new("/nowhere"), Path::new("/nowhere"))
            .expect("a resolver")
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn named(name: &str) -> Authority {
    Authority {
        host: Host::Name(name.into()),
        port: 6000,
    }
}

fn always(ttl: u32, addresses: &[&str]) -> impl Fn(&str, RecordType) -> Says + Send + use<> {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| ip(address)).collect();
    move |_, _| Says::Addresses(ttl, addresses.clone())
}

async fn addresses(resolver: &Resolver, name: &str) -> Vec<String> {
    let found = resolver.resolve(&named(name)).await.expect("addresses");
    found
        .into_iter()
        .map(|address| address.to_string())
        .collect()
}

async fn error(server: &Server, name: &str) -> ResolveError {
    let outcome = server.resolver().resolve(&named(name)).await;
    outcome.expect_err("no addresses")
}

#[tokio::test]
async fn both_families_take_turns() {
    let server = Server::start(always(
        60,
        &["192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.2"],
    ))
    .await;
    assert_eq!(
        addresses(&server.resolver(), "collector.example.").await,
        ["[2001:db8::1]:6000", "192.0.2.1:6000", "192.0.2.2:6000"]
    );
}

#[tokio::test]
async fn one_family_is_enough() {
    let server = Server::start(always(60, &["192.0.2.1"])).await;
    let resolver = server.resolver();
    assert_eq!(
        addresses(&resolver, "my_collector.example.").await,
        ["192.0.2.1:6000"]
    );
    server.now_says(|_, family| match family {
        RecordType::AAAA => Says::Code(ResponseCode::ServFail),
        _ => Says::Addresses(60, vec![ip("192.0.2.2")]),
    });
    assert_eq!(
        addresses(&resolver, "other.example.").await,
        ["192.0.2.2:6000"]
    );
}

#[tokio::test]
async fn a_family_that_is_never_answered_costs_little() {
    let server = Server::start(|_, family| match family {
        RecordType::AAAA => Says::Nothing,
        _ => Says::Addresses(60, vec![ip("192.0.2.1")]),
    })
    .await;
    let begun = Instant::now();
    assert_eq!(
        addresses(&server.resolver(), "collector.example.").await,
        ["192.0.2.1:6000"]
    );
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn an_answer_is_kept_for_its_ttl_and_no_longer() {
    let server = Server::start(always(1, &["192.0.2.1"])).await;
    let resolver = server.resolver();
    let begun = Instant::now();
    assert_eq!(
        addresses(&resolver, "collector.example.").await,
        ["192.0.2.1:6000"]
    );
    server.now_says(always(1, &["192.0.2.2"]));
    let mut found = addresses(&resolver.clone(), "collector.example.").await;
    if begun.elapsed() < Duration::from_millis(900) {
        assert_eq!(found, ["192.0.2.1:6000"], "from the cache");
    }
    while found != ["192.0.2.2:6000"] {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the change is never seen"
        );
        time::sleep(Duration::from_millis(20)).await;
        found = addresses(&resolver, "collector.example.").await;
    }
    assert!(
        begun.elapsed() >= Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_cached_answer_asks_nobody() {
    let server = Server::start(always(60, &["192.0.2.1", "2001:db8::1"])).await;
    let resolver = server.resolver();
    let first = addresses(&resolver, "collector.example.").await;
    assert_eq!(server.questions(), 2, "one a family");
    assert_eq!(addresses(&resolver, "collector.example.").await, first);
    assert_eq!(server.questions(), 2);
}

#[tokio::test]
async fn what_is_said_of_names_without_addresses() {
    let server = Server::start(|_, _| Says::Code(ResponseCode::NXDomain)).await;
    let no_name = error(&server, "colector.example").await;
    assert!(matches!(no_name, ResolveError::NoSuchName { .. }));
    insta::assert_snapshot!(no_name, @"there is no name colector.example in DNS or /etc/hosts; check its spelling, and that the Service exists");

    server.now_says(always(60, &[]));
    let nothing = error(&server, "collector.example").await;
    assert!(matches!(nothing, ResolveError::NoAddresses { .. }));
    insta::assert_snapshot!(nothing, @"collector.example has no addresses (no A, no AAAA); is anything ready behind it?");

    server.now_says(|_, _| Says::Code(ResponseCode::ServFail));
    let failed = error(&server, "collector.example").await;
    assert!(matches!(failed, ResolveError::ServerFailure { .. }));
    insta::assert_snapshot!(failed, @"the name servers could not resolve collector.example: Server Failure");

    server.now_says(|_, _| Says::Code(ResponseCode::Refused));
    let refused = error(&server, "collector.example").await;
    assert!(
        matches!(refused, ResolveError::ServerFailure { .. }),
        "{refused:?}"
    );

    let bad = error(&server, "a..b").await;
    assert!(matches!(bad, ResolveError::BadName { .. }), "{bad:?}");
}

#[tokio::test]
async fn failure_of_one_family_is_not_hidden_by_absence_in_the_other() {
    let server = Server::start(always(60, &[])).await;
    for absence in [
        Says::Addresses(60, Vec::new()),
        Says::Code(ResponseCode::NXDomain),
    ] {
        for absent in [RecordType::AAAA, RecordType::A] {
            let absence = absence.clone();
            server.now_says(move |_, family| {
                if family == absent {
                    absence.clone()
                } else {
                    Says::Code(ResponseCode::ServFail)
                }
            });
            let failed = error(&server, "collector.example.").await;
            assert!(
                matches!(failed, ResolveError::ServerFailure { .. }),
                "{failed:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_name_without_one_family_exists() {
    let server = Server::start(|_, family| match family {
        RecordType::AAAA => Says::Code(ResponseCode::NXDomain),
        _ => Says::Addresses(60, Vec::new()),
    })
    .await;
    let nothing = error(&server, "collector.example.").await;
    assert!(
        matches!(nothing, ResolveError::NoAddresses { .. }),
        "{nothing:?}"
    );
}

#[tokio::test]
async fn silence_ends_in_time() {
    let server = Server::start(|_, _| Says::Nothing).await;
    let resolver = server.resolver_within(Duration::from_millis(300));
    let begun = Instant::now();
    let silence = resolver.resolve(&named("collector.example.")).await;
    let silence = silence.expect_err("silence");
    assert!(
        matches!(silence, ResolveError::Timeout { .. }),
        "{silence:?}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert!(server.questions() >= 2, "both families were asked for");
}

#[tokio::test]
async fn a_port_without_a_name_server_is_an_error_in_time() {
    let server = Server::start(|_, _| Says::Nothing).await;
    let resolver = server.resolver_within(Duration::from_millis(300));
    server.task.abort();
    let gone = resolver
        .resolve(&named("collector.example."))
        .await
        .expect_err("gone");
    assert!(
        matches!(
            gone,
            ResolveError::Timeout { .. } | ResolveError::Unreachable { .. }
        ),
        "{gone:?}"
    );
}

#[tokio::test]
async fn hosts_come_first_and_are_read_again() {
    let server = Server::start(always(60, &["192.0.2.1"])).await;
    let folder = tempfile::tempdir().expect("a folder");
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "198.51.100.1 Collector.example # comment\n").expect("written");
    let settings = ResolverSettings {
        name_servers: vec![server.address],
        ..ResolverSettings::default()
    };
    let resolver = Resolver::with_files(settings, Path::new("/nowhere"), &hosts).expect("made");
    assert_eq!(
        addresses(&resolver, "collector.example").await,
        ["198.51.100.1:6000"]
    );
    assert_eq!(server.questions(), 0);
    std::fs::write(
        &hosts,
        "198.51.100.2 collector.example\n2001:db8::2 collector.example\n",
    )
    .expect("written");
    assert_eq!(
        addresses(&resolver, "collector.example").await,
        ["[2001:db8::2]:6000", "198.51.100.2:6000"]
    );
    std::fs::remove_file(&hosts).expect("removed");
    assert_eq!(
        addresses(&resolver, "collector.example").await,
        ["192.0.2.1:6000"]
    );
}

#[tokio::test]
async fn without_resolv_conf_hosts_still_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "198.51.100.1 collector\n").expect("written");
    let resolv_conf = folder.path().join("resolv.conf");
    let resolver = Resolver::with_files(ResolverSettings::default(), &resolv_conf, &hosts);
    let resolver = resolver.expect("made");
    assert_eq!(
        addresses(&resolver, "collector").await,
        ["198.51.100.1:6000"]
    );
    let error = resolver
        .resolve(&named("other"))
        .await
        .expect_err("no name servers");
    let folder = folder.path().display().to_string();
    insta::assert_snapshot!(error.to_string().replace(&folder, "FOLDER"), @"cannot read FOLDER/resolv.conf, which names the name servers: No such file or directory (os error 2)");
}

#[tokio::test]
async fn addresses_pass_through_with_their_zone() {
    let server = Server::start(|_, _| Says::Nothing).await;
    let resolver = server.resolver();
    let with = |address: &str, zone: Option<&str>| Authority {
        host: Host::Ip {
            address: ip(address),
            zone: zone.map(Into::into),
        },
        port: 6000,
    };
    let four = resolver
        .resolve(&with("192.0.2.1", None))
        .await
        .expect("an address");
    assert_eq!(
        four,
        [SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 6000))]
    );
    let indexed = resolver
        .resolve(&with("fe80::1", Some("7")))
        .await
        .expect("an address");
    assert_eq!(
        indexed,
        [SocketAddrV6::new("fe80::1".parse().expect("six"), 6000, 0, 7).into()]
    );
    for zone in ["", "no-such0", "../lo", "."] {
        let unknown = resolver
            .resolve(&with("fe80::1", Some(zone)))
            .await
            .expect_err("unknown");
        assert!(
            matches!(unknown, ResolveError::UnknownZone { .. }),
            "{unknown:?}"
        );
    }
    assert_eq!(server.questions(), 0);
}

#[test]
fn a_zone_is_also_the_name_of_an_interface() {
    let Ok(interfaces) = fs::read_dir("/sys/class/net") else {
        return;
    };
    for interface in interfaces.flatten() {
        let Ok(index) = fs::read_to_string(interface.path().join("ifindex")) else {
            continue;
        };
        let name = interface.file_name().into_string().expect("ASCII");
        assert_eq!(scope_id(&name).expect("known").to_string(), index.trim());
    }
}

#[test]
fn turns_are_taken_until_all_lists_are_empty() {
    let list = |addresses: &[&str]| {
        addresses
            .iter()
            .map(|address| ip(address))
            .collect::<Vec<_>>()
    };
    let turns = take_turns(vec![
        list(&["::1"]),
        list(&["127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.3"]),
    ]);
    assert_eq!(turns, list(&["::1", "127.0.0.1", "127.0.0.2", "127.0.0.3"]));
    assert!(take_turns(vec![Vec::new(), Vec::new()]).is_empty());
}

#[tokio::test]
async fn a_relative_name_is_completed_by_the_search_list() {
    let server = Server::start(|name, _| match name {
        "collector.dns-obs.svc.cluster.local." => Says::Addresses(60, vec![ip("10.0.0.1")]),
        "broken.svc.cluster.local." => Says::Code(ResponseCode::ServFail),
        _ => Says::Code(ResponseCode::NXDomain),
    })
    .await;
    let search = ["default.svc.cluster.local.", "svc.cluster.local."];
    let search = search.map(|name| Name::from_ascii(name).expect("a name"));
    let servers = vec![name_server(server.address)];
    let config = ResolverConfig::from_parts(None, search.to_vec(), servers);
    let mut options = ResolverOpts::default();
    options.ndots = 5;
    let upstream = Upstream::new(config, options, Duration::from_secs(6)).expect("made");
    let look_up = async |written: &str| {
        let name = Name::from_str_relaxed(written).expect("a name");
        upstream.look_up(written, &name).await
    };
    let found = look_up("collector.dns-obs").await.expect("completed");
    assert_eq!(found, [ip("10.0.0.1")]);
    let absolute = look_up("collector.dns-obs.")
        .await
        .expect_err("taken as it is");
    assert!(
        matches!(absolute, ResolveError::NoSuchName { .. }),
        "{absolute:?}"
    );
    let failed = look_up("broken")
        .await
        .expect_err("not hidden by the names around it");
    assert!(
        matches!(failed, ResolveError::ServerFailure { .. }),
        "{failed:?}"
    );
}
