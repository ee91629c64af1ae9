use std::{net::SocketAddrV6, str::FromStr};

use proptest::prelude::*;

use super::*;
use AddressError as E;

fn path(path: &str) -> UnixAddress {
    UnixAddress::Path(path.into())
}

fn abstract_name(name: &str) -> UnixAddress {
    UnixAddress::Abstract(name.into())
}

fn authority(host: &str, port: u16) -> Authority {
    Authority {
        host: host.parse().expect("a host"),
        port,
    }
}

fn srv(name: &str) -> SrvName {
    name.parse().expect("a name of SRV records")
}

fn kafka(brokers: &[(&str, u16)], topic: &str, is_tls: bool) -> Endpoint {
    let brokers = brokers.iter();
    Endpoint::Kafka(KafkaAddress {
        brokers: brokers.map(|(host, port)| authority(host, *port)).collect(),
        topic: topic.parse().expect("a topic"),
        is_tls,
    })
}

fn owned(text: &str) -> String {
    text.to_owned()
}

#[test]
fn every_form_of_a_socket_is_read() {
    for (text, meaning) in [
        ("/p", Endpoint::Unix(path("/p"))),
        ("d.sock", Endpoint::Unix(path("d.sock"))),
        ("./a:1", Endpoint::Unix(path("./a:1"))),
        ("/a b", Endpoint::Unix(path("/a b"))),
        ("/a://b", Endpoint::Unix(path("/a://b"))),
        ("unix:///p", Endpoint::Unix(path("/p"))),
        ("unix://d.sock", Endpoint::Unix(path("d.sock"))),
        ("@name", Endpoint::Unix(abstract_name("name"))),
        ("@name:1", Endpoint::Unix(abstract_name("name:1"))),
        ("unix://@name", Endpoint::Unix(abstract_name("name"))),
        ("tcp://host:1", Endpoint::Tcp(authority("host", 1))),
        ("tcp://host:06000", Endpoint::Tcp(authority("host", 6000))),
        ("tcp://host:1/", Endpoint::Tcp(authority("host", 1))),
        (
            "tcp://c.ns.svc.cluster.local.:6000",
            Endpoint::Tcp(authority("c.ns.svc.cluster.local.", 6000)),
        ),
        (
            "tcp://192.0.2.1:1",
            Endpoint::Tcp(authority("192.0.2.1", 1)),
        ),
        ("tcp://[::1]:65535", Endpoint::Tcp(authority("::1", 65535))),
        (
            "tcp://[fe80::1%25eth0]:1",
            Endpoint::Tcp(authority("[fe80::1%25eth0]", 1)),
        ),
        (
            "tcp://[fe80::1%eth0]:1",
            Endpoint::Tcp(authority("[fe80::1%25eth0]", 1)),
        ),
        ("tls://host:1", Endpoint::Tls(authority("host", 1))),
        ("tls://[::1]:1", Endpoint::Tls(authority("::1", 1))),
        (
            "tcp+srv://_dnstap._tcp.c.example.",
            Endpoint::TcpSrv(srv("_dnstap._tcp.c.example.")),
        ),
        (
            "tls+srv://_dnstap._tcp.c.example/",
            Endpoint::TlsSrv(srv("_dnstap._tcp.c.example")),
        ),
    ] {
        assert_eq!(text.parse(), Ok(meaning), "{text}");
    }
}

#[test]
fn brokers_and_a_topic_are_read() {
    for (text, meaning) in [
        ("kafka://b/t", kafka(&[("b", 9092)], "t", false)),
        (
            "kafka+tls://b1.example.:9093,b2.example/dns.taps_1-x",
            kafka(
                &[("b1.example.", 9093), ("b2.example", 9092)],
                "dns.taps_1-x",
                true,
            ),
        ),
        (
            "kafka://[::1],192.0.2.1:1,[fe80::1%25eth0]:2/t",
            kafka(
                &[("::1", 9092), ("192.0.2.1", 1), ("[fe80::1%25eth0]", 2)],
                "t",
                false,
            ),
        ),
    ] {
        assert_eq!(text.parse(), Ok(meaning.clone()), "{text}");
        assert_eq!(meaning.to_string().parse(), Ok(meaning), "{text}");
    }
    let long = "a".repeat(249);
    assert!(format!("kafka://b/{long}").parse::<Endpoint>().is_ok());
    let named = |text: &str| text.parse::<Endpoint>().expect(text).is_named();
    assert!(named("kafka://192.0.2.1,b/t"));
    assert!(!named("kafka://192.0.2.1,[::1]/t"));
}

