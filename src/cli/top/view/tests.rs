//! Snapshots of whole screens.

use std::time::Duration;

use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend, style::Color};

use super::*;
use crate::{
    admin::SinkStatus,
    cli::{
        fixture::{at, down, endpoint, listener, refused, router, sink},
        top::model::Sort,
    },
    health::State,
};

const PACE: Duration = Duration::from_secs(1);

/// Draws a screen of the given size.
fn screen(model: &Model, now: Instant, (width, height): (u16, u16)) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no input or output");
    terminal
        .draw(|frame| draw(model, now, Theme::Colored, frame.area(), frame.buffer_mut()))
        .expect("no input or output");
    terminal.backend().clone()
}

/// Returns a router that was polled for 90 s. `archive` is healthy; `siem` went down 12 s before the end.
fn model(now: Instant) -> Model {
    let mut model = Model::new("127.0.0.1:9180 (the default)".to_owned(), PACE);
    for second in -89..=0_i64 {
        let mut siem = if second < -12 {
            sink("siem", "tcp://198.51.100.7:6443")
        } else {
            down("siem", "tcp://198.51.100.7:6443")
        };
        if second < -12 {
            siem.ledger.queued = 0;
        }
        let mut status = router(vec![sink("archive", "unix:///run/archive.sock"), siem]);
        status.now = at(second);
        status.listeners.push(listener("tcp://0.0.0.0:6000", 500));
        let seconds = u64::try_from(second + 89).expect("after the beginning");
        // The number of frames per second rises, and falls back every ten seconds.
        let frames = 15_000 * seconds + 100 * (seconds * seconds / 2) - 9_000 * (seconds / 10);
        status.listeners[0].frames += frames;
        status.listeners[0].bytes += frames * 133;
        for sink in &mut status.sinks {
            sink.ledger.offered += frames;
            if sink.state == State::Up {
                sink.ledger.delivered += frames;
                sink.latency.counts[0] += frames;
                sink.latency.counts[1] += 1000 * seconds;
            } else {
                let lost = u64::try_from(second + 13).expect("after it went down") * 19_000;
                *sink.ledger.dropped.get_mut("queue_full").expect("a reason") += lost;
                // The number of delivered frames at the moment when the sink went down.
                sink.ledger.delivered = 71_280_000 + 1_350_000;
            }
        }
        model.watched.seen(status, now);
    }
    model
}

#[test]
fn a_narrow_screen_keeps_its_clock() {
    let now = Instant::now();
    let mut model = model(now);
    model.whereabouts =
        "a-collector-with-a-long-name.dns-obs.example.net:9180 (--admin)".to_owned();
    let drawn = screen(&model, now, (80, 24)).to_string();
    let head = drawn.lines().next().expect("a line");
    assert!(
        head.trim_end_matches('"').ends_with(" 12:00:00 UTC"),
        "{head}"
    );
}

#[test]
fn one_of_two_sinks_is_down() {
    let now = Instant::now();
    let mut model = model(now);
    model.sort_by(Sort::State);
    insta::assert_snapshot!(screen(&model, now, (80, 24)));
}

#[test]
fn a_wide_screen_has_longer_charts() {
    let now = Instant::now();
    insta::assert_snapshot!(screen(&model(now), now, (132, 20)));
}

#[test]
fn a_small_screen_shows_the_essentials() {
    let now = Instant::now();
    insta::assert_snapshot!(screen(&model(now), now, (40, 8)));
}

#[test]
fn a_lost_router_is_reported() {
    let now = Instant::now();
    let mut model = model(now);
    model.watched.missed(
        "cannot connect: Connection refused (os error 111)".to_owned(),
        now,
    );
    insta::assert_snapshot!(screen(&model, now + Duration::from_secs(75), (80, 24)));
}

#[test]
fn a_router_that_never_answered_is_reported() {
    let now = Instant::now();
    let mut model = Model::new("127.0.0.1:9180 (the default)".to_owned(), PACE);
    assert!(
        screen(&model, now, (80, 24))
            .to_string()
            .contains("connecting to the router")
    );
    model.watched.missed("no answer within 4s".to_owned(), now);
    insta::assert_snapshot!(screen(&model, now + Duration::from_secs(3), (80, 5)));
}

#[test]
fn the_history_of_a_sink_that_is_down() {
    let now = Instant::now();
    let mut model = model(now);
    model.select(1);
    model.screen = Screen::History;
    insta::assert_snapshot!(screen(&model, now, (80, 24)));
}

#[test]
fn the_history_of_a_sink_with_several_endpoints() {
    let now = Instant::now();
    let mut several = sink("pool", "tcp://192.0.2.1:6000");
    let mut second = endpoint("tcp://192.0.2.2:6000");
    second.state = State::Connecting;
    second.last_error = down("", "").last_error.clone();
    several.endpoints.push(second);
    let mut model = Model::new("127.0.0.1:9180".to_owned(), PACE);
    model.watched.seen(router(vec![several]), now);
    model.screen = Screen::History;
    insta::assert_snapshot!(screen(&model, now, (100, 30)));
}

#[test]
fn the_help_lists_the_keys() {
    let now = Instant::now();
    let mut model = model(now);
    model.help = true;
    insta::assert_snapshot!(screen(&model, now, (80, 24)));
}

