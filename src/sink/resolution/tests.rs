use std::{collections::VecDeque, sync::Mutex};

use tokio::{task::JoinHandle, time::advance};

use super::*;
use crate::net::{Authority, Host, ResolverSettings};

type Outcome = Result<Answer, ResolveError>;

/// The outcomes of the lookups in their order, and the time that each lookup takes. After the last outcome, further
/// lookups have the same outcome.
#[derive(Clone)]
struct Script(Arc<Mutex<Scripted>>);

struct Scripted {
    outcomes: VecDeque<(Duration, fn() -> Outcome)>,
    begun: Vec<Instant>,
}

struct Running {
    resolution: Resolution,
    script: Script,
    reporter: Reporter,
    task: JoinHandle<()>,
}

const ONE: &str = "192.0.2.1:6000";
const TWO: &str = "192.0.2.2:6000";
const AT_ONCE: Duration = Duration::ZERO;

#[expect(clippy::unnecessary_wraps, reason = "an outcome like the others")]
fn found(ttl: u64, addresses: &[&str]) -> Outcome {
    Ok(Answer {
        addresses: Addresses::of(addresses),
        ttl: Duration::from_secs(ttl),
    })
}

fn no_name() -> Outcome {
    Err(ResolveError::NoSuchName("c".into()))
}

fn silence() -> Outcome {
    Err(ResolveError::Timeout("c".into()))
}

fn run<const N: usize>(outcomes: [(Duration, fn() -> Outcome); N]) -> Running {
    let destination = Destination::Host(Authority {
        host: Host::Name("c".into()),
        port: 6000,
    });
    let resolver = Resolver::new(ResolverSettings::default()).expect("made");
    let resolution = Resolution::new(destination, Refresh::default(), resolver);
    let script = Script(Arc::new(Mutex::new(Scripted {
        outcomes: outcomes.into_iter().collect(),
        begun: Vec::new(),
    })));
    let reporter = Reporter::new("a".into());
    let (this, look_up, status) = (resolution.clone(), script.clone(), reporter.clone());
    let task = tokio::spawn(async move { this.run(|| look_up.look_up(), &status).await });
    Running {
        resolution,
        script,
        reporter,
        task,
    }
}

impl Script {
    fn look_up(&self) -> impl Future<Output = Outcome> + use<> {
        let mut scripted = self.0.lock().expect("no panic");
        scripted.begun.push(Instant::now());
        let (delay, outcome) = match scripted.outcomes.len() {
            1 => scripted.outcomes[0],
            _ => scripted.outcomes.pop_front().expect("at least one outcome"),
        };
        async move {
            sleep(delay).await;
            outcome()
        }
    }

    fn begun(&self) -> Vec<Instant> {
        self.0.lock().expect("no panic").begun.clone()
    }
}