#[test]
fn every_mistake_in_brokers_or_topic_has_its_error() {
    use KafkaAddressError as K;

    let brackets = |right: &str| E::UnbracketedIpv6 {
        right: Some(owned(right)),
    };
    let character = |topic: &str, found| K::TopicCharacter {
        topic: owned(topic),
        found,
    };
    for (text, why) in [
        ("kafka://b", K::MissingTopic.into()),
        ("kafka://b:9092/", K::MissingTopic.into()),
        ("kafka:///t", K::EmptyBroker.into()),
        ("kafka://b1,,b2/t", K::EmptyBroker.into()),
        ("kafka://b1,/t", K::EmptyBroker.into()),
        ("kafka://b1,", K::EmptyBroker.into()),
        ("kafka://u:p@b/t", K::UserInfo.into()),
        ("kafka://b/a b", character("a b", ' ').into()),
        ("kafka://b/t/", character("t/", '/').into()),
        ("kafka://b/t?acks=1", character("t?acks=1", '?').into()),
        ("kafka://b/ü", character("ü", 'ü').into()),
        ("kafka://b/.", K::DotTopic(owned(".")).into()),
        ("kafka://b/..", K::DotTopic(owned("..")).into()),
        (
            &format!("kafka://b/{}", "a".repeat(250)),
            K::LongTopic(250).into(),
        ),
        ("kafka://b:/t", K::MissingPort.into()),
        ("kafka://b1,kafka://b2", K::RepeatedScheme.into()),
        ("kafka://b1,kafka://b2/t", K::RepeatedScheme.into()),
        ("kafka+tls://b1:9093,tcp://b2/t", K::RepeatedScheme.into()),
        ("kafka://b:0/t", E::PortZero),
        ("kafka://b1,b2:x/t", E::PortNotNumber(owned("x"))),
        ("kafka://b1 ,b2/t", E::Space),
        ("kafka://b?x/t", E::AfterPort(owned("?x"))),
        ("kafka://300.1.1.1/t", E::NotIpv4(owned("300.1.1.1"))),
        ("kafka://2001:db8::/t", E::UnbracketedIpv6 { right: None }),
        ("kafka://b,::1:9092/t", E::UnbracketedIpv6 { right: None }),
        ("kafka://::1:9092/t", brackets("kafka://[::1]:9092/t")),
        (
            "Kafka://b/t",
            E::SchemeCase {
                written: owned("Kafka"),
                right: owned("kafka://b/t"),
            },
        ),
        (
            "kafka+tls:b/t",
            E::MissingSlashes {
                scheme: owned("kafka+tls"),
                right: owned("kafka+tls://b/t"),
            },
        ),
        ("kafkas://b/t", E::UnknownScheme(owned("kafkas"))),
    ] {
        assert_eq!(text.parse::<Endpoint>(), Err(why), "{text}");
    }
    assert_eq!("kafka://b/t".parse::<BindAddress>(), Err(E::BindKafka));
}

