//! Tests of `kill -9` at random moments under load. Of each run, the collector may miss only the last frames, which the
//! router had not yet written to its spool.
//!
//! The environment variable `TAPFAN_KILLS` sets the number of kills. The tests print the numbers of lost and repeated
//! frames.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ops::Range,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    collector::{Collector, Connection},
    router::Folder,
    sender::Load,
    spool::{Run, load},
    traffic::{number_of, numbered},
    wait::until,
};

/// The number of kills in a normal run of the tests.
const KILLS: u32 = 20;

/// The frames of one run of the router, and the router's counts of them.
struct Life {
    /// The numbers of the frames that the sender wrote to the listener's socket.
    sent: Range<u64>,
    /// According to the metrics before the kill, every frame below this number was on the disk or confirmed.
    sure: u64,
    /// The number of frames that the router found in the spool when it started.
    recovered: u64,
}

/// Runs the router for a random time under load, and kills it.
async fn live_and_die(folder: &Folder, sink: &str, first: u64, time: Duration) -> Life {
    let run = Run::start(folder, "", sink).await;
    let recovered = run.of_sink("spool_recovered_frames_total");
    let begun = Instant::now();
    let load: Load = load(folder, first).await;
    // The metrics are read before the kill, so they give a lower bound.
    let mut sure = first;
    while begun.elapsed() < time {
        let metrics = run.metrics();
        let of = |name: &str| metrics.value(&format!("tapfan_sink_{name}{{sink=\"a\"}}"));
        // Whole numbers.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let safe = (of("spool_frames") + of("delivered_frames_total")) as u64;
        sure = sure.max(first + safe.saturating_sub(recovered));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    run.kill().await;
    let sent = load.ended().await;
    Life {
        sent: first..first + sent,
        sure,
        recovered,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kill_costs_at_most_the_frames_that_were_not_written_yet() {
    kill_often("finish").await;
}

/// With `written`, the router does not write frames to the disk if it can send them soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kill_costs_at_most_the_frames_that_were_neither_written_nor_sent_yet() {
    kill_often("written").await;
}

async fn kill_often(confirm: &str) {
    let kills = env::var("TAPFAN_KILLS").map_or(KILLS, |text| text.parse().expect("a number"));
    let seed = rand::rng().random();
    let mut dice = StdRng::seed_from_u64(seed);
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out"))
        .numbers_only()
        .listening();
    // Small segments, frequent syncs and frequent new connections, so that many kills happen during a new segment, a
    // checkpoint or a confirmation.
    let sink = format!(
        "out full 4 50 {{\n name a\n confirm {confirm}\n max_age 1s\n spool s 64MiB {{\n  sync 10ms\n  segment 64KiB\n }}\n}}"
    );
    let sink = sink.as_str();
    let (mut lives, mut first) = (Vec::new(), 0);
    for kill in 0..kills {
        let longest = if kill % 5 == 4 { 2500 } else { 400 };
        let time = Duration::from_millis(dice.random_range(0..longest));
        let life = live_and_die(&folder, sink, first, time).await;
        first = life.sent.end;
        lives.push(life);
    }
    let run = Run::start(&folder, "", sink).await;
    let mut repeatable: u64 = lives.iter().map(|life| life.recovered).sum();
    repeatable += run.of_sink("spool_recovered_frames_total");
    until("everything is confirmed", || {
        run.of_sink("spool_frames") == 0
    })
    .await;
    run.end().await;

    let mut times = BTreeMap::<u64, u64>::new();
    for frame in &collector.frames() {
        *times.entry(number_of(frame)).or_default() += 1;
    }
    let repeated: u64 = times.values().map(|times| times - 1).sum();
    // With `finish`, only the frames of a stream that ended with FINISH count. The collector may have lost the others, as
    // if it was killed too: they must have come again from the disk.
    let counts = |stream: &&Connection| confirm != "finish" || stream.stopped;
    let got: BTreeSet<u64> = collector.inspect(|streams| {
        let frames = streams.iter().filter(counts).flat_map(|it| &it.frames);
        frames.map(|frame| number_of(frame)).collect()
    });
    let mut lost = Vec::new();
    for (number, life) in lives.iter().enumerate() {
        let of_life: Vec<u64> = got.range(life.sent.clone()).copied().collect();
        let end = life.sent.start + of_life.len() as u64;
        assert!(
            of_life.into_iter().eq(life.sent.start..end),
            "run {number} of seed {seed} has a gap"
        );
        assert!(
            end >= life.sure,
            "run {number} of seed {seed}: {end} of {} sure",
            life.sure
        );
        lost.push(life.sent.end - end);
    }
    assert_eq!(got.range(first..).next(), None);
    assert!(
        repeated <= repeatable,
        "seed {seed}: {repeated} repeated, {repeatable} were unconfirmed"
    );
    lost.sort_unstable();
    let bytes = numbered(0).len() + 4;
    println!(
        "confirm {confirm}: {kills} kills, {first} frames of {bytes} bytes sent; lost {} in all, {} in the median kill, {} at most; {repeated} \
         repeated, of {repeatable} that were unconfirmed at a start",
        lost.iter().sum::<u64>(),
        lost[lost.len() / 2],
        lost[lost.len() - 1],
    );
}
