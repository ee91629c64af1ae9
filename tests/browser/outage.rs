//! Tests of the page while a collector or the router goes down and comes back.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::json;
use tapfan::internals::Mode;
use tokio::time::sleep;

use crate::{
    chromium::Chromium,
    collector::Collector,
    contrast::faint_texts,
    sender::{Load, LoadProfile, OnHalfClose, Target},
    tapfan::Tapfan,
    traffic::numbered,
    wait::until,
};

const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

/// A CSS selector for an element within the row of the sink `analytics`.
macro_rules! analytics {
    ($within:literal) => {
        concat!("[data-sink=analytics] ", $within)
    };
}

/// Starts a sender that sends frames to this socket, as a DNS server does.
async fn load(folder: &Path, socket: &str, rate: u64) -> Load {
    let profile = LoadProfile {
        mode: Mode::Bidirectional,
        on_half_close: OnHalfClose::Stop,
        rate,
        frame: numbered,
        first: 0,
    };
    Load::start(&Target::Unix(folder.join(socket)), profile).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: .ci/run runs it"]
async fn the_page_shows_an_outage_from_start_to_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = Collector::unix(folder.path().join("archive.sock"))
        .numbers_only()
        .listening();
    let mut analytics = Collector::tcp().numbers_only().listening();
    let mut siem = Collector::tcp().numbers_only().listening();
    let tapfile = format!(
        "listen bind.sock\nlisten unbound.sock\ndrain 2s\ndnstap archive.sock full {{\nname archive\n}}\n\
         dnstap {} full {{\nname analytics\n}}\ndnstap {} {{\nname siem\nidentity edge-1\n}}\n",
        analytics.socket(),
        siem.socket()
    );
    let mut tapfan = Tapfan::new(folder.path(), &tapfile);
    tapfan.start().await;
    let sending = [
        load(folder.path(), "bind.sock", 1_300).await,
        load(folder.path(), "unbound.sock", 700).await,
    ];
    let browser = Chromium::start();
    browser.emulate(1_200, 1.0, "light");
    browser.open(&tapfan.page());

    browser.until("all is well", "h1", all_is_well).await;
    assert_eq!(browser.text(analytics!(".badge strong")), "Up");
    assert_eq!(browser.title(), "tapfan");
    let flows = |rate: &str| rate.ends_with("/s") && rate != "0/s";
    let out = analytics!(".rates div:last-child dd");
    browser.until("taps go out", out, flows).await;
    assert_eq!(browser.text(analytics!(".losses .number")), "none");
    let sends = |text: &str| {
        text.starts_with("browser") && text.contains("(pid ") && text.contains("/s · for ")
    };
    let from = "[data-listener='bind.sock'] .from li";
    browser.until("the sender is shown", from, sends).await;
    assert_described(&browser);
    assert_details_stay_open(&browser).await;

    if screenshots().is_some() {
        make_history(folder.path(), &mut siem).await;
    }
    analytics.kill().await;
    assert_shown_down(&browser).await;
    assert_eq!(browser.text("[data-sink=siem] .badge strong"), "Up");
    assert_eq!(browser.text("[data-sink=siem] .losses .number"), "none");
    assert_readable(&browser);
    if let Some(folder) = screenshots() {
        take_screenshots(&browser, &folder).await;
    }
    analytics.listen();
    assert_shown_up_again(&browser).await;

    // The page must have logged no error, and must have sent no request to another host.
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
    let mut sent = 0;
    for load in sending {
        sent += load.end().await;
    }
    tapfan.stop().await;
    let sent = usize::try_from(sent).expect("few");
    archive.got(sent).await;
    siem.got(sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: .ci/run runs it"]
async fn the_page_reconnects_to_a_lost_router() {
    let folder = tempfile::tempdir().expect("a folder");
    let siem = Collector::tcp().numbers_only().listening();
    let tapfile = format!(
        "listen bind.sock\ndrain 1s\ndnstap {} full {{\nname siem\n}}\n",
        siem.socket()
    );
    let mut tapfan = Tapfan::new(folder.path(), &tapfile);
    tapfan.start().await;
    let sending = load(folder.path(), "bind.sock", 100).await;
    let browser = Chromium::start();
    browser.open(&tapfan.page());
    browser.until("all is well", "h1", all_is_well).await;

    tapfan.stop().await;
    sending.ended().await;
    assert_router_lost(&browser).await;
    let last = browser.text(".sink .badge strong");
    assert_eq!(last, "Up", "the last state is still shown");
    tapfan.start().await;
    let sending = load(folder.path(), "bind.sock", 100).await;
    assert_router_found(&browser).await;

    // SIGSTOP stops the router without ending it: its connections stay open, and it sends nothing.
    tapfan.signal(Signal::SIGSTOP);
    assert_router_lost(&browser).await;
    tapfan.signal(Signal::SIGCONT);
    assert_router_found(&browser).await;

    // The console must have only messages about requests that failed because the router was away.
    for message in browser.console() {
        assert!(
            message.contains("/events - Failed to load resource: net::ERR_"),
            "{message}"
        );
    }
    sending.end().await;
    tapfan.stop().await;
}

fn all_is_well(title: &str) -> bool {
    title == "Every sink is getting its taps"
}

/// Opens the details of a sink with the keyboard. Asserts that they stay open while the figures in
/// them change.
async fn assert_details_stay_open(browser: &Chromium) {
    let fact = analytics!("details dd");
    browser.run("document.querySelector('[data-sink=archive] summary').focus()");
    browser.press(TAB);
    browser.press(ENTER);
    let delivered = browser.text(fact);
    assert!(delivered.contains("frames"), "{delivered}");
    let other = |now: &str| now != delivered;
    browser.until("the figures change", fact, other).await;
    let focused = browser.run("return document.activeElement.closest('li')?.dataset.sink");
    assert_eq!(focused, "analytics");
    browser.press(ENTER);
    browser
        .until("the details are closed", fact, str::is_empty)
        .await;
}

/// Asserts that the page shows when the sink went down, why it did, and which frames were lost.
async fn assert_shown_down(browser: &Chromium) {
    let down = |word: &str| word == "Down";
    let word = analytics!(".badge strong");
    browser.until("the sink is shown as down", word, down).await;
    let refused = |error: &str| error.contains("Connection refused");
    let error = analytics!(".problems .error");
    browser.until("the error is shown", error, refused).await;
    assert_eq!(browser.text("h1"), "analytics is not getting its taps");
    assert_eq!(browser.title(), "1 down · tapfan");
    let announced = |news: &str| news.starts_with("analytics is down");
    browser
        .until("the change is announced", "#news", announced)
        .await;
    let next = |text: &str| text.contains("next attempt in ") && text.contains(" failed attempt");
    let quiet = analytics!(".problems .quiet");
    browser
        .until("the next attempt is shown", quiet, next)
        .await;
    let full = |reasons: &str| reasons == "queue_full";
    let reasons = analytics!(".reasons");
    browser.until("frames are lost", reasons, full).await;
    assert_eq!(browser.text(analytics!(".queue .number")), "10,000");
    let cost = |text: &str| {
        text.starts_with("Down for ") && text.contains(" frames lost in the last five minutes")
    };
    browser.until("the loss is shown", ".verdict p", cost).await;
}

async fn assert_shown_up_again(browser: &Chromium) {
    let up = |word: &str| word == "Up";
    let word = analytics!(".badge strong");
    browser
        .until("the sink is shown as up again", word, up)
        .await;
    let announced = |news: &str| news.contains("analytics is up again");
    browser
        .until("the change is announced", "#news", announced)
        .await;
    let none = |frames: &str| frames == "0";
    let queue = analytics!(".queue .number");
    browser.until("its queue is empty", queue, none).await;
    let lost = |title: &str| title == "Every sink is getting its taps; some were lost";
    browser
        .until("the verdict mentions the loss", "h1", lost)
        .await;
    let past = "return document.querySelector('[data-sink=analytics] .sparkline').ariaLabel";
    let past = browser.run(past);
    let past = past.as_str().expect("words");
    assert!(past.contains("not up for "), "{past}");
    assert!(past.ends_with("frames lost"), "{past}");
}

async fn assert_router_lost(browser: &Chromium) {
    let said = browser
        .until("the router is lost", "#lost", |said| !said.is_empty())
        .await;
    assert!(
        said.starts_with("The router does not answer since "),
        "{said}"
    );
    assert!(
        said.contains(" UTC. The page shows its last state."),
        "{said}"
    );
    assert_eq!(browser.run("return document.body.className"), "stale");
    assert_eq!(browser.title(), "router lost · tapfan");
}

async fn assert_router_found(browser: &Chromium) {
    let found = "the router is found";
    browser.until(found, "#lost", str::is_empty).await;
    browser.until("all is well", "h1", all_is_well).await;
    assert_eq!(browser.run("return document.body.className"), "");
}

/// Asserts that each drawing has a text alternative, and that the headings of the page are the
/// expected ones.
fn assert_described(browser: &Chromium) {
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
        "Every sink is getting its taps",
        "Flow",
        "Listeners",
        "bind.sock",
        "unbound.sock",
        "Sinks",
        "archive",
        "analytics",
        "siem"
    ]);
    assert_eq!(headings, outline);
}