#[test]
fn every_mistake_has_its_error() {
    let case = |written: &str, right: &str| E::SchemeCase {
        written: owned(written),
        right: owned(right),
    };
    let scheme = |scheme: &str| E::UnknownScheme(owned(scheme));
    let slashes = |scheme: &str, right: &str| E::MissingSlashes {
        scheme: owned(scheme),
        right: owned(right),
    };
    let bare = |authority: &str| E::MissingScheme {
        right: Some(format!("tcp://{authority}")),
        authority: owned(authority),
    };
    let brackets = |right: &str| E::UnbracketedIpv6 {
        right: Some(owned(right)),
    };
    let long = |what, length| E::PathTooLong { what, length };
    for (text, why) in [
        ("", E::Empty),
        (" ", E::Empty),
        (" tcp://h:1", E::Padded(owned("tcp://h:1"))),
        ("/a\nb", E::Control('\n')),
        ("TCP://h:1", case("TCP", "tcp://h:1")),
        ("Unix:///p", case("Unix", "unix:///p")),
        ("udp://h:1", scheme("udp")),
        ("http://h:1", scheme("http")),
        ("tcp+tls://h:1", scheme("tcp+tls")),
        ("tcp:h:1", slashes("tcp", "tcp://h:1")),
        ("TLS:h:1", slashes("TLS", "tls://h:1")),
        ("tcp:/h:1", slashes("tcp", "tcp://h:1")),
        ("unix:/p", slashes("unix", "unix:///p")),
        ("h:6000", bare("h:6000")),
        ("127.0.0.1:6000", bare("127.0.0.1:6000")),
        ("[::1]:6000", bare("[::1]:6000")),
        ("tcp://h", E::MissingPort),
        ("tcp://h:", E::MissingPort),
        ("tcp://[::1]", E::MissingPort),
        ("tcp://[::1]:", E::MissingPort),
        ("tcp://h:0", E::PortZero),
        ("tcp://h:65536", E::PortTooLarge(owned("65536"))),
        (
            "tcp://h:99999999999999999999",
            E::PortTooLarge(owned("99999999999999999999")),
        ),
        ("tcp://h:dnstap", E::PortNotNumber(owned("dnstap"))),
        ("tcp://h:+1", E::PortNotNumber(owned("+1"))),
        ("tcp://", E::MissingHost),
        ("tcp://:1", E::MissingHost),
        ("tcp:///h:1", E::MissingHost),
        ("tcp://h:1/p", E::AfterPort(owned("/p"))),
        ("tcp://h:1?q", E::AfterPort(owned("?q"))),
        ("tcp://h :1", E::Space),
        ("tcp://user@h:1", E::UserInfo),
        ("tcp://::1:6000", brackets("tcp://[::1]:6000")),
        ("tls://fe80::1%eth0:1", brackets("tls://[fe80::1%eth0]:1")),
        ("tcp://2001:db8::", E::UnbracketedIpv6 { right: None }),
        ("tcp://h:1:2", E::ManyColons),
        ("tcp://[::1:1", E::UnclosedBracket),
        ("tcp://[::1]1", E::AfterBracket(owned("1"))),
        ("tcp://[h]:1", E::NotIpv6(owned("h"))),
        ("tcp://[fe80::1%25]:1", E::EmptyZone),
        ("tcp://[fe80::1%a%b]:1", E::BadZone(owned("a%b"))),
        ("tcp://1.2.3.256:1", E::NotIpv4(owned("1.2.3.256"))),
        (
            "TLS+SRV://_d._tcp.h",
            case("TLS+SRV", "tls+srv://_d._tcp.h"),
        ),
        (
            "tcp+srv:_d._tcp.h",
            slashes("tcp+srv", "tcp+srv://_d._tcp.h"),
        ),
        ("tcp+srv://", E::MissingHost),
        ("tcp+srv://h", E::NotSrvName(owned("h"))),
        ("tcp+srv://h:1", E::NotSrvName(owned("h"))),
        ("tcp+srv://192.0.2.1", E::NotSrvName(owned("192.0.2.1"))),
        ("tcp+srv://[::1]:1", E::NotSrvName(owned("[::1]:1"))),
        ("tcp+srv://_d._tcp.h/p", E::AfterPort(owned("/p"))),
        (
            "tls+srv://_d._tcp.h.:6000",
            E::SrvPort {
                port: owned("6000"),
                right: owned("tls+srv://_d._tcp.h."),
            },
        ),
        ("unix://", E::EmptyPath),
        ("@", E::EmptyAbstract),
        ("unix://@", E::EmptyAbstract),
        ("/run/tapfan/", E::Directory(owned("/run/tapfan/"))),
        (&"a".repeat(108), long("path of the unix socket", 108)),
        (&format!("@{}", "a".repeat(108)), long("abstract name", 108)),
    ] {
        assert_eq!(text.parse::<Endpoint>(), Err(why), "{text}");
    }
}

#[test]
fn the_longest_paths_are_accepted() {
    for text in ["a".repeat(107), format!("@{}", "a".repeat(107))] {
        assert!(text.parse::<Endpoint>().is_ok(), "{text}");
    }
}

