//! The mode `endpoints all`: the sink sends every frame to every address of its name. Each address has its own queue.

use std::{
    future::{pending, poll_fn},
    iter,
    net::SocketAddr,
    sync::Arc,
};

use tokio::{
    select,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Ends,
    endpoint::Endpoint,
    outlook::Outlook,
    wanted::{self, ENDPOINTS_AT_MOST, InUse},
};
use crate::{
    health::{Event, Reporter},
    router::{DropReason, Queue, QueueUser, Queues},
    sink::{
        Resolution, SinkError, Stack,
        driver::drive,
        reconnect::pass_on,
        restart::{keep_going, until_aborted},
    },
};

struct Endpoints<'a> {
    stack: &'a Stack,
    queues: &'a Arc<Queues>,
    outlook: Outlook,
    ends: Ends,
    known: Vec<Known>,
    /// The tasks of the endpoints, one for each endpoint. When a task ends, it returns the queue of its endpoint.
    tasks: JoinSet<Arc<Queue>>,
}

/// An endpoint whose task was started.
struct Known {
    address: SocketAddr,
    queue: Arc<Queue>,
    reporter: Reporter,
    abort: CancellationToken,
    /// The time until which the queue may be drained. `None` as long as the name still has this address.
    leaves: Option<Instant>,
    ended: bool,
}

/// Sends frames to each address from its queue, until all queues are closed and empty or `ends` cancels it.
///
/// This function never returns an error, because each endpoint logs its own failures.
pub(super) async fn run(
    stack: &Stack,
    resolution: &Resolution,
    queues: &Arc<Queues>,
    ends: Ends,
) -> Result<(), SinkError> {
    let mut outlook = Outlook::new(stack.reporter.clone(), resolution);
    let begun = async {
        outlook.first().await;
        assign(stack, queues, &mut outlook).await;
    };
    select! {
        biased;
        () = ends.abort.cancelled() => return Ok(()),
        () = ends.retire.cancelled() => return Ok(()),
        () = begun => {}
        () = over(queues) => return Ok(()),
    }
    let mut endpoints = Endpoints {
        stack,
        queues,
        outlook,
        ends,
        known: Vec::new(),
        tasks: JoinSet::new(),
    };
    endpoints.begin();
    while endpoints.known.iter().any(|known| !known.ended) {
        let (abort, retire) = (endpoints.ends.abort.clone(), endpoints.ends.retire.clone());
        select! {
            biased;
            () = abort.cancelled() => break,
            () = retire.cancelled() => break,
            () = endpoints.changed() => endpoints.update(),
        }
    }
    // The tasks of the endpoints check the tokens of `ends` themselves, so this loop does not have to stop them.
    while let Some(ended) = endpoints.tasks.join_next().await {
        endpoints.ended(pass_on(ended));
    }
    Ok(())
}

/// Waits until every queue is closed and empty.
async fn over(queues: &Queues) {
    let entries = queues.entries().into_iter();
    // A queue that only counts frames is always empty.
    for entry in entries.filter(|entry| entry.user != QueueUser::Nobody) {
        poll_fn(|cx| entry.queue.poll_end(cx)).await;
    }
}

/// Gives each address a queue. Frames that wait in the sink's single queue are moved to all new queues. If none of the
/// current addresses has a queue yet, the frames in the queues of former addresses are also moved to all new queues.
async fn assign(stack: &Stack, queues: &Queues, outlook: &mut Outlook) {
    let entries = queues.entries();
    let offered = entries.iter().filter(|entry| entry.offered);
    let in_use: Vec<_> = offered
        .filter_map(|entry| entry.address().map(InUse::idle))
        .collect();
    let (wanted, left_out) = wanted::all(&outlook.addresses(), &in_use);
    outlook.leave_out(left_out, ENDPOINTS_AT_MOST);
    if !in_use.iter().any(|one| wanted.contains(&one.address)) {
        queues.one();
    }
    let mut come = Vec::new();
    for address in wanted {
        let label = stack.label(address);
        if in_use.iter().any(|one| one.address == address) {
            queues.relabel(address, &label);
        } else {
            come.push((address, label));
        }
    }
    let entries = queues.entries().into_iter();
    // The frames of a collector that had connected to the sink were only for this collector.
    let held = entries.filter(|entry| entry.user == QueueUser::Sink);
    let held: Vec<_> = held.map(|entry| entry.queue).collect();
    queues.exchange(&held, come);
    for queue in held {
        // As long as the queue is not closed, the router can still offer frames to it.
        poll_fn(|cx| queue.poll_closed(cx)).await;
        // The previous task of the sink has ended. If it was aborted, its frames may return to the queue a little later.
        poll_fn(|cx| queue.poll_settled(cx)).await;
        queues.hand_over(&queue);
    }
}

// === impl Endpoints ===