impl Running {
    async fn attempt(&self) -> Result<Vec<String>, String> {
        match self.resolution.for_attempt().await {
            Ok(addresses) => Ok(addresses.iter().map(ToString::to_string).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Advances the clock by `time` in small steps, so that every timer within this time ends at its own moment.
    async fn pass(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            advance(Duration::from_millis(10)).await;
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Returns the shortest and the longest time between two lookups.
    fn gaps(&self) -> (Duration, Duration) {
        let begun = self.script.begun();
        let gaps = || begun.windows(2).map(|pair| pair[1] - pair[0]);
        (
            gaps().min().expect("several"),
            gaps().max().expect("several"),
        )
    }
}

#[tokio::test(start_paused = true)]
async fn lookups_follow_the_ttl_within_its_bounds_with_jitter() {
    let cases: [(fn() -> Outcome, u64); 4] = [
        (|| found(0, &[ONE]), 5),
        (|| found(30, &[ONE]), 30),
        (|| found(86_400, &[ONE]), 60),
        (no_name, 5),
    ];
    for (outcome, seconds) in cases {
        let running = run([(AT_ONCE, outcome)]);
        sleep(Duration::from_secs(seconds * 200)).await;
        let (least, most) = running.gaps();
        let of = |part: f64| Duration::from_secs(seconds).mul_f64(part);
        // The timer of tokio rounds up to whole milliseconds.
        assert!(
            least >= of(0.8) && most <= of(1.2) + Duration::from_millis(2),
            "{least:?} to {most:?} for {seconds} s"
        );
        assert!(
            least < of(0.85) && most > of(1.15),
            "no jitter: {least:?} to {most:?} for {seconds} s"
        );
        running.task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_waits_for_the_first_answer() {
    let running = run([(Duration::from_secs(3), || found(30, &[ONE, TWO]))]);
    assert_eq!(running.attempt().await.expect("found"), [ONE, TWO]);
    assert_eq!(
        running.script.begun().len(),
        1,
        "the attempt joins the lookup in progress"
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_addresses_gets_the_lookup_error() {
    let running = run([(AT_ONCE, silence), (AT_ONCE, no_name)]);
    let first = running.attempt().await.expect_err("nothing");
    assert!(first.contains("no name server answered"), "{first}");
    let begun = Instant::now();
    let second = running.attempt().await.expect_err("nothing");
    assert!(second.contains("does not exist"), "{second}");
    assert!(begun.elapsed() <= Resolution::PAUSE + Duration::from_millis(2));
}

#[tokio::test(start_paused = true)]
async fn frequent_attempts_look_up_once_a_second() {
    for outcome in [no_name as fn() -> Outcome, || found(30, &[ONE])] {
        let running = run([(AT_ONCE, || found(30, &[ONE])), (AT_ONCE, outcome)]);
        running.attempt().await.expect("found");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            assert_eq!(running.attempt().await.expect("the last good"), [ONE]);
            running.pass(Duration::from_millis(50)).await;
        }
        let looked_up = running.script.begun().len();
        assert!((15..=21).contains(&looked_up), "{looked_up}");
        assert!(
            running.gaps().0 >= Resolution::PAUSE,
            "{:?}",
            running.gaps()
        );
        running.task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_gets_the_newest_addresses_if_they_come_soon() {
    let running = run([
        (AT_ONCE, || found(60, &[ONE])),
        (Duration::from_millis(100), || found(60, &[TWO])),
    ]);
    running.attempt().await.expect("found");
    running.pass(Duration::from_secs(2)).await;
    assert_eq!(running.attempt().await.expect("found"), [TWO]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_or_failing_name_server_does_not_delay_attempts() {
    let running = run([
        (AT_ONCE, || found(60, &[ONE])),
        (Duration::from_secs(6), silence),
    ]);
    running.attempt().await.expect("found");
    running.pass(Duration::from_secs(2)).await;
    let begun = Instant::now();
    assert_eq!(running.attempt().await.expect("the last good"), [ONE]);
    let waited = begun.elapsed();
    assert!(
        (Resolution::PATIENCE..Resolution::PATIENCE * 2).contains(&waited),
        "{waited:?}"
    );
    running.pass(Duration::from_secs(8)).await;
    assert_eq!(running.reporter.watch().borrow().resolve_failures, 1);
    // The attempt does not wait now, because the last lookup failed.
    let begun = Instant::now();
    assert_eq!(running.attempt().await.expect("the last good"), [ONE]);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn failed_lookups_are_counted_and_keep_the_addresses() {
    let running = run([
        (AT_ONCE, || found(5, &[ONE])),
        (AT_ONCE, no_name),
        (AT_ONCE, no_name),
        (AT_ONCE, silence),
        (AT_ONCE, || found(60, &[ONE])),
    ]);
    running.attempt().await.expect("found");
    let mut addresses = running.resolution.addresses();
    addresses.borrow_and_update();
    let status = running.reporter.watch();
    let error = || {
        let status = status.borrow();
        let error = status.resolve_error.as_ref();
        (status.resolve_failures, error.cloned())
    };
    let mut seen = Vec::new();
    while seen.len() < 4 {
        running.pass(Duration::from_millis(100)).await;
        let now = error();
        if seen.last() != Some(&now) && now.0 > 0 {
            seen.push(now);
        }
    }
    let counts: Vec<u64> = seen.iter().map(|(count, _)| *count).collect();
    assert_eq!(counts, [1, 2, 3, 3]);
    let texts: Vec<_> = seen.into_iter().map(|(_, error)| error).collect();
    assert_eq!(texts[0], texts[1], "the same error since the same time");
    assert!(texts[1].is_some() && texts[2].is_some() && texts[1] != texts[2]);
    assert_eq!(texts[3], None, "over");
    assert!(!addresses.has_changed().expect("a sender"));
    assert_eq!(running.attempt().await.expect("found"), [ONE]);
}

#[tokio::test(start_paused = true)]
async fn changed_addresses_are_published_but_a_new_order_is_not() {
    let running = run([
        (AT_ONCE, || found(5, &[ONE, TWO])),
        (AT_ONCE, || found(5, &[TWO, ONE])),
        (AT_ONCE, || found(60, &[TWO])),
    ]);
    let mut addresses = running.resolution.addresses();
    assert!(addresses.borrow().is_empty());
    addresses.changed().await.expect("a sender");
    assert_eq!(addresses.borrow_and_update().iter().count(), 2);
    addresses.changed().await.expect("a sender");
    assert_eq!(running.script.begun().len(), 3);
    assert_eq!(
        addresses.borrow_and_update().in_order(),
        [TWO.parse().expect("an address")]
    );
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_stops_the_lookups() {
    let server = crate::net::test_server::Server::start(|_, _| {
        crate::net::test_server::Says::Addresses(0, vec![[192, 0, 2, 1].into()])
    })
    .await;
    let resolver = Resolver::new(ResolverSettings {
        name_servers: vec![server.address],
        ..Default::default()
    });
    let destination = Destination::Host(Authority {
        host: Host::Name("collector.example.".into()),
        port: 6000,
    });
    let resolver = resolver.expect("made");
    let resolution = Resolution::new(destination, Refresh::default(), resolver);
    let handle = resolution.start(Reporter::new("a".into()));
    let mut addresses = resolution.addresses();
    // The clock runs again from here on. While it is paused, tokio does not wait for the socket.
    tokio::time::resume();
    addresses.changed().await.expect("a sender");
    tokio::time::pause();
    drop(handle);
    let questions = server.questions();
    sleep(Duration::from_mins(10)).await;
    assert_eq!(server.questions(), questions);
    assert!(!addresses.borrow().is_empty(), "the addresses stay known");
}
