//! A collector goes and comes back, the router goes and comes back, and the page says so.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::json;
use tapfan::frame_stream::Mode;
use tokio::time::sleep;

use crate::{
    chromium::Chromium,
    collector::Collector,
    contrast::faint_texts,
    sender::{Load, Manner, Target, Told},
    tapfan::Tapfan,
    traffic::numbered,
    wait::until,
};

const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

/// Selects in the row of the sink `analytics`.
macro_rules! analytics {
    ($within:literal) => {
        concat!("[data-sink=analytics] ", $within)
    };
}

async fn load(folder: &Path) -> Load {
    let manner = Manner {
        mode: Mode::Bidirectional,
        told: Told::Stops,
        rate: 2_000,
        frame: numbered,
        first: 0,
    };
    Load::start(&Target::Unix(folder.join("in.sock")), manner).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: .ci/run runs it"]
async fn an_outage_is_seen_from_its_beginning_to_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = Collector::unix(folder.path().join("archive.sock"))
        .thrifty()
        .listening();
    let mut analytics = Collector::tcp().thrifty().listening();
    let siem = Collector::tcp().thrifty().listening();
    let tapfile = format!(
        "listen in.sock\nlisten tcp://127.0.0.1:0\ndrain 2s\ndnstap archive.sock full {{\nname archive\n}}\n\
         dnstap {} full {{\nname analytics\n}}\ndnstap {} {{\nname siem\nidentity edge-1\n}}\n",
        analytics.socket(),
        siem.socket()
    );
    let mut tapfan = Tapfan::new(folder.path(), &tapfile);
    tapfan.start().await;
    let sending = load(folder.path()).await;
    let browser = Chromium::start();
    browser.be(1_200, 1.0, "light");
    browser.open(&tapfan.page());

    let all_is_well = |title: &str| title == "Every collector is getting its taps";
    browser.until("all is well", "h1", all_is_well).await;
    assert_eq!(browser.text(analytics!(".badge strong")), "Up");
    assert_eq!(browser.text("title"), "");
    assert_eq!(browser.run("return document.title"), "tapfan");
    let flows = |rate: &str| rate.ends_with("/s") && rate != "0/s";
    browser
        .until("taps go out", analytics!(".rates div:last-child dd"), flows)
        .await;
    assert_eq!(browser.text(analytics!(".losses .number")), "none");
    everything_has_words(&browser);

    // What somebody has folded out with the keyboard stays so while the figures change.
    browser.run("document.querySelector('[data-sink=analytics]').previousElementSibling.querySelector('summary').focus()");
    browser.press(TAB);
    browser.press(ENTER);
    let delivered = browser.text(analytics!("details dd"));
    assert!(delivered.contains("frames"), "{delivered}");
    browser
        .until("they change", analytics!("details dd"), |now| {
            now != delivered
        })
        .await;
    let focused = browser.run("return document.activeElement.closest('li')?.dataset.sink");
    assert_eq!(focused, "analytics");
    browser.press(ENTER);
    browser
        .until("it is folded in", analytics!("details dd"), str::is_empty)
        .await;

    // The collector goes.
    if screenshots().is_some() {
        sleep(Duration::from_secs(200)).await;
    }
    analytics.kill().await;
    browser
        .until("it is down", analytics!(".badge strong"), |word| {
            word == "Down"
        })
        .await;
    let refused = |error: &str| error.contains("Connection refused");
    browser
        .until("it says why", analytics!(".trouble .error"), refused)
        .await;
    assert_eq!(browser.text("h1"), "analytics is not getting its taps");
    assert_eq!(browser.run("return document.title"), "1 down · tapfan");
    browser
        .until("it is told aloud", "#news", |news| {
            news.starts_with("analytics is down")
        })
        .await;
    browser
        .until(
            "the next attempt is there",
            analytics!(".trouble .quiet"),
            |next| next.contains("failed, next attempt in "),
        )
        .await;
    browser
        .until("frames are lost", analytics!(".reasons"), |reasons| {
            reasons == "queue_full"
        })
        .await;
    assert_eq!(browser.text(analytics!(".queue .number")), "10,000");
    assert_eq!(browser.text("[data-sink=siem] .badge strong"), "Up");
    assert_eq!(browser.text("[data-sink=siem] .losses .number"), "none");
    browser
        .until("the verdict says the cost", ".verdict p", |text| {
            text.starts_with("Down for ") && text.contains(" frames lost in the last five minutes")
        })
        .await;
    it_can_be_read(&browser);
    if let Some(folder) = screenshots() {
        take_pictures(&browser, &folder).await;
    }

    // It comes back.
    analytics.listen();
    browser
        .until("it is up again", analytics!(".badge strong"), |word| {
            word == "Up"
        })
        .await;
    browser
        .until("it is told aloud", "#news", |news| {
            news.contains("analytics is up again")
        })
        .await;
    browser
        .until(
            "its queue is empty",
            analytics!(".queue .number"),
            |frames| frames == "0",
        )
        .await;
    let lost = |title: &str| title == "Every collector is getting its taps; some were lost";
    browser.until("the verdict says so", "h1", lost).await;
    let past =
        browser.run("return document.querySelector('[data-sink=analytics] .sparkline').ariaLabel");
    let past = past.as_str().expect("words");
    assert!(
        past.contains("not up for ") && past.ends_with("frames lost"),
        "{past}"
    );

    archive.got(1).await;

    // So far nothing went wrong in the page, and nobody else was asked for anything.
    assert_eq!(browser.console(), [""; 0]);
    let requests = browser.requests();
    assert!(
        requests.iter().any(|url| url.ends_with("/events")),
        "{requests:?}"
    );
    let origin = tapfan.page();
    for url in requests {
        assert!(url.starts_with(&origin), "{url}");
    }

    // The router ends, as the page says, and comes back.
    tapfan.stop().await;
    sending.ended().await;
    the_router_is_lost(&browser).await;
    assert_eq!(
        browser.text(analytics!(".badge strong")),
        "Up",
        "the last picture stays"
    );
    tapfan.start().await;
    let sending = load(folder.path()).await;
    browser
        .until("the router is found", "#lost", str::is_empty)
        .await;
    browser.until("all is well", "h1", all_is_well).await;
    assert_eq!(browser.run("return document.body.className"), "");

    // It stands still: nothing is closed, and nothing comes.
    tapfan.signal(Signal::SIGSTOP);
    the_router_is_lost(&browser).await;
    tapfan.signal(Signal::SIGCONT);
    browser
        .until("the router is found", "#lost", str::is_empty)
        .await;
    browser.until("all is well", "h1", all_is_well).await;

    // Nothing but that the router was not there.
    for message in browser.console() {
        assert!(
            message.contains("/events - Failed to load resource: net::ERR_"),
            "{message}"
        );
    }
    tapfan.stop().await;
    sending.ended().await;
}

