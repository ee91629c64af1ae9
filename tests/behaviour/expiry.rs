//! Tests of certificates that the router presents to its peers, and that are expired, about to
//! expire, or not valid yet.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, KeyPair};
use tapfan::{
    admin::RouterStatus,
    config::{self, Severity},
};

use crate::{
    binary::Tapfan,
    router::{Folder, Router},
    wait::until,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes a certificate that is valid from `starts` to `expires`, and its key. Both files have the
/// same path except for the extension. Returns that path without the extension.
fn write(folder: &Folder, name: &str, starts: SystemTime, expires: SystemTime) -> PathBuf {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    (params.not_before, params.not_after) = (starts.into(), expires.into());
    let certificate = params.self_signed(&key).expect("signed");
    let path = folder.path(name);
    fs::write(path.with_extension("crt"), certificate.pem()).expect("written");
    fs::write(path.with_extension("key"), key.serialize_pem()).expect("written");
    path
}

/// Writes an expired certificate, one that expires soon, one that is not valid yet, and a good one.
fn write_all(folder: &Folder) -> [PathBuf; 4] {
    let now = SystemTime::now();
    let long_ago = now - 1000 * DAY;
    [
        write(folder, "expired", long_ago, now - 500 * DAY),
        write(folder, "soon", long_ago, now + 5 * DAY + DAY / 2),
        write(folder, "early", now + 9 * DAY + DAY / 2, now + 400 * DAY),
        write(folder, "good", long_ago, now + 400 * DAY),
    ]
}

fn listen(file: &Path) -> String {
    let file = file.display();
    format!("listen tls://127.0.0.1:0 {{\n cert {file}.crt\n key {file}.key\n}}\n")
}

fn tapfile([expired, soon, early, good]: &[PathBuf; 4]) -> String {
    let sink = |name: &str, file: &Path| {
        let file = file.display();
        format!(
            "dnstap tls://127.0.0.1:1 full {{\n name {name}\n skipverify\n cert {file}.crt\n key {file}.key\n}}\n"
        )
    };
    [
        listen(expired),
        sink("soon", soon),
        sink("early", early),
        sink("good", good),
    ]
    .concat()
}

#[test]
fn loading_the_configuration_warns_of_certificates() {
    let folder = Folder::new();
    let files = write_all(&folder);
    let path = folder.path("Tapfile");
    fs::write(&path, tapfile(&files)).expect("written");
    let loaded = config::load(&path, &|_| None);
    assert!(loaded.config.is_some());
    let found: Vec<_> = loaded.diagnostics.iter().collect();
    assert!(found.iter().all(|one| one.severity() == Severity::Warning));
    let found: Vec<_> = found.iter().map(|one| one.message()).collect();
    let [expired, soon, early] = found.as_slice() else {
        panic!("{found:?}")
    };
    let begins = |message: &str, file: &Path, words: &str| {
        let beginning = format!("the certificate in {}.crt {words} 20", file.display());
        assert!(message.starts_with(&beginning), "{message}");
    };
    begins(expired, &files[0], "expired");
    assert!(expired.ends_with(", 1.3 years ago"), "{expired}");
    begins(soon, &files[1], "expires");
    assert!(soon.ends_with(", in 5 days"), "{soon}");
    begins(early, &files[2], "is not valid before");
    assert!(early.ends_with(", in 9 days"), "{early}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_shows_the_validity_of_certificates() {
    let folder = Folder::new();
    let router = Router::start(&tapfile(&write_all(&folder)));
    let status = RouterStatus::of(&router.view());
    let of_listener = &status.listeners[0].certificates[0];
    assert_eq!(of_listener.validity, "expired");
    assert!(of_listener.valid_from < Some(of_listener.expires));
    let of_sinks = status.sinks.iter();
    let of_sinks: Vec<_> = of_sinks
        .map(|sink| &*sink.certificates[0].validity)
        .collect();
    assert_eq!(of_sinks, ["expires_soon", "not_yet_valid", "valid"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_warns_of_certificates_at_the_start_and_at_a_reload() {
    let folder = Folder::new();
    let [expired, soon, _, good] = write_all(&folder);
    let sink = format!(
        "dnstap unix://{} full\nadmin off\n",
        folder.display("nobody")
    );
    let tapfan = Tapfan::run(&folder, &(listen(&good) + &sink));
    tapfan.wait_for_log("tapfan is running").await;
    assert!(
        !tapfan.log().contains("the certificate in"),
        "{}",
        tapfan.log()
    );
    // The first reload uses a certificate that expires soon, the second reload an expired one.
    for (file, said) in [
        (&soon, "soon.crt expires"),
        (&expired, "expired.crt expired"),
    ] {
        fs::write(folder.path("Tapfile"), listen(file) + &sink).expect("written");
        tapfan.signal(nix::sys::signal::Signal::SIGHUP);
        until(said, || tapfan.log().contains(said)).await;
    }
    drop(tapfan);
    let tapfan = Tapfan::run(&folder, &(listen(&expired) + &sink));
    tapfan.wait_for_log("tapfan is running").await;
    assert!(
        tapfan.log().contains("expired.crt expired"),
        "{}",
        tapfan.log()
    );
}