impl Endpoints<'_> {
    /// Starts an endpoint for each existing queue.
    fn begin(&mut self) {
        for entry in self.queues.entries() {
            if let Some(address) = entry.address() {
                // If the router no longer offers frames to this queue, its endpoint was already draining in the
                // previous task of the sink.
                let leaves = (!entry.offered).then(|| self.leaves());
                self.start(address, entry.queue, leaves);
            }
        }
        self.update();
    }

    /// Waits until an [update](Self::update) may be needed. Cancel safe.
    async fn changed(&mut self) {
        let leaving = self.known.iter().filter(|known| known.is_leaving());
        let next = leaving.filter_map(|known| known.leaves).min();
        let out_of_time = async {
            match next {
                Some(end) => sleep_until(end).await,
                None => pending().await,
            }
        };
        let ended = select! {
            () = self.outlook.changed() => return,
            () = out_of_time => return self.cut(),
            Some(ended) = self.tasks.join_next() => ended,
        };
        self.ended(pass_on(ended));
    }

    /// Starts an endpoint for each new address. If the name no longer has the address of an endpoint, starts to drain
    /// this endpoint.
    fn update(&mut self) {
        let stays = self.known.iter().filter(|known| known.leaves.is_none());
        let in_use: Vec<_> = stays.map(|known| InUse::idle(known.address)).collect();
        let (wanted, left_out) = wanted::all(&self.outlook.addresses(), &in_use);
        self.outlook.leave_out(left_out, ENDPOINTS_AT_MOST);
        let end = self.leaves();
        let mut gone = Vec::new();
        for known in &mut self.known {
            if known.leaves.is_none() && !wanted.contains(&known.address) {
                known.leaves = Some(end);
                gone.push(Arc::clone(&known.queue));
                known.reporter.report(&Event::Draining);
            }
        }
        let mut come = wanted;
        come.retain(|address| !in_use.iter().any(|one| one.address == *address));
        let labels = come.iter().map(|address| self.stack.label(*address));
        let queues = self.queues.exchange(&gone, iter::zip(come.clone(), labels));
        for (address, queue) in iter::zip(come, queues) {
            self.start(address, queue, None);
        }
        self.cut();
    }

    /// Returns the drain deadline of an endpoint that starts to drain now.
    fn leaves(&self) -> Instant {
        Instant::now() + *self.ends.drain.borrow()
    }

    fn start(&mut self, address: SocketAddr, queue: Arc<Queue>, leaves: Option<Instant>) {
        let endpoint = Endpoint::new(self.stack, address);
        let abort = self.ends.abort.child_token();
        let retire = self.ends.retire.clone();
        self.known.push(Known {
            address,
            queue: Arc::clone(&queue),
            reporter: endpoint.reporter.clone(),
            abort: abort.clone(),
            leaves,
            ended: false,
        });
        self.tasks.spawn(async move {
            let begin = || {
                let service = endpoint.build(abort.clone());
                let (queue, retire) = (Arc::clone(&queue), retire.clone());
                until_aborted(abort.clone(), async move {
                    drive(service, &queue, &retire).await
                })
            };
            keep_going(&endpoint.reporter, &retire, &abort, begin).await;
            queue
        });
    }

    /// Aborts the endpoints whose drain deadline has passed. If more endpoints drain than the limit allows, aborts the
    /// oldest of them. Without this limit, the number of draining endpoints would keep growing if the addresses of the
    /// name changed with every lookup.
    fn cut(&mut self) {
        let now = Instant::now();
        let leaving = self.known.iter().filter(|known| known.is_leaving());
        let mut leaving: Vec<_> = leaving.map(|known| (known.leaves, &known.abort)).collect();
        leaving.sort_by_key(|(end, _)| *end);
        let too_many = leaving.len().saturating_sub(ENDPOINTS_AT_MOST);
        for (place, (end, abort)) in leaving.into_iter().enumerate() {
            if place < too_many || end.is_some_and(|end| end <= now) {
                abort.cancel();
            }
        }
    }

    /// Handles the end of an endpoint. If the endpoint was draining, the frames that are left in its queue are lost. If
    /// the sink itself is ending, they are not lost, because the next task of the sink continues with the queue.
    fn ended(&mut self, queue: Option<Arc<Queue>>) {
        let Some(queue) = queue else { return };
        let Some(place) = self
            .known
            .iter()
            .position(|known| Arc::ptr_eq(&known.queue, &queue))
        else {
            return;
        };
        let known = &mut self.known[place];
        known.ended = true;
        let stops = self.ends.abort.is_cancelled() || self.ends.retire.is_cancelled();
        if known.leaves.is_some() && !stops {
            let lost = queue.ledger().queued;
            queue.abandon(DropReason::EndpointGone);
            let endpoint = &self.stack.label(known.address);
            // The reporter of the sink reports the event, because the reporter of the endpoint ended with the
            // endpoint's task.
            self.stack.reporter.report(&Event::Left { endpoint, lost });
            self.known.swap_remove(place);
        }
        self.queues.retire_finished();
    }
}

// === impl Known ===

impl Known {
    /// Returns whether the endpoint is draining and was not aborted.
    fn is_leaving(&self) -> bool {
        self.leaves.is_some() && !self.ended && !self.abort.is_cancelled()
    }
}
