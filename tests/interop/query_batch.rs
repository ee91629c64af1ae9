//! Sends queries to a DNS server, and compares the server's taps with the packets that were
//! exchanged.

use crate::{
    collector::Collector,
    dns::{Exchange, ask_many, question_name},
    dnstap_fields::{Dnstap, QUERY_MESSAGE, RESPONSE_MESSAGE},
    process::eventually,
    server::{Server, Setting, Tap, Witness},
    upstream::Upstream,
};

/// The number of names in each zone and batch. Each name causes two taps. So all taps of a batch
/// fit into libfstrm's default queue, which holds 512. The server loses no tap even if its writer
/// thread has not run yet.
const NAMES: u16 = 200;

/// Queries that a server has answered, and for which it must have sent taps.
pub(crate) struct QueryBatch<'a> {
    server: &'a Server,
    batch: &'static str,
    /// The queries and responses that the client saw, with one list for each of the server's
    /// `questions`.
    client: Vec<Vec<Exchange>>,
    upstream: &'a Upstream,
}

// === impl QueryBatch ===

impl<'a> QueryBatch<'a> {
    /// Sends the server queries for names of this `batch` in each zone of its `questions`.
    pub(crate) fn send(server: &'a Server, setting: &Setting<'a>, batch: &'static str) -> Self {
        let client = server.questions.iter().map(|question| {
            let zone = format!("{batch}.{}", question.zone);
            ask_many(setting.dns, &zone, NAMES, question.recursion)
        });
        Self {
            server,
            batch,
            client: client.collect(),
            upstream: setting.upstream,
        }
    }

    /// Waits until `collector` has all frames that the server must send. Asserts that each frame
    /// contains the packet that the client or the upstream saw.
    pub(crate) fn wait_for(&self, collector: &Collector) {
        let expected = self.server.taps.len() * usize::from(NAMES);
        eventually("every tap of every name", || {
            let frames: Vec<_> = collector
                .frames()
                .iter()
                .map(|frame| Dnstap::parse(frame))
                .collect();
            let taps = self.server.taps.iter();
            let tapped: Vec<_> = taps.map(|tap| self.tapped(*tap, &frames)).collect();
            let counts: Vec<_> = tapped.iter().map(Vec::len).collect();
            if counts.iter().sum::<usize>() >= expected {
                Ok(tapped)
            } else {
                Err(format!("{counts:?} among {} frames", frames.len()))
            }
        })
        .iter()
        .zip(self.server.taps)
        .for_each(|(tapped, tap)| {
            let seen = self.seen(*tap);
            assert_eq!(
                seen.len(),
                usize::from(NAMES),
                "packets that the witness of {tap:?} saw"
            );
            assert_eq!(tapped.len(), seen.len(), "frames of {tap:?}");
            for (tapped, seen) in tapped.iter().zip(&seen) {
                assert_eq!(tapped, seen, "the packet in a frame of {tap:?}");
            }
        });
    }

    /// Returns the DNS packets in those frames that have the message type and the zone of `tap`,
    /// sorted.
    fn tapped(&self, tap: Tap, frames: &[Dnstap]) -> Vec<Vec<u8>> {
        let field = if tap.is_response() {
            RESPONSE_MESSAGE
        } else {
            QUERY_MESSAGE
        };
        let zone = format!(".{}.{}", self.batch, tap.zone);
        let mut packets: Vec<_> = frames
            .iter()
            .filter(|frame| frame.message_type() == tap.message_type)
            .filter_map(|frame| frame.message_field(field))
            .filter(|packet| question_name(packet).is_some_and(|name| name.ends_with(&zone)))
            .collect();
        packets.sort();
        packets
    }

    /// Returns the packets that the client or the upstream saw, sorted. `tap.witness` says which of
    /// the two it was.
    fn seen(&self, tap: Tap) -> Vec<Vec<u8>> {
        let exchanges = match tap.witness {
            Witness::Client => self
                .server
                .questions
                .iter()
                .zip(&self.client)
                .filter(|(question, _)| question.zone == tap.zone)
                .flat_map(|(_, exchanges)| exchanges.clone())
                .collect(),
            Witness::Upstream => {
                let zone = format!("{}.{}", self.batch, tap.zone);
                self.upstream.exchanges(&zone)
            }
        };
        let mut packets: Vec<_> = exchanges
            .into_iter()
            .map(|exchange: Exchange| {
                if tap.is_response() {
                    exchange.response
                } else {
                    exchange.query
                }
            })
            .collect();
        packets.sort();
        packets
    }
}
