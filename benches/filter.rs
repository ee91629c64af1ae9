//! Measures the cost of the filters and the privacy options of a sink. The frames are recorded traffic
//! of BIND, Unbound and dnsdist, in chunks of 500 frames.
//!
//! Run it with `cargo bench --bench filter`. Each iteration processes all recorded frames. The item
//! counter shows frames per second. The cost of one frame is the inverse of that number.

mod recorded;

use std::{fmt::Write as _, sync::Arc, time::Instant};

use divan::{Bencher, black_box, counter::ItemsCount};
use tapfan::internals::{
    Chunk,
    filter::{ClientAddress, Filter, Kind, Pseudonyms, Screen, Verdict},
};

fn main() {
    divan::main();
}

fn chunks() -> Vec<Chunk> {
    let frames = recorded::frames().expect("the recordings");
    let mut chunks = Vec::new();
    for frames in frames.chunks(500) {
        let mut wire = Vec::new();
        for frame in frames {
            let length = u32::try_from(frame.len()).expect("short");
            wire.extend_from_slice(&length.to_be_bytes());
            wire.extend_from_slice(frame);
        }
        chunks.push(Chunk::from_wire(wire.into()).expect("frames"));
    }
    chunks
}

fn run(bencher: Bencher<'_, '_>, screen: &Screen) {
    let chunks = chunks();
    let frames: usize = chunks.iter().map(Chunk::len).sum();
    let now = Instant::now();
    bencher.counter(ItemsCount::new(frames)).bench_local(|| {
        for chunk in &chunks {
            black_box(screen.screen(black_box(chunk), now));
        }
    });
}

fn rules(rules: &[(Kind, Verdict, &str)]) -> Screen {
    let mut screen = Screen::default();
    for (kind, verdict, word) in rules {
        screen.filter.add(*kind, *verdict, word).expect("a rule");
    }
    screen
}

/// Measures a filter by message type. About half of the frames are of these types.
#[divan::bench]
fn types(bencher: Bencher<'_, '_>) {
    run(
        bencher,
        &rules(&[
            (Kind::Type, Verdict::Keep, "client_response"),
            (Kind::Type, Verdict::Keep, "auth"),
        ]),
    );
}

#[divan::bench]
fn types_that_are_all_there(bencher: Bencher<'_, '_>) {
    run(bencher, &rules(&[(Kind::Type, Verdict::Drop, "update")]));
}

/// Generates a million names with two to four labels.
fn million() -> String {
    let mut list = String::new();
    for number in 0..1_000_000_u32 {
        let hash = number.wrapping_mul(0x9e37_79b1);
        let parent = ["test", "example.org", "name.example.org"][number as usize % 3];
        writeln!(list, "{hash:08x}-list.{parent}").expect("memory");
    }
    list
}

#[divan::bench]
fn million_names(bencher: Bencher<'_, '_>) {
    let mut screen = Screen::default();
    screen
        .filter
        .add_names(Verdict::Drop, million().as_bytes())
        .expect("names");
    run(bencher, &screen);
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn load_a_million_names(bencher: Bencher<'_, '_>) {
    let list = million();
    bencher.bench_local(|| {
        let mut filter = Filter::default();
        filter
            .add_names(Verdict::Drop, list.as_bytes())
            .expect("names");
        filter
    });
}

#[divan::bench]
fn rcode(bencher: Bencher<'_, '_>) {
    run(bencher, &rules(&[(Kind::Rcode, Verdict::Keep, "SERVFAIL")]));
}

#[divan::bench]
fn client(bencher: Bencher<'_, '_>) {
    run(
        bencher,
        &rules(&[(Kind::Client, Verdict::Drop, "192.0.2.0/24")]),
    );
}

#[divan::bench]
fn sample(bencher: Bencher<'_, '_>) {
    let mut screen = Screen::default();
    screen.sample = Some("1/20".parse().expect("a sample"));
    run(bencher, &screen);
}

#[divan::bench]
fn truncate(bencher: Bencher<'_, '_>) {
    let mut screen = Screen::default();
    screen.privacy.client_address = Some(ClientAddress::Truncate { ipv4: 24, ipv6: 48 });
    run(bencher, &screen);
}

#[divan::bench]
fn pseudonym(bencher: Bencher<'_, '_>) {
    let mut screen = Screen::default();
    let key = "2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a";
    let pseudonyms = Pseudonyms::from_hex(key).expect("a key");
    screen.privacy.client_address = Some(ClientAddress::Pseudonym(Arc::new(pseudonyms)));
    run(bencher, &screen);
}

#[divan::bench]
fn remove(bencher: Bencher<'_, '_>) {
    let mut screen = Screen::default();
    screen.privacy.client_address = Some(ClientAddress::Remove);
    run(bencher, &screen);
}
