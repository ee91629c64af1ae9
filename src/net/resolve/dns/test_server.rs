//! A DNS server on loopback, for tests.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};

/// The server's reply to a question.
#[derive(Clone)]
pub(crate) enum Says {
    /// The addresses in this list that are of the requested family, with this TTL.
    Addresses(u32, Vec<IpAddr>),
    /// An answer section and an additional section.
    Records(Vec<Record>, Vec<Record>),
    Code(ResponseCode),
    Nothing,
}

/// A way in which the server deviates from today's standards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// No deviation.
    None,
    /// Refuses questions that have EDNS. The answer has this response code.
    RefusesEdns(ResponseCode),
    /// Refuses questions that have EDNS. The answer is FORMERR and consists of the header only, as from name servers
    /// older than EDNS.
    RefusesEdnsBare,
    /// Drops questions that have EDNS, like some firewalls.
    DropsEdns,
    /// Sends answers of any length over UDP, and never sets TC.
    SendsLongAnswers,
}

type Mind = dyn Fn(&str, RecordType) -> Says + Send;

/// A DNS server on loopback with replies set by a test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) task: JoinHandle<()>,
    says: Arc<Mutex<Box<Mind>>>,
    habit: Arc<Mutex<Habit>>,
    questions: Arc<AtomicUsize>,
    with_edns: Arc<AtomicUsize>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Priority, weight, port and target.
pub(crate) type Srv<'a> = (u16, u16, u16, &'a str);

/// The longest answer over UDP. Most servers have this limit today.
const UDP_LIMIT: usize = 1232;

impl Server {
    pub(crate) async fn start(says: impl Fn(&str, RecordType) -> Says + Send + 'static) -> Self {
        let (udp, tcp) = bind().await;
        let address = udp.local_addr().expect("an address");
        let says: Arc<Mutex<Box<Mind>>> = Arc::new(Mutex::new(Box::new(says)));
        let habit = Arc::new(Mutex::new(Habit::None));
        let (questions, with_edns) = (Arc::<AtomicUsize>::default(), Arc::default());
        let served = Served {
            says: Arc::clone(&says),
            habit: Arc::clone(&habit),
            questions: Arc::clone(&questions),
            with_edns: Arc::clone(&with_edns),
        };
        let task = tokio::spawn(async move {
            tokio::join!(served.over_udp(udp), served.over_tcp(tcp));
        });
        Self {
            address,
            task,
            says,
            habit,
            questions,
            with_edns,
        }
    }

    pub(crate) fn now_says(&self, says: impl Fn(&str, RecordType) -> Says + Send + 'static) {
        *self.says.lock().expect("whole") = Box::new(says);
    }

    pub(crate) fn takes_to(&self, habit: Habit) {
        *self.habit.lock().expect("whole") = habit;
    }

    pub(crate) fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    /// Returns the number of questions that had EDNS.
    pub(crate) fn questions_with_edns(&self) -> usize {
        self.with_edns.load(Ordering::SeqCst)
    }
}

/// The state that the server task shares with the test.
struct Served {
    says: Arc<Mutex<Box<Mind>>>,
    habit: Arc<Mutex<Habit>>,
    questions: Arc<AtomicUsize>,
    with_edns: Arc<AtomicUsize>,
}

impl Served {
    async fn over_udp(&self, socket: UdpSocket) {
        let mut buffer = [0; 2048];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.expect("received");
            let Some(mut wire) = self.answer(&buffer[..length]) else {
                continue;
            };
            let sends_all = *self.habit.lock().expect("whole") == Habit::SendsLongAnswers;
            if wire.len() > UDP_LIMIT && !sends_all {
                let mut message = Message::from_vec(&wire).expect("decoded");
                message.take_all_sections().for_each(drop);
                message.metadata.truncation = true;
                wire = message.to_vec().expect("encoded");
            }
            socket.send_to(&wire, client).await.expect("sent");
        }
    }

    /// Serves one connection at a time, which is enough for tests.
    async fn over_tcp(&self, listener: TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            while let Ok(length) = stream.read_u16().await {
                let mut query = vec![0; length.into()];
                stream.read_exact(&mut query).await.expect("a query");
                if let Some(wire) = self.answer(&query) {
                    let length = u16::try_from(wire.len()).expect("short enough");
                    stream.write_u16(length).await.expect("sent");
                    stream.write_all(&wire).await.expect("sent");
                }
            }
        }
    }

    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        let mut message = Message::from_vec(query).expect("a query");
        let has_edns = message.edns.is_some();
        self.with_edns.fetch_add(has_edns.into(), Ordering::SeqCst);
        match *self.habit.lock().expect("whole") {
            Habit::DropsEdns if has_edns => return None,
            Habit::RefusesEdns(code) if has_edns => {
                message.metadata.message_type = MessageType::Response;
                message.metadata.response_code = code;
                message.edns = None;
            }
            Habit::RefusesEdnsBare if has_edns => {
                let (id, op_code) = (message.id, message.op_code);
                message = Message::error_msg(id, op_code, ResponseCode::FormErr);
            }
            _ => message = answer(message, &self.says)?,
        }
        Some(message.to_vec().expect("encoded"))
    }
}

/// Binds UDP and TCP to the same port.
async fn bind() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        let address = udp.local_addr().expect("an address");
        if let Ok(tcp) = TcpListener::bind(address).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both");
}

fn answer(mut message: Message, says: &Mutex<Box<Mind>>) -> Option<Message> {
    let question = message.queries.first().expect("a question").clone();
    let name = question.name().to_string();
    let says = (says.lock().expect("whole"))(&name, question.query_type());
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    match says {
        Says::Nothing => return None,
        Says::Code(code) => message.metadata.response_code = code,
        Says::Records(answers, additionals) => {
            message.answers = answers;
            message.additionals = additionals;
        }
        Says::Addresses(ttl, addresses) => {
            let records = addresses.into_iter().map(|ip| host(&name, ttl, ip));
            let records = records.filter(|it| it.record_type() == question.query_type());
            message.answers = records.collect();
        }
    }
    Some(message)
}

/// Creates an A or AAAA record.
pub(crate) fn host(name: &str, ttl: u32, ip: IpAddr) -> Record {
    let data = match ip {
        IpAddr::V4(ip) => RData::A(rdata::A(ip)),
        IpAddr::V6(ip) => RData::AAAA(rdata::AAAA(ip)),
    };
    record(name, ttl, data)
}

/// Creates an SRV record.
pub(crate) fn service(name: &str, ttl: u32, srv: Srv<'_>) -> Record {
    let (priority, weight, port, target) = srv;
    let target = Name::from_ascii(target).expect("a name");
    let data = rdata::SRV::new(priority, weight, port, target);
    record(name, ttl, RData::SRV(data))
}

/// Creates a CNAME record.
pub(crate) fn alias(name: &str, ttl: u32, target: &str) -> Record {
    let target = Name::from_ascii(target).expect("a name");
    record(name, ttl, RData::CNAME(rdata::CNAME(target)))
}

fn record(name: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(Name::from_ascii(name).expect("a name"), ttl, data)
}
