//! The report about several concurrent attempts to connect. Only the attempt at the furthest stage is reported.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    health::{Event, Reporter, Stage},
    lock::Mutex,
};

/// The attempts that are in progress. The attempt at the furthest stage is reported. If several attempts are at this
/// stage, the first of them is reported.
#[derive(Debug)]
pub(super) struct Standings<'a> {
    status: &'a Reporter,
    under_way: Mutex<BTreeMap<usize, (Stage, Arc<str>)>>,
}

/// The stage of one attempt. It is reported only while the attempt is in progress.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    all: &'a Standings<'a>,
    place: usize,
    pub(super) endpoint: Arc<str>,
}

// === impl Standings ===

impl<'a> Standings<'a> {
    pub(super) fn new(status: &'a Reporter) -> Self {
        Self {
            status,
            under_way: Mutex::default(),
        }
    }

    /// Adds an attempt that starts to dial `endpoint`. `place` is its position in the order of the attempts.
    pub(super) fn begin(&'a self, place: usize, endpoint: String) -> Standing<'a> {
        let standing = Standing {
            all: self,
            place,
            endpoint: endpoint.into(),
        };
        standing.reach(Stage::Connect);
        standing
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<usize, (Stage, Arc<str>)>)) {
        let mut under_way = self.under_way.lock();
        change(&mut under_way);
        // `max_by_key` returns the last of several maxima. Because of `rev`, this is the first of them in the original
        // order.
        let furthest = under_way.values().rev().max_by_key(|(stage, _)| *stage);
        match furthest {
            Some((Stage::Handshake, endpoint)) => self.status.report(&Event::Handshaking(endpoint)),
            Some((_, endpoint)) => self.status.report(&Event::Connecting(endpoint)),
            // No attempt is in progress. The caller reports the outcome.
            None => {}
        }
    }
}

// === impl Standing ===

impl Standing<'_> {
    pub(super) fn reach(&self, stage: Stage) {
        let now = (stage, Arc::clone(&self.endpoint));
        self.all.change(|under_way| {
            under_way.insert(self.place, now);
        });
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.all.change(|under_way| {
            under_way.remove(&self.place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::State;

    #[test]
    fn the_furthest_attempt_is_reported() {
        let status = Reporter::new("it".into());
        let shown = || {
            let status = status.watch();
            let status = status.borrow();
            (status.state, status.endpoint.as_deref().map(str::to_owned))
        };
        let is = |state, endpoint: &str| (state, Some(endpoint.to_owned()));
        let standings = Standings::new(&status);
        let one = standings.begin(0, "one".to_owned());
        assert_eq!(shown(), is(State::Connecting, "one"));
        let two = standings.begin(1, "two".to_owned());
        assert_eq!(shown(), is(State::Connecting, "one"));
        two.reach(Stage::Tls);
        assert_eq!(shown(), is(State::Connecting, "two"));
        two.reach(Stage::Handshake);
        assert_eq!(shown(), is(State::Handshaking, "two"));
        one.reach(Stage::Handshake);
        assert_eq!(shown(), is(State::Handshaking, "one"));
        drop(one);
        assert_eq!(shown(), is(State::Handshaking, "two"));
        let three = standings.begin(2, "three".to_owned());
        drop(two);
        assert_eq!(shown(), is(State::Connecting, "three"));
        drop(three);
        assert_eq!(shown(), is(State::Connecting, "three"));
    }
}
