use std::{
    net::{IpAddr, Ipv4Addr, SocketAddrV6},
    time::Instant,
};

use hickory_resolver::proto::{
    op::ResponseCode,
    rr::{Record, RecordType},
};

use super::{
    test_server::{Habit, Says, Server, Srv, alias, host, service},
    upstream::alternate,
    *,
};

fn resolver(server: &Server) -> Resolver {
    resolver_within(server, Duration::from_secs(6))
}

fn resolver_within(server: &Server, timeout: Duration) -> Resolver {
    let settings = ResolverSettings {
        name_servers: vec![server.address],
        timeout,
        ..ResolverSettings::default()
    };
    Resolver::with_files(settings, Path::new("/nowhere"), Path::new("/nowhere"))
        .expect("a resolver")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn named(name: &str) -> Destination {
    Destination::Host(Authority {
        host: Host::Name(name.into()),
        port: 6000,
    })
}

fn always(ttl: u32, addresses: &[&str]) -> impl Fn(&str, RecordType) -> Says + Send + use<> {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| ip(address)).collect();
    move |_, _| Says::Addresses(ttl, addresses.clone())
}

async fn addresses(resolver: &Resolver, name: &str) -> Vec<String> {
    let found = resolver.resolve(&named(name)).await.expect("addresses");
    let found = found.addresses.in_order().into_iter();
    found.map(|address| address.to_string()).collect()
}

async fn error(server: &Server, name: &str) -> ResolveError {
    let outcome = resolver(server).resolve(&named(name)).await;
    outcome.expect_err("no addresses")
}

#[tokio::test]
async fn both_families_alternate() {
    let server = Server::start(always(
        60,
        &["192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.2"],
    ))
    .await;
    assert_eq!(
        addresses(&resolver(&server), "collector.example.").await,
        ["[2001:db8::1]:6000", "192.0.2.1:6000", "192.0.2.2:6000"]
    );
}

#[tokio::test]
async fn one_family_is_enough() {
    let server = Server::start(always(60, &["192.0.2.1"])).await;
    let resolver = resolver(&server);
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
        addresses(&resolver(&server), "collector.example.").await,
        ["192.0.2.1:6000"]
    );
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn an_answer_has_the_smallest_ttl_and_no_answer_is_cached() {
    let server = Server::start(|name, family| match family {
        RecordType::AAAA => Says::Addresses(30, vec![ip("2001:db8::1")]),
        _ => Says::Records(
            vec![
                alias(name, 7, "real.example."),
                host("real.example.", 60, ip("192.0.2.1")),
            ],
            Vec::new(),
        ),
    })
    .await;
    let resolver = resolver(&server);
    let ttl = async || {
        let answer = resolver.resolve(&named("collector.example.")).await;
        answer.expect("addresses").ttl
    };
    assert_eq!(ttl().await, Duration::from_secs(7), "the TTL of the alias");
    server.now_says(always(40, &["192.0.2.1", "2001:db8::1"]));
    assert_eq!(ttl().await, Duration::from_secs(40));
    server.now_says(always(0, &["192.0.2.1"]));
    assert_eq!(ttl().await, Duration::ZERO);
    assert_eq!(
        server.questions(),
        6,
        "one question for each family, each time"
    );
}

#[tokio::test]
async fn a_failed_family_keeps_its_addresses_and_an_absent_one_does_not() {
    let before = Addresses::of_host(
        "collector.example.",
        vec![SocketAddr::new(ip("2001:db8::1"), 6000)],
        6000,
        Unanswered::default(),
    );
    let server = Server::start(always(60, &["192.0.2.1"])).await;
    let now = async || {
        let answer = resolver(&server)
            .resolve(&named("collector.example."))
            .await;
        let addresses = answer.expect("addresses").addresses.filled_from(&before);
        addresses.iter().count()
    };
    assert_eq!(now().await, 1, "AAAA: no records");
    for failure in [Says::Code(ResponseCode::ServFail), Says::Nothing] {
        server.now_says(move |_, family| match family {
            RecordType::AAAA => failure.clone(),
            _ => Says::Addresses(60, vec![ip("192.0.2.1")]),
        });
        assert_eq!(now().await, 2, "AAAA: no answer");
    }
}

