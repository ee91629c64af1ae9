//! The rates of senders, from samples of their counts.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use crate::health::{ListenerStatus, RouterStatus, SenderStatus};

/// The recent counts of the listed senders, with one sample per second.
#[derive(Debug, Default)]
pub(super) struct Paces {
    /// The time from the first sample to the last.
    time: Duration,
    /// The samples of each sender, by the number of its connection.
    senders: HashMap<u64, VecDeque<Sample>>,
}

/// The number of frames that a sender had sent by `time`.
#[derive(Debug, Clone, Copy)]
struct Sample {
    time: Duration,
    frames: u64,
}

/// The number of samples of a sender. A rate is the mean over the time between the first and the last of these samples.
const SAMPLES: usize = 11;

// === impl Paces ===

impl Paces {
    /// Adds a snapshot, taken `elapsed` after the previous one. Senders that are not in it are forgotten.
    pub(super) fn look(&mut self, status: &RouterStatus, elapsed: Duration) {
        self.time += elapsed;
        let mut before = std::mem::take(&mut self.senders);
        for sender in senders(&status.listeners) {
            let mut samples = before.remove(&sender.connection).unwrap_or_default();
            if samples.len() == SAMPLES {
                samples.pop_front();
            }
            samples.push_back(Sample {
                time: self.time,
                frames: sender.frames,
            });
            self.senders.insert(sender.connection, samples);
        }
    }

    /// Sets the rates of the senders in a status.
    pub(super) fn fill(&self, status: &mut RouterStatus) {
        let senders = status.listeners.iter_mut();
        for sender in senders.flat_map(|listener| &mut listener.senders) {
            sender.frames_per_second = self.of(sender.connection);
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn of(&self, connection: u64) -> Option<f64> {
        let samples = self.senders.get(&connection)?;
        let (first, last) = (samples.front()?, samples.back()?);
        let time = last.time.saturating_sub(first.time).as_secs_f64();
        let frames = last.frames.saturating_sub(first.frames);
        (time > 0.0).then(|| frames as f64 / time)
    }
}

fn senders(listeners: &[ListenerStatus]) -> impl Iterator<Item = &SenderStatus> {
    listeners.iter().flat_map(|listener| &listener.senders)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::supervisor::View;

    fn status(senders: &[(u64, u64)]) -> RouterStatus {
        let time = "2026-11-22T12:00:00Z";
        let senders = senders.iter().map(|(connection, frames)| {
            json!({
                "connection": connection, "peer": "192.0.2.1:7", "pid": null, "uid": null, "program": null,
                "since": time, "frames": frames, "bytes": 0, "frames_per_second": null, "refused": 0,
            })
        });
        let listener = json!({
            "name": "@in", "address": null, "removed": false, "connections": 0, "accepted": 0, "frames": 0, "bytes": 0,
            "message_frames": {}, "errors": {}, "certificates": [], "senders": senders.collect::<Vec<Value>>(),
        });
        let mut status = View::new().snapshot();
        status.listeners = vec![serde_json::from_value(listener).expect("a listener")];
        status
    }

    fn rates(paces: &Paces, senders: &[(u64, u64)]) -> Vec<Option<f64>> {
        let mut status = status(senders);
        paces.fill(&mut status);
        let senders = status.listeners.remove(0).senders.into_iter();
        senders.map(|sender| sender.frames_per_second).collect()
    }

    #[test]
    fn a_rate_is_the_mean_of_ten_seconds() {
        let mut paces = Paces::default();
        let second = Duration::from_secs(1);
        paces.look(&status(&[(1, 500)]), second);
        assert_eq!(rates(&paces, &[(1, 500), (2, 0)]), [None, None]);
        paces.look(&status(&[(1, 520), (2, 7)]), second);
        assert_eq!(rates(&paces, &[(1, 520), (2, 7)]), [Some(20.0), None]);
        for _ in 0..9 {
            paces.look(&status(&[(1, 520), (2, 7)]), second);
        }
        assert_eq!(rates(&paces, &[(1, 520)]), [Some(2.0)]);
        paces.look(&status(&[(1, 520)]), second);
        assert_eq!(rates(&paces, &[(1, 520), (2, 7)]), [Some(0.0), None]);
        assert_eq!(paces.senders.len(), 1, "the second sender is forgotten");
        // A sample that came late covers more time.
        paces.look(&status(&[(1, 580)]), Duration::from_secs(21));
        assert_eq!(rates(&paces, &[(1, 580)]), [Some(2.0)]);
    }
}