/// Checks the layout and the contrast of the page at the widths of a phone and of a desktop, in
/// both colour schemes.
fn assert_readable(browser: &Chromium) {
    for (width, scheme) in [
        (360, "dark"),
        (360, "light"),
        (700, "light"),
        (1_200, "dark"),
        (1_200, "light"),
    ] {
        browser.emulate(width, 1.0, scheme);
        let scrolls = browser.run("return document.documentElement.scrollWidth - innerWidth");
        assert!(
            scrolls.as_i64() <= Some(0),
            "{width}: {scrolls} to the side"
        );
        assert_eq!(faint_texts(browser), [""; 0], "{width} {scheme}");
    }
    let moves =
        browser.run("return getComputedStyle(document.querySelector('.fill')).transitionDuration");
    assert_eq!(moves, "0s", "an animation despite prefers-reduced-motion");
}

fn screenshots() -> Option<PathBuf> {
    env::var_os("TAPFAN_SCREENSHOTS").map(PathBuf::from)
}

/// Sends varied traffic for five minutes, so that the screenshots show some history.
async fn make_history(folder: &Path, siem: &mut Collector) {
    let hundreds = [
        3, 5, 4, 6, 8, 7, 9, 8, 11, 10, 12, 11, 13, 12, 10, 11, 9, 8, 9, 7, 6, 7, 5, 4, 5, 3, 4, 2,
    ];
    for (second, more) in (0..).step_by(7).zip(hundreds) {
        let more = load(folder, "unbound.sock", more * 100).await;
        if second == 126 {
            siem.kill().await;
            sleep(Duration::from_secs(3)).await;
            siem.listen();
        }
        sleep(Duration::from_secs(7)).await;
        more.end().await;
    }
}

