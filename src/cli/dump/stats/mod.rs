//! The option `--stats`, which prints counts instead of frames. The counts need a bounded amount of memory.

mod latencies;
mod top;

use std::{collections::BTreeMap, fmt, net::IpAddr};

use self::{latencies::Latencies, top::Top};
use super::transactions::Transactions;
use crate::{
    dns::{Message, Question, mnemonics, name},
    dnstap::{MessageType, Moment, RawFrame, RawMessage},
    filter::client,
};

/// The counts of the frames so far.
#[derive(Debug)]
pub(super) struct Stats {
    frames: u64,
    types: [u64; MessageType::ALL.len()],
    /// The counts by response code. There are at most 4096 codes.
    rcodes: BTreeMap<u16, u64>,
    /// The counts by record type. There are at most 65,536 types.
    qtypes: BTreeMap<u16, u64>,
    names: Top<Box<str>>,
    clients: Top<IpAddr>,
    waiting: Transactions<()>,
    unanswered: u64,
    latencies: Latencies,
    /// The earliest and the latest time in the frames.
    times: Option<(Moment, Moment)>,
}

/// The largest number of names that have a counter. The same limit applies to clients.
const COUNTED: usize = 10_000;

/// The number of names that are shown. The same number of clients is shown.
const SHOWN: usize = 10;

// === impl Stats ===

impl Stats {
    pub(super) fn new() -> Self {
        Self {
            frames: 0,
            types: [0; MessageType::ALL.len()],
            rcodes: BTreeMap::new(),
            qtypes: BTreeMap::new(),
            names: Top::new(COUNTED),
            clients: Top::new(COUNTED),
            waiting: Transactions::new(),
            unanswered: 0,
            latencies: Latencies::default(),
            times: None,
        }
    }

    pub(super) fn count(&mut self, frame: &RawFrame<'_>) {
        self.frames += 1;
        let Some(message) = frame.message.as_ref().filter(|_| frame.kind == 1) else {
            self.types[MessageType::Unknown as usize] += 1;
            return;
        };
        self.types[message.message_type() as usize] += 1;
        self.count_time(message.time());
        let octets = message.dns().unwrap_or_default();
        if message.is_query() {
            self.count_query(message, octets);
        } else {
            if let Some(rcode) = Message::rcode_of(octets) {
                *self.rcodes.entry(rcode).or_default() += 1;
            }
            if let (_, Some(latency)) = self.waiting.response(message) {
                self.latencies.add(latency);
            }
        }
        while self.waiting.expired(message.time()).is_some() {
            self.unanswered += 1;
        }
    }

    fn count_query(&mut self, message: &RawMessage<'_>, octets: &[u8]) {
        if let Some(question) = Question::first(octets) {
            *self.qtypes.entry(question.rtype).or_default() += 1;
            self.names
                .add(name::text(&question.name).to_ascii_lowercase().into());
        }
        if let Some(client) = client(message) {
            self.clients.add(client);
        }
        if self.waiting.query(message, ()).is_some() {
            self.unanswered += 1;
        }
    }

    fn count_time(&mut self, time: Moment) {
        if time.normal().is_none() {
            return;
        }
        let (first, last) = self.times.unwrap_or((time, time));
        let is_earlier = first.since(time).is_some();
        let is_later = time.since(last).is_some();
        self.times = Some((
            if is_earlier { time } else { first },
            if is_later { time } else { last },
        ));
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frames     {}", self.frames)?;
        let span = self.times.and_then(|(first, last)| last.since(first));
        if let Some(seconds) = span.map(|span| span.as_secs_f64()).filter(|it| *it > 0.0) {
            #[allow(clippy::cast_precision_loss)] // The rate is rounded for display.
            let rate = self.frames as f64 / seconds;
            write!(f, " in {seconds:.1} s, {rate:.0}/s")?;
        }
        writeln!(f)?;
        let types = MessageType::ALL.into_iter().zip(self.types);
        table(
            f,
            "types",
            types.map(|(of, count)| (of.label().to_owned(), count)),
        )?;
        let words = |numbers: &BTreeMap<u16, u64>, word: fn(u16) -> mnemonics::Mnemonic| {
            let counts = numbers.iter();
            let counts = counts.map(|(number, count)| (word(*number).to_string(), *count));
            counts.collect::<Vec<_>>().into_iter()
        };
        table(f, "rcodes", words(&self.rcodes, mnemonics::rcode))?;
        table(f, "qtypes", words(&self.qtypes, mnemonics::record_type))?;
        let names = self.names.first(SHOWN).into_iter();
        table(f, "names", names.map(|(name, count)| (name.into(), count)))?;
        let clients = self.clients.first(SHOWN).into_iter();
        table(
            f,
            "clients",
            clients.map(|(client, count)| (client.to_string(), count)),
        )?;
        if self.names.is_estimate() || self.clients.is_estimate() {
            writeln!(
                f,
                "           more than {COUNTED} names or clients were seen: the smaller counts are estimates"
            )?;
        }
        writeln!(f, "latency    {}", self.latencies)?;
        writeln!(f, "unanswered {}", self.unanswered)?;
        writeln!(f, "waiting    {}", self.waiting.len())
    }
}

/// Writes counts, the largest first.
fn table(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    counts: impl Iterator<Item = (String, u64)>,
) -> fmt::Result {
    let mut counts: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
    counts.sort_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.cmp(b)));
    for (place, (word, count)) in counts.iter().enumerate() {
        let title = if place == 0 { title } else { "" };
        writeln!(f, "{title:<10} {count:>10}  {word}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame_stream::FileReader;

    #[test]
    fn the_counts_of_a_recording() {
        let mut stats = Stats::new();
        let recording = include_bytes!("../../../../tests/data/unbound.fstrm");
        for frame in FileReader::new(recording.as_slice()).expect("a capture") {
            stats.count(&RawFrame::read(&frame.expect("whole")).expect("dnstap"));
        }
        insta::assert_snapshot!(stats.to_string());
    }

    #[test]
    fn no_frames_have_no_counts() {
        insta::assert_snapshot!(Stats::new().to_string(), @r"
        frames     0
        latency    unknown: no response has the time of its query
        unanswered 0
        waiting    0
        ");
    }
}