#[test]
fn the_senders_of_each_listener_are_listed() {
    let now = Instant::now();
    let mut status = router(vec![sink("a", "unix:///a")]);
    status.listeners[0].other_senders = 7;
    let mut alone = listener("tcp://0.0.0.0:6000", 0);
    alone.senders.clear();
    alone.no_sender_since = Some(at(-300));
    status.listeners.push(alone);
    let mut model = Model::new("127.0.0.1:9180".to_owned(), PACE);
    model.watched.seen(status, now);
    let all = screen(&model, now, (80, 24)).to_string();
    let absent = "no sender for 5m0s";
    assert!(all.contains(absent), "{all}");
    model.screen = Screen::Senders;
    insta::assert_snapshot!(screen(&model, now, (80, 10)), @r#"
    "tapfan 0.1.0  running for 1h0m  127.0.0.1:9180                      12:00:00 UTC"
    "Every sink is getting its taps; the sink is up; with /etc/tapfan/Tapfile (pid 47"
    "SENDER                                 FOR  FRAMES/s   FRAMES     BYTES  REFUSED"
    "unix:///run/tapfan/dnstap.sock                                                  "
    "  named (pid 4711, uid 104)         59m40s     13.2k    47.5M    5.9GiB       15"
    "  192.0.2.7:41802                   59m40s         -    23.8M    2.9GiB        0"
    "  and 7 more                                                                    "
    "tcp://0.0.0.0:6000  no sender for 5m0s, since 11:55:00 UTC                      "
    "                                                                                "
    "q quit  ? help  Esc back  Up Down scroll                                        "
    "#);
    model.scroll(2);
    let scrolled = screen(&model, now, (80, 10)).to_string();
    assert!(!scrolled.contains("named"), "{scrolled}");
    assert!(scrolled.contains("192.0.2.7:41802"), "{scrolled}");
}

#[test]
fn a_router_with_another_tapfile_is_reported() {
    let now = Instant::now();
    let mut model = model(now);
    model.mismatch = Some("this router runs with /a/Tapfile, not with /b/Tapfile".to_owned());
    let text = screen(&model, now, (80, 24)).to_string();
    assert!(text.contains("/a/Tapfile, not with /b/Tapfile"), "{text}");
}

#[test]
fn a_refused_reload_is_shown() {
    let now = Instant::now();
    let mut model = Model::new("127.0.0.1:9180".to_owned(), PACE);
    model
        .watched
        .seen(refused(router(vec![sink("a", "unix:///a")])), now);
    let text = screen(&model, now, (80, 24)).to_string();
    assert!(
        text.contains("the last reload was refused, 5m0s ago: /etc/tapfan/Tapfile has 1 error"),
        "{text}"
    );
}

#[test]
fn the_table_scrolls_to_the_selected_sink() {
    let now = Instant::now();
    let mut model = Model::new("127.0.0.1:9180".to_owned(), PACE);
    let sinks: Vec<SinkStatus> = (0..40)
        .map(|number| sink(&format!("sink-{number:02}"), "unix:///s"))
        .collect();
    model.watched.seen(router(sinks), now);
    model.select(35);
    let text = screen(&model, now, (80, 24)).to_string();
    assert!(text.contains("> sink-35"), "{text}");
    assert!(!text.contains("sink-00"), "{text}");
}

#[test]
fn the_text_is_the_same_without_colour() {
    let now = Instant::now();
    let model = model(now);
    let area = Rect::new(0, 0, 80, 24);
    let [mut colored, mut plain] = [Buffer::empty(area), Buffer::empty(area)];
    draw(&model, now, Theme::Colored, area, &mut colored);
    draw(&model, now, Theme::Plain, area, &mut plain);
    let symbols = |buffer: &Buffer| -> Vec<String> {
        buffer
            .content()
            .iter()
            .map(|cell| cell.symbol().to_owned())
            .collect()
    };
    assert_eq!(symbols(&colored), symbols(&plain));
    assert!(colored.content().iter().any(|cell| cell.fg == Color::Red));
    assert!(plain.content().iter().all(|cell| cell.fg == Color::Reset));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Draws screens of many sizes. Drawing outside of the buffer would panic.
    #[test]
    fn it_is_drawn_at_every_size(
        width in 0..200_u16,
        height in 0..60_u16,
        sinks in 0..30_usize,
        history: bool,
        help: bool,
        lost: bool,
        long: bool,
    ) {
        let now = Instant::now();
        let mut model = Model::new("127.0.0.1:9180".to_owned(), PACE);
        let name = if long { "tcp://collector.dns-obs.svc.cluster.local.:6000" } else { "ü" };
        let sinks: Vec<SinkStatus> = (0..sinks).map(|n| down(&format!("{name}#{n}"), "tcp://[::1]:1")).collect();
        model.watched.seen(router(sinks), now);
        model.select(isize::from(height % 7 == 0) * 1000);
        if lost {
            model.watched.missed("gone".to_owned(), now);
        }
        if history {
            model.screen = Screen::History;
        }
        model.help = help;
        let area = Rect::new(0, 0, width, height);
        draw(&model, now, Theme::Plain, area, &mut Buffer::empty(area));
    }
}