async fn the_router_is_lost(browser: &Chromium) {
    let said = browser
        .until("the router is lost", "#lost", |said| !said.is_empty())
        .await;
    assert!(
        said.starts_with("The router does not answer since "),
        "{said}"
    );
    assert!(said.contains(" UTC. Below is how it stood then."), "{said}");
    assert_eq!(browser.run("return document.body.className"), "stale");
    assert_eq!(browser.run("return document.title"), "router lost · tapfan");
}

/// What is drawn is said, too, and headings make an outline.
fn everything_has_words(browser: &Chromium) {
    let pictures = browser.run(
        "return [...document.querySelectorAll('svg')].filter((one) => !one.closest('[aria-hidden]'))
           .map((one) => one.role === 'img' ? one.ariaLabel : 'no role')",
    );
    let pictures = pictures.as_array().expect("a list");
    assert_eq!(pictures.len(), 4, "the flow, and one for each sink");
    for words in pictures {
        let words = words.as_str().expect("words");
        assert!(
            words.starts_with("Flow: ") || words.starts_with("The last "),
            "{words}"
        );
    }
    let headings = browser
        .run("return [...document.querySelectorAll('h1, h2, h3')].map((one) => one.textContent)");
    let outline = json!([
        "Every collector is getting its taps",
        "Flow",
        "Listeners",
        "in.sock",
        "tcp://127.0.0.1:0",
        "Sinks",
        "archive",
        "analytics",
        "siem"
    ]);
    assert_eq!(headings, outline);
}

/// On a phone and on a desk, by day and by night.
fn it_can_be_read(browser: &Chromium) {
    for (width, scheme) in [
        (360, "dark"),
        (360, "light"),
        (700, "light"),
        (1_200, "dark"),
        (1_200, "light"),
    ] {
        browser.be(width, 1.0, scheme);
        let scrolls = browser.run("return document.documentElement.scrollWidth - innerWidth");
        assert!(
            scrolls.as_i64() <= Some(0),
            "{width}: {scrolls} to the side"
        );
        assert_eq!(faint_texts(browser), [""; 0], "{width} {scheme}");
    }
    let moves =
        browser.run("return getComputedStyle(document.querySelector('.fill')).transitionDuration");
    assert_eq!(moves, "0s", "who wants no motion gets none");
}

fn screenshots() -> Option<PathBuf> {
    env::var_os("TAPFAN_SCREENSHOTS").map(PathBuf::from)
}

async fn take_pictures(browser: &Chromium, folder: &Path) {
    sleep(Duration::from_secs(40)).await;
    for (name, width, scale, scheme) in [
        ("page.png", 1_200, 1.5, "light"),
        ("page-dark.png", 1_200, 1.5, "dark"),
        ("page-phone.png", 360, 2.0, "light"),
        ("page-phone-dark.png", 360, 2.0, "dark"),
    ] {
        browser.be(width, scale, scheme);
        // The flow is drawn anew for the width.
        let drawn = format!(
            "return Math.abs(document.querySelector('.flow svg').clientWidth - document.querySelector('.flow').clientWidth) < 2 && innerWidth === {width}"
        );
        until("it is drawn", || browser.run(&drawn) == json!(true)).await;
        let mut base64 = Command::new("base64")
            .arg("--decode")
            .stdin(Stdio::piped())
            .stdout(fs::File::create(folder.join(name)).expect("a file"))
            .spawn()
            .expect("base64");
        let mut to = base64.stdin.take().expect("piped");
        to.write_all(browser.picture().as_bytes()).expect("written");
        drop(to);
        assert!(base64.wait().expect("a child").success());
    }
    browser.be(1_200, 1.0, "light");
}