async fn take_screenshots(browser: &Chromium, folder: &Path) {
    browser.run("document.activeElement.blur()");
    sleep(Duration::from_secs(40)).await;
    for (name, width, scale, scheme) in [
        ("page.png", 1_200, 1.5, "light"),
        ("page-dark.png", 1_200, 1.5, "dark"),
        ("page-phone.png", 360, 2.0, "light"),
        ("page-phone-dark.png", 360, 2.0, "dark"),
    ] {
        browser.emulate(width, scale, scheme);
        // Waits until the page has redrawn its flow diagram for the new width.
        let drawn = format!(
            "return Math.abs(document.querySelector('.flow svg').clientWidth - document.querySelector('.flow').clientWidth) < 2 && innerWidth === {width}"
        );
        until("the flow is redrawn", || browser.run(&drawn) == json!(true)).await;
        let mut base64 = Command::new("base64")
            .arg("--decode")
            .stdin(Stdio::piped())
            .stdout(fs::File::create(folder.join(name)).expect("a file"))
            .spawn()
            .expect("base64");
        let mut to = base64.stdin.take().expect("piped");
        to.write_all(browser.screenshot().as_bytes())
            .expect("written");
        drop(to);
        assert!(base64.wait().expect("a child").success());
    }
    browser.emulate(1_200, 1.0, "light");
}