#[test]
fn listeners_bind_addresses_but_no_names() {
    let right = |right: &str| Some(owned(right));
    for (text, result) in [
        ("/p", Ok(BindAddress::Unix(path("/p")))),
        ("unix://@n", Ok(BindAddress::Unix(abstract_name("n")))),
        (
            "tcp://127.0.0.1:0",
            Ok(BindAddress::Tcp(([127, 0, 0, 1], 0).into())),
        ),
        (
            "tls://[::]:6443",
            Ok(BindAddress::Tls(([0_u16; 8], 6443).into())),
        ),
        (
            "tcp://[fe80::1%252]:1",
            Ok(BindAddress::Tcp(
                SocketAddrV6::new("fe80::1".parse().expect("an address"), 1, 0, 2).into(),
            )),
        ),
        ("tcp://[fe80::1%eth0]:1", Err(E::BindZone(owned("eth0")))),
        (
            "tcp://localhost:1",
            Err(E::BindName {
                host: owned("localhost"),
                right: right("tcp://127.0.0.1:1"),
            }),
        ),
        (
            "tls://dns.example:1",
            Err(E::BindName {
                host: owned("dns.example"),
                right: None,
            }),
        ),
        (
            "tcp://:6000",
            Err(E::BindAnywhere(owned("tcp://0.0.0.0:6000"))),
        ),
        ("tcp://0.0.0.0", Err(E::MissingPort)),
        (
            "tls+srv://_dnstap._tcp.c.example",
            Err(E::BindSrv("tls+srv")),
        ),
    ] {
        assert_eq!(text.parse(), result, "{text}");
    }
}

#[test]
fn the_admin_address_has_no_scheme() {
    assert_eq!(
        socket_address("[::1]:9180"),
        Ok(([0, 0, 0, 0, 0, 0, 0, 1], 9180).into())
    );
    for (text, right) in [
        ("http://127.0.0.1:9180/", Some("127.0.0.1:9180")),
        (":9180", Some("0.0.0.0:9180")),
        ("localhost:9180", Some("127.0.0.1:9180")),
        ("admin.example:9180", None),
        ("9180", None),
        ("", None),
    ] {
        let error = socket_address(text).expect_err(text);
        assert_eq!(error.instead(), right, "{text}");
    }
}

#[test]
fn a_name_server_is_an_address_with_an_optional_port() {
    for (text, address) in [
        ("192.0.2.1", "192.0.2.1:53"),
        ("192.0.2.1:5353", "192.0.2.1:5353"),
        ("2001:db8::1", "[2001:db8::1]:53"),
        ("[2001:db8::1]", "[2001:db8::1]:53"),
        ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
    ] {
        assert_eq!(name_server_address(text), Ok(address.parse().expect(text)));
    }
    for (text, why) in [
        ("", E::Empty),
        ("dns.example:53", E::NameServerName(owned("dns.example"))),
        ("dns.example", E::NameServerName(owned("dns.example"))),
        ("300.1.1.1", E::NotIpv4(owned("300.1.1.1"))),
        ("192.0.2.1:0", E::PortZero),
        ("192.0.2.1:dns", E::PortNotNumber(owned("dns"))),
        ("[fe80::1%eth0]", E::NameServerZone(owned("eth0"))),
        (
            "udp://192.0.2.1",
            E::UnwantedScheme {
                scheme: owned("udp"),
                right: owned("192.0.2.1"),
            },
        ),
    ] {
        assert_eq!(name_server_address(text), Err(why), "{text}");
    }
}

/// Checks that every address that an error proposes is valid.
fn proposals_are_sound<T: FromStr<Err = E>>(text: &str) -> Option<String> {
    let error = text.parse::<T>().err()?;
    if let E::MissingScheme { authority, right } = &error {
        if let Some(right) = right {
            let tls = right.replacen("tcp://", "tls://", 1);
            assert!(right.parse::<T>().is_ok(), "{text}: {right}");
            assert!(tls.parse::<T>().is_ok(), "{text}: {tls}");
        }
        let path = format!("./{authority}");
        assert!(path.len() > UNIX_PATH_LIMIT || path.parse::<T>().is_ok());
    }
    if let E::BindStar { all, .. } = &error {
        assert!(all.parse::<T>().is_ok(), "{text}: {all}");
    }
    let right = error.instead()?;
    assert!(right.parse::<T>().is_ok(), "{text}: {right}");
    Some(right.to_owned())
}

