//! The brokers that a lookup can ask, and the choice among their answers.

use std::time::Duration;

use tokio::time::timeout;

use super::dial::first;
use crate::{net::Authority, sink::ConnectError};

/// A broker that a lookup can ask, and its number, if it is known.
pub(super) type Candidate = (Authority, Option<i32>);

/// The longest wait for the answer of another broker, if the first answer is older than what is known.
const SECOND_ANSWER: Duration = Duration::from_secs(4);

/// Returns the brokers that a lookup can ask, each address once. `known` brokers and `configured` ones alternate. Each
/// lookup begins with another broker, which the number `turn` of the lookup selects.
///
/// A cluster can move all its brokers at once, for example when the pods of a `StatefulSet` get new addresses. If a lookup
/// asked all known brokers first, it would be over before it asks a configured name, because a lost machine answers nothing.
pub(super) fn candidates(
    known: impl Iterator<Item = Candidate>,
    configured: &[Authority],
    turn: usize,
) -> Vec<Candidate> {
    let mut known = distinct(known, &[]);
    let configured = configured.iter().map(|broker| (broker.clone(), None));
    let mut others = distinct(configured, &known);
    for part in [&mut known, &mut others] {
        let begin = turn % part.len().max(1);
        part.rotate_left(begin);
    }
    let rounds = known.len().max(others.len());
    let (mut known, mut others) = (known.into_iter(), others.into_iter());
    let each = (0..rounds).flat_map(|_| known.next().into_iter().chain(others.next()));
    each.collect()
}

/// Returns the candidates whose address is neither in `before` nor that of an earlier candidate.
fn distinct(candidates: impl Iterator<Item = Candidate>, before: &[Candidate]) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        let mut seen = before.iter().chain(&found);
        if seen.all(|(authority, _)| *authority != candidate.0) {
            found.push(candidate);
        }
    }
    found
}

