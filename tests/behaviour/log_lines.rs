//! Tests that every log line can be parsed, and that no library floods the log.

use std::fs;

use nix::sys::signal::Signal;
use tapfan::internals::Mode;

use crate::{
    binary::Tapfan,
    collector::{Behaviour, Collector},
    logfmt::{self, Pairs},
    name_server::{Answer, NameServer},
    router::Folder,
    sender::{Sender, Target},
    traffic::numbered,
    wire::START,
};

fn value<'a>(pairs: &'a Pairs, key: &str) -> Option<&'a str> {
    let pair = pairs.iter().find(|(other, _)| other == key);
    pair.map(|(_, value)| value.as_str())
}

/// Parses every line of a log.
fn lines(log: &str) -> Vec<Pairs> {
    let lines = log.lines().map(|line| {
        let pairs = logfmt::read(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let keys: Vec<_> = pairs.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys[..2], ["time", "level"], "{line}");
        assert!(
            value(&pairs, "msg").is_some_and(|text| !text.is_empty()),
            "{line}"
        );
        pairs
    });
    lines.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_log_line_is_valid_logfmt() {
    let folder = Folder::new();
    fs::create_dir(folder.path("a folder = \"b\"")).expect("made");
    let odd = folder.display("a folder = \"b\"/out.sock");
    let collector = Collector::unix(&odd).listening();
    let refuses = Collector::tcp().listening();
    refuses.behave(Behaviour::Answers(b"HTTP/1.1 400 Bad\r\nx: \"y\"\r\n\r\n"));
    let name = r"siem \ 7 = “blue”";
    let tapfile = |rest: &str| {
        format!(
            "listen in.sock\nadmin off\ndrain 1s\ndnstap \"{}\" full {{\n name \"{}\"\n}}\ndnstap {} {{\n name empty\n}}\n{rest}",
            odd.replace('"', "\\\""),
            name,
            refuses.socket()
        )
    };
    let mut tapfan = Tapfan::run(&folder, &tapfile(""));
    tapfan.wait_for_log("sink is up").await;
    tapfan.wait_for_log("sink cannot be reached").await;
    let target = Target::Unix(folder.path("in.sock"));
    let mut sender = Sender::open(&target, Mode::Bidirectional).await;
    sender.send([numbered(0)]).await;
    target.exchange(&[START, b"\0\0\0\x03bad"].concat()).await;
    target
        .exchange(b"GET / HTTP/1.1\r\nhost: \"x\"\r\n\r\n")
        .await;
    collector.got(1).await;
    fs::write(folder.path("Tapfile"), tapfile("lsten \"a b\"\n")).expect("written");
    tapfan.wait_for_log("reload refused").await;
    sender.stop().await;
    tapfan.signal(Signal::SIGTERM);
    assert_eq!(tapfan.exit().await.code(), Some(0));

    let log = tapfan.log();
    let lines = lines(&log);
    let said = |text: &str| {
        let line = lines.iter().find(|pairs| value(pairs, "msg") == Some(text));
        line.unwrap_or_else(|| panic!("no {text:?} in {log}"))
    };
    let up = said("sink is up");
    assert_eq!(value(up, "sink"), Some(name));
    let endpoints: Vec<_> = lines
        .iter()
        .filter(|pairs| value(pairs, "sink") == Some(name))
        .filter_map(|pairs| value(pairs, "endpoint"))
        .collect();
    assert!(
        endpoints.iter().all(|endpoint| endpoint.contains(&odd)),
        "{endpoints:?}"
    );
    assert!(
        endpoints.windows(2).all(|pair| pair[0] == pair[1]),
        "{endpoints:?}"
    );
    assert_eq!(value(said("tapfan is running"), "sinks"), Some("2"));
    let problem = said("error in the configuration");
    assert!(
        value(problem, "problem").is_some_and(|problem| problem.contains("lsten")),
        "{problem:?}"
    );
    assert!(
        value(problem, "help").is_some_and(|help| help.contains("listen")),
        "{problem:?}"
    );
    assert!(value(problem, "place").is_some_and(|place| place.contains("Tapfile:10:1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_with_wrong_answers_does_not_flood_the_log() {
    const ANSWERS: usize = 2000;
    let folder = Folder::new();
    let server = NameServer::start(&[]).await;
    server.set_answer(Answer::WrongNumber(ANSWERS));
    let tapfile = format!(
        "resolver {{\n nameserver {}\n}}\nlisten in.sock\nadmin off\ndnstap tcp://collector.example.:6000\n",
        server.address
    );
    let mut tapfan = Tapfan::run(&folder, &tapfile);
    server.wait_for_queries(4).await;
    tapfan.wait_for_log("wrong message id").await;
    tapfan.signal(Signal::SIGTERM);
    assert_eq!(tapfan.exit().await.code(), Some(0));
    let log = tapfan.log();
    let lines = lines(&log);
    // Each module of another library may write at most 10 lines in 10 s. Only a few such modules
    // log anything in this test, and tapfan itself writes some lines.
    assert!(lines.len() < 150, "{} lines: {log}", lines.len());
    let foreign = lines
        .iter()
        .find(|pairs| value(pairs, "msg").is_some_and(|text| text.contains("wrong message id")));
    let target = foreign
        .and_then(|pairs| value(pairs, "target"))
        .expect("a target");
    assert!(target.starts_with("hickory_net"), "{target}");
    let held_back: u64 = lines
        .iter()
        .filter(|pairs| value(pairs, "target") == Some(target))
        .filter_map(|pairs| value(pairs, "held_back")?.parse::<u64>().ok())
        .sum();
    assert!(held_back > 100, "{log}");
}