#[tokio::test]
async fn errors_for_names_without_addresses() {
    let server = Server::start(|_, _| Says::Code(ResponseCode::NXDomain)).await;
    let no_name = error(&server, "colector.example").await;
    assert!(matches!(no_name, ResolveError::NoSuchName { .. }));
    insta::assert_snapshot!(no_name, @"colector.example does not exist in DNS or /etc/hosts; check its spelling, and that the Service exists");

    server.now_says(always(60, &[]));
    let nothing = error(&server, "collector.example").await;
    assert!(matches!(nothing, ResolveError::NoAddresses { .. }));
    insta::assert_snapshot!(nothing, @"collector.example has no addresses (no A, no AAAA); if it is a Service, does it have ready pods?");

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
async fn absence_of_one_family_does_not_hide_failure_of_the_other() {
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
async fn silence_ends_at_the_deadline() {
    let server = Server::start(|_, _| Says::Nothing).await;
    let resolver = resolver_within(&server, Duration::from_millis(300));
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
async fn a_port_without_a_name_server_fails_within_the_deadline() {
    let server = Server::start(|_, _| Says::Nothing).await;
    let resolver = resolver_within(&server, Duration::from_millis(300));
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
async fn the_hosts_file_comes_first_and_is_read_again() {
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
async fn the_hosts_file_works_without_resolv_conf() {
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
async fn literal_addresses_need_no_lookup_and_keep_their_zone() {
    let server = Server::start(|_, _| Says::Nothing).await;
    let resolver = resolver(&server);
    let with = |address: &str, zone: Option<&str>| {
        let host = Host::Ip {
            address: ip(address),
            zone: zone.map(Into::into),
        };
        Destination::Host(Authority { host, port: 6000 })
    };
    let four = resolver
        .resolve(&with("192.0.2.1", None))
        .await
        .expect("an address");
    assert_eq!(four.ttl, Duration::MAX);
    assert_eq!(
        four.addresses.in_order(),
        [SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 6000))]
    );
    let indexed = resolver
        .resolve(&with("fe80::1", Some("7")))
        .await
        .expect("an address");
    assert_eq!(
        indexed.addresses.in_order(),
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
fn families_alternate_until_all_lists_are_empty() {
    let list = |addresses: &[&str]| {
        addresses
            .iter()
            .map(|address| ip(address))
            .collect::<Vec<_>>()
    };
    let turns = alternate(vec![
        list(&["::1"]),
        list(&["127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.3"]),
    ]);
    assert_eq!(turns, list(&["::1", "127.0.0.1", "127.0.0.2", "127.0.0.3"]));
    assert!(alternate(vec![Vec::new(), Vec::new()]).is_empty());
}

#[tokio::test]
async fn a_relative_name_is_completed_by_the_search_list() {
    let server = Server::start(|name, _| match name {
        "collector.dns-obs.svc.cluster.local." => Says::Addresses(60, vec![ip("10.0.0.1")]),
        "broken.svc.cluster.local." => Says::Code(ResponseCode::ServFail),
        _ => Says::Code(ResponseCode::NXDomain),
    })
    .await;
    let settings = ResolverSettings {
        name_servers: vec![server.address],
        search: vec![
            "default.svc.cluster.local".into(),
            "svc.cluster.local.".into(),
        ],
        ndots: Some(5),
        ..ResolverSettings::default()
    };
    let nowhere = Path::new("/nowhere");
    let resolver = Resolver::with_files(settings, nowhere, nowhere).expect("made");
    let look_up = async |written: &str| resolver.resolve(&named(written)).await;
    let found = look_up("collector.dns-obs").await.expect("completed");
    assert!(
        found
            .addresses
            .contains(SocketAddr::new(ip("10.0.0.1"), 6000))
    );
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

// === services ===

const SERVICE: &str = "_dnstap._tcp.collector.example.";

fn dnstap() -> Destination {
    Destination::Service(SERVICE.parse().expect("a name of SRV records"))
}

/// Creates a reply with these SRV records, and `along` in the additional section.
fn services(records: &[(u32, Srv<'_>)], along: Vec<Record>) -> Says {
    let records = records.iter();
    let records = records.map(|(ttl, srv)| service(SERVICE, *ttl, *srv));
    Says::Records(records.collect(), along)
}

#[tokio::test]
async fn a_service_leads_to_its_targets_by_priority() {
    let server = Server::start(|name, family| match (name, family) {
        (SERVICE, RecordType::SRV) => services(
            &[
                (60, (20, 0, 6001, "spare.example.")),
                (50, (10, 5, 6000, "One.Example.")),
                (60, (10, 5, 6002, "one.example.")),
            ],
            Vec::new(),
        ),
        ("One.Example." | "one.example.", _) => {
            Says::Addresses(40, vec![ip("192.0.2.1"), ip("2001:db8::1")])
        }
        ("spare.example.", _) => Says::Addresses(30, vec![ip("192.0.2.2")]),
        _ => Says::Code(ResponseCode::NXDomain),
    })
    .await;
    let answer = resolver(&server).resolve(&dnstap()).await.expect("found");
    assert_eq!(
        answer.ttl,
        Duration::from_secs(30),
        "the TTL of the last address"
    );
    let order: Vec<_> = answer.addresses.in_order();
    let shown: Vec<String> = order.iter().map(ToString::to_string).collect();
    let first = ["[2001:db8::1]:6000", "192.0.2.1:6000"];
    let second = ["[2001:db8::1]:6002", "192.0.2.1:6002"];
    assert!(
        shown[..4] == [first, second].concat() || shown[..4] == [second, first].concat(),
        "{shown:?}"
    );
    assert_eq!(shown[4..], ["192.0.2.2:6001"]);
    assert_eq!(
        server.questions(),
        5,
        "one for the records, two for each target"
    );
}

#[tokio::test]
async fn additional_records_save_questions() {
    let server = Server::start(|_, _| {
        services(
            &[
                (30, (0, 50, 6000, "10-0-0-1.collector.example.")),
                (30, (0, 50, 6000, "10-0-0-2.collector.example.")),
            ],
            vec![
                host("10-0-0-1.collector.example.", 20, ip("10.0.0.1")),
                host("10-0-0-2.collector.example.", 10, ip("10.0.0.2")),
                host("other.example.", 1, ip("10.0.0.3")),
            ],
        )
    })
    .await;
    let answer = resolver(&server).resolve(&dnstap()).await.expect("found");
    assert_eq!(answer.ttl, Duration::from_secs(10));
    let mut addresses = answer.addresses.in_order();
    addresses.sort();
    let expected = ["10.0.0.1", "10.0.0.2"].map(|it| SocketAddr::new(ip(it), 6000));
    assert_eq!(addresses, expected);
    assert_eq!(server.questions(), 1);
}

#[tokio::test]
async fn a_failing_target_does_not_remove_the_others() {
    let silent = |name: &str| match name {
        "gone.example." => Says::Code(ResponseCode::NXDomain),
        "silent.example." => Says::Nothing,
        _ => Says::Addresses(60, vec![ip("192.0.2.1")]),
    };
    let server = Server::start(move |name, family| match family {
        RecordType::SRV => services(
            &[
                (60, (1, 0, 6000, "silent.example.")),
                (60, (1, 0, 6000, "gone.example.")),
                (60, (1, 0, 6000, "there.example.")),
            ],
            Vec::new(),
        ),
        _ => silent(name),
    })
    .await;
    let resolver = resolver_within(&server, Duration::from_millis(1500));
    let answer = resolver.resolve(&dnstap()).await.expect("found");
    let there = SocketAddr::new(ip("192.0.2.1"), 6000);
    assert_eq!(answer.addresses.in_order(), [there]);
    // `silent` got no answer, so its address is kept. `gone` does not exist any more, so its address is dropped.
    let before = ["silent.example.", "gone.example."].map(|name| {
        let address = SocketAddr::new(ip("192.0.2.9"), 1);
        Addresses::of_host(name, vec![address], 1, Unanswered::default())
    });
    let [silent, gone] = before.map(|before| answer.addresses.clone().filled_from(&before));
    assert!(silent.contains(SocketAddr::new(ip("192.0.2.9"), 6000)));
    assert!(silent.contains(there));
    assert_eq!(gone.in_order(), [there]);
}

#[tokio::test]
async fn errors_for_services_without_addresses() {
    let server = Server::start(|_, _| services(&[(60, (0, 0, 0, "."))], Vec::new())).await;
    let error = async || {
        let outcome = resolver(&server).resolve(&dnstap()).await;
        outcome.expect_err("no addresses")
    };
    let refused = error().await;
    assert!(matches!(refused, ResolveError::NotOffered { .. }));
    insta::assert_snapshot!(refused, @r#"the domain does not offer the service _dnstap._tcp.collector.example.: the SRV record has the target ".""#);
    server.now_says(|_, _| Says::Records(Vec::new(), Vec::new()));
    let none = error().await;
    assert!(matches!(none, ResolveError::NoService { .. }), "{none:?}");
    insta::assert_snapshot!(none, @"_dnstap._tcp.collector.example. has no SRV records; does the port of the Service have a name?");
    server.now_says(|_, _| Says::Code(ResponseCode::NXDomain));
    let no_name = error().await;
    assert!(
        matches!(no_name, ResolveError::NoSuchName { .. }),
        "{no_name:?}"
    );
    let targets = |name: &str, family| match (name, family) {
        (SERVICE, RecordType::SRV) => services(&[(60, (0, 0, 6000, "a.example."))], Vec::new()),
        _ => Says::Records(Vec::new(), Vec::new()),
    };
    server.now_says(targets);
    let nothing = error().await;
    assert!(
        matches!(nothing, ResolveError::NoAddresses { .. }),
        "{nothing:?}"
    );
    insta::assert_snapshot!(nothing, @"a.example. has no addresses (no A, no AAAA); if it is a Service, does it have ready pods?");
    server.now_says(move |name, family| match family {
        RecordType::SRV => targets(name, family),
        _ => Says::Code(ResponseCode::ServFail),
    });
    let failed = error().await;
    assert!(
        matches!(failed, ResolveError::ServerFailure { .. }),
        "{failed:?}"
    );
    server.now_says(|_, _| Says::Code(ResponseCode::Refused));
    let refused = error().await;
    assert!(
        matches!(refused, ResolveError::ServerFailure { .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn records_with_port_0_or_target_root_are_skipped() {
    let server = Server::start(|_, family| match family {
        RecordType::SRV => services(
            &[
                (60, (0, 0, 0, "a.example.")),
                (60, (0, 0, 6000, ".")),
                (60, (0, 0, 6000, "a.example.")),
            ],
            Vec::new(),
        ),
        _ => Says::Addresses(60, vec![ip("192.0.2.1")]),
    })
    .await;
    let answer = resolver(&server).resolve(&dnstap()).await.expect("found");
    let only = SocketAddr::new(ip("192.0.2.1"), 6000);
    assert_eq!(answer.addresses.iter().collect::<Vec<_>>(), [only]);
}

#[tokio::test]
async fn a_service_may_have_an_alias() {
    const REAL: &str = "_dnstap._tcp.real.example.";
    let records = |with_alias: bool| {
        move |name: &str, family: RecordType| match (name, family) {
            (SERVICE, RecordType::SRV | RecordType::CNAME) => {
                let mut records = vec![alias(SERVICE, 20, REAL)];
                if with_alias && family == RecordType::SRV {
                    records.push(service(REAL, 60, (1, 1, 6000, "a.example.")));
                }
                Says::Records(records, Vec::new())
            }
            (REAL, RecordType::SRV) => {
                let records = vec![service(REAL, 60, (1, 1, 6000, "a.example."))];
                Says::Records(records, Vec::new())
            }
            ("a.example.", _) => Says::Addresses(60, vec![ip("192.0.2.1")]),
            _ => Says::Code(ResponseCode::NXDomain),
        }
    };
    let server = Server::start(records(true)).await;
    for with_alias in [true, false] {
        server.now_says(records(with_alias));
        let answer = resolver(&server).resolve(&dnstap()).await.expect("found");
        let only = SocketAddr::new(ip("192.0.2.1"), 6000);
        assert_eq!(answer.addresses.in_order(), [only]);
        assert_eq!(answer.ttl, Duration::from_secs(20), "the TTL of the alias");
    }
    server.now_says(|name, family| match family {
        RecordType::CNAME => Says::Records(vec![alias(name, 20, name)], Vec::new()),
        _ => Says::Records(Vec::new(), Vec::new()),
    });
    let round = resolver(&server)
        .resolve(&dnstap())
        .await
        .expect_err("nowhere");
    assert!(matches!(round, ResolveError::NoService { .. }), "{round:?}");
}

#[tokio::test]
async fn a_long_answer_comes_over_tcp_and_all_its_targets_are_looked_up() {
    const TARGETS: u8 = 100;
    let server = Server::start(move |name, family| match family {
        RecordType::SRV => {
            let names = (0..TARGETS).map(|n| format!("c{n}.example."));
            let records = names.map(|name| service(SERVICE, 60, (0, 1, 6000, &name)));
            Says::Records(records.collect(), Vec::new())
        }
        RecordType::A => {
            let number = name.trim_start_matches('c').split('.').next();
            let number = number.and_then(|it| it.parse().ok()).expect("a number");
            Says::Addresses(60, vec![IpAddr::from([192, 0, 2, number])])
        }
        _ => Says::Records(Vec::new(), Vec::new()),
    })
    .await;
    let answer = resolver(&server).resolve(&dnstap()).await.expect("found");
    assert_eq!(answer.addresses.in_order().len(), usize::from(TARGETS));
    assert_eq!(server.questions(), 2 + 2 * usize::from(TARGETS));
}

#[tokio::test]
async fn a_name_server_without_edns_is_asked_without_it() {
    for habit in [
        Habit::RefusesEdns(ResponseCode::FormErr),
        Habit::RefusesEdns(ResponseCode::NotImp),
        Habit::RefusesEdnsBare,
        Habit::DropsEdns,
    ] {
        let server = Server::start(always(60, &["192.0.2.1", "2001:db8::1"])).await;
        server.takes_to(habit);
        let resolver = resolver(&server);
        let found = addresses(&resolver, "collector.example.").await;
        assert_eq!(found.len(), 2, "{habit:?}");
        assert!(server.questions_with_edns() > 0);
        // EDNS is not tried again for a while.
        let before = server.questions_with_edns();
        for name in ["a.example.", "b.example."] {
            assert_eq!(addresses(&resolver, name).await.len(), 2, "{habit:?}");
        }
        assert_eq!(server.questions_with_edns(), before, "{habit:?}");
    }
}

#[tokio::test]
async fn a_name_server_that_refuses_every_question_is_not_taken_for_one_without_edns() {
    let server = Server::start(|_, _| Says::Code(ResponseCode::FormErr)).await;
    let resolver = resolver(&server);
    let asked = resolver.resolve(&named("collector.example.")).await;
    let error = asked.expect_err("no addresses");
    assert!(
        matches!(error, ResolveError::ServerFailure { .. }),
        "{error}"
    );
    // The server is not remembered as a server without EDNS.
    server.now_says(always(60, &["192.0.2.1"]));
    let before = server.questions_with_edns();
    addresses(&resolver, "collector.example.").await;
    assert_eq!(server.questions_with_edns(), before + 2);
}

#[tokio::test]
async fn an_udp_answer_longer_than_announced_is_repeated_over_tcp() {
    let many: Vec<IpAddr> = (0..200)
        .map(|n| Ipv4Addr::new(192, 0, 2, n).into())
        .collect();
    let wanted = many.len();
    let server = Server::start(move |_, _| Says::Addresses(60, many.clone())).await;
    server.takes_to(Habit::SendsLongAnswers);
    let found = addresses(&resolver(&server), "collector.example.").await;
    assert_eq!(found.len(), wanted);
}
