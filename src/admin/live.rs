//! `GET /events`: sends the router's state once a second, as server-sent events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, Sse},
};
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::{Semaphore, watch};

use super::history::{History, Points};
use crate::{health::RouterStatus, lock::Mutex, supervisor::View};

/// State shared by all watchers, the clients of `/events`: the history and the latest event. Each second, one event is
/// made for all watchers. If there are no watchers, no event is made.
#[derive(Debug)]
pub(super) struct Live {
    history: Mutex<History>,
    /// The latest event. Earlier events are not kept: a slow watcher misses some events, but uses no memory.
    latest: watch::Sender<Event>,
    places: Arc<Semaphore>,
}

/// The data of an event.
#[derive(Serialize)]
struct Picture {
    status: RouterStatus,
    points: Points,
}

// === impl Live ===

impl Live {
    /// The largest number of clients that can watch `/events` at a time.
    pub(super) const PLACES: usize = 16;

    pub(super) fn new() -> Self {
        Self {
            history: Mutex::default(),
            latest: watch::Sender::new(Event::default()),
            places: Arc::new(Semaphore::new(Self::PLACES)),
        }
    }

    /// Adds a sample of the router's counters, taken `elapsed` after the previous sample. Must be called once a second.
    pub(super) fn sample(&self, status: RouterStatus, elapsed: Duration) {
        self.history.lock().look(&status, elapsed);
        if self.latest.receiver_count() > 0 {
            let _ = self.latest.send_replace(self.picture(status, 1));
        }
    }

    /// Answers `GET /events` with events named `picture`. The first event contains the points of the last five minutes.
    /// Each later event contains only the latest point. There are at most 16 watchers; a further watcher gets a `full`
    /// event, and its connection is closed. The refusal is an event instead of an error status, because scripts in a
    /// page cannot see the status of an event stream.
    pub(super) fn answer(&self, view: &View) -> Response {
        match self.watch(view) {
            Some(events) => Sse::new(events).into_response(),
            None => Sse::new(stream::iter([Ok::<_, Infallible>(full())])).into_response(),
        }
    }

    /// Returns the current status, with verdicts that include the losses of the last minutes.
    pub(super) fn status(&self, view: &View) -> RouterStatus {
        self.judged(view.snapshot())
    }

    fn judged(&self, mut status: RouterStatus) -> RouterStatus {
        let history = self.history.lock();
        status.judge(|sink| history.lately(sink));
        history.set_paces(&mut status);
        status
    }

    fn watch(&self, view: &View) -> Option<impl Stream<Item = Result<Event, Infallible>> + use<>> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        // Subscribes to later events before it makes the first event. In this order, a watcher may get a sample twice,
        // but it misses no sample.
        let latest = self.latest.subscribe();
        let opening = self.picture(view.snapshot(), History::POINTS);
        let watching = (Some(opening), latest, place);
        Some(stream::unfold(
            watching,
            |(opening, mut latest, place)| async {
                let event = if let Some(opening) = opening {
                    opening
                } else {
                    // This fails when the router has ended.
                    latest.changed().await.ok()?;
                    latest.borrow_and_update().clone()
                };
                Some((Ok(event), (None, latest, place)))
            },
        ))
    }

    fn picture(&self, status: RouterStatus, points: usize) -> Event {
        // Releases the lock before it calls `status`, because `status` takes the same lock.
        let points = self.history.lock().last(points);
        let picture = Picture {
            points,
            status: self.judged(status),
        };
        let event = Event::default().event("picture");
        // Serialization cannot fail: every map has strings as keys.
        event.json_data(picture).unwrap_or_default()
    }
}

fn full() -> Event {
    Event::default()
        .event("full")
        .data(Live::PLACES.to_string())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use axum::body::Body;
    use futures_util::StreamExt;
    use serde_json::Value;
    use tokio::time::{advance, interval, sleep, timeout};

    use super::*;

    /// Samples the router once a second, with tokio's clock.
    async fn run(live: &Live, view: &View) {
        let mut seconds = interval(History::PERIOD);
        loop {
            seconds.tick().await;
            live.sample(view.snapshot(), History::PERIOD);
        }
    }

    /// Returns the data of the next event that is named `picture`.
    async fn next(
        body: &mut (impl Stream<Item = Result<bytes::Bytes, axum::Error>> + Unpin),
    ) -> Value {
        let event = timeout(Duration::from_secs(3), body.next()).await;
        let event = event
            .expect("an event in time")
            .expect("no end")
            .expect("no error");
        let text = std::str::from_utf8(&event).expect("text");
        let data = text
            .strip_prefix("event: picture\ndata: ")
            .expect("a picture");
        serde_json::from_str(data).expect("JSON")
    }

    fn body(response: Response) -> impl Stream<Item = Result<bytes::Bytes, axum::Error>> + Unpin {
        Body::into_data_stream(response.into_body())
    }

    #[tokio::test(start_paused = true)]
    async fn a_picture_is_made_each_second_and_none_without_watchers() {
        let (live, view) = (Live::new(), View::new());
        let watching = async {
            sleep(Duration::from_millis(3_500)).await;
            assert!(
                !live.latest.subscribe().has_changed().expect("open"),
                "nobody looked"
            );
            let mut events = body(live.answer(&view));
            let opening = next(&mut events).await;
            assert_eq!(opening["status"]["version"], env!("CARGO_PKG_VERSION"));
            assert_eq!(opening["points"]["second"], 4);
            for second in 5..8 {
                assert_eq!(next(&mut events).await["points"]["second"], second);
            }
        };
        tokio::select! {
            () = run(&live, &view) => {}
            () = watching => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_watcher_misses_pictures_and_delays_nothing() {
        let (live, view) = (Live::new(), View::new());
        let mut run = pin!(run(&live, &view));
        let mut events = body(live.answer(&view));
        assert_eq!(next(&mut events).await["points"]["second"], 0);
        for _ in 0..10 {
            assert!(futures_util::poll!(run.as_mut()).is_pending());
            advance(History::PERIOD).await;
        }
        assert!(futures_util::poll!(run.as_mut()).is_pending());
        assert_eq!(next(&mut events).await["points"]["second"], 11);
    }

    #[tokio::test]
    async fn places_are_limited_and_returned() {
        let (live, view) = (Live::new(), View::new());
        let mut watchers: Vec<_> = (0..Live::PLACES).map(|_| live.answer(&view)).collect();
        let refused = body(live.answer(&view)).next().await;
        let refused = refused.expect("an event").expect("no error");
        assert_eq!(refused, "event: full\ndata: 16\n\n");
        watchers.pop();
        next(&mut body(live.answer(&view))).await;
    }
}
