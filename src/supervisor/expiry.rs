//! Logs certificates that are expired, expire soon or are not valid yet. A certificate is logged when it enters one of
//! these states, and then daily.
//!
//! At the start and at a reload, warnings about the configuration report the same states. This task covers the time
//! after a start or a reload.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, warn};

use super::{View, material::Certificate};
use crate::net::{Validity, ValidityState};

/// The interval between checks.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// The interval between log lines about the same certificate in the same state.
const REPEAT: Duration = Duration::from_secs(24 * 60 * 60);

/// The listener or sink that presents a certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Shower {
    Listener(Arc<str>),
    Sink(Arc<str>),
}

/// The certificates seen at the last check.
#[derive(Debug, Default)]
struct Watch {
    seen: BTreeMap<(Shower, PathBuf), Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    validity: Validity,
    state: ValidityState,
    logged: SystemTime,
}

/// Watches the certificates in `view` until the task is aborted.
pub(super) async fn watch(view: View, now: impl Fn() -> SystemTime) {
    let mut watch = Watch::default();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (shower, certificate) in watch.look(&shown(&view), view.applied(), now()) {
            shower.log(&certificate, now());
        }
    }
}

fn shown(view: &View) -> Vec<(Shower, Certificate)> {
    let parts = view.parts();
    let listeners = parts.listeners.iter().map(|listener| {
        let shower = Shower::Listener(Arc::clone(&listener.name));
        (shower, &listener.certificates)
    });
    let sinks = parts.sinks.iter().map(|sink| {
        let shower = Shower::Sink(Arc::clone(&sink.config.name));
        (shower, &sink.certificates)
    });
    let each = listeners.chain(sinks).flat_map(|(shower, certificates)| {
        let certificates = certificates.iter().cloned();
        certificates.map(move |certificate| (shower.clone(), certificate))
    });
    each.collect()
}

// === impl Watch ===

impl Watch {
    /// Returns the certificates to log now. `taken_up` is the time of the last start or reload. A certificate that this
    /// function sees for the first time was read at that time, and a warning has already reported the state that it had
    /// then.
    fn look(
        &mut self,
        shown: &[(Shower, Certificate)],
        taken_up: SystemTime,
        now: SystemTime,
    ) -> Vec<(Shower, Certificate)> {
        let mut news = Vec::new();
        let mut seen = BTreeMap::new();
        for (shower, certificate) in shown {
            let key = (shower.clone(), certificate.file.clone());
            let validity = certificate.validity;
            let state = validity.state(now);
            let before = self.seen.get(&key).copied();
            let before = before.filter(|seen| seen.validity == validity);
            let mut last = before.unwrap_or_else(|| Seen {
                validity,
                state: validity.state(taken_up),
                logged: taken_up,
            });
            // If the clock was set back, the last line seems to be in the future. In that case, the next line is due
            // immediately.
            let since = now.duration_since(last.logged).unwrap_or(REPEAT);
            let is_due = state != last.state || since >= REPEAT;
            if is_due && state != ValidityState::Valid {
                news.push((shower.clone(), certificate.clone()));
                last.logged = now;
            }
            last.state = state;
            seen.insert(key, last);
        }
        self.seen = seen;
        news
    }
}

// === impl Shower ===

impl Shower {
    fn log(&self, certificate: &Certificate, now: SystemTime) {
        let (listener, sink) = match self {
            Self::Listener(name) => (Some(&**name), None),
            Self::Sink(name) => (None, Some(&**name)),
        };
        let file = certificate.file.display();
        let problem = certificate.validity.problem(now);
        let cause = problem.as_deref();
        match certificate.validity.state(now) {
            ValidityState::Valid => {}
            ValidityState::ExpiresSoon => {
                warn!(listener, sink, %file, cause, "a certificate expires soon; renew it");
            }
            ValidityState::Expired => {
                error!(listener, sink, %file, cause, "a certificate has expired, so peers that verify it refuse connections; renew it");
            }
            ValidityState::NotYetValid => {
                error!(listener, sink, %file, cause, "a certificate is not valid yet, so peers that verify it refuse connections; is this machine's clock right?");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const HOUR: u64 = 60 * 60;
    const DAY: u64 = 24 * HOUR;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn shown(starts: u64, expires: u64) -> Vec<(Shower, Certificate)> {
        let validity = Validity {
            starts: at(starts),
            expires: at(expires),
        };
        let file = "tls.crt".into();
        let shower = Shower::Listener("tls://[::]:6443".into());
        vec![(shower, Certificate { file, validity })]
    }

    /// Returns the hours in which a line is logged, for a router that was started in the first hour.
    fn logged(hours: std::ops::Range<u64>, shown: &[(Shower, Certificate)]) -> Vec<u64> {
        let mut watch = Watch::default();
        let start = at(hours.start * HOUR);
        let mut is_news = |hour: &u64| !watch.look(shown, start, at(hour * HOUR)).is_empty();
        hours.filter(|hour| is_news(hour)).collect()
    }

    #[test]
    fn a_certificate_is_logged_daily_from_14_days_before_its_expiry() {
        let shown = shown(0, 20 * DAY);
        // The first line is logged 14 days before the expiry. Then one line a day is logged, also after the expiry.
        let mut expected: Vec<u64> = (0..14).map(|day| 24 * (6 + day) + 1).collect();
        expected.extend([20 * 24 + 1, 21 * 24 + 1]);
        assert_eq!(logged(0..21 * 24 + 20, &shown), expected);
    }

    #[test]
    fn a_certificate_with_a_configuration_warning_is_logged_a_day_later() {
        assert_eq!(logged(100..150, &shown(0, DAY)), [124, 148]);
        // A certificate that becomes valid is not logged.
        assert_eq!(logged(0..100, &shown(30 * HOUR, 100 * DAY)), [24]);
        assert!(logged(0..1000, &shown(0, 100 * DAY)).is_empty());
    }

    #[test]
    fn a_renewed_certificate_is_treated_as_new() {
        let mut watch = Watch::default();
        let (old, new) = (shown(0, DAY), shown(0, 3 * DAY));
        let (reload, later) = (at(3 * DAY), at(3 * DAY + HOUR));
        assert_eq!(watch.look(&old, at(0), at(2 * DAY)), old, "it has expired");
        assert!(
            watch.look(&new, reload, reload).is_empty(),
            "the reload said it"
        );
        assert_eq!(watch.look(&new, reload, later), new, "it has expired");
        assert!(watch.look(&[], reload, later).is_empty());
        assert!(watch.seen.is_empty());
    }

    #[test]
    fn an_expiry_before_the_first_check_is_logged() {
        let shown = shown(0, DAY);
        let news = Watch::default().look(&shown, at(DAY), at(DAY + HOUR));
        assert_eq!(news, shown);
    }

    #[test]
    fn a_clock_that_is_set_back_suppresses_nothing() {
        let mut watch = Watch::default();
        let shown = shown(10 * DAY, 100 * DAY);
        assert!(watch.look(&shown, at(5 * DAY), at(5 * DAY)).is_empty());
        assert_eq!(watch.look(&shown, at(5 * DAY), at(DAY)), shown);
    }
}