#[test]
fn proposals_are_valid() {
    for (text, right) in [
        (" tcp://h:1", "tcp://h:1"),
        ("TCP://h:1", "tcp://h:1"),
        (" TCP://::1:6000", "tcp://[::1]:6000"),
        ("tcp:h:1", "tcp://h:1"),
        ("tls:/h:1", "tls://h:1"),
        ("unix:/p", "unix:///p"),
        ("tcp://::1:6000", "tcp://[::1]:6000"),
        ("tcp+srv://_d._tcp.h:6000", "tcp+srv://_d._tcp.h"),
    ] {
        assert_eq!(
            proposals_are_sound::<Endpoint>(text).as_deref(),
            Some(right)
        );
    }
    for (text, right) in [
        ("tcp://*:6000", "tcp://0.0.0.0:6000"),
        ("TCP://*:6000", "tcp://0.0.0.0:6000"),
        (" tcp:localhost:1", "tcp://127.0.0.1:1"),
        ("tls://:6443", "tls://0.0.0.0:6443"),
    ] {
        assert_eq!(
            proposals_are_sound::<BindAddress>(text).as_deref(),
            Some(right)
        );
    }
    for text in [
        ":6000",
        "*:6000",
        "localhost:6000",
        "h:1",
        "TCP://h",
        "TCP://:1",
        "a:0 ",
    ] {
        proposals_are_sound::<Endpoint>(text);
        proposals_are_sound::<BindAddress>(text);
    }
    let advice = |text: &str| text.parse::<BindAddress>().expect_err(text).advice();
    insta::assert_snapshot!(advice(":6000"), @"write `tcp://0.0.0.0:6000` or `tls://0.0.0.0:6000`; for a unix socket of this name, write `./:6000`");
    insta::assert_snapshot!(advice("*:6000"), @"write `tcp://0.0.0.0:6000` or `tls://0.0.0.0:6000`; for a unix socket of this name, write `./*:6000`");
    insta::assert_snapshot!(advice("tls://*:6000"), @"write `tls://0.0.0.0:6000` for every IPv4 address of this machine, or `tls://[::]:6000` for every address");
    insta::assert_snapshot!(advice("h:6000"), @"write the scheme, the host, a colon and the port, as in `tcp://192.0.2.1:6000`; for a unix socket of this name, write `./h:6000`");
    assert_eq!(
        socket_address("*:9180").expect_err("a star").instead(),
        Some("0.0.0.0:9180")
    );
    assert_eq!(
        socket_address("http://:9180").expect_err("two").instead(),
        Some("0.0.0.0:9180")
    );
    // A correction removes only one of the 100,000 schemes. The number of corrections is limited, so this ends quickly.
    let deep = "a://".repeat(100_000);
    socket_address(&deep).expect_err("no address");
    name_server_address(&deep).expect_err("no address");
}

proptest! {
    #[test]
    fn display_and_parse_are_inverse_and_proposals_are_valid(
        text in r"(unix://|tcp://|tls://|kafka://|kafka\+tls://b,|TCP:|tls:|http://| tcp://|tcp://\*:|:|tcp\+srv://_d\._tcp\.|@|/)?[a-z0-9\[\]:.%@/ ,-]{0,24}"
    ) {
        if let Ok(endpoint) = text.parse::<Endpoint>() {
            prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
        }
        proposals_are_sound::<Endpoint>(&text);
        proposals_are_sound::<BindAddress>(&text);
        for read in [socket_address, name_server_address] {
            if let Err(error) = read(&text)
                && let Some(right) = error.instead()
            {
                prop_assert!(read(right).is_ok(), "{}", right);
            }
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        if let Err(error) = text.parse::<Endpoint>() {
            prop_assert!(!error.to_string().is_empty() && !error.advice().is_empty());
        }
        let _ = text.parse::<BindAddress>();
        let _ = socket_address(&text);
    }
}
