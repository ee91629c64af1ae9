//! The mode `endpoints balance`: the sink has a connection to each address of its name. Each batch is sent on a
//! connection with little load.

use std::{
    convert::Infallible,
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;
use tokio::{select, sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tower::{Service, balance::p2c::Balance, discover::Change};

use super::{
    Ends,
    endpoint::Endpoint,
    lane::Lane,
    outlook::Outlook,
    wanted::{self, ENDPOINTS_AT_MOST, InUse},
};
use crate::{
    health::{Event, Health, Reporter, State},
    router::{Queue, Taken},
    sink::{Resolution, SinkError, Stack, driver::gather, reconnect::pass_on},
};

/// The stream with which the balancer learns about new and removed lanes. A lane is the connection to one address.
#[derive(Debug)]
struct Changes(mpsc::Receiver<Change<u64, Lane>>);

struct Lanes<'a> {
    stack: &'a Stack,
    outlook: Outlook,
    known: Vec<Known>,
    next_number: u64,
    changes: mpsc::Sender<Change<u64, Lane>>,
    tasks: JoinSet<()>,
    abort: CancellationToken,
}

/// A lane to which the balancer passes batches. A lane is the connection to one address.
struct Known {
    number: u64,
    address: SocketAddr,
    reporter: Reporter,
}

/// Distributes the batches of `queue` over the lanes, until the queue is closed and empty or `ends` cancels it. A lane
/// is the connection to one address. If a lane does not write a batch, the batch returns to the queue, and another lane
/// takes it.
///
/// This function never returns an error, because each lane logs its own failures.
pub(super) async fn run(
    stack: &Stack,
    resolution: &Resolution,
    queue: Arc<Queue>,
    ends: Ends,
) -> Result<(), SinkError> {
    loop {
        distribute(stack, resolution, &queue, &ends).await;
        // If a collector did not confirm some frames at the end of its stream, these frames are in the queue again.
        // They are then distributed over new connections.
        let is_over = poll_fn(|cx| Poll::Ready(queue.poll_end(cx).is_ready())).await;
        if is_over || ends.abort.is_cancelled() || ends.retire.is_cancelled() {
            return Ok(());
        }
    }
}

/// Distributes the batches over the connections to the current addresses. At the end, ends these connections.
async fn distribute(stack: &Stack, resolution: &Resolution, queue: &Arc<Queue>, ends: &Ends) {
    let mut outlook = Outlook::new(stack.reporter.clone(), resolution);
    select! {
        biased;
        () = ends.abort.cancelled() => return,
        () = ends.retire.cancelled() => return,
        () = poll_fn(|cx| queue.poll_end(cx)) => return,
        () = outlook.first() => {}
    }
    // One update can remove every connection and add as many new ones. The channel has room for all these changes.
    let (changes, heard) = mpsc::channel(2 * ENDPOINTS_AT_MOST);
    let mut balance = Balance::new(Changes(heard));
    let mut lanes = Lanes {
        stack,
        outlook,
        known: Vec::new(),
        next_number: 0,
        changes,
        tasks: JoinSet::new(),
        abort: ends.abort.clone(),
    };
    lanes.update();
    loop {
        let taken = select! {
            biased;
            () = ends.abort.cancelled() => break,
            () = ends.retire.cancelled() => break,
            () = lanes.changed() => {
                lanes.update();
                continue;
            }
            next = gather(|cx| poll_next(&mut balance, queue, cx)) => match next {
                Some(taken) => taken,
                None => break,
            },
        };
        // The call is complete immediately and cannot fail.
        let _ = balance.call(taken).await;
    }
    // Dropping the balancer also drops its lanes, and each lane ends its stream.
    drop(balance);
    let Lanes {
        changes, mut tasks, ..
    } = lanes;
    drop(changes);
    while let Some(ended) = tasks.join_next().await {
        pass_on(ended);
    }
}

/// Takes the next batch as soon as one of the connections has room for it. Returns `None` when the queue is closed and
/// empty.
fn poll_next(
    balance: &mut Balance<Changes, Taken>,
    queue: &Arc<Queue>,
    cx: &mut Context<'_>,
) -> Poll<Option<Taken>> {
    match balance.poll_ready(cx) {
        Poll::Ready(Ok(())) => queue.poll_take(cx),
        // A permanent error ends the sink.
        Poll::Ready(Err(_)) => Poll::Ready(None),
        Poll::Pending => queue.poll_end(cx).map(|()| None),
    }
}

// === impl Lanes ===

impl Lanes<'_> {
    /// Waits until an [update](Self::update) may be needed. Cancel safe.
    async fn changed(&mut self) {
        select! {
            () = self.outlook.changed() => {}
            Some(ended) = self.tasks.join_next() => drop(pass_on(ended)),
        }
    }

    /// Starts a connection to each wanted address, and ends the connections to all other addresses. A working
    /// connection is ended only if the sink has a working connection to one of the wanted addresses.
    fn update(&mut self) {
        let in_use: Vec<_> = self.known.iter().map(Known::in_use).collect();
        let (wanted, left_out) = wanted::best(&self.outlook.addresses(), &in_use);
        self.outlook.leave_out(left_out, ENDPOINTS_AT_MOST);
        let stays = |one: &InUse| wanted.contains(&one.address);
        let one_stays = in_use.iter().any(|one| stays(one) && one.up);
        for one in in_use
            .iter()
            .filter(|one| !stays(one) && (one_stays || !one.up))
        {
            self.end(one.address);
        }
        for address in wanted {
            if !in_use.iter().any(|one| one.address == address) {
                self.begin(address);
            }
        }
    }

    fn begin(&mut self, address: SocketAddr) {
        // If the channel is full, this lane is started at the next change of the addresses.
        let Ok(permit) = self.changes.try_reserve() else {
            return;
        };
        let endpoint = Endpoint::new(self.stack, address);
        let number = self.next_number;
        self.next_number += 1;
        self.known.push(Known {
            number,
            address,
            reporter: endpoint.reporter.clone(),
        });
        let (lane, task) = Lane::new(endpoint, self.abort.clone());
        permit.send(Change::Insert(number, lane));
        self.tasks.spawn(task);
    }

    fn end(&mut self, address: SocketAddr) {
        let Ok(permit) = self.changes.try_reserve() else {
            return;
        };
        if let Some(place) = self.known.iter().position(|known| known.address == address) {
            let known = self.known.swap_remove(place);
            known.reporter.report(&Event::Draining);
            permit.send(Change::Remove(known.number));
        }
    }
}

// === impl Known ===

impl Known {
    fn in_use(&self) -> InUse {
        let look = |health: &Health| (health.state == State::Up, health.failures > 0);
        let (up, failed) = self.reporter.look(look).unwrap_or_default();
        InUse {
            address: self.address,
            up,
            failed,
        }
    }
}

// === impl Changes ===

impl Stream for Changes {
    type Item = Result<Change<u64, Lane>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|change| change.map(Ok))
    }
}
