//! The brokers that lead partitions, as far as the link knows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::Instant;

use crate::sink::{ConnectError, STEADY};

/// The brokers that lead partitions, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Leaders(BTreeMap<i32, Leader>);

/// A broker that is or was the leader of a partition.
#[derive(Debug, Default)]
pub(super) struct Leader {
    pub(super) connection: Connection,
    /// The reason why there is no connection, or why the last one ended. `None` after the broker has answered a batch.
    pub(super) failure: Option<Arc<ConnectError>>,
    /// True if the last connection ended early, and the broker had not answered a batch on it.
    pub(super) is_suspect: bool,
}

#[derive(Debug, Default)]
pub(super) enum Connection {
    #[default]
    None,
    Connecting,
    Open {
        since: Instant,
        /// True if the broker has answered a batch, or if there is no reason to doubt that it will. Without this flag, a
        /// broker that accepts connections but never answers would look healthy after each connect.
        is_proven: bool,
    },
}

// === impl Leaders ===

impl Leaders {
    pub(super) fn get(&self, id: i32) -> Option<&Leader> {
        self.0.get(&id)
    }

    /// Forgets the brokers that are not in `wanted`, unless there is a connection or an attempt to make one. If an attempt
    /// were forgotten, a second one could begin for the same broker.
    pub(super) fn keep(&mut self, wanted: &BTreeSet<i32>) {
        self.0.retain(|id, leader| {
            !matches!(leader.connection, Connection::None) || wanted.contains(id)
        });
    }

    /// Begins to connect to a broker. Returns false if there is a connection already, or an attempt to make one.
    pub(super) fn begin(&mut self, id: i32) -> bool {
        let leader = self.0.entry(id).or_default();
        let is_missing = matches!(leader.connection, Connection::None);
        if is_missing {
            leader.connection = Connection::Connecting;
        }
        is_missing
    }

    /// Records that there is neither a connection nor an attempt to make one.
    pub(super) fn clear(&mut self, id: i32) {
        self.0.entry(id).or_default().connection = Connection::None;
    }

    /// Records that an attempt has failed.
    pub(super) fn fail(&mut self, id: i32, failure: ConnectError) {
        let leader = self.0.entry(id).or_default();
        leader.connection = Connection::None;
        leader.failure = Some(Arc::new(failure));
    }

    /// Records that an attempt has succeeded. `is_doubtful` is true if a batch for this broker was sent without an answer.
    pub(super) fn open(&mut self, id: i32, is_doubtful: bool) {
        let leader = self.0.entry(id).or_default();
        let is_proven = !leader.is_suspect && !is_doubtful;
        if is_proven {
            leader.failure = None;
        }
        leader.connection = Connection::Open {
            since: Instant::now(),
            is_proven,
        };
    }

    /// Records that the broker has answered a batch.
    pub(super) fn prove(&mut self, id: i32) {
        if let Some(leader) = self.0.get_mut(&id)
            && let Connection::Open { is_proven, .. } = &mut leader.connection
        {
            *is_proven = true;
            leader.is_suspect = false;
            leader.failure = None;
        }
    }

    /// Records that a connection has ended.
    pub(super) fn lose(&mut self, id: i32, failure: ConnectError, is_suspect: bool) {
        self.fail(id, failure);
        self.0.entry(id).or_default().is_suspect = is_suspect;
    }

    /// Returns the times at which connections that are not proven have lasted long enough.
    pub(super) fn steady_at(&self) -> impl Iterator<Item = Instant> {
        self.0
            .values()
            .filter_map(|leader| match leader.connection {
                Connection::Open {
                    since,
                    is_proven: false,
                } => Some(since + STEADY),
                _ => None,
            })
    }
}

// === impl Leader ===

impl Leader {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.connection, Connection::Open { .. })
    }

    /// Returns whether there is a connection, and no reason to doubt that the broker answers batches on it. `has_sent` is
    /// true if a batch was sent to this broker and has no answer yet.
    ///
    /// A broker that is not proven may have become free of doubt: another leader may have answered the batch that was the
    /// reason for the doubt.
    pub(super) fn works(&self, has_sent: bool) -> bool {
        match self.connection {
            Connection::Open { is_proven, since } => {
                let is_trusted = !self.is_suspect || since.elapsed() >= STEADY;
                is_proven || (is_trusted && !has_sent)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{health::Stage, sink::ConnectCause};

    #[tokio::test(start_paused = true)]
    async fn a_leader_in_doubt_works_again_when_it_has_no_batch() {
        let mut leaders = Leaders::default();
        let works =
            |leaders: &Leaders, has_sent| leaders.get(1).is_some_and(|it| it.works(has_sent));
        leaders.open(1, true);
        assert!(!works(&leaders, true));
        // Another leader has answered the batch.
        assert!(works(&leaders, false));
        let failure = ConnectError::new(Stage::Handshake, "", ConnectCause::Timeout(STEADY));
        leaders.lose(1, failure, true);
        assert!(!works(&leaders, false));
        leaders.open(1, false);
        assert!(!works(&leaders, false));
        tokio::time::advance(STEADY).await;
        assert!(works(&leaders, false) && !works(&leaders, true));
        leaders.prove(1);
        assert!(works(&leaders, true));
    }
}
