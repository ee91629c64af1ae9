//! Tests that `tapfan run` reloads its configuration on SIGHUP and when it notices a changed file.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use nix::sys::signal::Signal;
use tapfan::internals::Mode;
use tokio::time::sleep;

use crate::{
    binary::Tapfan,
    certificates::Certificates,
    collector::{Collector, Ended},
    reload::{Form, steady},
    router::Folder,
    sender::{Load, Sender, Target},
    traffic::{numbered, numbers_of},
    wait::until,
};

const CHANGED: &str = "reloaded the configuration";
const REFUSED: &str = "reload refused";
const SAME: &str = "reload changed nothing";

impl Tapfan {
    async fn wait_for_log_times(&self, text: &str, times: usize) {
        until(
            format_args!("the log contains {text:?} {times} times"),
            || self.log().matches(text).count() >= times,
        )
        .await;
    }

    fn reload_results(&self) -> [usize; 3] {
        [CHANGED, REFUSED, SAME].map(|text| self.log().matches(text).count())
    }
}

/// Replaces a file by rename, as editors and deployment tools do.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(new, path).expect("renamed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reloads_and_a_drain_after_it_loses_nothing() {
    let folder = Folder::new();
    let collectors = [
        Collector::unix(folder.path("one.sock")).listening(),
        Collector::tcp().listening(),
    ];
    let tapfile = |sinks: &str| format!("listen in.sock\n{sinks}");
    let one = format!("dnstap {} full 1 8\n", collectors[0].socket());
    let both = format!("{one}dnstap {} full 1 8\n", collectors[1].socket());
    // The router does not watch the target of a symbolic link that leads into another folder. So
    // only SIGHUP applies a change of that target.
    let elsewhere = Folder::new();
    symlink(elsewhere.path("Tapfile"), folder.path("link")).expect("linked");
    let mut tapfan = Tapfan::run(&folder, "import link\n");
    assert_eq!(
        tapfan.exit().await.code(),
        Some(2),
        "there is no such file yet"
    );
    fs::write(elsewhere.path("Tapfile"), tapfile(&one)).expect("written");
    let mut tapfan = Tapfan::run(&folder, "import link\n");
    tapfan.wait_for_log("tapfan is running").await;
    let load = Load::start(&Target::Unix(folder.path("in.sock")), steady(10_000, 0)).await;
    collectors[0].got(1000).await;
    tapfan.signal(Signal::SIGHUP);
    tapfan.wait_for_log(SAME).await;
    fs::write(elsewhere.path("Tapfile"), tapfile(&both)).expect("written");
    tapfan.signal(Signal::SIGHUP);
    tapfan.wait_for_log(CHANGED).await;
    collectors[1].got(1000).await;
    tapfan.signal(Signal::SIGTERM);
    tapfan.wait_for_log("draining").await;
    for _ in 0..3 {
        tapfan.signal(Signal::SIGHUP);
    }
    let sent = load.ended().await;
    assert_eq!(tapfan.exit().await.code(), Some(0));
    assert!(numbers_of(&collectors[0].frames()).into_iter().eq(0..sent));
    let added = numbers_of(&collectors[1].frames());
    assert!(
        added.iter().copied().eq(added[0]..sent),
        "not every frame since its start"
    );
    for collector in &collectors {
        assert_eq!(collector.ended().await, Ended::Stopped);
        collector.inspect(|connections| assert_eq!(connections.len(), 1));
    }
    assert_eq!(tapfan.reload_results(), [1, 0, 1], "{}", tapfan.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_frames_that_a_sink_with_a_new_name_loses_are_a_warning() {
    let folder = Folder::new();
    let tapfile =
        |name: &str| format!("listen in.sock\ndrain 1s\ndnstap out.sock full {{\n name {name}\n}}");
    let tapfan = Tapfan::run(&folder, &tapfile("old"));
    tapfan.wait_for_log("tapfan is running").await;
    let mut sender = Sender::open(&Target::Unix(folder.path("in.sock")), Mode::Bidirectional).await;
    sender.send((0..5).map(numbered)).await;
    sender.stop().await;
    replace(&folder.path("Tapfile"), &tapfile("new"));
    tapfan
        .wait_for_log("a removed sink has stopped; frames were lost")
        .await;
    let log = tapfan.log();
    let mut lines = log.lines();
    let line = lines
        .find(|line| line.contains("a removed sink has stopped"))
        .expect("the line");
    assert!(line.contains("WARN") && line.contains("lost=5"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_noticed_and_a_bad_one_changes_nothing() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out.sock")).listening();
    let tapfile = |identity: &str| {
        format!(
            "listen in.sock\nimport conf.d/*.conf\ndnstap out.sock full {{\n name a\n identity {identity}\n }}\n"
        )
    };
    let file = folder.path("Tapfile");
    fs::create_dir(folder.path("conf.d")).expect("made");
    let mut tapfan = Tapfan::run(&folder, &tapfile("one"));
    tapfan.wait_for_log("sink is up").await;
    replace(&file, &tapfile("two"));
    tapfan.wait_for_log_times(CHANGED, 1).await;
    tapfan.wait_for_log_times("sink is up", 2).await;

    // Writes the same content again, by rename and in place. Neither may cause a log line.
    replace(&file, &tapfile("two"));
    fs::write(&file, tapfile("two")).expect("written");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(tapfan.reload_results(), [1, 0, 0], "{}", tapfan.log());

    // Every error is logged.
    replace(
        &file,
        "listen in.sock\ndnsatp out.sock\ndnstap out.sock fulll\n",
    );
    tapfan.wait_for_log_times(REFUSED, 1).await;
    let log = tapfan.log();
    assert!(log.contains("dnsatp") && log.contains("fulll"), "{log}");

    // The router also refuses a configuration that can be parsed but not applied. After SIGHUP, it
    // tries the same configuration again.
    let socket = std::os::unix::net::UnixListener::bind(folder.path("taken")).expect("bound");
    replace(&file, &format!("listen taken\n{}", tapfile("three")));
    tapfan.wait_for_log_times(REFUSED, 2).await;
    assert!(tapfan.log().contains("listen taken: "), "{}", tapfan.log());
    drop(socket);
    tapfan.signal(Signal::SIGHUP);
    tapfan.wait_for_log_times(CHANGED, 2).await;

    // The router also watches imported files. It notices a new file that matches the import.
    fs::write(folder.path("conf.d/more.conf"), "listen more\n").expect("written");
    tapfan.wait_for_log_times(CHANGED, 3).await;
    let target = Target::Unix(folder.path("more"));
    let mut sender = Sender::open(&target, Mode::Bidirectional).await;
    sender.send([numbered(0)]).await;
    sender.stop().await;
    collector.got(1).await;
    assert_eq!(Form::of(&collector.frames()[0]), Form::new("three", true));
    tapfan.signal(Signal::SIGTERM);
    assert_eq!(tapfan.exit().await.code(), Some(0));
    assert_eq!(tapfan.reload_results(), [3, 2, 0], "{}", tapfan.log());
}

/// Creates or updates a volume as a kubelet does: each file is a link into the folder `..data`.
/// `..data` is itself a link, and an update replaces it.
fn project(volume: &Path, version: &str, files: &[(&str, String)]) {
    let folder = format!("..{version}");
    fs::create_dir(volume.join(&folder)).expect("made");
    for (name, text) in files {
        fs::write(volume.join(&folder).join(name), text).expect("written");
        if !volume.join(name).is_symlink() {
            symlink(format!("..data/{name}"), volume.join(name)).expect("linked");
        }
    }
    let old = fs::read_link(volume.join("..data")).ok();
    symlink(&folder, volume.join("..data_tmp")).expect("linked");
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).expect("renamed");
    if let Some(old) = old {
        fs::remove_dir_all(volume.join(old)).expect("removed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_of_kubernetes_volumes_are_noticed() {
    let folder = Folder::new();
    let (old, new) = (Certificates::new(), Certificates::new());
    let collector = Collector::unix(folder.path("out.sock")).listening();
    let (config, secret) = (folder.path("config"), folder.path("secret"));
    for volume in [&config, &secret] {
        fs::create_dir(volume).expect("made");
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("bound");
    drop(port);
    let tapfile = |identity: &str| {
        [(
            "Tapfile",
            format!(
                "listen tls://{address} {{\n cert ../secret/tls.crt\n key ../secret/tls.key\n }}\ndnstap ../out.sock full {{\n name a\n identity {identity}\n }}\n"
            ).replace("../", &folder.display("")),
        )]
    };
    let pair = |certificates: &Certificates| {
        let text = |name: &str| fs::read_to_string(certificates.path(name)).expect("text");
        [
            ("tls.crt", text("server.crt")),
            ("tls.key", text("server.key")),
        ]
    };
    project(&config, "1", &tapfile("one"));
    project(&secret, "1", &pair(&old));
    let mut tapfan = Tapfan::run(
        &folder,
        &format!("import {}\n", config.join("Tapfile").display()),
    );
    tapfan.wait_for_log("sink is up").await;
    let target = |certificates: &Certificates| Target::Tls(address, certificates.sender(false));
    let mut lives = Sender::open(&target(&old), Mode::Bidirectional).await;

    project(&secret, "2", &pair(&new));
    tapfan.wait_for_log_times(CHANGED, 1).await;
    let mut sender = Sender::open(&target(&new), Mode::Bidirectional).await;
    sender.send([numbered(0)]).await;
    sender.stop().await;
    target(&old).dial().await.expect_err("another certificate");

    project(&config, "2", &tapfile("two"));
    tapfan.wait_for_log_times(CHANGED, 2).await;
    tapfan.wait_for_log_times("sink is up", 2).await;
    lives.send([numbered(1)]).await;
    collector.got(2).await;
    lives.stop().await;

    // The files of the Secret are missing for a while.
    for name in ["tls.crt", "tls.key"] {
        fs::remove_file(secret.join(name)).expect("removed");
    }
    tapfan.wait_for_log_times(REFUSED, 1).await;
    Sender::open(&target(&new), Mode::Bidirectional)
        .await
        .stop()
        .await;
    project(&secret, "3", &pair(&old));
    tapfan.wait_for_log_times(CHANGED, 3).await;
    Sender::open(&target(&old), Mode::Bidirectional)
        .await
        .stop()
        .await;
    tapfan.signal(Signal::SIGTERM);
    assert_eq!(tapfan.exit().await.code(), Some(0));
    let forms: Vec<_> = collector
        .frames()
        .iter()
        .map(|frame| Form::of(frame))
        .collect();
    assert_eq!(forms, [Form::new("one", true), Form::new("two", true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_to_the_admin_endpoint_alone_is_applied() {
    let folder = Folder::new();
    let tapfile =
        |more: &str| format!("admin 127.0.0.1:0 {{\n{more}\n}}\nlisten in.sock\ndnstap out.sock\n");
    let tapfan = Tapfan::run(&folder, &tapfile(""));
    tapfan.wait_for_log("tapfan is running").await;
    replace(&folder.path("Tapfile"), &tapfile("host edge-1.example.net"));
    tapfan.wait_for_log("changes=\"admin endpoint\"").await;
    assert_eq!(tapfan.reload_results(), [1, 0, 0]);
    let ready = format!("{}ready_when all\n", tapfile("host edge-1.example.net"));
    replace(&folder.path("Tapfile"), &ready);
    tapfan.wait_for_log_times(CHANGED, 2).await;
    tapfan.signal(Signal::SIGHUP);
    tapfan.wait_for_log(SAME).await;
    assert_eq!(tapfan.reload_results(), [2, 0, 1]);
}