/// Asks brokers until one answers. If the answer is older than what is known, asks another broker.
///
/// A broker that is cut off from the others returns leaders of the past, and does not know the newest partitions. Such an
/// answer must not replace a newer one: records of a partition that seems to be gone would be stored twice, and batches
/// would go to a leader that cannot store them. An older answer counts only if no other broker contradicts it, because a
/// topic that was created again starts with the first epoch, and can have fewer partitions. If the second answer is older
/// than what is known, too, the newer one of the two counts.
///
/// `is_behind` returns whether its first argument is older than its second one. `is_older` returns whether an answer is
/// older than what is known.
///
/// # Errors
/// If no broker answers, or if a broker refuses the login.
pub(super) async fn newest<T, F>(
    candidates: Vec<Candidate>,
    ask: impl Fn(Candidate) -> F,
    is_older: impl Fn(&T) -> bool,
    is_behind: impl Fn(&T, &T) -> bool,
) -> Result<T, Vec<ConnectError>>
where
    F: Future<Output = Result<T, ConnectError>>,
{
    let any_of = |candidates: Vec<Candidate>| {
        first(candidates.into_iter().map(|candidate| {
            let asked = ask(candidate.clone());
            async { Ok((candidate, asked.await?)) }
        }))
    };
    let (asked, answer) = any_of(candidates.clone()).await?;
    if !is_older(&answer) {
        return Ok(answer);
    }
    let others = candidates.into_iter().filter(|other| *other != asked);
    match timeout(SECOND_ANSWER, any_of(others.collect())).await {
        Ok(Ok((_, second))) if !is_older(&second) || is_behind(&answer, &second) => Ok(second),
        _ => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        future::{pending, ready},
    };

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::{
        health::Stage,
        kafka::Error,
        net::Host,
        sink::{ConnectCause, KafkaError, kafka::error::Subject},
    };

    fn broker(name: &str) -> Authority {
        Authority {
            host: Host::Name(name.into()),
            port: 9092,
        }
    }

    fn all() -> Vec<Candidate> {
        let known = [("b1", 1), ("b2", 2), ("b3", 3)];
        let known = known.map(|(name, id)| (broker(name), Some(id)));
        candidates(known.into_iter(), &[broker("b2")], 0)
    }

    #[test]
    fn each_address_is_asked_once_and_each_lookup_begins_with_another_one() {
        let names = |turn| {
            let known = [(broker("b1"), Some(1)), (broker("b2"), Some(2))];
            let configured = [broker("b2"), broker("b4")];
            let all = candidates(known.into_iter(), &configured, turn);
            let each = all
                .iter()
                .map(|(authority, id)| format!("{authority} {id:?}"));
            each.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(names(0), "b1:9092 Some(1), b4:9092 None, b2:9092 Some(2)");
        assert_eq!(names(3), "b2:9092 Some(2), b4:9092 None, b1:9092 Some(1)");
    }

    /// The known brokers are machines that are gone, so nothing answers at their addresses.
    #[tokio::test(start_paused = true)]
    async fn a_configured_broker_is_asked_soon_although_all_known_brokers_are_gone() {
        for turn in 0..100 {
            let known = (0..100).map(|id| (broker(&format!("b{id}")), Some(id)));
            let configured = ["old", "gone", "lb"].map(broker);
            let all = candidates(known, &configured, turn);
            assert_eq!(all.len(), 103);
            let begun = Instant::now();
            let ask = |(authority, _): Candidate| async move {
                if authority != broker("lb") {
                    sleep(Duration::from_secs(4)).await;
                    let cause = ConnectCause::Timeout(Duration::from_secs(4));
                    return Err(ConnectError::new(Stage::Connect, "broker", cause));
                }
                Ok(())
            };
            let answer = newest(all, ask, |()| false, |(), ()| false).await;
            assert!(answer.is_ok());
            assert!(begun.elapsed() < Duration::from_secs(2), "{turn}");
        }
    }

    /// Returns the answer that counts. `answers` has the state of each broker; a broker without a state hangs. State 5 is
    /// known.
    async fn chosen(answers: [Option<u32>; 3]) -> (u32, usize) {
        let asked = RefCell::new(Vec::new());
        let ask = |(_, id): Candidate| {
            let id = id.expect("a number");
            asked.borrow_mut().push(id);
            let answer = answers[usize::try_from(id - 1).expect("small")];
            async move {
                match answer {
                    Some(answer) => Ok(answer),
                    None => pending().await,
                }
            }
        };
        let answer = newest(all(), ask, |answer| *answer < 5, |one, other| one < other).await;
        (answer.expect("an answer"), asked.into_inner().len())
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_answer_counts_only_if_no_other_broker_contradicts_it() {
        assert_eq!(chosen([Some(6), None, None]).await, (6, 1));
        assert_eq!(chosen([Some(4), Some(5), None]).await, (5, 2));
        // The topic was created again.
        assert_eq!(chosen([Some(1), Some(1), Some(1)]).await, (1, 2));
        // Two brokers are cut off from the others.
        assert_eq!(chosen([Some(3), Some(4), Some(5)]).await, (4, 2));
        assert_eq!(chosen([Some(4), Some(3), Some(5)]).await, (4, 2));
        // The others are down.
        let begun = Instant::now();
        assert_eq!(chosen([Some(4), None, None]).await.0, 4);
        assert_eq!(begun.elapsed(), SECOND_ANSWER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_login_ends_the_lookup() {
        let asked = RefCell::new(0);
        let ask = |_| {
            *asked.borrow_mut() += 1;
            let wrong = Error::Mechanism {
                wanted: "PLAIN",
                offered: String::new(),
            };
            let cause = KafkaError::Broker(Subject::default(), wrong);
            let cause = ConnectCause::Kafka(cause);
            ready(Err::<(), _>(ConnectError::new(
                Stage::Handshake,
                "broker",
                cause,
            )))
        };
        assert!(
            newest(all(), ask, |()| false, |(), ()| false)
                .await
                .is_err()
        );
        assert_eq!(asked.into_inner(), 1);
    }
}
