//! A collector goes down and comes back, then the router does, and the page shows it.

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

/// Selectors within the row of the sink `analytics`.
macro_rules! analytics {
    ($within:literal) => {
        concat!("[data-sink=analytics] ", $within)
    };
}

/// Starts a DNS server's load on this socket.
async fn load(folder: &Path, socket: &str, rate: u64) -> Load {
    let manner = Manner {
        mode: Mode::Bidirectional,
        told: Told::Stops,
        rate,
        frame: numbered,
        first: 0,
    };
    Load::start(&Target::Unix(folder.join(socket)), manner).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: .ci/run runs it"]
async fn an_outage_is_seen_from_its_beginning_to_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = Collector::unix(folder.path().join("archive.sock"))
        .thrifty()
        .listening();
    let mut analytics = Collector::tcp().thrifty().listening();
    let mut siem = Collector::tcp().thrifty().listening();
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
    browser.be(1_200, 1.0, "light");
    browser.open(&tapfan.page());

    browser.until("all is well", "h1", all_is_well).await;
    assert_eq!(browser.text(analytics!(".badge strong")), "Up");
    assert_eq!(browser.title(), "tapfan");
    let flows = |rate: &str| rate.ends_with("/s") && rate != "0/s";
    let out = analytics!(".rates div:last-child dd");
    browser.until("taps go out", out, flows).await;
    assert_eq!(browser.text(analytics!(".losses .number")), "none");
    everything_has_words(&browser);
    what_is_folded_out_stays(&browser).await;

    if screenshots().is_some() {
        have_a_past(folder.path(), &mut siem).await;
    }
    analytics.kill().await;
    it_is_down(&browser).await;
    assert_eq!(browser.text("[data-sink=siem] .badge strong"), "Up");
    assert_eq!(browser.text("[data-sink=siem] .losses .number"), "none");
    it_can_be_read(&browser);
    if let Some(folder) = screenshots() {
        take_pictures(&browser, &folder).await;
    }
    analytics.listen();
    it_is_up_again(&browser).await;

    // The page logged no error, and sent no request to another host.
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
async fn a_router_that_is_lost_is_found_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let siem = Collector::tcp().thrifty().listening();
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
    the_router_is_lost(&browser).await;
    let last = browser.text(".sink .badge strong");
    assert_eq!(last, "Up", "the last picture stays");
    tapfan.start().await;
    let sending = load(folder.path(), "bind.sock", 100).await;
    the_router_is_found(&browser).await;

    // A stopped process closes no connection and sends nothing.
    tapfan.signal(Signal::SIGSTOP);
    the_router_is_lost(&browser).await;
    tapfan.signal(Signal::SIGCONT);
    the_router_is_found(&browser).await;

    // The only messages are about the missing router.
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
    title == "Every collector is getting its taps"
}

/// A user opens the details with the keyboard. They stay open while the figures change.
async fn what_is_folded_out_stays(browser: &Chromium) {
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
    browser.until("it is folded in", fact, str::is_empty).await;
}

/// The page shows since when the sink is down, why, and what it costs.
async fn it_is_down(browser: &Chromium) {
    let down = |word: &str| word == "Down";
    let word = analytics!(".badge strong");
    browser.until("it is down", word, down).await;
    let refused = |error: &str| error.contains("Connection refused");
    let error = analytics!(".trouble .error");
    browser.until("it says why", error, refused).await;
    assert_eq!(browser.text("h1"), "analytics is not getting its taps");
    assert_eq!(browser.title(), "1 down · tapfan");
    let told = |news: &str| news.starts_with("analytics is down");
    browser.until("it is told aloud", "#news", told).await;
    let next = |text: &str| text.contains("failed, next attempt in ");
    let quiet = analytics!(".trouble .quiet");
    browser.until("it says what is next", quiet, next).await;
    let full = |reasons: &str| reasons == "queue_full";
    let reasons = analytics!(".reasons");
    browser.until("frames are lost", reasons, full).await;
    assert_eq!(browser.text(analytics!(".queue .number")), "10,000");
    let cost = |text: &str| {
        text.starts_with("Down for ") && text.contains(" frames lost in the last five minutes")
    };
    browser.until("it says the cost", ".verdict p", cost).await;
}

async fn it_is_up_again(browser: &Chromium) {
    let up = |word: &str| word == "Up";
    let word = analytics!(".badge strong");
    browser.until("it is up again", word, up).await;
    let told = |news: &str| news.contains("analytics is up again");
    browser.until("it is told aloud", "#news", told).await;
    let none = |frames: &str| frames == "0";
    let queue = analytics!(".queue .number");
    browser.until("its queue is empty", queue, none).await;
    let lost = |title: &str| title == "Every collector is getting its taps; some were lost";
    browser.until("the verdict says so", "h1", lost).await;
    let past = "return document.querySelector('[data-sink=analytics] .sparkline').ariaLabel";
    let past = browser.run(past);
    let past = past.as_str().expect("words");
    assert!(past.contains("not up for "), "{past}");
    assert!(past.ends_with("frames lost"), "{past}");
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
    assert_eq!(browser.title(), "router lost · tapfan");
}

async fn the_router_is_found(browser: &Chromium) {
    let found = "the router is found";
    browser.until(found, "#lost", str::is_empty).await;
    browser.until("all is well", "h1", all_is_well).await;
    assert_eq!(browser.run("return document.body.className"), "");
}

/// Drawings have a text alternative, and the headings form an outline.
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
        "bind.sock",
        "unbound.sock",
        "Sinks",
        "archive",
        "analytics",
        "siem"
    ]);
    assert_eq!(headings, outline);
}

/// Checks the layout and the contrast at the widths of a phone and a desktop, in both colour
/// schemes.
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

/// Makes five minutes of varied traffic for the screenshots.
async fn have_a_past(folder: &Path, siem: &mut Collector) {
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

async fn take_pictures(browser: &Chromium, folder: &Path) {
    browser.run("document.activeElement.blur()");
    sleep(Duration::from_secs(40)).await;
    for (name, width, scale, scheme) in [
        ("page.png", 1_200, 1.5, "light"),
        ("page-dark.png", 1_200, 1.5, "dark"),
        ("page-phone.png", 360, 2.0, "light"),
        ("page-phone-dark.png", 360, 2.0, "dark"),
    ] {
        browser.be(width, scale, scheme);
        // The flow diagram is redrawn for the new width.
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
