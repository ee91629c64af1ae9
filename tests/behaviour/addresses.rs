//! Sinks whose names have several addresses, or others than before, and sinks that share one.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use hickory_resolver::proto::{
    op::{Message, MessageType},
    rr::{RData, Record, RecordType, rdata},
};
use tapfan::{
    frame_stream::{Chunk, Mode},
    net::{Resolver, ResolverSettings},
    router::{Limits, Queue},
    sink::{Reporter, Stack, State, Status, drive},
};
use tokio::{net::UdpSocket, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    collector::Collector,
    router::{Folder, Router, understand},
    sender::Sender,
    traffic::{numbered, numbers_of},
    wait::{patiently, until},
    wire,
};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Loopback too, but no collector of these tests listens there.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A DNS server that knows one name, and answers for no longer than the moment.
struct NameServer {
    address: SocketAddr,
    answer: Arc<Mutex<Vec<Ipv4Addr>>>,
    task: JoinHandle<()>,
}

/// A sink that asks that server; the system's own are asked by the others.
struct Sink {
    queue: Arc<Queue>,
    status: watch::Receiver<Status>,
    task: JoinHandle<()>,
}

impl NameServer {
    async fn start(answer: &[Ipv4Addr]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        let address = socket.local_addr().expect("bound");
        let answer = Arc::new(Mutex::new(answer.to_vec()));
        let task = tokio::spawn(serve(socket, Arc::clone(&answer)));
        Self {
            address,
            answer,
            task,
        }
    }

    fn answers(&self, answer: &[Ipv4Addr]) {
        *self.answer.lock().expect("whole") = answer.to_vec();
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: UdpSocket, answer: Arc<Mutex<Vec<Ipv4Addr>>>) {
    let mut buffer = [0; 2048];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.expect("received");
        let mut message = Message::from_vec(&buffer[..length]).expect("a query");
        let question = message.queries.first().expect("a question").clone();
        message.metadata.message_type = MessageType::Response;
        if question.query_type() == RecordType::A {
            for address in answer.lock().expect("whole").iter() {
                let (name, data) = (question.name().clone(), RData::A(rdata::A(*address)));
                message.answers.push(Record::from_rdata(name, 0, data));
            }
        }
        let bytes = message.to_vec().expect("encoded");
        socket.send_to(&bytes, client).await.expect("sent");
    }
}

impl Sink {
    /// Starts a sink to `collector.example` on the collector's port, with frames in its queue.
    fn start(server: &NameServer, collector: &Collector, frames: u64) -> Self {
        let config = understand(&format!(
            "listen @unused\ndnstap tcp://collector.example.:{} full",
            collector.port()
        ));
        let resolver = Resolver::new(ResolverSettings {
            name_servers: vec![server.address],
            timeout: Duration::from_secs(3),
        });
        let reporter = Reporter::new("collector".into());
        let status = reporter.watch();
        let stack = Stack::new(&config.sinks[0], resolver.expect("a resolver"), reporter);
        let queue = Arc::new(Queue::new(Limits {
            frames: 10_000,
            bytes: 32 << 20,
        }));
        let wire = Bytes::from(wire::data((0..frames).map(numbered)));
        queue.push(&Chunk::from_wire(wire).expect("whole frames"));
        let stack = stack
            .expect("a stack")
            .build(Arc::clone(&queue), CancellationToken::new());
        let driven = Arc::clone(&queue);
        let task =
            tokio::spawn(async move { drive(stack, &driven, &CancellationToken::new()).await });
        Self {
            queue,
            status,
            task,
        }
    }

    async fn until(&mut self, what: &str, condition: impl Fn(&Status) -> bool) -> Status {
        let waiting = self.status.wait_for(|status| condition(status));
        let status = patiently(format_args!("the sink {what}"), waiting).await;
        status.expect("it lives").clone()
    }
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let mut collector = Collector::tcp();
    let server = NameServer::start(&[ELSEWHERE, HERE]).await;
    let mut sink = Sink::start(&server, &collector, 100);
    let failed = sink
        .until("fails", |status| status.failed_connects > 0)
        .await;
    let (error, _) = failed.last_error.expect("a reason");
    assert_eq!(
        *error,
        format!(
            "connect tcp://127.0.0.1:{}: Connection refused (os error 111); is the collector running, and listening there?; another address failed before it",
            collector.port()
        )
    );
    collector.listen();
    let up = sink
        .until("is up", |status| status.state == State::Up)
        .await;
    assert_eq!(up.endpoint.as_deref(), Some(&*collector.socket()));
    collector.got(100).await;
    sink.queue.close();
    patiently("the sink ends", sink.task)
        .await
        .expect("no panic");
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..100));
}

#[tokio::test]
async fn a_name_is_asked_for_anew_at_every_attempt() {
    let collector = Collector::tcp().listening();
    let server = NameServer::start(&[ELSEWHERE]).await;
    let mut sink = Sink::start(&server, &collector, 100);
    sink.until("has failed twice", |status| status.failures > 1)
        .await;
    server.answers(&[HERE]);
    sink.until("is up", |status| status.state == State::Up)
        .await;
    collector.got(100).await;
    sink.queue.close();
    patiently("the sink ends", sink.task)
        .await
        .expect("no panic");
}

#[tokio::test]
async fn two_sinks_to_the_same_collector_are_two() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let socket = collector.socket();
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap {socket} full\ndnstap {socket} {{\n identity second\n }}",
        folder.say("in"),
    ));
    router.all_up().await;
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..1000).map(numbered)).await;
    sender.stop().await;
    collector.got(2000).await;
    let report = router.drain().await;
    assert_eq!(*report.sinks[0].name, *socket);
    assert_eq!(*report.sinks[1].name, format!("{socket}#2"));
    until("both streams have ended", || {
        collector.look(|all| all.iter().all(|one| one.ended.is_some()))
    })
    .await;
    collector.look(|connections| {
        assert_eq!(connections.len(), 2);
        for connection in connections {
            assert!(numbers_of(&connection.frames).into_iter().eq(0..1000));
        }
    });
}
